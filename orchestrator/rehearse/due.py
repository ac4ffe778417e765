"""When a simulation has to look again: the soonest of all that time alone brings about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any, Final

import sqlalchemy as sa

from orchestrator import play
from orchestrator.journey import AtTrigger, DateTrigger, RiskTrigger, ScheduleTrigger, SegmentTrigger, StageTrigger
from orchestrator.project import Project
from orchestrator.rehearse.ahead import NIGHT, Calendar, daily
from orchestrator.store import triggers as entering
from orchestrator.store.database import Store
from orchestrator.store.tables import batch, enrollment, loyalty
from orchestrator.zones import instant, zone

_DAY: Final = timedelta(days=1)
_BY_CALENDAR: Final = (AtTrigger, DateTrigger, RiskTrigger, ScheduleTrigger)


@dataclass
class Due:
    """Looks ahead from a simulation's present. `ranks`: whether the nightly ranking is asked for."""

    store: Store
    project: Project
    until: datetime
    ranks: bool
    _zones: set[str] = field(default_factory=set)
    _calendar: Calendar = field(init=False)
    _fires: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _hourly: bool = False

    def __post_init__(self) -> None:
        with self.store.read() as conn:
            stated = {name for unit in ("customer", "account") for name in entering.zones_present(conn, unit)}
        self._learn(stated)

    def came_in(self, kind: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Rows that were taken in now."""
        if kind in ("customers", "accounts"):
            self._learn({str(row.get("timezone") or "") for row in rows})

    def _learn(self, stated: set[str]) -> None:
        known = {name for name in stated if zone(name) is not None} | {self.project.vocabulary.timezone}
        if known - self._zones:
            self._zones |= known
            self._calendar = Calendar(self.project.vocabulary.timezone, tuple(sorted(self._zones)), self.until + _DAY)
            self._fires.clear()

    def is_night(self, now: datetime) -> bool:
        """Whether the nightly ranking is due: the first look of a night at or behind its hour."""
        if not self.ranks:
            return False
        tz = zone(self.project.vocabulary.timezone)
        assert tz is not None
        today = now.astimezone(tz).date()
        return instant(today, NIGHT, tz) <= now < instant(today, NIGHT, tz) + timedelta(hours=1)

    def next(self, now: datetime) -> datetime:
        """The soonest instant after `now`, `until` at the latest."""
        found = [self.until, *self._waits(now), *self._fired(now), *self._counts(now)]
        home = (self.project.vocabulary.timezone,)
        if self.ranks:
            found.append(daily(NIGHT, home, now))
        if self._watched():
            found.append(now + timedelta(seconds=1))
        return min(found)

    def _watched(self) -> bool:
        return any(isinstance(t, SegmentTrigger) for j in self.project.journeys.values() for t in j.triggers) or any(
            j.watched() for j in self.project.journeys.values()
        )

    def _waits(self, now: datetime) -> list[datetime]:
        """When sleepers wake, messages are due, points count or expire, tiers are looked at."""
        asked = [
            sa.select(sa.func.min(enrollment.c.wake_at)).where(
                enrollment.c.ended_at.is_(None), enrollment.c.wake_at > now
            ),
            sa.select(sa.func.min(batch.c.due_at)).where(batch.c.done_at.is_(None), batch.c.due_at > now),
        ]
        if self.project.program.classes:
            asked += [sa.select(sa.func.min(c)).where(c > now) for c in (loyalty.c.points_due, loyalty.c.tier_due)]
        with self.store.read() as conn:
            row = conn.execute(sa.select(*(query.scalar_subquery() for query in asked))).one()
        return [at for at in row if at is not None]

    def _fired(self, now: datetime) -> list[datetime]:
        """When triggers fire by the calendar."""
        found = []
        for journey in self.project.journeys.values():
            for trigger in journey.triggers:
                if isinstance(trigger, StageTrigger) and trigger.stalled is not None:
                    found.append(now + timedelta(seconds=1))
                elif isinstance(trigger, _BY_CALENDAR):
                    key = (journey.name, trigger.key)
                    known = self._fires.get(key)
                    if known is None or known <= now:
                        known = self._fires[key] = self._calendar.next(trigger, now)
                    found.append(known)
        return found

    def _counts(self, now: datetime) -> list[datetime]:
        """When the programme has something to do that stands in nobody's row: draws open and close, and each midnight
        challenges are looked at."""
        programs = self.project.program.classes.values()
        draws = [at for p in programs for d in p.draws for at in play.times_of(d, self.project.vocabulary) if at]
        found = [at for at in draws if at > now]
        if any(p.challenges for p in programs):
            found.append(daily(time(), (self.project.vocabulary.timezone,), now))
        return found
