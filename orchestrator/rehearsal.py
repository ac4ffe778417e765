"""Tests of journeys as they are written: who is given, what happens, what is expected. When they run: `rehearse`.

A `.test.yaml` file holds one test, or a list of them. Everything in it is checked against the workspace as any other
file is: rows by the importer's own reader, events by their properties, conditions by the condition language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Literal

from channels.base import EventKind
from orchestrator.dates import after as later
from orchestrator.dates import before
from orchestrator.expectation import Expectation, Line, Moment, read_line
from orchestrator.model import Kind
from orchestrator.places import zones_of
from orchestrator.problems import Problem, Problems, ProjectError, Span, suggest
from orchestrator.project import Project
from orchestrator.reading import BAD, Context, option, read, read_value, schema
from orchestrator.rows import ImportKind, RowReader
from orchestrator.source import Entry, Node, parse
from orchestrator.words import Duration, Stamp, duration, stamp
from orchestrator.words import day as read_day
from orchestrator.zones import instant, zone

ENDING: Final = ".test.yaml"
NOON: Final = time(12)
QUIET: Final = 30
"""Days that a test without any dated line runs."""
HEARD: Final[Mapping[str, EventKind]] = {
    "delivered": EventKind.DELIVERED,
    "opened": EventKind.OPENED,
    "clicked": EventKind.CLICKED,
    "replied": EventKind.REPLIED,
    "hard_bounce": EventKind.BOUNCED,
    "soft_bounce": EventKind.SOFT_BOUNCED,
    "blocked": EventKind.BLOCKED,
    "complained": EventKind.COMPLAINED,
    "unsubscribed": EventKind.UNSUBSCRIBED,
    "returned": EventKind.RETURNED,
    "failed": EventKind.FAILED,
}
"""What may come back of a message, as a test says it."""
DEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "claims": ("reward",),
    "redeems": ("voucher",),
    "refers": ("customer",),
    "answers": ("survey",),
    "consents": ("medium", "topic"),
    "withdraws": ("medium", "topic"),
    "enters": ("journey",),
}
"""What somebody may do beside causing an event, and the keys that must say what exactly."""
_OWN: Final = ("at", "after", "times", "every", "with")
PEOPLE: Final = ("customer", "account")


# ---- what a test comes to -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One row for the importer: `values` by column, as text."""

    kind: ImportKind
    values: Mapping[str, Any]
    span: Span


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody given, or a company. `takes`: arms of splits that chance shall deal; `holdout`: chance keeps her out."""

    key: str
    unit: Literal["customer", "account"]
    row: Row
    account: str = ""
    zone: str = ""
    takes: frozenset[str] = frozenset()
    holdout: bool = False


@dataclass(frozen=True, slots=True)
class Deed:
    """Somebody does something: an event of the workspace (`verb` "event"), or one of DEEDS with its details."""

    at: datetime
    who: str
    verb: str
    details: Mapping[str, Any]
    row: Row | None
    span: Span


@dataclass(frozen=True, slots=True)
class Change:
    """Rows that are imported at an instant."""

    at: datetime
    rows: tuple[Row, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Reaction:
    """What comes back of the first message that fits, sent at `since` or later; `delay` after it was sent."""

    since: datetime
    step: str
    to: str
    kind: EventKind
    delay: Duration
    text: str
    url: str
    span: Span


@dataclass(frozen=True, slots=True)
class Given:
    """What there is when the clock begins."""

    people: Mapping[str, Person] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    deeds: tuple[Deed, ...] = ()
    points: Mapping[str, int] = field(default_factory=dict)
    vouchers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One test, ready to be run. `journeys` are those whose messages are looked at; `strict`: all of them are listed."""

    name: str
    path: str
    span: Span
    journeys: tuple[str, ...]
    clock: datetime
    zone: str
    until: datetime
    given: Given
    happens: tuple[Deed | Change | Reaction, ...]
    expect: tuple[Expectation, ...]
    never: tuple[Line, ...]
    strict: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TestForm:
    """A test of journeys: who is given, what happens, which messages are expected, and when."""

    span: Span
    test: str = option("what it shows, in a sentence")
    journey: tuple[str, ...] = option("the journeys that run; without it, all of them", default=())
    clock: Stamp = option("when it begins: `2027-01-10 08:00 Europe/Berlin`")
    given: Node | None = option("who and what there is when it begins", default=None)
    when: tuple[Node, ...] = option("what happens, each with `at` or `after`", default=())
    until: str | None = option("how long it runs: `2027-05-01` or `90 days`", default=None)
    expect: tuple[Node, ...] = option("what must come, a line each", default=())
    never: tuple[Node, ...] = option("what must not come, a line each", default=())
    also: Literal["refused", "allowed"] = option("whether messages may come that no line names", default="refused")


def rehearsals(texts: Mapping[str, str], project: Project) -> tuple[Rehearsal, ...]:
    """The tests of these files, in order. Raises ProjectError with every problem in all of them."""
    problems = Problems()
    found = [test for path in sorted(texts) for test in _file(path, texts[path], project, problems)]
    if problems.errors:
        raise ProjectError(problems.sorted())
    return tuple(found)


def problems_of(texts: Mapping[str, str], project: Project) -> tuple[Problem, ...]:
    """What is wrong with these test files, for `check`."""
    try:
        rehearsals(texts, project)
    except ProjectError as error:
        return error.problems
    return ()


def _file(path: str, text: str, project: Project, problems: Problems) -> Iterator[Rehearsal]:
    root = parse(text, path, problems)
    if root is None:
        return
    for node in root.items if root.kind == "list" else (root,):
        mine = Problems()
        form = read(TestForm, node, Context(mine, project.vocabulary))
        made = _Reader(form, node, project, mine).made() if form is not None else None
        problems.found += mine.found
        if made is not None and not mine.errors:
            yield made


def test_schema() -> dict[str, Any]:
    """The JSON Schema of a test file: one test, or a list of them."""
    found = schema(TestForm)
    definitions = found.pop("definitions")
    draft = found.pop("$schema")
    rows = {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}]}
    given = {
        "type": "object",
        "description": "who and what there is when it begins",
        "properties": {
            **dict.fromkeys(("customer", "customers", "account", "accounts", "events"), rows),
            "points": {"type": "object", "additionalProperties": {"type": "integer"}},
            "vouchers": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "additionalProperties": rows,
    }
    lines = {"type": "array", "items": {"type": "string"}}
    found["properties"] |= {
        "given": given,
        "when": {"type": "array", "items": {"type": "object"}, "description": "what happens"},
        "expect": lines | {"description": "what must come, a line each"},
        "never": lines | {"description": "what must not come, a line each"},
    }
    definitions["Test"] = found
    one = {"$ref": "#/definitions/Test"}
    return {"$schema": draft, "anyOf": [one, {"type": "array", "items": one}], "definitions": definitions}


# ---- reading one ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    """One test under way."""

    form: TestForm
    node: Node
    project: Project
    problems: Problems
    tz_name: str = ""
    clock: datetime = field(default=datetime(1970, 1, 1, tzinfo=UTC))
    people: dict[str, Person] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    keys: dict[str, list[str]] = field(default_factory=dict)  # of records, by type
    record_of: dict[str, Row] = field(default_factory=dict)
    number: int = 0

    def made(self) -> Rehearsal | None:
        if not self._clock() or not self._journeys():
            return None
        given = self._given()
        happens = [found for node in self.form.when for found in self._happens(node)]
        expect = [line for node in self.form.expect if (line := self._line(node, "expect")) is not None]
        never = [line for node in self.form.never if (line := self._line(node, "never")) is not None]
        until = self._until(happens, expect)
        if not expect and not never:
            hint = "write under `expect` what must come, or under `never` what must not"
            self.problems.error("missing-key", "this test expects nothing", self.form.span, hint)
        if self.problems.errors or until is None:
            return None
        ordered = sorted(happens, key=lambda h: h.since if isinstance(h, Reaction) else h.at)
        return Rehearsal(
            name=self.form.test,
            path=self.node.span.file,
            span=self.form.span,
            journeys=self.form.journey or tuple(sorted(self.project.journeys)),
            clock=self.clock,
            zone=self.tz_name,
            until=until,
            given=given,
            happens=tuple(ordered),
            expect=tuple(expect),
            never=tuple(line for line in never if isinstance(line, Line)),
            strict=self.form.also == "refused",
        )

    def _error(self, code: str, message: str, span: Span, hint: str = "") -> None:
        self.problems.error(code, message, span, hint)

    def _clock(self) -> bool:
        said = self.form.clock
        self.tz_name = said.zone or self.project.vocabulary.timezone
        tz = zone(self.tz_name)
        at = self.node.get("clock")
        if tz is None or said.zone == "recipient":
            hint = "name a zone there is, such as `Europe/Berlin`"
            self._error("unknown-zone", f"there is no zone `{self.tz_name}`", at.span if at else self.form.span, hint)
            return False
        self.clock = instant(said.wall.date(), said.wall.time(), tz)
        return True

    def _journeys(self) -> bool:
        node = self.node.get("journey")
        named = (node.items if node.kind == "list" else (node,)) if node is not None else ()
        for one in named:
            if one.text not in self.project.journeys:
                hint = suggest(one.text, self.project.journeys)
                self._error("unknown-journey", f"there is no journey `{one.text}`", one.span, hint)
        return not self.problems.errors

    def _line(self, node: Node, where: str) -> Expectation | None:
        if node.kind != "scalar" or node.empty:
            hint = "write it as a line: `2027-01-10 email welcome to ana`"
            self._error("bad-expectation", "an expectation is one line", node.span, hint)
            return None
        tested = self.form.journey or tuple(self.project.journeys)
        units = {person.key: person.unit for person in self.people.values()}
        return read_line(node, where == "never", self._moment, units, tested, self.project, self.problems)

    # ---- time

    def _wall(self, at: datetime) -> datetime:
        return at.astimezone(zone(self.tz_name))

    def _at(self, day: date, at: time) -> datetime:
        tz = zone(self.tz_name)
        assert tz is not None
        return instant(day, at, tz)

    def _shifted(self, by: Duration, sign: int = 1) -> datetime:
        tz = zone(self.tz_name)
        assert tz is not None
        return later(self.clock, by, tz) if sign > 0 else before(self.clock, by, tz)

    def _moment(self, text: str) -> datetime | None:
        """`2027-02-01 10:00`, `2027-02-01` (noon), `3 days ago`, `in 3 days`, `14 days`."""
        text = text.strip()
        if (day := read_day(text)) is not None:
            return self._at(day, NOON)
        if (said := stamp(text)) is not None and (not said.zone or zone(said.zone) is not None):
            tz = zone(said.zone or self.tz_name)
            return instant(said.wall.date(), said.wall.time(), tz) if tz is not None else None
        sign = -1 if text.endswith(" ago") else 1
        length = duration(text.removesuffix(" ago").removeprefix("in "))
        return self._shifted(length, sign) if length is not None else None

    def _when(self, node: Node, keys: tuple[str, ...] = ("at", "after")) -> datetime | None:
        """The instant that one of the keys says; without one, the clock's. None when it cannot be read, and told."""
        said = [(key, node.get(key)) for key in keys if node.get(key) is not None]
        if len(said) > 1:
            self._error("wrong-type", "`at` and `after` both say when", node.span, "keep one of them")
            return None
        if not said:
            return self.clock
        key, value = said[0]
        assert value is not None
        at = self._moment(value.text) if value.kind == "scalar" else None
        if key == "after" and (value.kind != "scalar" or duration(value.text) is None):
            at = None
        if at is None:
            shown = "`14 days`" if key == "after" else "`2027-02-01 10:00`, `2027-02-01` or `3 days ago`"
            self._error("wrong-type", f"`{key}` takes a time such as {shown}", value.span)
        return at

    def _until(self, happens: list[Deed | Change | Reaction], expect: list[Expectation]) -> datetime | None:
        text = self.form.until
        if text is not None:
            day = read_day(text)
            found = self._at(day + timedelta(days=1), time()) if day is not None else self._moment(text)
            if found is None or found <= self.clock:
                node = self.node.get("until") or self.node
                self._error("wrong-type", "`until` takes a day after the clock's, or `90 days`", node.span)
                return None
            return found
        instants = [h.since if isinstance(h, Reaction) else h.at for h in happens]
        instants += [m.last for e in expect if (m := e.when) is not None]
        if not any(e.when is not None for e in expect):
            instants.append(self.clock + timedelta(days=QUIET))
        day = self._wall(max([self.clock, *instants])).date()
        return self._at(day + timedelta(days=1), time())

    # ---- who and what is given

    def _given(self) -> Given:
        given = self.form.given
        if given is None:
            return Given()
        if given.kind != "map":
            self._error("wrong-type", "`given` is a map: `customers: [ … ]`", given.span)
            return Given()
        known = {"customers", "accounts", "events", "points", "vouchers"}
        records = {name for r in self.project.vocabulary.records for name in (r, f"{r}s", _plural(r))}
        for entry in given.entries:
            if entry.key not in known | set(PEOPLE) | records | {"event"}:
                hint = suggest(entry.key, known | records)
                self._error("unknown-key", f"unknown key `{entry.key}` of `given`", entry.key_span, hint)
        for key in ("account", "accounts"):
            for node in self._rows_under(given, key):
                self._account(node)
        for key in ("customer", "customers"):
            for node in self._rows_under(given, key):
                self._customer(node)
        for name in self.project.vocabulary.records:
            for key in dict.fromkeys((name, f"{name}s", _plural(name))):
                for node in self._rows_under(given, key):
                    self._record(name, node)
        deeds = [d for key in ("event", "events") for node in self._rows_under(given, key) for d in self._deeds(node)]
        for deed in deeds:
            if deed.at > self.clock:
                self._error("wrong-type", "what is given happened before the clock", deed.span, "move it to `when`")
        return Given(
            dict(self.people),
            tuple(self.rows),
            tuple(deeds),
            self._numbers(given, "points", self.people, "person"),
            self._numbers(given, "vouchers", self.project.vocabulary.loyalty.pools, "voucher pool"),
        )

    def _rows_under(self, given: Node, key: str) -> tuple[Node, ...]:
        node = given.get(key)
        if node is None or node.empty:
            return ()
        rows = node.items if node.kind == "list" else (node,)
        good = tuple(row for row in rows if row.kind == "map")
        for row in rows:
            if row.kind != "map":
                self._error("wrong-type", f"`{key}` takes rows such as {{ key: ana, … }}", row.span)
        return good

    def _numbers(self, given: Node, key: str, known: Mapping[str, Any], noun: str) -> Mapping[str, int]:
        node = given.get(key)
        found: dict[str, int] = {}
        for entry in node.entries if node is not None else ():
            number = entry.value.value
            if entry.key not in known:
                hint = suggest(entry.key, known)
                self._error("unknown-person" if noun == "person" else "unknown-pool",
                            f"there is no {noun} `{entry.key}`", entry.key_span, hint)  # fmt: skip
            elif not isinstance(number, int) or isinstance(number, bool) or number < 1:
                self._error("wrong-type", f"`{entry.key}` takes a whole number from 1", entry.value.span)
            else:
                found[entry.key] = number
        return found

    def _account(self, node: Node) -> None:
        values, own = self._values(node, ("takes", "holdout"), self.project.vocabulary.account, ("parent",))
        key = self._key(node, values)
        if key is None:
            return
        classes = [c.name for c in self.project.vocabulary.classes.values() if c.unit == "account"]
        if "class" not in values and len(classes) == 1:
            values["class"] = classes[0]
        made_up = {
            "name": key.replace("-", " ").title(),
            "timezone": self.tz_name,
            "country": _country(values.get("timezone") or self.tz_name),
            "manager_name": "Mary Manager",
            "manager_email": "manager@example.com",
        }
        row = self._row("accounts", {**made_up, **values}, node.span)
        self._person(key, "account", row, own, node)

    def _customer(self, node: Node) -> None:
        vocabulary = self.project.vocabulary
        special = ("consent", "device", "devices", "takes", "holdout")
        values, own = self._values(node, special, vocabulary.customer, ("account", "left_at"))
        key = self._key(node, values)
        if key is None:
            return
        companies = [p for p in self.people.values() if p.unit == "account"]
        of_company = values.get("class") in (
            None,
            *(c.name for c in vocabulary.classes.values() if c.unit == "account"),
        )
        if "account" not in values and len(companies) == 1 and of_company:
            values["account"] = companies[0].key
        company = self.people.get(str(values.get("account") or ""))
        if values.get("account") and (company is None or company.unit != "account"):
            hint = suggest(str(values["account"]), [p.key for p in companies])
            at = node.get("account") or node
            self._error("unknown-person", f"there is no account `{values['account']}`", at.span, hint)
            return
        if "class" not in values:
            only = [c.name for c in vocabulary.classes.values() if c.unit == "customer"]
            values |= {"class": company.row.values.get("class")} if company else {}
            values |= {"class": only[0]} if company is None and len(only) == 1 else {}
        consents = self._consents(own.get("consent"))
        tz = str(values.get("timezone") or (company.zone if company else "") or self.tz_name)
        media = {medium for medium, _ in consents}
        row = self._row("customers", {**self._made_up(key, tz, values, media), **values}, node.span)
        self._person(key, "customer", row, own, node)
        for medium, topic in consents:
            self._consent(key, medium, topic, node.span)
        devices = own.get("device") or own.get("devices")
        platforms = [n.text for n in (devices.items if devices.kind == "list" else (devices,))] if devices else []
        for platform in platforms or (["web"] if "push" in media and devices is None else []):
            token = f"token-{key}-{platform}"
            self.rows.append(self._row("devices", {"token": token, "customer": key, "platform": platform}, node.span))

    def _made_up(self, key: str, tz: str, values: Mapping[str, Any], media: set[str]) -> dict[str, Any]:
        """What a short row leaves out, so that the person can be written to."""
        number = len(self.people) + 1
        plain = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-") or f"c{number}"
        country = str(values.get("country") or _country(tz))
        found = {
            "first_name": key.replace("-", " ").replace("_", " ").title(),
            "last_name": "Example",
            "email": f"{plain}@example.com",
            "timezone": tz,
            "country": country,
        }
        if "sms" in media:
            found["phone"] = _PHONES.get(country, _PHONES["DE"]).format(number)
        if "mail" in media and "street" not in values:
            found |= dict(zip(("street", "postcode", "city"), _STREETS.get(country, _STREETS["DE"]), strict=True))
        return found

    def _person(
        self, key: str, unit: Literal["customer", "account"], row: Row, own: Mapping[str, Node], node: Node
    ) -> None:
        if key in self.people:
            at = node.get("key") or node
            self._error("duplicate-key", f"`{key}` is given twice", at.span, "give one of them another key")
            return
        takes = own.get("takes")
        names = frozenset(n.text for n in (takes.items if takes.kind == "list" else (takes,))) if takes else frozenset()
        holdout = own.get("holdout")
        stays = holdout is not None and holdout.text.lower() in ("yes", "true")
        zone_name = str(row.values.get("timezone") or "")
        account = str(row.values.get("account") or "")
        self.people[key] = Person(key, unit, row, account, zone_name, names, stays)

    def _consents(self, node: Node | None) -> list[tuple[str, str]]:
        found = []
        for one in (node.items if node.kind == "list" else (node,)) if node is not None else ():
            medium, _, topic = one.text.strip().partition(" ")
            topic = topic.strip() or "*"
            if medium not in ("email", "sms", "push", "mail", "audience"):
                hint = "write the medium and the topic: `email offers`, or `email` for every topic"
                self._error("wrong-choice", f"`{medium}` is no medium that one consents to", one.span, hint)
            elif topic != "*" and topic not in self.project.vocabulary.topics:
                hint = suggest(topic, self.project.vocabulary.topics)
                self._error("unknown-topic", f"there is no topic `{topic}`", one.span, hint)
            else:
                found.append((medium, topic))
        return found

    def _consent(self, key: str, medium: str, topic: str, span: Span) -> None:
        said = {
            "event_id": f"given-{key}-{medium}-{topic}",
            "customer": key,
            "medium": medium,
            "topic": topic,
            "action": "confirm",
            "occurred_at": (self.clock - timedelta(days=1)).isoformat(),
            "basis": "express_written",
            "method": "form",
            "source": "test",
        }
        self.rows.append(self._row("consents", said, span))

    def _record(self, name: str, node: Node) -> None:
        found = self.project.vocabulary.records[name]
        fields: dict[str, Any] = {**found.fields, found.key: None}
        values, own = self._values(node, ("of",), fields, ("customer", "account"))
        owner = own.get("of")
        if owner is not None:
            values[found.of] = owner.text
        whose = [p.key for p in self.people.values() if p.unit == found.of]
        if "customer" not in values and "account" not in values and len(whose) == 1:
            values[found.of] = whose[0]
        for unit in PEOPLE:
            if unit in values and str(values[unit]) not in self.people:
                at = owner or node.get(unit) or node
                self._error("unknown-person", f"there is no {unit} `{values[unit]}`", at.span,
                            suggest(str(values[unit]), self.people))  # fmt: skip
                return
        if found.key not in values:
            values[found.key] = f"{name}-{len(self.keys.get(name, ())) + 1}"
        self.keys.setdefault(name, []).append(str(values[found.key]))
        row = self._row("records", {"type": name, **values}, node.span)
        self.record_of[str(values[found.key])] = row
        self.rows.append(row)

    def _key(self, node: Node, values: Mapping[str, Any]) -> str | None:
        key = str(values.get("key") or "")
        if not key:
            hint = "by it the rest of the test names them: `key: ana`"
            self._error("missing-key", "`key` is missing", node.span, hint)
            return None
        return key

    def _values(
        self, node: Node, special: tuple[str, ...], fields: Mapping[str, Any], more: tuple[str, ...]
    ) -> tuple[dict[str, Any], dict[str, Node]]:
        """A row's columns as the importer takes them, and the nodes of its special keys."""
        values: dict[str, Any] = {}
        own: dict[str, Node] = {}
        for entry in node.entries:
            if entry.key in special:
                own[entry.key] = entry.value
            elif (
                entry.key not in fields and entry.key not in more and entry.key.removesuffix("_currency") not in fields
            ):
                hint = suggest(entry.key, {*fields, *more, *special})
                self._error("unknown-field", f"there is no field `{entry.key}`", entry.key_span, hint)
            else:
                values[entry.key] = self._value(entry, getattr(fields.get(entry.key), "kind", None))
        return values, own

    def _value(self, entry: Entry, kind: Kind | None) -> Any:
        node = entry.value
        if node.empty or node.kind != "scalar":
            return None if node.empty else node.plain()
        dated = kind in (Kind.DATE, Kind.INSTANT) or entry.key in ("joined", "left_at")
        if dated and (node.text.endswith(" ago") or node.text.startswith("in ") or node.text == "today"):
            at = self.clock if node.text == "today" else self._moment(node.text)
            if at is not None:
                day = kind is not Kind.INSTANT and entry.key != "left_at"
                return self._wall(at).date().isoformat() if day else at.isoformat()
        return node.text

    def _row(self, kind: ImportKind, values: Mapping[str, Any], span: Span, at: datetime | None = None) -> Row:
        """The row, read once by the importer's reader, so that what it would refuse is told here."""
        reader = RowReader(kind, self.project.vocabulary, at or self.clock)
        found = reader.read(values)
        if isinstance(found, str):
            self._error("bad-row", f"this row would be refused: {found}", span, "mend it as the message says")
        elif kind in ("customers", "accounts") and "class" not in values:
            hint = "say which: " + ", ".join(f"`{c}`" for c in self.project.vocabulary.classes)
            self._error("bad-row", "`class` is missing", span, hint)
        return Row(kind, values, span)

    # ---- what happens

    def _happens(self, node: Node) -> list[Deed | Change | Reaction]:
        if node.kind != "map":
            hint = "such as `{ after: 3 days, ana: order_placed, amount: 50 EUR }`"
            self._error("wrong-type", "what happens is a map", node.span, hint)
            return []
        if node.get("message") is not None:
            return self._reaction(node)
        if node.get("set") is not None:
            return self._change(node)
        return list(self._deeds(node))

    def _deeds(self, node: Node) -> Iterator[Deed]:
        who = [e for e in node.entries if e.key in self.people]
        if len(who) != 1:
            strange = [e for e in node.entries if e.key not in _OWN]
            here = strange[0].key_span if strange else node.span
            hint = (suggest(strange[0].key, self.people) if strange else "") or "name one of those given: `ana: …`"
            message = "whose event is it?" if not who else "several people are named: write an entry for each"
            self._error("unknown-person", message, here, hint)
            return
        at = self._when(node)
        if at is None:
            return
        times, every = self._repeated(node)
        for _ in range(times):
            self.number += 1
            deed = self._deed(node, who[0], at)
            if deed is None:
                return
            yield deed
            tz = zone(self.tz_name)
            assert tz is not None
            at = later(at, every, tz)

    def _repeated(self, node: Node) -> tuple[int, Duration]:
        times, every = node.get("times"), node.get("every")
        count = times.value if times is not None else 1
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1000:
            self._error("wrong-type", "`times` takes a whole number from 1 to 1000", (times or node).span)
            count = 1
        apart = Duration(days=1)
        if every is not None:
            found = read_value(Duration, every, Context(self.problems, self.project.vocabulary))
            apart = found if found is not BAD else apart
        return count, apart

    def _deed(self, node: Node, who: Entry, at: datetime) -> Deed | None:
        verb = who.value.text.strip() if who.value.kind == "scalar" else ""
        events = self.project.vocabulary.events
        details = [e for e in node.entries if e.key not in _OWN and e is not who]
        more = node.get("with")
        details += list(more.entries) if more is not None else []
        if verb in events:
            return self._event(who.key, verb, details, at, node.span)
        if verb not in DEEDS:
            hint = suggest(verb, [*events, *DEEDS])
            self._error("unknown-event", f"there is no event `{verb}`", who.value.span, hint)
            return None
        said = {e.key: e.value.plain() for e in details}
        for key in DEEDS[verb]:
            if key not in said and key != "topic":
                self._error("missing-key", f"`{who.key}: {verb}` needs `{key}`", who.value.span)
                return None
        row = None
        if verb in ("consents", "withdraws"):
            action = "confirm" if verb == "consents" else "withdraw"
            values = {
                "event_id": f"test-{self.number}", "customer": who.key, "medium": said["medium"],
                "topic": said.get("topic", "*"), "action": action, "occurred_at": at.isoformat(), "method": "form",
                **({"basis": "express_written"} if action == "confirm" else {}),
            }  # fmt: skip
            row = self._row("consents", values, node.span, at)
        return Deed(at, who.key, verb, said, row, node.span)

    def _event(self, who: str, name: str, details: list[Entry], at: datetime, span: Span) -> Deed | None:
        fields = self.project.vocabulary.events[name].fields
        for entry in details:
            if entry.key not in fields:
                hint = suggest(entry.key, fields)
                message = f"the event `{name}` has no property `{entry.key}`"
                self._error("unknown-field", message, entry.key_span, hint)
                return None
        properties = {e.key: self._value(e, fields[e.key].kind) for e in details}
        for key, found in fields.items():
            if found.kind is Kind.KEY and key not in properties:
                properties[key] = self._only(key) or f"{key}-{self.number}"
        owner: dict[str, Any] = {str(self.people[who].unit): who}
        values = {"type": name, "event_id": f"test-{self.number}", "occurred_at": at.isoformat(), **owner, **properties}
        return Deed(at, who, "event", properties, self._row("events", values, span, at), span)

    def _only(self, key: str) -> str:
        """The one record given whose key is called so: an event about a contract is about that one."""
        found = [k for r in self.project.vocabulary.records.values() if r.key == key for k in self.keys.get(r.name, ())]
        return found[0] if len(found) == 1 else ""

    def _change(self, node: Node) -> list[Deed | Change | Reaction]:
        at = self._when(node)
        changes = node.get("set")
        rows: list[Row] = []
        if at is None or changes is None:
            return []
        for entry in changes.entries:
            person, known = self.people.get(entry.key), self.record_of.get(entry.key)
            if person is None and known is None:
                hint = suggest(entry.key, {*self.people, *self.record_of})
                self._error("unknown-person", f"nobody and nothing is called `{entry.key}`", entry.key_span, hint)
                continue
            rows.append(self._changed(entry, person, known, at))
        return [Change(at, tuple(rows), node.span)]

    def _changed(self, entry: Entry, person: Person | None, known: Row | None, at: datetime) -> Row:
        v = self.project.vocabulary
        if person is None:
            assert known is not None
            kind = v.records[str(known.values["type"])]
            values, _ = self._values(entry.value, (), kind.fields, ("customer", "account"))
            told = {"type": kind.name, kind.key: entry.key, **values}
            return self._row("records", told, entry.value.span, at)
        fields, more = (v.customer, ("account", "left_at")) if person.unit == "customer" else (v.account, ("parent",))
        values, _ = self._values(entry.value, (), fields, more)
        told = {"key": entry.key, "class": person.row.values.get("class"), **values}
        kind_: ImportKind = "customers" if person.unit == "customer" else "accounts"
        return self._row(kind_, told, entry.value.span, at)

    def _reaction(self, node: Node) -> list[Deed | Change | Reaction]:
        message, to = node.get("message"), node.get("to")
        assert message is not None
        since = self._when(node)
        tested = [self.project.journeys[n] for n in (self.form.journey or self.project.journeys)]
        steps = {step for journey in tested for step in journey.sends()}
        if message.text not in steps:
            hint = suggest(message.text, steps) or "name a send step by its id, such as `email:welcome`"
            self._error("unknown-step-id", f"no step sends `{message.text}`", message.span, hint)
            return []
        if to is not None and to.text not in self.people:
            self._error("unknown-person", f"nobody is called `{to.text}`", to.span, suggest(to.text, self.people))
            return []
        said = [e for e in node.entries if e.key not in ("at", "after", "message", "to", "url")]
        if len(said) != 1 or said[0].key not in HEARD:
            strange = next((e for e in said if e.key not in HEARD), None)
            hint = suggest(strange.key, HEARD) if strange else ""
            hint = hint or "one of: " + ", ".join(f"`{k}`" for k in HEARD)
            self._error("unknown-key", "what comes back of it?", strange.key_span if strange else node.span, hint)
            return []
        value = said[0].value
        text, delay = "", Duration(seconds=60)
        if said[0].key == "replied":
            text = value.text
        elif value.value is not True:
            found = duration(value.text.removeprefix("after "))
            if found is None:
                hint = "`true`, or how long after it was sent: `2 days`"
                self._error("wrong-type", f"`{said[0].key}` takes `true` or a length of time", value.span, hint)
                return []
            delay = found
        url = node.get("url")
        if since is None:
            return []
        kind = HEARD[said[0].key]
        whom = to.text if to is not None else ""
        return [Reaction(since, message.text, whom, kind, delay, text, url.text if url else "", node.span)]


_PHONES: Final[Mapping[str, str]] = {
    "DE": "+4917139{:05}",
    "AT": "+4366412{:05}",
    "CH": "+417912{:05}",
    "GB": "+4478501{:05}",
    "FR": "+336123{:05}",
    "US": "+12125550{:03}",
}
_STREETS: Final[Mapping[str, tuple[str, str, str]]] = {
    "DE": ("Lindenweg 1", "10115", "Berlin"),
    "AT": ("Ringstr. 1", "1010", "Wien"),
    "CH": ("Bahnhofstr. 1", "8001", "Zürich"),
    "GB": ("1 High Street", "SW1A 1AA", "London"),
    "FR": ("1 rue de la Paix", "75002", "Paris"),
    "US": ("1 Main Street", "10001", "New York"),
}


def _country(zone_name: str) -> str:
    """The country to make up for somebody in that zone: the first whose zones it is among, else DE."""
    return next((c for c in _STREETS if zone_name in zones_of(c)), "DE")


def _plural(name: str) -> str:
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


__all__ = ["DEEDS", "ENDING", "HEARD", "Change", "Deed", "Given", "Moment", "Person", "Reaction", "Rehearsal", "Row",
           "problems_of", "rehearsals", "test_schema"]  # fmt: skip
