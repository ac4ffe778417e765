"""The ledger of consents: what people said, appended; what holds now, derived from it; the evidence, sealed.

What is current is one row for each ground on which there is a yes since the last no (of one customer, medium and
topic), and beside them the last no itself: it ends older yeses of the other kind, the general one or the topic's own.
A question that nobody answered stands alone. All of it follows from the ledger, in whatever order that came in.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from channels.base import Medium
from orchestrator.model import Json
from orchestrator.rules import Consent
from orchestrator.store import vault
from orchestrator.store.database import allocate_ids, bound_ids, bound_keys, id_list, insert_many
from orchestrator.store.keys import Keys
from orchestrator.store.people import salts, take_turns
from orchestrator.store.tables import consent_current, consent_event, consent_evidence, consent_wording, customer

EVIDENCE = ("source", "source_url", "ip", "agent", "evidence", "third_parties")
"""What may name a person: kept sealed, apart from the ledger."""
ASKED = "request"
"""What stands as the basis of an unanswered request: it must not hide the no that it came after."""
_PLAIN = ("basis", "method", "expires_at", "jurisdiction", "wording_version", "language")
_SAID = ("customer_id", "medium", "topic", "action", "occurred_at", "received_at")
_COLUMNS = ("id", "key", *_SAID, *_PLAIN, "wording", "commitment", "answers")
_said_in = itemgetter(*_SAID)
_DECODE = msgspec.json.Decoder().decode
_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_CURRENT = ("customer_id", "medium", "topic", "basis", "state", "event_id", "since", "confirmed", "until")


# ---- what was said --------------------------------------------------------------------------------------------------


def record_consents(conn: sa.Connection, keys: Keys, rows: Sequence[Mapping[str, Any]]) -> int:
    """Append consent events that are not there yet, by key, and bring what is current up to date; returns how many.

    Rows have key (the sender's own id of the event), customer_id, medium, topic ("*": every topic of the medium),
    action, occurred_at, received_at, and what is known of: basis, method, expires_at, jurisdiction, wording (the words
    shown), wording_version, language, answers (the sender's id of the request that is confirmed), and EVIDENCE.

    A fixed number of statements. Evidence of one who was erased is not kept: nobody could open it.
    """
    if not rows:
        return 0
    take_turns(conn, "consent_event")
    unique: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        unique.setdefault(keys.hash("consent", row["key"]), row)
    for key in conn.execute(_known(conn.dialect.name), {"keys": list(unique)}).scalars().all():
        del unique[key]
    if not unique:
        return 0
    evidence = {key: told for key, row in unique.items() if (told := _evidence(row))}
    salt_of = salts(conn, {unique[key]["customer_id"] for key in evidence})
    person_keys = {i: keys.person_key(salt) for i, salt in salt_of.items()}
    sealed = {
        key: vault.seal(person_keys[who], told, secrets.token_bytes(vault.SALT))
        for key, told in evidence.items()
        if (who := unique[key]["customer_id"]) in person_keys
    }
    wordings = {text: wording_hash(text) for row in unique.values() if (text := row.get("wording"))}
    ids = allocate_ids(conn, consent_event, len(unique))
    events, boxes = [], []
    for event_id, (key, row) in zip(ids, unique.items(), strict=True):
        answers, kept = row.get("answers"), sealed.get(key)
        wording = wordings.get(row.get("wording") or "")
        named = keys.hash("consent", answers) if answers else None
        more = (wording, kept.commitment if kept else None, named)
        events.append((event_id, key, *_said_in(row), *map(row.get, _PLAIN), *more))
        if kept:
            boxes.append((event_id, row["customer_id"], kept.salt, kept.body))
    insert_many(conn, consent_event, events, columns=_COLUMNS)
    _keep_wordings(conn, wordings, rows[0])
    insert_many(conn, consent_evidence, boxes, columns=("event_id", "customer_id", "salt", "body"))
    _derive(conn, sorted({row["customer_id"] for row in unique.values()}))
    return len(events)


@cache
def _known(dialect: str) -> sa.Select[tuple[str]]:
    listed = bound_keys(dialect)
    return sa.select(consent_event.c.key).join(listed, listed.c.key == consent_event.c.key)


def wording_hash(text: str) -> str:
    """Under what a wording is kept: SHA-256 of its UTF-8, as hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _keep_wordings(conn: sa.Connection, wordings: Mapping[str, str], row: Mapping[str, Any]) -> None:
    at = row["received_at"]
    kept = [{"hash": digest, "text": text, "created_at": at} for text, digest in wordings.items()]
    insert_many(conn, consent_wording, kept, ignore_conflicts=True)


def _evidence(row: Mapping[str, Any]) -> bytes:
    """The evidence as it is sealed and committed to: canonical JSON; empty when there is none."""
    told = {name: value for name in EVIDENCE if name in row and (value := row[name])}
    return _ENCODE(told) if told else b""


# ---- what it is known by -------------------------------------------------------------------------------------------


class Known(NamedTuple):
    """What an event's evidence says; None with `gone`: "erased", "damaged", or "" when there never was any."""

    evidence: Json | None
    gone: str


def evidence_of(conn: sa.Connection, keys: Keys, ids: Iterable[int]) -> dict[int, Known]:
    """The evidence of consent events, by id, opened where it can be: three statements."""
    listed = id_list(conn, sorted(set(ids)))
    e, kept = consent_event.c, consent_evidence.c
    query = (
        sa.select(e.id, e.customer_id, e.commitment, kept.salt, kept.body)
        .join(listed, listed.c.id == e.id)
        .outerjoin(consent_evidence, kept.event_id == e.id)
    )
    rows = conn.execute(query).all()
    person_keys = {
        i: keys.person_key(salt) for i, salt in salts(conn, {r.customer_id for r in rows}, make=False).items()
    }
    found = {}
    for row in rows:
        key = person_keys.get(row.customer_id)
        if row.commitment is None:
            found[row.id] = Known(None, "")
        elif row.body is None or key is None:
            found[row.id] = Known(None, "erased")
        else:
            found[row.id] = _opened(key, row)
    return found


def _opened(person_key: bytes, row: Any) -> Known:
    salt, commitment = bytes(row.salt), bytes(row.commitment)
    try:
        told = vault.unseal(person_key, salt, bytes(row.body))
    except vault.Damaged:
        return Known(None, "damaged")
    if vault.commitment(vault.record_key(person_key, salt), told) != commitment:
        return Known(None, "damaged")
    return Known(_DECODE(told), "")


def words_of(conn: sa.Connection, keys: Keys | None, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Consent events by id, as people are told of them: what was said, when and how, the words shown, the source.

    A confirmation is on the ground, and of the words, of the request that it answers, where it has none of its own.
    `sealed` is why there is no source: "erased", "damaged", "closed" (no keys are here), or "" (or none was given).
    """
    wanted = sorted(set(ids))
    listed = id_list(conn, wanted)
    asked, text = consent_event.alias("asked"), consent_wording.c
    e, a = consent_event.c, asked.c
    shown = sa.func.coalesce(e.wording, a.wording)
    ground = sa.case(
        (e.action.in_(("grant", "confirm", "import")), sa.func.coalesce(e.basis, a.basis, "express")), else_=e.basis
    )
    query = (
        sa.select(e.id, e.medium, e.topic, e.action, e.occurred_at, e.method, e.jurisdiction, e.commitment)
        .add_columns(ground.label("basis"), shown.label("wording_hash"), text.text.label("wording"))
        .add_columns(sa.func.coalesce(e.wording_version, a.wording_version).label("wording_version"))
        .select_from(consent_event.outerjoin(asked, answered(e, a)).outerjoin(consent_wording, text.hash == shown))
        .join(listed, listed.c.id == e.id)
    )
    known = evidence_of(conn, keys, wanted) if keys is not None else {}
    found = {}
    for row in conn.execute(query).mappings():
        told = {name: value for name, value in row.items() if name != "commitment"}
        evidence, gone = known.get(row["id"], (None, "closed" if row["commitment"] is not None else ""))
        source = (evidence or {}).get("source") or (evidence or {}).get("source_url")
        found[row["id"]] = {**told, "source": source, "sealed": gone}
    return found


def standing(conn: sa.Connection, keys: Keys | None, customer_id: int) -> list[dict[str, Any]]:
    """What stands of a customer's consents, each with the event it follows from; a no that a yes has answered, not."""
    c = consent_current.c
    columns = (c.medium, c.topic, c.state, c.since, c.event_id, c.basis, c.confirmed, c.until)
    rows = conn.execute(sa.select(*columns).where(c.customer_id == customer_id).order_by(c.medium, c.topic, c.basis))
    current = [dict(row) for row in rows.mappings()]
    agreed = {(row["medium"], row["topic"]) for row in current if row["state"] == "granted"}
    current = [row for row in current if row["state"] == "granted" or (row["medium"], row["topic"]) not in agreed]
    words = words_of(conn, keys, (row["event_id"] for row in current))
    more = ("method", "source", "sealed", "jurisdiction", "wording", "wording_hash", "wording_version")
    for row in current:
        row["basis"] = row["basis"] if row["state"] == "granted" else None
        row |= {name: words[row["event_id"]][name] for name in more}
    return current


# ---- what is current ------------------------------------------------------------------------------------------------


def current(conn: sa.Connection, customers: Iterable[int], medium: Medium) -> dict[int, tuple[Consent, ...]]:
    """What holds on a medium, by customer: one statement."""
    rows = conn.execute(_of_medium(conn.dialect.name), {"ids": list(customers), "of": medium.value})
    found: dict[int, list[Consent]] = {}
    for customer_id, topic, state, since, event_id, basis, confirmed, until in rows:
        ground = basis if state == "granted" else ""
        found.setdefault(customer_id, []).append(Consent(topic, state, since, event_id, ground, confirmed, until))
    return {key: tuple(value) for key, value in found.items()}


@cache
def _of_medium(dialect: str) -> sa.Select[Any]:
    c, listed = consent_current.c, bound_ids(dialect)
    columns = (c.customer_id, c.topic, c.state, c.since, c.event_id, c.basis, c.confirmed, c.until)
    return sa.select(*columns).join(listed, listed.c.id == c.customer_id).where(c.medium == sa.bindparam("of"))


def rebuild_consent_current(conn: sa.Connection) -> None:
    """Derive what is current anew from the whole ledger."""
    take_turns(conn, "consent_event")
    conn.execute(sa.delete(consent_current))
    conn.execute(consent_current.insert().from_select(_CURRENT, current_of(None)))


def _derive(conn: sa.Connection, customers: Sequence[int]) -> None:
    for statement in _anew(conn.dialect.name):
        conn.execute(statement, {"ids": customers})


@cache
def _anew(dialect: str) -> tuple[sa.Delete, sa.Insert]:
    """What stands of these customers goes, and what the ledger says comes."""
    customers = sa.select(bound_ids(dialect).c.id)
    gone = sa.delete(consent_current).where(consent_current.c.customer_id.in_(customers))
    return gone, consent_current.insert().from_select(_CURRENT, current_of(customers))


def differing(conn: sa.Connection) -> int:
    """How many rows of what is current the ledger says otherwise, does not say, or says and they are missing; the
    greater of what is too much and what is too little, so that one row that says something else is one."""
    stands = sa.select(*(consent_current.c[name] for name in _CURRENT))
    said = sa.select(current_of(None).subquery())
    return max(
        int(conn.execute(sa.select(sa.func.count()).select_from(one.except_(other).subquery())).scalar_one())
        for one, other in ((stands, said), (said, stands))
    )


def current_of(customers: Any | None) -> Any:
    """What the ledger says is current, of these customers (a select of ids) or of all: rows as `consent_current`'s.

    A withdrawal or an expiry wins over a yes of the same instant. A confirmation takes its ground and its end from the
    request that it answers, where it does not state its own; one that names a request nobody knows proves nothing.
    """
    said = _said(customers)
    of_one = (said.c.customer_id, said.c.medium, said.c.topic)
    newer = sa.or_(said.c.no_at.is_(None), said.c.at > said.c.no_at)
    yes = sa.and_(said.c.action.in_(("grant", "confirm", "import")), newer)
    weighed = sa.select(
        said,
        sa.case((yes, 1), else_=0).label("yes"),
        sa.func.max(sa.case((yes, 1), else_=0)).over(partition_by=of_one).label("any_yes"),
        sa.func.max(sa.case((sa.and_(yes, said.c.proves == 1), 1), else_=0)).over(partition_by=of_one).label("proven"),
        newer.label("newer"),
    ).subquery()
    w = weighed.c
    kind = sa.case(
        (w.yes == 1, w.ground),
        (w.action.in_(("withdraw", "expire")), ""),
        (sa.and_(w.action == "request", w.newer, w.any_yes == 0), ASKED),
    )
    # Two noes of one instant: the withdrawal is the stronger word.
    order = (w.at.desc(), sa.case((w.action == "withdraw", 1), else_=0).desc(), w.id.desc())
    place = sa.func.row_number().over(partition_by=(w.customer_id, w.medium, w.topic, kind), order_by=order)
    found = sa.select(weighed, kind.label("kind"), place.label("n")).subquery()
    f = found.c
    state = sa.case(
        (f.yes == 1, "granted"), (f.action == "withdraw", "withdrawn"), (f.action == "expire", "expired"),
        else_="requested",
    )  # fmt: skip
    return sa.select(
        f.customer_id,
        f.medium,
        f.topic,
        f.kind.label("basis"),
        state.label("state"),
        f.id.label("event_id"),
        f.at.label("since"),
        sa.and_(f.yes == 1, f.proven == 1).label("confirmed"),
        sa.case((f.yes == 1, f.until)).label("until"),
    ).where(f.n == 1, f.kind.isnot(None))


def answered(e: Any, a: Any) -> Any:
    """The request that a confirmation names: of the same customer, medium and topic."""
    same = (a.customer_id == e.customer_id, a.medium == e.medium, a.topic == e.topic)
    return sa.and_(e.action == "confirm", a.key == e.answers, a.action == "request", *same)


def _said(customers: Any | None, medium: str = "") -> sa.Subquery:
    """Every event with when it counts (`at`), the last no about its topic (`no_at`), its ground and its end."""
    event, asked = consent_event, consent_event.alias("asked")
    e, a = event.c, asked.c
    # A yes dated in the future (a wrong clock, a wrong zone) must not outlive a no that came after it.
    at = sa.case((e.occurred_at > e.received_at, e.received_at), else_=e.occurred_at)
    no = e.action.in_(("withdraw", "expire"))
    proves = sa.and_(e.action == "confirm", sa.or_(e.answers.is_(None), a.id.isnot(None)))
    query = sa.select(
        e.customer_id,
        e.medium,
        e.topic,
        e.id,
        e.action,
        at.label("at"),
        sa.func.max(sa.case((no, at))).over(partition_by=(e.customer_id, e.medium, e.topic)).label("no_at"),
        sa.func.coalesce(e.basis, a.basis, "express").label("ground"),
        sa.func.coalesce(e.expires_at, a.expires_at).label("until"),
        sa.case((proves, 1), else_=0).label("proves"),
    ).select_from(event.outerjoin(asked, answered(e, a)))
    if customers is not None:
        query = query.where(e.customer_id.in_(customers))
    if medium:
        query = query.where(e.medium == medium)
    return query.subquery()


# ---- what a START brings back ---------------------------------------------------------------------------------------


class Given(NamedTuple):
    """A yes as it stood before a no."""

    topic: str
    basis: str
    confirmed: bool
    until: datetime | None


def given_before(conn: sa.Connection, customer_id: int, medium: str, topic: str) -> list[Given]:
    """What was in force until the last withdrawal of exactly this topic ("*": of the medium), and only that: no topic
    that was refused by itself. One statement."""
    said = _said(sa.select(sa.literal(customer_id, sa.BigInteger())), medium)
    rows = conn.execute(sa.select(said).order_by(said.c.at, said.c.id)).all()
    stop = max((row.at for row in rows if row.topic == topic and row.action == "withdraw"), default=None)
    if stop is None:
        return []
    noes: dict[str, list[datetime]] = {}
    for row in rows:
        if row.action in ("withdraw", "expire") and not (row.topic == topic and row.at >= stop):
            noes.setdefault(row.topic, []).append(row.at)
    general = max((at for at in noes.get("*", ()) if at < stop), default=None)
    found: dict[tuple[str, str], Given] = {}
    proven = set()
    for row in rows:
        own = max(noes.get(row.topic, ()), default=None)
        old = any(no is not None and row.at <= no for no in (own, general))
        if row.action in ("grant", "confirm", "import") and not old and row.at < stop and topic in ("*", row.topic):
            found[row.topic, row.ground] = Given(row.topic, row.ground, False, row.until)
            if row.proves:
                proven.add(row.topic)
    return [given._replace(confirmed=given.topic in proven) for given in found.values()]


# ---- two records of one person --------------------------------------------------------------------------------------


def to_carry(conn: sa.Connection, keep: int, drop: int, *, now: datetime) -> list[dict[str, Any]]:
    """Consent events that a merge says anew for `keep`. Withdrawals win: one of `drop` is said again, now; whatever
    else `drop` said goes over, with its time and grounds, only where `keep` has said nothing."""
    ours, theirs = _rows_of(conn, keep), _rows_of(conn, drop)
    refused = {key for key, rows in ours.items() if _word(rows) == "withdrawn"}
    carried = []
    for (medium, topic), rows in theirs.items():
        if _word(rows) == "withdrawn":
            no = next(row for row in rows if row["state"] == "withdrawn")
            carried.append(_said_anew(no, keep, drop) | {"action": "withdraw", "occurred_at": now})
        elif (medium, topic) not in ours and not _answers_one(medium, topic, refused):
            carried += _carried(rows, keep, drop)
    return carried


def _answers_one(medium: str, topic: str, refused: Iterable[tuple[str, str]]) -> bool:
    """Whether a yes of the other record would speak against a no of ours: the general one, or under "*" any."""
    return any(where == medium and (topic == "*" or about == "*") for where, about in refused)


def _rows_of(conn: sa.Connection, customer_id: int) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """What is current of one customer, each row with its event, by medium and topic."""
    now, e, w = consent_current.c, consent_event.c, consent_wording.c
    more = (e.action, e.method, e.jurisdiction, e.wording_version, e.language, w.text.label("wording"))
    query = (
        sa.select(consent_current, *more)
        .join(consent_event, e.id == now.event_id)
        .outerjoin(consent_wording, w.hash == e.wording)
        .where(now.customer_id == customer_id)
        .order_by(now.medium, now.topic, now.basis)
    )
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in conn.execute(query).mappings():
        found.setdefault((row["medium"], row["topic"]), []).append(dict(row))
    return found


def _word(rows: Sequence[Mapping[str, Any]]) -> str:
    """What rows of one medium and topic come to: a yes is newer than the no beside it, a request says neither."""
    states = {row["state"] for row in rows}
    return next(state for state in ("granted", "withdrawn", "expired", "requested") if state in states)


def _carried(rows: Sequence[Mapping[str, Any]], keep: int, drop: int) -> list[dict[str, Any]]:
    confirmed = any(row["confirmed"] for row in rows)
    carried = []
    for row in rows:
        said = _said_anew(row, keep, drop)
        if row["state"] == "granted":
            said |= {"action": "confirm" if confirmed else "grant", "basis": row["basis"], "expires_at": row["until"]}
        carried.append(said)
    return carried


def _said_anew(row: Mapping[str, Any], keep: int, drop: int) -> dict[str, Any]:
    kept = ("medium", "topic", "action", "jurisdiction", "wording", "wording_version", "language")
    return {
        "key": f"merge:{drop}:{keep}:{row['event_id']}",
        "customer_id": keep,
        **{name: row[name] for name in kept},
        "occurred_at": row["since"],
        "method": "merge",
        "source": f"consent event {row['event_id']} of customer {drop}",
    }


_UNCONFIRMED = (
    sa.select(consent_current.c.medium, customer.c.country, consent_current.c.basis, sa.func.count())
    .join(customer, customer.c.id == consent_current.c.customer_id)
    .where(
        consent_current.c.state == "granted",
        consent_current.c.confirmed == sa.false(),
        customer.c.merged_into.is_(None),
        customer.c.left_at.is_(None),
        customer.c.country.is_not(None),
    )
    .group_by(consent_current.c.medium, customer.c.country, consent_current.c.basis)
)


def unconfirmed(conn: sa.Connection, needs: Mapping[tuple[str, str], Collection[str]]) -> dict[tuple[str, str], int]:
    """Yeses that hold and were never confirmed, by (medium, country as stated). `needs`: where that is asked for, by
    the same, and of which grounds."""
    found: dict[tuple[str, str], int] = {}
    for medium, country, basis, n in conn.execute(_UNCONFIRMED).tuples():
        if (basis or "express") in needs.get((medium, country), ()):
            found[medium, country] = found.get((medium, country), 0) + n
    return found
