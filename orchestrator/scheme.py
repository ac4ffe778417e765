"""`program` and `vouchers` of workspace.yaml: what they look like, and how they are read.

The names come first, with the rest of the vocabulary (`read_loyalty`); the rules after it, because they hold conditions
and expressions (`read_program`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

from orchestrator import words
from orchestrator.centre import Words, read_words, spoken
from orchestrator.condition import Condition, Expression, Scope, parse_expression
from orchestrator.earning import read_commission, read_points, read_refunds
from orchestrator.model import CustomerClass, Kind, Loyalty, Pool, Vocabulary, minor_digits
from orchestrator.problems import Problems, Span, suggest
from orchestrator.program import (
    Challenge,
    ClassProgram,
    Commission,
    Content,
    Downgrade,
    Draw,
    Membership,
    Program,
    Referral,
    Reward,
    RewardKind,
)
from orchestrator.reading import Context, EventName, Share, TierName, described, option, read_parts, unknown
from orchestrator.source import Entry, Node, digest
from orchestrator.words import Duration
from orchestrator.worth import read_value_of

CheckName = Callable[..., bool]
"""Tells of a name that cannot be one: name, what of, where, problems, whether dashes may be in it."""
YesNo = bool | Literal["yes", "no"]


# ---- what it looks like ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipEntry:
    """How one becomes a member, and how long one stays."""

    joins: Literal["free", "purchase", "contract", "subscription"] = option("how one comes in", default="free")
    event: EventName | None = option("what makes a member, where joining is not free", default=None)
    benefit: str = option("the voucher pool of the benefit that one has at once", default="")
    term: Duration | None = option("how long it lasts; without it, without end", default=None)
    renews: Literal["auto", "by_event"] = option("by itself, or by another such event", default="by_event")


@dataclass(frozen=True, slots=True, kw_only=True)
class DowngradeEntry:
    """How a tier is lost: at a review only."""

    grace: Duration | None = option("how long nothing happens once the score has fallen", default=None)
    steps: Literal["one", "by_score"] = option(
        "one tier at a review, or down to where the score is", default="by_score"
    )
    review: Literal["monthly", "quarterly", "yearly", "never"] = option("when tiers are reviewed", default="monthly")
    protected_if: Condition | None = option("of whom this is true keeps the tier", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeEntry:
    """Something to do, with points and a badge for it."""

    when: Condition = option("done when this becomes true")
    points: int = option("what it is worth", default=0, low=0, high=1_000_000_000)
    badge: str = option("the badge it gives", default="")
    hidden: YesNo = option("shown only once it is done", default=False)
    again: Duration | None = option("how long after it can be done anew; without it, once for ever", default=None)
    until: date | None = option("the last day on which it can be done", default=None)
    include_existing: YesNo = option("whether who has done it already gets points, too", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardEntry:
    """Something to take for points."""

    costs: int = option("how many points", low=0, high=1_000_000_000)
    kind: RewardKind | None = option("what it is; `discount` with a voucher, else `merchandise`", default=None)
    stock: int | None = option("how many there are; without it, any number", default=None, low=0)
    tiers: tuple[TierName, ...] = option("for whom; without it, for all tiers", default=())
    voucher: str = option("the pool that a code is given from", default="")
    each: int | None = option("how many one can take; without it, any number", default=None, low=1)
    only_if: Condition | None = option("for these only", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralRewards:
    """Points, or the name of a voucher pool."""

    referrer: int | str | None = option("for who referred: points, or a voucher pool", default=None, low=1)
    referred: int | str | None = option("for who was referred: points, or a voucher pool", default=None, low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralEntry:
    """Who brings others, and what both have of it."""

    converts_on: EventName = option("what makes a referral count: an event of who was referred")
    code: Literal["per customer", "per account"] | None = option(
        "a code for each customer, or one for the account; without it, as the class's unit", default=None
    )
    where: Condition | None = option("only such events", default=None)
    within: Duration | None = option("how long after the referral; without it, any time", default=None)
    reward: ReferralRewards | None = option("what both get", default=None)

    @classmethod
    def narrow(cls, node: Node, scope: Scope) -> Scope:
        event = node.get("converts_on")
        return replace(scope, subject_event=event.text if event is not None else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommissionEntry:
    """A share of what the partner's own bring in, by tier."""

    share: str = option("such as `5% of order_placed.amount`")
    tiers: Mapping[str, Share] = option("tiers with another share", factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawEntry:
    """A draw of lots."""

    entry: str = option("`per challenge`, `per 100 points`, or `each`: one ticket for everybody")
    closes: date = option("the last day on which tickets are given")
    opens: date | None = option("the first day on which tickets are given", default=None)
    winners: int = option("how many win", default=1, low=1, high=100_000)
    open_to: Condition | None = option("who takes part; without it, everybody of the class", default=None)
    prize: str = option("a reward or a voucher pool", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentEntry:
    """Something on the page of members alone."""

    title: Words = option("what it is called: text, or one for each language")
    text: Words = option("what it says: text, or one for each language", default="")
    url: str = option("where it leads: an address that begins with `https://`", default="")
    tiers: tuple[TierName, ...] = option("for whom; without it, for all tiers", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassEntry:
    """The programme of one class."""

    membership: MembershipEntry | None = option("how one comes in, and how long one stays", default=None)
    tier_by: Expression | None = option("the score that makes the tier: any number, or money", default=None)
    thresholds: Mapping[str, Node] = option("the least score of each tier", factory=dict)
    downgrade: DowngradeEntry | None = option("how a tier is lost", default=None)
    benefits: Mapping[str, tuple[str, ...]] = option("what each tier gives, on top of the tiers below it", factory=dict)
    points: tuple[Node, ...] = option("rules such as `1 per 1 EUR of order_placed.amount`", default=())
    refunds: tuple[Node, ...] = option("rules such as `order_refunded takes back order_placed by order_id`", default=())
    points_expire: Duration | None = option("how long points can be spent; without it, for ever", default=None)
    challenges: Mapping[str, ChallengeEntry] = option("things to do, by name", factory=dict)
    rewards: Mapping[str, RewardEntry] = option("what can be had for points, by name", factory=dict)
    referral: ReferralEntry | None = option("what bringing others is worth", default=None)
    commission: str | CommissionEntry | None = option("what partners earn", default=None)
    draws: Mapping[str, DrawEntry] = option("draws of lots, by name", factory=dict)
    health: Expression | None = option("an account's score, such as 0 to 100", default=None)
    leaderboard: YesNo = option("whether who wants to can stand on a list of the best", default=False)
    content: Mapping[str, ContentEntry] = option("what members alone find on their page, by name", factory=dict)
    claimed_by: tuple[str, ...] = option(
        "roles of the contacts who take an account's rewards on their page; without it, every contact", default=()
    )
    titles: Mapping[str, Words] = option(
        "what the class, tiers, benefits, rewards, challenges, badges, draws and events that earn are called: text, or "
        "one for each language",
        factory=dict,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherEntry:
    """A pool of voucher codes; the codes themselves are imported."""

    title: Words = option("what it is called: text, or one for each language", default="")
    valid: Duration | None = option(
        "how long a code can be redeemed once it was given, in days, weeks, months or years: `90 days`", default=None
    )
    warn_below: int = option("how few free codes are told to the operator", default=0, low=0)


# ---- names ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Naming:
    """The programme's names under way."""

    locale: str
    check: CheckName
    problems: Problems
    rewards: dict[str, str] = field(default_factory=dict)
    challenges: dict[str, str] = field(default_factory=dict)
    draws: dict[str, str] = field(default_factory=dict)
    titles: dict[str, Mapping[str, str]] = field(default_factory=dict)
    badges: set[str] = field(default_factory=set)


def read_loyalty(
    node: Node | None,
    vouchers: Node | None,
    read_ones: Mapping[str, object],
    classes: Mapping[str, CustomerClass],
    locale: str,
    problems: Problems,
    check: CheckName,
) -> Loyalty:
    """What others may name of `program` and `vouchers`, of all that could be read. Tells of names only.

    `read_ones`: what `reading` made of each pool; `locale`: the workspace's.
    """
    pools = {}
    for entry in _entries(vouchers):
        check(entry.key, "voucher pool", entry.key_span, problems, dashes=True)
        declared = read_ones.get(entry.key)
        if isinstance(declared, VoucherEntry):
            pools[entry.key] = _pool(entry, declared, locale, problems)
    if node is None or node.empty:
        return Loyalty(pools=pools)
    if node.kind != "map":
        hint = "classes, and what each has: `b2c: { … }`"
        problems.error("wrong-type", f"`program` needs its classes, got {described(node)}", node.span, hint)
        return Loyalty(pools=pools)
    naming = _Naming(locale, check, problems)
    benefits = {}
    for entry in node.entries:
        if entry.key in classes:
            benefits[entry.key] = _names(entry, classes[entry.key], naming)
        elif entry.key != "value":
            unknown(problems, "class", entry.key, entry.key_span, classes)
    return Loyalty(
        True, benefits, naming.titles, pools, naming.rewards, naming.challenges, naming.draws,
        frozenset(naming.badges), _purchase(node.get("value")),
    )  # fmt: skip


def _purchase(value: Node | None) -> str:
    """The event of `value: { orders: order_placed.amount }`."""
    said = value.get("orders") if value is not None and value.kind == "map" else None
    return said.text.partition(".")[0].strip() if said is not None and said.kind == "scalar" else ""


def _pool(entry: Entry, declared: VoucherEntry, locale: str, problems: Problems) -> Pool:
    valid, said = declared.valid, entry.value.get("valid")
    if valid is not None and said is not None and (valid.seconds or valid.business or valid == Duration()):
        message = f"a code is good through the end of a day, and not for {described(said)}"
        problems.error("wrong-type", message, said.span, "in days, weeks, months or years, such as `90 days`")
    titles = read_words(entry.value.get("title"), declared.title, locale, problems)
    return Pool(entry.key, _with_fallback(titles, locale), valid, declared.warn_below)


def _with_fallback(titles: Mapping[str, str], locale: str) -> dict[str, str]:
    return {**titles, "": spoken(titles, locale, locale)} if titles else {}


def _names(entry: Entry, of: CustomerClass, naming: _Naming) -> dict[str, tuple[str, ...]]:
    """The names of one class's programme; its benefits by tier, those of lower tiers included."""
    own: set[str] = set()
    by_tier: dict[str, list[str]] = {}
    for listed in _entries(entry.value.get("benefits")):
        for item in listed.value.items if listed.value.kind == "list" else (listed.value,):
            if item.kind == "scalar" and naming.check(item.text, "benefit", item.span, naming.problems, dashes=True):
                by_tier.setdefault(listed.key, []).append(item.text)
                own.add(item.text)
    for key, noun, into in (
        ("rewards", "reward", naming.rewards),
        ("challenges", "challenge", naming.challenges),
        ("draws", "draw", naming.draws),
    ):
        for named in _entries(entry.value.get(key)):
            naming.check(named.key, noun, named.key_span, naming.problems, dashes=True)
            if named.key in into:
                message = f"`{named.key}` is a {noun} of the class `{into[named.key]}`, too"
                naming.problems.error("name-taken", message, named.key_span, "give one of the two another name")
            into.setdefault(named.key, of.name)
            own.add(named.key)
            badge = named.value.get("badge")
            if key == "challenges" and badge is not None and badge.kind == "scalar" and badge.text:
                naming.check(badge.text, "badge", badge.span, naming.problems, dashes=True)
                naming.badges.add(badge.text)
                own.add(badge.text)
    titled = own | _earning(entry.value.get("points")) | {of.name, *of.tiers}
    _titles(entry.value.get("titles"), titled, naming)
    found: dict[str, tuple[str, ...]] = {}
    reached: list[str] = []
    for tier in of.tiers:
        reached += [name for name in by_tier.get(tier, ()) if name not in reached]
        found[tier] = tuple(reached)
    return found


def _earning(node: Node | None) -> set[str]:
    """The events that rules of points are about."""
    lines = (node.items or (node,)) if node is not None else ()
    found = (re.search(r"\b(?:of|for) ([a-z][a-z0-9_]*)", line.text) for line in lines if line.kind == "scalar")
    return {match[1] for match in found if match is not None}


def _titles(node: Node | None, known: set[str], naming: _Naming) -> None:
    for entry in _entries(node):
        if entry.key not in known:
            message = f"nothing here is called `{entry.key}`"
            hint = suggest(entry.key, known)
            hint = (
                hint or "titles are of the class, tiers, benefits, rewards, challenges, badges, draws, earning events"
            )
            naming.problems.error("unknown-title", message, entry.key_span, hint)
            continue
        value = entry.value
        said: Words = value.text if value.kind == "scalar" else {e.key: e.value.text for e in value.entries}
        titles = _with_fallback(read_words(value, said, naming.locale, naming.problems), naming.locale)
        if naming.titles.setdefault(entry.key, titles) != titles:
            message = f"`{entry.key}` has another title in another class"
            naming.problems.error("name-taken", message, entry.key_span, "give both the same, or one another name")


def _entries(node: Node | None) -> tuple[Entry, ...]:
    return node.entries if node is not None and node.kind == "map" else ()


# ---- rules ----------------------------------------------------------------------------------------------------------


def read_scores(node: Node | None, vocabulary: Vocabulary) -> dict[str, Kind]:
    """What each class's `tier_by` gives, read before all else: on it hangs what `progress.missing` is."""
    found = {}
    for entry in _entries(node):
        said = entry.value.get("tier_by") if entry.value.kind == "map" else None
        if entry.key in vocabulary.classes and said is not None and said.kind == "scalar" and not said.empty:
            scope = Scope(vocabulary.classes[entry.key].unit)
            score = parse_expression(said.text, said.span, scope, vocabulary, Problems())
            if score is not None:
                found[entry.key] = score.kind
    return found


def read_program(node: Node | None, vocabulary: Vocabulary, problems: Problems) -> Program:
    """The programme, of all that could be read; classes that are not declared are told of with the names."""
    if node is None or node.kind != "map":
        return Program()
    classes = {}
    value = None
    for entry in node.entries:
        if entry.key in vocabulary.classes:
            found = _Reading(vocabulary.classes[entry.key], entry, vocabulary, problems).program()
            if found is not None:
                classes[entry.key] = found
        elif entry.key == "value":
            value = read_value_of(entry.value, Context(problems, vocabulary))
    ladders = [[c.name, c.unit, *c.tiers] for c in vocabulary.classes.values()]
    canonical = json.dumps([_plain(node), vocabulary.currency, ladders], sort_keys=True, ensure_ascii=False)
    return Program(classes, value, digest("program", canonical))


def _plain(node: Node) -> Any:
    """What is written, without comments, spacing and the order of keys."""
    if node.kind == "scalar":
        return " ".join(node.text.split())
    if node.kind == "list":
        return [_plain(item) for item in node.items]
    return {entry.key: _plain(entry.value) for entry in node.entries}


class _Reading:
    """One class's programme under way. `parts`: what could be read of its keys."""

    def __init__(self, of: CustomerClass, entry: Entry, vocabulary: Vocabulary, problems: Problems) -> None:
        self.of, self.node, self.words, self.problems = of, entry.value, vocabulary, problems
        self.entry = entry
        self.context = Context(problems, vocabulary, Scope(of.unit))
        self.parts: dict[str, Any] = {}

    def misfit(self, message: str, at: Span, hint: str) -> None:
        """Two keys that do not go together, or one that goes with no such class."""
        self.problems.error("bad-program", message, at, hint)

    def program(self) -> ClassProgram | None:
        if self.node.empty:
            hint = "say what it has, or `{}` for nothing but its tiers"
            self.problems.error("empty-value", f"`{self.entry.key}` has no value", self.entry.key_span, hint)
            return None
        self.parts = read_parts(ClassEntry, self.node, self.context)
        if not self.parts:
            return None
        got = self.parts.get
        challenges, rewards = got("challenges", {}), got("rewards", {})
        self._lasting(
            ("membership", "term"), ("points_expire",), ("referral", "within"),
            *(("challenges", name, "again") for name in challenges),
        )  # fmt: skip
        return ClassProgram(
            self.of.name,
            self.of.unit,
            self.of.tiers,
            membership=self._membership(got("membership")),
            tier_by=got("tier_by"),
            thresholds=self._thresholds(got("tier_by")),
            downgrade=self._downgrade(got("downgrade")),
            points=read_points(got("points", ()), self.of.unit, self.of.tiers, self.context),
            refunds=read_refunds(got("refunds", ()), self.context),
            expire=self._expire(got("points_expire")),
            challenges=tuple(_challenge(name, said) for name, said in challenges.items()),
            rewards={name: self._reward(name, said) for name, said in rewards.items()},
            referral=self._referral(got("referral")),
            commission=self._commission(),
            draws=tuple(self._draw(name, said) for name, said in got("draws", {}).items()),
            health=self._health(got("health")),
            leaderboard=_yes(got("leaderboard", False)),
            content=tuple(self._content(name, said) for name, said in got("content", {}).items()),
            claimed_by=self._claimed_by(got("claimed_by", ())),
        )

    def at(self, *keys: str) -> Node:
        """The value under these keys, else the innermost there is."""
        found = self.node
        for key in keys:
            found = found.get(key) or found
        return found

    def _lasting(self, *paths: tuple[str, ...]) -> None:
        """Lengths of time that must be some: what may be done again after nought is done for ever, and at once."""
        for *above, last in paths:
            node = self.at(*above).get(last)
            if node is not None and words.duration(node.text) == Duration():
                message = f"`{node.text}` is no length of time"
                self.problems.error("wrong-type", message, node.span, f"such as `1 day`, or leave `{last}` out")

    def pool(self, name: str, *keys: str) -> None:
        if name and name not in self.words.loyalty.pools:
            pools = self.words.loyalty.pools
            unknown(self.problems, "voucher pool", name, self.at(*keys).span, pools, " under `vouchers`")

    def tiers(self, key: str) -> None:
        """Keys of a map that must be tiers of the class."""
        for entry in _entries(self.node.get(key)):
            if entry.key not in self.of.tiers:
                unknown(self.problems, "tier", entry.key, entry.key_span, self.of.tiers)

    # ---- tiers

    def _membership(self, said: MembershipEntry | None) -> Membership | None:
        if said is None:
            return None
        self.pool(said.benefit, "membership", "benefit")
        by_record = said.event is None and said.joins in ("contract", "subscription") and self._has_record(said.joins)
        if by_record and said.term is not None:
            hint = "leave `term` out, or name an `event`"
            self.misfit(f"each {said.joins} says itself when it ends", self.at("membership", "term").span, hint)
        if said.joins != "free" and said.event is None and not by_record:
            at = self.at("membership", "joins").span
            hint = "name the event beside it, such as `event: contract_signed`"
            if said.joins != "purchase":
                hint += f", or declare a record `{said.joins}` of the {self.of.unit} with a date `ends`"
            self.misfit(f"nothing says which {said.joins} makes a member", at, hint)
        if said.joins == "free" and said.event is not None:
            hint = "say `joins: purchase`, `contract` or `subscription`, or leave `event` out"
            self.misfit("joining is free, and yet waits for an event", self.at("membership", "event").span, hint)
        if said.renews == "auto" and said.term is None:
            hint = "say how long it lasts: `term: 1 year`"
            self.misfit("what has no end is not renewed", self.at("membership", "renews").span, hint)
        return Membership(said.joins, said.event or "", said.benefit, said.term, said.renews)

    def _has_record(self, name: str) -> bool:
        """Whether the class's units have records of that name with a day on which they end."""
        found = self.words.records.get(name)
        return found is not None and found.of == self.of.unit and "ends" in found.fields

    def _thresholds(self, tier_by: Expression | None) -> dict[str, float]:
        self.tiers("thresholds")
        self.tiers("benefits")
        listed = self.node.get("thresholds")
        if tier_by is not None and tier_by.kind not in (Kind.NUMBER, Kind.MONEY):
            hint = "such as `points(365 days)` or `sum(order_placed.amount, 365 days)`"
            message = f"a tier goes by a number or an amount of money, and this is {tier_by.kind.value}"
            self.problems.error("type-mismatch", message, self.at("tier_by").span, hint)
            return {}
        if (listed is None or (listed.kind == "map" and not listed.entries)) and tier_by is not None:
            hint = "add `thresholds: { silver: 500 }`"
            self.misfit("nothing says what score makes which tier", self.at("tier_by").key_span or self.node.span, hint)
        if listed is not None and self.node.get("tier_by") is None:
            hint = "add what they are of, such as `tier_by: points(365 days)`"
            self.misfit("thresholds of nothing", listed.key_span or listed.span, hint)
        if listed is None or tier_by is None:
            return {}
        found: dict[str, float] = {}
        for entry in listed.entries:
            score = self._score(entry, tier_by)
            if score is not None:
                found[entry.key] = score
        ordered = [tier for tier in self.of.tiers if tier in found]
        for lower, upper in pairwise(ordered):
            if found[upper] <= found[lower]:
                at = next(e.value.span for e in listed.entries if e.key == upper)
                hint = f"tiers go from the lowest to the highest: {', '.join(self.of.tiers)}"
                message = f"`{upper}` must need more than `{lower}`"
                self.problems.error("bad-thresholds", message, at, hint)
                break
        return {tier: found[tier] for tier in ordered}

    def _score(self, entry: Entry, tier_by: Expression) -> float | None:
        """A threshold as a number, money in minor units."""
        node, money = entry.value, tier_by.kind is Kind.MONEY
        currency = self.words.currency
        number = node.value if node.kind == "scalar" and not isinstance(node.value, bool) else None
        if isinstance(number, (int, float)) and isfinite(number):
            return float(Decimal(node.text).scaleb(minor_digits(currency) if money else 0))
        amount = words.money(node.text, minor_digits) if node.kind == "scalar" and money else None
        if amount is not None and amount.currency == currency:
            return float(amount.minor)
        hint = f"such as `500 {currency}`, in the workspace's currency" if money else "such as `500`"
        message = f"expected {'an amount' if money else 'a number'}, got {described(node)}"
        at = entry.key_span if node.empty else node.span
        self.problems.error("wrong-type", message, at, hint)
        return None

    def _downgrade(self, said: DowngradeEntry | None) -> Downgrade:
        if said is None:
            return Downgrade()
        return Downgrade(said.grace, said.steps, said.review, said.protected_if)

    # ---- points, rewards, games

    def _expire(self, said: Duration | None) -> Duration | None:
        if said is not None and (said.seconds or said.business):
            hint = "in days, weeks, months or years"
            self.problems.error("wrong-type", "points expire at the end of a day", self.at("points_expire").span, hint)
        return said

    def _reward(self, name: str, said: RewardEntry) -> Reward:
        self.pool(said.voucher, "rewards", name, "voucher")
        self._own_tiers(self.at("rewards", name).get("tiers"))
        kind: RewardKind = said.kind or ("discount" if said.voucher else "merchandise")
        return Reward(name, kind, said.costs, said.stock, said.tiers, said.voucher, said.each, said.only_if)

    def _own_tiers(self, listed: Node | None) -> None:
        """Tiers of another class are told of; what is no tier at all was told of when it was read."""
        for item in (listed.items or (listed,)) if listed is not None else ():
            if item.text in self.words.tiers() and item.text not in self.of.tiers:
                unknown(self.problems, "tier", item.text, item.span, self.of.tiers)

    def _content(self, name: str, said: ContentEntry) -> Content:
        node, locale = self.at("content", name), self.words.locale
        self._own_tiers(node.get("tiers"))
        url = said.url.strip()
        if url and not re.fullmatch(r"https://[^\s/?#@\\\"<>]+\.[^\s@\\\"<>]+", url):
            self.misfit("this is no address that a page can lead to", self.at("content", name, "url").span,
                        "such as `https://acme.example/members/guide`")  # fmt: skip
            url = ""
        title = read_words(node.get("title"), said.title, locale, self.problems)
        if not any(title.values()):
            self.misfit("this has no title", node.key_span or node.span, "add `title: A guide for members`")
        text = read_words(node.get("text"), said.text, locale, self.problems)
        return Content(name, title, text, url, said.tiers)

    def _claimed_by(self, said: tuple[str, ...]) -> tuple[str, ...]:
        node = self.node.get("claimed_by")
        if node is not None and self.of.unit != "account":
            hint = "leave it out, or give the class `unit: account`"
            self.misfit("these points are each customer's own", node.key_span or node.span, hint)
        return tuple(" ".join(role.split()) for role in said if role.strip())

    def _referral(self, said: ReferralEntry | None) -> Referral | None:
        if said is None:
            return None
        reward = said.reward or ReferralRewards()
        for key in ("referrer", "referred"):
            gets = getattr(reward, key)
            if isinstance(gets, str):
                self.pool(gets, "referral", "reward", key)
        code = said.code or f"per {self.of.unit}"
        return Referral(
            said.converts_on,
            "account" if code == "per account" else "customer",
            said.where,
            said.within,
            reward.referrer,
            reward.referred,
        )

    def _commission(self) -> Commission | None:
        node = self.node.get("commission")
        if node is None or self.parts.get("commission") is None:
            return None
        if self.of.unit != "account":
            hint = "a class of partners has `unit: account`"
            self.misfit("commission is an account's", node.key_span or node.span, hint)
            return None
        return read_commission(node, self.of.tiers, self.context)

    def _draw(self, name: str, said: DrawEntry) -> Draw:
        node = self.at("draws", name)
        match = re.fullmatch(r"each|per challenge|per ([1-9]\d{0,8}) points?", " ".join(said.entry.split()))
        if match is None:
            at = self.at("draws", name, "entry")
            message = f"{described(at)} does not say what a ticket is given for"
            self.problems.error("bad-draw", message, at.span, "`per challenge`, `per 100 points`, or `each`")
        if said.opens is not None and said.opens > said.closes:
            hint = "the first day comes before the last"
            self.problems.error("bad-draw", "it closes before it opens", self.at("draws", name, "closes").span, hint)
        prizes = {**self.words.loyalty.rewards, **self.words.loyalty.pools}
        prize = node.get("prize")
        if said.prize and prize is not None and said.prize not in prizes:
            unknown(self.problems, "prize", said.prize, prize.span, prizes)
        entry: Literal["challenge", "points", "each"] = "each"
        if match is not None and match[0] != "each":
            entry = "points" if match[1] else "challenge"
        per = int(match[1]) if match is not None and match[1] else 0
        return Draw(name, entry, said.closes, said.winners, per, said.opens, said.open_to, said.prize)

    def _health(self, said: Expression | None) -> Expression | None:
        node = self.at("health")
        if said is not None and said.kind is not Kind.NUMBER:
            message = f"health is a number, and this is {said.kind.value}"
            self.problems.error("type-mismatch", message, node.span, "a number such as 0 to 100")
        elif said is not None and self.of.unit != "account":
            hint = "give the class `unit: account`, or use a segment"
            self.misfit("health is an account's", node.key_span or node.span, hint)
        return said


def _challenge(name: str, said: ChallengeEntry) -> Challenge:
    hidden, existing = _yes(said.hidden), _yes(said.include_existing)
    return Challenge(name, said.when, said.points, said.badge, hidden, said.again, said.until, existing)


def _yes(said: YesNo) -> bool:
    return said is True or said == "yes"


def conditions(program: Program) -> Iterator[Condition]:
    """Every condition of the programme."""
    for one in program.classes.values():
        found = [
            one.downgrade.protected_if,
            *(rule.where for rule in one.points),
            *(challenge.when for challenge in one.challenges),
            *(reward.only_if for reward in one.rewards.values()),
            one.referral.where if one.referral is not None else None,
            *(draw.open_to for draw in one.draws),
        ]
        yield from (condition for condition in found if condition is not None)
