"""Wait until a time of day, or until a day that hangs on a date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import ClassVar

from orchestrator.condition import Condition, Expression
from orchestrator.dates import day_after, next_wall
from orchestrator.reading import Context, Days, Offset, option
from orchestrator.source import Node
from orchestrator.steps import Go, Here, Outcome, Stay, Step, Value
from orchestrator.zones import instant

EVERY_DAY = Days(frozenset(range(7)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The next time the clock shows this, on one of these days."""

    at: time = option("the time of day: 09:00", key="time")
    days: Days = option("on which days: weekdays, mon, [mon, thu]", default=EVERY_DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil(Step):
    """Waits until a time of day, or until a number of days before or after a date.

    Both are read in the customer's (or account's) own zone. A time of day is the next one there is, today's if it is
    still to come; where the clock skips it, the first moment after the gap. A day that has passed already is not waited
    for. A date that changes is planned anew; while the field is empty, the journey waits here for it to be filled in.

    ```yaml
    - wait_until: { time: 09:00, days: weekdays }
    - wait_until: 45 days before contract.ends
    - wait_until: 2 business days after invoice.due
      at: 10:30
    ```
    """

    keyword = "wait_until"
    waits: ClassVar[bool] = True

    wait_until: Clock | Offset = option("{ time, days }, or a number of days before or after a date field")
    at: time | None = option("the time of that day; without it the field's own, or 09:00 for a date", default=None)

    def check(self, node: Node, context: Context) -> None:
        if isinstance(self.wait_until, Clock):
            if self.at is not None and (at := node.entry("at")) is not None:
                context.problems.error("unused-at", "`at` goes with a date", at.key_span, "put the time into `time`")
            return
        offset = self.wait_until
        if offset.every_year:
            hint = f"write `{offset.amount} {offset.side} {offset.field}`" if offset.side != "on" else "name a date"
            message = "a wait ends once: `every year` begins journeys"
            context.problems.error("every-year-wait", message, offset.span, hint)
        if offset.amount.seconds:
            hint = "count in days, and say the time with `at: 10:30`"
            context.problems.error("hours-from-date", "a day is found by counting days", offset.span, hint)

    def asks(self) -> tuple[Condition | Expression, ...]:
        return self.watches()

    def watches(self) -> tuple[Condition | Expression, ...]:
        if isinstance(self.wait_until, Clock) or self.wait_until.expression is None:
            return ()
        return (self.wait_until.expression,)

    def arrive(self, here: Here) -> Outcome:
        if isinstance(self.wait_until, Clock):
            return self._clock(self.wait_until, here, here.now)
        return self._day(self.wait_until, here)

    def wake(self, here: Here) -> Outcome:
        if isinstance(self.wait_until, Clock):
            return self._clock(self.wait_until, here, here.enrollment.since)
        return self._day(self.wait_until, here)

    def _clock(self, clock: Clock, here: Here, since: datetime) -> Outcome:
        until = next_wall(since, clock.at, clock.days, here.zone())
        if until <= here.now:
            return Go(note={"time": f"{clock.at:%H:%M}"}, what="woke")
        return Stay(until, note={"until": until.isoformat(), "zone": here.zone().key})

    def _day(self, offset: Offset, here: Here) -> Outcome:
        assert offset.expression is not None
        value = here.value(offset.expression)
        note = {"field": offset.field, "value": _shown(value)}
        if value is None:
            return Stay(None, {"value": None}, note=note | {"because": "the field is empty"})
        until = self._instant(offset, value, here)
        if until <= here.now:
            return Go(note=note | {"until": until.isoformat()}, what="woke")
        note |= {"until": until.isoformat(), "zone": here.zone().key}
        return Stay(until, {"value": _shown(value)}, note=note)

    def _instant(self, offset: Offset, value: Value, here: Here) -> datetime:
        tz = here.zone()
        own = value.astimezone(tz) if isinstance(value, datetime) else None
        day = own.date() if own is not None else date.fromisoformat(str(value))
        day = day_after(day, offset.amount, -1 if offset.side == "before" else 1)
        return instant(day, self.at or (own.time() if own is not None else time(9)), tz)


def _shown(value: Value) -> str | None:
    return None if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
