"""A part of the real audience, copied into a scratch database with all that journeys and rules ask of them.

Read only, table by table, by what a table names: people, companies, runs, messages. Companies come whole, with all of
their contacts. What nobody is asked about stays where it is: the log, sealed evidence, imports. Personal data are in
the scratch database alone, and go with its folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.apply import in_force
from orchestrator.centre import ANSWERED
from orchestrator.model import LOYALTY_EVENTS, Kind, Vocabulary, minor_digits
from orchestrator.project import Project
from orchestrator.rehearse.chance import draw
from orchestrator.rehearse.cohort import Told
from orchestrator.stages import CHANGED
from orchestrator.store.database import Store, id_list, insert_many
from orchestrator.store.keys import Keys
from orchestrator.store.tables import (
    account,
    applied,
    audience_seen,
    batch,
    consent_wording,
    cost,
    customer,
    document,
    enrollment,
    event,
    feedback,
    journey_control,
    link,
    message,
    metadata,
    referral,
    segment_member,
    setting,
    spend,
    suppression,
    tier_change,
    trace,
    trigger_state,
    voucher,
)
from orchestrator.store.tables import (
    draw as draw_table,
)

_BATCH: Final = 2_000
_WHOLE: Final = (
    document, applied, journey_control, trigger_state, audience_seen, setting, link, consent_wording, suppression,
    spend, cost, draw_table,
)  # fmt: skip
"""Nobody's in particular."""
_LEFT: Final = frozenset(
    {
        "log", "log_detail", "leaf", "checkpoint", "consent_evidence", "survey_answer", "tick", "import_run",
        "letter_job", "rate", "api_key", "api_answer", "erased",
    }
)  # fmt: skip
"""What no journey and no rule asks."""
_OWN: Final = frozenset(
    {"customer", "account", "enrollment", "message", "batch", "trace", "feedback", "segment_member", "voucher"}
)
"""Copied by more than by whose they are."""
YEAR: Final = timedelta(days=364)
"""Fifty-two weeks: what happened on a Monday happens on a Monday again."""
_READY: Final = ("planned", "held", "sending")


class Nobody(Exception):
    """There is nothing to take a sample of; the message says what to do."""


def sampled(store: Store, keys: Keys, n: int, seed: int, project: Project) -> Sampled:
    """About `n` of the real customers, the same ones for the same seed. What is known of them is read by the workspace
    in force; by `project` before the first is applied. Raises Nobody."""
    with store.read() as conn:
        force = in_force(conn)
        known = project if force is None else force.project
        there = sa.and_(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
        rows = conn.execute(sa.select(customer.c.id, customer.c.account_id).where(there)).all()
        firms = conn.execute(sa.select(account.c.id)).scalars().all()
    if not rows:
        raise Nobody("there are no customers here yet; import them first, or simulate people made up")
    share = min(1.0, n / len(rows))
    accounts = {i for i in firms if draw(seed, "account", i) < share}
    chosen = {i for i, firm in rows if (firm in accounts if firm is not None else draw(seed, "customer", i) < share)}
    if not chosen:
        chosen = {rows[0].id}
    scale = len(rows) / len(chosen) if share < 1 else 1.0
    kinds = {j.name: j.unit for j in known.journeys.values()}
    return Sampled(store, keys, frozenset(chosen), frozenset(accounts), scale, known.vocabulary, kinds)


@dataclass(frozen=True)
class Sampled:
    """A sample of a store that is only read. `units`: journey in force → what it runs for."""

    store: Store
    keys: Keys = field(repr=False)
    ids: frozenset[int] = field(repr=False)
    accounts: frozenset[int] = field(repr=False)
    scale: float
    vocabulary: Vocabulary = field(repr=False)
    units: Mapping[str, str] = field(repr=False)

    @property
    def customers(self) -> int:
        return len(self.ids)

    def fill(self, store: Store, begin: datetime, played: Project) -> tuple[str, ...]:
        """Copy them, with the runs they are in and what waits for them. A fixed number of statements per batch."""
        with self.store.read() as there, store.write() as here:
            copy = _Copy(there, here, self)
            copy.everything()
        return ("who is not a customer yet is not in a sample: nobody new comes in",)

    def life(self, begin: datetime, until: datetime, played: Project) -> Sequence[Told]:
        """What they did in the year before, once more, on the same days of the week."""
        found: list[Told] = []
        with self.store.read() as conn:
            for lot in _lots(self.ids):
                found += self._again(conn, event.c.customer_id, lot, begin, until)
            for lot in _lots(self.accounts):
                found += self._again(conn, event.c.account_id, lot, begin, until)
        return sorted(found, key=lambda told: (told.at, str(told.row["event_id"])))

    def _again(
        self, conn: sa.Connection, owner: sa.Column[Any], lot: Sequence[int], begin: datetime, until: datetime
    ) -> Iterator[Told]:
        listed = id_list(conn, lot)
        since, by = begin - YEAR, min(begin, until - YEAR)
        own = {ANSWERED, CHANGED, *(LOYALTY_EVENTS if self.vocabulary.loyalty.declared else ())}
        types = [name for name in self.vocabulary.events if name not in own]
        query = (
            sa.select(event, customer.c.key.label("customer"), account.c.key.label("account"))
            .join(listed, listed.c.id == owner)
            .outerjoin(customer, customer.c.id == event.c.customer_id)
            .outerjoin(account, account.c.id == event.c.account_id)
            .where(event.c.type.in_(types), event.c.occurred_at > since, event.c.occurred_at < by)
            .order_by(event.c.id)
        )
        if owner is event.c.account_id:
            query = query.where(event.c.customer_id.is_(None))
        for row in conn.execute(query):
            year = 1
            while (at := row.occurred_at + year * YEAR) < until:
                whose = {name: getattr(row, name) for name in ("customer", "account") if getattr(row, name)}
                told = {
                    "type": row.type,
                    "event_id": f"{row.key}+{year}",
                    "occurred_at": at.astimezone(UTC).isoformat(),
                }
                yield Told(at, "events", told | whose | self._cells(row.type, row.properties, year))
                year += 1

    def _cells(self, name: str, properties: Mapping[str, Any], year: int) -> dict[str, Any]:
        """Stored values as a row of an import has them. What tells one order from another is another order's."""
        records = {r.key for r in self.vocabulary.records.values()}
        found: dict[str, Any] = {}
        for key, one in self.vocabulary.events[name].fields.items():
            value = properties.get(key)
            if value is None:
                continue
            if one.kind is Kind.MONEY:
                currency = str(properties.get(f"{key}_currency") or self.vocabulary.currency)
                digits = minor_digits(currency)
                found[key], found[f"{key}_currency"] = f"{int(value) / 10**digits:.{digits}f}", currency
            elif one.kind is Kind.KEY and key not in records:
                found[key] = f"{value}+{year}"
            elif one.kind is Kind.YES_NO:
                found[key] = "yes" if value else "no"
            else:
                found[key] = value
        return found


def _lots(ids: frozenset[int]) -> Iterator[list[int]]:
    ordered = sorted(ids)
    for first in range(0, len(ordered), _BATCH):
        yield ordered[first : first + _BATCH]


# ---- the copy -------------------------------------------------------------------------------------------------------


@dataclass
class _Copy:
    """From one database into another. `runs`: enrollments that are under way; `messages`: those copied."""

    there: sa.Connection
    here: sa.Connection
    of: Sampled
    runs: set[int] = field(default_factory=set)
    messages: set[int] = field(default_factory=set)
    batches: set[int] = field(default_factory=set)

    def everything(self) -> None:
        for table in _WHOLE:
            self._put(table, self.there.execute(sa.select(table)))
        self._by_ids(customer, customer.c.id, self.of.ids)
        self._by_ids(account, account.c.id, self._companies())
        self._running()
        for table in metadata.sorted_tables:
            if table in _WHOLE or table.name in _LEFT or table.name in _OWN:
                continue
            if "unit" in table.c and "unit_id" in table.c:
                self._of_units(table)
            elif "customer_id" in table.c or "account_id" in table.c:
                self._of_people(table)
        self._of_units(voucher)
        self._free_codes()
        self._members()
        self._marks()

    def _companies(self) -> frozenset[int]:
        """Those of the sample, and those above them and whose end customers they are: alone, without their people."""
        rows = self.there.execute(sa.select(account.c.id, account.c.parent_id, account.c.partner_id)).all()
        above = {row.id: (row.parent_id, row.partner_id) for row in rows}
        found = set(self.of.accounts)
        for lot in _lots(self.of.ids):
            listed = id_list(self.there, lot)
            query = sa.select(customer.c.partner_id).join(listed, listed.c.id == customer.c.id)
            found |= {i for i in self.there.execute(query).scalars() if i is not None}
        waiting = list(found)
        while waiting:
            for i in above.get(waiting.pop(), ()):
                if i is not None and i not in found:
                    found.add(i)
                    waiting.append(i)
        return frozenset(found)

    def _running(self) -> None:
        """Runs; of those under way the diary, the messages, and what was heard of these."""
        self._of_people(enrollment, lambda row: None if row.ended_at is not None else self.runs.add(row.id))
        self._by_ids(trace, trace.c.enrollment_id, frozenset(self.runs))

        def seen(row: Any) -> None:
            self.messages.add(row.id)
            self.batches.add(row.batch_id)

        self._by_ids(message, message.c.enrollment_id, frozenset(self.runs), seen)
        waiting = sa.and_(message.c.state.in_(_READY), message.c.enrollment_id.is_(None))
        self._of_people(message, seen, waiting)
        self._by_ids(batch, batch.c.id, frozenset(self.batches))
        self._by_ids(feedback, feedback.c.message_id, frozenset(self.messages))

    def _by_ids(
        self, table: sa.Table, column: Any, ids: frozenset[int], see: Callable[[Any], None] | None = None
    ) -> None:
        for lot in _lots(ids):
            listed = id_list(self.there, lot)
            query = sa.select(table).join(listed, listed.c.id == column).order_by(*table.primary_key)
            self._put(table, self.there.execute(query), see)

    def _of_people(self, table: sa.Table, see: Callable[[Any], None] | None = None, where: Any = None) -> None:
        """Rows that name customers or accounts of the sample, and nobody else."""
        columns = [(name, ids) for name, ids in self._owners() if name in table.c]
        first: set[Any] = set()
        for name, ids in columns:
            for lot in _lots(ids):
                listed = id_list(self.there, lot)
                query = sa.select(table).join(listed, listed.c.id == table.c[name]).order_by(*table.primary_key)
                rows = self.there.execute(query if where is None else query.where(where)).all()
                keys = [tuple(row._mapping[c.name] for c in table.primary_key) for row in rows]
                mine = [
                    row for row, key in zip(rows, keys, strict=True) if key not in first and self._fits(row, columns)
                ]
                first.update(keys if len(columns) > 1 else ())
                self._put(table, mine, see)

    def _owners(self) -> tuple[tuple[str, frozenset[int]], ...]:
        return ("customer_id", self.of.ids), ("account_id", self.of.accounts)

    def _fits(self, row: Any, columns: Sequence[tuple[str, frozenset[int]]]) -> bool:
        return all(row._mapping[name] is None or row._mapping[name] in ids for name, ids in columns)

    def _of_units(self, table: sa.Table) -> None:
        for unit, ids in (("customer", self.of.ids), ("account", self.of.accounts)):
            for lot in _lots(ids):
                listed = id_list(self.there, lot)
                mine = sa.and_(table.c.unit == unit, listed.c.id == table.c.unit_id)
                query = sa.select(table).join(listed, mine).order_by(*table.primary_key)
                rows: Any = self.there.execute(query)
                if table is referral:
                    rows = [row for row in rows if row.referred_id in self.of.ids | self.of.accounts]
                self._put(table, rows)

    def _free_codes(self) -> None:
        """As many free codes as fall to the sample, under made-up names: the real ones are worth something."""
        free = sa.and_(voucher.c.given_at.is_(None), voucher.c.void_at.is_(None))
        query = sa.select(voucher.c.pool, sa.func.count(), sa.func.min(voucher.c.created_at))
        for pool, n, at in self.there.execute(query.where(free).group_by(voucher.c.pool)).tuples():
            rows = [
                {"pool": pool, "code": f"SAMPLE-{pool}-{i}", "created_at": at} for i in range(round(n / self.of.scale))
            ]
            insert_many(self.here, voucher, rows)

    def _members(self) -> None:
        """Who was in a segment when a trigger last looked."""
        for lot in _lots(self.of.ids | self.of.accounts):
            listed = id_list(self.there, lot)
            query = sa.select(segment_member).join(listed, listed.c.id == segment_member.c.unit_id)
            rows = self.there.execute(query).all()
            mine = [
                row
                for row in rows
                if row.unit_id in (self.of.accounts if self.of.units.get(row.journey) == "account" else self.of.ids)
            ]
            self._put(segment_member, mine)

    def _marks(self) -> None:
        """Watermarks and keys are made of ids: what comes in here must be behind the last one there."""
        at = datetime(2000, 1, 1, tzinfo=UTC)
        rows: dict[sa.Table, dict[str, Any]] = {
            event: {"type": "", "key": "sample", "occurred_at": at, "received_at": at, "properties": {}},
            tier_change: {
                "unit": "customer", "unit_id": 0, "class": "", "direction": "set", "at": at, "received_at": at,
            },
            enrollment: {
                "journey": "", "version": "", "unit": "customer", "unit_id": 0, "run_key": "sample", "entered_at": at,
                "since": at, "ended_at": at, "ended_because": "sample",
            },
            message: {
                "batch_id": 0, "origin": "sample", "step": "", "visit": 0, "addressee": "system", "addressee_id": 0,
                "medium": "task", "template": "", "topic": "", "purpose": "transactional", "priority": 0,
                "state": "cancelled", "planned_at": at, "due_at": at,
            },
        }  # fmt: skip
        for table, row in rows.items():
            last = self.there.execute(sa.select(sa.func.max(table.c.id))).scalar()
            known = self.here.execute(sa.select(sa.func.max(table.c.id))).scalar()
            if last is not None and last != known:
                insert_many(self.here, table, [{"id": last, **row}])

    def _put(self, table: sa.Table, rows: Any, see: Callable[[Any], None] | None = None) -> None:
        names = [c.name for c in table.columns]
        lot: list[tuple[Any, ...]] = []
        for row in rows:
            if see is not None:
                see(row)
            lot.append(tuple(row[: len(names)]))
            if len(lot) == _BATCH:
                insert_many(self.here, table, lot, columns=names)
                lot = []
        if lot:
            insert_many(self.here, table, lot, columns=names)
