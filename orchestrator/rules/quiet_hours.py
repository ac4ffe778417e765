"""Marketing goes out only while law's hours and the house's are open wherever the customer may be.

Law: the rows of the ruleset in force (`orchestrator/ruleset/hours.yaml`, each with its source), and custom among them.
47 CFR 64.1200(c)(1) knows no texts before 8 or after 21 at the called party's location, several states are narrower,
some countries have no Sundays and holidays. Every candidate place (of the address, the number's area, the account)
brings its rows: those of the whole country, and those of the region, or of "region unknown" where a country is divided.
Each is judged by the clock of every candidate zone, for an area code is only where a number was sold; all must be open.
House policy (`policies.quiet_hours`) comes on top: it may narrow, never widen.

Fail closed: an unknown country has a row of its own, the narrowest. With no zone at all, or one that tzdata does not
know, no text, no push and no call goes out whether or not a window is declared, and nothing else where one is. A
country without a row for texts has the house's hours only, one without a row for calls those of an unknown country,
and the inputs say so. Transactional messages are exempt, the answers to a customer's own text (ANSWERS) among them: who
writes STOP or HELP at night is awake, and a STOP is confirmed within five minutes (47 CFR 64.1200(a)(12)). Staff and
systems are at work: only a text or a push to staff is held back by the house's hours; a task that is a call to the
customer (`call: yes`) is judged by calling hours where the customer is, marketing or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta

from channels.base import Medium
from orchestrator.holiday import HOLIDAYS, known
from orchestrator.model import HoursRule, HouseHours, Json, Policies, Ruleset, Window
from orchestrator.rules import Place, Standing, Subject, Verdict, Zone, stamp, worked_out
from orchestrator.zones import HORIZON_DAYS, TZDATA, Open, local, next_open, open_until, zone

NAME = "quiet_hours"
ORDER = 70
REASONS: Mapping[str, str] = {
    "not_applicable": "Quiet hours are for customers, and this message is for staff or a system.",
    "transactional": "A transactional message ignores quiet hours.",
    "no_window": "Neither the ruleset nor the workspace has hours for this medium where the customer is.",
    "open": "The house's hours and the ruleset's are open in every candidate place and zone.",
    "quiet_hours": "It is outside the hours of the medium where the customer is, or may be: held, or refused.",
    "unknown_zone": "Where the customer is cannot be told: there is no time zone, or one of the candidates is unknown.",
    "window_never_opens": "The hours of the house and of all places and zones the customer may be in never meet.",
    "expired": "The window opens only when the message's time (`expire_after`) is over.",
}

_NOT_APPLICABLE = Verdict(NAME, "allow", "not_applicable")
_TRANSACTIONAL = Verdict(NAME, "allow", "transactional")
_NO_WINDOW = Verdict(NAME, "allow", "no_window")
_RINGS = frozenset({Medium.SMS, Medium.PUSH})  # media that make a noise in somebody's pocket
_VOICE = "voice"
_EVER = HORIZON_DAYS + 2  # days around now within which a row may matter
_DAY = timedelta(days=1)
_TERRITORIES = {  # ISO 3166 gives them letters of their own; the country's law holds there
    **dict.fromkeys(("AS", "GU", "MP", "PR", "UM", "VI"), "US"),  # 47 USC 153(58): "United States"
    **dict.fromkeys(("GF", "GP", "MQ", "RE", "YT"), "FR"),  # overseas departments
    **dict.fromkeys(("CC", "CX", "NF"), "AU"),
}


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Allow inside the hours, else hold until the exact instant at which they open, or deny."""
    medium, call = subject.medium, subject.call
    rings = call or medium in _RINGS
    if not call:
        if subject.addressee != "customer" and not rings:
            return _NOT_APPLICABLE
        if subject.purpose == "transactional":
            return _TRANSACTIONAL
    hours = policies.hours.get(medium)
    # A medium is its own name among the ruleset's; its `value` costs more than all the rest of this.
    law: str = _VOICE if call else medium if subject.addressee == "customer" else ""
    zones, places = standing.zones, standing.places
    if not places and standing.country is not None:
        places = (Place(standing.country, None, "address"),)
    found = worked_out(policies, now)
    key = (NAME, law, medium, zones, places)
    verdict = found.get(key)
    if verdict is None:
        verdict = found[key] = _verdict(policies, hours, law, rings, zones, places, now)
    if verdict.until is not None and subject.expires_at is not None and verdict.until >= subject.expires_at:
        inputs = {**verdict.inputs, "expires_at": stamp(subject.expires_at)}
        return Verdict(NAME, "deny", "expired", inputs=inputs)
    return verdict


def _verdict(
    policies: Policies,
    hours: HouseHours | None,
    law: str,
    rings: bool,
    zones: tuple[Zone, ...],
    places: tuple[Place, ...],
    now: datetime,
) -> Verdict:
    """The verdict for everybody of the same candidates: a batch has one `now`, and few sets of zones and places."""
    lawful = any(law in row.media for row in policies.ruleset.hours)
    if hours is None and not rings and not lawful:
        return _NO_WINDOW
    inputs: Json = {"zones": [{"name": z.name, "source": z.source} for z in zones]}
    unknown = [z.name for z in zones if zone(z.name) is None]
    if unknown or not zones:
        return Verdict(NAME, "deny", "unknown_zone", inputs={**inputs, "unknown": unknown})
    names = tuple(dict.fromkeys(z.name for z in zones))
    legal: list[tuple[Window, ...]] = []
    if lawful:
        legal = _law(policies.ruleset, law, places, _dates(names, now), inputs)
    windows = [*([(hours.window,)] if hours is not None else []), *legal]
    if not windows:
        return Verdict(NAME, "allow", "no_window", inputs=inputs)
    if hours is not None:
        inputs["window"] = _told(hours)
    inputs["tzdata"] = TZDATA
    if any(window.closed_on for several in windows for window in several):
        inputs["holidays"] = HOLIDAYS
    inputs["local"] = {
        name: wall.isoformat(timespec="minutes") for name in names if (wall := local(now, name)) is not None
    }
    return _when([(several, name) for several in dict.fromkeys(windows) for name in names], hours, rings, inputs, now)


def _when(items: Sequence[Open], hours: HouseHours | None, rings: bool, inputs: Json, now: datetime) -> Verdict:
    until = next_open(items, now)
    if until is None:
        return Verdict(NAME, "deny", "window_never_opens", inputs=inputs)
    closes = open_until(items, until) if rings or until > now else None
    if closes is not None:
        inputs["closes"] = stamp(closes)
    if until <= now:
        return Verdict(NAME, "allow", "open", inputs=inputs)
    inputs["next_open"] = stamp(until)
    if hours is not None and hours.then == "deny":
        return Verdict(NAME, "deny", "quiet_hours", inputs=inputs)
    return Verdict(NAME, "hold", "quiet_hours", until=until, inputs=inputs)


def _told(hours: HouseHours) -> Json:
    window = hours.window
    return {
        "open": window.open.isoformat("minutes"),
        "close": window.close.isoformat("minutes"),
        "days": sorted(window.days),
        "then": hours.then,
    }


# ---- law ------------------------------------------------------------------------------------------------------------


def _dates(names: Iterable[str], now: datetime) -> tuple[date, date]:
    """The first and the last local date that may matter, in any of the zones."""
    today = [wall.date() for name in names if (wall := local(now, name)) is not None]
    return min(today) - _DAY, max(today) + _EVER * _DAY


def _law(
    ruleset: Ruleset, medium: str, places: Sequence[Place], dates: tuple[date, date], inputs: Json
) -> list[tuple[Window, ...]]:
    """The windows of every row that binds in one of the places; the inputs say which rows, and where there are none."""
    found: list[tuple[Window, ...]] = []
    heard: list[str] = []
    without: list[str] = []
    for country, region in dict.fromkeys(_jurisdiction(place) for place in places) or [(None, None)]:
        rows = ruleset.hours_in(country, region, medium)
        if not rows and country is not None:
            without.append(country)
            if medium == _VOICE:  # fail closed: nobody knows that an hour is allowed there
                rows = ruleset.hours_in(None, None, medium)
        for row in (row for row in rows if _binds(row, dates)):
            found.append(_windows(row, country, region))
            heard.append(row.id)
    inputs["places"] = [{"country": p.country, "region": p.region, "source": p.source} for p in places]
    inputs["ruleset"] = ruleset.version
    inputs["rules"] = list(dict.fromkeys(heard))
    if without:
        inputs["without_rule"] = list(dict.fromkeys(without))
    return list(dict.fromkeys(found))


def _jurisdiction(place: Place) -> tuple[str | None, str | None]:
    parent = _TERRITORIES.get(place.country)
    return (parent, place.country) if parent is not None else (place.country or None, place.region)


def _binds(row: HoursRule, dates: tuple[date, date]) -> bool:
    return (row.since is None or row.since <= dates[1]) and (row.until is None or row.until >= dates[0])


def _windows(row: HoursRule, country: str | None, region: str | None) -> tuple[Window, ...]:
    """A row's windows within its term; before and behind it closes nothing. A known region has its own holidays."""
    calendar = f"{country}-{region}"
    windows = [
        replace(
            window,
            closed_on=calendar if window.closed_on and region and known(calendar) else window.closed_on,
            since=row.since,
            until=row.until,
        )
        for window in row.windows
    ]
    if row.since is not None:
        windows.append(Window(time(), time(), until=row.since - _DAY))
    if row.until is not None:
        windows.append(Window(time(), time(), since=row.until + _DAY))
    return tuple(windows)
