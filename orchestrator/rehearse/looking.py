"""What a scratch database tells of a run: messages and why, runs and where they stand, what somebody has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from orchestrator.apply import Force, in_force
from orchestrator.condition import Scope, parse_expression
from orchestrator.consider import consider
from orchestrator.model import Kind, Unit, minor_digits
from orchestrator.problems import Problems, Span
from orchestrator.rehearsal.expectation import SPARE, Course, Has, Moment, State
from orchestrator.rehearse.scene import KEYS, Scene, asked_of
from orchestrator.rehearse.verdict import Got, Reached, way_taken
from orchestrator.store import explain
from orchestrator.store import log as send_log
from orchestrator.store.tables import batch, claim, enrollment, event, message, trace, voucher
from orchestrator.why import meaning
from orchestrator.zones import instant, zone

_WITHDRAWN = ("denied", "expired", "cancelled")


# ---- messages -------------------------------------------------------------------------------------------------------


def messages(scene: Scene) -> list[Got]:
    """Every message so far, in order of time."""
    with scene.store.read() as conn:
        whole = sa.select(message, batch.c.due_at.label("next_at")).join(batch, batch.c.id == message.c.batch_id)
        rows = list(conn.execute(whole.order_by(message.c.id)))
        lines = send_log.of_messages(conn, [row.id for row in rows], KEYS)
    said: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        if line["kind"] == "decision":
            said.setdefault(int(line["message_id"]), []).append(line)
    names = scene.names()
    return sorted((_got(row, said.get(row.id, []), names) for row in rows), key=lambda g: (g.at, g.id))


def _got(row: Any, lines: Sequence[Mapping[str, Any]], names: Mapping[tuple[str, int], str]) -> Got:
    owners = (("customer", row.customer_id), ("account", row.account_id))
    about = frozenset(names[of] for of in owners if of in names)
    to = names.get(("customer", row.customer_id), "") if row.addressee == "customer" else ""
    to = to or str(row.payload.get("to") or ("account_manager" if row.addressee == "staff" else row.addressee))
    held = tuple((line["at"], str(line["reason"])) for line in lines if line["verdict"] == "hold")
    allowed = [line for line in lines if line["verdict"] == "allow"]
    denied = [line for line in lines if line["verdict"] == "deny"]
    fate: Literal["sent", "refused", "waiting"] = "waiting"
    at, reason, why = row.next_at, "", ""
    if row.state in _WITHDRAWN:
        fate, at, reason = "refused", row.settled_at or row.due_at, str(row.reason or row.state)
        why = meaning(reason, reason)
        if denied:
            last = denied[-1]
            at, reason = last["at"], str(last["reason"])
            where = (last["detail"] or {}).get("where", "")
            why = " ".join(part for part in (meaning(str(last["rule"]), reason), f"({where})" if where else "") if part)
    elif allowed and row.state not in ("planned", "held"):
        fate, at = "sent", allowed[-1]["at"]
    return Got(row.id, at, row.medium, row.step, row.template, to, about, row.journey or "", fate, reason, why, held)


def attempt(scene: Scene, message_id: int) -> str:
    """The name of a message's last attempt, as a provider would tell it."""
    with scene.store.read() as conn:
        query = sa.select(message.c.attempts).where(message.c.id == message_id)
        return f"m{message_id}a{conn.execute(query).scalar_one()}"


# ---- what is true of somebody ---------------------------------------------------------------------------------------


def found(scene: Scene, expected: State | Course | Has) -> tuple[bool, list[str]]:
    """Whether it is so at the scene's present, and what is so instead."""
    match expected:
        case State():
            return _holds(scene, expected)
        case Course():
            return stands(scene, expected)
    return _has(scene, expected)


def _holds(scene: Scene, expected: State) -> tuple[bool, list[str]]:
    unit, unit_id = scene.test.given.people[expected.who].unit, scene.ids[expected.who]
    with scene.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        parts = explain.parts_of(conn, force.segments, expected.condition, unit_id, scene.now, unit=unit)
        value = _value(conn, scene, force, expected, unit, unit_id)
    wrong = [p for p in parts if p.truth is not True]
    at = scene.shown(scene.now)
    told = [value] if value else [f"`{p.text}` is {'not known' if p.truth is None else 'false'} {at}" for p in wrong]
    return bool(parts) and not wrong, told


def _value(conn: sa.Connection, scene: Scene, force: Force, expected: State, unit: Unit, unit_id: int) -> str:
    """What a plain comparison compares is in truth: `points are 150`; "" for any other condition."""
    name, trial = asked_of(expected.condition), Problems()
    if not name:
        return ""
    asked = parse_expression(name, Span.whole(""), Scope(unit=unit), scene.project.vocabulary, trial)
    if asked is None or trial.errors:
        return ""
    value = force.segments.of_units(conn, [asked], unit, [unit_id], scene.now)[unit_id][1].get(asked.text)
    if asked.kind is Kind.MONEY and isinstance(value, int | float):
        currency = scene.project.vocabulary.currency
        value = f"{value / 10 ** minor_digits(currency):g} {currency}"
    return f"`{name}` is {'not known' if value is None else value} {scene.shown(scene.now)}"


def runs(scene: Scene, who: str, journey: str) -> list[Any]:
    """Somebody's runs of a journey, oldest first: her own, or her company's where it is about companies."""
    person, meant = scene.test.given.people[who], scene.project.journeys.get(journey)
    unit_id = scene.ids.get(who, 0)
    if meant is not None and meant.unit != person.unit:
        unit_id = scene.ids.get(person.account, 0) if meant.unit == "account" else 0
    mine = sa.select(enrollment).where(enrollment.c.journey == journey, enrollment.c.unit_id == unit_id)
    with scene.store.read() as conn:
        return list(conn.execute(mine.order_by(enrollment.c.id)))


def stands(scene: Scene, expected: Course) -> tuple[bool, list[str]]:
    """Whether somebody's run stands as expected; where it stands."""
    mine = runs(scene, expected.who, expected.journey)
    live = [run for run in mine if run.ended_at is None]
    told = [told_of(scene, run) for run in mine] or [absent(scene, expected.who, expected.journey)]
    match expected.what:
        case "out":
            return not live, told
        case "enters":
            when = expected.when
            good = [r for r in mine if when is None or is_within(scene, when, r.entered_at, expected.who)]
        case "in":
            good = [r for r in live if expected.step in ("", r.step)]
        case "left":
            good = [r for r in mine if r.ended_at is not None and expected.reason in ("", r.ended_because)]
    return bool(good), told


def told_of(scene: Scene, run: Any) -> str:
    """A run in a sentence: since when, where it stands, how it ended."""
    stood = f"at `{run.step}`" if run.step else "before its first step"
    since = f"the run of {run.journey} that began {scene.shown(run.entered_at)}"
    if run.ended_at is not None:
        return f"{since} ended {scene.shown(run.ended_at)} {stood}: {run.ended_because}"
    return f"{since} stands {stood}" + (f" until {scene.shown(run.wake_at)}" if run.wake_at is not None else "")


def absent(scene: Scene, who: str, journey: str) -> str:
    """That somebody never entered, and why not."""
    with scene.store.read() as conn:
        force, one = in_force(conn), explain.who(conn, who)
        if force is None or one is None or journey not in force.project.journeys:
            return f"{who} never entered {journey}"
        reason = consider(conn, force, journey, one, scene.now).first_reason
    return f"{who} never entered {journey}" + (f": {reason}" if reason else "")


def skipped(scene: Scene, mine: Sequence[Any], names: tuple[str, ...]) -> list[str]:
    """Steps of these runs that were passed over, and why."""
    query = sa.select(trace.c.step, trace.c.at, trace.c.detail).where(
        trace.c.enrollment_id.in_([run.id for run in mine]), trace.c.what == "skipped", trace.c.step.in_(names)
    )
    with scene.store.read() as conn:
        rows = conn.execute(query.order_by(trace.c.id)).all()
    told = []
    for row in rows:
        because = row.detail.get("condition") or row.detail.get("because") or row.detail.get("outcome")
        told.append(f"`{row.step}` was passed over {scene.shown(row.at)}: {because}")
    return told


def _has(scene: Scene, expected: Has) -> tuple[bool, list[str]]:
    unit, unit_id = scene.owner(expected.who)
    own = scene.ids[expected.who] if scene.test.given.people[expected.who].unit == "customer" else 0
    with scene.store.read() as conn:
        names = _possessions(conn, expected.what, unit, unit_id, own)
    plural = {"voucher": "vouchers", "reward": "rewards", "badge": "badges", "challenge": "challenges done"}
    return expected.name in names, [f"{plural[expected.what]} of {expected.who}: {', '.join(sorted(names)) or 'none'}"]


def _possessions(conn: sa.Connection, what: str, unit: Unit, unit_id: int, own: int) -> set[str]:
    if what in ("voucher", "reward"):
        table = voucher if what == "voucher" else claim
        name = table.c.pool if what == "voucher" else table.c.reward
        mine = sa.or_(sa.and_(table.c.unit == unit, table.c.unit_id == unit_id), table.c.customer_id == own)
        there = sa.true() if what == "voucher" else table.c.state != "cancelled"
        return {str(name) for name in conn.execute(sa.select(name).where(mine, there)).scalars()}
    whose = event.c.account_id == unit_id if unit == "account" else event.c.customer_id == unit_id
    done = sa.select(event.c.properties).where(
        event.c.type == "challenge_completed", sa.or_(whose, event.c.customer_id == own)
    )
    key = "badge" if what == "badge" else "challenge"
    return {str(properties[key]) for properties in conn.execute(done).scalars() if properties.get(key)}


# ---- time and coverage ----------------------------------------------------------------------------------------------


def is_within(scene: Scene, when: Moment, at: datetime, *keys: str) -> bool:
    """Whether an instant is when it is expected, by the test's clock or that of one of these people."""
    given = scene.test.given.people
    for name in dict.fromkeys((scene.test.zone, *(given[k].zone for k in keys if k in given))):
        tz = zone(name)
        if tz is None:
            continue
        if when.first is None:
            if at.astimezone(tz).date() == when.day:
                return True
            continue
        begins = instant(when.day, when.first, tz)
        ends = instant(when.day, when.last_time, tz) if when.last_time is not None else begins + SPARE
        if begins <= at <= ends:
            return True
    return False


def reached(scene: Scene) -> dict[str, Reached]:
    """Steps and ways that the runs of this test came to."""
    lines = sa.select(enrollment.c.journey, trace.c.step, trace.c.what, trace.c.detail)
    with scene.store.read() as conn:
        rows = conn.execute(lines.join(enrollment, enrollment.c.id == trace.c.enrollment_id)).all()
        sent = conn.execute(sa.select(message.c.journey, message.c.step)).all()
    steps: dict[str, set[str]] = {}
    taken: dict[str, set[tuple[str, str]]] = {}
    for journey, step in (*sent, *((row.journey, row.step) for row in rows)):
        steps.setdefault(journey, set()).add(step)
    for row in rows:
        if way := way_taken(row.what, row.detail):
            taken.setdefault(row.journey, set()).add((row.step, way))
    return {
        name: Reached(frozenset(steps.get(name, ())), frozenset(taken.get(name, ()))) for name in scene.test.journeys
    }
