"""Declarations filled from YAML: what fits, what is told of what does not, ids of steps, and the JSON Schema."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal

import pytest

from channels.base import Medium
from orchestrator import reading
from orchestrator.condition import Condition, Expression, Scope
from orchestrator.model import Vocabulary
from orchestrator.problems import Problems, Span, render
from orchestrator.project import load_files
from orchestrator.reading import (
    BAD,
    Context,
    Days,
    EventName,
    Hours,
    Offset,
    SegmentName,
    Share,
    TierName,
    Zone,
    option,
    outline,
    read,
    read_step,
)
from orchestrator.source import Node, parse
from orchestrator.steps import Step
from orchestrator.words import Duration, Money, Rate
from tests.golden.workspace import GOOD


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return load_files(GOOD).vocabulary


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """Something inside."""

    span: Span
    name: str = option("what it is called")
    size: int = option("how large", default=1, low=1, high=9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another thing inside."""

    colour: Colour = option("its colour")


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """One of each."""

    text: str | None = option(default=None)
    yes: bool | None = option(default=None)
    whole: int | None = option(default=None, low=0)
    number: float | None = option(default=None)
    choice: Literal["one", "two"] | None = option(default=None)
    exact: timedelta | None = option(default=None)
    length: Duration | None = option(default=None)
    at: time | None = option(default=None)
    on: date | None = option(default=None)
    share: Share | None = option(default=None)
    days: Days | None = option(default=None)
    hours: Hours | None = option(default=None)
    rate: Rate | None = option(default=None)
    money: Money | None = option(default=None)
    zone: Zone | None = option(default=None)
    event: EventName | None = option(default=None)
    segment: SegmentName | None = option(default=None)
    tier: TierName | None = option(default=None)
    offset: Offset | None = option(default=None)
    if_: Condition | None = option(default=None)
    value: Expression | None = option(default=None)
    node: Node | None = option(default=None)
    inner: Inner | None = option("the inner thing", default=None)
    either: Inner | Other | str | None = option(default=None)
    when: time | Offset | None = option(default=None)
    words: tuple[str, ...] = option(default=())
    many: tuple[Inner, ...] = option(default=())
    by_name: Mapping[str, int] = option(factory=dict)
    sender: str = option("who", key="from", default="")


def attempt(text: str, vocabulary: Vocabulary, cls: type[Any] = Everything) -> tuple[Any, list[tuple[str, str, str]]]:
    problems = Problems()
    node = parse(text, "x.yaml", problems)
    assert node is not None, render(problems.sorted(), {"x.yaml": text})
    found = read(cls, node, Context(problems, vocabulary))
    return found, [(p.code, f"{p.span.line}:{p.span.col}", p.message) for p in problems.sorted()]


GOOD_VALUES: list[tuple[str, str, object]] = [
    ("text: hello", "text", "hello"),
    ("text: 0049", "text", "0049"),
    ("text: no", "text", "no"),
    ("text: 'true'", "text", "true"),
    ("yes: false", "yes", False),
    ("whole: 12", "whole", 12),
    ("number: 3", "number", 3),
    ("number: -1.5", "number", -1.5),
    ("choice: two", "choice", "two"),
    ("exact: 2 hours", "exact", timedelta(hours=2)),
    ("length: 1 month", "length", Duration(months=1)),
    ("at: 21:00", "at", time(21)),
    ("on: 2027-08-31", "on", date(2027, 8, 31)),
    ("share: 45%", "share", 0.45),
    ("days: weekdays", "days", frozenset(range(5))),
    ("days: [mon, thu, sun]", "days", frozenset({0, 3, 6})),
    ("hours: 08:00-20:00", "hours", (time(8), time(20))),
    ("rate: 1000 per hour", "rate", Rate(1000, timedelta(hours=1))),
    ("money: 12.50 EUR", "money", Money(1250, "EUR")),
    ("zone: America/St_Johns", "zone", "America/St_Johns"),
    ("event: order_placed", "event", "order_placed"),
    ("segment: regulars", "segment", "regulars"),
    ("tier: gold", "tier", "gold"),
    ("words: one", "words", ("one",)),
    ("words: [one, 2]", "words", ("one", "2")),
    ("by_name: { a: 1, b: 2 }", "by_name", {"a": 1, "b": 2}),
    ("from: me", "sender", "me"),
    ("when: 09:00", "when", time(9)),
]


@pytest.mark.parametrize(("text", "name", "value"), GOOD_VALUES, ids=[t for t, _, _ in GOOD_VALUES])
def test_values_that_fit(text: str, name: str, value: object, vocabulary: Vocabulary) -> None:
    found, problems = attempt(text, vocabulary)
    assert not problems and getattr(found, name) == value


def test_maps_and_unions(vocabulary: Vocabulary) -> None:
    text = "inner: { name: a, size: 3 }\neither: { colour: red }\nmany: { name: b }\nwhen: 3 days before birthday\n"
    found, problems = attempt(text, vocabulary)
    assert not problems
    assert found.inner == Inner(span=Span("x.yaml", 1, 8, 1, 28), name="a", size=3)
    assert found.either == Other(colour=Colour.RED)
    assert [i.name for i in found.many] == ["b"]
    assert (
        found.when.amount == Duration(days=3) and found.when.field == "birthday" and found.when.expression is not None
    )
    assert attempt("either: { name: b }", vocabulary)[0].either.name == "b"
    assert attempt("either: word", vocabulary)[0].either == "word"


def test_conditions_and_expressions(vocabulary: Vocabulary) -> None:
    found, problems = attempt("if: tier >= gold\nvalue: points * 2\n", vocabulary)
    assert not problems and found.if_.text == 'tier >= "gold"' and found.value is not None
    assert found.if_.span == Span("x.yaml", 1, 5, 1, 17)


BAD_VALUES = [
    ("text: [a]", "wrong-type", "1:7"),
    ("text: {a: b}", "wrong-type", "1:7"),
    ("text: true", "wrong-type", "1:7"),
    ("text: ''", "wrong-type", "1:7"),
    ("text:", "empty-value", "1:1"),
    ("yes: yes", "wrong-type", "1:6"),
    ("whole: 1.5", "wrong-type", "1:8"),
    ("whole: true", "wrong-type", "1:8"),
    ("whole: -1", "wrong-type", "1:8"),
    ("whole: '1'", "wrong-type", "1:8"),
    ("number: .nan", "wrong-type", "1:9"),
    ("choice: three", "wrong-choice", "1:9"),
    ("exact: 1 month", "wrong-type", "1:8"),
    ("length: 3 dayz", "wrong-type", "1:9"),
    ("at: 9 o'clock", "wrong-type", "1:5"),
    ("share: 0.1", "wrong-type", "1:8"),
    ("days: [mon, tues, wod]", "wrong-type", "1:13"),
    ("zone: Mars/Base", "wrong-type", "1:7"),
    ("zone: ../../etc/passwd", "wrong-type", "1:7"),
    ("event: order_place", "unknown-event", "1:8"),
    ("segment: regular", "unknown-segment", "1:10"),
    ("tier: golden", "unknown-tier", "1:7"),
    ("offset: 3 days before birthdy", "unknown-field", "1:23"),
    ("offset: 3 days befor birthday", "wrong-type", "1:9"),
    ("if: teir >= gold", "unknown-field", "1:5"),
    ("if: 'teir >= gold'", "unknown-field", "1:6"),
    ("if: >\n  email is set\n  and teir >= gold", "unknown-field", "3:7"),
    ('if: "email is set and \\u0074eir >= gold"', "unknown-field", "1:5"),
    ("if: '{{ tier }} >= gold'", "template-in-condition", "1:6"),
    ("if: [a]", "wrong-type", "1:5"),
    ("inner: { size: 3 }", "missing-key", "1:8"),
    ("inner: { nmae: a }", "unknown-key", "1:10"),
    ("inner: { name: a, size: 10 }", "wrong-type", "1:25"),
    ("inner: word", "wrong-type", "1:8"),
    ("many: [ { name: a }, { name: [b] } ]", "wrong-type", "1:30"),
    ("by_name: [1]", "wrong-type", "1:10"),
    ("by_name: { a: x }", "wrong-type", "1:15"),
    ("by_name: { a: }", "empty-value", "1:12"),
    ("either: [a, b]", "wrong-type", "1:9"),
    ("when: 3 days before birthdy", "unknown-field", "1:21"),
    ("when: soonish please", "wrong-type", "1:7"),
    ("sender: me", "unknown-key", "1:1"),
    ("txt: me", "unknown-key", "1:1"),
]


@pytest.mark.parametrize(("text", "code", "place"), BAD_VALUES, ids=[t for t, _, _ in BAD_VALUES])
def test_values_that_do_not_fit(text: str, code: str, place: str, vocabulary: Vocabulary) -> None:
    found, problems = attempt(text, vocabulary)
    assert found is None and [p[:2] for p in problems] == [(code, place)], problems


def test_all_mistakes_are_told_at_once(vocabulary: Vocabulary) -> None:
    _, problems = attempt("whole: x\nlength: y\nmany: [ { name: a, size: 0 }, { nam: b } ]\nunknown: z\n", vocabulary)
    assert [p[0] for p in problems] == ["wrong-type", "wrong-type", "wrong-type", "unknown-key", "unknown-key"]


def test_sound_parts_are_kept_with_read_parts(vocabulary: Vocabulary) -> None:
    problems = Problems()
    node = parse("whole: 3\nlength: x\n", "x.yaml", problems)
    assert node is not None
    parts = reading.read_parts(Everything, node, Context(problems, vocabulary))
    assert parts["whole"] == 3 and parts["length"] is None and parts["words"] == () and len(problems.found) == 1


# ---- hooks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """An event, and which of them."""

    event: EventName
    where: Condition | None = None

    @classmethod
    def narrow(cls, node: Node, scope: Scope) -> Scope:
        event = node.get("event")
        return Scope(unit=scope.unit, subject_event=event.text) if event is not None else scope

    def check(self, node: Node, context: Context) -> None:
        if self.where is None:
            context.problems.error("no-where", "any of them?", node.span)


def test_hooks_narrow_the_scope_and_check_the_whole(vocabulary: Vocabulary) -> None:
    found, problems = attempt('event: order_placed\nwhere: channel == "web"\n', vocabulary, Hooked)
    assert not problems and isinstance(found, Hooked)
    assert attempt("event: signed_up\nwhere: channel == web\n", vocabulary, Hooked)[1][0][0] == "unknown-field"
    assert attempt("event: signed_up\n", vocabulary, Hooked)[1] == [("no-where", "1:1", "any of them?")]


# ---- steps ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending(Step):
    medium: ClassVar[Medium]
    only_if: Condition | None = option("sent only when", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter(Sending):
    """Sends a letter."""

    keyword: ClassVar[str] = "letter"
    medium: ClassVar[Medium] = Medium.MAIL
    template: str = option("the text's name", head=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Step):
    keyword: ClassVar[str] = "pause"
    pause: Duration = option("how long")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Step):
    keyword: ClassVar[str] = "stop"
    stop: str = option("why", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen(Step):
    keyword: ClassVar[str] = "listen"
    event: EventName = option("which")
    then: tuple[Step, ...] = option("what then", default=())
    note: str = option("a remark", default="", beside=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose(Step):
    keyword: ClassVar[str] = "choose"
    choose: Mapping[str, tuple[Step, ...]] = option("steps by name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Either(Step):
    keyword: ClassVar[str] = "either"
    either: tuple[Sending, ...] = option("sends")


KINDS: dict[str, type[Step]] = {c.keyword: c for c in (Letter, Pause, Stop, Listen, Choose, Either)}


def steps(text: str, vocabulary: Vocabulary) -> tuple[list[Any], list[str], list[tuple[str, str, str]]]:
    """Steps read, ids outlined, problems."""
    problems = Problems()
    node = parse(text, "x.yaml", problems)
    assert node is not None, render(problems.sorted(), {"x.yaml": text})
    context = Context(problems, vocabulary, kinds=KINDS)
    outlined = outline(node, context)
    found = [read_step(n, context, KINDS) for n in node.items]
    return (
        found,
        [o.id for o in outlined],
        [(p.code, f"{p.span.line}:{p.span.col}", p.message) for p in problems.sorted()],
    )


def test_a_step_reads_aloud(vocabulary: Vocabulary) -> None:
    text = """\
- letter: hello
  only_if: tier >= gold
- pause: 3 days
- stop
- stop:
- stop: enough
- listen: { event: signed_up, then: [ { letter: inside }, stop ] }
  note: beside
- choose: { a: [ { pause: 1 hour } ], b: [] }
- either: [ { letter: one }, { letter: two, id: mine } ]
"""
    found, ids, problems = steps(text, vocabulary)
    assert not problems
    assert ids == [
        "letter:hello", "pause:3-days", "stop", "stop-2", "stop:enough", "listen", "letter:inside", "stop-3",
        "choose", "pause:1-hour", "either", "letter:one", "mine",
    ]  # fmt: skip
    assert found[0].id == "letter:hello" and found[0].template == "hello" and found[0].only_if is not None
    assert found[0].span == Span("x.yaml", 1, 3, 1, 16)
    assert found[5].note == "beside" and [s.id for s in found[5].then] == ["letter:inside", "stop-3"]
    assert found[6].choose["b"] == ()


def test_only_sends_are_told_apart_by_hand(vocabulary: Vocabulary) -> None:
    _, ids, problems = steps("- pause: 1 day\n- letter: a\n- pause: 1 day\n- letter: a\n", vocabulary)
    assert ids == ["pause:1-day", "letter:a", "pause:1-day-2", "letter:a"]
    assert [p[:2] for p in problems] == [("duplicate-step", "4:3")]
    _, ids, problems = steps("- letter: a\n- letter: a\n  id: again\n- pause: 1 day\n- pause: 1 day\n", vocabulary)
    assert ids == ["letter:a", "again", "pause:1-day", "pause:1-day-2"] and not problems


def test_an_id_has_a_form(vocabulary: Vocabulary) -> None:
    assert [p[:2] for p in steps("- letter: a\n  id: a b", vocabulary)[2]] == [("bad-id", "2:7")]


def test_a_number_never_takes_a_written_id(vocabulary: Vocabulary) -> None:
    _, ids, problems = steps("- stop\n- stop\n- stop: x\n  id: stop-2\n", vocabulary)
    assert ids == ["stop", "stop-3", "stop-2"] and not problems


def test_an_alias_is_steps_of_its_own(vocabulary: Vocabulary) -> None:
    _, ids, problems = steps("- choose: { a: &x [ { pause: 1 day } ], b: *x }\n", vocabulary)
    assert ids == ["choose", "pause:1-day", "pause:1-day-2"] and not problems


BAD_STEPS = [
    ("- lettr: a", "unknown-step", "1:3"),
    ("- fax: a", "unknown-step", "1:3"),
    ("- letter a", "unknown-step", "1:3"),
    ("- [letter]", "wrong-type", "1:3"),
    ("-", "wrong-type", "1:2"),
    ("- {}", "unknown-step", "1:3"),
    ("- letter: a\n  pause: 1 day", "several-steps", "2:3"),
    ("- letter:", "empty-value", "1:3"),
    ("- letter: [a]", "wrong-type", "1:11"),
    ("- letter: a\n  template: b", "unknown-key", "2:3"),
    ("- letter: a\n  id:", "empty-value", "2:3"),
    ("- letter: a\n  only_iff: x", "unknown-key", "2:3"),
    ("- listen: signed_up", "wrong-type", "1:11"),
    ("- listen:", "missing-key", "1:3"),
    ("- listen:\n  event: signed_up", "misplaced-key", "2:3"),
    ("- listen: { event: signed_up, then: { letter: a } }", "wrong-type", "1:37"),
    ("- either: [ { pause: 1 day } ]", "misplaced-step", "1:15"),
]


@pytest.mark.parametrize(("text", "code", "place"), BAD_STEPS, ids=[t for t, _, _ in BAD_STEPS])
def test_steps_that_do_not_fit(text: str, code: str, place: str, vocabulary: Vocabulary) -> None:
    found, _, problems = steps(text, vocabulary)
    assert found == [None] and [p[:2] for p in problems] == [(code, place)], problems


# ---- schema ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A file."""

    name: str = option("its name")
    everything: Everything | None = option("one of each", default=None)
    steps: tuple[Step, ...] = option("its steps")


def test_the_schema_says_what_the_reader_reads(vocabulary: Vocabulary) -> None:
    jsonschema = importlib.import_module("jsonschema")  # it comes with Prefect
    found = reading.schema(Root, KINDS)
    json.dumps(found)
    jsonschema.Draft7Validator.check_schema(found)
    good = [t for t, n, _ in GOOD_VALUES if n not in ("text", "words")] + ["text: hello", "words: [a]"]
    for text in good:
        node = parse(f"name: x\neverything:\n  {text}\nsteps: [ {{ letter: a, id: b }}, stop ]", "x.yaml", Problems())
        assert node is not None
        jsonschema.validate(node.plain(), found)
    for text in (
        "name: x",
        "name: x\nsteps: [ { lettr: a } ]",
        "nam: x\nsteps: []",
        "name: x\nsteps: [ { letter: a, x: 1 } ]",
    ):
        node = parse(text, "x.yaml", Problems())
        assert node is not None
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(node.plain(), found)
    assert found["description"] == "A file."
    assert found["definitions"]["step-letter"]["description"] == "Sends a letter."


def test_an_unreadable_type_is_the_authors_mistake() -> None:
    with pytest.raises(TypeError, match="no reading for the type"):
        reading.read_value(
            complex, Node("scalar", Span.whole("x")), Context(Problems(), Vocabulary.__new__(Vocabulary))
        )
    assert BAD is reading.BAD
