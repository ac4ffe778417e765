"""The policies of workspace.yaml: quiet hours, caps, dedupe, pause and budgets, as lines a person can read aloud."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, Literal

from channels.base import Medium
from orchestrator import words
from orchestrator.cells import country
from orchestrator.model import (
    BANDS,
    Cap,
    DoubleOptIn,
    Field,
    HouseHours,
    Kind,
    Policies,
    Resend,
    Tracking,
    Unit,
    Window,
    minor_digits,
)
from orchestrator.problems import Problems, Span
from orchestrator.reading import Context, Days, Hours, described, option, unknown
from orchestrator.source import Node

_MARKETING_MEDIA: Final = (Medium.EMAIL, Medium.SMS, Medium.PUSH, Medium.MAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumHours:
    """When a medium may be used, by the recipient's clock."""

    open: Hours = option("from and to, such as 08:00-20:00")
    then: Literal["hold", "deny"] = option("what becomes of a message outside", default="hold")
    days: Days = option("the days it opens on", default=frozenset(range(7)))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """House hours; the law's own windows come first and are never widened."""

    ruleset: Literal["builtin"] = option("the legal windows shipped with the product", default="builtin")
    email: MediumHours | None = option("hours for e-mail", default=None)
    sms: MediumHours | None = option("hours for texts", default=None)
    push: MediumHours | None = option("hours for push messages", default=None)
    mail: MediumHours | None = option("hours for letters", default=None)
    release: str = option("how held messages go out: `spread 2 hours`, or `at once`", default="at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Minors:
    """Who is too young to consent alone."""

    born: str = option("the customer's attribute with the date of birth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long what is told of people is kept: `5 years`. What is not named is kept."""

    decision_details: str = option("what decisions were made on; the log's lines stay", default="")
    consent_evidence: str = option("evidence of consents that no longer hold", default="")
    events: str = option("what people did: then nobody's, without its properties", default="")
    feedback: str = option("deliveries, opens and clicks that came back", default="")
    message_payloads: str = option("settings and providers' numbers of settled messages", default="")
    import_runs: str = option("which files were imported when", default="")
    touches: str = option("contacts by other departments, and closed cases", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptIn:
    """The e-mail that asks whoever signed up to confirm it."""

    template: str = option("the e-mail's template: transactional, with `links.confirm`")
    within: str = option("how long its link can be used", default="7 days")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingEntry:
    """What is told of what people do with messages; without it nothing."""

    clicks: Literal["on", "off"] = option(
        "links lead over a short address of yours, and that one is followed is noted", default="off"
    )
    opens: Literal["on", "off"] = option("the e-mail provider's pixel tells who opened", default="off")
    off_in: tuple[str, ...] = option("countries where it is off all the same: `[DE, FR]`", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class IfUncertain:
    """What becomes of a message of which nobody knows whether it arrived."""

    send_again: str = option("`after 10 minutes`: it goes out again, and may arrive twice; or `never`")
    at_most: int = option("how many times, 1 to 5", default=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntries:
    """Rules for every journey."""

    quiet_hours: QuietHours | None = option("hours outside which nothing is sent", default=None)
    caps: tuple[Node, ...] = option("such as `2 per day and 4 per week across email, sms, push`", default=())
    dedupe: str = option("`same address and same content within 24 hours`, or `off`", default="off")
    pause_if: str = option("such as `errors > 2% of last 500`", default="")
    guard: str = option("`audience grew > 30%`, or `off`", default="off")
    budget: Mapping[str, str] = option("by medium: `500 EUR per month`", factory=dict)
    prices: Mapping[str, str] = option(
        "what one message costs, by medium: `0.85 EUR`; of a text, one segment", factory=dict
    )
    counting: tuple[str, ...] = option("departments whose contacts caps count: `[support, sales]`", default=())
    pause_on_case: Literal["yes", "no"] = option("no marketing while a case of the customer is open", default="no")
    minors: Minors | None = option("no marketing to who is too young to consent alone", default=None)
    retention: Retention | None = option("how long what is told of people is kept", default=None)
    double_opt_in: OptIn | None = option("the e-mail that asks for a confirmation", default=None)
    texts: Literal["smart", "as_written"] = option(
        "`smart`: plain characters for typographic ones, where that makes a text cheaper", default="smart"
    )
    tracking: TrackingEntry | None = option("whether clicks and opens are told", default=None)
    end_customers: Literal["never", "if_partner_allows", "always"] = option(
        "whether customers of partners get marketing: where the partner allows it, never, or always",
        default="if_partner_allows",
    )
    give_up_after: str = option("how long it is asked what became of a send nobody knows of", default="24 hours")
    approval: Literal["none", "second person"] = option(
        "`second person`: what is applied waits until somebody else has approved it", default="none"
    )


def read_policies(
    node: Node | None,
    entries: PolicyEntries | None,
    tiers: Set[str],
    topics: Set[str],
    context: Context,
    currency: str = "EUR",
    zone: str = "UTC",
    customer: Mapping[str, Field] = {},
) -> Policies:
    """Policies, of all that could be read. `entries`: what `read` made of the node; `currency`, `zone`: the
    workspace's, "" a currency that is none; `customer`: the attributes it declares."""
    if node is None or entries is None:
        return Policies()
    hours, release = {}, timedelta(0)
    house = entries.quiet_hours
    if house is not None:
        for medium in _MARKETING_MEDIA:
            own: MediumHours | None = getattr(house, medium.value)
            if own is not None:
                hours[medium] = HouseHours(medium, Window(*own.open, own.days), own.then)
        release = _release(node.get("quiet_hours"), context.problems)
    caps: dict[str, Cap] = {}
    for line in _whole_lines(entries.caps, context.problems):
        for cap in _cap_line(line, tiers, topics, context.problems):
            if cap.key in caps:
                hint = "keep the one that is meant"
                context.problems.error("duplicate-cap", "this cap stands here a second time", line.span, hint)
            caps[cap.key] = cap
    budgets = _budgets(node, currency, context.problems)
    return Policies(
        hours,
        release,
        tuple(caps.values()),
        _dedupe(node.get("dedupe"), context.problems),
        _pause_if(node.get("pause_if"), context.problems),
        budgets,
        prices=_prices(node.get("prices"), currency, context.problems),
        counting=_departments(entries.counting, node.get("counting"), context.problems),
        pause_on_case=entries.pause_on_case == "yes",
        growth=_guard(node.get("guard"), context.problems),
        born=_born(node.get("minors"), customer, context.problems),
        retention=_retention(node.get("retention"), context.problems),
        zone=zone if budgets else "UTC",
        texts=entries.texts,
        give_up_after=_give_up(node.get("give_up_after"), context.problems),
        double_opt_in=_opt_in(node.get("double_opt_in"), entries.double_opt_in, context.problems),
        tracking=_tracking(node.get("tracking"), entries.tracking, context.problems),
        end_customers=entries.end_customers,
        approval=entries.approval,
    )


def _release(node: Node | None, problems: Problems) -> timedelta:
    said = node.get("release") if node is not None else None
    if said is None or said.text.strip() == "at once":
        return timedelta(0)
    match = re.fullmatch(r"spread\s+(?:over\s+)?(.+)", said.text.strip())
    found = words.duration(match[1]) if match else None
    if found is None or found.exact is None or found.exact > timedelta(days=1):
        hint = "`spread 2 hours` (at most a day), or `at once`"
        problems.error("bad-release", f"{described(said)} does not say how to release", said.span, hint)
        return timedelta(0)
    return found.exact


_CAP_HINT: Final = "such as `2 per day and 4 per week across email, sms, push`, or `6 per week per account`"
_PER: Final[dict[str, Literal["day", "week", "month"]]] = {"day": "day", "week": "week", "month": "month"}


def _whole_lines(lines: Sequence[Node], problems: Problems) -> list[Node]:
    """The lines but those that a comma of a list in brackets has torn off another: told once for each that is torn."""
    whole: list[Node] = []
    torn: list[str] = []
    for number, line in enumerate(lines):
        text = line.text.strip() if line.kind == "scalar" else ""
        if text.removeprefix("and ") not in _MARKETING_MEDIA:
            whole.append(line)
            torn = [text]
            continue
        torn.append(text)
        if number + 1 < len(lines) and lines[number + 1].text.strip().removeprefix("and ") in _MARKETING_MEDIA:
            continue  # told with the last piece, so that the hint has the whole line
        joined = ", ".join(piece for piece in torn if piece)
        message = f"`{text}` alone is no cap: a comma begins the next one in a list in brackets"
        hint = f'put the line into quotation marks: `"{joined}"`' if len(torn) > 1 and torn[0] else _CAP_HINT
        problems.error("bad-cap", message, line.span, hint)
    return whole


def _cap_line(node: Node, tiers: Set[str], topics: Set[str], problems: Problems) -> list[Cap]:
    """The caps of one line: several counts share its media; YAML makes a map of `for tier X: …`, which is fine."""
    line = _cap_text(node)
    if line is None:
        problems.error("bad-cap", "this is no cap", node.span, _CAP_HINT)
        return []
    who, body, text = line
    whom = _cap_for(who, tiers, topics, problems)
    if whom is None:
        return []
    media: frozenset[Medium] = frozenset()
    scope: Unit = "customer"
    if account := re.search(r"\s+per\s+account(?=\s|$)", body.text):
        scope, body = (
            "account",
            _Part(body.text[: account.start()] + " " * len(account[0]) + body.text[account.end() :], body),
        )
    if across := re.search(r"\s+(?:across|of|by)\s+([a-z, ]+)$", body.text):
        named = _cap_media(body, across.start(1), across[1], problems)
        if named is None:
            return []
        media, body = named, _Part(body.text[: across.start()], body)
    found: list[Cap] = []
    for part in re.finditer(r"(.+?)(?:\s+and\s+|\s*,\s*(?:and\s+)?|\s*$)", body.text):
        count = _cap_count(part[1].strip())
        if count is None:
            at = body.at(part.start(1), len(part[1].rstrip()))
            problems.error("bad-cap", f"`{part[1].strip()}` does not say how many in what time", at, _CAP_HINT)
            return []
        number, per, within = count
        for kind, name in whom:
            key = _cap_key(scope, per or f"{within}", media, kind, name)
            tier, topic, band = (name if kind == each else None for each in ("tier", "topic", "band"))
            found.append(Cap(key, text, number, scope, media, per, within, tier, topic, band))
    return found


def _cap_key(scope: str, time: str, media: Iterable[str], kind: str, name: str) -> str:
    parts = [scope, time, ",".join(sorted(media)), f"{kind}:{name}" if kind else ""]
    return " ".join(p for p in parts if p)


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a line that begins where `of` begins: its places are those in the file."""

    text: str
    of: Node | _Part
    begins: int = 0

    def at(self, offset: int, length: int) -> Span:
        return self.of.at(self.begins + offset, length)


def _cap_text(node: Node) -> tuple[_Part | None, _Part, str] | None:
    """For whom, what, and the whole line as written."""
    if node.kind == "map" and len(node.entries) == 1 and node.entries[0].value.kind == "scalar":
        entry = node.entries[0]
        named = Node("scalar", entry.key_span, entry.key, entry.key, "plain", source=node.source)
        return _Part(entry.key, named), _Part(entry.value.text, entry.value), f"{entry.key}: {entry.value.text}"
    if node.kind != "scalar" or node.empty:
        return None
    head, colon, rest = node.text.partition(":")
    if not colon:
        return None, _Part(node.text, node), node.text
    gap = len(rest) - len(rest.lstrip())
    return _Part(head, node), _Part(rest.strip(), node, len(head) + 1 + gap), node.text


def _cap_for(
    who: _Part | None, tiers: Set[str], topics: Set[str], problems: Problems
) -> tuple[tuple[str, str], ...] | None:
    """Whom a line is for, one (tier, topic or band; its name) for each; None when it is told that it is wrong."""
    if who is None:
        return (("", ""),)
    match = re.fullmatch(r"\s*for\s+(tier|topic|band)(s?)\s+(.+?)\s*", who.text)
    if not match or (match[1] == "topic" and match[2]):
        hint = "`for tier platinum: …`, `for band top: …` or `for topic offers: …`"
        problems.error("bad-cap", f"`{who.text.strip()}` does not say for whom", who.at(0, len(who.text)), hint)
        return None
    kind = match[1]
    known: Iterable[str] = {"tier": tiers, "topic": topics, "band": BANDS}[kind]
    named = (match[3],) if kind == "topic" else tuple(re.split(r"\s*,\s*|\s+and\s+", match[3]))
    for name in named:
        if name not in known:
            at = who.at(match.start(3) + match[3].index(name), len(name))
            unknown(problems, kind, name, at, known)
            return None
    return tuple((kind, name) for name in named)


def _cap_media(body: _Part, begins: int, text: str, problems: Problems) -> frozenset[Medium] | None:
    found = set()
    for word in re.finditer(r"[a-z]+", text):
        if word[0] == "and":
            continue
        if word[0] not in _MARKETING_MEDIA:
            unknown(problems, "medium", word[0], body.at(begins + word.start(), len(word[0])), _MARKETING_MEDIA)
            return None
        found.add(Medium(word[0]))
    return frozenset(found)


def _cap_count(text: str) -> tuple[int, Literal["day", "week", "month"] | None, timedelta | None] | None:
    """`2 per day` by the calendar; `3 within 36 hours`, `3 in 7 days` rolling."""
    match = re.fullmatch(r"([0-9]{1,4})\s+(per|within|in)\s+(.+)", text)
    if not match:
        return None
    if match[2] == "per" and match[3] in _PER:
        return int(match[1]), _PER[match[3]], None
    span = words.duration(match[3])
    if span is None or not span.exact:
        return None
    return int(match[1]), None, span.exact


def _dedupe(node: Node | None, problems: Problems) -> timedelta | None:
    if node is None or node.kind != "scalar" or node.text.strip() == "off":
        return None
    match = re.fullmatch(r"same address and same content within (.+)", " ".join(node.text.split()))
    found = words.duration(match[1]) if match else None
    if found is None or not found.exact:
        hint = "`same address and same content within 24 hours`, or `off`"
        problems.error("bad-dedupe", f"{described(node)} does not say what counts as the same", node.span, hint)
        return None
    return found.exact


def _pause_if(node: Node | None, problems: Problems) -> tuple[float, int] | None:
    if node is None or node.kind != "scalar":
        return None
    match = re.fullmatch(r"errors\s*>\s*(.+%)\s+of\s+last\s+([0-9]{1,6})", node.text.strip())
    limit = words.share(match[1]) if match else None
    if match is None or limit is None or int(match[2]) < 1:
        hint = "`errors > 2% of last 500`"
        problems.error("bad-pause-if", f"{described(node)} does not say when to pause", node.span, hint)
        return None
    return limit, int(match[2])


def _guard(node: Node | None, problems: Problems) -> float | None:
    if node is None or node.kind != "scalar" or node.text.strip() == "off":
        return None
    match = re.fullmatch(r"audience\s+(?:grew|grows)\s*>\s*([0-9]{1,4}(?:\.[0-9]{1,2})?)\s*%", node.text.strip())
    if match is None:
        hint = "`audience grew > 30%`, or `off`"
        problems.error("bad-guard", f"{described(node)} does not say how much an audience may grow", node.span, hint)
        return None
    return float(Decimal(match[1]) / 100)


_Budget = tuple[int, str, Literal["day", "week", "month"]]


def _budgets(policies: Node, currency: str, problems: Problems) -> dict[Medium, _Budget]:
    priced = {e.key for e in node.entries} if (node := policies.get("prices")) is not None else set()
    found: dict[Medium, _Budget] = {}
    for medium, said in _by_medium(policies.get("budget"), problems):
        match = re.fullmatch(r"(.+?)\s+per\s+(day|week|month)", said.text.strip())
        amount = words.money(match[1], minor_digits) if match else None
        if match is None or amount is None:
            message = f"{described(said)} does not say how much in what time"
            problems.error("bad-budget", message, said.span, "such as `500 EUR per month`")
        elif currency and amount.currency != currency:
            message = f"this budget is in {amount.currency}, and the workspace counts in {currency}"
            problems.error("bad-budget", message, said.span, f"say it in {currency}")
        elif medium not in priced:
            message = f"nobody knows what is left of this budget: `{medium}` has no price"
            hint = f"say what one costs, beside it under `policies`: `prices: {{ {medium}: 0.85 {currency} }}`"
            problems.error("no-price", message, said.span, hint)
        else:
            found[medium] = (amount.minor, amount.currency, _PER[match[2]])
    return found


def _prices(node: Node | None, currency: str, problems: Problems) -> dict[Medium, int]:
    """What one message costs (of a text, one segment), in millionths of the currency: a text costs less than a cent."""
    found: dict[Medium, int] = {}
    for medium, said in _by_medium(node, problems):
        match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s+([A-Z]{3})", said.text.strip())
        if match is None:
            message = f"{described(said)} does not say what one message costs"
            problems.error("bad-price", message, said.span, f"such as `0.85 {currency}`, with six decimals at most")
        elif currency and match[2] != currency:
            message = f"this price is in {match[2]}, and the workspace counts in {currency}"
            problems.error("bad-price", message, said.span, f"say it in {currency}")
        else:
            found[medium] = int(Decimal(match[1]) * 1_000_000)
    return found


def _by_medium(node: Node | None, problems: Problems) -> Iterator[tuple[Medium, Node]]:
    for entry in node.entries if node is not None else ():
        if entry.key not in _MARKETING_MEDIA:
            unknown(problems, "medium", entry.key, entry.key_span, _MARKETING_MEDIA)
        elif entry.value.kind == "scalar":
            yield Medium(entry.key), entry.value


def _departments(named: Iterable[str], node: Node | None, problems: Problems) -> frozenset[str]:
    found = set()
    for name in named:
        if re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", name):
            found.add(name)
        elif node is not None:
            message = f"`{name[:40]}` cannot be the name of a department"
            problems.error("bad-department", message, node.span, "small letters, such as `support`")
    return frozenset(found)


def _born(node: Node | None, customer: Mapping[str, Field], problems: Problems) -> str:
    said = node.get("born") if node is not None else None
    if said is None or said.kind != "scalar":
        return ""
    name = said.text.strip()
    if name not in customer:
        unknown(problems, "attribute", name, said.span, customer)
        return ""
    if customer[name].kind is not Kind.DATE:
        hint = f"declare it so: `{name}: date`"
        problems.error(
            "not-a-date", f"`{name}` is {customer[name].kind.value}, and a birthday is a date", said.span, hint
        )
        return ""
    return name


def _retention(node: Node | None, problems: Problems) -> dict[str, timedelta]:
    """By kind of record; a month counts as its share of a year, never less."""
    found = {}
    for entry in node.entries if node is not None else ():
        if entry.value.kind != "scalar":
            continue
        span = words.duration(entry.value.text)
        if span is None or span.business or span.seconds or not (span.months or span.days):
            message = f"{described(entry.value)} does not say how long to keep it"
            problems.error("bad-retention", message, entry.value.span, "such as `5 years` or `90 days`")
        else:
            found[entry.key] = timedelta(days=span.days - (-span.months * 36_525 // 1_200))
    return found


_A_YEAR: Final = timedelta(days=366)


def _opt_in(node: Node | None, entries: OptIn | None, problems: Problems) -> DoubleOptIn | None:
    """`project` looks whether there is such a text, and one that can ask."""
    if node is None or entries is None:
        return None
    span = words.duration(entries.within)
    within = span.exact if span is not None and not span.business else None
    if within is None or not timedelta(hours=1) <= within <= _A_YEAR:
        said = node.get("within") or node
        message = f"{described(said)} does not say how long the link can be used"
        problems.error("bad-double-opt-in", message, said.span, "from an hour to a year, such as `7 days`")
        return None
    return DoubleOptIn(entries.template, within)


def _tracking(node: Node | None, entry: TrackingEntry | None, problems: Problems) -> Tracking:
    if node is None or entry is None:
        return Tracking()
    listed = node.get("off_in")
    items = listed.items if listed is not None and listed.kind == "list" else (listed,) if listed is not None else ()
    found = set()
    for item in items:
        try:
            found.add(country(item.text.strip() if item.kind == "scalar" else ""))
        except ValueError as wrong:
            told, _, hint = str(wrong).partition("; ")
            problems.error("unknown-country", told, item.span, hint or "two letters, such as `DE`")
    return Tracking(entry.clicks == "on", entry.opens == "on", tuple(sorted(found)))


_AGAIN_HINT: Final = "such as `send_again: after 10 minutes` (from a minute to two days), 1 to 5 times"


def read_if_uncertain(node: Node | None, entry: IfUncertain | None, purpose: str, problems: Problems) -> Resend | None:
    """`if_uncertain` of a topic. At least once is for what somebody waits for, and never for marketing."""
    if node is None or entry is None or entry.send_again.strip() == "never":
        return None
    match = re.fullmatch(r"\s*after\s+(.+?)\s*", entry.send_again)
    span = words.duration(match[1]) if match else None
    after = span.exact if span is not None and not span.business else None
    said = node.get("send_again") or node
    if after is None or not timedelta(minutes=1) <= after <= timedelta(days=2):
        problems.error("bad-send-again", f"{described(said)} does not say when to send again", said.span, _AGAIN_HINT)
    elif not 1 <= entry.at_most <= 5:
        said = node.get("at_most") or node
        problems.error("bad-send-again", f"{described(said)} is no number of times", said.span, _AGAIN_HINT)
    elif purpose != "transactional":
        message = "marketing is never sent again: whoever has it would get it twice"
        problems.error("marketing-sent-again", message, said.span, "remove `if_uncertain` from this topic")
    else:
        return Resend(after, entry.at_most)
    return None


def _give_up(node: Node | None, problems: Problems) -> timedelta:
    span = words.duration(node.text) if node is not None and node.kind == "scalar" else None
    found = span.exact if span is not None and not span.business else None
    if node is None or found is None or not timedelta(hours=1) <= found <= timedelta(days=30):
        if node is not None:
            message = f"{described(node)} does not say how long to ask"
            problems.error("bad-give-up-after", message, node.span, "from an hour to 30 days, such as `24 hours`")
        return timedelta(hours=24)
    return found
