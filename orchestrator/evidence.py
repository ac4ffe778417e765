"""Is what stands beside the log what the log says? Evidence and wordings of consents, and the messages themselves.

A consent event holds a commitment to its evidence and the hash of the words shown; a message's row says what the last
line about it says. None of the three is append-only, so each is held against the ledger that is.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from orchestrator.leaf import name_of
from orchestrator.store import judged, vault
from orchestrator.store.consents import wording_hash
from orchestrator.store.judged import Destroyed, Proven
from orchestrator.store.keys import Keys

CHUNK = 5000
CODES: Mapping[str, str] = {
    "evidence": "what proves a consent, or the words that were shown, is not what the ledger committed to, or is gone",
    "message": "a message's row says otherwise than the log",
}
"""What a finding about what stands beside the log means, by its code."""


class Told(NamedTuple):
    """A finding before it is placed: the ledger and its row ("" and 0: no ledger's), by name, and what is wrong."""

    ledger: str
    row_id: int
    row: str
    what: str
    code: str


Excused = Callable[[int, datetime], Destroyed | None]
"""(customer, received at) → the line of the log by which evidence is not kept any more; None: there is none."""


def beside(conn: sa.Connection, keys: Keys, excused: Excused, checked: Counter[str]) -> Iterator[Told]:
    """Everything that is wrong; `checked` counts what was looked at. Reads only, in batches."""
    after = 0
    while chunk := judged.proven(conn, after, CHUNK):
        yield from _evidence(conn, keys, excused, chunk, checked)
        after = chunk[-1].id
    for digest, text, first in judged.wordings(conn):
        checked["wordings"] += 1
        if text is None:
            yield Told("consent_event", first, name_of("consent_event", first), "the words shown are gone", "evidence")
        elif wording_hash(text) != digest:
            what = "the words shown were changed since"
            yield Told("consent_event", first, name_of("consent_event", first), what, "evidence")
    for message_id, state in judged.unallowed(conn):
        what = f"it is said to be {state}, and no decision in the log allowed it"
        yield Told("", 0, f"message {message_id}", what, "message")
    for message_id, state, last in judged.contradicted(conn):
        what = f"it is said to be {state}, and the log's last word on it is {last}"
        yield Told("", 0, f"message {message_id}", what, "message")


def _evidence(
    conn: sa.Connection, keys: Keys, excused: Excused, chunk: Sequence[Proven], checked: Counter[str]
) -> Iterator[Told]:
    salts = judged.salts(conn, {one.customer_id for one in chunk})
    for one in chunk:
        checked["evidence of consents"] += 1
        if one.body is None or one.salt is None:
            what = "" if excused(one.customer_id, one.received_at) else "its evidence is gone, though nobody was erased"
        elif one.owner != one.customer_id:
            what = "its evidence is kept under the key of somebody else"
        elif (salt := salts.get(one.customer_id)) is None:
            gone = "its evidence is there, and the key of whom it is about is gone"
            what = "" if excused(one.customer_id, one.received_at) else gone
        else:
            what = _opens(keys.person_key(salt), one)
        if what:
            yield Told("consent_event", one.id, name_of("consent_event", one.id), what, "evidence")


def _opens(person_key: bytes, one: Proven) -> str:
    assert one.salt is not None and one.body is not None
    try:
        record = vault.unseal(person_key, bytes(one.salt), bytes(one.body))
    except vault.Damaged:
        return "its evidence does not open: it was changed, or the keys are others"
    made = vault.commitment(vault.record_key(person_key, bytes(one.salt)), record)
    return "" if hmac.compare_digest(made, bytes(one.commitment)) else "its evidence is not what was committed to"
