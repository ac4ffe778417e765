"""A test written from a simulation: people made up, what they did and what came back of it; what came is expected.

Of the runs that a simulation made, those are taken that go where no other one went. Each is given as a test says it,
played on the stage, and written down with what came; a test that would not pass is not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import yaml

from channels.base import Channel, Medium
from orchestrator.centre import ANSWERED
from orchestrator.model import LOYALTY_EVENTS, EventType, Kind, minor_digits
from orchestrator.problems import ProjectError
from orchestrator.project import Project
from orchestrator.rehearsal import rehearsals
from orchestrator.rehearse.behaving import USUAL
from orchestrator.rehearse.cohort import MadeUp, Told, made_up
from orchestrator.rehearse.simulating import part, simulate
from orchestrator.rehearse.stage import Stage
from orchestrator.rehearse.verdict import Coverage, Reached, Turn, coverage, way_taken
from orchestrator.rows import CONSENT_MEDIA
from orchestrator.store.database import Store
from orchestrator.store.tables import account, customer, enrollment, event, feedback, message, trace
from orchestrator.zones import first_known

MOST: Final = 4
"""More tests than that nobody reads at once."""
_TRIES: Final = 12
_ASIDE: Final = timedelta(days=1)
_SAYS: Final[Mapping[str, str]] = {
    "opened": "opened",
    "clicked": "clicked",
    "bounced": "hard_bounce",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
    "returned": "returned",
    "failed": "failed",
}
"""What came back of a message, as a test says it; that it arrived is told without."""
_ENDS: Final[Mapping[str, str]] = {
    "": "is under way",
    "goal": "reaches the goal",
    "holdout": "is held out",
    "completed": "comes to the end",
}
_THEIR_OWN: Final = frozenset({*LOYALTY_EVENTS, ANSWERED})
"""Events that a test does not tell: the programme records them itself, and an answer is more than its event."""
_WITH: Final = ("at", "after", "times", "every", "with")


@dataclass(frozen=True, slots=True)
class Recording:
    """`text`: the file, "" where no run could be told as a test; `left_out`: what no test comes to."""

    text: str
    tests: int
    covered: Coverage
    runs: int


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of the simulation, and where it went."""

    id: int
    key: str
    unit: str
    entered_at: datetime
    ended_at: datetime | None
    ended: str
    marks: frozenset[tuple[str, str]]  # (step, "") come to, (step, way) taken
    arms: frozenset[str]


def record(
    project: Project,
    name: str,
    *,
    begin: datetime,
    until: datetime,
    customers: int,
    seed: int,
    folder: Path,
    channels: Mapping[Medium, Channel],
) -> Recording:
    """Tests of one journey, from a simulation of it with so many made-up people. `folder` as `simulate` takes it."""
    cohort = made_up(part(project, (name,)), customers, seed)
    simulate(
        project, cohort, begin=begin, until=until, behaviour=USUAL, seed=seed, folder=folder, channels=channels,
        journeys=(name,),
    )  # fmt: skip
    store = Store.open(f"sqlite:///{folder / 'simulation.db'}")
    try:
        with store.read() as conn:
            runs = _runs(conn, name)
            teller = _Teller(project, name, cohort, begin, until, conn)
            stage = Stage(folder, channels)
            return _written(project, name, runs, teller, stage)
    finally:
        store.close()


def _written(project: Project, name: str, runs: Sequence[_Run], teller: _Teller, stage: Stage) -> Recording:
    tests: list[dict[str, Any]] = []
    reached: list[Reached] = []
    seen: set[tuple[str, str]] = set()
    waiting, tries = list(runs), 0
    while waiting and len(tests) < MOST and tries < _TRIES:
        best = max(waiting, key=lambda run: (len(run.marks - seen), -len(run.marks), -run.id))
        if not best.marks - seen:
            break
        waiting.remove(best)
        tries += 1
        played = _played(project, name, teller.test(best), stage)
        if played is not None:
            test, came_to = played
            tests.append(test)
            reached.append(came_to)
            seen |= {(step, "") for step in came_to.steps} | came_to.ways | best.marks
    text = _page(tests) if tests else ""
    return Recording(text, len(tests), coverage(project.journeys[name], reached), len(runs))


def _played(
    project: Project, name: str, draft: dict[str, Any] | None, stage: Stage
) -> tuple[dict[str, Any], Reached] | None:
    """The test with what came as what is expected; None where it would not pass."""
    if draft is None:
        return None
    path = f"journeys/{name}.test.yaml"
    try:
        (first,) = rehearsals({path: _page([draft])}, project)
        verdict = stage.run(first, project)
        tz = first_known(first.zone)
        test = dict(draft)
        del test["never"], test["also"]  # they let the draft be played
        test["expect"] = list(_lines(verdict.turns, tz)) or [f"{_who(draft)} enters {name}"]
        (second,) = rehearsals({path: _page([test])}, project)
        again = stage.run(second, project)
    except ProjectError:
        return None
    return (test, again.reached[name]) if verdict.passed and again.passed else None


def _who(draft: Mapping[str, Any]) -> str:
    given = draft["given"]
    return str((given.get("customers") or given.get("accounts"))[0]["key"])


def _lines(turns: Iterable[Turn], tz: ZoneInfo) -> Iterator[str]:
    for turn in turns:
        line = turn.got or ""
        if not line or line.endswith(" waits"):
            continue
        line, _, reason = line.partition(" refused: ")
        yield f"{turn.at.astimezone(tz):%Y-%m-%d %H:%M} {line}" + (f" refused because {reason}" if reason else "")


# ---- what the simulation made ---------------------------------------------------------------------------------------


def _runs(conn: sa.Connection, name: str) -> list[_Run]:
    """Every run of the journey, with where it went: in two statements."""
    key = sa.func.coalesce(customer.c.key, account.c.key)
    of = (
        sa.select(enrollment, key.label("key"))
        .outerjoin(customer, sa.and_(enrollment.c.unit == "customer", customer.c.id == enrollment.c.unit_id))
        .outerjoin(account, sa.and_(enrollment.c.unit == "account", account.c.id == enrollment.c.unit_id))
        .where(enrollment.c.journey == name)
        .order_by(enrollment.c.id)
    )
    marks: dict[int, set[tuple[str, str]]] = {}
    arms: dict[int, set[str]] = {}
    lines = sa.select(trace.c.enrollment_id, trace.c.step, trace.c.what, trace.c.detail)
    for row in conn.execute(
        lines.join(enrollment, enrollment.c.id == trace.c.enrollment_id).where(enrollment.c.journey == name)
    ):
        mine = marks.setdefault(row.enrollment_id, set())
        mine.add((row.step, ""))
        if way := way_taken(row.what, row.detail):
            mine.add((row.step, way))
            if "draw" in row.detail:
                arms.setdefault(row.enrollment_id, set()).add(way)
    return [
        _Run(
            row.id, row.key, row.unit, row.entered_at, row.ended_at, row.ended_because or "",
            frozenset(marks.get(row.id, ())) | {("", row.ended_because or "")}, frozenset(arms.get(row.id, ())),
        )
        for row in conn.execute(of)
    ]  # fmt: skip


@dataclass
class _Teller:
    """Tells a run of the simulation as a test does: who was given, what she did, what came back."""

    project: Project
    journey: str
    cohort: MadeUp
    begin: datetime
    until: datetime
    conn: sa.Connection
    told: Mapping[str, Sequence[Told]] = field(init=False)

    def __post_init__(self) -> None:
        self.told = self.cohort.told_by_unit(self.begin, self.until)

    def test(self, run: _Run) -> dict[str, Any] | None:
        """The test as data, in the order of its keys; None where the run cannot be told."""
        keys = self._keys(run)
        told = [one for key in keys for one in self.told.get(key, ())]
        came = [t.at for t in told if t.kind in ("accounts", "customers")]
        if not came:
            return None
        tz = first_known(self._zone(told, run), self.project.vocabulary.timezone)
        clock = max(run.entered_at - _ASIDE, max(came) - timedelta(hours=1))
        end = min(self.until, (run.ended_at or self.until) + _ASIDE)
        given = self._given(run, told, clock, tz)
        when = [*self._happened(keys, clock, end, tz), *self._reactions(run, tz)]
        days = max(1, -((clock - end) // timedelta(days=1)))
        found: dict[str, Any] = {
            "test": self._sentence(run),
            "journey": self.journey,
            "clock": f"{clock.astimezone(tz):%Y-%m-%d %H:%M} {tz.key}",
            "given": given,
        }
        if when:
            found["when"] = when
        found["until"] = f"{days} days"
        return found | {"never": [f"{run.key} left {self.journey} because failed"], "also": "allowed"}

    def _sentence(self, run: _Run) -> str:
        """Where she went, in the words of the file."""
        ways = [way for step, way in sorted(run.marks) if step and way]
        by = f" by {', '.join(ways)}" if ways else ""
        end = {
            "": "is under way",
            "goal": "reaches the goal",
            "holdout": "is held out",
            "completed": "comes to the end",
        }
        return f"{run.key} {end.get(run.ended, f'leaves: {run.ended}')}{by}"

    def _keys(self, run: _Run) -> list[str]:
        """The company before its people; a contact brings her company."""
        if run.unit == "account":
            mine = sa.select(customer.c.key).join(account, account.c.id == customer.c.account_id)
            return [run.key, *self.conn.execute(mine.where(account.c.key == run.key).order_by(customer.c.id)).scalars()]
        firm = sa.select(account.c.key).join(customer, customer.c.account_id == account.c.id)
        return [*self.conn.execute(firm.where(customer.c.key == run.key)).scalars(), run.key]

    def _zone(self, told: Sequence[Told], run: _Run) -> str:
        of = (t.row for t in told if t.kind in ("accounts", "customers") and t.row["key"] == run.key)
        return str(next(of, {}).get("timezone") or "")

    def _given(self, run: _Run, told: Sequence[Told], clock: datetime, tz: ZoneInfo) -> dict[str, Any]:
        given: dict[str, Any] = {}
        consents = _consents([t.row for t in told if t.kind == "consents"], self.project)
        for kind in ("accounts", "customers"):
            for one in told:
                if one.kind == kind:
                    row = {name: value for name, value in one.row.items() if value not in ("", None)}
                    if consents.get(row["key"]):
                        row["consent"] = consents[row["key"]]
                    if row["key"] == run.key and run.arms:
                        row["takes"] = sorted(run.arms)
                    if row["key"] == run.key and run.ended == "holdout":
                        row["holdout"] = True
                    given.setdefault(kind, []).append(row)
        for one in told:
            if one.kind == "records":
                row = dict(one.row)
                name, of = row.pop("type"), row.pop("customer", None) or row.pop("account", None)
                given.setdefault(name, []).append({"of": of} | {k: v for k, v in row.items() if v not in ("", None)})
        before = self._happened(
            [r["key"] for k in ("accounts", "customers") for r in given.get(k, ())], None, clock, tz
        )
        if before:
            given["events"] = before
        return given

    def _happened(
        self, keys: Sequence[str], after: datetime | None, until: datetime, tz: ZoneInfo
    ) -> list[dict[str, Any]]:
        """What these did in (after, until], as `when` says it. The programme's own events come by themselves."""
        types = self.project.vocabulary.events
        mine = (
            sa.select(event, sa.func.coalesce(customer.c.key, account.c.key).label("who"))
            .outerjoin(customer, customer.c.id == event.c.customer_id)
            .outerjoin(account, account.c.id == event.c.account_id)
            .where(sa.func.coalesce(customer.c.key, account.c.key).in_(keys), event.c.occurred_at <= until)
            .order_by(event.c.occurred_at, event.c.id)
        )
        if after is not None:
            mine = mine.where(event.c.occurred_at > after)
        return [
            _deed(row, types[row.type], tz)
            for row in self.conn.execute(mine)
            if row.type in types and row.type not in _THEIR_OWN
        ]

    def _reactions(self, run: _Run, tz: ZoneInfo) -> list[dict[str, Any]]:
        """What came back of the run's messages, so long after each was sent."""
        query = (
            sa.select(feedback.c.kind, feedback.c.at, message.c.step, message.c.decided_at, customer.c.key)
            .join(message, message.c.id == feedback.c.message_id)
            .outerjoin(customer, customer.c.id == message.c.customer_id)
            .where(message.c.enrollment_id == run.id, feedback.c.kind.in_(_SAYS))
            .order_by(feedback.c.at, feedback.c.id)
        )
        found = []
        for row in self.conn.execute(query):
            minutes = max(1, round((row.at - row.decided_at).total_seconds() / 60))
            entry: dict[str, Any] = {"message": row.step, _SAYS[row.kind]: f"{minutes} minutes"}
            found.append(entry | ({"to": row.key} if row.key else {}))
        return found


def _consents(rows: Sequence[Mapping[str, Any]], project: Project) -> dict[str, list[str]]:
    """`[email, sms offers]` by customer: what stands when all of it is told."""
    topics = [t.name for t in project.vocabulary.topics.values() if t.purpose == "marketing"]
    said: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        mine = said.setdefault(row["customer"], set())
        named = topics if row["topic"] == "*" else [row["topic"]]
        if row["action"] in ("grant", "confirm"):
            mine |= {(row["medium"], topic) for topic in named}
        elif row["action"] == "withdraw":
            mine -= {(row["medium"], topic) for topic in named}
    found: dict[str, list[str]] = {}
    for who, pairs in said.items():
        for medium in CONSENT_MEDIA:
            mine_of = [topic for topic in topics if (medium, topic) in pairs]
            found.setdefault(who, []).extend([medium] if mine_of == topics else [f"{medium} {t}" for t in mine_of])
    return found


def _deed(row: Any, kind: EventType, tz: ZoneInfo) -> dict[str, Any]:
    """An event as an entry of `when` or `events`."""
    told: dict[str, Any] = {"at": f"{row.occurred_at.astimezone(tz):%Y-%m-%d %H:%M}", row.who: row.type}
    values: dict[str, Any] = {}
    for name, one in kind.fields.items():
        value = row.properties.get(name)
        if value is None:
            continue
        if one.kind is Kind.MONEY:
            currency = row.properties.get(f"{name}_currency", "")
            value = f"{int(value) / 10 ** minor_digits(currency):.{minor_digits(currency)}f} {currency}".strip()
        values[name] = value
    if any(name in _WITH or name == row.who for name in values):
        return told | {"with": values}
    return told | values


class _Lines(list[str]):
    """Lines of a test, each in a line of its own."""


class _Dumper(yaml.SafeDumper):
    """Rows in one line where they fit, lines of a test one below the other."""


_Dumper.add_representer(
    _Lines, lambda dumper, lines: dumper.represent_sequence("tag:yaml.org,2002:seq", lines, flow_style=False)
)


def _page(tests: Sequence[Mapping[str, Any]]) -> str:
    """The file: a test a block."""
    told = [
        _plain(test) | {k: _Lines(_plain(v)) for k, v in test.items() if k in ("expect", "never")} for test in tests
    ]
    return yaml.dump(told, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, default_flow_style=None)


def _plain(value: Any) -> Any:
    """As YAML has it: an enum's text, a date's."""
    match value:
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case bool() | int() | float() | None:
            return value
    return str(value)
