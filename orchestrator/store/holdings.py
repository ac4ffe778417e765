"""Everything held about one person, for her to read: by set, and nobody else's data beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.store import log
from orchestrator.store.database import id_list, key_list
from orchestrator.store.keys import Keys
from orchestrator.store.rights import Person, addresses_of
from orchestrator.store.tables import (
    account,
    achievement,
    band_change,
    claim,
    consent_current,
    consent_event,
    consent_evidence,
    consent_wording,
    customer,
    declared,
    device,
    enrollment,
    event,
    feedback,
    loyalty,
    message,
    player,
    point_entry,
    preference,
    record,
    referral,
    referral_code,
    reservation,
    segment_member,
    support_case,
    suppression,
    ticket,
    tier_change,
    touch,
    trace,
    voucher,
)
from orchestrator.store.vault import Damaged, unseal

Row = dict[str, Any]
_UNIT = frozenset(
    {"unit", "unit_id", "referred_unit", "referred_id", "event_id", "of_id", "voucher_id", "enrollment_id"}
)
_OURS = frozenset({"id", "salt", "account_id", "partner_id", "merged_into", "erased_at", "customer_id"})
"""Columns that are how we keep things, and tell nothing about anybody."""


def held(conn: sa.Connection, one: Person, keys: Keys) -> Row:
    """By kind, each a list of plain rows in order of time. Sealed records are opened; of what was destroyed the row
    says so. Colleagues of her company, its staff and who else got a message are not in it."""
    ids = id_list(conn, one.ids)
    hers = sa.select(ids.c.id)
    messages = _messages(conn, hers)
    return {
        "profile": [_profile(row) for row in one.rows],
        "company": _rows(
            conn,
            sa.select(account.c.key, account.c.name, account.c["class"], account.c.tier, account.c.country)
            .where(account.c.id.in_(sa.select(customer.c.account_id).where(customer.c.id.in_(hers))))
            .order_by(account.c.id),
        ),
        "partner": _rows(
            conn,
            sa.select(account.c.key, account.c.name)
            .where(account.c.id.in_(sa.select(customer.c.partner_id).where(customer.c.id.in_(hers))))
            .order_by(account.c.id),
        ),
        "choices": _own(conn, preference, hers, "updated_at"),
        "declared": _own(conn, declared, hers, "field"),
        "devices": _all(conn, device, hers, "id"),
        "consents_in_force": _current(conn, hers),
        "consents": _consents(conn, hers, keys),
        "suppressions": _suppressions(conn, one, keys),
        "messages": messages,
        "decisions": _lines(conn, [m["id"] for m in messages], keys),
        "feedback": _rows(
            conn,
            sa.select(feedback.c.message_id, feedback.c.kind, feedback.c.at, feedback.c.url, feedback.c.reason)
            .join(message, message.c.id == feedback.c.message_id)
            .where(message.c.customer_id.in_(hers), message.c.addressee == "customer")
            .order_by(feedback.c.at, feedback.c.id),
        ),
        "events": _all(conn, event, hers, "occurred_at"),
        "records": _all(conn, record, hers, "created_at"),
        "journeys": _runs(conn, hers),
        "tiers": _rows(
            conn,
            sa.select(tier_change.c.at, tier_change.c.from_tier, tier_change.c.to_tier, tier_change.c.direction)
            .where(tier_change.c.unit == "customer", tier_change.c.unit_id.in_(hers))
            .order_by(tier_change.c.id),
        ),
        "segments": _rows(
            conn,
            sa.select(segment_member.c.journey, segment_member.c.since)
            .where(segment_member.c.unit_id.in_(hers), segment_member.c.journey.in_(_customer_journeys()))
            .order_by(segment_member.c.journey, segment_member.c.since),
        ),
        "contacts": _all(conn, touch, hers, "at"),
        "cases": _all(conn, support_case, hers, "opened_at"),
        "counted": _rows(
            conn,
            sa.select(reservation.c.message_id, reservation.c.at, reservation.c.medium, reservation.c.topic)
            .where(reservation.c.customer_id.in_(hers))
            .order_by(reservation.c.at, reservation.c.message_id),
        ),
        **_programme(conn, hers),
    }


def _programme(conn: sa.Connection, hers: Any) -> Row:
    """What the loyalty programme holds of her: her own, and what she did where the points are her company's. A seed
    or a secret of the house is in none of it; voucher codes are hers."""
    kinds = {
        "membership": (loyalty, "updated_at"),
        "points": (point_entry, "at"),
        "bands": (band_change, "at"),
        "challenges": (achievement, "at"),
        "rewards": (claim, "at"),
        "vouchers": (voucher, "given_at"),
        "referrals": (referral, "at"),
        "referral_codes": (referral_code, "created_at"),
        "tickets": (ticket, "at"),
        "leaderboard": (player, "since"),
    }
    return {kind: _of_unit(conn, table, hers, order) for kind, (table, order) in kinds.items()}


def _of_unit(conn: sa.Connection, table: sa.Table, hers: Any, order: str) -> list[Row]:
    hidden = _OURS | _UNIT | ({"key"} if table is not point_entry else set())
    columns = [c for c in table.columns if c.name not in hidden]
    own = sa.and_(table.c.unit == "customer", table.c.unit_id.in_(hers))
    if "customer_id" in table.c:
        own = sa.or_(own, table.c.customer_id.in_(hers))
    if table is referral:  # who brought her is not hers to know, that somebody did is
        own = sa.or_(own, sa.and_(table.c.referred_unit == "customer", table.c.referred_id.in_(hers)))
    return _rows(conn, sa.select(*columns).where(own).order_by(table.c[order]))


def _rows(conn: sa.Connection, query: Any) -> list[Row]:
    return [dict(row) for row in conn.execute(query).mappings()]


def _all(conn: sa.Connection, table: sa.Table, hers: Any, order: str) -> list[Row]:
    columns = [c for c in table.columns if c.name not in _OURS]
    query = sa.select(*columns).where(table.c.customer_id.in_(hers)).order_by(table.c[order], table.c.id)
    return _rows(conn, query)


def _own(conn: sa.Connection, table: sa.Table, hers: Any, order: str) -> list[Row]:
    """Of a table whose key is the customer's own id."""
    columns = [c for c in table.columns if c.name not in _OURS]
    return _rows(conn, sa.select(*columns).where(table.c.customer_id.in_(hers)).order_by(table.c[order]))


def _profile(row: Mapping[str, Any]) -> Row:
    return {name: value for name, value in row.items() if name not in _OURS and value not in (None, {})}


def _customer_journeys() -> Any:
    return sa.select(enrollment.c.journey).where(enrollment.c.unit == "customer").distinct()


def _current(conn: sa.Connection, hers: Any) -> list[Row]:
    c = consent_current.c
    query = sa.select(c.medium, c.topic, c.basis, c.state, c.since, c.confirmed, c.until).where(c.customer_id.in_(hers))
    return _rows(conn, query.order_by(c.medium, c.topic, c.basis))


def _consents(conn: sa.Connection, hers: Any, keys: Keys) -> list[Row]:
    """Every word of the ledger with what was shown, and the evidence."""
    c, e = consent_event.c, consent_evidence.c
    names = [x for x in consent_event.columns if x.name not in ("key", "commitment", "answers", "wording", "id")]
    query = (
        sa.select(
            *names,
            c.id,
            c.commitment,
            consent_wording.c.text.label("wording"),
            e.salt,
            e.body,
            e.customer_id.label("sealed_for"),
        )
        .outerjoin(consent_wording, consent_wording.c.hash == c.wording)
        .outerjoin(consent_evidence, e.event_id == c.id)
        .where(c.customer_id.in_(hers))
        .order_by(c.occurred_at, c.id)
    )
    rows = _rows(conn, query)
    opened = log.person_keys(conn, keys, {row["sealed_for"] for row in rows if row["body"] is not None})
    for row in rows:
        salt, body, of, commitment = (row.pop(name) for name in ("salt", "body", "sealed_for", "commitment"))
        row.pop("customer_id")
        if body is not None and of in opened:
            row["evidence"] = _evidence(opened[of], bytes(salt), bytes(body))
        elif commitment is not None:
            row["evidence"] = "destroyed: its time was over"
    return rows


def _evidence(key: bytes, salt: bytes, body: bytes) -> Any:
    try:
        return json.loads(unseal(key, salt, body))
    except (Damaged, ValueError):
        return "cannot be opened: it was changed"


def _suppressions(conn: sa.Connection, one: Person, keys: Keys) -> list[Row]:
    pairs = set(addresses_of(conn, one, keys))
    listed = key_list(conn, {key for _, key in pairs})
    s = suppression.c
    query = sa.select(s.medium, s.address_key, s.reason, s.since, s.until, s.source)
    rows = _rows(conn, query.join(listed, listed.c.key == s.address_key).order_by(s.since, s.id))
    found = [row for row in rows if (row["medium"], row["address_key"]) in pairs]
    return [{name: value for name, value in row.items() if name != "address_key"} for row in found]


def _messages(conn: sa.Connection, hers: Any) -> list[Row]:
    """To her, and to others about her (`addressee` staff or system: to whom exactly is not hers to know)."""
    m = message.c
    columns = (m.id, m.addressee, m.medium, m.template, m.topic, m.purpose, m.journey, m.step, m.state, m.reason,
               m.planned_at, m.decided_at, m.settled_at, m.attempts, m.provider)  # fmt: skip
    return _rows(conn, sa.select(*columns).where(m.customer_id.in_(hers)).order_by(m.id))


def _lines(conn: sa.Connection, messages: Sequence[int], keys: Keys) -> list[Row]:
    """The log's lines about these messages. Of what a decision was made on, each rule's word: the rest of it counts
    other people of her company too."""
    found = []
    for line in log.of_messages(conn, messages, keys):
        row = {name: line[name] for name in ("at", "kind", "message_id", "attempt", "verdict", "reason", "rule")}
        detail = line["detail"] or {}
        verdicts = [
            {name: said[name] for name in ("rule", "say", "reason", "until") if name in said}
            for said in detail.get("verdicts", ())
        ]
        found.append(row | ({"rules": verdicts} if verdicts else {}) | ({"detail": "erased"} if line["sealed"] else {}))
    return found


def _runs(conn: sa.Connection, hers: Any) -> list[Row]:
    """Her ways through journeys, each with its diary. Her company's are the company's."""
    e = enrollment.c
    own = sa.and_(e.unit == "customer", e.unit_id.in_(hers))
    columns = (e.id, e.journey, e.version, e.run_key, e.step, e.entered_at, e.ended_at, e.ended_because)
    runs = _rows(conn, sa.select(*columns).where(own).order_by(e.entered_at, e.id))
    listed = id_list(conn, [run["id"] for run in runs])
    query = sa.select(trace.c.enrollment_id, trace.c.at, trace.c.step, trace.c.what, trace.c.detail)
    diary: dict[int, list[Row]] = {run["id"]: [] for run in runs}
    for row in _rows(conn, query.join(listed, listed.c.id == trace.c.enrollment_id).order_by(trace.c.id)):
        diary[row.pop("enrollment_id")].append(row)
    return [{**{k: v for k, v in run.items() if k != "id"}, "diary": diary[run["id"]]} for run in runs]
