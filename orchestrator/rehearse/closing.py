"""When hours close, for those whom a simulation is about: what falls due shortly before is judged shortly before.

A look comes some time after what it looks at was due: real ticks by minutes, those of a simulation by hours. What is
due at 19:32 where texts rest from 20:00 on would be held until the morning, though a tick every few minutes sends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.project import Project
from orchestrator.store.tables import account, customer
from orchestrator.zones import Open, next_open, open_until

MINUTE: Final = timedelta(minutes=1)
_MOST: Final = 3
"""So many places: each costs a look a day. Whoever lives elsewhere is judged by the hop alone."""


class Closings:
    """The hours of the media that a workspace sends by, where most of its people are."""

    def __init__(self, hours: Sequence[tuple[Open, ...]]) -> None:
        self._hours = hours

    @classmethod
    def found(cls, conn: sa.Connection, project: Project) -> Closings:
        """Of the people who are there now."""
        home = project.vocabulary.timezone
        zone = sa.func.coalesce(customer.c.timezone, account.c.timezone, home)
        country = sa.func.coalesce(customer.c.country, account.c.country)
        n = sa.func.count()
        people = customer.outerjoin(account, account.c.id == customer.c.account_id)
        query = sa.select(zone, country).select_from(people).group_by(zone, country).order_by(n.desc(), zone, country)
        places = [(row[0], row[1]) for row in conn.execute(query.limit(_MOST))]
        media = sorted({m for journey in project.journeys.values() for m in journey.sends().values()})
        return cls(list(dict.fromkeys(_hours(project, m, *place) for place in places for m in media if m)))

    def before(self, at: datetime, until: datetime) -> datetime | None:
        """The minute before the first closing in (at, until]; None where nothing closes, or that minute is over."""
        ends = []
        for hours in self._hours:
            if hours and next_open(hours, at) == at:
                end = open_until(hours, at)
                if end is not None and at <= end - MINUTE and end <= until:
                    ends.append(end - MINUTE)
        return min(ends, default=None)


def _hours(project: Project, medium: Medium, zone: str, country: str | None) -> tuple[Open, ...]:
    policies = project.vocabulary.policies
    house = policies.hours.get(medium)
    law = [row.windows for row in policies.ruleset.hours_in(country, None, medium)]
    windows = [*([(house.window,)] if house is not None else []), *law]
    return tuple((several, zone) for several in dict.fromkeys(windows))
