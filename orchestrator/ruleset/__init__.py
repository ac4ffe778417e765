"""Law and custom as data: when a medium may be used, and what consent marketing needs. No legal advice.

Two texts, `hours.yaml` and `consent.yaml`, are shipped in this package; `project` lays them beside a workspace's own
files, `apply` stores them like those, and what was applied is what a worker judges by. Every row carries its source,
how sure it is, and the day on which somebody last looked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from channels.base import Medium
from orchestrator import words
from orchestrator.model import (
    CONSENT_BASES,
    LEGAL_FORMS,
    ConsentRule,
    HoursRule,
    HouseHours,
    LegalCap,
    Policies,
    Ruleset,
    Vocabulary,
    Window,
)
from orchestrator.problems import Problems, Span
from orchestrator.reading import Context, Days, Hours, option, read, read_parts
from orchestrator.source import Node, parse

HOURS: Final = "ruleset/hours.yaml"
CONSENT: Final = "ruleset/consent.yaml"
FILES: Final = (HOURS, CONSENT)
"""Where the two texts stand among a project's files; in this package they have the same names."""

Confidence = Literal["statute", "vendor", "practice"]
_UNKNOWN: Final = "unknown"


# ---- what the files look like ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """Hours on some days of the week."""

    days: Days = option("the days it opens on", default=frozenset(range(7)))
    open: Hours = option("from and to by the recipient's clock, such as 08:00-20:00")


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursRow:
    """When a medium may be used, in one country or region."""

    id: str = option("a name that stays, for it stands in every decision's line of the log")
    country: str = option("two letters, or `unknown`: where the country is not known")
    region: str | None = option(
        "two or three letters or digits, or `unknown`: where the region is not known; left out, the whole country",
        default=None,
    )
    media: tuple[Literal["sms", "voice", "email", "push", "mail"], ...] = option("sms, voice, …")
    windows: tuple[WindowRow, ...] = option("open when any of them is; `[]`: never")
    holidays: Literal["open", "closed"] = option("closed: no window opens on a public holiday", default="open")
    cap: str | None = option("such as `3 in 24 hours`: marketing messages of one topic", default=None)
    since: date | None = option("the first day it binds on", default=None)
    until: date | None = option("the last day it binds on", default=None)
    source: str = option("the law, the page or the table it is taken from")
    confidence: Confidence = option("statute, vendor (vendors' tables only), or practice")
    as_of: date = option("when somebody last looked")
    note: str = option("what a reader should know", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRow:
    """What marketing on a medium needs in a country."""

    id: str = option("a name that stays, for it stands in every decision's line of the log")
    country: str | None = option("two letters; left out, every country that no other row names", default=None)
    media: tuple[Literal["email", "sms", "push", "mail", "voice", "audience"], ...] = option("email, sms, …")
    forms: tuple[str, ...] = option("legal forms: individual, sole_trader, corporate", default=LEGAL_FORMS)
    bases: tuple[str, ...] = option("the grounds that suffice", default=())
    confirmed: bool = option("true: a yes must have been confirmed (double opt-in)", default=False)
    without: bool = option("true: no consent is needed, only that nobody objected", default=False)
    lapses: Mapping[str, int] = option("grounds that end by themselves: after how many months", factory=dict)
    since: date | None = option("the first day it binds on", default=None)
    until: date | None = option("the last day it binds on", default=None)
    source: str = option("the law, the page or the table it is taken from")
    confidence: Confidence = option("statute, vendor (vendors' tables only), or practice")
    as_of: date = option("when somebody last looked")
    note: str = option("what a reader should know", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursFile:
    """Legal and customary hours."""

    version: str = option("the day of the last change; it grows")
    rules: tuple[Node, ...] = option("the rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentFile:
    """What consent marketing needs, and from which age on somebody gives it alone."""

    version: str = option("the day of the last change; it grows")
    ages: Mapping[str, int] = option("by country, `*` for all others: consents alone from this age on")
    rules: tuple[Node, ...] = option("the rows")


# ---- reading them ---------------------------------------------------------------------------------------------------

_read: dict[tuple[str, str], Ruleset] = {}


def read_ruleset(hours: str, consent: str, problems: Problems) -> Ruleset | None:
    """The ruleset of two texts; None with every mistake in them told. Parsed once per content."""
    found = _read.get((hours, consent))
    if found is not None:
        return found
    mine = Problems()
    when = _rows(HOURS, HoursFile, HoursRow, hours, mine)
    needs = _rows(CONSENT, ConsentFile, ConsentRow, consent, mine)
    windows = tuple(r for row, node in when.pairs if (r := _hours_rule(row, node, mine)) is not None)
    grounds = tuple(g for row, node in needs.pairs if (g := _consent_rule(row, node, mine)) is not None)
    _ages(needs.ages, needs.node, mine)
    if not mine.errors:
        _nobody_forgotten(windows, when.node, mine)
    problems.found.extend(mine.found)
    if mine.errors:
        return None
    version = _version(when.version, needs.version, hours, consent)
    found = Ruleset(version, windows, grounds, needs.ages)
    if len(_read) >= 8:
        _read.clear()
    _read[(hours, consent)] = found
    return found


def _version(hours: str, consent: str, *texts: str) -> str:
    """`2026-11-21+1a2b3c4d`: the newer of the two, and the first digits of the hash of both texts."""
    sha = hashlib.sha256()
    for text in texts:
        sha.update(hashlib.sha256(text.encode()).digest())
    return f"{max(hours, consent)}+{sha.hexdigest()[:8]}"


@dataclass(slots=True)
class _File:
    """What was read of one text: each row with its node."""

    node: Node | None
    version: str
    pairs: list[tuple[Any, Node]]
    ages: Mapping[str, int]


def _rows(path: str, form: type[Any], row: type[Any], text: str, problems: Problems) -> _File:
    node = parse(text, path, problems)
    if node is None:
        return _File(None, "", [], {})
    context = Context(problems, _NOTHING)
    parts = read_parts(form, node, context)
    version = parts.get("version", "")
    said = node.get("version")
    if version and said is not None and words.day(version) is None:
        problems.error("bad-ruleset", f"the version `{version}` is no date", said.span, "such as `2026-11-21`")
    pairs = [(found, each) for each in parts.get("rules", ()) if (found := read(row, each, context)) is not None]
    _no_twins(pairs, problems)
    return _File(node, version, pairs, parts.get("ages", {}))


def _no_twins(pairs: Iterable[tuple[Any, Node]], problems: Problems) -> None:
    seen: dict[str, Span] = {}
    for row, node in pairs:
        at = _at(node, "id")
        if row.id in seen:
            hint = "a decision names the row it stands on: give each an id of its own"
            message = f"the id `{row.id}` stands here a second time; the first is on line {seen[row.id].line}"
            problems.error("bad-ruleset", message, at, hint)
        seen.setdefault(row.id, at)


def _nobody_forgotten(rules: Iterable[HoursRule], node: Node | None, problems: Problems) -> None:
    """Where the country or the region is not known there must be a row: without one, nothing would be closed there."""
    said = node.entry("rules") if node is not None else None
    at = said.key_span if said is not None else Span.whole(HOURS)
    spoken = {(rule.country, medium) for rule in rules for medium in rule.media}
    for medium in sorted({medium for _, medium in spoken}):
        if (None, medium) not in spoken:
            hint = f"add a row with `country: {_UNKNOWN}` for it"
            problems.error("bad-ruleset", f"nothing says when {medium} may be used in an unknown country", at, hint)
    regions = {(r.country, r.region, medium) for r in rules for medium in r.media}
    for country, medium in sorted({(c, m) for c, region, m in regions if c and region not in (None, "*")}):
        if (country, None, medium) not in regions:
            hint = f"add a row with `country: {country}, region: {_UNKNOWN}` for it"
            message = f"nothing says when {medium} may be used in {country} where the region is not known"
            problems.error("bad-ruleset", message, at, hint)


def _at(node: Node, key: str) -> Span:
    found = node.get(key)
    return found.span if found is not None else node.span


def _country(text: str | None, node: Node, problems: Problems) -> bool:
    if text is None or re.fullmatch(r"[A-Z]{2}", text):
        return True
    problems.error("bad-ruleset", f"`{text}` is no country", _at(node, "country"), "two capital letters, such as `DE`")
    return False


def _term(row: Any, node: Node, problems: Problems) -> None:
    if row.since is not None and row.until is not None and row.until < row.since:
        problems.error("bad-ruleset", "it would end before it begins", _at(node, "until"), "swap `since` and `until`")


def _hours_rule(row: HoursRow, node: Node, problems: Problems) -> HoursRule | None:
    country = None if row.country == _UNKNOWN else row.country
    region = "*" if row.region is None else None if row.region == _UNKNOWN else row.region
    good = _country(country, node, problems)
    if region not in (None, "*") and (country is None or not re.fullmatch(r"[A-Z0-9]{1,3}", region)):
        hint = "as in ISO 3166-2, without the country: `FL`; or `unknown`"
        problems.error("bad-ruleset", f"`{row.region}` is no region", _at(node, "region"), hint)
        good = False
    _term(row, node, problems)
    closed = row.holidays == "closed"
    if closed and country is None:
        hint = "an unknown country has no holidays that are known: leave `holidays` out"
        problems.error("bad-ruleset", "which country's holidays?", _at(node, "holidays"), hint)
        good = False
    calendar = "" if not closed else f"{country}-{region}" if region not in (None, "*") else str(country)
    cap = _cap(row.cap, node, problems)
    if not good:
        return None
    windows = tuple(Window(*w.open, w.days, calendar) for w in row.windows)
    return HoursRule(
        id=row.id,
        country=country,
        region=region,
        media=frozenset(row.media),
        windows=windows,
        source=row.source,
        confidence=row.confidence,
        as_of=row.as_of,
        cap=cap,
        since=row.since,
        until=row.until,
        note=row.note,
    )


def _cap(text: str | None, node: Node, problems: Problems) -> LegalCap | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,3})\s+in\s+(.+)", text.strip())
    within = words.duration(match[2]) if match else None
    if match is None or within is None or not within.exact:
        problems.error("bad-ruleset", f"`{text}` is no cap", _at(node, "cap"), "such as `3 in 24 hours`")
        return None
    return LegalCap(int(match[1]), within.exact)


def _consent_rule(row: ConsentRow, node: Node, problems: Problems) -> ConsentRule | None:
    good = _country(row.country, node, problems)
    _term(row, node, problems)
    known = (("forms", row.forms, LEGAL_FORMS), ("bases", row.bases, CONSENT_BASES), ("lapses", row.lapses, row.bases))
    for key, said, names in known:
        for word in said:
            if word not in names:
                hint = "one of: " + ", ".join(f"`{n}`" for n in names)
                problems.error("bad-ruleset", f"`{word}` cannot stand in `{key}`", _at(node, key), hint)
                good = False
    if any(months < 1 for months in row.lapses.values()):
        problems.error("bad-ruleset", "a ground lasts at least a month", _at(node, "lapses"), "whole months")
    if not row.bases and not row.without:
        hint = "name the `bases` that suffice, or say `without: true`"
        problems.error("bad-ruleset", "nothing would ever suffice", _at(node, "id"), hint)
    if not good:
        return None
    return ConsentRule(
        id=row.id,
        country=row.country,
        media=frozenset(row.media),
        forms=frozenset(row.forms),
        bases=frozenset(row.bases),
        source=row.source,
        confidence=row.confidence,
        as_of=row.as_of,
        confirmed=row.confirmed,
        without=row.without,
        lapses=dict(row.lapses),
        since=row.since,
        until=row.until,
        note=row.note,
    )


def _ages(ages: Mapping[str, int], node: Node | None, problems: Problems) -> None:
    if node is None or not ages:
        return
    at = _at(node, "ages")
    if "*" not in ages:
        hint = 'say from which age on somebody consents alone anywhere else: `"*": 16`'
        problems.error("bad-ruleset", "countries that are not named have no age", at, hint)
    for country, age in ages.items():
        if not (country == "*" or re.fullmatch(r"[A-Z]{2}", country)) or not 0 <= age <= 25:
            problems.error("bad-ruleset", f"`{country}: {age}` is no country and age", at, "such as `DE: 16`")


# ---- the house's hours beside them -----------------------------------------------------------------------------------

_WEEK: Final = 7 * 1440  # minutes
_SHOWN: Final = 6


def check_house_hours(
    ruleset: Ruleset, hours: Mapping[Medium, HouseHours], node: Node | None, problems: Problems
) -> None:
    """Warns of house hours that never meet the ruleset's somewhere: nothing could ever be sent there.

    `node`: what stands under `policies.quiet_hours`.
    """
    for medium, house in hours.items():
        here = node.get(medium.value) if node is not None else None
        places = _places(ruleset, medium)
        never = [place for place in places if not _ever_open(house.window, ruleset.hours_in(*place, medium.value))]
        if not never or here is None:
            continue
        said = here.get("open") or here
        shown = ", ".join(_named(*place) for place in never[:_SHOWN])
        more = f" and {len(never) - _SHOWN} more" if len(never) > _SHOWN else ""
        where = "anywhere the ruleset knows" if len(never) == len(places) else f"in {shown}{more}"
        message = f"these hours never meet the legal ones {where}: no {medium} could ever go out there"
        hint = "widen them until they meet; the legal hours come first, and no house hours widen them"
        problems.warning("hours-never-meet", message, said.span, hint)


def _places(ruleset: Ruleset, medium: Medium) -> list[tuple[str | None, str | None]]:
    """Every place that has rows of its own; a divided country's whole is none."""
    named = {(row.country, row.region) for row in ruleset.hours if medium.value in row.media}
    divided = {country for country, region in named if region != "*"}
    found = {(c, r) for c, r in named if r != "*" or c not in divided}
    return sorted(found, key=lambda place: (place[0] or "~", place[1] or "~"))


def _named(country: str | None, region: str | None) -> str:
    if country is None:
        return "an unknown country"
    return country if region == "*" else f"{country}-{region}" if region else f"{country} (region unknown)"


def _ever_open(house: Window, rows: Iterable[HoursRule]) -> bool:
    """Whether there is a minute of the week in which all are open, holidays apart; rows that end are not counted."""
    items = [(house,), *(row.windows for row in rows if row.until is None)]
    openings = [start for windows in items for window in windows for start, _ in _stretches(window)]
    return any(all(_open_in_week(windows, minute) for windows in items) for minute in openings)


def _stretches(window: Window) -> list[tuple[int, int]]:
    """(minute of the week it opens in, how many minutes it lasts)."""
    opens, closes = (at.hour * 60 + at.minute for at in (window.open, window.close))
    return [(day * 1440 + opens, (closes - opens) % 1440 or 1440) for day in window.days]


def _open_in_week(windows: Iterable[Window], minute: int) -> bool:
    return any((minute - start) % _WEEK < length for window in windows for start, length in _stretches(window))


_NOTHING: Final = Vocabulary("", "UTC", "EUR", {}, "en", {}, {}, {}, {}, {}, {}, Policies())
