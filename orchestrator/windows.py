"""Sends that come due when nothing is sent, and waits for days that have passed: what a journey's own times tell.

The minutes of a week are the bits of a number: which of them are open is what the house's hours and the law's have in
common. A time is known from a trigger or a `wait_until` on, over waits of a known length, until something takes a time
that is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Final

from channels.base import Medium
from orchestrator.journey import Journey, ScheduleTrigger
from orchestrator.model import HouseHours, Policies, Window
from orchestrator.problems import Problems
from orchestrator.steps import Step
from orchestrator.steps.first_of import FirstOf
from orchestrator.steps.sending import SendStep
from orchestrator.steps.wait import Wait
from orchestrator.steps.wait_for import WaitFor
from orchestrator.steps.wait_until import Clock, WaitUntil
from orchestrator.terms import Ref
from orchestrator.trigger import DateTrigger, RiskTrigger

_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_ALL: Final = (1 << _WEEK) - 1
_EVERY: Final = frozenset(range(7))
_NAMES: Final = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


@dataclass(frozen=True, slots=True)
class _Due:
    """When something comes due: at a minute of the day, on weekdays (0 Monday)."""

    days: frozenset[int]
    minute: int

    @classmethod
    def at(cls, days: frozenset[int], at: time) -> _Due:
        return cls(days, at.hour * 60 + at.minute)

    def later(self, days: int, minutes: int) -> _Due:
        over, minute = divmod(self.minute + minutes, _DAY)
        return _Due(frozenset((day + days + over) % 7 for day in self.days), minute)

    def __str__(self) -> str:
        return f"{self.minute // 60:02}:{self.minute % 60:02}{_on(self.days)}"


def tell_closed_windows(
    journey: Journey,
    policies: Policies,
    marketing: Callable[[SendStep], bool],
    countries: frozenset[str],
    problems: Problems,
) -> None:
    """Marketing that comes due at a time at which it is not sent, and does not wait until it is. `countries`: where
    all whom the journey is for are; empty where that is not known."""
    for send, due in _timed(journey):
        if send.goes_elsewhere or not marketing(send):
            continue
        house = policies.hours.get(send.medium)
        places = countries or frozenset([""])
        if all(_shut(house, _lawful(policies, send.medium, place), due, send) for place in places):
            hours = _hours(house, policies, send.medium, countries, due, send)
            message = f"this comes due at {due} and is never sent: {hours}"
            holds = house is None or house.then == "hold"
            hint = "let it come due within the hours" + (", or expire later" if holds else "")
            problems.warning("never-sent", message, send.span, hint)


def _hours(
    house: HouseHours | None,
    policies: Policies,
    medium: Medium,
    countries: frozenset[str],
    due: _Due,
    send: SendStep,
) -> str:
    """Whose hours it is that are closed, and what they are."""
    if house is not None and _shut(house, (), due, send):
        return f"the house's hours for {medium} are {_said(house.window)}"
    place = min(countries)
    rows = " and ".join(_said(window) for windows in _lawful(policies, medium, place) for window in windows)
    both = f", the house's {_said(house.window)}" if house is not None else ""
    return f"the hours for {medium} in {place} are {rows or 'none'} (ruleset){both}"


# ---- when it comes due ----------------------------------------------------------------------------------------------


def _timed(journey: Journey) -> Iterator[tuple[SendStep, _Due]]:
    """Sends of which it is known at what time of day, on which weekdays, they come due."""
    moments = {due for trigger in journey.triggers if (due := _moment(trigger)) is not None}
    begins = next(iter(moments)) if len(moments) == 1 and len(journey.triggers) == 1 else None
    targets = {target for step in journey.every_step() for target in step.jumps()}
    waiting: list[tuple[Sequence[Step], _Due | None]] = [(journey.steps, begins)]
    while waiting:
        steps, due = waiting.pop()
        for step in steps:
            due = None if step.id in targets else due  # come to from elsewhere, at another time
            first = step.first_of[0] if isinstance(step, FirstOf) else step
            if isinstance(first, SendStep) and due is not None:
                yield first, due
            waiting += [(body, None if step.waits else due) for body in step.bodies().values()]
            due = _behind(step, due)


def _moment(trigger: object) -> _Due | None:
    if isinstance(trigger, DateTrigger | RiskTrigger):
        return _Due.at(_EVERY, trigger.at)
    # By one clock for all, it is any time of day where somebody is.
    if isinstance(trigger, ScheduleTrigger) and trigger.cron is not None and trigger.timezone == "recipient":
        minute, hour, *rest = trigger.cron.split()
        if minute.isdigit() and hour.isdigit() and rest[:2] == ["*", "*"]:
            return _Due(_EVERY, int(hour) * 60 + int(minute))
    return None


def _behind(step: Step, due: _Due | None) -> _Due | None:
    """When whoever came to a step at a known time leaves it; None: not known."""
    if isinstance(step, WaitUntil):
        clock = step.wait_until
        return _Due.at(frozenset(clock.days), clock.at) if isinstance(clock, Clock) else None
    if due is None or step.sends() or step.bodies():
        return None
    if isinstance(step, Wait):
        length = step.wait
        if length.months or length.business:
            return _Due(_EVERY, due.minute) if not length.seconds else None
        return None if length.seconds % 60 else due.later(length.days, length.seconds // 60)
    return None if step.waits else due


# ---- what is open ---------------------------------------------------------------------------------------------------


def _shut(house: HouseHours | None, law: Sequence[Sequence[Window]], due: _Due, send: SendStep) -> bool:
    """Whether all stays closed from whenever it comes due, as long as it is held."""
    if house is None and not law:
        return False
    open_ = _minutes([house.window]) if house is not None else _ALL
    for windows in law:
        open_ &= _minutes(windows)
    lasts = 1
    if house is None or house.then == "hold":
        expires = send.expire_after.exact if send.expire_after is not None else None
        lasts = min(_WEEK, -(-expires // timedelta(minutes=1))) if expires is not None else _WEEK
    return not any(_turned(open_, day * _DAY + due.minute) & ((1 << lasts) - 1) for day in due.days)


def _minutes(windows: Sequence[Window]) -> int:
    """The minutes of a week at which one of these is open."""
    found = 0
    for window in windows:
        opens, closes = (at.hour * 60 + at.minute for at in (window.open, window.close))
        length = (closes - opens) % _DAY or _DAY
        for day in window.days:
            found |= _turned((1 << length) - 1, -(day * _DAY + opens))
    return found


def _turned(minutes: int, by: int) -> int:
    """The week that begins so many minutes later."""
    by %= _WEEK
    return ((minutes >> by) | (minutes << (_WEEK - by))) & _ALL


def _lawful(policies: Policies, medium: Medium, country: str) -> list[tuple[Window, ...]]:
    """The windows of each row that binds in all of a country, for good."""
    rows = policies.ruleset.hours_in(country, "*", medium.value) if country else ()
    return [row.windows for row in rows if row.since is None and row.until is None]


def _said(window: Window) -> str:
    return f"{window.open:%H:%M} to {window.close:%H:%M}{_on(window.days)}"


def _on(days: frozenset[int]) -> str:
    """Nothing for every day."""
    if days == _EVERY:
        return ""
    if days == frozenset(range(5)):
        return " on weekdays"
    named = [_NAMES[day] for day in sorted(days)]
    return " on " + ", ".join(named[:-1]) + (" and " if len(named) > 1 else "") + named[-1]


# ---- days that have passed ------------------------------------------------------------------------------------------


def tell_passed(journey: Journey, problems: Problems) -> None:
    """Waits until a day that is before the one on which everybody comes in."""
    if not journey.triggers or not all(isinstance(trigger, DateTrigger) for trigger in journey.triggers):
        return
    triggers = [trigger for trigger in journey.triggers if isinstance(trigger, DateTrigger)]
    # Behind an event the date may be another: a contract is renewed.
    heard = {later for step in journey.every_step() if isinstance(step, WaitFor) for later in journey.ahead(step.id)}
    for step in journey.every_step():
        if not isinstance(step, WaitUntil) or isinstance(step.wait_until, Clock) or step.id in heard:
            continue
        offset = step.wait_until
        ref = offset.expression.root if offset.expression is not None else None
        amount = offset.amount
        if not isinstance(ref, Ref) or amount.months or amount.business or amount.seconds:
            continue
        days = -amount.days if offset.side == "before" else amount.days
        if all(_is_of(ref, trigger) and days < trigger.offset_days for trigger in triggers):
            begins = max(trigger.offset_days for trigger in triggers)
            when = f"{abs(begins)} days {'before' if begins < 0 else 'after'}" if begins else "on"
            message = f"nobody waits here: the journey begins {when} {offset.field}, when this day is over"
            hint = "name a day behind the one of the trigger, or take the step out"
            problems.warning("never-waits", message, step.span, hint)


def _is_of(ref: Ref, trigger: DateTrigger) -> bool:
    """Whether a field is what a trigger counts from, in whole days."""
    if trigger.every_year or trigger.offset_months or trigger.business_days or ref.name != trigger.field_name:
        return False
    return ref.holder == trigger.source and (ref.holder not in ("record", "event") or ref.of == trigger.of)
