"""Marketing goes out only while the house's window for the medium is open wherever the customer may be.

House policy (`policies.quiet_hours`), under which the law's own windows will be heard too: 47 CFR 64.1200(c)(1) knows
no texts before 8 or after 21 at the called party's location, several states are narrower. The location is every
candidate zone (stated, of the address, of the number's area, of the account), and all of them must be open: an area
code is only where a number was sold. The window is the one `now` stands in, [open, close) on the local wall clock.

Fail closed: with no zone at all, or one that tzdata does not know, no text and no push goes out whether or not a
window is declared, and nothing else where one is. Transactional messages ignore house hours. Staff and systems are at
work; only a text or a push to staff is held back like a customer's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from channels.base import Medium
from orchestrator.model import HouseHours, Json, Policies
from orchestrator.rules import Standing, Subject, Verdict, Zone, stamp, worked_out
from orchestrator.zones import next_open, zone

NAME = "quiet_hours"
ORDER = 70
REASONS: Mapping[str, str] = {
    "not_applicable": "House hours are for customers, and this message is for staff or a system.",
    "transactional": "A transactional message ignores the house's hours.",
    "no_window": "The workspace declares no hours for this medium.",
    "open": "The window is open in every candidate zone.",
    "quiet_hours": "It is outside the hours of the medium where the customer is, or may be: held, or refused.",
    "unknown_zone": "Where the customer is cannot be told: there is no time zone, or one of the candidates is unknown.",
    "window_never_opens": "The customer's candidate zones lie so far apart that the window is never open in all.",
    "expired": "The window opens only when the message's time (`expire_after`) is over.",
}

_NOT_APPLICABLE = Verdict(NAME, "allow", "not_applicable")
_TRANSACTIONAL = Verdict(NAME, "allow", "transactional")
_NO_WINDOW = Verdict(NAME, "allow", "no_window")
_RINGS = frozenset({Medium.SMS, Medium.PUSH})  # media that make a noise in somebody's pocket


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Allow inside the window, else hold until the exact instant at which it opens, or deny."""
    rings = subject.medium in _RINGS
    if subject.addressee != "customer" and not rings:
        return _NOT_APPLICABLE
    if subject.purpose == "transactional":
        return _TRANSACTIONAL
    hours = policies.hours.get(subject.medium)
    if hours is None and not rings:
        return _NO_WINDOW
    known = worked_out(policies, now)
    key = (NAME, subject.medium, standing.zones)
    verdict = known.get(key) or known.setdefault(key, _verdict(hours, standing.zones, now))
    if verdict.until is not None and subject.expires_at is not None and verdict.until >= subject.expires_at:
        inputs = {**verdict.inputs, "expires_at": stamp(subject.expires_at)}
        return Verdict(NAME, "deny", "expired", inputs=inputs)
    return verdict


def _verdict(hours: HouseHours | None, zones: tuple[Zone, ...], now: datetime) -> Verdict:
    """The verdict for everybody of the same candidate zones: a batch has one `now`, and few sets of zones."""
    inputs: Json = {"zones": [{"name": z.name, "source": z.source} for z in zones]}
    unknown = [z.name for z in zones if zone(z.name) is None]
    if unknown or not zones:
        return Verdict(NAME, "deny", "unknown_zone", inputs={**inputs, "unknown": unknown})
    if hours is None:
        return Verdict(NAME, "allow", "no_window", inputs=inputs)
    window = hours.window
    inputs["window"] = {
        "open": window.open.isoformat("minutes"),
        "close": window.close.isoformat("minutes"),
        "days": sorted(window.days),
        "then": hours.then,
    }
    until = next_open([(window, name) for name in dict.fromkeys(z.name for z in zones)], now)
    if until is None:
        return Verdict(NAME, "deny", "window_never_opens", inputs=inputs)
    if until <= now:
        return Verdict(NAME, "allow", "open", inputs=inputs)
    inputs["next_open"] = stamp(until)
    if hours.then == "deny":
        return Verdict(NAME, "deny", "quiet_hours", inputs=inputs)
    return Verdict(NAME, "hold", "quiet_hours", until=until, inputs=inputs)
