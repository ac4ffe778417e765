"""Who and what is given: rows as an import brings them, and what is made up where a short row leaves it out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Final, Literal

from orchestrator.places import zones_of
from orchestrator.problems import Span, suggest
from orchestrator.rehearsal.happening import deeds
from orchestrator.rehearsal.page import Page, several
from orchestrator.rehearsal.parts import Given, Person
from orchestrator.rows import CONSENT_MEDIA
from orchestrator.source import Node

_PEOPLE: Final = ("account", "accounts", "customer", "customers")
_OTHERS: Final = ("event", "events", "points", "vouchers")
_PHONES: Final[Mapping[str, str]] = {
    "DE": "+4917139{:05}",
    "AT": "+43664123{:05}",
    "CH": "+4179123{:04}",
    "GB": "+44785012{:04}",
    "FR": "+336123{:05}",
    "US": "+1212555{:04}",
}
_STREETS: Final[Mapping[str, tuple[str, str, str]]] = {
    "DE": ("Lindenweg 1", "10115", "Berlin"),
    "AT": ("Ringstr. 1", "1010", "Wien"),
    "CH": ("Bahnhofstr. 1", "8001", "Zürich"),
    "GB": ("1 High Street", "SW1A 1AA", "London"),
    "FR": ("1 rue de la Paix", "75002", "Paris"),
    "US": ("1 Main Street", "10001", "New York"),
}


def read_given(page: Page, given: Node | None) -> Given:
    """What stands under `given`; fills the page's people and records. Tells what is wrong."""
    if given is None or given.empty:
        return Given()
    if given.kind != "map":
        page.tell("wrong-type", "`given` is a map: `customers: [ … ]`", given.span)
        return Given()
    vocabulary = page.project.vocabulary
    names = {form: name for name in vocabulary.records for form in (name, f"{name}s", _plural(name))}
    for entry in given.entries:
        if entry.key not in (*_PEOPLE, *_OTHERS) and entry.key not in names:
            hint = suggest(entry.key, {*_PEOPLE, *_OTHERS, *names})
            page.tell("unknown-key", f"unknown key `{entry.key}` of `given`", entry.key_span, hint)
    # Companies before their contacts, people before what is theirs, whatever the order in the file.
    for key in _PEOPLE:
        for node in _rows(page, given, key):
            (_account if key.startswith("account") else _customer)(page, node)
    for key, name in names.items():
        for node in _rows(page, given, key):
            _record(page, name, node)
    done = [d for key in ("event", "events") for node in _rows(page, given, key) for d in deeds(page, node)]
    for deed in done:
        if deed.at > page.clock:
            page.tell("wrong-type", "what is given has happened before the clock", deed.span, "move it to `when`")
    points = _numbers(page, given.get("points"), page.people, "person")
    vouchers = _numbers(page, given.get("vouchers"), vocabulary.loyalty.pools, "pool")
    return Given(dict(page.people), tuple(page.rows), tuple(done), points, vouchers)


def _rows(page: Page, given: Node, key: str) -> list[Node]:
    found = several(given.get(key))
    for row in found:
        if row.kind != "map":
            page.tell("wrong-type", f"`{key}` takes rows such as `{{ key: ana }}`", row.span)
    return [row for row in found if row.kind == "map"]


def _numbers(
    page: Page, node: Node | None, known: Collection[str], noun: Literal["person", "pool"]
) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for entry in node.entries if node is not None else ():
        number = entry.value.value
        if entry.key not in known and noun == "pool":
            hint = suggest(entry.key, known) or "declare it under `program` in workspace.yaml"
            page.tell("not-in-programme", f"there is no pool of vouchers `{entry.key}`", entry.key_span, hint)
        elif entry.key not in known:
            page.nobody(entry.key, entry.key_span)
        elif not isinstance(number, int) or isinstance(number, bool) or number < 1:
            page.tell("wrong-type", f"`{entry.key}` takes a whole number from 1", entry.value.span)
        else:
            found[entry.key] = number
    return found


# ---- people and companies -------------------------------------------------------------------------------------------


def _account(page: Page, node: Node) -> None:
    vocabulary = page.project.vocabulary
    values, own = page.values(node, ("takes", "holdout"), vocabulary.account, ("parent",))
    key = _key(page, node, values)
    if key is None:
        return
    classes = [c.name for c in vocabulary.classes.values() if c.unit == "account"]
    made_up = {
        "class": classes[0] if len(classes) == 1 else None,
        "name": _title(key),
        "timezone": page.tz.key,
        "country": _country(str(values.get("timezone") or page.tz.key)),
        "manager_name": "Mary Manager",
        "manager_email": "manager@example.com",
    }
    _person(page, key, "account", {**made_up, **values}, own, node)


def _customer(page: Page, node: Node) -> None:
    vocabulary = page.project.vocabulary
    special = ("consent", "devices", "takes", "holdout")
    values, own = page.values(node, special, vocabulary.customer, ("account", "left_at"))
    key = _key(page, node, values)
    if key is None:
        return
    of_accounts = [c.name for c in vocabulary.classes.values() if c.unit == "account"]
    companies = {p.key: p for p in page.people.values() if p.unit == "account"}
    if "account" not in values and len(companies) == 1 and values.get("class") in (None, *of_accounts):
        values["account"] = next(iter(companies))
    name = str(values.get("account") or "")
    if name and name not in companies:
        hint = suggest(name, companies) or "give it under `accounts`"
        page.tell("unknown-person", f"there is no account `{name}`", (node.get("account") or node).span, hint)
        return
    if "class" not in values:
        only = [c.name for c in vocabulary.classes.values() if c.unit == "customer"]
        theirs = companies[name].row.values.get("class") if name else None
        values["class"] = theirs or (only[0] if len(only) == 1 else None)
    consents = _consents(page, own.get("consent"))
    tz = str(values.get("timezone") or (companies[name].zone if name else "") or page.tz.key)
    media = {medium for medium, _ in consents}
    _person(page, key, "customer", {**_made_up(page, key, tz, values, media), **values}, own, node)
    for medium, topic in consents:
        _consent(page, key, medium, topic, node.span)
    platforms = [n.text for n in several(own.get("devices"))]
    for platform in platforms or (["web"] if "push" in media and "devices" not in own else []):
        token = {"token": f"token-{key}-{platform}", "customer": key, "platform": platform}
        page.rows.append(page.row("devices", token, node.span))


def _made_up(page: Page, key: str, tz: str, values: Mapping[str, Any], media: Collection[str]) -> dict[str, Any]:
    """What a short row leaves out, so that somebody can be written to by the media that were said yes to."""
    number = len(page.people) + 1
    plain = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-") or f"c{number}"
    country = str(values.get("country") or _country(tz))
    found: dict[str, Any] = {
        "first_name": _title(key),
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
    page: Page,
    key: str,
    unit: Literal["customer", "account"],
    values: Mapping[str, Any],
    own: Mapping[str, Node],
    node: Node,
) -> None:
    if key in page.people:
        at = node.get("key") or node
        page.tell("duplicate-key", f"`{key}` is given twice", at.span, "give one of them another key")
        return
    values = {name: value for name, value in values.items() if name != "class" or value is not None}
    row = page.row("accounts" if unit == "account" else "customers", values, node.span)
    takes = frozenset(n.text for n in several(own.get("takes")))
    out = own.get("holdout")
    stays_out = out is not None and out.text.lower() in ("yes", "true")
    account, tz = str(values.get("account") or ""), str(values.get("timezone") or "")
    page.people[key] = Person(key, unit, row, account, tz, takes, stays_out)


def _consents(page: Page, node: Node | None) -> list[tuple[str, str]]:
    """(medium, topic) of each; "*" for every topic of the medium."""
    found = []
    topics = page.project.vocabulary.topics
    for one in several(node):
        medium, _, said = one.text.strip().partition(" ")
        topic = said.strip() or "*"
        if medium not in CONSENT_MEDIA:
            hint = "write the medium and the topic: `email offers`, or `email` for every topic"
            page.tell("wrong-choice", f"nobody consents to `{medium}`", one.span, hint)
        elif topic != "*" and topic not in topics:
            page.tell("unknown-topic", f"there is no topic `{topic}`", one.span, suggest(topic, topics))
        else:
            found.append((medium, topic))
    return found


def _consent(page: Page, key: str, medium: str, topic: str, span: Span) -> None:
    """By default a yes that does everywhere: in writing, and confirmed."""
    said = {
        "event_id": f"given-{key}-{medium}-{topic}",
        "customer": key,
        "medium": medium,
        "topic": topic,
        "action": "confirm",
        "occurred_at": (page.clock - timedelta(days=1)).isoformat(),
        "basis": "express_written",
        "method": "form",
        "source": "test",
    }
    page.rows.append(page.row("consents", said, span))


def _key(page: Page, node: Node, values: Mapping[str, Any]) -> str | None:
    key = str(values.get("key") or "")
    if not key:
        page.tell("missing-key", "`key` is missing", node.span, "the rest of the test names them by it: `key: ana`")
    return key or None


# ---- records --------------------------------------------------------------------------------------------------------


def _record(page: Page, name: str, node: Node) -> None:
    found = page.project.vocabulary.records[name]
    fields: dict[str, Any] = {**found.fields, found.key: None}
    values, own = page.values(node, ("of",), fields, ("customer", "account"))
    if "of" in own:
        values[found.of] = own["of"].text
    whose = [p.key for p in page.people.values() if p.unit == found.of]
    if "customer" not in values and "account" not in values and len(whose) == 1:
        values[found.of] = whose[0]
    for unit in ("customer", "account"):
        if values.get(unit) is not None and str(values[unit]) not in page.people:
            at = own.get("of") or node.get(unit) or node
            page.nobody(str(values[unit]), at.span, f"there is no {unit}")
            return
    values.setdefault(found.key, f"{name}-{len(page.keys.get(name, ())) + 1}")
    key = str(values[found.key])
    page.keys.setdefault(name, []).append(key)
    row = page.row("records", {"type": name, **values}, node.span)
    page.records[key] = row
    page.rows.append(row)


def _country(tz: str) -> str:
    """A country to make up for somebody in that zone: the first of a few whose zones it is among, else DE."""
    return next((country for country in _STREETS if tz in zones_of(country)), "DE")


def _title(key: str) -> str:
    return re.sub(r"[-_.]+", " ", key).title()


def _plural(name: str) -> str:
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
