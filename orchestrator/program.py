"""The loyalty programme as workspace.yaml declares it: membership, tiers, points, rewards, challenges, referral, draws.

Rules only, and pure: what they come to is in the ledgers (`store.tables.loyalty`), written by `accrue`, `grade`,
`reward`, `play`, `refer` and `rank`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from orchestrator.condition import Condition, Expression
from orchestrator.model import LOYALTY_EVENTS, LOYALTY_FIELDS, Unit
from orchestrator.words import Duration

WORDS: Final = (
    *("tier", "badge", "benefit", "reward", "voucher", "referral", "challenge", "draw", "commission", "rank"),
    *sorted({name.partition(".")[0] for name in LOYALTY_FIELDS}),
    *sorted(LOYALTY_EVENTS),
)
"""Words by which conditions, steps and texts name the programme; looked for wherever they stand."""


@dataclass(frozen=True, slots=True)
class Membership:
    """How one comes in and how long one stays. `event`: what makes a member, where joining is not free; `benefit`: the
    voucher pool of the instant benefit, "" none; `term` None: without end. `renews`: by itself, or by another such
    event (a contract's own `auto_renew` is the record's)."""

    joins: Literal["free", "purchase", "contract", "subscription"] = "free"
    event: str = ""
    benefit: str = ""
    term: Duration | None = None
    renews: Literal["auto", "by_event"] = "by_event"


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Who is of a class whose own row does not say so. `accounts` None: no account is of it."""

    class_name: str
    customers: Condition
    accounts: Condition | None = None

    @property
    def text(self) -> str:
        return self.customers.text


@dataclass(frozen=True, slots=True)
class EarnRule:
    """Points for an event. `points` for each `per` of the property `of` (money in minor units, or a number), rounded
    down; `of` "": `points` for each event. `where` is asked in the scope of the event (subject_event), of the class's
    unit. `at_most`: (how many events, within what time). `times`: a tier's multiplier. `key` is stable under
    re-ordering; `text` is the marketer's own line."""

    key: str
    text: str
    points: Decimal
    event: str
    of: str = ""
    per: int = 1
    currency: str = ""
    where: Condition | None = None
    at_most: tuple[int, Duration] | None = None
    times: Mapping[str, Decimal] = field(default_factory=dict)
    pending: Duration | None = None
    counts: bool = True  # towards `points(365 days)`


@dataclass(frozen=True, slots=True)
class Downgrade:
    """How a tier is lost: at a review only. `grace`: that long after the score has fallen nothing happens; `steps`: one
    tier a review, or to where the score is; `protected_if`: then not at all."""

    grace: Duration | None = None
    steps: Literal["one", "by_score"] = "by_score"
    review: Literal["monthly", "quarterly", "yearly", "never"] = "monthly"
    protected_if: Condition | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """Done when `when` becomes true. `again`: None once for ever, or anew after so long. `hidden`: shown when done.
    Who fulfilled it already when it was applied has done it silently, without points, unless `include_existing`."""

    name: str
    when: Condition
    points: int = 0
    badge: str = ""
    hidden: bool = False
    again: Duration | None = None
    until: date | None = None
    include_existing: bool = False


RewardKind = Literal[
    "discount",
    "gift_card",
    "merchandise",
    "event_ticket",
    "training",
    "business_tool",
    "consulting_session",
    "donation",
]


@dataclass(frozen=True, slots=True)
class Reward:
    """`costs` points. `stock` None: unlimited. `tiers` empty: all. `voucher`: the pool a code is given from; without
    one it stands in a fulfilment file. `each`: how many one unit can take, None any number. `only_if`: for these."""

    name: str
    kind: RewardKind
    costs: int
    stock: int | None = None
    tiers: tuple[str, ...] = ()
    voucher: str = ""
    each: int | None = None
    only_if: Condition | None = None


@dataclass(frozen=True, slots=True)
class Referral:
    """`code`: one for each customer, or one for the account. `converts_on`: the referred unit's event (with `where`)
    within that time makes it count. `referrer`, `referred`: points, or a voucher pool's name, None nothing."""

    converts_on: str
    code: Literal["customer", "account"] = "customer"
    where: Condition | None = None
    within: Duration | None = None
    referrer: int | str | None = None
    referred: int | str | None = None


@dataclass(frozen=True, slots=True)
class Commission:
    """A share of a money property of an event of whom the partner referred, or of her end customers. `key` of the rule
    and `refund`: the event that takes it back, matched by the property `match`."""

    share: Decimal
    event: str
    of: str
    times: Mapping[str, Decimal] = field(default_factory=dict)  # by tier: another share


@dataclass(frozen=True, slots=True)
class Refund:
    """An event that takes back what another one earned, matched by the property `match` which both have; `of`: the
    money property that says how much of it ("": all)."""

    event: str
    takes_back: str
    match: str
    of: str = ""


@dataclass(frozen=True, slots=True)
class Draw:
    """Tickets: one for each challenge done, for each so many points earned, or one for everybody who is `open_to`.
    `closes`: the last day, by the workspace's clock. `winners`: how many; `prize`: a reward's or pool's name, or ""."""

    name: str
    entry: Literal["challenge", "points", "each"]
    closes: date
    winners: int = 1
    per_points: int = 0
    opens: date | None = None
    open_to: Condition | None = None
    prize: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """Something to read, watch or use for members of these tiers (empty: all) on their page. `title` and `text` by
    language; `url`: where it is, "" nowhere but here."""

    name: str
    title: Mapping[str, str]
    text: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    tiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassProgram:
    """The programme of one class. `unit`: whose points and tier these are. `tier_by` gives a number, or money in
    the workspace's currency (then thresholds are minor units); None: tiers are imported. `thresholds`: tier → least
    score, lowest tier first. `expire` None: points never do. `health`: an account's score, 0 to 100 by custom.
    `claimed_by`: roles of the contacts who take rewards for an account on their page; empty: every contact."""

    class_name: str
    unit: Unit
    tiers: tuple[str, ...]
    membership: Membership | None = None
    tier_by: Expression | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    downgrade: Downgrade = field(default_factory=Downgrade)
    points: tuple[EarnRule, ...] = ()
    refunds: tuple[Refund, ...] = ()
    expire: Duration | None = None
    challenges: tuple[Challenge, ...] = ()
    rewards: Mapping[str, Reward] = field(default_factory=dict)
    referral: Referral | None = None
    commission: Commission | None = None
    draws: tuple[Draw, ...] = ()
    health: Expression | None = None
    leaderboard: bool = False
    content: tuple[Content, ...] = ()
    claimed_by: tuple[str, ...] = ()

    def tier_of(self, score: float | None) -> str | None:
        """The tier a score is enough for; the lowest where the score is not known or below everything."""
        found = self.tiers[0] if self.tiers else None
        for tier in self.tiers:
            if tier in self.thresholds and score is not None and score >= self.thresholds[tier]:
                found = tier
        return found


@dataclass(frozen=True, slots=True)
class Value:
    """How customers and accounts are ranked (`orders`, `contracts`, `opportunities`, `training` in YAML).

    A purchase is the event `event` with the money property `of`. A contract is a record with its `contract_value` (of
    its whole term) and `contract_ends`; `contract_begins` "": a term is `term_days` long; `contract_renews`: the yes_no
    that says it goes on by itself, "" none; `renewed`, `cancelled`: the events that a contract went on or did not, ""
    none. An open opportunity adds its `opportunity_value` times the weight of its `opportunity_stage` in `stages`
    (0 where the stage is not there). `bands`: band → share of all active units from the top, in order.
    `inactive_after`: without a purchase or contract that long. `horizon_days`: how far the expected value looks.
    `training`: the events that somebody began and completed a training, for its measure; "" none.
    """

    event: str = ""
    of: str = ""
    contract: str = ""
    contract_value: str = ""
    contract_ends: str = ""
    contract_begins: str = ""
    contract_renews: str = ""
    renewed: str = ""
    cancelled: str = ""
    term_days: int = 365
    opportunity: str = ""
    opportunity_value: str = ""
    opportunity_stage: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    inactive_after: Duration | None = None  # None: a year
    bands: Mapping[str, float] = field(
        default_factory=lambda: {"top": 0.01, "big": 0.04, "medium": 0.15, "small": 0.80}
    )
    horizon_days: int = 365
    margin: Decimal = Decimal(1)  # of revenue: what is left of it
    training: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Program:
    """All classes' programmes. `hash` is of its canonical text: it is logged with what it decides."""

    classes: Mapping[str, ClassProgram] = field(default_factory=dict)
    value: Value | None = None
    hash: str = ""
