"""A small business with a loyalty programme, followed from events to what they earn: for challenges, draws, referrals.

Tests that use it import `migrated_file` and `migrated_url` too: a database is migrated once and copied for each.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.accrue import AccrueReport, accrue
from orchestrator.ingest import record_events
from orchestrator.store import Store, insert_ids
from orchestrator.store import tables as t
from tests.outgoing import World
from tests.store.conftest import migrated_file, migrated_url

__all__ = ["START", "Game", "game", "migrated_file", "migrated_url", "on_sqlite", "snapshot"]

HEAD = """
workspace: small
timezone: Europe/Berlin
currency: EUR
sender: {{ name: Small, postal_address: "Small GmbH, Hauptstr. 1, 10115 Berlin", website: "https://small.example/in" }}
attributes:
  customer: {{ town: text }}
events:
  signed_up: {{ referral_code: key }}
  bought: {{ order_id: key, amount: money, referral_code: key }}
  returned: {{ order_id: key, refund: money }}
  cancelled: {{ order_id: key }}
  reviewed: {{ stars: number }}
classes:
  b2c: {{ tiers: [silver, gold] }}
  b2b: {{ tiers: [std, big], unit: account }}
  partner: {{ tiers: [registered, silver, gold], unit: account }}
vouchers:
  ten-off: {{ valid: 90 days }}
program:
{program}
topics:
  offers: {{ purpose: marketing, title: Offers }}
"""
START = datetime(2027, 3, 1, 11, tzinfo=UTC)  # a Monday, noon in Berlin


class Game(World):
    """A world whose looks of the programme are taken by themselves."""

    def begin(self, program: str) -> None:
        """Put a programme in force."""
        body = "\n".join("  " + line for line in program.strip("\n").splitlines())
        self.apply({"journeys/workspace.yaml": HEAD.format(program=body)})

    def look(self) -> AccrueReport:
        return accrue(self.store, now=self.now)

    def company(self, key: str, of: str = "b2b", **more: Any) -> int:
        row = {"key": key, "class": of, "tier": None, "created_at": self.now, "updated_at": self.now, **more}
        with self.store.write() as conn:
            return int(insert_ids(conn, t.account, [row])[0][0])

    def person(self, **columns: Any) -> int:
        return self.people(1, consents=None, **columns)[0]

    def tell(self, kind: str, who: int, key: str = "", at: datetime | None = None, **properties: Any) -> None:
        """One event of a customer, of her account too."""
        self._told = getattr(self, "_told", 0) + 1
        row = {
            "type": kind,
            "key": key or f"{kind}:{self._told}",
            "customer_id": who,
            "account_id": None,
            "occurred_at": at or self.now,
            "properties": properties,
        }
        with self.store.write() as conn:
            record_events(conn, [row], now=self.now)

    def events(self, kind: str) -> list[Any]:
        return self.rows(sa.select(t.event).where(t.event.c.type == kind).order_by(t.event.c.id))

    def points(self) -> dict[tuple[str, int], int]:
        """What everybody has, by the ledger."""
        p = t.point_entry.c
        query = sa.select(p.unit, p.unit_id, sa.func.sum(p.points)).group_by(p.unit, p.unit_id)
        return {(row[0], row[1]): int(row[2]) for row in self.rows(query) if row[2]}

    def counted(self, table: sa.Table) -> int:
        return int(self.one(sa.select(sa.func.count()).select_from(table)))


@contextmanager
def game(url: str, folder: Path, program: str = "") -> Iterator[Game]:
    store = Store.open(url)
    found = Game(store, folder, START)
    if program:
        found.begin(program)
    try:
        yield found
    finally:
        store.close()


@contextmanager
def on_sqlite(migrated: Path, folder: Path, program: str = "") -> Iterator[Game]:
    """On SQLite, from a database that is migrated."""
    path = folder / "store.db"
    shutil.copy(migrated, path)
    with game(f"sqlite:///{path}", folder, program) as found:
        yield found


def snapshot(found: Game) -> Counter[str]:
    """Everything that the programme has written, to be compared before and after a replay."""
    tables = (t.achievement, t.point_entry, t.referral, t.commission, t.ticket, t.draw, t.event, t.voucher)
    return Counter({table.name: found.counted(table) for table in tables})
