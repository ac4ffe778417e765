"""The business as it is declared: fields, events, records, classes, topics, policies. Plain frozen data.

Values as they are stored, in columns and in JSON alike: text, key and choice as text; number as number; yes_no as
bool; date as "YYYY-MM-DD"; instant in JSON as "YYYY-MM-DDTHH:MM:SS.ffffffZ" (UTC, always six digits, so that text
order is time order); money in JSON as two members, `amount` in minor units (int) and `amount_currency`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from math import ceil
from typing import Any, Literal

from channels.base import Medium
from orchestrator.problems import Span
from orchestrator.words import Duration

Unit = Literal["customer", "account"]
Purpose = Literal["marketing", "transactional"]
Json = dict[str, Any]


class Kind(StrEnum):
    """The type of a declared value."""

    TEXT = "text"
    NUMBER = "number"
    YES_NO = "yes_no"
    DATE = "date"
    INSTANT = "instant"
    MONEY = "money"
    KEY = "key"
    CHOICE = "choice"
    TIER = "tier"


@dataclass(frozen=True, slots=True)
class Field:
    """A declared value. `column` names the table column that holds it; None: a member of the row's JSON."""

    name: str
    kind: Kind
    choices: tuple[str, ...] = ()
    column: str | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class RecordType:
    """Something a customer or an account has several of. `key` names the field that identifies one."""

    name: str
    of: Unit
    key: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class EventType:
    name: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class CustomerClass:
    """`tiers` lowest first. `unit` account: the tier is the account's and its contacts share it. `by_rule`: the
    workspace says who is of it, where nobody states a class (`Project.class_rules`)."""

    name: str
    tiers: tuple[str, ...]
    unit: Unit = "customer"
    by_rule: bool = False


@dataclass(frozen=True, slots=True)
class Resend:
    """A message that nobody knows the fate of goes out again so long after, so many times."""

    after: timedelta
    at_most: int = 1


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    purpose: Purpose
    title: str
    reviewed_by: str = ""
    reviewed_on: date | None = None
    titles: Mapping[str, str] = field(default_factory=dict)  # by language, where it has several
    resend: Resend | None = None  # transactional topics only; None: never
    tracked: bool = True  # whether opens and clicks may be told, where the policies say so


@dataclass(frozen=True, slots=True)
class Window:
    """Local wall time, half-open [open, close); wraps midnight when close <= open; `days` (0 Monday) of its opening.

    The day it opens on must lie in [since, until] where those are set, and must be no public holiday of `closed_on`
    (a country, "DE", or a region, "US-AL") where that is.
    """

    open: time
    close: time
    days: frozenset[int] = frozenset(range(7))
    closed_on: str = ""
    since: date | None = None
    until: date | None = None


CONSENT_BASES = (
    "express_written",  # signed, or by a form with the wording: what US texts need (47 CFR 64.1200(f)(9))
    "express",
    "soft_opt_in",  # sale or negotiation, own similar products, a way out at collection and in each message
    "implied_purchase",  # CASL: two years from the purchase or the contract's end
    "implied_inquiry",  # CASL: six months
    "legitimate_interest",
    "parental",  # somebody with parental responsibility said yes for a child
)
"""On what ground a consent event stands. One that does not say counts as `express` where plain words are enough."""

SUPPRESSION_LISTS: Mapping[str, int | None] = {
    "mps": None,  # Mailing Preference Service (United Kingdom)
    "robinson": None,  # Robinson lists (Germany, Spain, Belgium, …)
    "dma_choice": 120,  # DMAchoice (United States): a registration lasts ten years
    "do_not_call": None,
    "do_not_mail": None,
    "deceased": None,
    "house": None,
}
"""Lists that are imported, and after how many months an entry ends that does not say so itself."""

AGAINST_ADVERTISING = frozenset({"mps", "robinson", "dma_choice", "do_not_call", "do_not_mail"})
"""Lists that are against advertising alone: what a contract needs is sent all the same."""

LEGAL_FORMS = ("individual", "sole_trader", "corporate")


@dataclass(frozen=True, slots=True)
class LegalCap:
    """At most so many marketing messages of one topic in a rolling time, by law."""

    count: int
    within: timedelta


@dataclass(frozen=True, slots=True)
class HoursRule:
    """One row of the ruleset: when law, code or custom lets a medium be used. `media`: sms, voice, …

    `country` None: where the country is not known. `region` "*": the whole country; None: where the country's region
    is not known; "FL": that region. Open when any of `windows` is; no window: never.
    """

    id: str
    country: str | None
    region: str | None
    media: frozenset[str]
    windows: tuple[Window, ...]
    source: str
    confidence: Literal["statute", "vendor", "practice"]
    as_of: date
    cap: LegalCap | None = None
    since: date | None = None
    until: date | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ConsentRule:
    """One row of the ruleset: what marketing on a medium needs in a country.

    `country` None: any that no other row names. `forms`: the legal forms it is for. `bases`: those that suffice.
    `confirmed`: a yes must have been confirmed (double opt-in). `without`: no consent is needed, only that nobody
    objected. `lapses`: bases that end by themselves, and after how many months.
    """

    id: str
    country: str | None
    media: frozenset[str]
    forms: frozenset[str]
    bases: frozenset[str]
    source: str
    confidence: Literal["statute", "vendor", "practice"]
    as_of: date
    confirmed: bool = False
    without: bool = False
    lapses: Mapping[str, int] = field(default_factory=dict)
    since: date | None = None
    until: date | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Law and custom as data (`orchestrator/ruleset/`). No legal advice. `ages`: by country, "*" for the others, from
    which age on somebody consents alone."""

    version: str = ""
    hours: tuple[HoursRule, ...] = field(default=(), repr=False)
    consent: tuple[ConsentRule, ...] = field(default=(), repr=False)
    ages: Mapping[str, int] = field(default_factory=dict, repr=False)

    def hours_in(self, country: str | None, region: str | None, medium: str) -> tuple[HoursRule, ...]:
        """The rows that speak for a place: those of all the country beside the region's own; where the region is not
        known (None), those written for that. `medium`: of a message, or "voice"."""
        return tuple(
            row
            for row in self.hours
            if row.country == country and medium in row.media and (country is None or row.region in ("*", region))
        )


@dataclass(frozen=True, slots=True)
class HouseHours:
    medium: Medium
    window: Window
    then: Literal["hold", "deny"] = "hold"


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `count` marketing messages. `per` day and week mean the recipient's local calendar; `within` is rolling.

    `text` is the marketer's own line, for `why`; `key` is stable under re-ordering of the list.
    """

    key: str
    text: str
    count: int
    scope: Unit
    media: frozenset[Medium]
    per: Literal["day", "week", "month"] | None = None
    within: timedelta | None = None
    tier: str | None = None
    topic: str | None = None
    band: str | None = None


@dataclass(frozen=True, slots=True)
class DoubleOptIn:
    """The e-mail (its template's name) that asks for a confirmation, and how long its link can be used."""

    template: str
    within: timedelta


@dataclass(frozen=True, slots=True)
class Tracking:
    """What the house wants to know of what becomes of its messages. `off_in`: countries (ISO 3166) whose people nothing
    is told of, and neither of people whose country nobody knows."""

    clicks: bool = False
    opens: bool = False
    off_in: tuple[str, ...] = ()

    def covers(self, countries: Iterable[str | None]) -> bool:
        """Whether somebody may be tracked who may be in these countries."""
        known = {country for country in countries if country}
        return not self.off_in or (bool(known) and known.isdisjoint(self.off_in))


@dataclass(frozen=True, slots=True)
class Policies:
    hours: Mapping[Medium, HouseHours] = field(default_factory=dict)
    release: timedelta = timedelta(0)
    caps: tuple[Cap, ...] = ()
    dedupe: timedelta | None = None
    pause_if: tuple[float, int] | None = None  # error share, of how many last sends
    budgets: Mapping[Medium, tuple[int, str, Literal["day", "week", "month"]]] = field(default_factory=dict)
    ruleset: Ruleset = field(default_factory=Ruleset)
    prices: Mapping[Medium, int] = field(default_factory=dict)  # of one message, millionths of the workspace currency
    counting: frozenset[str] = frozenset()  # departments whose contacts caps count
    pause_on_case: bool = False  # no marketing while a case of the customer is open
    born: str = ""  # the customer's field with the date of birth; "": minors are not told apart
    growth: float | None = None  # an audience grown by more than this share holds its journey
    retention: Mapping[str, timedelta] = field(default_factory=dict)  # by kind of record (`orchestrator.retain`)
    zone: str = "UTC"  # the workspace's: budgets' periods begin by its clock
    texts: Literal["smart", "as_written"] = "smart"  # whether texts go out with plain characters for typographic ones
    give_up_after: timedelta = timedelta(hours=24)  # then what became of a send is not asked any more
    double_opt_in: DoubleOptIn | None = None
    tracking: Tracking = field(default_factory=Tracking)
    end_customers: Literal["never", "if_partner_allows", "always"] = "if_partner_allows"
    approval: Literal["none", "second person"] = "none"  # who has to agree before an apply
    over_partner: frozenset[str] = frozenset()  # topics that end customers of partners hear of in any case


QuestionKind = Literal["nps", "scale", "choice", "text"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a survey. `ask` and each of `choices` (answer → what people read) by language; nps and scale
    are whole numbers from `low` to `high`."""

    name: str
    kind: QuestionKind
    ask: Mapping[str, str]
    choices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    low: int = 0
    high: int = 0
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """Some questions on a page of their own; texts by language. `closes`: the last day, by the workspace's clock."""

    name: str
    title: Mapping[str, str]
    questions: tuple[Question, ...]
    anonymous: bool = False
    thanks: Mapping[str, str] = field(default_factory=dict)
    closes: date | None = None


@dataclass(frozen=True, slots=True)
class Complaints:
    """What is a complaint, what settles it, and who takes it up by when. `to`: account_manager, a team or an address;
    `otherwise`: where there is no manager. `key`: the property of both events that tells one from another, or ""."""

    event: str
    closed_by: str
    within: Duration
    text: str
    to: str
    otherwise: str
    title: str
    key: str = ""
    pause: bool = True


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the preference centre offers beside topics. `fields`: own data that can be corrected; `labels`: what
    attributes are called, by language; `call_me`: who calls back, "" nobody.

    `overwrite`: after what time an import may overwrite what a person said herself; None never, zero always.
    """

    fields: tuple[str, ...] = ()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    call_me: str = ""
    overwrite: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """Voucher codes: `valid` how long one can be redeemed once it was given, None for ever; `warn_below`: how few
    free ones are told to the operator."""

    name: str
    title: Mapping[str, str] = field(default_factory=dict)
    valid: Duration | None = None
    warn_below: int = 0


@dataclass(frozen=True, slots=True)
class Loyalty:
    """What journeys, conditions and texts may name of the programme; its rules are `orchestrator.program`'s.

    `benefits`: class → tier → what it gives, those of lower tiers included, lowest first. `titles`: what benefits,
    rewards, challenges, badges and draws are called, by language; without one the name itself, dashes as spaces.
    The names of `rewards`, `challenges` and `draws` are one per workspace, by class.
    """

    declared: bool = False
    benefits: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    rewards: Mapping[str, str] = field(default_factory=dict)  # reward → class
    challenges: Mapping[str, str] = field(default_factory=dict)
    draws: Mapping[str, str] = field(default_factory=dict)
    badges: frozenset[str] = frozenset()
    purchase: str = ""  # the event that is an order, where `program.value` says so
    scores: Mapping[str, Kind] = field(default_factory=dict)  # class → what its `tier_by` gives: a number, or money

    def title(self, name: str, locale: str) -> str:
        """What people read for a benefit, a reward, a challenge, a badge or a draw."""
        known = self.titles.get(name, {})
        language = locale.partition("-")[0]
        return known.get(locale) or known.get(language) or known.get("") or name.replace("-", " ")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Everything a journey, a condition or a text may name. Built from workspace.yaml and segments.yaml."""

    workspace: str
    timezone: str
    currency: str
    sender: Mapping[str, str]
    locale: str
    customer: Mapping[str, Field]  # standard fields and attributes
    account: Mapping[str, Field]
    records: Mapping[str, RecordType]
    events: Mapping[str, EventType]
    classes: Mapping[str, CustomerClass]
    topics: Mapping[str, Topic]
    policies: Policies
    segments: frozenset[str] = frozenset()
    preferences: Preferences = field(default_factory=Preferences)
    surveys: Mapping[str, Survey] = field(default_factory=dict)
    loyalty: Loyalty = field(default_factory=Loyalty)
    variant_by: str = ""  # the choice that texts have variants by: account.industry
    complaints: Complaints | None = None

    def tiers(self) -> frozenset[str]:
        return frozenset(t for c in self.classes.values() for t in c.tiers)


def _standard(*pairs: tuple[str, Kind]) -> dict[str, Field]:
    return {name: Field(name, kind, column=name) for name, kind in pairs}


def _of_account(name: str) -> dict[str, Field]:
    """`partner` and `partner_name`: key and name of the account that a row names."""
    return {
        name: Field(name, Kind.KEY, column=f"{name}.key"),
        f"{name}_name": Field(f"{name}_name", Kind.TEXT, column=f"{name}.name"),
    }


CUSTOMER_FIELDS: Mapping[str, Field] = _standard(
    ("key", Kind.KEY),
    ("class", Kind.CHOICE),
    ("tier", Kind.TIER),
    ("role", Kind.TEXT),
    ("first_name", Kind.TEXT),
    ("last_name", Kind.TEXT),
    ("company", Kind.TEXT),
    ("email", Kind.TEXT),
    ("phone", Kind.TEXT),
    ("street", Kind.TEXT),
    ("city", Kind.TEXT),
    ("postcode", Kind.TEXT),
    ("region", Kind.TEXT),
    ("country", Kind.TEXT),
    ("locale", Kind.TEXT),
    ("timezone", Kind.TEXT),
    ("legal_form", Kind.TEXT),
    ("joined", Kind.DATE),
) | _of_account("partner")
ACCOUNT_FIELDS: Mapping[str, Field] = (
    _standard(
        ("key", Kind.KEY),
        ("class", Kind.CHOICE),
        ("tier", Kind.TIER),
        ("name", Kind.TEXT),
        ("country", Kind.TEXT),
        ("timezone", Kind.TEXT),
        ("annual_value", Kind.MONEY),
        ("manager_name", Kind.TEXT),
        ("manager_email", Kind.TEXT),
        ("joined", Kind.DATE),
        ("allows_contact", Kind.YES_NO),
    )
    | _of_account("parent")
    | _of_account("partner")
)
BANDS = ("prospect", "inactive", "small", "medium", "big", "top")
"""The customer pyramid, from its foot."""
MEMBER_STATES = ("none", "active", "lapsed")
LOYALTY_FIELDS: Mapping[str, Field] = {
    name: Field(name, kind, {"band": BANDS, "member": MEMBER_STATES}.get(column, ()), column)
    for name, kind, column in (
        ("points", Kind.NUMBER, "points"),
        ("points.balance", Kind.NUMBER, "points"),
        ("points.pending", Kind.NUMBER, "points_pending"),
        ("points.earned", Kind.NUMBER, "points_earned"),
        ("points.expiring", Kind.NUMBER, "points_expiring"),
        ("points.expire_on", Kind.DATE, "points_expire_on"),
        ("membership.state", Kind.CHOICE, "member"),
        ("membership.since", Kind.DATE, "member_since"),
        ("membership.until", Kind.DATE, "member_until"),
        ("progress.score", Kind.NUMBER, "score"),
        ("progress.next", Kind.TEXT, "next_tier"),
        ("progress.missing", Kind.NUMBER, "missing"),
        ("progress.shortfall", Kind.NUMBER, "shortfall"),
        ("progress.review_on", Kind.DATE, "review_on"),
        ("progress.protected", Kind.YES_NO, "protected"),
        ("value.band", Kind.CHOICE, "band"),
        ("value.clv", Kind.MONEY, "clv"),
        ("value.spent", Kind.MONEY, "spent"),
        ("value.p_alive", Kind.NUMBER, "p_alive"),
        ("value.expected_orders", Kind.NUMBER, "expected_orders"),
        ("value.renewal", Kind.NUMBER, "renewal"),
        ("health", Kind.NUMBER, "health"),
    )
}
"""What the programme knows of a unit (`store.tables.loyalty`), as conditions and texts name it."""
SCORES: Mapping[str, Field] = {
    name: LOYALTY_FIELDS[name] for name in ("progress.score", "progress.missing", "progress.shortfall")
}
"""What is in the unit of `tier_by`. Of a class that scores in money the rows have minor units, with `score_currency`
beside them; what is named is money where every class that may be meant scores in it, else whole units."""


def loyalty_field(vocabulary: Vocabulary, name: str, of: Unit) -> Field | None:
    """A field that comes with the programme, of customers (and with them their accounts) or of accounts alone."""
    found = LOYALTY_FIELDS.get(name)
    if found is None or name not in SCORES:
        return found
    classes = vocabulary.classes
    kinds = {kind for name, kind in vocabulary.loyalty.scores.items() if of in ("customer", classes[name].unit)}
    return replace(found, kind=Kind.MONEY) if kinds == {Kind.MONEY} else found


def _event(name: str, **kinds: Kind) -> EventType:
    return EventType(name, {field: Field(field, kind) for field, kind in kinds.items()})


LOYALTY_EVENTS: Mapping[str, EventType] = {
    e.name: e
    for e in (
        _event("membership_started", class_name=Kind.TEXT),
        _event("membership_renewed", class_name=Kind.TEXT),
        _event("membership_ended", class_name=Kind.TEXT),
        _event("points_expired", points=Kind.NUMBER),
        _event("challenge_completed", challenge=Kind.KEY, badge=Kind.TEXT, points=Kind.NUMBER),
        _event("reward_claimed", claim=Kind.KEY, reward=Kind.TEXT, cost=Kind.NUMBER),
        _event("reward_fulfilled", claim=Kind.KEY, reward=Kind.TEXT),
        _event("voucher_given", pool=Kind.TEXT, expires=Kind.DATE),
        _event("voucher_redeemed", pool=Kind.TEXT, amount=Kind.MONEY),
        _event("voucher_returned", pool=Kind.TEXT),
        _event("referral_made", state=Kind.TEXT),
        _event("referral_converted", side=Kind.TEXT, points=Kind.NUMBER),
        _event("commission_earned", amount=Kind.MONEY),
        _event("draw_won", draw=Kind.TEXT, place=Kind.NUMBER),
        _event("band_changed", from_band=Kind.TEXT, to_band=Kind.TEXT, direction=Kind.TEXT),
    )
}
"""Events that the programme itself records; declared by themselves where `program` is. They start journeys, end waits
and count in conditions as any other."""

_WHOLE = (
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "ISK",
    "JPY",
    "KMF",
    "KRW",
    "PYG",
    "RWF",
    "UGX",
    "UYI",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
)
_MINOR_DIGITS = {  # ISO 4217: those that differ from two
    **dict.fromkeys(_WHOLE, 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def minor_digits(currency: str) -> int:
    """How many decimals of a currency make its minor unit: EUR 2, JPY 0, KWD 3."""
    return _MINOR_DIGITS.get(currency, 2)


class Score(Decimal):
    """What somebody scores in money, or what is missing of it, as texts have it: in euros, say; `minor`: in cents,
    rounded up."""

    __slots__ = ("currency", "minor")
    minor: int
    currency: str

    @classmethod
    def of(cls, minor: float, currency: str) -> Score:
        value = Decimal(ceil(minor)).scaleb(-minor_digits(currency))
        found = cls(value if value % 1 else int(value))
        found.minor, found.currency = ceil(minor), currency
        return found


def scored(value: float, currency: str | None) -> str:
    """A score, or what is missing of it, as the command line writes it: `220,000.00 EUR`, `1,234.5`."""
    if currency is None:
        return f"{value:,.2f}".removesuffix("0").removesuffix("0").removesuffix(".")
    return f"{value / 10 ** minor_digits(currency):,.{minor_digits(currency)}f} {currency}"


MESSAGE_STATES = (
    "planned",
    "held",
    "sending",
    "sent",
    "delivered",
    "bounced",
    "failed",
    "denied",
    "expired",
    "cancelled",
    "uncertain",
)
SETTLED_STATES = frozenset(MESSAGE_STATES) - {"planned", "held", "sending"}
"""A send step is left when its messages are in these. `uncertain` is among them: the journey does not wait on a
reconciliation that may take a day, and the message itself is never sent again."""


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One unit's way through one journey version, as the engine sees it. Instants are aware UTC.

    `step` is the id of the step it stands at, "" before the first; `visit` grows by one with every jump back, so that
    (step, visit) never repeats; `since` is when it came to this step; `memory` is the step's own small note and
    `visits` counts jumps by goto id. `run_key` is what the trigger made it once for (an event's, a record's, a date).
    `paused`: from and until (ISO 8601) of pauses that its waits do not count, oldest first.
    """

    id: int
    journey: str
    version: str
    unit: Unit
    unit_id: int
    customer_id: int | None
    account_id: int | None
    run_key: str
    step: str
    visit: int
    entered_at: datetime
    since: datetime
    wake_at: datetime | None
    memory: Json = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    event_id: int | None = None
    record_id: int | None = None
    paused: Sequence[Sequence[str]] = ()
