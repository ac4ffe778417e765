"""A year in four zones, on a virtual clock: a Monday letter, a birthday on the 29th of February, and a month's wait.

Whoever is told 09:00 is written to at 09:00 by her own wall clock, before and after each change of the clocks, in both
hemispheres; nobody misses a week and nobody gets one twice. The clock is freezegun's, so that a look at the machine's
own time anywhere in the verbs would be a look at this one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from freezegun import freeze_time

from orchestrator.store import Store
from orchestrator.store import tables as t
from tests.outgoing import World, audit, files, journey

ZONES = {  # and where they live: no law there forbids texts at nine
    "Europe/Berlin": ("DE", None),
    "America/New_York": ("US", "NY"),
    "Australia/Lord_Howe": ("AU", None),
    "Asia/Colombo": ("LK", None),
}
BEGIN = datetime(2027, 10, 3, tzinfo=UTC)  # a year with a 29th of February in it
END = datetime(2028, 10, 9, tzinfo=UTC)
WORKS = journey("monday", "- email: second", '{ schedule: "0 9 * * 1", timezone: recipient }', "reentry: always")
BORN = journey(
    "birthday",
    "- sms: short",
    "{ date: every year on birthday, at: 09:00, leap_day: mar_1 }",
    "reentry: always",
)
MONTH = journey("month", "- sms: short\n- wait: 30 days\n- push: ping")


def _instants() -> Iterator[datetime]:
    """The hours at which it is nine, or eight, somewhere here: of every Monday, and of each day when more is due."""
    day = BEGIN
    while day < END:
        busy = day < BEGIN + timedelta(days=45) or date(2028, 2, 27) <= day.date() <= date(2028, 3, 1)
        if busy or day.weekday() == 0:
            yield from (day + timedelta(hours=h) for h in (3.5, 7, 8, 13, 14))
        if busy or day.weekday() == 6:
            yield from (day + timedelta(hours=h) for h in (21, 21.5, 22, 22.5))
        day += timedelta(days=1)


def _wall(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone))


@pytest.mark.slow
def test_a_year(sqlite_database_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_database_url, create=True)
    store.migrate()
    world = World(store, tmp_path / "outbox", now=BEGIN - timedelta(hours=1))
    texts = files({"monday": WORKS, "birthday": BORN, "month": MONTH})
    key = "journeys/workspace.yaml"
    texts[key] = texts[key].replace("{ town: text }", "{ town: text, birthday: date }")
    world.apply(texts)
    zone_of: dict[int, str] = {}
    for zone, (country, region) in ZONES.items():
        (who,) = world.people(1, timezone=zone, country=country, region=region, attributes={"birthday": "2000-02-29"})
        zone_of[who] = zone
    seen: dict[tuple[int, str], list[datetime]] = defaultdict(list)
    with freeze_time(BEGIN) as frozen:
        for at in _instants():
            frozen.move_to(at)
            world.now = at
            if at == BEGIN.replace(day=6, hour=13):
                world.event(zone_of)  # 03:30 in New York would be asleep; it is 09:00 there
            if world.tick(1):  # what was sent moves its run on; nothing else does
                world.tick(1)
    for who, name, when in world.rows(
        sa.select(t.message.c.customer_id, t.message.c.journey, t.message.c.decided_at).where(
            t.message.c.state == "sent"
        )
    ):
        seen[who, name].append(when)
    audit(world)
    for who, zone in zone_of.items():
        _mondays(seen[who, "monday"], zone)
        _birthdays(seen[who, "birthday"], zone)
        _month(seen[who, "month"], zone)
    store.close()


def _mondays(sent: list[datetime], zone: str) -> None:
    walls = [_wall(at, zone) for at in sent]
    assert {w.weekday() for w in walls} == {0}
    assert {w.time() for w in walls} == {time(9)}, zone
    days = [w.date() for w in walls]
    assert days == [days[0] + timedelta(weeks=n) for n in range(len(days))], "a week was missed, or came twice"
    assert days[0] == date(2027, 10, 4) and days[-1] >= date(2028, 10, 2)


def _birthdays(sent: list[datetime], zone: str) -> None:
    """2028 has a 29th of February: then it is the day itself, whatever stands in for it in other years."""
    assert [_wall(at, zone).replace(tzinfo=None) for at in sent] == [datetime(2028, 2, 29, 9)], zone  # noqa: DTZ001


def _month(sent: list[datetime], zone: str) -> None:
    """A text held to the window where it was night, then a wait of thirty days by the wall clock."""
    first, second = (_wall(at, zone) for at in sent)
    if zone == "Australia/Lord_Howe":  # midnight there: held until nine, by Australia's hours
        assert first.time() == time(9) and first.date() == date(2027, 10, 7)
    else:
        assert first.date() == date(2027, 10, 6)
    assert second.date() == first.date() + timedelta(days=30)
    assert (
        timedelta(0)
        <= datetime.combine(second.date(), second.time()) - datetime.combine(second.date(), first.time())
        <= timedelta(hours=1)
    )  # at the next tick
    offsets = {first.utcoffset(), second.utcoffset()}
    assert len(offsets) == (2 if zone in ("Europe/Berlin",) else len(offsets))
