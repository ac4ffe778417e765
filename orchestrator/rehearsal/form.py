"""A `.test.yaml` file: its form, its schema, and how it becomes tests that can be run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final, Literal

from orchestrator.problems import Problems, ProjectError, Span, suggest
from orchestrator.project import Project
from orchestrator.reading import Context, option, read, schema
from orchestrator.rehearsal.expectation import Course, Expectation, Line, read_line
from orchestrator.rehearsal.given import read_given
from orchestrator.rehearsal.happening import read_happening
from orchestrator.rehearsal.page import Page, several
from orchestrator.rehearsal.parts import Happening, Rehearsal
from orchestrator.source import Node, parse
from orchestrator.words import Stamp, day
from orchestrator.zones import instant, zone

ENDING: Final = ".test.yaml"
QUIET: Final = 30
"""Days that a test without any dated line runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalForm:
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


def _file(path: str, text: str, project: Project, problems: Problems) -> Iterator[Rehearsal]:
    root = parse(text, path, problems)
    for node in several(root):
        mine = Problems()
        form = read(RehearsalForm, node, Context(mine, project.vocabulary))
        made = _made(form, node, project, mine) if form is not None else None
        problems.found += mine.found
        if made is not None and not mine.errors:
            yield made


def _made(form: RehearsalForm, node: Node, project: Project, problems: Problems) -> Rehearsal | None:
    page = _page(form, node, project, problems)
    if page is None:
        return None
    given = read_given(page, form.given)
    happens = [found for entry in form.when for found in read_happening(page, entry)]
    expect = [line for entry in form.expect if (line := _line(page, entry, never=False)) is not None]
    never = [line for entry in form.never if (line := _line(page, entry, never=True)) is not None]
    if not form.expect and not form.never:
        hint = "write under `expect` what must come, or under `never` what must not"
        page.tell("missing-key", "this test expects nothing", form.span, hint)
    for line in (*expect, *never):
        if line.when is not None and line.when.day < page.clock.astimezone(page.tz).date():
            page.tell("bad-expectation", "this is before the test begins", line.span, "it begins when `clock` says")
    until = _until(page, form, node, happens, expect)
    if until is None or problems.errors:
        return None
    return Rehearsal(
        name=form.test,
        path=node.span.file,
        span=form.span,
        journeys=page.tested,
        clock=page.clock,
        zone=page.tz.key,
        until=until,
        given=given,
        happens=tuple(sorted(happens, key=lambda h: h.at)),
        expect=tuple(expect),
        never=tuple(line for line in never if isinstance(line, Line | Course)),
        strict=form.also == "refused",
    )


def _page(form: RehearsalForm, node: Node, project: Project, problems: Problems) -> Page | None:
    name = form.clock.zone or project.vocabulary.timezone
    tz = zone(name) if name != "recipient" else None
    if tz is None:
        hint = "name a zone there is, such as `Europe/Berlin`"
        problems.error("unknown-zone", f"there is no zone `{name}`", (node.get("clock") or node).span, hint)
        return None
    for one in several(node.get("journey")):
        if one.text not in project.journeys:
            hint = suggest(one.text, project.journeys)
            problems.error("unknown-journey", f"there is no journey `{one.text}`", one.span, hint)
    if problems.errors:
        return None
    tested = form.journey or tuple(sorted(project.journeys))
    return Page(project, problems, tz, instant(form.clock.wall.date(), form.clock.wall.time(), tz), tested)


def _line(page: Page, node: Node, *, never: bool) -> Expectation | None:
    if node.kind != "scalar" or node.empty:
        hint = "write it as a line: `2027-01-10 email welcome to ana`"
        page.tell("bad-expectation", "an expectation is one line of words", node.span, hint)
        return None
    units = {person.key: person.unit for person in page.people.values()}
    return read_line(node, never, page.moment, units, page.tested, page.project, page.problems)


def _until(
    page: Page, form: RehearsalForm, node: Node, happens: Sequence[Happening], expect: Sequence[Expectation]
) -> datetime | None:
    """The instant at which it ends: what is said, else the end of the last day that any line names."""
    if form.until is not None:
        on = day(form.until)
        found = page.at(on + timedelta(days=1), time()) if on is not None else page.moment(form.until)
        if found is None or found <= page.clock:
            hint = "a day behind the clock's, or how long: `90 days`"
            page.tell("wrong-type", "`until` says when the test ends", (node.get("until") or node).span, hint)
            return None
        late = [h.span for h in happens if h.at >= found]
        late += [e.span for e in expect if e.when is not None and page.at(e.when.day, time()) >= found]
        for span in late:
            page.tell("wrong-type", "this is after the test's end", span, "let it run longer: `until`")
        return found
    instants = [page.clock, *(h.at for h in happens), *(e.when.at for e in expect if e.when is not None)]
    if not any(e.when is not None for e in expect):
        instants.append(page.clock + timedelta(days=QUIET))
    return page.at(max(instants).astimezone(page.tz).date() + timedelta(days=1), time())


def rehearsal_schema() -> dict[str, Any]:
    """The JSON Schema of a test file: one test, or a list of them."""
    found = schema(RehearsalForm)
    definitions, draft = found.pop("definitions"), found.pop("$schema")
    rows = {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}]}
    numbers = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}
    lines = {"type": "array", "items": {"type": "string"}}
    given = {
        "type": "object",
        "properties": {
            **dict.fromkeys(("customer", "customers", "account", "accounts", "event", "events"), rows),
            **dict.fromkeys(("points", "vouchers"), numbers),
        },
        "additionalProperties": rows,  # a workspace's own records
    }
    shapes = {
        "given": given,
        "when": {"type": "array", "items": {"type": "object"}},
        "expect": lines,
        "never": lines,
    }
    for key, shape in shapes.items():
        found["properties"][key] = {"description": found["properties"][key]["description"], **shape}
    one = {"$ref": "#/definitions/Test"}
    either = [one, {"type": "array", "items": one}]
    return {"$schema": draft, "anyOf": either, "definitions": {**definitions, "Test": found}}
