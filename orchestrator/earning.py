"""Lines of the programme that read aloud: what earns points, what a refund takes back, what a commission is of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from orchestrator import words
from orchestrator.condition import Condition, Scope, parse
from orchestrator.model import Field, Kind, Unit, minor_digits
from orchestrator.problems import Problems, Span, suggest
from orchestrator.program import Commission, EarnRule, Refund
from orchestrator.reading import Context, described, place, unknown
from orchestrator.source import Node, digest
from orchestrator.words import Duration

_HINT: Final = "such as `1 per 1 EUR of order_placed.amount`, or `50 for survey_answered, at most 1 per 30 days`"
_SUFFIXES: Final = (
    "behind a comma may stand `at most 1 per 30 days`, `once`, `after 14 days`, `times 2 for gold` and `not for tiers`"
)
_NUMBER: Final = r"\d{1,9}(?:\.\d{1,4})?"
_NAME: Final = r"[A-Za-z_]\w*"
_WHERE: Final = r"(?:\s+where\s+(?P<where>.+?))?\s*"
_EACH: Final = re.compile(rf"\s*(?P<points>{_NUMBER})\s+for\s+(?P<event>{_NAME}(?:\.\w+)?){_WHERE}", re.DOTALL)
_PER: Final = re.compile(
    rf"\s*(?P<points>{_NUMBER})\s+per\s+(?P<per>(?:{_NUMBER})?\s*(?P<currency>[A-Za-z]{{3}})?)\s+of\s+"
    rf"(?P<event>{_NAME})\.(?P<of>{_NAME}){_WHERE}",
    re.DOTALL,
)
_EVER: Final = Duration(months=1_200)
_KINDS: Final[Mapping[Kind, str]] = {Kind.NUMBER: "a number", Kind.MONEY: "an amount of money"}


@dataclass(slots=True)
class _Suffixes:
    """What stands behind the commas of a line."""

    at_most: tuple[int, Duration] | None = None
    pending: Duration | None = None
    times: dict[str, Decimal] | None = None
    counts: bool = True


def read_points(lines: Iterable[Node], unit: Unit, tiers: tuple[str, ...], context: Context) -> tuple[EarnRule, ...]:
    """The rules of `points`, of all that could be read; conditions are asked of `unit`, in the event's scope."""
    found: dict[str, EarnRule] = {}
    for line in lines:
        rule = _rule(line, unit, tiers, context)
        if rule is None:
            continue
        if rule.key in found:
            message = "points are given for this a second time"
            context.problems.error("duplicate-rule", message, line.span, "keep the rule that is meant")
        found.setdefault(rule.key, rule)
    return tuple(found.values())


def _rule(line: Node, unit: Unit, tiers: tuple[str, ...], context: Context) -> EarnRule | None:
    problems = context.problems
    if line.kind != "scalar" or line.empty:
        problems.error("bad-points", f"expected a rule for points, got {described(line)}", line.span, _HINT)
        return None
    (_, head), *rest = split(line.text)
    match = _PER.fullmatch(head) or _EACH.fullmatch(head)
    if match is None:
        hint = _HINT
        if re.match(r"\s*(at most|once|after|times|not for)\b", head):
            hint = "between [ and ] a comma ends a rule: write each on a line of its own, behind `- `"
        problems.error("bad-points", f"{described(line)} does not say how many points for what", line.span, hint)
        return None
    told = len(problems.errors)
    suffixes = _suffixes(line, rest, tiers, problems)
    points = Decimal(match["points"])
    if not points:
        at = line.at(match.start("points"), len(match["points"]))
        problems.error("bad-points", "a rule for no points does nothing", at, "leave the rule out")
    counted = _counted(line, match, context)
    where = _where(line, match, unit, context)
    if counted is None or len(problems.errors) > told:
        return None
    event, of, per, currency = counted
    key = ".".join(filter(None, (event, of))) + (f":{currency}" if currency else "")
    if where is not None:
        key += f"#{digest('where', where.text)[:8]}"
    return EarnRule(
        key,
        " ".join(line.text.split()),
        points,
        event,
        of,
        per,
        currency,
        where,
        suffixes.at_most,
        suffixes.times or {},
        suffixes.pending,
        suffixes.counts,
    )


def _counted(line: Node, match: re.Match[str], context: Context) -> tuple[str, str, int, str] | None:
    """What is counted: event, property, by how many of it, in which currency."""
    per_each = "of" not in match.re.groupindex
    name = match["event"] if per_each else f"{match['event']}.{match['of']}"
    if per_each and "." in name:
        hint = f"write `1 per 1 {context.vocabulary.currency} of {name}`, or `50 for {name.partition('.')[0]}`"
        at = line.at(match.start("event"), len(name))
        context.problems.error("bad-points", f"`{name}` is a property of an event", at, hint)
        return None
    if per_each:
        return (name, "", 1, "") if event_named(line, match.start("event"), name, context) else None
    kind = Kind.MONEY if match["currency"] else Kind.NUMBER
    field = property_named(line, match.start("event"), name, context)
    if field is None:
        return None
    at = line.at(match.start("per"), len(match["per"].rstrip()))
    if field.kind is not kind:
        example = f"1 {context.vocabulary.currency}" if field.kind is Kind.MONEY else "1"
        what = _KINDS.get(field.kind)
        hint = f"write `1 per {example} of {name}`" if what else f"write `50 for {match['event']}`"
        message = f"`{name}` is {what}" if what else f"`{name}` cannot be counted: it is {field.kind.value}"
        context.problems.error("type-mismatch", message, at, hint)
        return None
    per = _share_of(match["per"], match["currency"], at, context.problems)
    return (match["event"], match["of"], per, match["currency"] or "") if per else None


def _share_of(text: str, currency: str | None, at: Span, problems: Problems) -> int:
    """For how many one time points are given, money in minor units; 0 where that is told to be wrong."""
    from babel.numbers import is_currency  # late: it takes a moment

    written = re.match(_NUMBER, text)
    if currency and not is_currency(currency):
        hint = f"did you mean `{currency.upper()}`?" if is_currency(currency.upper()) else "three capital letters"
        problems.error("unknown-currency", f"`{currency}` is no currency", at, hint)
        return 0
    amount = Decimal(written[0] if written else 1).scaleb(minor_digits(currency) if currency else 0)
    if amount != int(amount) or not amount:
        hint = f"{currency} has {minor_digits(currency)} decimals" if currency else "a whole number from 1"
        problems.error("bad-points", f"`{text.strip()}` is no amount to give points for", at, hint)
        return 0
    return int(amount)


def _where(line: Node, match: re.Match[str], unit: Unit, context: Context) -> Condition | None:
    event = match["event"]
    if not match["where"] or event not in context.vocabulary.events:
        return None
    inner = context.within(Scope(unit, subject_event=event))
    found = place(line, match.start("where"), match["where"], inner, _condition)
    return found if isinstance(found, Condition) else None


def _condition(text: str, span: Span, context: Context, problems: Problems) -> Any:
    return parse(text, span, context.scope, context.vocabulary, problems)


# ---- behind the commas ----------------------------------------------------------------------------------------------


def split(text: str) -> list[tuple[int, str]]:
    """The parts of a line between its commas, with where each begins; commas of a condition's own lists and calls, and
    of its texts, part nothing."""
    found, start, depth, quote = [], 0, 0, ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "," and depth <= 0:
            found.append((start, text[start:at]))
            start = at + 1
    return [*found, (start, text[start:])]


def _suffixes(line: Node, parts: list[tuple[int, str]], tiers: tuple[str, ...], problems: Problems) -> _Suffixes:
    found = _Suffixes()
    for offset, part in parts:
        said = part.strip()
        begins = offset + len(part) - len(part.lstrip())
        told = len(problems.errors)
        if not _suffix(found, line, begins, said, tiers, problems) and len(problems.errors) == told:
            at = line.at(begins, len(said))
            problems.error("bad-points", f"`{said}` says nothing of a rule for points", at, _SUFFIXES)
    return found


def _suffix(into: _Suffixes, line: Node, begins: int, said: str, tiers: tuple[str, ...], problems: Problems) -> bool:
    """Whether it could be read, and was not said before."""
    if match := re.fullmatch(r"at most (\d{1,6}) per (.+)|(once)", said):
        span = _EVER if match[3] else words.duration(match[2]) or words.duration(f"1 {match[2]}")
        again, count = into.at_most is not None, 1 if match[3] else int(match[1])
        if span is None or span.business or count < 1:
            return False
        into.at_most = (count, span)
        return not again
    if match := re.fullmatch(r"after (.+)", said):
        span, again = words.duration(match[1]), into.pending is not None
        into.pending = span
        return not again and span is not None and not span.business and span != Duration()
    if match := re.fullmatch(rf"times ({_NUMBER}) for (.+)", said):
        into.times = into.times or {}
        for tier in tiers_in(line, begins + match.start(2), match[2], tiers, problems):
            if tier in into.times:
                return False
            into.times[tier] = Decimal(match[1])
        return True
    if said == "not for tiers" and into.counts:
        into.counts = False
        return True
    return False


def tiers_in(line: Node, begins: int, text: str, tiers: tuple[str, ...], problems: Problems) -> Iterator[str]:
    """`gold`, `gold and platinum`: those of the class; a strange one is told."""
    for match in re.finditer(r"[^\s]+", text):
        if match[0] == "and":
            continue
        if match[0] in tiers:
            yield match[0]
        else:
            unknown(problems, "tier", match[0], line.at(begins + match.start(), len(match[0])), tiers)


# ---- events and their properties ------------------------------------------------------------------------------------


def event_named(line: Node, begins: int, name: str, context: Context) -> bool:
    """Whether there is such an event; told where there is none."""
    if name in context.vocabulary.events:
        return True
    at = line.at(begins, len(name))
    unknown(context.problems, "event", name, at, context.vocabulary.events, " in workspace.yaml")
    return False


def property_named(
    line: Node, begins: int, name: str, context: Context, kinds: frozenset[Kind] | None = None
) -> Field | None:
    """The property that `order_placed.amount` means, of one of these kinds; None and told where there is none."""
    event, _, prop = name.partition(".")
    if not event_named(line, begins, event, context):
        return None
    fields = context.vocabulary.events[event].fields
    at = line.at(begins, len(name))
    if not prop:
        fit = [f"{event}.{f.name}" for f in fields.values() if kinds is None or f.kind in kinds]
        message = f"`{name}` is an event, and this needs one of its properties"
        context.problems.error("unknown-property", message, at, f"such as `{next(iter(fit), f'{event}.amount')}`")
        return None
    if prop not in fields:
        hint = suggest(name, [f"{event}.{field}" for field in fields]) or f"declare it under `{event}`"
        context.problems.error("unknown-property", f"`{event}` has no `{prop}`", at, hint)
        return None
    found = fields[prop]
    if kinds is not None and found.kind not in kinds:
        wanted = " or ".join(k.value for k in sorted(kinds))
        message = f"`{name}` is {found.kind.value}, and {wanted} is needed"
        hint = suggest(name, [f"{event}.{f.name}" for f in fields.values() if f.kind in kinds])
        context.problems.error("type-mismatch", message, at, hint or f"declare a property that is {wanted}")
        return None
    return found


# ---- refunds and commission -----------------------------------------------------------------------------------------

_REFUND_HINT: Final = "such as `order_refunded takes back order_placed by order_id`, or with ` of amount` behind it"


def read_refunds(lines: Iterable[Node], context: Context) -> tuple[Refund, ...]:
    """The lines of `refunds` that could be read."""
    return tuple(found for line in lines if (found := _refund(line, context)) is not None)


def _refund(line: Node, context: Context) -> Refund | None:
    text = line.text if line.kind == "scalar" else ""
    match = re.fullmatch(rf"\s*({_NAME})\s+takes\s+back\s+({_NAME})\s+by\s+({_NAME})(?:\s+of\s+({_NAME}))?\s*", text)
    if match is None:
        message = f"{described(line)} does not say what takes back what"
        context.problems.error("bad-refund", message, line.span, _REFUND_HINT)
        return None
    told = len(context.problems.errors)
    if match[1] == match[2]:
        at = line.at(match.start(2), len(match[2]))
        message = f"`{match[1]}` cannot take back itself: nobody would ever have points of it"
        context.problems.error("bad-refund", message, at, _REFUND_HINT)
        return None
    for event in (1, 2):
        if event_named(line, match.start(event), match[event], context):
            _shared(line, match, match[event], context)
    if match[4] and len(context.problems.errors) == told:
        fields = context.vocabulary.events[match[1]].fields
        if match[4] not in fields or fields[match[4]].kind is not Kind.MONEY:
            at = line.at(match.start(4), len(match[4]))
            money = [name for name, field in fields.items() if field.kind is Kind.MONEY]
            message = f"`{match[1]}` has no amount of money `{match[4]}`"
            hint = suggest(match[4], money) or "leave ` of …` out: then all of it is taken back"
            context.problems.error("unknown-property", message, at, hint)
    if len(context.problems.errors) > told:
        return None
    return Refund(match[1], match[2], match[3], match[4] or "")


def _shared(line: Node, match: re.Match[str], event: str, context: Context) -> None:
    fields = context.vocabulary.events[event].fields
    if match[3] not in fields:
        at = line.at(match.start(3), len(match[3]))
        message = f"`{event}` has no `{match[3]}`"
        hint = suggest(match[3], fields) or f"declare it under `{event}`"
        context.problems.error("unknown-property", message, at, f"both events need it; {hint}")


def read_commission(node: Node, tiers: tuple[str, ...], context: Context) -> Commission | None:
    """`5% of order_placed.amount`, or a map with that as `share` and other shares by tier."""
    line = node.get("share") if node.kind == "map" else node
    if line is None:
        return None
    text = line.text if line.kind == "scalar" else ""
    match = re.fullmatch(rf"\s*([\d.]+\s*%)\s+of\s+({_NAME}\.{_NAME})\s*", text)
    share = words.share(match[1]) if match else None
    if match is None or not share:
        message = f"{described(line)} does not say what share of what"
        context.problems.error("bad-commission", message, line.span, "such as `5% of order_placed.amount`")
        return None
    found = property_named(line, match.start(2), match[2], context, frozenset({Kind.MONEY}))
    event, _, of = match[2].partition(".")
    by_tier: dict[str, Decimal] = {}
    listed = node.get("tiers") if node.kind == "map" else None
    for entry in listed.entries if listed is not None else ():
        other = words.share(entry.value.text) if entry.value.kind == "scalar" else None
        if entry.key not in tiers:
            unknown(context.problems, "tier", entry.key, entry.key_span, tiers)
        elif other is not None:
            by_tier[entry.key] = Decimal(entry.value.text.replace("%", "").strip()) / 100
    share_of = Decimal(match[1].replace("%", "").strip()) / 100
    return replace(Commission(share_of, event, of), times=by_tier) if found is not None else None
