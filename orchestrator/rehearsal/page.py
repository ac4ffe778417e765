"""What the reading of one test shares: its clock, its people, how times and rows are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from orchestrator.dates import after, before
from orchestrator.model import Kind
from orchestrator.problems import Problems, Span, suggest
from orchestrator.project import Project
from orchestrator.rehearsal.parts import Person, Row
from orchestrator.rows import ImportKind, RowReader
from orchestrator.source import Entry, Node
from orchestrator.words import day, duration, stamp
from orchestrator.zones import instant, zone

NOON: Final = time(12)


@dataclass(slots=True)
class Page:
    """One test under way. `keys`: of the records given, by type; `number` counts what happens, for keys."""

    project: Project
    problems: Problems
    tz: ZoneInfo
    clock: datetime
    tested: tuple[str, ...] = ()
    people: dict[str, Person] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    keys: dict[str, list[str]] = field(default_factory=dict)
    records: dict[str, Row] = field(default_factory=dict)
    number: int = 0

    def tell(self, code: str, message: str, span: Span, hint: str = "") -> None:
        self.problems.error(code, message, span, hint)

    # ---- time

    def at(self, on: date, wall: time) -> datetime:
        """The instant of a wall time by the test's clock."""
        return instant(on, wall, self.tz)

    def moment(self, text: str) -> datetime | None:
        """`2027-02-01 10:00`, `2027-02-01` (noon), `3 days ago`, `in 3 days`, `14 days`; None for anything else."""
        text = text.strip()
        if (on := day(text)) is not None:
            return self.at(on, NOON)
        if (said := stamp(text)) is not None:
            tz = zone(said.zone) if said.zone else self.tz
            return instant(said.wall.date(), said.wall.time(), tz) if tz is not None else None
        length = duration(text.removesuffix(" ago").removeprefix("in "))
        if length is None:
            return None
        return before(self.clock, length, self.tz) if text.endswith(" ago") else after(self.clock, length, self.tz)

    def when(self, node: Node) -> datetime | None:
        """The instant that `at` or `after` says; without them the clock's. None when it cannot be read, and told."""
        said = [(key, value) for key in ("at", "after") if (value := node.get(key)) is not None]
        if len(said) > 1:
            self.tell("wrong-type", "`at` and `after` both say when", node.span, "keep one of them")
            return None
        if not said:
            return self.clock
        key, value = said[0]
        found = self.moment(value.text) if value.kind == "scalar" else None
        if found is None or (key == "after" and duration(value.text) is None):
            shown = "`14 days`" if key == "after" else "`2027-02-01 10:00`, `2027-02-01` or `3 days ago`"
            self.tell("wrong-type", f"`{key}` takes a time such as {shown}", value.span)
            return None
        return found

    # ---- rows

    def values(
        self, node: Node, special: tuple[str, ...], fields: Mapping[str, Any], more: tuple[str, ...]
    ) -> tuple[dict[str, Any], dict[str, Node]]:
        """A row's columns as the importer takes them, and what stands under its special keys."""
        values: dict[str, Any] = {}
        own: dict[str, Node] = {}
        for entry in node.entries:
            column = entry.key.removesuffix("_currency")
            if entry.key in special:
                own[entry.key] = entry.value
            elif entry.key not in fields and entry.key not in more and column not in fields:
                hint = suggest(entry.key, {*fields, *more, *special})
                self.tell("unknown-field", f"there is no field `{entry.key}`", entry.key_span, hint)
            else:
                values[entry.key] = self.value(entry, getattr(fields.get(entry.key), "kind", None))
        return values, own

    def value(self, entry: Entry, kind: Kind | None) -> Any:
        """A cell as text; a day may be told by the clock: `in 90 days`, `3 days ago`, `today`."""
        node = entry.value
        if node.empty or node.kind != "scalar":
            return None if node.empty else node.plain()
        by_clock = node.text == "today" or node.text.endswith(" ago") or node.text.startswith("in ")
        if by_clock and (kind in (Kind.DATE, Kind.INSTANT) or entry.key == "left_at"):
            found = self.clock if node.text == "today" else self.moment(node.text)
            if found is not None:
                is_day = kind is Kind.DATE
                return found.astimezone(self.tz).date().isoformat() if is_day else found.isoformat()
        return node.text

    def row(self, kind: ImportKind, values: Mapping[str, Any], span: Span, at: datetime | None = None) -> Row:
        """The row, read once by the importer's own reader, so that what would be refused is told here."""
        found = RowReader(kind, self.project.vocabulary, at or self.clock).read(values)
        if isinstance(found, str):
            self.tell("bad-row", f"this row would be refused: {found}", span, "write it as an import would take it")
        elif kind in ("customers", "accounts") and not values.get("class"):
            hint = "say which: " + ", ".join(f"`{c}`" for c in self.project.vocabulary.classes)
            self.tell("bad-row", "`class` is missing", span, hint)
        return Row(kind, values, span)

    def nobody(self, name: str, span: Span, what: str = "nobody is called") -> None:
        """Tell of a key that nobody given has."""
        hint = suggest(name, self.people) or "name one of those under `given`"
        self.tell("unknown-person", f"{what} `{name}`", span, hint)


def nowhere(project: Project, problems: Problems) -> Page:
    """A page whose clock cannot be read: for telling what else is wrong."""
    return Page(project, problems, ZoneInfo("UTC"), datetime(1970, 1, 1, tzinfo=UTC))


def several(node: Node | None) -> tuple[Node, ...]:
    """A list's items, or the one value that stands for a list of one; none for nothing."""
    if node is None or node.empty:
        return ()
    return node.items if node.kind == "list" else (node,)
