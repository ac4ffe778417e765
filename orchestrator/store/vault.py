"""Personal records of the log and the ledgers: each under a key of its own, which only its person's key can make.

A record's key is HMAC(person's key, the record's salt). The record is encrypted under it (AES-256-GCM), and a ledger
holds a commitment to it, HMAC(record's key, record): whoever is given the record and its key can check that this is
what was committed to, and nobody else can guess what it was. Destroying the salt destroys the record; destroying the
person's salt destroys all of hers; the commitments stand, and so does the tree over them.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SALT = 16
_NONCE = bytes(12)  # a record's key seals one record and no other
_COMMIT = b"commit\0"


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


class Sealed(NamedTuple):
    """A record as it is stored, and the ledger's commitment to it."""

    salt: bytes
    body: bytes
    commitment: bytes


class Damaged(Exception):
    """A sealed record does not open with its person's key: it was changed, or the key is another one."""


def seal(person_key: bytes, record: bytes, salt: bytes) -> Sealed:
    """`salt`: SALT random bytes, never used before."""
    key = _hmac(person_key, salt)
    return Sealed(salt, AESGCM(key).encrypt(_NONCE, record, None), _hmac(key, _COMMIT + record))


def unseal(person_key: bytes, salt: bytes, body: bytes) -> bytes:
    """The record. Raises Damaged."""
    try:
        return AESGCM(_hmac(person_key, salt)).decrypt(_NONCE, body, None)
    except InvalidTag:
        raise Damaged from None


def record_key(person_key: bytes, salt: bytes) -> bytes:
    """What is handed to an auditor together with a record, and opens nothing else."""
    return _hmac(person_key, salt)


def commitment(key: bytes, record: bytes) -> bytes:
    """What the ledger must hold for this record under its key."""
    return _hmac(key, _COMMIT + record)
