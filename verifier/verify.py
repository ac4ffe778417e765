#!/usr/bin/env python3
"""Verify a campaign orchestrator's log without trusting whoever runs it, and without any of its programs.

One file. Needs Python 3.9 or newer and the package `cryptography`; no network, no database. Read it before you use it:
that is why it is short.

    python verify.py proof --key KEY FILE.tlog-proof …       a line of the log is in the log
    python verify.py checkpoint --key KEY FILE …             checkpoints are signed by the log
    python verify.py leaves --key KEY LEAVES FILE …          exported leaves are those that were signed, at every size

KEY is the log's public key, NAME+ID+BASE64, that you were given once and keep yourself (or @FILE with it in it).
Formats: RFC 6962 (the tree), C2SP signed-note, tlog-checkpoint and tlog-proof@v1.

Ends with 0 when everything holds, 1 when anything does not, 2 for a wrong call, 3 when a file cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ModuleNotFoundError:
    sys.exit("this needs the package `cryptography`, to check signatures: pip install cryptography")


class Bad(Exception):
    """Something does not hold. The message says what."""


# ---- the tree: RFC 6962, 2.1 ----------------------------------------------------------------------------------------


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Grows leaf by leaf. `peaks`: (leaves below, root) of its full subtrees, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        width, root = 1, leaf_hash(leaf)
        while self.peaks and self.peaks[-1][0] == width:
            root = node_hash(self.peaks.pop()[1], root)
            width *= 2
        self.peaks.append((width, root))
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        found = self.peaks[-1][1]
        for _, left in reversed(self.peaks[:-1]):
            found = node_hash(left, found)
        return found


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a path leads to, from the top down: how many hashes it has follows from index and size."""
    if size < 1 or not 0 <= index < size:
        raise Bad(f"there is no entry {index} in a log of {size}")
    sides = []  # from the root down: is the leaf on the left?
    first, last = 0, size
    while last - first > 1:
        middle = first + (1 << ((last - first - 1).bit_length() - 1))
        sides.append(index < middle)
        first, last = (first, middle) if index < middle else (middle, last)
    if len(sides) != len(path):
        raise Bad(f"the path has {len(path)} hashes; for entry {index} of {size} it must have {len(sides)}")
    found = leaf
    for left, other in zip(reversed(sides), path):  # noqa: B905  (Python 3.9 has no strict)
        found = node_hash(found, other) if left else node_hash(other, found)
    return found


# ---- signed notes ---------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    name: str
    id: bytes
    public: bytes


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes


def read_key(text: str) -> Key:
    """NAME+ID+KEY of an Ed25519 key."""
    if text.startswith("@"):
        text = read(text[1:]).decode("utf-8", "replace")
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not re.fullmatch(r"[^\s+]+", parts[0]):
        raise Bad("a key reads NAME+ID+KEY")
    data = unbase64(parts[2], "the key")
    if len(data) != 33 or data[0] != 1:
        raise Bad("the key is not one for Ed25519")
    made = hashlib.sha256(parts[0].encode() + b"\n" + data).digest()[:4]
    if made.hex() != parts[1]:
        raise Bad("the key is damaged: its id does not belong to it")
    return Key(parts[0], made, data[1:])


def open_checkpoint(note: str, key: Key) -> Checkpoint:
    """A signed note whose text is a checkpoint of this key's log."""
    head, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n") or re.search("[\x00-\x09\x0b-\x1f]", note):
        raise Bad("this is no signed note")
    text, signed = head + "\n", False
    signatures = tail[:-1].split("\n")
    if len(signatures) > 64:
        raise Bad("it has too many signatures")
    for line in signatures:
        found = re.fullmatch(r"— ([^\s+]+) (\S+)", line)
        if found is None:
            raise Bad("a line of signatures is malformed")
        data = unbase64(found[2], "a signature")
        if found[1] == key.name and data[:4] == key.id:
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(data[4:], text.encode())
            except (InvalidSignature, ValueError):
                raise Bad(f"the signature of {key.name} does not hold") from None
            signed = True
    if not signed:
        raise Bad(f"it is not signed by {key.name} with the key {key.id.hex()}")
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]) or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]):
        raise Bad("what is signed is no checkpoint")
    if lines[0] != key.name:
        raise Bad(f"the checkpoint is of the log {lines[0]}, not of {key.name}")
    return Checkpoint(lines[0], int(lines[1]), a_hash(lines[2]))


def notes(text: str) -> Iterator[str]:
    """The signed notes in a file that has several, one after the other."""
    lines, at, found = text.split("\n"), 0, 0
    if lines.pop() != "":
        raise Bad("the last line is cut off")
    while at < len(lines):
        if lines[at] == "":
            at += 1
            continue
        start = at
        while at < len(lines) and lines[at] != "":
            at += 1
        at += 1
        signatures = at
        while at < len(lines) and lines[at].startswith("— "):
            at += 1
        if at <= signatures:
            raise Bad(f"not every line belongs to a signed note: `{lines[start][:60]}`")
        found += 1
        yield "\n".join(lines[start:at]) + "\n"
    if not found:
        raise Bad("there is no signed note in it")


def unbase64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Bad(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Bad(f"{what} is not base64 as it is written in one way only")
    return data


def a_hash(text: str) -> bytes:
    data = unbase64(text, "a hash")
    if len(data) != 32:
        raise Bad(f"a hash has 32 bytes, not {len(data)}")
    return data


# ---- what can be asked ----------------------------------------------------------------------------------------------


def check_proof(text: str, key: Key, leaf: bytes | None = None) -> list[str]:
    """A tlog-proof. The leaf is the one given, else the one it carries; what it carries opened is checked as well."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Bad("this is no tlog-proof of version 1")
    extra = lines.pop(0)[6:] if lines and lines[0].startswith("extra ") else None
    if not lines or not re.fullmatch("index (0|[1-9][0-9]{0,18})", lines[0]):
        raise Bad("the proof does not say which entry it is of")
    index = int(lines.pop(0)[6:])
    path = [a_hash(line) for line in lines]
    carried = read_extra(extra)
    if leaf is None:
        if "leaf" not in carried:
            raise Bad("the proof does not carry its leaf: name it with --leaf")
        leaf = unbase64(carried["leaf"], "the leaf")
    said = open_checkpoint(note, key)
    if not hmac.compare_digest(root_from_path(leaf_hash(leaf), index, said.size, path), said.root):
        raise Bad(f"the leaf is not entry {index} of the log as it was signed at {said.size} entries")
    told = [f"entry {index} of the {said.size} that {said.origin} signed:", "  " + leaf.decode("utf-8", "replace")]
    if "record" in carried:
        told += check_record(leaf, carried)
    return told


def read_extra(extra: str | None) -> dict[str, str]:
    """What a proof carries: not proved by being there, so each part is checked against the leaf."""
    if extra is None:
        return {}
    try:
        found = json.loads(unbase64(extra, "the extra data"))
    except (ValueError, RecursionError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def check_record(leaf: bytes, carried: dict[str, str]) -> list[str]:
    """The record is what the leaf committed to: HMAC-SHA-256 under the record's own key."""
    try:
        committed = json.loads(leaf)["commitment"]
        key = bytes.fromhex(carried.get("key", ""))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Bad("the record cannot be checked: the leaf has no commitment, or the proof no key") from None
    record = unbase64(carried["record"], "the record")
    made = hmac.new(key, b"commit\x00" + record, hashlib.sha256).hexdigest()
    if not isinstance(committed, str) or not hmac.compare_digest(made, committed):
        raise Bad("the record is not the one that the leaf committed to")
    return ["what it was judged on, as committed to:", "  " + record.decode("utf-8", "replace")]


def check_checkpoints(text: str, key: Key) -> list[Checkpoint]:
    """Every checkpoint of a file, by size."""
    return sorted((open_checkpoint(note, key) for note in notes(text)), key=lambda one: one.size)


def check_leaves(lines: Iterator[bytes], checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Exported leaves, one a line in their order, against every checkpoint: so those are consistent with each other.

    At each size that was signed the tree of the lines so far must have the root that was signed.
    """
    tree, told, last = Tree(), [], 0
    waiting = sorted(checkpoints, key=lambda one: one.size)
    while True:
        while waiting and waiting[0].size == tree.size:
            said = waiting.pop(0)
            if said.root != tree.root():
                raise Bad(
                    f"the first {said.size} leaves are not those that were signed"
                    + (f", the first {last} are: the difference is in between" if last else "")
                )
            last = said.size
            told.append(f"the first {said.size} leaves are those that were signed")
        line = next(lines, None)
        if line is None:
            break
        tree.add(line[:-1] if line.endswith(b"\n") else line)
    if waiting:
        raise Bad(f"{waiting[0].size} entries were signed, and only {tree.size} leaves are here: some are gone")
    if tree.size > last:
        told.append(f"{tree.size - last} leaves after them are under no checkpoint that you gave")
    return told


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def text_of(path: str) -> str:
    try:
        return read(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("this is no text") from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify a log without trusting whoever runs it.")
    commands = parser.add_subparsers(dest="command", required=True)
    proof = commands.add_parser("proof", help="lines of the log are in the log")
    proof.add_argument("--leaf", help="a file with the leaf's bytes, where the proof does not carry them")
    proof.add_argument("files", nargs="+", metavar="FILE.tlog-proof")
    checkpoint = commands.add_parser("checkpoint", help="checkpoints are signed by the log")
    checkpoint.add_argument("files", nargs="+", metavar="FILE")
    leaves = commands.add_parser("leaves", help="exported leaves are those that were signed")
    leaves.add_argument("leaves", metavar="LEAVES")
    leaves.add_argument("files", nargs="+", metavar="FILE", help="checkpoints")
    for one in (proof, checkpoint, leaves):
        one.add_argument("--key", required=True, help="the log's public key, or @FILE")
    asked = parser.parse_args(arguments)
    try:
        key = read_key(asked.key)
        return checked_leaves(asked, key) if asked.command == "leaves" else checked_each(asked, key)
    except Bad as error:
        print(f"DOES NOT HOLD: {error}")
        return 1
    except OSError as error:
        print(f"cannot be read: {error.filename}: {error.strerror}", file=sys.stderr)
        return 3


def checked_each(asked: argparse.Namespace, key: Key) -> int:
    failed = 0
    for path in asked.files:
        try:
            if asked.command == "proof":
                told = check_proof(text_of(path), key, read(asked.leaf) if asked.leaf else None)
            else:
                found = check_checkpoints(text_of(path), key)
                told = [f"{one.origin} signed {one.size} entries, root {one.root.hex()}" for one in found]
            print(f"{path}: holds", *told, sep="\n  ")
        except Bad as error:
            failed = 1
            print(f"{path}: DOES NOT HOLD: {error}")
    return failed


def checked_leaves(asked: argparse.Namespace, key: Key) -> int:
    checkpoints = [one for path in asked.files for one in check_checkpoints(text_of(path), key)]
    with Path(asked.leaves).open("rb") as file:
        told = check_leaves(iter(file), checkpoints)
    print(f"{asked.leaves}: holds", *told, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
