"""A small business with points: workspace, people, looks of the programme, and what is left."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator import earn
from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.earn import Award
from orchestrator.ingest import record_events
from orchestrator.store import tables as t
from orchestrator.store import versions
from tests.outgoing import NOON, World, files, journey, world_of

PROGRAM = """
program:
  b2c:
    points:
      - 1 per 1 EUR of bought.amount
      - 50 for reviewed, at most 1 per 30 days
      - 20 for visited, after 14 days
      - 5 per 10 EUR of dined.amount, times 2 for gold
    points_expire: 1 month
    refunds:
      - returned takes back bought by order_id of amount
      - cancelled takes back bought by order_id
  b2b:
    points:
      - 2 per 1 EUR of bought.amount
topics:"""
EVENTS = """
  bought: { order_id: key, amount: money }
  reviewed: { stars: number }
  visited: { place: text }
  dined: { amount: money }
  returned: { order_id: key, amount: money }
  cancelled: { order_id: key }
"""


def texts(program: str = PROGRAM, **journeys: str) -> dict[str, str]:
    found = files(journeys or {"j": journey("j", "- email: hello")})
    workspace = found["journeys/workspace.yaml"]
    workspace = workspace.replace("\n  bought: { order_id: key, amount: money }\n", EVENTS, 1)
    return found | {"journeys/workspace.yaml": workspace.replace("\ntopics:", program, 1)}


class Shop:
    """A World whose programme is in force."""

    def __init__(self, url: str, program: str = PROGRAM, **journeys: str) -> None:
        self.world: World = world_of(url)
        self.project = self.world.apply(texts(program, **journeys))
        self.store = self.world.store
        self.events = 0

    @property
    def now(self) -> datetime:
        return self.world.now

    def go(self, days: float) -> None:
        """To that many days after the beginning: noon in Berlin, 1 March 2027."""
        self.world.now = NOON + timedelta(days=days)

    def happens(self, who: int, kind: str, *, ago: float = 0, key: str = "", **properties: Any) -> None:
        self.events += 1
        row = {
            "type": kind,
            "key": key or f"e{self.events}",
            "customer_id": who,
            "account_id": None,
            "occurred_at": self.now - timedelta(days=ago),
            "properties": properties,
        }
        with self.store.write() as conn:
            record_events(conn, [row], now=self.now)

    def buys(self, who: int, minor: int, order: str = "", *, currency: str = "EUR", ago: float = 0) -> None:
        order = order or f"o{self.events}"
        self.happens(who, "bought", ago=ago, order_id=order, amount=minor, amount_currency=currency)

    def returns(self, who: int, minor: int, order: str, *, currency: str = "EUR", ago: float = 0) -> None:
        self.happens(who, "returned", ago=ago, order_id=order, amount=minor, amount_currency=currency)

    def look(self) -> int:
        """Entries written."""
        return accrue(self.store, now=self.now).points

    def look_again(self) -> int:
        """At everything once more, as if it had just come in."""
        with self.store.write() as conn:
            versions.set_number(conn, "accrued_event", 0)
        return self.look()

    def award(self, *awards: Award) -> tuple[str, ...]:
        return self.store.written(lambda conn: earn.award(conn, self.project, awards, self.now))

    def row(self, who: int, unit: str = "customer") -> Any:
        found = self.world.rows(sa.select(t.loyalty).where(t.loyalty.c.unit == unit, t.loyalty.c.unit_id == who))
        return found[0] if found else None

    def points(self, who: int, unit: str = "customer") -> tuple[int, int]:
        """(what can be spent, pending)."""
        row = self.row(who, unit)
        return (row.points or 0, row.points_pending or 0) if row is not None else (0, 0)

    def ledger(self, who: int | None = None) -> list[tuple[str, int]]:
        e = t.point_entry.c
        query = sa.select(e.kind, e.points).order_by(e.id)
        return [tuple(r) for r in self.world.rows(query if who is None else query.where(e.unit_id == who))]

    def check(self) -> list[earn.Difference]:
        with self.store.read() as conn:
            force = in_force(conn)
            assert force is not None
            return earn.check(conn, force.project, self.now)[1]

    def close(self) -> None:
        assert self.check() == []
        self.store.close()
