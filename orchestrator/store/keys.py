"""The secrets this installation makes for itself, and the names that travel: attempts, link tokens, keyed hashes.

What leaves the house carries no person: an attempt is a message's number, a link token says which message it stood in,
and an address is known, once it must not be used any more, only by a hash that nobody without the key can make.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from channels.base import Medium

_ATTEMPT = re.compile(r"m([1-9]\d{0,18})a([1-9]\d{0,8})(?:d([1-9]\d{0,3}))?", re.ASCII)
_NAMES = ("address", "token", "seal", "sign")
_TOKEN = re.compile(r"v1\.(m([1-9]\d{0,18}))\.([\w-]{22})", re.ASCII)
_SHORT = re.compile(r"([\w-]{1,11})([\w-]{8})", re.ASCII)
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
FOLLOWED = "r"
"""The page of links that are followed to somewhere else."""
UNSUBSCRIBE = "u"
"""The page that most links lead to; `Keys.link_token` names the others."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Four secrets of 32 bytes each, never shown, never logged: `address` hashes addresses, `token` signs links,
    `seal` makes the keys under which personal records are kept, `sign` signs the log's checkpoints (Ed25519 seed)."""

    address: bytes = field(repr=False)
    token: bytes = field(repr=False)
    seal: bytes = field(repr=False)
    sign: bytes = field(repr=False)
    old_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    """Earlier `token` secrets, newest first: links in what was sent long ago must work for years."""

    def person_key(self, salt: bytes) -> bytes:
        """The key of the person with this salt (`customer.salt`); the house's own with an empty one."""
        return _keyed(self.seal, b"person\0" + salt)

    def hash(self, kind: str, text: str) -> str:
        """A keyed hash of what the outside calls something (an event id, a customer's key), as 32 hex digits."""
        return self._hash(kind, text)

    def address_key(self, medium: Medium | str, address: str) -> str:
        """The hash under which an address of a medium is suppressed: equal for equal addresses, however written."""
        plain = " ".join(address.split())
        # Tokens of devices are case-sensitive; nobody tells two mailboxes apart by the case of their local parts.
        plain = plain if medium == Medium.PUSH else plain.casefold()
        return self._hash("address", str(medium), plain)

    def dedupe_key(self, address_key: str, template: str, business: str = "") -> str:
        """What counts as the same content to the same address. `business`: the contract or order it is about."""
        return self._hash("content", address_key, template, business)

    def link_token(self, message_id: int, page: str = UNSUBSCRIBE) -> str:
        """What a message's own links carry, to be read by `read_link_token`. Says nothing about the recipient.

        Good for one page alone (`u` unsubscribe, `o` one-click, `p` preferences, `c` confirm, `s` survey, `r` a link
        followed, `d` the data of a person, `w` her rewards): a one-click link stands in a header that every relay
        reads, and must open no more. From the unsubscribe page the way to the preferences is shown.

        A followed link's is short, for a text is charged by its length: 48 bits of signature. Whoever forges one is
        led to a public page of the house, and a click is counted that nobody made.
        """
        name = f"m{message_id}"
        if page == FOLLOWED:
            return _in_digits(message_id) + _signature(self.token, page, name)[:8]
        return f"v1.{name}.{_signature(self.token, page, name)}"

    def read_link_token(self, token: str, page: str = UNSUBSCRIBE) -> int | None:
        """The message whose link this is; None for one that was not made here, or for another page."""
        if page == FOLLOWED:
            return self._read_short(token)
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        for key in (self.token, *self.old_tokens):
            if hmac.compare_digest(found[3], _signature(key, page, found[1])):
                return int(found[2])
        return None

    def _read_short(self, token: str) -> int | None:
        found = _SHORT.fullmatch(token)
        message_id = 0
        for digit in found[1] if found else "":
            message_id = message_id * 64 + _DIGITS.index(digit)
        if found is None or not 0 < message_id < 2**63 or _in_digits(message_id) != found[1]:
            return None
        for key in (self.token, *self.old_tokens):
            if hmac.compare_digest(found[2], _signature(key, FOLLOWED, f"m{message_id}")[:8]):
                return message_id
        return None

    def _hash(self, *parts: str) -> str:
        return _keyed(self.address, "\0".join(parts).encode())[:16].hex()


def _in_digits(number: int) -> str:
    """A number as few characters, of those of base64url."""
    out = ""
    while number:
        number, digit = divmod(number, 64)
        out = _DIGITS[digit] + out
    return out


def _signature(key: bytes, page: str, name: str) -> str:
    digest = _keyed(key, f"link\0v1\0{page}\0{name}".encode())
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def _keyed(key: bytes, text: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104): four times as fast as `hmac.digest`, which looks the algorithm up at every call."""
    begun_inner, begun_outer = _begun(key)
    inner, outer = begun_inner.copy(), begun_outer.copy()
    inner.update(text)
    outer.update(inner.digest())
    return bytes(outer.digest())


@lru_cache(maxsize=8)
def _begun(key: bytes) -> tuple[Any, Any]:
    block = hashlib.sha256(key).digest() if len(key) > 64 else key
    block = block.ljust(64, b"\0")
    return hashlib.sha256(bytes(b ^ 0x36 for b in block)), hashlib.sha256(bytes(b ^ 0x5C for b in block))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to hand a message over. `delivery` counts from 1 where a message goes to several devices, else 0."""

    message_id: int
    number: int
    delivery: int = 0

    def __str__(self) -> str:
        text = f"m{self.message_id}a{self.number}"
        return f"{text}d{self.delivery}" if self.delivery else text

    @classmethod
    def read(cls, text: str) -> Attempt | None:
        """None for what is no attempt of ours."""
        found = _ATTEMPT.fullmatch(text)
        if found is None or int(found[1]) >= 2**63:  # no database has a message of that number
            return None
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))


def postal(parts: Iterable[str | None]) -> str:
    """A postal address as one text, for its hash."""
    return "\n".join(" ".join((part or "").split()) for part in parts)


class KeysUnusable(Exception):
    """The key file cannot be read or made. The message says what to do."""


def load_keys(path: Path) -> Keys:
    """The keys in this file; made, with mode 0600, when there is none. Raises KeysUnusable.

    Lose the file and every suppression is forgotten and every link in what was sent is dead: back it up, apart from
    the database.
    """
    try:
        if not path.exists():
            _make(path)
        found = json.loads(path.read_text(encoding="ascii"))
        address, token, seal, sign = (bytes.fromhex(found[name]) for name in _NAMES)
        keys = Keys(address, token, seal, sign, tuple(bytes.fromhex(text) for text in found.get("old_tokens", ())))
    except OSError as exc:
        raise KeysUnusable(f"the key file {path} cannot be used: {exc.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise KeysUnusable(f"the key file {path} is damaged: restore it from its backup") from None
    if min(len(key) for key in (keys.address, keys.token, keys.seal, keys.sign, *keys.old_tokens)) < 32:
        raise KeysUnusable(f"the key file {path} is damaged: a key is too short; restore it from its backup")
    return keys


def rotate_token(path: Path) -> int:
    """Sign links with a new secret from now on, and keep the earlier ones in the file; returns how many those are.

    The file is replaced whole: whoever reads it meanwhile reads the old one or the new one. Raises KeysUnusable.
    """
    load_keys(path)
    try:
        with _alone(path.parent):
            found = json.loads(path.read_text(encoding="ascii"))
            old = [found["token"], *found.get("old_tokens", ())]
            draft = _draft(path, {**found, "token": secrets.token_hex(32), "old_tokens": old})
            try:
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as exc:
        raise KeysUnusable(f"the key file {path} cannot be replaced: {exc.strerror}") from None
    return len(old)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of two that rotate at once the second takes up what the first wrote."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _make(path: Path) -> None:
    """Write it whole under another name, then link: of two that start together one wins, and both read the winner's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path, {name: secrets.token_hex(32) for name in _NAMES})
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)


def _draft(path: Path, values: Mapping[str, Any]) -> Path:
    """The file's text beside it, safe on the disk, for its owner only."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(json.dumps(values))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft
