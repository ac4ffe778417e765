"""The demo's three customers side by side: what the programme holds of each, and what each was sent. From the database
alone; of people keys only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from orchestrator.reward import offers
from orchestrator.store import explain, loyalty, overview, vouchers
from orchestrator.store.explain import Who

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import Console

    from orchestrator.apply import Force
    from orchestrator.model import Unit

WANTED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("b2c", ("gold",)),
    ("b2b", ("strategic",)),
    ("partner", ("gold", "silver", "registered")),
)
"""Whom to show: class, and tiers, the first that anybody is in."""
ROWS = ("who", "tier", "by", "points", "value", "benefits", "sent", "contract", "codes", "rewards", "next")
_NAMES = {"by": "tier by", "value": "value band", "codes": "codes given", "next": "what comes next"}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the three; `rows`: by name, the lines of each."""

    class_name: str
    tier: str
    key: str
    rows: Mapping[str, tuple[str, ...]]


def read(conn: sa.Connection, force: Force, now: datetime) -> list[Side]:
    """A customer, or an account, of each of WANTED; classes that have nobody in these tiers are left out."""
    found = []
    for class_name, tiers in WANTED:
        declared = force.project.vocabulary.classes.get(class_name)
        if declared is None:
            continue
        chosen = overview.most_written_to(conn, declared.unit, class_name, tiers)
        if chosen is not None:
            unit_id, key, tier = chosen
            of = _Of(conn, force, declared.unit, unit_id, class_name, tier or "", now)
            found.append(Side(class_name, tier or "", key, {"who": (key,), **of.rows(key)}))
    return found


@dataclass(frozen=True, slots=True)
class _Of:
    """One unit, to be asked."""

    conn: sa.Connection
    force: Force
    unit: Unit
    unit_id: int
    class_name: str
    tier: str
    now: datetime

    def rows(self, key: str) -> dict[str, tuple[str, ...]]:
        row = loyalty.standing(self.conn, self.unit, [self.unit_id]).get(self.unit_id, {})
        program = self.force.project.program.classes.get(self.class_name)
        by = program.tier_by.text if program is not None and program.tier_by is not None else "imports"
        one = Who(key, self.unit_id if self.unit == "customer" else None, None, None)
        if self.unit == "account":
            one = Who(key, None, self.unit_id, key)
        found = {
            "tier": (f"{self.class_name} {self.tier}",),
            "by": (by,),
            "points": self._points(row) if program is not None and program.points else ("collects none",),
            "value": (row.get("band") or "not ranked",),
            "benefits": self._benefits(),
            "sent": tuple(self._sent()),
            "contract": tuple(self._contracts(one)),
            "codes": tuple(sorted({code.pool for code in vouchers.of_unit(self.conn, self.unit, self.unit_id)})),
            "rewards": tuple(self._rewards()),
            "next": (*self._ahead(row), *self._under_way(one)),
        }
        return {name: lines or ("none",) for name, lines in found.items()}

    def _title(self, name: str) -> str:
        return self.force.project.vocabulary.loyalty.title(name, "en")

    def _points(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        told = [f"{row.get('points') or 0:,}"]
        told += [f"{row['points_pending']:,} pending"] if row.get("points_pending") else []
        told += [f"{row['points_expiring']:,} until {row['points_expire_on']}"] if row.get("points_expiring") else []
        return tuple(told)

    def _benefits(self) -> tuple[str, ...]:
        given = self.force.project.vocabulary.loyalty.benefits.get(self.class_name, {})
        return tuple(self._title(name) for name in given.get(self.tier, ()))

    def _sent(self) -> Iterator[str]:
        for sent in overview.sent_to(self.conn, self.unit, self.unit_id):
            about = f" on {sent.topic}" if sent.topic else ""
            yield f"{sent.medium}{about} ({sent.journey})" + (f" ×{sent.count}" if sent.count > 1 else "")

    def _contracts(self, one: Who) -> Iterator[str]:
        for record in explain.records_of(self.conn, one, self.unit, "contract"):
            fields = record["fields"]
            value = fields.get("value")
            worth = f", {value / 100:,.0f} {fields.get('value_currency') or ''}".rstrip() if value else ""
            yield f"{fields.get('product') or record['key']}{worth}, ends {fields.get('ends') or 'never'}"

    def _rewards(self) -> Iterator[str]:
        for offer in offers(self.conn, self.force.project, self.unit, self.unit_id, self.now):
            yield f"{self._title(offer.reward.name)}, {offer.reward.costs:,} points: {_WHY.get(offer.reason, 'now')}"

    def _ahead(self, row: Mapping[str, Any]) -> Iterator[str]:
        from orchestrator.model import scored

        if row.get("next_tier") and row.get("missing"):
            yield f"{row['next_tier']}, when {scored(row['missing'], row.get('score_currency'))} more are there"
        if row.get("review_on"):
            yield f"tier lost on {row['review_on']}, as things stand"

    def _under_way(self, one: Who) -> Iterator[str]:
        for run in explain.runs(self.conn, one):
            if run["ended_at"] is None:
                until = f", looked at again {run['wake_at']:%d %b}" if run["wake_at"] is not None else ""
                yield f"{run['journey']} at `{run['step']}`{until}"


_WHY = {
    "points": "not enough points",
    "tier": "for other tiers",
    "stock": "all gone",
    "each": "taken",
    "no_voucher": "no code left",
}


def show(console: Console, sides: Sequence[Side]) -> None:
    """Three columns, as wide as there is room."""
    if not sides:
        return
    console.print("\n[bold]Side by side[/]  different customers are treated differently")
    table = Table(box=None, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="bold")
    table.add_column("", style="dim", no_wrap=True)
    for side in sides:
        table.add_column(f"{side.class_name} {side.tier}", ratio=1, overflow="fold")
    for name in ROWS:
        lines = (Text("\n".join(side.rows.get(name, ()))) for side in sides)
        table.add_row(_NAMES.get(name, name), *lines)
    console.print(table)
