"""workspace.yaml and segments.yaml: the business as it is declared, made into a Vocabulary and checked conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final, Literal, get_args

from orchestrator.centre import (
    ANSWERED,
    ASKED,
    LOCALE,
    PreferencesEntry,
    SurveyEntry,
    Words,
    answered_event,
    asked_event,
    read_preferences,
    read_surveys,
    read_words,
    spoken,
)
from orchestrator.condition import Condition, Scope, segments_named
from orchestrator.listening import ComplaintsEntry, read_complaints
from orchestrator.model import (
    ACCOUNT_FIELDS,
    CUSTOMER_FIELDS,
    LOYALTY_EVENTS,
    LOYALTY_FIELDS,
    CustomerClass,
    EventType,
    Field,
    Kind,
    Policies,
    RecordType,
    Topic,
    Unit,
    Vocabulary,
)
from orchestrator.policies import IfUncertain, PolicyEntries, read_if_uncertain, read_policies
from orchestrator.problems import Problems, Span, suggest
from orchestrator.program import ClassRule
from orchestrator.reading import (
    Context,
    Zone,
    described,
    option,
    read,
    read_parts,
    read_value,
    schema,
)
from orchestrator.scheme import ClassEntry, VoucherEntry, read_loyalty, read_scores
from orchestrator.source import Entry, Node
from orchestrator.stages import with_stages
from orchestrator.variants import TemplatesEntry, read_variant_by
from orchestrator.worth import ValueEntry

Json = dict[str, Any]
_Declared = Literal["text", "number", "yes_no", "date", "instant", "money", "key"]


# ---- what the files look like ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """A value out of a list."""

    one_of: tuple[str, ...] = option("the values there are")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who writes, as texts and the law want it."""

    name: str = option("the company's name")
    postal_address: str = option("the full postal address, in one line; marketing e-mails must show it")
    email: str = option("the address mail comes from, when orchestrator.toml names none", default="")
    reply_to: str = option("where answers go", default="")
    phone: str = option("a number people can call", default="")
    website: str = option("the company's site", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What customers and accounts carry besides the standard fields."""

    customer: Mapping[str, Node] = option("attributes of customers: name and type", factory=dict)
    account: Mapping[str, Node] = option("attributes of accounts: name and type", factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something a customer or an account has several of."""

    of: Literal["customer", "account"] = option("who has it")
    key: str = option("the field that tells one from another")


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """How a customer is classed."""

    tiers: tuple[str, ...] = option("its tiers, lowest first")
    unit: Literal["customer", "account"] = option("whose the tier is", default="customer")
    when: str | None = option("who is of it, where no row says so: a condition", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """Who looked at a transactional topic's content, and when."""

    by: str = option("who")
    on: date = option("when")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicEntry:
    """What a person can say yes or no to, per medium."""

    purpose: Literal["marketing", "transactional"] = option("marketing needs consent and counts against caps")
    title: Words = option("as the preference centre shows it: text, or one for each language")
    reviewed: Reviewed | None = option("transactional topics carry a review of their content", default=None)
    if_uncertain: IfUncertain | None = option("what to do where nobody knows whether it arrived", default=None)
    tracking: Literal["on", "off"] = option(
        "`off`: no clicks and no opens of it are told; `on`: as `policies.tracking` says", default="on"
    )
    over_partner: Literal["yes", "no"] = option(
        "customers of partners get it, too, whatever `policies.end_customers` and the partner say", default="no"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The business: what journeys, conditions and texts may name, and the rules for all of them."""

    workspace: str = option("a short name")
    timezone: Zone = option("the business's own time zone")
    currency: str = option("three letters, such as EUR")
    sender: Sender = option("who writes")
    locale: str = option("the language of texts without a variant", default="en")
    attributes: Attributes | None = option(
        "what customers and accounts carry besides the standard fields", default=None
    )
    records: Mapping[str, Node] = option("what a customer or an account has several of", factory=dict)
    events: Mapping[str, Node] = option("what can happen", factory=dict)
    classes: Mapping[str, Class] = option("how a customer is classed, and what its tiers are", factory=dict)
    program: Node | None = option("the loyalty programme: each class's, and `value`", default=None)
    vouchers: Mapping[str, VoucherEntry] = option("pools of voucher codes", factory=dict)
    topics: Mapping[str, TopicEntry] = option("what a person can say yes or no to", factory=dict)
    preferences: PreferencesEntry | None = option(
        "what people may tell and choose on the preference centre", default=None
    )
    surveys: Mapping[str, SurveyEntry] = option("short questions, each survey on a page of its own", factory=dict)
    complaints: ComplaintsEntry | None = option("what is a complaint, and who takes it up by when", default=None)
    templates: TemplatesEntry | None = option("what texts have in common", default=None)
    policies: PolicyEntries | None = option("rules for every journey", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEntry:
    """A segment of accounts, or one with its unit said."""

    of: Literal["customer", "account"] = option("whose segment it is", default="customer")
    when: str = option("the condition")


# ---- workspace.yaml -------------------------------------------------------------------------------------------------


def nothing_declared() -> Vocabulary:
    """A vocabulary without a word: what workspace.yaml itself is read with."""
    return Vocabulary("", "UTC", "EUR", {}, "en", {}, {}, {}, {}, {}, {}, Policies())


def read_workspace(node: Node, segments: Node | None, problems: Problems) -> tuple[Vocabulary, bool]:
    """The vocabulary, of all that could be read, and whether its names are sound enough to check other files by.

    `segments` gives the segments' names only.
    """
    mine = Problems()
    context = Context(mine, nothing_declared())
    parts = read_parts(Workspace, node, context)
    taken: dict[str, Span] = {}
    own = node.get("attributes") or node
    customer = _fields(own.get("customer"), "attribute", context, CUSTOMER_FIELDS)
    account = _fields(own.get("account"), "attribute", context, ACCOUNT_FIELDS)
    records = _records(node.get("records"), context, customer.keys() | account.keys(), taken)
    events = _events(node.get("events"), context, taken)
    classes = _classes(node.get("classes"), parts.get("classes", {}), context)
    locale = parts.get("locale", "en")
    topics = _topics(node.get("topics"), parts.get("topics", {}), locale, mine)
    surveys = read_surveys(node.get("surveys"), locale, mine, parts.get("surveys", {}), check_name)
    events = with_stages(events, records, node.get("events"), mine)
    if surveys:
        events = _with_answers(events, [answered_event(surveys), asked_event(surveys)], node.get("events"), mine)
    program = node.get("program")
    loyalty = read_loyalty(program, node.get("vouchers"), parts.get("vouchers", {}), classes, locale, mine, check_name)
    if loyalty.declared:
        events = _with_programme(node, events, mine)
    declaring = ("attributes", "records", "events", "classes", "topics", "surveys")
    names = [e.value.span for e in node.entries if e.key in declaring]
    stranger = any(p.code == "unknown-key" and p.span.col == node.span.col for p in mine.errors)
    sound = not stranger and not any(_inside(p.span, s) for p in mine.errors for s in names)
    _check_plain(node, parts, mine)
    _check_sender(node.get("sender"), mine)
    # Names written, also where more is wrong with them: a cap that names one is not to blame.
    tiers = {n.text for e in _entries(node.get("classes")) if (t := e.value.get("tiers")) for n in t.items}
    topic_names = {e.key for e in _entries(node.get("topics"))}
    told = any(p.code == "bad-currency" for p in mine.errors)
    money, clock = "" if told else parts.get("currency", "EUR"), parts.get("timezone", "UTC")
    policies = read_policies(
        node.get("policies"), parts.get("policies"), tiers, topic_names, context, money, clock, customer
    )
    complaints = read_complaints(node.get("complaints"), parts.get("complaints"), events, mine)
    pauses = policies.pause_on_case or (complaints is not None and complaints.pause)
    policies = replace(policies, over_partner=_over_partner(parts.get("topics", {})), pause_on_case=pauses)
    preferences = read_preferences(
        node.get("preferences"), parts.get("preferences"), {**CUSTOMER_FIELDS, **customer}, locale, mine
    )
    units = {"customer": {**CUSTOMER_FIELDS, **customer}, "account": {**ACCOUNT_FIELDS, **account}}
    variant_by = read_variant_by(node.get("templates"), units, mine)
    problems.found.extend(mine.found)
    choices = tuple(classes)
    vocabulary = Vocabulary(
        workspace=parts.get("workspace", ""),
        timezone=parts.get("timezone", "UTC"),
        currency=parts.get("currency", "EUR"),
        sender=_sender(parts.get("sender")),
        locale=locale,
        customer={**CUSTOMER_FIELDS, **customer, "class": replace(CUSTOMER_FIELDS["class"], choices=choices)},
        account={**ACCOUNT_FIELDS, **account, "class": replace(ACCOUNT_FIELDS["class"], choices=choices)},
        records=records,
        events=events,
        classes=classes,
        topics=topics,
        policies=policies,
        segments=frozenset(e.key for e in segments.entries) if segments is not None else frozenset(),
        preferences=preferences,
        surveys=surveys,
        loyalty=loyalty,
        variant_by=variant_by,
        complaints=complaints,
    )
    scores = read_scores(program, vocabulary)
    return replace(vocabulary, loyalty=replace(loyalty, scores=scores)), sound


def _inside(span: Span, outer: Span) -> bool:
    return (outer.line, outer.col) <= (span.line, span.col) <= (outer.end_line, outer.end_col)


_WORD: Final = re.compile(r"[a-z][a-z0-9_]*")
_TITLE: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_RESERVED: Final = frozenset({
    "and", "or", "not", "in", "is", "where", "true", "false", "yes", "no", "event", "customer", "account", "contact",
    "segment", "journey", "workspace", "any", "all", "count", "sum", "avg", "min", "max", "first", "last", "never",
    "days_since", "set", "now", "today",
})  # fmt: skip
# Columns of a file of events: a property of that name would never be filled, or be taken for the event's own number.
_OF_EVERY_EVENT: Final = frozenset({"event_id", "type", "occurred_at", "properties"})


def check_name(name: str, noun: str, span: Span, problems: Problems, *, dashes: bool = False) -> bool:
    """Whether a name can be one: small letters, digits, underscores (and dashes); never a word of conditions."""
    if not (_TITLE if dashes else _WORD).fullmatch(name) or len(name) > 64:
        joint = "-" if dashes else "_"
        better = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", joint, name).lower()
        better = re.sub(r"[^a-z0-9-]+" if dashes else r"[^a-z0-9]+", joint, better).strip("_-")
        usable = better and (dashes or better[0].isalpha()) and len(better) <= 64
        hint = f"write `{better}`" if usable else "begin with a letter"
        letters = "small letters, digits, `-` and `_`" if dashes else "small letters, digits and `_`"
        problems.error("bad-name", f"the name of {_a(noun)} has only {letters}", span, hint)
        return False
    if not dashes and name in _RESERVED:
        hint = "choose another name"
        problems.error("reserved-name", f"`{name}` is a word of the condition language", span, hint)
        return False
    return True


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _entries(node: Node | None) -> tuple[Entry, ...]:
    return node.entries if node is not None else ()


def _fields(
    node: Node | None, noun: str, context: Context, standard: Mapping[str, Field] | None = None
) -> dict[str, Field]:
    """Declared fields: `ends: date`, `status: { one_of: [active, churned] }`. What is wrong in one is told."""
    found: dict[str, Field] = {}
    for entry in _entries(node):
        if not check_name(entry.key, noun, entry.key_span, context.problems):
            continue
        if standard and entry.key in standard:
            hint = "remove it, or choose another name"
            message = f"`{entry.key}` is a standard field already"
            context.problems.error("name-taken", message, entry.key_span, hint)
            continue
        field_ = _field(entry, context)
        if field_ is not None:
            found[entry.key] = field_
    for name in [n for n, f in found.items() if f.kind is Kind.MONEY and f"{n}_currency" in found]:
        beside = found[f"{name}_currency"]
        message = f"`{beside.name}` is where the currency of `{name}` is kept"
        context.problems.error("name-taken", message, beside.span or Span.whole(""), "choose another name")
    return found


def _field(entry: Entry, context: Context) -> Field | None:
    value = entry.value
    kinds = ", ".join(f"`{k}`" for k in get_args(_Declared))
    if value.kind == "map":
        choice = read(OneOf, value, context)
        return None if choice is None else Field(entry.key, Kind.CHOICE, choice.one_of, span=entry.key_span)
    if value.kind == "list":
        shown = ", ".join(n.text for n in value.items[:3] if n.kind == "scalar")
        hint = f"write `{{ one_of: [{shown}] }}`"
        context.problems.error("wrong-type", f"`{entry.key}` needs a type, got a list", value.span, hint)
        return None
    if value.text not in get_args(_Declared):
        near = suggest(value.text, get_args(_Declared)) if not value.empty else ""
        hint = near if near.startswith("did") else f"one of {kinds}, or `{{ one_of: [ … ] }}`"
        at = entry.key_span if value.empty else value.span
        context.problems.error("unknown-type", f"{described(value)} is no type of a field", at, hint)
        return None
    return Field(entry.key, Kind(value.text), span=entry.key_span)


def _free(entry: Entry, noun: str, context: Context, taken: dict[str, Span]) -> bool:
    """A name good for a record or an event: conditions tell the two apart by it."""
    if not check_name(entry.key, noun, entry.key_span, context.problems):
        return False
    if entry.key in taken:
        hint = "choose another name for one of the two"
        message = f"`{entry.key}` is a record and an event (line {taken[entry.key].line})"
        context.problems.error("name-taken", message, entry.key_span, hint)
        return False
    taken[entry.key] = entry.key_span
    return True


def _records(
    node: Node | None, context: Context, attributes: Iterable[str], taken: dict[str, Span]
) -> dict[str, RecordType]:
    found: dict[str, RecordType] = {}
    attributes = frozenset(attributes)
    for entry in _entries(node):
        if not _free(entry, "record", context, taken):
            continue
        if entry.key in attributes:
            context.problems.error("name-taken", f"`{entry.key}` is an attribute, too", entry.key_span, "rename one")
            continue
        if entry.value.kind != "map":
            hint = "such as `{ of: account, key: contract_id, ends: date }`"
            at = entry.key_span if entry.value.empty else entry.value.span
            context.problems.error("wrong-type", f"`{entry.key}` needs its fields", at, hint)
            continue
        own = ("of", "key")
        head = replace(entry.value, entries=tuple(e for e in entry.value.entries if e.key in own))
        rest = replace(entry.value, entries=tuple(e for e in entry.value.entries if e.key not in own))
        declared = read(Record, head, context)
        fields = _fields(rest, "record's field", context)
        if declared is None:
            continue
        # The key is a field of its own; declaring it is allowed, not needed.
        fields.setdefault(declared.key, Field(declared.key, Kind.KEY, span=entry.key_span))
        found[entry.key] = RecordType(entry.key, declared.of, declared.key, fields)
    return found


def _events(node: Node | None, context: Context, taken: dict[str, Span]) -> dict[str, EventType]:
    found: dict[str, EventType] = {}
    for entry in _entries(node):
        if not _free(entry, "event", context, taken):
            continue
        if entry.value.kind != "map" and not entry.value.empty:
            hint = "such as `{ amount: money, channel: text }`, or `{}` for none"
            context.problems.error("wrong-type", f"`{entry.key}` needs its properties", entry.value.span, hint)
            continue
        fields = _fields(entry.value, "event's property", context)
        for name in (n for n in fields if n in _OF_EVERY_EVENT):
            at = fields[name].span or entry.key_span
            context.problems.error("name-taken", f"`{name}` is what every event has", at, "choose another name")
        found[entry.key] = EventType(entry.key, fields)
    return found


def _classes(node: Node | None, read_ones: Any, context: Context) -> dict[str, CustomerClass]:
    found: dict[str, CustomerClass] = {}
    for entry in _entries(node):
        check_name(entry.key, "class", entry.key_span, context.problems)
        if entry.key == "value":
            message = "`value` is a key of `program`, beside the classes"
            context.problems.error("reserved-name", message, entry.key_span, "choose another name")
        tiers = entry.value.get("tiers")
        seen: set[str] = set()
        for tier in tiers.items if tiers is not None else ():
            if tier.kind == "scalar" and tier.text in seen:
                message = f"the tier `{tier.text}` stands here a second time"
                context.problems.error("duplicate-tier", message, tier.span, "remove one of the two")
            elif tier.kind == "scalar":
                check_name(tier.text, "tier", tier.span, context.problems)
                seen.add(tier.text)
        declared = read_ones.get(entry.key)
        if isinstance(declared, Class):
            found[entry.key] = CustomerClass(entry.key, declared.tiers, declared.unit, declared.when is not None)
    return found


def _with_answers(
    events: dict[str, EventType], own: Iterable[EventType], node: Node | None, problems: Problems
) -> dict[str, EventType]:
    """The declared events, and those that asking and answering are."""
    told = {ANSWERED: "that answers to the surveys become", ASKED: "of having been asked by a `survey` step"}
    for entry in _entries(node):
        if entry.key in told:
            message = f"`{entry.key}` is the event {told[entry.key]}: it is there by itself"
            problems.error("name-taken", message, entry.key_span, "take it out of `events`")
    return {**events, **{event.name: event for event in own}}


def _topics(node: Node | None, read_ones: Any, locale: str, problems: Problems) -> dict[str, Topic]:
    found: dict[str, Topic] = {}
    for entry in _entries(node):
        check_name(entry.key, "topic", entry.key_span, problems, dashes=True)
        declared = read_ones.get(entry.key)
        if not isinstance(declared, TopicEntry):
            continue
        review = declared.reviewed
        if declared.purpose == "transactional" and review is None:
            problems.error(
                "topic-not-reviewed",
                f"`{entry.key}` is transactional, and nobody has reviewed its content",
                entry.key_span,
                "add `reviewed: { by: legal, on: 2027-01-31 }`, or make its purpose marketing",
            )
        by, on = (review.by, review.on) if review else ("", None)
        titles = read_words(entry.value.get("title"), declared.title, locale, problems)
        unsure, purpose = entry.value.get("if_uncertain"), declared.purpose
        resend = read_if_uncertain(unsure, declared.if_uncertain, purpose, problems)
        title, tracked = spoken(titles, locale, locale), declared.tracking == "on"
        found[entry.key] = Topic(entry.key, purpose, title, by, on, titles, resend, tracked)
    return found


def _over_partner(read_ones: Mapping[str, Any]) -> frozenset[str]:
    """The topics that customers of partners get in any case."""
    return frozenset(n for n, t in read_ones.items() if isinstance(t, TopicEntry) and t.over_partner == "yes")


def _check_sender(node: Node | None, problems: Problems) -> None:
    """It goes into the headers of e-mails."""
    for entry in _entries(node):
        if entry.value.kind == "scalar" and re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", entry.value.text.strip()):
            message = f"`{entry.key}` must stay on one line"
            problems.error("line-break", message, entry.value.span, "remove the line break")


def _sender(sender: Sender | None) -> dict[str, str]:
    names = ("name", "postal_address", "email", "reply_to", "phone", "website")
    return {n: v for n in names if (v := getattr(sender, n))} if sender is not None else {}


def _check_plain(node: Node, parts: Json, problems: Problems) -> None:
    """Values that are text with a form of its own."""
    from babel.numbers import is_currency  # late: it takes a moment

    currency, locale = node.get("currency"), node.get("locale")
    if currency is not None and "currency" in parts and not is_currency(currency.text):
        message = f"{described(currency)} is no currency"
        problems.error("bad-currency", message, currency.span, "three capital letters, such as `EUR`")
    if locale is not None and "locale" in parts and not LOCALE.fullmatch(locale.text):
        message = f"{described(locale)} is no language"
        problems.error("bad-locale", message, locale.span, "such as `en`, `de` or `fr-CA`")


_PROGRAMME: Final = frozenset(name.partition(".")[0] for name in LOYALTY_FIELDS)
"""Names that conditions and texts know by themselves where there is a programme."""


def _with_programme(node: Node, events: dict[str, EventType], problems: Problems) -> dict[str, EventType]:
    """The declared events, and those that the programme records; names of its own that are declared are told."""
    hint = "rename yours: it comes with `program`"
    own = node.get("attributes") or node
    for key in ("events", "records"):
        for entry in _entries(node.get(key)):
            if entry.key in LOYALTY_EVENTS:
                message = f"`{entry.key}` is an event that the programme itself records"
                problems.error("name-taken", message, entry.key_span, hint)
    for owner in (own.get("customer"), own.get("account"), node.get("records")):
        for entry in _entries(owner):
            if entry.key in _PROGRAMME:
                message = f"`{entry.key}` is what the programme knows of everybody"
                problems.error("name-taken", message, entry.key_span, hint)
    return {**events, **LOYALTY_EVENTS}


# ---- segments.yaml --------------------------------------------------------------------------------------------------


def read_segments(node: Node, vocabulary: Vocabulary, problems: Problems) -> dict[str, Condition]:
    """Every segment's condition, checked in its unit's scope. Segments that name each other in a circle are told."""
    found: dict[str, Condition] = {}
    places: dict[str, Span] = {}
    if node.kind != "map":
        hint = "such as `vip-club: class == b2c and tier >= gold`"
        problems.error("wrong-type", f"expected names and conditions, got {described(node)}", node.span, hint)
        return {}
    for entry in node.entries:
        check_name(entry.key, "segment", entry.key_span, problems, dashes=True)
        places[entry.key] = entry.key_span
        condition = _segment(entry, vocabulary, problems)
        if condition is not None:
            found[entry.key] = condition
    _check_circles(found, places, problems)
    _check_units(found, problems)
    return found


def _segment(entry: Entry, vocabulary: Vocabulary, problems: Problems) -> Condition | None:
    unit: Unit = "customer"
    value = entry
    if entry.value.kind == "map":
        context = Context(problems, vocabulary)
        declared = read(SegmentEntry, entry.value, context)
        if declared is None:
            return None
        unit = declared.of
        value = next(e for e in entry.value.entries if e.key == "when")
    return read_condition(value, Context(problems, vocabulary, Scope(unit=unit)))


def read_segment(name: str, unit: Unit, when: str, vocabulary: Vocabulary, problems: Problems) -> Condition | None:
    """A stored segment's condition; problems are placed in a file called as the segment is."""
    file = f"segment {name}"
    node = Node("scalar", Span(file, 1, 1, 1, 1 + len(when)), when, when, "plain")
    found = read_value(Condition, node, Context(problems, vocabulary, Scope(unit=unit)))
    return found if isinstance(found, Condition) else None


def read_condition(entry: Entry, context: Context) -> Condition | None:
    """A key's condition in the context's scope."""
    if entry.value.empty:
        hint = "it takes a condition such as `tier >= gold`"
        context.problems.error("empty-value", f"`{entry.key}` has no value", entry.key_span, hint)
        return None
    found = read_value(Condition, entry.value, context)
    return found if isinstance(found, Condition) else None


def read_class_rules(node: Node | None, vocabulary: Vocabulary, problems: Problems) -> dict[str, ClassRule]:
    """The classes' `when`, in the order written. A rule of customers is asked of customers; one of accounts of accounts
    and of their contacts, so that it names fields with `account.` before them."""
    found: dict[str, ClassRule] = {}
    for entry in _entries(node):
        rule = next((e for e in entry.value.entries if e.key == "when"), None)
        declared = vocabulary.classes.get(entry.key)
        if rule is None or declared is None:
            continue
        customers = read_condition(rule, Context(problems, vocabulary, Scope(unit="customer")))
        if customers is None:
            continue
        accounts: Condition | None = None
        if declared.unit == "account":
            accounts = read_condition(rule, Context(problems, vocabulary, Scope(unit="account")))
            if accounts is None:
                continue
        found[entry.key] = ClassRule(entry.key, customers, accounts)
    if found and len(found) == len(vocabulary.classes):
        entry = _entries(node)[-1]
        message = "every class has a rule, and whoever none is true of has no class"
        problems.error("no-other-class", message, entry.key_span, "leave one class without `when`: it is the others'")
    return found


def _check_circles(found: Mapping[str, Condition], places: Mapping[str, Span], problems: Problems) -> None:
    named = {name: sorted(segments_named(c)) for name, c in found.items()}
    done: set[str] = set()
    told: set[str] = set()
    for start in named:
        # An explicit stack: a chain of segments may be as long as the file.
        path: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, position = stack.pop()
            if position == 0:
                if name in done:
                    continue
                path.append(name)
            after = named.get(name, [])
            if position == len(after):
                path.pop()
                done.add(name)
                continue
            stack.append((name, position + 1))
            other = after[position]
            if other in path:
                circle = path[path.index(other) :]
                if not told & set(circle):
                    shown = " → ".join(f"`{n}`" for n in [*circle, circle[0]])
                    hint = "take one of these out of the other's condition"
                    first = min(circle, key=lambda n: places[n])
                    problems.error(
                        "segment-circle", f"segments name each other in a circle: {shown}", places[first], hint
                    )
                    told.update(circle)
            elif other not in done:
                stack.append((other, 0))


def _check_units(found: Mapping[str, Condition], problems: Problems) -> None:
    for condition in found.values():
        check_segment_units(condition, found, problems)


def check_segment_units(condition: Condition, segments: Mapping[str, Condition], problems: Problems) -> None:
    """A segment of accounts says nothing of a customer, nor the other way round."""
    for name in sorted(segments_named(condition)):
        if name in segments and segments[name].unit != condition.unit and condition.span is not None:
            message = f"the segment `{name}` is one of {segments[name].unit}s, and this is about {condition.unit}s"
            hint = "name a segment of the same unit"
            problems.error("segment-unit", message, condition.span, hint)


def segments_used(conditions: Iterable[Condition], segments: Mapping[str, Condition]) -> frozenset[str]:
    """The names of segments that conditions hang on, those named by other segments too."""
    found: set[str] = set()
    waiting = list(segments_named(*conditions))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name in segments:
                waiting.extend(segments_named(segments[name]))
    return frozenset(found)


# ---- JSON Schema ----------------------------------------------------------------------------------------------------

_TYPE: Final[Json] = {
    "anyOf": [
        {"enum": list(get_args(_Declared))},
        {
            "type": "object",
            "properties": {"one_of": {"type": "array", "items": {"type": ["string", "number"]}}},
            "required": ["one_of"],
            "additionalProperties": False,
        },
    ]
}


def workspace_schema() -> Json:
    """The JSON Schema of workspace.yaml."""
    found = schema(Workspace)
    fields: Json = {"type": "object", "additionalProperties": _TYPE}
    properties, definitions = found["properties"], found["definitions"]
    for unit in ("customer", "account"):
        definitions["Attributes"]["properties"][unit] |= fields
    definitions["Record"] = {
        "type": "object",
        "properties": {
            "of": {"description": "who has it", "enum": ["customer", "account"]},
            "key": {"description": "the field that tells one from another", "type": "string"},
        },
        "required": ["of", "key"],
        "additionalProperties": _TYPE,
    }
    properties["records"] |= {"type": "object", "additionalProperties": {"$ref": "#/definitions/Record"}}
    properties["events"] |= {"type": "object", "additionalProperties": {"anyOf": [fields, {"type": "null"}]}}
    for form, name in ((ClassEntry, "Programme"), (ValueEntry, "ProgrammeValue")):
        own = schema(form)
        definitions.update(own.pop("definitions"))
        definitions[name] = {key: said for key, said in own.items() if key != "$schema"}
    properties["program"] |= {
        "type": "object",
        "properties": {"value": {"$ref": "#/definitions/ProgrammeValue"}},
        "additionalProperties": {"$ref": "#/definitions/Programme"},
    }
    found["definitions"] = dict(sorted(definitions.items()))
    return {**found, "title": "workspace.yaml"}


def segments_schema() -> Json:
    """The JSON Schema of segments.yaml."""
    found = schema(SegmentEntry)
    entry = {k: found[k] for k in ("type", "properties", "required", "additionalProperties")}
    return {
        "$schema": found["$schema"],
        "title": "segments.yaml",
        "description": "Named segments: a condition each.",
        "type": "object",
        "additionalProperties": {"anyOf": [{"type": "string", "description": "a condition"}, entry]},
    }
