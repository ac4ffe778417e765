"""A scratch database and what a test has put into it: what everything else of a run looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from orchestrator.condition import Condition
from orchestrator.engine import draw
from orchestrator.importing import import_rows
from orchestrator.journey import Journey
from orchestrator.model import Enrollment, Unit
from orchestrator.problems import Span
from orchestrator.project import Project
from orchestrator.rehearsal import Person, Rehearsal, Row
from orchestrator.rehearse.verdict import Failure
from orchestrator.steps.split import Split
from orchestrator.store.database import Store
from orchestrator.store.keys import Keys
from orchestrator.store.tables import account, customer
from orchestrator.zones import zone

KEYS: Final = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)
TRIES: Final = 100_000


class Impossible(Exception):
    """What the test asks for cannot be had; the message says why."""


@dataclass
class Scene:
    """`ids`: of those given, by key; `failures` so far; `marks`: when rows came in."""

    test: Rehearsal
    project: Project
    store: Store
    now: datetime
    tz: ZoneInfo
    ids: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    marks: list[datetime] = field(default_factory=list)

    def fail(self, kind: Any, text: str, span: Span, *why: str) -> None:
        """Note what is not as expected."""
        self.failures.append(Failure(kind, text, span, tuple(dict.fromkeys(w for w in why if w))))

    def shown(self, at: datetime) -> str:
        """An instant by the test's clock."""
        return f"{at.astimezone(self.tz):%Y-%m-%d %H:%M}"

    def take_in(self, rows: Sequence[Row]) -> None:
        """Import rows, kind by kind."""
        if rows:
            self.marks.append(self.now)
        for kind in dict.fromkeys(row.kind for row in rows):
            mine = [row for row in rows if row.kind == kind]
            values = [row.values for row in mine]
            report = import_rows(self.store, KEYS, self.project.vocabulary, kind, values, now=self.now)
            for refused in report.refused:
                self.fail("impossible", f"this row was refused: {refused.problem}", mine[refused.line - 1].span)

    def people(self, unit: Unit) -> None:
        """Import those given, each with an id that chance deals what the test says of her."""
        table = customer if unit == "customer" else account
        fillers: list[int] = []
        last = 0
        for person in self.test.given.people.values():
            if person.unit != unit:
                continue
            wanted = self._dealt(person, last + 1)
            if wanted > last + 1:
                # Ids follow the greatest there is: a row that is taken away again makes room before this one.
                fillers.append(wanted - 1)
                with self.store.write() as conn:
                    conn.execute(table.insert().values(**_filler(wanted - 1, self.now)))
            self.take_in([person.row])
            self.ids[person.key] = last = wanted
        if fillers:
            with self.store.write() as conn:
                conn.execute(table.delete().where(table.c.id.in_(fillers)))

    def _dealt(self, person: Person, first: int) -> int:
        """The first id from `first` on with which chance keeps to what the test says: the engine draws by ids."""
        journeys = [j for j in self.project.journeys.values() if j.unit == person.unit]
        splits = [(j, step) for j in journeys for step in j.every_step() if isinstance(step, Split)]
        if strange := sorted(person.takes - {name for _, split in splits for name in split.split}):
            raise Impossible(
                f"`{person.key}` takes `{strange[0]}`, and no split of these journeys has an arm of that name"
            )
        if person.holdout and not any(j.holdout for j in journeys):
            raise Impossible(f"`{person.key}` is held out, and none of these journeys has a holdout")
        for number in range(first, first + TRIES):
            if all(_held_out(person, j, number) == person.holdout for j in journeys if j.holdout > 0) and all(
                _takes(person, j, split, number) for j, split in splits
            ):
                return number
        raise Impossible(f"chance cannot deal what `{person.key}` takes: it contradicts itself")

    def owner(self, key: str) -> tuple[Unit, int]:
        """Whose points and tier somebody's are: her own, or her company's."""
        person = self.test.given.people[key]
        found = self.project.vocabulary.classes.get(str(person.row.values.get("class") or ""))
        if person.unit == "customer" and found is not None and found.unit == "account" and person.account:
            return "account", self.ids[person.account]
        return person.unit, self.ids[key]

    def names(self) -> dict[tuple[str, int], str]:
        """(unit, id) → key of those given."""
        people = self.test.given.people.values()
        return {(p.unit, self.ids[p.key]): p.key for p in people if p.key in self.ids}

    def zones(self) -> tuple[str, ...]:
        """Every zone that somebody may be in."""
        stated = {str(row.values.get("timezone") or "") for row in self._rows()}
        home = self.project.vocabulary.timezone
        return tuple(sorted({home, *(name for name in stated if zone(name) is not None)}))

    def _rows(self) -> list[Row]:
        given = [p.row for p in self.test.given.people.values()]
        changed = [row for h in self.test.happens for row in getattr(h, "rows", ())]
        return [*given, *changed]


def asked_of(condition: Condition) -> str:
    """The name that a plain comparison begins with, "" for anything else."""
    first, _, rest = condition.text.partition(" ")
    return first if rest[:1] in "<>=!" and rest else ""


def _someone(person: Person, journey: Journey, number: int) -> Enrollment:
    begun = datetime(2000, 1, 1, tzinfo=UTC)
    return Enrollment(0, journey.name, "", person.unit, number, None, None, "", "", 0, begun, begun, None)


def _held_out(person: Person, journey: Journey, number: int) -> bool:
    return draw(_someone(person, journey, number), "holdout") < journey.holdout


def _takes(person: Person, journey: Journey, split: Split, number: int) -> bool:
    """Whether chance deals this id one of the arms wanted; any will do where none of them is this split's."""
    wanted = person.takes & set(split.split)
    return not wanted or split.dealt(draw(_someone(person, journey, number), f"split {split.id}")) in wanted


def _filler(number: int, now: datetime) -> dict[str, Any]:
    row = {"id": number, "key": f"filler-{number}", "class": "", "attributes": {}}
    return row | {"created_at": now, "updated_at": now}
