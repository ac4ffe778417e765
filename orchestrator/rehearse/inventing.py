"""Values that fit what a workspace declares: of a kind, within its choices, and those that its conditions ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from orchestrator.condition import Condition, Expression
from orchestrator.model import Field, Kind
from orchestrator.project import Project
from orchestrator.rehearse.chance import draw, pick, whole
from orchestrator.terms import Compare, Literal_, Node, OneOf, Ref, walk

_WORDS: Final = ("amber", "birch", "copper", "drift", "ember", "fjord", "garnet", "harbour", "indigo", "juniper")
_DAY: Final = timedelta(days=1)
UNSAID: Final = 0.25
"""The share of customers of whom a declared value is not known."""


def roots(project: Project) -> Iterator[Node]:
    """Every condition of the journeys and segments, as a node."""
    for condition in project.segments.values():
        yield condition.root
    for journey in project.journeys.values():
        asked: list[Condition | Expression | None] = [journey.audience, journey.goal, *journey.exit_when]
        asked += [where for t in journey.triggers if (where := getattr(t, "where", None)) is not None]
        asked += [c for step in journey.every_step() for c in step.asks()]
        yield from (c.root for c in asked if c is not None)


def _asked_for(project: Project) -> dict[tuple[str, str], tuple[Any, ...]]:
    """(what holds it, field) → the values that conditions compare it with."""
    found: dict[tuple[str, str], dict[Any, None]] = defaultdict(dict)
    for root in roots(project):
        for node in walk(root):
            match node:
                case (
                    Compare(left=Ref() as ref, right=Literal_() as told)
                    | Compare(left=Literal_() as told, right=Ref() as ref)
                ):
                    found[_holder(ref), ref.name][told.value] = None
                case OneOf(value=Ref() as ref):
                    for option in node.options:
                        if isinstance(option, Literal_):
                            found[_holder(ref), ref.name][option.value] = None
    return {name: tuple(values) for name, values in found.items()}


def _holder(ref: Ref) -> str:
    return ref.of if ref.holder in ("event", "record") else ref.holder


@dataclass
class Inventor:
    """Makes values. `begin`: the day around which dates lie."""

    project: Project
    seed: int
    begin: date
    _asked: Mapping[tuple[str, str], tuple[Any, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._asked = _asked_for(self.project)

    def pick(self, n: int, name: str) -> int:
        """One of the numbers below n."""
        return int(draw(self.seed, name) * n)

    def members(self, holder: str, fields: Mapping[str, Field], whose: str, *, sure: bool = True) -> dict[str, Any]:
        """Cells of a row for these fields. `whose` names the row; not `sure`: some are not known."""
        row: dict[str, Any] = {}
        for name, one in fields.items():
            if not sure and draw(self.seed, "known", whose, name) < UNSAID:
                continue
            value = self.value(holder, one, f"{whose}/{name}")
            if value is not None:
                row[name] = value
        return row

    def value(self, holder: str, one: Field, name: str) -> Any:
        """A cell for one field; None where it is better left out."""
        asked = self._asked.get((holder, one.name), ())
        match one.kind:
            case Kind.CHOICE:
                return pick(one.choices, self.seed, name)
            case Kind.TIER:
                return None
            case Kind.YES_NO:
                return "yes" if draw(self.seed, name) < 0.5 else "no"
            case Kind.NUMBER:
                return whole(0, 10, self.seed, name) if one.name == "score" else whole(1, 60, self.seed, name)
            case Kind.MONEY:
                return self.money(holder, name)
            case Kind.DATE:
                return self._date(holder, one.name, name)
            case Kind.INSTANT:
                day = self._date(holder, one.name, name)
                return None if day is None else f"{day}T10:00:00Z"
            case Kind.KEY:
                return name.replace("/", "-")
        texts = [str(value) for value in asked if value]
        if texts and draw(self.seed, "asked", name) < 0.7:
            return pick(texts, self.seed, name)
        return pick(_WORDS, self.seed, name)

    def money(self, holder: str, name: str) -> str:
        """Ten to some hundreds for what happens every day, thousands for what a record holds."""
        share = draw(self.seed, "money", name)
        cents = int(1_000 + 25_000 * share * share)
        if holder == "account" or holder in self.project.vocabulary.records:
            cents = int(300_000 + 30_000_000 * share**3)
        # Every workspace counts in its own currency; one without decimals has no cents to write.
        return f"{cents // 100} {self.project.vocabulary.currency}"

    def _date(self, holder: str, field_name: str, name: str) -> str | None:
        """Birthdays lie decades back; dates of records and events ahead; a customer's other dates are mostly unset."""
        vocabulary = self.project.vocabulary
        if field_name == vocabulary.policies.born or "birth" in field_name or field_name in ("born", "dob"):
            return (self.begin - timedelta(days=whole(18 * 365, 80 * 365, self.seed, name))).isoformat()
        if holder in vocabulary.records:
            return (self.begin + timedelta(days=whole(-30, 400, self.seed, name))).isoformat()
        if holder in vocabulary.events:
            return (self.begin + timedelta(days=whole(14, 120, self.seed, name))).isoformat()
        if draw(self.seed, "set", name) < 0.9:
            return None
        return (self.begin + timedelta(days=whole(-90, 270, self.seed, name))).isoformat()


def at(day: date, hour: int) -> datetime:
    """An hour of a day, UTC."""
    return datetime.combine(day, time(hour), UTC)
