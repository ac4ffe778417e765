"""What a journey hopes for, done: the event of its goal with what the goal asks of it, an answer, a code redeemed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from orchestrator import reward
from orchestrator.apply import Force, in_force, journey_version
from orchestrator.centre import ANSWERED
from orchestrator.importing import import_rows
from orchestrator.ingest import record_events
from orchestrator.journey import Journey
from orchestrator.model import LOYALTY_EVENTS, Kind, Unit
from orchestrator.problems import ProjectError
from orchestrator.project import Project
from orchestrator.rehearse.behaving import Sent
from orchestrator.rehearse.inventing import Inventor
from orchestrator.stages import CHANGED, STAGE
from orchestrator.store.database import Store, id_list
from orchestrator.store.keys import Keys
from orchestrator.store.tables import account, customer, enrollment, event, record, voucher
from orchestrator.terms import And, Compare, Happened, IsSet, Literal_, Node, OneOf, Ref

_DONE: Final = ("goal", "exited", "holdout")
"""Runs that ended so have nothing left to hope for."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A run, and what its goal may name."""

    id: int
    unit: str
    unit_id: int
    key: str
    event: Mapping[str, Any]
    record: Mapping[str, Any]
    record_type: str
    journey: Journey


@dataclass
class Converting:
    """Does what goals wait for. `notes`: goals that nobody can reach here, in words, each once."""

    store: Store
    keys: Keys
    project: Project
    seed: int
    begin: datetime
    notes: dict[str, None] = field(default_factory=dict)
    _inventor: Inventor = field(init=False)

    def __post_init__(self) -> None:
        self._inventor = Inventor(self.project, self.seed, self.begin.date())

    def convert(self, sent: Sequence[Sent], now: datetime) -> list[Sent]:
        """Those of these messages after which what their journey hopes for has happened now. Runs that are over by
        their goal or an exit have nothing to hope for."""
        with self.store.read() as conn:
            force = in_force(conn)
            assert force is not None
            runs = self._runs(conn, force, {s.run for s in sent if s.run is not None})
        done, rows = [], []
        for one in sent:
            run = runs.get(one.run or 0)
            if run is None:
                continue
            found = self._does(run, one, now)
            if found is not None:
                done.append(one)
                rows += found
        for kind in dict.fromkeys(kind for kind, _ in rows):
            mine = [row for k, row in rows if k == kind]
            if kind == "answers":
                with self.store.write() as conn:
                    record_events(conn, mine, now=now)
                continue
            report = import_rows(self.store, self.keys, self.project.vocabulary, kind, mine, now=now)
            self.notes.update((f"{kind} that a goal waits for: {r.problem}", None) for r in report.refused[:1])
        return done

    def _runs(self, conn: sa.Connection, force: Force, ids: Iterable[int]) -> dict[int, _Run]:
        """By id. One statement, and the journeys' versions."""
        listed = id_list(conn, ids)
        e, r = enrollment.c, record.c
        query = (
            sa.select(
                e.id, e.journey, e.version, e.unit, e.unit_id, e.ended_because,
                sa.func.coalesce(customer.c.key, account.c.key).label("key"),
                event.c.properties, r.type.label("record_type"), r.fields, r.key.label("record_key"),
            )
            .join(listed, listed.c.id == e.id)
            .outerjoin(customer, sa.and_(e.unit == "customer", customer.c.id == e.unit_id))
            .outerjoin(account, sa.and_(e.unit == "account", account.c.id == e.unit_id))
            .outerjoin(event, event.c.id == e.event_id)
            .outerjoin(record, record.c.id == e.record_id)
        )  # fmt: skip
        found = {}
        for row in conn.execute(query):
            if row.ended_because in _DONE:
                continue
            try:
                journey = journey_version(conn, force, row.journey, row.version).journey
            except ProjectError:
                continue
            told = row.properties or {}
            of = row.fields or {}
            found[row.id] = _Run(row.id, row.unit, row.unit_id, row.key, told, of, row.record_type or "", journey)
        return found

    def _does(self, run: _Run, sent: Sent, now: datetime) -> list[tuple[Any, dict[str, Any]]] | None:
        """Rows to take in, by kind; None where nothing comes of it."""
        survey = getattr(run.journey.step(sent.step), "survey", "") if run.journey.has(sent.step) else ""
        goal = run.journey.goal
        if survey:
            return [("answers", self._answer(run, survey, {}, sent, now))]
        if goal is None:
            return None
        if not isinstance(goal.root, Happened):
            self._note(run, f"its goal, `{goal.text}`, is a state that no message brings about by itself")
            return None
        name = goal.root.event
        asked = _wanted(goal.root.where, run)
        if name == ANSWERED:
            return [("answers", self._answer(run, str(asked.get("survey", "")), asked, sent, now))]
        if name == CHANGED:
            return self._stage(run, asked)
        if name in LOYALTY_EVENTS and self.project.vocabulary.loyalty.declared:
            return self._loyal(run, name, asked, sent, now)
        declared = self.project.vocabulary.events.get(name)
        if declared is None:
            self._note(run, f"its goal waits for `{name}`, which is not declared")
            return None
        key = f"goal-{sent.name}"
        fields = {n: f for n, f in declared.fields.items() if n not in asked}
        told = {**self._inventor.members(name, fields, key), **self._cells(declared.fields, asked)}
        row = {"type": name, run.unit: run.key, "event_id": key, "occurred_at": now.astimezone(UTC).isoformat()}
        return [("events", row | told)]

    def _cells(self, fields: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        """Values as a row of an import has them."""
        found = {}
        for name, value in asked.items():
            kind = fields[name].kind if name in fields else Kind.TEXT
            found[name] = ("yes" if value else "no") if kind is Kind.YES_NO else value
        return found

    def _answer(self, run: _Run, survey: str, asked: Mapping[str, Any], sent: Sent, now: datetime) -> dict[str, Any]:
        """An answer to a survey: the event that a form would become."""
        told: dict[str, Any] = {"survey": survey}
        known = self.project.vocabulary.surveys.get(survey)
        event_type = self.project.vocabulary.events.get(ANSWERED)
        for question in known.questions if known is not None else ():
            name = f"{sent.name}/{question.name}"
            if question.choices:
                told[question.name] = list(question.choices)[self._inventor.pick(len(question.choices), name)]
            elif question.high:
                number = question.low + self._inventor.pick(question.high - question.low + 1, name)
                told[question.name] = number
                if event_type is not None and "score" in event_type.fields:
                    told.setdefault("score", number)
        told |= asked
        owners = {"customer_id": None, "account_id": None, f"{run.unit}_id": run.unit_id}
        return {"type": ANSWERED, "key": f"goal-{sent.name}", "occurred_at": now, "properties": told, **owners}

    def _stage(self, run: _Run, asked: Mapping[str, Any]) -> list[tuple[Any, dict[str, Any]]] | None:
        """The record in scope goes to the stage that the goal names, else to the next of its ladder."""
        kind = self.project.vocabulary.records.get(run.record_type)
        if kind is None or STAGE not in kind.fields:
            self._note(run, "its goal waits for a record's change of stage, and no record is in scope")
            return None
        stages = kind.fields[STAGE].choices
        here = str(run.record.get(STAGE) or "")
        behind = stages[stages.index(here) + 1 :] if here in stages else stages
        to = str(asked.get("to_stage") or (behind[0] if behind else ""))
        if not to or to == here:
            return None
        return [("records", {"type": kind.name, kind.key: run.record.get(kind.key), STAGE: to})]

    def _loyal(
        self, run: _Run, name: str, asked: Mapping[str, Any], sent: Sent, now: datetime
    ) -> list[tuple[Any, dict[str, Any]]] | None:
        """What the programme records itself: a code shown at a till, a reward taken."""
        if name == "voucher_redeemed" and self._redeems(run, asked, sent, now):
            return []
        if name == "reward_claimed" and self._claims(run, asked, sent, now):
            return []
        if name not in ("voucher_redeemed", "reward_claimed"):
            self._note(run, f"its goal waits for `{name}`, which nobody causes in a simulation")
        return None

    def _redeems(self, run: _Run, asked: Mapping[str, Any], sent: Sent, now: datetime) -> bool:
        mine = sa.and_(voucher.c.unit == run.unit, voucher.c.unit_id == run.unit_id, voucher.c.redeemed_at.is_(None))
        query = sa.select(voucher.c.code).where(mine).order_by(voucher.c.id).limit(1)
        if "pool" in asked:
            query = query.where(voucher.c.pool == asked["pool"])
        with self.store.write() as conn:
            code = conn.execute(query).scalar()
            if code is None:
                return False
            told = reward.Redemption(code, f"goal-{sent.name}", now)
            return not reward.redeem(conn, self.project.vocabulary, [told], now)[0].reason

    def _claims(self, run: _Run, asked: Mapping[str, Any], sent: Sent, now: datetime) -> bool:
        """The first reward, the cheapest first, that is not refused."""
        programs = self.project.program.classes.values()
        rewards = sorted((r.costs, name) for one in programs for name, r in one.rewards.items())
        if "reward" in asked:
            rewards = [(0, str(asked["reward"]))]
        own = run.unit_id if run.unit == "customer" else None
        with self.store.write() as conn:
            for _, name in rewards:
                unit: Unit = "account" if run.unit == "account" else "customer"
                key = f"goal-{sent.name}-{name}"
                done = reward.claim(conn, self.project, unit, run.unit_id, name, key, own, now)
                if not isinstance(done, str):
                    return True
        return False

    def _note(self, run: _Run, why: str) -> None:
        self.notes[f"nobody reaches the goal of {run.journey.name} by a message: {why}"] = None


def _wanted(where: Node | None, run: _Run) -> dict[str, Any]:
    """Values by property with which `where` is true, as far as that can be read off it."""
    found: dict[str, Any] = {}
    for part in where.parts if isinstance(where, And) else (where,):
        match part:
            case Compare(op="==" | ">=" | "<=", left=Ref(name=name), right=right):
                if (value := _value(right, run)) is not None:
                    found[name] = value
            case Compare(op=">", left=Ref(name=name), right=Literal_(value=int() | float() as value)):
                found[name] = value + 1
            case OneOf(value=Ref(name=name), options=options) if options:
                if (value := _value(options[0], run)) is not None:
                    found[name] = value
            case IsSet():
                pass
    return found


def _value(node: Node, run: _Run) -> Any:
    match node:
        case Literal_(value=value):
            return value
        case Ref(holder="event", name=name):
            return run.event.get(name)
        case Ref(holder="record", name=name):
            return run.record.get(name)
    return None
