"""Lists of addresses not to be used, as they are imported: keyed hashes, and nothing of the people on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.outbound import listed_texts
from orchestrator.store.database import bound_keys, insert_many, key_list, update_many
from orchestrator.store.keys import Keys
from orchestrator.store.people import take_turns
from orchestrator.store.tables import suppression

VOICE = "voice"
"""The medium of calls: a number that must not be called may still be one that may be texted."""


class Listed(NamedTuple):
    """One row of a list: the keys under which it is found again, (medium, address key) each."""

    keys: tuple[tuple[str, str], ...]
    reason: str
    until: datetime | None
    source: str


def listed_keys(keys: Keys, list_name: str, values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(medium, address key) of what a row names: address, number, or street with name; of one medium where it says so.

    A number is one for texts and for calls, on a do-not-call list for calls alone.
    """
    found: list[tuple[str, str]] = []
    if address := values.get("address"):
        found.append((Medium.EMAIL.value, keys.address_key(Medium.EMAIL, address)))
    if number := values.get("number"):
        media = (VOICE,) if list_name == "do_not_call" and not values.get("medium") else (Medium.SMS.value, VOICE)
        found += [(medium, keys.address_key(medium, number)) for medium in media]
    if values.get("street"):
        to = {part: values.get(part) or "" for part in ("name", "street", "postcode", "country")}
        named, everybody = listed_texts(to)
        found.append((Medium.MAIL.value, postal_key(keys, named if to["name"] else everybody)))
    only = values.get("medium")
    return tuple(pair for pair in found if not only or pair[0] == only)


def postal_keys(keys: Keys, to: Mapping[str, str]) -> tuple[str, ...]:
    """The keys under which a list may have a letter's recipient: by name, and as one of those at the address."""
    return tuple(postal_key(keys, text) for text in listed_texts(to))


def postal_key(keys: Keys, text: str) -> str:
    return keys.hash("listed", text)


Put = Literal["inserted", "updated", "unchanged"]


def put_on_list(conn: sa.Connection, rows: Sequence[Listed], now: datetime) -> list[Put]:
    """Suppress what these rows name; what a list says of an entry's end anew counts. Three statements, or four."""
    take_turns(conn, "suppression")
    s = suppression.c
    listed = key_list(conn, {key for row in rows for _, key in row.keys})
    media = sorted({medium for row in rows for medium, _ in row.keys})
    query = sa.select(s.id, s.medium, s.address_key, s.reason, s.until).join(listed, listed.c.key == s.address_key)
    known: dict[tuple[str, str, str], tuple[int | None, datetime | None]] = {
        (r.medium, r.address_key, r.reason): (r.id, r.until) for r in conn.execute(query.where(s.medium.in_(media)))
    }
    fresh: dict[tuple[str, str, str], dict[str, Any]] = {}
    changed: dict[int, dict[str, Any]] = {}
    outcomes: list[Put] = []
    for row in rows:
        outcome: Put = "unchanged"
        for medium, key in row.keys:
            place = (medium, key, row.reason)
            if place not in known:
                fresh[place] = {"medium": medium, "address_key": key, "reason": row.reason, "since": now}
                fresh[place] |= {"until": row.until, "source": row.source}
                known[place] = (None, row.until)
                outcome = "inserted"
                continue
            there, until = known[place]
            if until == row.until:
                continue
            known[place] = (there, row.until)
            if there is None:
                fresh[place]["until"] = row.until
            else:
                changed[there] = {"id": there, "until": row.until}
            outcome = "updated" if outcome == "unchanged" else outcome
        outcomes.append(outcome)
    insert_many(conn, suppression, list(fresh.values()), ignore_conflicts=True)
    update_many(conn, suppression, list(changed.values()), where=("id",))
    return outcomes


def lift(conn: sa.Connection, pairs: Iterable[tuple[str, str]], reason: str) -> int:
    """Take (medium, address key) off again, of this reason alone and never what a list says; returns how many."""
    wanted = set(pairs)
    if not wanted:
        return 0
    media, keys = {medium for medium, _ in wanted}, {key for _, key in wanted}
    values = {"media": sorted(media), "keys": list(keys), "because": reason}
    return conn.execute(_lift(conn.dialect.name), values).rowcount


@cache
def _lift(dialect: str) -> sa.Delete:
    s, keys, media = suppression.c, bound_keys(dialect), bound_keys(dialect, "media")
    these = (s.address_key.in_(sa.select(keys.c.key)), s.medium.in_(sa.select(media.c.key)))
    return sa.delete(suppression).where(*these, s.reason == sa.bindparam("because"), s.source == "")
