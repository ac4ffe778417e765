"""One message as it leaves: whom it goes to, who says so, and its words. Pure; `deliver` judges and hands over."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from email.utils import parseaddr
from typing import Any, ClassVar, Literal

import msgspec

from channels.base import Attachment, Medium, Outbound, Skeleton
from orchestrator.fields import USUAL, Fields
from orchestrator.gsm import Carried, simplified, sms_segments
from orchestrator.model import LOYALTY_FIELDS, SCORES, Json, Kind, Purpose, Score, Vocabulary
from orchestrator.problems import Problems, Span
from orchestrator.template import (
    Compiled,
    MissingValue,
    RenderFailed,
    Template,
    Templates,
    compile_text,
    context_names,
)
from orchestrator.tracking import FOLLOWED
from orchestrator.zones import local

REASONS: Mapping[str, str] = {
    "no_template": "The template is not among those in force any more.",
    "missing_value": "The text prints something that is not known of this recipient; the detail names what.",
    "too_long": "The text is longer for this recipient than its medium carries.",
    "render_failed": "The text could not be made for this recipient; the detail names the place in it.",
}
"""Why a message that was allowed is refused all the same: reason codes under the rule `text`."""

_MAIL = ("street", "city", "postcode", "region", "country")
_JSON = msgspec.json.Encoder().encode
_SENDER = (("address", "email"), ("reply_to", "reply_to"))
"""What the wire calls a sender's parts, and what workspace.yaml does."""
TEST = "test"
"""The origin of a test send: a text as a customer would get it, to its author (`preview.testing`)."""
_MARK = "[Test] "
_UNSUBSCRIBE_POST = "List-Unsubscribe=One-Click"  # RFC 8058, asked for by Gmail and Yahoo since February 2024


@dataclass(frozen=True, slots=True)
class Due:
    """A planned message. `payload` is what its step said (see steps.Send)."""

    id: int
    batch_id: int
    origin: str
    enrollment_id: int | None
    journey: str | None
    version: str | None
    step: str
    visit: int
    addressee: Literal["customer", "staff", "system"]
    addressee_id: int
    customer_id: int | None
    account_id: int | None
    medium: Medium
    template: str
    topic: str
    purpose: Purpose
    priority: int
    state: str
    planned_at: datetime
    due_at: datetime
    expires_at: datetime | None
    attempts: int
    payload: Json

    @property
    def event_id(self) -> int | None:
        return self.payload.get("event")

    @property
    def record_id(self) -> int | None:
        return self.payload.get("record")


@dataclass(frozen=True, slots=True)
class Asked:
    """A message that no journey plans: an opt-in's confirmation, the answer to a STOP, a test send. It passes the same
    gate. `key` says what it is made once for: asked again, it is not planned again. `payload` may have `text` and
    `title` (words of our own, Jinja as in a task) where there is no template."""

    origin: str
    key: str
    addressee: Literal["customer", "staff", "system"]
    addressee_id: int
    customer_id: int | None
    account_id: int | None
    medium: Medium
    template: str
    topic: str
    purpose: Purpose
    priority: int = 100
    expires_at: datetime | None = None
    payload: Json = field(default_factory=dict)


LOYALTY_ROOTS = frozenset(name.partition(".")[0] for name in LOYALTY_FIELDS if "." in name)
"""What texts may name of the programme's facts."""


@dataclass(frozen=True, slots=True)
class About:
    """Everything a message may tell of, as plain values by field name; None where there is none.

    Dates are "YYYY-MM-DD". `record` has the fields of the record in scope, of the type `record_type`. `devices`: the
    tokens a push goes to; `platforms`: ios, android or web, by token. `plain`: the customer wants e-mails as
    text alone. `loyalty`: what the programme knows of whoever has the tier, by the columns of `store.tables.loyalty`;
    `voucher`: code, expires and pool of the one that this run gave last; `referral`: the link to hand on.
    """

    customer: Json | None = None
    account: Json | None = None
    event: Json | None = None
    record: Json | None = None
    record_type: str = ""
    devices: tuple[str, ...] = ()
    plain: bool = False
    platforms: Mapping[str, str] = field(default_factory=dict)
    loyalty: Json | None = None
    voucher: Json | None = None
    referral: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A message's words. The skeleton is the same object for all messages of one text."""

    skeleton: Skeleton
    values: tuple[str, ...]
    template: str
    locale: str
    sender: Mapping[str, str]
    headers: Mapping[str, str]
    meta: Mapping[str, str]
    template_hash: str
    content_hash: str
    attachments: tuple[Attachment, ...] = ()
    carried: Carried | None = None  # of a text: its alphabet and segments
    cost: int = 0  # millionths of the workspace currency, `currency`
    currency: str = ""

    @property
    def segments(self) -> int:
        """As how many messages it is charged."""
        return 1 if self.carried is None else self.carried.segments

    def outbound(self, attempt: str, due: Due, to: Mapping[str, str], closes: datetime | None = None) -> Outbound:
        """As the provider gets it. `closes`: what waits in a queue of the provider's must not ring after it."""
        times = [at for at in (due.expires_at, closes) if at is not None]
        return Outbound(
            attempt,
            due.medium,
            to,
            self.skeleton,
            self.values,
            self.sender,
            self.headers,
            self.template,
            self.locale,
            min(times) if times else None,
            self.meta,
            self.attachments,
        )


class Links(Mapping[str, str]):
    """A message's own links by name, each made when it is first asked for: most texts name one or two. `make` gives the
    address of a page by its letter (`store.keys.Keys.link_token`)."""

    PAGES: ClassVar[Mapping[str, str]] = {
        "unsubscribe": "u", "preferences": "p", "confirm": "c", "survey": "s", "data": "d", "one_click": "o",
        "rewards": "w", FOLLOWED: "r",
    }  # fmt: skip

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[str], str]) -> None:
        self._make = make
        self._made: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._made:
            self._made[name] = self._make(self.PAGES[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.PAGES)

    def __len__(self) -> int:
        return len(self.PAGES)


class Unwritable(Exception):
    """No text can be made for this recipient. `reason` is one of REASONS; `detail` names a place, never a value."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


# ---- whom to --------------------------------------------------------------------------------------------------------


def destinations(due: Due, about: About) -> tuple[Mapping[str, str], ...]:
    """`Outbound.to` of each delivery; empty when there is no address on the message's medium."""
    if due.addressee != "customer":
        return _own_people(due, about)
    customer = about.customer
    if customer is None:
        return ()
    match due.medium:
        case Medium.EMAIL:
            return ({"address": customer["email"], "name": _name(customer)},) if customer["email"] else ()
        case Medium.SMS:
            return ({"number": customer["phone"]},) if customer["phone"] else ()
        case Medium.PUSH:
            known = about.platforms
            return tuple({"token": t, "platform": known[t]} if known.get(t) else {"token": t} for t in about.devices)
        case Medium.MAIL:
            return _letter(customer, about.account)
        case Medium.AUDIENCE:
            known_by = {"address": customer["email"], "number": customer["phone"]}
            found = {part: value for part, value in known_by.items() if value}
            return (found,) if found else ()
        case _:
            return ({"name": _name(customer)},)


def address_text(medium: Medium, to: Mapping[str, str]) -> str:
    """A destination as the one text that its keyed hash is made of."""
    match medium:
        case Medium.SMS:
            return to["number"]
        case Medium.PUSH:
            return to["token"]
        case Medium.MAIL:
            return " ".join(to.get(part, "") for part in ("name", "company", *_MAIL))
        case _:
            return to.get("address") or to.get("number") or to.get("name", "")


_LISTED = ("street", "postcode", "country")
"""Of an address on a list, the parts that are written alike everywhere; towns and regions are not."""
_SHORT = {"str": "strasse", "st": "street", "rd": "road", "ave": "avenue", "av": "avenue"}


def listed_texts(to: Mapping[str, str]) -> tuple[str, str]:
    """A postal address as lists are matched by: (with the name, for everybody there).

    Without accents, case, punctuation and common abbreviations: lists of others are written otherwise than ours.
    """
    place = "\n".join(_plainly(to.get(part, "")) for part in _LISTED)
    return f"{_plainly(to.get('name', ''))}\n{place}", f"\n{place}"


def _plainly(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold())
    words = "".join(c if c.isalnum() else " " for c in folded if not unicodedata.combining(c)).split()
    whole = [_SHORT.get(w, w[:-3] + "strasse" if w.endswith("str") else w) for w in words]
    return " ".join(whole)


def household_text(to: Mapping[str, str]) -> str:
    """A letter's destination without the person: people at one postal address are one household. In a company they
    are not: where one is named, its people are told apart."""
    parts = ("name", "company", *_MAIL) if to.get("company") else _MAIL
    return " ".join(to.get(part, "") for part in parts)


def _name(customer: Json) -> str:
    return " ".join(part for part in (customer["first_name"], customer["last_name"]) if part)


def _letter(customer: Json, account: Json | None) -> tuple[Mapping[str, str], ...]:
    if not (customer["street"] and customer["city"] and customer["country"]):
        return ()
    company = customer["company"] or (account["name"] if account else "")
    to = {"name": _name(customer), "company": company, **{part: customer[part] for part in _MAIL}}
    return ({part: value for part, value in to.items() if value},) if to["name"] or to["company"] else ()


def _own_people(due: Due, about: About) -> tuple[Mapping[str, str], ...]:
    """Staff and systems: a task has a name to go under even where there is no address."""
    to = str(due.payload.get("to") or "")
    if due.medium is Medium.SMS and due.origin == TEST:
        return ({"number": to},)
    if due.medium in (Medium.SMS, Medium.PUSH, Medium.MAIL):
        return ()  # of our own people only e-mail addresses are known, and of authors the numbers that settings name
    if to in ("", "account_manager"):
        account = about.account or {}
        told = {"address": account.get("manager_email"), "name": account.get("manager_name")}
        found = {part: str(value) for part, value in told.items() if value}
    else:
        found = {"address": to, "name": to.partition("@")[0]} if "@" in to else {"name": to}
    if due.medium is Medium.EMAIL and "address" not in found:
        return ()
    return (found,) if found else ()


# ---- what it says ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Form:
    """What all messages of one text in one locale share."""

    compiled: Compiled | Fields
    skeleton: Skeleton
    locale: str
    hash: str
    wanted: Mapping[str, frozenset[str] | None]  # root → members that the text names; None: the root as a whole
    sender: Mapping[str, str]
    meta: Mapping[str, str]
    attachments: tuple[Attachment, ...] = ()


@dataclass(slots=True)
class Writer:
    """Writes messages with the templates in force.

    `links`: message id → the message's own links by name. `senders`: named senders of the machine settings. What was
    compiled is kept: one writer serves one state of the workspace.
    """

    vocabulary: Vocabulary
    templates: Templates
    links: Callable[[int], Mapping[str, str]]
    senders: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _forms: dict[tuple[Any, ...], _Form] = field(default_factory=dict)
    _texts: dict[str, Compiled] = field(default_factory=dict)
    _plain: dict[str, Skeleton] = field(default_factory=dict)
    _sizes: dict[tuple[Carried, int], dict[str, str]] = field(default_factory=dict)
    _made: tuple[int, Mapping[str, str]] = (0, {})

    def write(self, due: Due, about: About, now: datetime) -> Written:
        """Raises Unwritable."""
        if due.origin == TEST:
            about = _as_tested(due, about)
        form = self._form(due, about)
        try:
            values = form.compiled.slots(self._context(form, due, about, now))
        except MissingValue as gone:
            raise Unwritable("missing_value", gone.name) from None
        except RenderFailed as failed:
            reason = "too_long" if "longer than" in failed.reason else "render_failed"
            raise Unwritable(reason, failed.reason) from None
        skeleton, carried = form.skeleton, None
        if due.medium is Medium.SMS:
            skeleton, values, carried = self._carried(skeleton, values)
        digest = hashlib.sha256(skeleton.hash.encode())
        digest.update(b"\0")
        digest.update(_JSON(values))
        cost = self.vocabulary.policies.prices.get(due.medium, 0) * (1 if carried is None else carried.segments)
        return Written(
            skeleton,
            values,
            due.template or due.step,
            form.locale,
            self._sender(form, due, about),
            self._headers(due),
            self._meta(form, due, about, carried, cost),
            form.hash,
            digest.hexdigest(),
            form.attachments,
            carried,
            cost,
            self.vocabulary.currency if cost else "",
        )

    def _carried(self, skeleton: Skeleton, values: tuple[str, ...]) -> tuple[Skeleton, tuple[str, ...], Carried]:
        """A text as it goes out: with plain characters where the house lets us and that makes GSM-7 of it, else as it
        is written. What is counted is what is sent."""
        found = sms_segments(skeleton.fill("text", values))
        if found.encoding == "GSM-7" or self.vocabulary.policies.texts != "smart":
            return skeleton, values, found
        other = self._plain.get(skeleton.hash)
        if other is None:
            pieces = {name: tuple(map(simplified, those)) for name, those in skeleton.parts.items()}
            name = hashlib.sha256(f"{skeleton.hash}\0plain".encode()).hexdigest()
            other = self._plain[skeleton.hash] = Skeleton(name, pieces, skeleton.slots)
        written = tuple(map(simplified, values))
        cheaper = sms_segments(other.fill("text", written))
        return (other, written, cheaper) if cheaper.encoding == "GSM-7" else (skeleton, values, found)

    def _meta(self, form: _Form, due: Due, about: About, carried: Carried | None, cost: int) -> Mapping[str, str]:
        if carried is not None:
            known = self._sizes.get((carried, cost))
            if known is None:
                known = {"encoding": carried.encoding, "segments": str(carried.segments)}
                if cost:
                    known["cost"] = f"{price_text(cost)} {self.vocabulary.currency}"
                self._sizes[carried, cost] = known
            return {**form.meta, **known} if form.meta else known
        if due.medium is Medium.MAIL:  # postage is another for advertising
            return {**form.meta, "purpose": due.purpose}
        if due.medium is Medium.WEBHOOK:
            return {**form.meta, "message": f"m{due.id}"}  # the same for all its attempts
        if due.medium is Medium.TASK and due.payload.get("call") is True:
            return _to_call(due, about)
        if due.medium is Medium.AUDIENCE:
            return {name: due.payload[name] for name in ("audience", "platform", "run")}
        return {**form.meta, "due": due.payload["due"]} if due.payload.get("due") else form.meta

    def needs(self, due: Due) -> frozenset[str]:
        """The dotted names that a message's text may print."""
        if due.medium in (Medium.WEBHOOK, Medium.AUDIENCE):
            return frozenset(_fields(due))
        texts = self.templates.every(due.medium, due.template) if due.template else ()
        if not texts:
            return self._inline(due).names
        by = {self.vocabulary.variant_by} if len(texts) > 1 else set()
        return frozenset(by).union(*(context_names(template) for template in texts))

    # ---- forms

    def _form(self, due: Due, about: About) -> _Form:
        locale = due.payload.get("locale") or (about.customer or {}).get("locale") or self.vocabulary.locale
        own = () if due.template else (due.journey, due.payload.get("text"), due.payload.get("title"), _fields(due))
        plain = about.plain and due.medium is Medium.EMAIL and due.addressee == "customer"
        tracked = self._tracked(due, about)
        variant = self._variant(about) if due.template else ""
        key = (due.medium, due.template, locale, plain, tracked, variant, due.origin == TEST, *own)
        form = self._forms.get(key)
        if form is None:
            form = self._templated(due, locale, tracked, variant) if due.template else self._inline_form(due, locale)
            form = _marked(form) if due.origin == TEST and due.medium is Medium.EMAIL else form
            form = self._forms[key] = _without_html(form) if plain else form
        return form

    def _tracked(self, due: Due, about: About) -> bool:
        """Whether this message may tell what becomes of it: customers' alone, where neither its topic nor a country
        that the customer or the company is in says no."""
        tracking = self.vocabulary.policies.tracking
        if not (tracking.clicks or tracking.opens) or due.addressee != "customer":
            return False
        topic = self.vocabulary.topics.get(due.topic)
        units = (unit for unit in (about.customer, about.account) if unit)
        return topic is not None and topic.tracked and tracking.covers(unit.get("country") for unit in units)

    def _variant(self, about: About) -> str:
        """Whose variant of a text it is to be: the company's industry, say; "" where nobody knows."""
        unit, _, name = self.vocabulary.variant_by.partition(".")
        if not name:
            return ""
        return str(((about.account if unit == "account" else about.customer) or {}).get(name) or "")

    def _templated(self, due: Due, locale: str, tracked: bool, variant: str) -> _Form:
        template = self.templates.chosen(due.medium, due.template, variant, locale)
        if template is None:
            raise Unwritable("no_template", due.template)
        compiled = template.compiled(locale, tracked)
        options = template.options_for(locale)
        meta = {name: str(options[name]) for name in ("format", "collapse_key", "image") if options.get(name)}
        if tracked and due.medium is Medium.EMAIL and self.vocabulary.policies.tracking.opens:
            meta["track"] = "opens"  # clicks are told by links of our own, whatever carries the message
        return _Form(
            compiled,
            compiled.skeleton,
            compiled.locale,
            template.hash,
            _wanted(compiled.names),
            self._declared_sender(template, options),
            meta,
            template.attachments_for(locale),
        )

    def _inline(self, due: Due) -> Compiled:
        text = str(due.payload.get("text") or "")
        found = self._texts.get(text)
        if found is None:
            problems = Problems()  # `check` has told them; a text that has any is empty
            found = self._texts[text] = compile_text(text, Span.whole(due.step), self.vocabulary, problems)
        return found

    def _inline_form(self, due: Due, locale: str) -> _Form:
        """A text that stands in the step itself, or is our own, with a title beside it: of an e-mail, its subject."""
        if due.medium in (Medium.WEBHOOK, Medium.AUDIENCE):
            fields = Fields(_fields(due), due.journey or due.origin)
            made = fields.skeleton
            return _Form(fields, made, "", made.hash, _wanted(fields.names), {}, {})
        compiled = self._inline(due)
        title = str(due.payload.get("title") or due.journey or due.step)
        heading = "subject" if due.medium is Medium.EMAIL else "title"
        parts = {**compiled.skeleton.parts, heading: (title,)}
        slots = {**compiled.skeleton.slots, heading: ()}
        name = hashlib.sha256(f"{compiled.skeleton.hash}\0{title}".encode()).hexdigest()
        skeleton = Skeleton(name, parts, slots)
        sender = self._house() if due.medium in (Medium.EMAIL, Medium.SMS) else {}
        return _Form(compiled, skeleton, compiled.locale, name, _wanted(compiled.names), sender, {})

    # ---- who says so

    def _house(self) -> dict[str, str]:
        declared = self.vocabulary.sender
        sender = {"name": declared.get("name") or self.vocabulary.workspace}
        return sender | {part: declared[key] for part, key in _SENDER if declared.get(key)}

    def _declared_sender(self, template: Template, options: Mapping[str, Any]) -> Mapping[str, str]:
        sender = self._house()
        sender |= self._named(str(options.get("from") or ""))
        if options.get("reply_to"):
            sender["reply_to"] = str(options["reply_to"])
        return sender

    def _named(self, text: str) -> Mapping[str, str]:
        """A sender by its name in the settings, or written out: Acme <hello@acme.example>."""
        if text in self.senders:
            return self.senders[text]
        name, address = parseaddr(text) if "@" in text else (text, "")
        return {part: value for part, value in (("name", name), ("address", address)) if value}

    def _sender(self, form: _Form, due: Due, about: About) -> Mapping[str, str]:
        chosen = due.payload.get("from")
        if not chosen:
            return form.sender
        if chosen != "account_manager":
            return {**form.sender, **self._named(str(chosen))}
        account = about.account or {}
        if not account.get("manager_email"):
            return form.sender  # an account without a manager hears from the house
        name = account.get("manager_name") or form.sender.get("name", "")
        return {**form.sender, "name": name, "address": account["manager_email"]}

    def _links(self, due: Due) -> Mapping[str, str]:
        if self._made[0] != due.id:  # named by the text and by a header: made once
            self._made = (due.id, self.links(due.id))
        return self._made[1]

    def _headers(self, due: Due) -> Mapping[str, str]:
        if due.medium is not Medium.EMAIL or due.purpose != "marketing":
            return {}
        return {
            # Its own link, not the text's: mailbox providers' machines keep it, and it shall open nothing else.
            "List-Unsubscribe": f"<{self._links(due)['one_click']}>",
            "List-Unsubscribe-Post": _UNSUBSCRIBE_POST,
        }

    # ---- what may be named

    def _context(self, form: _Form, due: Due, about: About, now: datetime) -> Json:
        """Only what the text names, as plain values."""
        context: Json = {}
        for root, members in form.wanted.items():
            match root:
                case "customer":
                    context[root] = _some(about.customer, members)
                case "account":
                    context[root] = _some(about.account, members)
                case "event":
                    context[root] = _some(about.event, members)
                case "journey":
                    context[root] = {"name": due.journey or due.payload.get("journey")}
                case "links":
                    as_hers = due.addressee == "customer" or due.origin == TEST  # of a test, they open nothing
                    links = self._links(due) if as_hers else {}
                    context[root] = {name: links[name] for name in (links if members is None else members & {*links})}
                    if about.referral and as_hers:
                        context[root]["referral"] = about.referral
                case "tier":
                    context[root] = tier(self.vocabulary, about.customer, about.account)
                case "today":
                    context[root] = self._today(about, now)
                case "benefits":
                    context[root] = self._benefits(form, about)
                case "voucher":
                    context[root] = _some(about.voucher, members)
                case _ if root in LOYALTY_ROOTS and root not in self.vocabulary.records:
                    context[root] = _standing(root, about.loyalty)
                case _ if root == about.record_type:
                    context[root] = _some(about.record, members)
                case _ if root in self.vocabulary.records:
                    context[root] = {}
        return context

    def _benefits(self, form: _Form, about: About) -> Json:
        """Titles by name, those of the lowest tier first."""
        words, unit = self.vocabulary.loyalty, about.customer or about.account
        reached = tier(self.vocabulary, about.customer, about.account)
        named = words.benefits.get(unit["class"], {}).get(reached or "", ()) if unit else ()
        return {name: words.title(name, form.locale or self.vocabulary.locale) for name in named}

    def _today(self, about: About, now: datetime) -> str:
        named = [unit.get("timezone") for unit in (about.customer, about.account) if unit]
        wall = next((w for name in (*named, self.vocabulary.timezone) if name and (w := local(now, name))), now)
        return wall.date().isoformat()


def _to_call(due: Due, about: About) -> Mapping[str, str]:
    """What the one who is to call needs beside the words: whom, and at which number."""
    customer, account = about.customer or {}, about.account or {}
    name = " ".join(customer[part] for part in ("first_name", "last_name") if customer.get(part))
    told = {
        "due": due.payload.get("due"),
        "customer": name,
        "phone": customer.get("phone"),
        "account": account.get("name"),
    }
    return {part: value for part, value in told.items() if value}


def _fields(due: Due) -> tuple[str, ...]:
    """What a webhook call carries; nothing for other media."""
    return tuple(due.payload.get("with") or USUAL) if due.medium is Medium.WEBHOOK else ()


def _without_html(form: _Form) -> _Form:
    """The same text without its page, for who wants plain text: another skeleton, so that no channel need know."""
    skeleton = form.skeleton
    if not {"html", "text"} <= skeleton.parts.keys():
        return form
    parts = {name: pieces for name, pieces in skeleton.parts.items() if name != "html"}
    slots = {name: used for name, used in skeleton.slots.items() if name != "html"}
    name = hashlib.sha256(f"{skeleton.hash}\0text".encode()).hexdigest()
    return replace(form, skeleton=Skeleton(name, parts, slots))


def _marked(form: _Form) -> _Form:
    """The same text with a subject that says what it is."""
    skeleton = form.skeleton
    first, *others = skeleton.parts.get("subject", ("",))
    name = hashlib.sha256(f"{skeleton.hash}\0{TEST}".encode()).hexdigest()
    marked = Skeleton(name, {**skeleton.parts, "subject": (_MARK + first, *others)}, skeleton.slots)
    return replace(form, skeleton=marked)


def _as_tested(due: Due, about: About) -> About:
    """What a test send tells of nobody, in the place of what is not known of somebody: `sample`, by About's fields."""
    made: Json = due.payload.get("sample", {})
    return replace(about, **{name: value for name, value in made.items() if not getattr(about, name)})


def price_text(millionths: int) -> str:
    """An amount in millionths as people write it: 0.15, 0.0079."""
    whole, _, rest = f"{millionths // 1_000_000}.{millionths % 1_000_000:06}".rstrip("0").partition(".")
    return f"{whole}.{rest:0<2}"


def tier(vocabulary: Vocabulary, customer: Json | None, account: Json | None) -> str | None:
    """A customer's tier; the account's where the class says that its contacts share it."""
    unit = customer or account
    kind = vocabulary.classes.get(unit["class"]) if unit else None
    if account is not None and (customer is None or (kind is not None and kind.unit == "account")):
        return account.get("tier")
    return customer.get("tier") if customer else None


def _standing(root: str, row: Json | None) -> Json:
    """What texts name of the programme's row: `points.balance`, `progress.missing`. A number is 0 where there is no row
    or nothing in it yet; any other value that is not known is missing."""
    found: Json = {}
    for name, declared in LOYALTY_FIELDS.items():
        if not name.startswith(f"{root}."):
            continue
        member, column = name.partition(".")[2], str(declared.column)
        value = row.get(column) if row else None
        if value is None and root == "points" and declared.kind is Kind.NUMBER:
            value = 0
        currency = row.get("score_currency" if name in SCORES else f"{column}_currency") if row else None
        value = int(value) if isinstance(value, float) and value.is_integer() else value  # four is 4, as in conditions
        if value is not None:
            found[member] = Score.of(value, currency) if name in SCORES and currency else plain(value)
        if currency:
            found[f"{member}_currency"] = currency
    return found


def _wanted(names: frozenset[str]) -> Mapping[str, frozenset[str] | None]:
    found: dict[str, set[str] | None] = {}
    for name in names:
        root, _, rest = name.partition(".")
        if not rest:
            found[root] = None
        elif found.setdefault(root, set()) is not None:
            found[root].add(rest.partition(".")[0])  # type: ignore[union-attr]
    return {root: None if members is None else frozenset(members) for root, members in found.items()}


def _some(values: Json | None, members: frozenset[str] | None) -> Json:
    if values is None:
        return {}
    if members is None:
        return {name: plain(value) for name, value in values.items()}
    return {name: plain(values[name]) for name in members if name in values}


def plain(value: Any) -> Any:
    """As a text may have it: a date as its own text."""
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value
