"""A text sent to its author, to be looked at in a real mailbox or on a real phone: a message like any other, judged
and logged.

It goes to our own people alone: an address must be named as an author's, and anybody else's is refused. The message is
to staff, so that nothing that comes back of it (a complaint, an unsubscription) is taken for a customer's word, and its
links open nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.apply import Force, in_force
from orchestrator.model import Json
from orchestrator.outbound import TEST, About, Asked
from orchestrator.preview import Preview, Rendering
from orchestrator.problems import Conflict
from orchestrator.project import Project
from orchestrator.store import log, outbox, sampling
from orchestrator.store.database import Store
from orchestrator.store.keys import Keys

ASKED: Final = "test_asked"
"""What the log calls it that somebody asked for test sends."""
AN_HOUR: Final = 20
"""Test sends to one address in an hour of the clock: enough to look at a journey, too few to annoy anybody."""
_ADDRESS: Final = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_NUMBER: Final = re.compile(r"\+[\d\s()/.-]+")
_KINDS: Final = {Medium.EMAIL: "e-mail", Medium.SMS: "text message"}
_GOOD_FOR: Final = timedelta(hours=12)


class NotSent(Exception):
    """No test is sent. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Tests:
    """Messages that were planned, by number, and how many more may go to this address this hour."""

    messages: tuple[int, ...]
    left: int


def plan_tests(
    store: Store,
    keys: Keys,
    project: Project,
    found: Preview,
    *,
    to: str,
    author: str,
    authors: Collection[str],
    now: datetime,
) -> Tests:
    """Plan one e-mail for each text of a preview, due now, and log who asked for it; raises NotSent. To a number (`to`
    begins with +) its text messages.

    In the customer's own language, or the first that was looked at. `authors`: the machine settings' addresses and
    numbers; beside them stand the owners of journeys in force. What goes out is what is in force: a text that was
    edited since is refused, so that nobody approves words that are not sent.
    """
    address, medium = to.strip(), Medium.EMAIL
    if _NUMBER.fullmatch(address):
        address, medium = "+" + re.sub(r"\D", "", address), Medium.SMS
    chosen = _chosen(found, medium)

    def work(conn: sa.Connection) -> Tests:
        force = in_force(conn)
        if force is None:
            raise NotSent("nothing is in force yet; run `orchestrator apply` first")
        _allowed(conn, force, address, medium, authors)
        for one in chosen:
            _as_in_force(force, project, one)
        names = _free(conn, keys, medium, address, now, len(chosen))
        asked = [_asked(one, name, address, author, now) for one, name in zip(chosen, names.taken, strict=True)]
        if outbox.plan(conn, asked, now) != len(asked):
            raise Conflict("another test send came between; try again")
        ids = outbox.asked_before(conn, [f"{TEST}:{name}" for name in names.taken])
        texts = [f"{one.text.template}{f' {one.locale}' if one.locale else ''}" for one in chosen]
        log.operation(conn, now, ASKED, by=author, body={"messages": sorted(ids.values()), "texts": texts})
        return Tests(tuple(sorted(ids.values())), names.left)

    return store.written(work)


def _chosen(found: Preview, medium: Medium) -> list[Rendering]:
    """One rendering of each text of a medium, as it would go out. Raises NotSent."""
    first: dict[int, Rendering] = {}
    for one in found.renderings:
        if one.values == "usual":
            first.setdefault(id(one.text), one)
    chosen = [one for one in first.values() if one.text.medium is medium and one.text.template]
    if not chosen:
        there = {one.text.medium for one in first.values() if one.text.template}
        other = "a number, as +4915…" if medium is Medium.EMAIL else "an address"
        elsewhere = there & (_KINDS.keys() - {medium})
        raise NotSent(
            f"there is no {_KINDS[medium]} here: "
            + (f"send it to {other}" if elsewhere else "only e-mails and text messages are sent, look at the page")
        )
    for one in chosen:
        if one.outbound is None or one.gaps:
            lacking = one.refused or f"missing_value: {', '.join(one.gaps)}"
            raise NotSent(f"{one.text.name} would be refused ({lacking}); take another customer, or say --made-up")
    return chosen


def _allowed(conn: sa.Connection, force: Force, address: str, medium: Medium, authors: Collection[str]) -> None:
    if address.casefold() in {known.casefold() for known in authors}:
        return
    if medium is Medium.SMS:
        raise NotSent(
            f'{address} is no author\'s number; name it under `[preview]` in orchestrator.toml: authors = ["{address}"]'
        )
    owners = {journey.owner.strip().casefold() for journey in force.project.journeys.values()}
    if not _ADDRESS.fullmatch(address) or address.casefold() not in owners:
        raise NotSent(
            f"{address} is no author's address; name it under `[preview]` in orchestrator.toml: "
            f'authors = ["{address}"], or be the owner of a journey that is in force'
        )
    if sampling.is_a_customers(conn, address):
        raise NotSent(
            f"{address} owns a journey, and is a customer's address, too; if it is yours, name it under `[preview]` in "
            "orchestrator.toml as one of the `authors`"
        )


def _as_in_force(force: Force, project: Project, one: Rendering) -> None:
    """What goes out are the words in force, never a draft."""
    medium, name = one.text.medium, one.text.template
    here = [t.hash for t in project.templates.every(medium, name)]
    there = [t.hash for t in force.project.templates.every(medium, name)]
    if here != there:
        raise NotSent(f"{name} is not in force as it stands here; run `orchestrator apply` first, or look at the page")


@dataclass(frozen=True, slots=True)
class _Names:
    taken: tuple[str, ...]
    left: int


def _free(conn: sa.Connection, keys: Keys, medium: Medium, address: str, now: datetime, wanted: int) -> _Names:
    """Names for so many tests, of the few that an address has in an hour: two who ask at once cannot have the same."""
    hour = f"{keys.address_key(medium, address)}:{now:%Y-%m-%dT%H}"
    every = [f"{hour}:{n}" for n in range(1, AN_HOUR + 1)]
    known = outbox.asked_before(conn, [f"{TEST}:{name}" for name in every])
    free = [name for name in every if f"{TEST}:{name}" not in known]
    if len(free) < wanted:
        raise NotSent(
            f"{wanted} test sends are asked for, and {len(free)} of {AN_HOUR} an hour are left to this address; "
            f"from {(now + timedelta(hours=1)):%H}:00 UTC on there are more"
        )
    return _Names(tuple(free[:wanted]), len(free) - wanted)


def _asked(one: Rendering, name: str, address: str, author: str, now: datetime) -> Asked:
    due, text = one.due, one.text
    assert due is not None
    own = {part: value for part, value in due.payload.items() if part in ("event", "record", "from", "locale")}
    payload: Json = {**own, "to": address, "by": author, "dedupe": "off"}
    if text.journey is not None:
        payload["journey"] = text.journey.name
    if made := _sample(one.made):
        payload["sample"] = made
    return Asked(
        TEST,
        name,
        "staff",  # the author, whoever it is about: a no that comes back is not the customer's
        due.customer_id or 0,
        due.customer_id,
        due.account_id,
        text.medium,
        text.template,
        text.topic,
        text.purpose,
        expires_at=now + _GOOD_FOR,
        payload=payload,
    )


def _sample(made: Mapping[str, Any]) -> Json:
    """What was made up, as a message's payload keeps it. Nothing of a person's."""
    return {part: _plain(value) for part, value in made.items() if value and part in About.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value
