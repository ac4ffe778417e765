"""What happens in a test: events, changed data, what comes back of messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from orchestrator.dates import after
from orchestrator.model import Kind
from orchestrator.problems import Span, suggest
from orchestrator.reading import BAD, Context, read_value
from orchestrator.rehearsal.page import Page
from orchestrator.rehearsal.parts import DEEDS, HEARD, Change, Deed, Happening, Person, Reaction, Row
from orchestrator.rows import ImportKind
from orchestrator.source import Entry, Node
from orchestrator.words import Duration, duration

_OWN: Final = ("at", "after", "times", "every", "with")
_BY_RETURN: Final = Duration(seconds=60)


def read_happening(page: Page, node: Node) -> list[Happening]:
    """An entry of `when`: one thing that happens, or one several times."""
    if node.kind != "map":
        hint = "such as `{ after: 3 days, ana: order_placed, amount: 50 EUR }`"
        page.tell("wrong-type", "what happens is a map", node.span, hint)
        return []
    if node.get("message") is not None:
        reaction = _reaction(page, node)
        return [reaction] if reaction is not None else []
    if node.get("set") is not None:
        change = _change(page, node)
        return [change] if change is not None else []
    return list(deeds(page, node))


# ---- deeds ----------------------------------------------------------------------------------------------------------


def deeds(page: Page, node: Node) -> Iterator[Deed]:
    """What somebody does, as often as `times` says. Tells what is wrong."""
    who = [e for e in node.entries if e.key in page.people]
    if len(who) != 1:
        strange = next((e for e in node.entries if e.key not in _OWN), None)
        hint = suggest(strange.key, page.people) if strange is not None and not who else ""
        message = "several people are named: write an entry for each" if who else "whose deed is it?"
        here = strange.key_span if strange is not None else node.span
        page.tell("unknown-person", message, here, hint or "name one of those given: `ana: order_placed`")
        return
    at = page.when(node)
    if at is None:
        return
    times, every = _repeated(page, node)
    for _ in range(times):
        page.number += 1
        deed = _deed(page, node, who[0], at)
        if deed is None:
            return
        yield deed
        at = after(at, every, page.tz)


def _repeated(page: Page, node: Node) -> tuple[int, Duration]:
    times, every = node.get("times"), node.get("every")
    number = times.value if times is not None else 1
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 1000:
        page.tell("wrong-type", "`times` takes a whole number from 1 to 1000", (times or node).span)
        number = 1
    apart = Duration(days=1)
    if every is not None:
        found = read_value(Duration, every, Context(page.problems, page.project.vocabulary))
        apart = found if found is not BAD else apart
    return number, apart


def _deed(page: Page, node: Node, who: Entry, at: datetime) -> Deed | None:
    verb = who.value.text.strip() if who.value.kind == "scalar" else ""
    events = page.project.vocabulary.events
    details = [e for e in node.entries if e.key not in _OWN and e is not who]
    more = node.get("with")
    details += list(more.entries) if more is not None else []
    if verb in events:
        return _event(page, who.key, verb, details, at, node.span)
    if verb not in DEEDS:
        hint = suggest(verb, [*events, *DEEDS])
        page.tell("unknown-event", f"there is no event `{verb}`", who.value.span, hint)
        return None
    said = {e.key: e.value.plain() for e in details}
    for key in DEEDS[verb]:
        if key not in said:
            page.tell("missing-key", f"`{who.key}: {verb}` needs `{key}`", who.value.span)
            return None
    if not _known(page, verb, details):
        return None
    row = _consent(page, who.key, verb, said, at, node.span) if verb in ("consents", "withdraws") else None
    return Deed(at, who.key, verb, said, row, node.span)


def _known(page: Page, verb: str, details: list[Entry]) -> bool:
    """Whether what a deed names is there."""
    loyalty, vocabulary = page.project.vocabulary.loyalty, page.project.vocabulary
    known = {
        "reward": loyalty.rewards,
        "voucher": loyalty.pools,
        "customer": page.people,
        "survey": vocabulary.surveys,
        "journey": page.project.journeys,
    }
    good = True
    for entry in details:
        names = known.get(entry.key) if entry.key in DEEDS[verb] else None
        if names is None or entry.value.text in names:
            continue
        good = False
        name, span = entry.value.text, entry.value.span
        hint = suggest(name, names) or "declare it in workspace.yaml first"
        match entry.key:
            case "customer":
                page.nobody(name, span)
            case "voucher":
                page.tell("not-in-programme", f"there is no pool of vouchers `{name}`", span, hint)
            case "reward":
                page.tell("not-in-programme", f"there is no reward `{name}`", span, hint)
            case "survey":
                page.tell("unknown-survey", f"there is no survey `{name}`", span, hint)
            case _:
                page.tell("unknown-journey", f"there is no journey `{name}`", span, hint)
    return good


def _consent(page: Page, who: str, verb: str, said: dict[str, Any], at: datetime, span: Span) -> Row:
    yes = verb == "consents"
    values = {
        "event_id": f"test-{page.number}",
        "customer": who,
        "medium": said["medium"],
        "topic": said.get("topic", "*"),
        "action": "confirm" if yes else "withdraw",
        "occurred_at": at.isoformat(),
        "method": "form",
    }
    return page.row("consents", values | ({"basis": "express_written"} if yes else {}), span, at)


def _event(page: Page, who: str, name: str, details: list[Entry], at: datetime, span: Span) -> Deed | None:
    fields = page.project.vocabulary.events[name].fields
    for entry in details:
        if entry.key not in fields:
            message = f"the event `{name}` has no property `{entry.key}`"
            page.tell("unknown-field", message, entry.key_span, suggest(entry.key, fields))
            return None
    properties = {e.key: page.value(e, fields[e.key].kind) for e in details}
    for key, found in fields.items():
        if found.kind is Kind.KEY and key not in properties:
            properties[key] = _only(page, key) or f"{key}-{page.number}"
    values = {"type": name, "event_id": f"test-{page.number}", "occurred_at": at.isoformat()}
    values |= {str(page.people[who].unit): who, **properties}
    return Deed(at, who, "event", properties, page.row("events", values, span, at), span)


def _only(page: Page, key: str) -> str:
    """The one record given whose key is called so: an event about a contract is about that one."""
    records = page.project.vocabulary.records.values()
    found = [k for r in records if r.key == key for k in page.keys.get(r.name, ())]
    return found[0] if len(found) == 1 else ""


# ---- changed data ---------------------------------------------------------------------------------------------------


def _change(page: Page, node: Node) -> Change | None:
    at, changes = page.when(node), node.get("set")
    if at is None or changes is None:
        return None
    rows = []
    for entry in changes.entries:
        person, record = page.people.get(entry.key), page.records.get(entry.key)
        if person is not None:
            rows.append(_changed(page, entry, person, at))
        elif record is not None:
            kind = page.project.vocabulary.records[str(record.values["type"])]
            values, _ = page.values(entry.value, (), kind.fields, ("customer", "account"))
            told = {"type": kind.name, kind.key: entry.key, **values}
            rows.append(page.row("records", told, entry.value.span, at))
        else:
            hint = suggest(entry.key, {*page.people, *page.records}) or "name one of those under `given`"
            page.tell("unknown-person", f"nobody and nothing is called `{entry.key}`", entry.key_span, hint)
    return Change(at, tuple(rows), node.span)


def _changed(page: Page, entry: Entry, person: Person, at: datetime) -> Row:
    vocabulary = page.project.vocabulary
    kind: ImportKind = "customers" if person.unit == "customer" else "accounts"
    fields, more = (vocabulary.account, ("parent",))
    if person.unit == "customer":
        fields, more = vocabulary.customer, ("account", "left_at")  # type: ignore[assignment]
    values, _ = page.values(entry.value, (), fields, more)
    return page.row(kind, {"key": entry.key, "class": person.row.values.get("class"), **values}, entry.value.span, at)


# ---- what comes back ------------------------------------------------------------------------------------------------


def _reaction(page: Page, node: Node) -> Reaction | None:
    message, to, at = node.get("message"), node.get("to"), page.when(node)
    assert message is not None
    steps = {step for name in page.tested for step in page.project.journeys[name].sends()}
    if message.text not in steps:
        hint = suggest(message.text, steps) or "name a send step by its id, such as `email:welcome`"
        page.tell("unknown-step-id", f"no step sends `{message.text}`", message.span, hint)
        return None
    if to is not None and to.text not in page.people:
        page.nobody(to.text, to.span)
        return None
    said = [e for e in node.entries if e.key not in ("at", "after", "message", "to", "url")]
    strange = next((e for e in said if e.key not in HEARD), None)
    if strange is not None or len(said) != 1:
        hint = suggest(strange.key, HEARD) if strange is not None else ""
        at_ = strange.key_span if strange is not None else node.span
        message_ = f"unknown key `{strange.key}`" if strange is not None else "one thing comes back of a message"
        page.tell("unknown-key", message_, at_, hint or "one of: " + ", ".join(f"`{k}`" for k in HEARD))
        return None
    delay = _delay(page, said[0])
    if at is None or delay is None:
        return None
    text = said[0].value.text if said[0].key == "replied" else ""
    url = node.get("url")
    whom, link = to.text if to is not None else "", url.text if url is not None else ""
    return Reaction(at, message.text, whom, HEARD[said[0].key], delay, text, link, node.span)


def _delay(page: Page, said: Entry) -> Duration | None:
    """How long after the message it comes back."""
    if said.key == "replied" or said.value.value is True:
        return _BY_RETURN
    found = duration(said.value.text.removeprefix("after ")) if said.value.kind == "scalar" else None
    if found is None:
        hint = "`true`, or how long after it was sent: `2 days`"
        page.tell("wrong-type", f"`{said.key}` takes `true` or a length of time", said.value.span, hint)
    return found
