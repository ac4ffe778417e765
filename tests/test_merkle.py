"""The tree against published roots and proofs, against a second implementation, and against everything bent."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import merkle
from orchestrator.merkle import Checkpoint, Frontier, Proof, Refused, Verifier

# The reference tests of Certificate Transparency (google/certificate-transparency, transparency-dev/merkle).
LEAVES = [
    bytes.fromhex(one)
    for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(one)
    for one in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = [  # leaf (from 0), size, path
    (0, 1, ()),
    (
        0,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        5,
        8,
        (
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (2, 3, ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",)),
    (
        1,
        5,
        (
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
]
CONSISTENCY = [  # sizes, path
    (1, 1, ()),
    (
        1,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        6,
        8,
        (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (
        2,
        5,
        (
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
    (
        6,
        7,
        (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
]
HASHES = merkle.leaf_hashes(LEAVES)
OTHER = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")


def a_part(start: int, stop: int) -> list[bytes]:
    return HASHES[start:stop]


def path_of(listed: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(one) for one in listed)


# ---- published ------------------------------------------------------------------------------------------------------


def test_published_roots():
    tree = Frontier()
    for size, root in enumerate(ROOTS):
        assert tree.size == size
        assert tree.root() == root
        assert merkle.root_of(HASHES[:size]) == root
        assert Frontier.load(size, tree.dump()).root() == root
        tree.extend(HASHES[size : size + 1])


@pytest.mark.parametrize(("index", "size", "listed"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, listed: tuple[str, ...]):
    path = path_of(listed)
    assert merkle.inclusion_proof(index, size, a_part) == path
    merkle.verify_inclusion(HASHES[index], index, size, path, ROOTS[size])
    for bent in _bent_inclusions(index, size, path, ROOTS[size], HASHES[index]):
        with pytest.raises(Refused):
            merkle.verify_inclusion(*bent)


@pytest.mark.parametrize(("first", "second", "listed"), CONSISTENCY)
def test_published_consistency_proofs(first: int, second: int, listed: tuple[str, ...]):
    path = path_of(listed)
    assert merkle.consistency_proof(first, second, a_part) == path
    merkle.verify_consistency(first, second, path, ROOTS[first], ROOTS[second])
    for bent in _bent_consistencies(first, second, path, ROOTS[first], ROOTS[second]):
        with pytest.raises(Refused):
            merkle.verify_consistency(*bent)


Inclusion = tuple[bytes, int, int, tuple[bytes, ...], bytes]
Consistency = tuple[int, int, tuple[bytes, ...], bytes, bytes]


def _bent_paths(path: tuple[bytes, ...], *more: bytes) -> Iterator[tuple[bytes, ...]]:
    """A path with a hash too many, too few, of another length, of another value."""
    for extra in (b"", OTHER, OTHER[:31], OTHER + b"\0", *more):
        yield (*path, extra)
        yield (extra, *path)
    for at in range(len(path)):
        yield path[:at] + path[at + 1 :]
        yield (*path[:at], bytes([path[at][0] ^ 8]) + path[at][1:], *path[at + 1 :])
        yield (*path[:at], path[at][:-1], *path[at + 1 :])
        yield (*path[:at], path[at] + b"\0", *path[at + 1 :])
        yield (*path[:at], OTHER, *path[at:])


def _bent_inclusions(index: int, size: int, path: tuple[bytes, ...], root: bytes, leaf: bytes) -> Iterator[Inclusion]:
    for bent in _bent_paths(path, root):
        yield leaf, index, size, bent, root
    for wrong in (b"", OTHER, merkle.EMPTY, leaf[:-1], leaf + b"\0"):
        yield wrong, index, size, path, root
        yield leaf, index, size, path, wrong if wrong != leaf else b""
    for at in (-1, size, size + 1, index + size, 2**70):
        yield leaf, at, size, path, root
    yield leaf, index, 0, path, root
    if size > 1:
        yield leaf, index ^ 1, size, path, root
        yield leaf, index, size * 2, path, root
        yield leaf, index, size // 2, path, root


def _bent_consistencies(
    first: int, second: int, path: tuple[bytes, ...], old: bytes, new: bytes
) -> Iterator[Consistency]:
    for bent in _bent_paths(path, old, new):
        yield first, second, bent, old, new
    for wrong in (b"", OTHER, merkle.EMPTY, old[:-1], new + b"\0"):
        yield first, second, path, wrong, new
        yield first, second, path, old, wrong
    yield 0, second, path, old, new
    yield 0, second, (), merkle.EMPTY, new
    yield -1, second, path, old, new
    yield second + 1, second, path, old, new
    if first != second:
        yield second, first, path, new, old
        yield first, second, (), old, new
        yield first, second, path, new, old
        yield first, second * 2, path, old, new
        yield first + 1, second, path, old, new


# ---- against a second implementation --------------------------------------------------------------------------------


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is written."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = _split(len(hashes))
    return hashlib.sha256(b"\1" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()


def naive_path(index: int, hashes: list[bytes]) -> list[bytes]:
    if len(hashes) == 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return [*naive_path(index, hashes[:k]), naive_root(hashes[k:])]
    return [*naive_path(index - k, hashes[k:]), naive_root(hashes[:k])]


def naive_consistency(first: int, hashes: list[bytes], whole: bool = True) -> list[bytes]:
    if first == len(hashes):
        return [] if whole else [naive_root(hashes)]
    k = _split(len(hashes))
    if first <= k:
        return [*naive_consistency(first, hashes[:k], whole), naive_root(hashes[k:])]
    return [*naive_consistency(first - k, hashes[k:], False), naive_root(hashes[:k])]


def _split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def some_hashes(size: int) -> list[bytes]:
    return merkle.leaf_hashes(b"%d" % n for n in range(size))


@given(size=st.integers(1, 300), data=st.data())
@settings(max_examples=100)
def test_as_the_rfc_is_written(size: int, data: st.DataObject):
    hashes = some_hashes(size)

    def part(start: int, stop: int) -> list[bytes]:
        return hashes[start:stop]

    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    cut = data.draw(st.integers(0, size))
    root = naive_root(hashes)
    tree = Frontier()
    tree.extend(hashes[:cut])
    tree = Frontier.load(cut, tree.dump())
    tree.extend(hashes[cut:])
    assert (tree.size, tree.root()) == (size, root)
    path = merkle.inclusion_proof(index, size, part)
    assert list(path) == naive_path(index, hashes)
    merkle.verify_inclusion(hashes[index], index, size, path, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda n: size == 1 or n != index)) if size > 1 else 1
    with pytest.raises(Refused):
        merkle.verify_inclusion(hashes[index], other, size, path, root)
    steps = merkle.consistency_proof(first, size, part)
    assert list(steps) == naive_consistency(first, hashes)
    merkle.verify_consistency(first, size, steps, naive_root(hashes[:first]), root)
    changed = list(hashes)
    changed[data.draw(st.integers(0, first - 1))] = OTHER
    with pytest.raises(Refused):
        merkle.verify_consistency(first, size, steps, naive_root(changed[:first]), root)


def test_what_cannot_be_proved_is_not_tried():
    for index, size in ((0, 0), (1, 1), (-1, 3)):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion_proof(index, size, a_part)
    for first, second in ((0, 3), (4, 3), (-1, 3)):
        with pytest.raises(ValueError, match="beginning"):
            merkle.consistency_proof(first, second, a_part)
    for size, roots in ((1, []), (2, [OTHER, OTHER]), (1, [b"x"]), (-1, [])):
        with pytest.raises(ValueError, match="frontier"):
            Frontier(size, roots)


# ---- notes ----------------------------------------------------------------------------------------------------------

# golang.org/x/mod/sumdb/note, note_test.go: Ed25519 gives one text one signature, so ours must be the published one.
PETER = Verifier.read("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
PETERS_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETERS_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS_NOTE = (
    PETERS_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_published_note():
    assert merkle.sign(PETERS_TEXT, "PeterNeumann", PETERS_SEED) == PETERS_NOTE
    assert merkle.open_note(PETERS_NOTE, PETER) == PETERS_TEXT
    assert merkle.verifier("PeterNeumann", PETERS_SEED) == PETER
    assert str(PETER) == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_every_mangling_of_a_verifier_key_is_refused():
    text = str(PETER)
    bent = [text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1) if (i, j) != (0, len(text))]
    bent += [text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :] for at in range(len(text))]
    bent += [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ]
    for one in bent:
        with pytest.raises(Refused):
            Verifier.read(one)


SIGNED_BY_ANOTHER = merkle.sign(PETERS_TEXT, "PeterNeumann", b"x" * 32).partition("\n\n")[2]
LINE = PETERS_NOTE.partition("\n\n")[2]


@pytest.mark.parametrize(
    "note",
    [
        "",
        PETERS_TEXT,
        PETERS_NOTE[:-1],
        PETERS_NOTE.replace("answer", "Answer"),
        PETERS_NOTE.replace("x08go", "x08gp"),
        PETERS_NOTE.replace("—", "-"),
        PETERS_NOTE.replace("— ", "—  "),
        PETERS_NOTE.replace("JnAM=", "JnAN="),  # another text for the same bytes
        PETERS_NOTE + "\n",
        PETERS_NOTE + "more\n",
        PETERS_NOTE.replace("\n\n", "\n"),
        PETERS_NOTE.replace("your problem is", "your\tproblem is"),
        PETERS_TEXT + "\n" + SIGNED_BY_ANOTHER,
        PETERS_TEXT + "\n" + LINE.replace("PeterNeumann", "EnochRoot"),
        PETERS_NOTE + LINE * 100,
    ],
)
def test_notes_that_are_refused(note: str):
    with pytest.raises(Refused):
        merkle.open_note(note, PETER)


def test_signatures_of_others_do_not_matter():
    assert merkle.open_note(PETERS_NOTE + SIGNED_BY_ANOTHER, PETER) == PETERS_TEXT


# ---- checkpoints and proofs to hand out -----------------------------------------------------------------------------

SEED = b"s" * 32
BY = merkle.verifier("example.com/log", SEED)


def a_proof(index: int = 5, extra: bytes | None = None) -> Proof:
    head = Checkpoint(BY.name, 8, ROOTS[8])
    return Proof(index, merkle.inclusion_proof(index, 8, a_part), head.signed(SEED), extra)


def test_a_checkpoint_reads_as_it_is_written():
    head = Checkpoint("example.com/behind-the-sofa", 20852163, OTHER)
    assert head.text() == f"example.com/behind-the-sofa\n20852163\n{base64.b64encode(OTHER).decode()}\n"
    assert Checkpoint.read(head.text()) == head
    assert Checkpoint.read(head.text() + "an extension\n") == head
    note = Checkpoint(BY.name, 3, ROOTS[3]).signed(SEED)
    assert Checkpoint.open(note, BY) == Checkpoint(BY.name, 3, ROOTS[3])
    with pytest.raises(Refused, match="not of"):
        Checkpoint.open(merkle.sign(head.text(), BY.name, SEED), BY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "o\n1\nAAAA\n",
        f"o\n01\n{base64.b64encode(OTHER).decode()}\n",
        f"o\n-1\n{base64.b64encode(OTHER).decode()}\n",
        f"o\n１\n{base64.b64encode(OTHER).decode()}\n",
        f"\n1\n{base64.b64encode(OTHER).decode()}\n",
        f"o\n1\n{base64.b64encode(OTHER).decode()}",
        f"o\n1\n{base64.b64encode(OTHER).decode()}\n\n",
        f"o\n1\n{base64.b64encode(OTHER + b'x').decode()}\n",
        f"o\n1\n{base64.b64encode(OTHER).decode().rstrip('=')}\n",
    ],
)
def test_checkpoints_that_are_refused(text: str):
    with pytest.raises(Refused):
        Checkpoint.read(text)


@pytest.mark.parametrize("extra", [None, b"", b"out of band"])
@pytest.mark.parametrize("index", range(8))
def test_a_proof_to_hand_out(index: int, extra: bytes | None):
    text = a_proof(index, extra).text()
    assert text.startswith("c2sp.org/tlog-proof@v1\n")
    found = Proof.read(text)
    assert found == a_proof(index, extra)
    assert found.verify(LEAVES[index], BY).size == 8
    with pytest.raises(Refused):
        found.verify(LEAVES[index] + b"!", BY)
    with pytest.raises(Refused):
        found.verify(LEAVES[index], merkle.verifier(BY.name, b"t" * 32))


GOOD = a_proof(5, b"more").text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD.replace("@v1", "@v2"),
        GOOD.replace("index 5", "index 05"),
        GOOD.replace("index 5", "index -5"),
        GOOD.replace("index 5", "index"),
        GOOD.replace("extra ", "extra !"),
        GOOD.replace("\n\n", "\n"),
        GOOD.replace("index 5\n", "index 5\nAAAA\n"),
        GOOD.replace("index 5\n", "index 5\n" + (base64.b64encode(OTHER).decode() + "\n") * 70),
    ],
)
def test_proofs_that_cannot_be_read(text: str):
    with pytest.raises(Refused):
        Proof.read(text)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("index 5", "index 4"),
        GOOD.replace("index 5", "index 8"),
        "\n".join(line for n, line in enumerate(GOOD.split("\n")) if n != 3),  # one hash less
        GOOD.replace("index 5\n", f"index 5\n{base64.b64encode(OTHER).decode()}\n"),  # one more
        GOOD.replace("\n8\n", "\n9\n"),
    ],
)
def test_proofs_that_do_not_hold(text: str):
    with pytest.raises(Refused):
        Proof.read(text).verify(LEAVES[5], BY)
