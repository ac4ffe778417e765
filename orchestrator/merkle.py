"""The log's tree and what is signed over it, as arithmetic: no rows, no files, no clock.

The tree is RFC 6962's (SHA-256, leaves and nodes told apart by their first byte). Verification follows RFC 9162,
2.1.3.2 and 2.1.4.2, and refuses what a reading of RFC 6962 alone lets pass: hashes of another length, an empty tree, an
index beyond the tree, a path with too many hashes or too few. Texts are C2SP's: signed-note, tlog-checkpoint and
tlog-proof@v1 (c2sp.org, read 2026-11).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HASH = 32
EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""
Leaves = Callable[[int, int], Iterable[bytes]]
"""The leaf hashes from one index up to, and without, another."""

_sha256 = hashlib.sha256


class Refused(ValueError):
    """A proof, a checkpoint or a note that does not hold. The message says what is wrong with it."""


def leaf_hash(data: bytes) -> bytes:
    """Of a leaf's bytes."""
    return _sha256(b"\0" + data).digest()


def leaf_hashes(data: Iterable[bytes]) -> list[bytes]:
    """Of many leaves' bytes."""
    sha256 = _sha256
    return [sha256(b"\0" + one).digest() for one in data]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees' roots."""
    return _sha256(b"\1" + left + right).digest()


# ---- the growing tree -----------------------------------------------------------------------------------------------


class Frontier:
    """A tree's right edge: the roots of its full subtrees, largest first. All that appending and the root need."""

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        self.size = size
        self._roots = list(roots)
        if size < 0 or len(self._roots) != size.bit_count() or any(len(root) != HASH for root in self._roots):
            raise ValueError("a frontier has one hash for each bit of its size")

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Append leaves, by their hashes."""
        roots, size, sha256 = self._roots, self.size, _sha256
        for right in hashes:
            full = size
            while full & 1:
                right = sha256(b"\1" + roots.pop() + right).digest()
                full >>= 1
            roots.append(right)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """The tree's root hash as it is now."""
        if not self._roots:
            return EMPTY
        *larger, root = self._roots
        for left in reversed(larger):
            root = node_hash(left, root)
        return root

    def dump(self) -> bytes:
        """As bytes, for `load`; the size is kept beside it."""
        return b"".join(self._roots)

    @classmethod
    def load(cls, size: int, dumped: bytes) -> Frontier:
        """Raises ValueError for what is no frontier of that size."""
        return cls(size, (dumped[at : at + HASH] for at in range(0, len(dumped), HASH)))


def root_of(hashes: Iterable[bytes]) -> bytes:
    """The root of a tree of these leaves."""
    tree = Frontier()
    tree.extend(hashes)
    return tree.root()


# ---- proofs, made ---------------------------------------------------------------------------------------------------


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The subtrees whose roots prove a leaf, from its sibling up: (first leaf, last leaf + 1)."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    found, start, stop = [], 0, size
    while stop - start > 1:
        middle = start + _largest_full(stop - start)
        if index < middle:
            found.append((middle, stop))
            stop = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(first: int, second: int) -> list[tuple[int, int]]:
    """The subtrees whose roots prove that a tree of `first` leaves is the beginning of one of `second`."""
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} cannot be shown to be the beginning of one of {second}")
    found, start, stop, whole = [], 0, second, True
    while first != stop:
        middle = start + _largest_full(stop - start)
        if first <= middle:
            found.append((middle, stop))
            stop = middle
        else:
            found.append((start, middle))
            start, whole = middle, False
    return ([] if whole else [(start, stop)]) + found[::-1]


def roots_of(ranges: Iterable[tuple[int, int]], leaves: Leaves) -> tuple[bytes, ...]:
    """The roots of these subtrees: the path of a proof."""
    return tuple(root_of(leaves(start, stop)) for start, stop in ranges)


def inclusion_proof(index: int, size: int, leaves: Leaves) -> tuple[bytes, ...]:
    """The path that proves leaf `index` in the tree of the first `size` leaves (RFC 6962, 2.1.1)."""
    return roots_of(inclusion_ranges(index, size), leaves)


def consistency_proof(first: int, second: int, leaves: Leaves) -> tuple[bytes, ...]:
    """The path that proves that the tree only grew from `first` leaves to `second` (RFC 6962, 2.1.2)."""
    return roots_of(consistency_ranges(first, second), leaves)


def _largest_full(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


# ---- proofs, verified -----------------------------------------------------------------------------------------------


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raises Refused unless `leaf` (a leaf's hash) is leaf `index` of the tree of `size` leaves with this root."""
    _lengths((leaf, root, *path))
    if size < 1 or not 0 <= index < size:
        raise Refused(f"there is no leaf {index} in a tree of {size}")
    here, last, found = index, size - 1, leaf
    for one in path:
        if last == 0:
            raise Refused(f"the path has too many hashes for leaf {index} of {size}")
        if here & 1 or here == last:
            found = node_hash(one, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, one)
        here, last = here >> 1, last >> 1
    if last:
        raise Refused(f"the path has too few hashes for leaf {index} of {size}")
    if not hmac.compare_digest(found, root):
        raise Refused(f"leaf {index} is not in the tree with this root")


def verify_consistency(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> None:
    """Raises Refused unless the tree of `first` leaves is the beginning of the tree of `second`."""
    _lengths((first_root, second_root, *path))
    if not 0 < first <= second:
        raise Refused(f"a tree of {first} cannot be the beginning of one of {second}")
    if first == second:
        if path:
            raise Refused("trees of one size need no path")
        if not hmac.compare_digest(first_root, second_root):
            raise Refused(f"two different trees of {first} leaves")
        return
    nodes = [first_root, *path] if first.bit_count() == 1 else list(path)
    if not path:
        raise Refused(f"the path from {first} to {second} is empty")
    here, last = first - 1, second - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = nodes[0]
    for one in nodes[1:]:
        if last == 0:
            raise Refused(f"the path from {first} to {second} has too many hashes")
        if here & 1 or here == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            new = node_hash(new, one)
        here, last = here >> 1, last >> 1
    if last:
        raise Refused(f"the path from {first} to {second} has too few hashes")
    if not (hmac.compare_digest(old, first_root) and hmac.compare_digest(new, second_root)):
        raise Refused(f"the tree of {first} leaves is not the beginning of the tree of {second}")


def _lengths(hashes: Iterable[bytes]) -> None:
    for one in hashes:
        if len(one) != HASH:
            raise Refused(f"a hash has {HASH} bytes, not {len(one)}")


# ---- signed notes ---------------------------------------------------------------------------------------------------

_ED25519 = b"\1"
_NAME = re.compile(r"[^\s+]+")
_SIGNATURES = 64
"""More than so many lines of signatures nobody needs to read; the format asks for at least 16."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Who may have signed: a name and an Ed25519 public key of 32 bytes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The key's short id: tells keys apart, proves nothing."""
        return _sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """The verifier key, as it is handed to an auditor: name+id+key."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def read(cls, text: str) -> Verifier:
        """Of a verifier key. Raises Refused."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
            raise Refused("a verifier key reads NAME+ID+KEY")
        key = _unbase64(parts[2], "the verifier key")
        if len(key) != 33 or key[:1] != _ED25519:
            raise Refused("the verifier key is not one for Ed25519")
        found = cls(parts[0], key[1:])
        if found.id.hex() != parts[1]:
            raise Refused("the verifier key is damaged: its id does not belong to it")
        return found


def verifier(name: str, seed: bytes) -> Verifier:
    """Who signs under this name with this secret of 32 bytes."""
    if not _NAME.fullmatch(name):
        raise ValueError("the name of a key has neither spaces nor plus signs")
    return Verifier(name, Ed25519PrivateKey.from_private_bytes(seed[:32]).public_key().public_bytes_raw())


def sign(text: str, name: str, seed: bytes) -> str:
    """The signed note of a text that ends in a newline. One key gives one text one note, always the same."""
    if not text.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f]", text):
        raise ValueError("a note's text ends in a newline and has no other control characters")
    signature = Ed25519PrivateKey.from_private_bytes(seed[:32]).sign(text.encode())
    written = base64.b64encode(verifier(name, seed).id + signature).decode()
    return f"{text}\n— {name} {written}\n"


def open_note(note: str, by: Verifier) -> str:
    """The text of a note, signed by this key; other signatures count for nothing. Raises Refused."""
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f]", note):
        raise Refused("this is no signed note")
    lines = signatures.split("\n")[:-1]
    if len(lines) > _SIGNATURES:
        raise Refused("the note has too many signatures")
    text += "\n"
    found = False
    for line in lines:
        mark, _, rest = line.partition(" ")
        name, _, written = rest.partition(" ")
        if mark != "—" or not _NAME.fullmatch(name):
            raise Refused("a line of signatures reads: em dash, name, signature")
        data = _unbase64(written, "a signature")
        if name != by.name or data[:4] != by.id:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(by.public).verify(data[4:], text.encode())
        except (InvalidSignature, ValueError):
            raise Refused(f"the signature of {name} does not hold") from None
        found = True
    if not found:
        raise Refused(f"the note is not signed by {by.name} with the key {by.id.hex()}")
    return text


# ---- checkpoints ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at a size: everything before it, in one hash."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed (tlog-checkpoint)."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, seed: bytes) -> str:
        """As a note, signed under the origin's name."""
        return sign(self.text(), self.origin, seed)

    @classmethod
    def read(cls, text: str) -> Checkpoint:
        """Of a note's text; lines after the third are allowed and mean nothing here. Raises Refused."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] != "" or not all(lines[:-1]):
            raise Refused("a checkpoint has three lines: origin, size, root")
        origin, size, root = lines[:3]
        if not _SIZE.fullmatch(size):
            raise Refused(f"`{size[:30]}` is no size of a tree")
        hashed = _unbase64(root, "the root")
        _lengths((hashed,))
        return cls(origin, int(size), hashed)

    @classmethod
    def open(cls, note: str, by: Verifier) -> Checkpoint:
        """Of a signed note, by the log this key belongs to. Raises Refused."""
        found = cls.read(open_note(note, by))
        if found.origin != by.name:
            raise Refused(f"the checkpoint is of the log {found.origin}, not of {by.name}")
        return found


_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


# ---- proofs to hand out ---------------------------------------------------------------------------------------------

_PROOF = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """That a leaf is in the log (tlog-proof@v1): its index, the path, a signed checkpoint. `extra` proves nothing."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def text(self) -> str:
        lines = [_PROOF]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(one).decode() for one in self.path]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def read(cls, text: str) -> Proof:
        """Raises Refused."""
        head, separator, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not separator or lines.pop(0) != _PROOF:
            raise Refused(f"this is no proof: the first line reads {_PROOF}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _unbase64(lines.pop(0)[6:], "the extra data")
        if not lines or not lines[0].startswith("index ") or not _SIZE.fullmatch(lines[0][6:]):
            raise Refused("the proof does not say which entry it is of")
        index = int(lines.pop(0)[6:])
        if len(lines) > 63:
            raise Refused("the proof's path is longer than any tree is high")
        path = tuple(_unbase64(line, "a hash of the path") for line in lines)
        _lengths(path)
        return cls(index, path, checkpoint, extra)

    def verify(self, leaf: bytes, by: Verifier) -> Checkpoint:
        """The checkpoint, when the leaf with these bytes is in the log it is of. Raises Refused."""
        found = Checkpoint.open(self.checkpoint, by)
        verify_inclusion(leaf_hash(leaf), self.index, found.size, self.path, found.root)
        return found


def _unbase64(text: str, what: str) -> bytes:
    """RFC 4648, 4, to the letter: one text for one value."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"{what} is not base64") from None
    if base64.b64encode(found).decode() != text:
        raise Refused(f"{what} is not base64 as it is written in one way only")
    return found
