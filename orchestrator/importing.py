"""Takes in people, companies and all that is told of them: checked, by set, restartable, idempotent.

A bad row goes to a quarantine file with its line and what is wrong with it; the rest goes on. That file has the
columns of the one it came from: mended, it is imported as it is.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator import answering, earn, fulfil, ingest, lineage, measure, outcomes, refer
from orchestrator.dates import add_months
from orchestrator.model import SUPPRESSION_LISTS, Vocabulary
from orchestrator.opening import ImportRefused, Quarantine, Refused, fingerprint, opened
from orchestrator.problems import Conflict, suggest
from orchestrator.rows import ImportKind, Known, ReadRow, RowReader, direction
from orchestrator.sheet import CsvSheet, Entry
from orchestrator.stages import Changes
from orchestrator.store import Store, consents, imports, merging, people, preferences, rights
from orchestrator.store.database import insert_many
from orchestrator.store.keys import Keys
from orchestrator.store.merging import Merged
from orchestrator.store.people import Wanted
from orchestrator.store.suppressions import Listed, listed_keys, put_on_list
from orchestrator.store.tables import account, customer, device, record, support_case, touch

__all__ = ["BATCH", "ImportRefused", "ImportReport", "Refused", "import_file", "import_rows", "merge_customers"]

BATCH = 5_000
OnEvents = Callable[[sa.Connection, int, int], None]
"""Called with the first and last id of events just stored, in their transaction, so that it can wake sleepers."""
Progress = Callable[[int, int | None], None]
"""Called after each batch with rows done and rows in all (about; None when not known)."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the rows: rows = inserted + updated + unchanged + quarantined. Warnings are counted by text.

    `already`: this content was imported before, and nothing was done. `resumed_at`: rows that an earlier, interrupted
    run had done; they are counted in. `refused` is filled where there is no file to write to.
    """

    kind: ImportKind
    rows: int
    inserted: int
    updated: int
    unchanged: int
    quarantined: int
    warnings: Mapping[str, int] = field(default_factory=dict)
    quarantine_file: Path | None = None
    refused: tuple[Refused, ...] = ()
    already: bool = False
    resumed_at: int = 0


@dataclass(slots=True)
class _Job:
    """What every batch of one import needs."""

    keys: Keys
    reader: RowReader
    now: datetime
    on_events: OnEvents | None = None
    clock: Callable[[], datetime] | None = None
    list_name: str = ""

    def look_at_clock(self) -> None:
        """What is stored says when that was: ticks that run beside a long import look for what is new since the last
        of them."""
        if self.clock is not None:
            self.now = max(self.now, self.clock())

    @property
    def vocabulary(self) -> Vocabulary:
        return self.reader.vocabulary


# ---- the verb -------------------------------------------------------------------------------------------------------


def import_file(
    store: Store,
    keys: Keys,
    vocabulary: Vocabulary,
    kind: ImportKind,
    path: Path,
    *,
    now: datetime,
    quarantine_dir: Path | None = None,
    progress: Progress | None = None,
    on_events: OnEvents | None = None,
    batch: int = BATCH,
    again: bool = False,
    clock: Callable[[], datetime] | None = None,
    list_name: str = "",
) -> ImportReport:
    """Import a .csv, .jsonl or .parquet file. The same content twice is done once; an interrupted import goes on.

    `list_name`: which of SUPPRESSION_LISTS it is, where the rows are suppressions; the pool, where they are vouchers.

    `quarantine_dir` defaults to the file's own folder. `again` imports content that was imported before (it changes
    what has been changed since). `clock` is asked at every batch, for `now` where an import takes its time. Raises
    ImportRefused, and what Store.write raises: what is committed stays, and the next call goes on behind it.
    """
    source, lines = fingerprint(path)
    job = _Job(keys, RowReader(kind, vocabulary, now), now, on_events, clock, _list_name(kind, list_name, vocabulary))
    with opened(path) as sheet:
        missing = job.reader.missing_columns(sheet.columns) if sheet.columns else None
        if missing:
            raise ImportRefused(f"{path.name}: line 1: {missing}")
        with store.write() as conn:
            run = imports.begin(conn, f"{kind}:{list_name}" if list_name else kind, source, now, again=again)
        if run.finished:
            return _report(job, run.counts, run.rows_done, already=True)
        ending = path.suffix if isinstance(sheet, CsvSheet) else ".jsonl"
        file = (quarantine_dir or path.parent) / f"{path.stem}.quarantine-{source[:8]}{ending}"
        with Quarantine(file, sheet) as quarantine:
            quarantine.keep(run.counts["quarantined"])
            going = _FileRun(path.name, run.id, quarantine, Counter(run.counts), run.rows_done)
            entries = islice(iter(sheet), run.rows_done, None)
            last = False
            while not last:
                chunk = list(islice(entries, batch))
                last = len(chunk) < batch
                going.take(store, job, chunk, now if last else None)
                if progress is not None:
                    progress(going.done, lines)
    written = file if going.counts["quarantined"] else None
    return _report(job, going.counts, going.done, quarantine_file=written, resumed_at=run.rows_done)


@dataclass(slots=True)
class _FileRun:
    """An import of a file under way: what is committed of it."""

    name: str
    run_id: int
    quarantine: Quarantine
    counts: Counter[str]
    done: int

    def take(self, store: Store, job: _Job, chunk: Sequence[Entry], finished_at: datetime | None) -> None:
        """Store one batch, and in the same transaction how far that brings us."""
        mark = self.quarantine.size()
        after = self.done + len(chunk)

        def commit(conn: sa.Connection, found: Counter[str], refused: list[Refused]) -> None:
            # Before the commit, because no row may be lost; should it fail, what was written is cut off again.
            self.quarantine.cut(mark)
            self.quarantine.write(refused)
            if not imports.move(conn, self.run_id, self.done, after, self.counts + found, finished_at):
                raise ImportRefused(f"{self.name}: another process is importing this file; let it finish")

        found, _ = _stored(store, job, chunk, commit)
        self.counts += found
        self.done = after


def import_rows(
    store: Store,
    keys: Keys,
    vocabulary: Vocabulary,
    kind: ImportKind,
    rows: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
    on_events: OnEvents | None = None,
    batch: int = BATCH,
) -> ImportReport:
    """Import rows that are no file: checked and stored in the same way. Refused ones are in the report, by number."""
    job = _Job(keys, RowReader(kind, vocabulary, now), now, on_events)
    entries = ((line, row if type(row) is dict else dict(row), "") for line, row in enumerate(rows, 1))
    counts: Counter[str] = Counter()
    refused: list[Refused] = []
    done = 0
    while chunk := list(islice(entries, batch)):
        found, bad = _stored(store, job, chunk, lambda conn, found, bad: None)
        counts += found
        refused += bad
        done += len(chunk)
    return _report(job, counts, done, refused=tuple(refused))


def _list_name(kind: str, name: str, vocabulary: Vocabulary) -> str:
    if kind == "vouchers":
        pools = vocabulary.loyalty.pools
        if name not in pools:
            raise ImportRefused(f"there is no voucher pool `{name}` in force; {suggest(name, pools) or 'declare it'}")
        return name
    if (kind == "suppressions") != (name in SUPPRESSION_LISTS):
        names = ", ".join(SUPPRESSION_LISTS)
        raise ImportRefused(f"suppressions, and only these, are of a list; say which with `--list`: {names}")
    return name


def _report(job: _Job, counts: Mapping[str, int], rows: int, **more: Any) -> ImportReport:
    inserted, updated, unchanged, quarantined = (counts.get(name, 0) for name in imports.COUNTS)
    warnings = dict(job.reader.warnings.most_common())
    return ImportReport(job.reader.kind, rows, inserted, updated, unchanged, quarantined, warnings, **more)


def merge_customers(store: Store, keys: Keys, keep_key: str, drop_key: str, *, now: datetime) -> Merged:
    """Two records of one person become one: events, records, devices, consents and runs go over to `keep_key`.

    Withdrawals win. Of two runs through one journey the dropped one ends. What `keep_key` says about name, address and
    attributes stands. It cannot be undone, and can be traced: the dropped row stays and names where it went, and its
    key finds the kept customer in every later import. Raises ValueError when that makes no sense.
    """
    with store.write() as conn:
        rows = people.current(conn, customer, [(keep_key,), (drop_key,)])
        for key in (keep_key, drop_key):
            row = rows.get((key,))
            if row is None:
                raise ValueError(f"there is no customer `{key}`")
            if row["merged_into"] is not None:
                raise ValueError(f"customer `{key}` has been merged into another one already")
        if keep_key == drop_key:
            raise ValueError("a customer cannot be merged with itself; name two")
        keep, drop = rows[keep_key,]["id"], rows[drop_key,]["id"]
        ingest.record_consents(conn, keys, consents.to_carry(conn, keep, drop, now=now), now=now)
        return merging.merge(conn, keep, drop, now=now)


# ---- one batch ------------------------------------------------------------------------------------------------------

_Read = list[tuple[Entry, ReadRow]]
_Commit = Callable[[sa.Connection, Counter[str], list[Refused]], None]


def _stored(
    store: Store, job: _Job, chunk: Sequence[Entry], commit: _Commit, attempts: int = 4
) -> tuple[Counter[str], list[Refused]]:
    """Check a batch outside and store it inside one transaction; `commit` adds its own part to that."""
    with _no_collector():
        return _stored_once_checked(store, job, chunk, commit, attempts)


@contextmanager
def _no_collector() -> Iterator[None]:
    """A batch makes some 100,000 containers and no cycle: looking for cycles in them is a sixth of an import's time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _stored_once_checked(
    store: Store, job: _Job, chunk: Sequence[Entry], commit: _Commit, attempts: int
) -> tuple[Counter[str], list[Refused]]:
    read, bad = _checked(store, job, chunk)
    while True:
        attempts -= 1
        try:
            with store.write() as conn:
                job.look_at_clock()  # not before: SQLite may have let us wait for others
                found, unfit = _STORE[job.reader.kind](conn, job, read)
                refused = sorted([*bad, *unfit], key=lambda r: r.line)
                if job.reader.kind == "suppressions":
                    refused = [_without_person(r) for r in refused]
                found["quarantined"] = len(refused)
                commit(conn, found, refused)
            return found, refused
        except Conflict:
            # PostgreSQL broke a circle of locks by giving up on us: nothing of this batch is stored.
            if not attempts:
                raise


def _checked(store: Store, job: _Job, chunk: Sequence[Entry]) -> tuple[_Read, list[Refused]]:
    known: Mapping[str, str] = {}
    if job.reader.kind == "customers":
        # A national number is read by the customer's country; a sheet of phones alone has it from the store.
        alone = [str(row.get("key", "")).strip() for _, row, _ in chunk if row.get("phone") and "country" not in row]
        if alone:
            with store.read() as conn:
                known = people.countries(conn, alone)
    read: _Read = []
    bad: list[Refused] = []
    for entry in chunk:
        line, row, problem = entry
        found = problem or job.reader.read(row, known.get(str(row.get("key", "")).strip()) if known else None)
        if isinstance(found, str):
            bad.append(Refused(line, row, found))
        else:
            read.append((entry, found))
    return read, bad


_Result = tuple[Counter[str], list[Refused]]


def _refuse(refused: list[Refused], entry: Entry, problem: str) -> None:
    refused.append(Refused(entry[0], entry[1], problem))


def _store_customers(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    refused: list[Refused] = []
    accounts = people.find_accounts(conn, _named(read, "account") | _named(read, "partner"))
    existing = people.current(conn, customer, ((row.key,) for _, row in read))
    known = _known(existing)
    said = preferences.OwnWords(conn, job.vocabulary.preferences.overwrite, existing, job.now)
    wanted = []
    # Whoever is known here has not been erased.
    new = {row.key: {**row.values, "key": row.key} for _, row in read if (row.key,) not in existing}
    erased = rights.turned_away(conn, job.keys, new)
    for entry, row in read:
        if row.key in erased:
            _refuse(refused, entry, erased[row.key])
            continue
        values = row.values
        if "account" in row.refs:
            name = row.refs["account"]
            if name is not None and name not in accounts:
                _refuse(refused, entry, f"account `{name}` is not known; import the accounts first")
                continue
            values["account_id"] = None if name is None else accounts[name]
        problem = _partnered(row, accounts) or job.reader.classed(row, known, "customer")
        if problem:
            _refuse(refused, entry, problem)
            continue
        if (there := existing.get((row.key,))) is not None and there["merged_into"] is not None:
            job.reader.warnings["a customer that was merged into another one: the row changes nothing there"] += 1
        values, members = said.kept(row.key, values, row.members)
        wanted.append(Wanted((row.key,), values, members))
    said.undeclare(conn)
    if said.kept_back:
        job.reader.warnings["values that people declared themselves: kept as they are"] += said.kept_back
    return _upserted(conn, job, customer, wanted, existing), refused


def _partnered(row: ReadRow, accounts: Mapping[str, int]) -> str | None:
    """Put the partner's id in; why that cannot be, if it cannot."""
    if "partner" in row.refs:
        name = row.refs["partner"]
        if name is not None and name not in accounts:
            return f"partner `{name}` is not known; import that account first"
        row.values["partner_id"] = None if name is None else accounts[name]
    return None


def _store_accounts(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    refused: list[Refused] = []
    existing = people.current(conn, account, ((row.key,) for _, row in read))
    known = _known(existing)
    fitting: _Read = []
    for entry, row in read:
        problem = job.reader.classed(row, known, "account")
        if problem:
            _refuse(refused, entry, problem)
        else:
            fitting.append((entry, row))
    refuse = partial(_refuse, refused)
    named = (_named(fitting, "parent"), _named(fitting, "partner"))
    parent_of = people.ancestors(conn, named[0] | {row.key for _, row in fitting}) if named[0] else {}
    fitting = lineage.fitting(fitting, people.find_accounts(conn, named[1]), parent_of, refuse)
    # Parents in a second step: in one, a daughter may come before her mother has an id.
    wanted = [Wanted((row.key,), row.values, row.members) for _, row in fitting]
    before = {identity: dict(row) for identity, row in existing.items()}
    outcomes = people.upsert(conn, account, wanted, existing, now=job.now)
    ids = people.find_accounts(conn, named[0] | named[1])
    parents = [Wanted((row.key,), lineage.ids_of(row, ids)) for _, row in fitting]
    second = people.upsert(conn, account, parents, existing, now=job.now)
    pairs = zip(outcomes, second, strict=True)
    counts: Counter[str] = Counter(then if first == "unchanged" else first for first, then in pairs)
    _tiers_changed(conn, job, account, before, existing)
    return counts, refused


def _known(existing: Mapping[Any, Mapping[str, Any]]) -> dict[str, Known]:
    return {key[0]: Known(row["class"], row["tier"], row["tier_stated"]) for key, row in existing.items()}


def _upserted(
    conn: sa.Connection, job: _Job, table: sa.Table, wanted: list[Wanted], existing: dict[Any, dict[str, Any]]
) -> Counter[str]:
    before = {identity: dict(row) for identity, row in existing.items()}
    outcomes = people.upsert(conn, table, wanted, existing, now=job.now)
    _tiers_changed(conn, job, table, before, existing)
    return Counter(outcomes)


def _tiers_changed(
    conn: sa.Connection,
    job: _Job,
    table: sa.Table,
    before: Mapping[Any, Mapping[str, Any]],
    after: Mapping[Any, Mapping[str, Any]],
) -> None:
    changes = []
    for identity, row in after.items():
        old = before.get(identity)
        from_tier = old["tier"] if old else None
        if row["tier"] == from_tier or row.get("merged_into") is not None:
            continue
        moved = old is not None and old["class"] == row["class"]
        way = direction(job.vocabulary, row["class"], from_tier, row["tier"]) if moved else "set"
        changes.append(people.TierChange(table.name, row["id"], row["class"], from_tier, row["tier"], way))
    people.add_tier_changes(conn, changes, job.now)


def _store_records(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    refused: list[Refused] = []
    found = _owners(conn, read)
    existing = people.current(conn, record, ((row.type, row.key) for _, row in read))
    there = set(existing)
    wanted = []
    stages = Changes(job.vocabulary.records, {i: dict(r) for i, r in existing.items()}, job.now)
    for entry, row in read:
        owner = _owner_of(row, found)
        if isinstance(owner, str):
            _refuse(refused, entry, owner)
        elif not any(owner.values()) and (row.type, row.key) not in there:
            _refuse(refused, entry, f"{job.vocabulary.records[row.type].of} is missing: whose is it?")
        else:
            there.add((row.type, row.key))
            columns = {**(owner if any(owner.values()) else {}), **stages.see(row.type, row.key, row.members)}
            wanted.append(Wanted((row.type, row.key), columns, row.members))
    outcomes = people.upsert(conn, record, wanted, existing, now=job.now)
    _tell(conn, job, people.add_events(conn, changed) if (changed := stages.events(existing)) else [])
    return Counter(outcomes), refused


def _store_events(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    refused: list[Refused] = []
    found = _owners(conn, read)
    rows = []
    for entry, row in read:
        owner = _owner_of(row, found)
        if isinstance(owner, str):
            _refuse(refused, entry, owner)
            continue
        what = {"type": row.type, "key": row.key, "properties": row.members}
        rows.append({**what, **owner, "occurred_at": row.values["occurred_at"], "received_at": job.now})
    ids = people.add_events(conn, rows, {person.id: person.account_id for person in found[0].values()})
    _tell(conn, job, ids)
    return Counter(inserted=len(ids), unchanged=len(rows) - len(ids)), refused


def _tell(conn: sa.Connection, job: _Job, ids: Sequence[int]) -> None:
    """Events just stored, to whoever wants to wake sleepers by them."""
    if ids and job.on_events is not None:
        job.on_events(conn, ids[0], ids[-1])


def _store_consents(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    refused: list[Refused] = []
    customers = people.find_customers(conn, _named(read, "customer"))
    rows = []
    for entry, row in read:
        person = customers.get(row.refs["customer"] or "")
        if person is None:
            _refuse(refused, entry, _UNKNOWN_CUSTOMER)
            continue
        rows.append({"key": row.key, "customer_id": person.id, **row.values})
    added = ingest.record_consents(conn, job.keys, rows, now=job.now)
    return Counter(inserted=added, unchanged=len(rows) - added), refused


def _store_devices(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    refused: list[Refused] = []
    customers = people.find_customers(conn, _named(read, "customer"))
    existing = people.current(conn, device, ((row.key,) for _, row in read))
    there = {identity[0] for identity in existing}
    wanted = []
    erased = rights.turned_away(
        conn, job.keys, {row.key: {"token": row.key} for _, row in read if row.key not in there}
    )
    for entry, row in read:
        person = customers.get(row.refs["customer"] or "")
        if person is None:
            _refuse(refused, entry, _UNKNOWN_CUSTOMER)
        elif row.key in erased:
            _refuse(refused, entry, erased[row.key])
        elif row.key not in there and not row.values.get("platform"):
            _refuse(refused, entry, "platform is missing; a new device needs one")
        else:
            there.add(row.key)
            wanted.append(Wanted((row.key,), {**row.values, "customer_id": person.id}))
    return Counter(people.upsert(conn, device, wanted, existing, now=job.now)), refused


def _store_touches(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    """Contacts by other departments are facts: the same key again is passed over."""
    refused: list[Refused] = []
    customers = people.find_customers(conn, _named(read, "customer"))
    rows: dict[str, dict[str, Any]] = {}
    fitting = 0
    for entry, row in read:
        person = customers.get(row.refs["customer"] or "")
        if person is None:
            _refuse(refused, entry, _UNKNOWN_CUSTOMER)
            continue
        fitting += 1
        whose = {"customer_id": person.id, "account_id": person.account_id}
        rows.setdefault(row.key, {"key": row.key, **whose, **row.values, "received_at": job.now})
    people.take_turns(conn, "touch")
    added = insert_many(conn, touch, list(rows.values()), ignore_conflicts=True)
    return Counter(inserted=added, unchanged=fitting - added), refused


def _store_cases(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    refused: list[Refused] = []
    customers = people.find_customers(conn, _named(read, "customer"))
    existing = people.current(conn, support_case, ((row.key,) for _, row in read))
    opened = {identity[0]: found["opened_at"] for identity, found in existing.items()}
    wanted = []
    for entry, row in read:
        name, values = row.refs.get("customer"), dict(row.values)
        person = customers.get(name or "")
        closed_at = values.get("closed_at")
        if name and person is None:
            _refuse(refused, entry, _UNKNOWN_CUSTOMER)
        elif row.key not in opened and (person is None or "opened_at" not in values):
            what = "opened_at" if person is not None else "customer"
            _refuse(refused, entry, f"{what} is missing; a new case needs one")
        elif closed_at is not None and closed_at < (values.get("opened_at") or opened[row.key]):
            _refuse(refused, entry, "closed_at is before the case was opened")
        else:
            opened[row.key] = values.get("opened_at") or opened[row.key]
            whose = {"customer_id": person.id, "account_id": person.account_id} if person is not None else {}
            wanted.append(Wanted((row.key,), values | whose))
    return Counter(people.upsert(conn, support_case, wanted, existing, now=job.now)), refused


def _without_person(refused: Refused) -> Refused:
    """A refused row of a list: only where it stands and what is wrong. Whoever is on it gave us nothing to keep."""
    return Refused(refused.line, {}, refused.problem.partition("; left over:")[0])


def _store_suppressions(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    refused: list[Refused] = []
    months = SUPPRESSION_LISTS[job.list_name]
    ends = job.now.replace(hour=0, minute=0, second=0, microsecond=0)
    until = None if months is None else datetime.combine(add_months(ends.date(), months), ends.timetz())
    rows = []
    for entry, row in read:
        values = row.values
        if values.get("street") and not values.get("name") and job.list_name != "house":
            _refuse(refused, entry, "name is missing: without it everybody at the address would be on the list")
            continue
        if values.get("reason") and job.list_name != "house":
            job.reader.warnings["a reason of its own is kept of the house's list only: left out"] += 1
        reason = (values.get("reason") if job.list_name == "house" else None) or job.list_name
        found = listed_keys(job.keys, job.list_name, values)
        rows.append(Listed(found, reason, values.get("until") or until, job.list_name))
    return Counter(put_on_list(conn, rows, job.now)), refused


def _store_outcomes(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    """What became of tasks. One that is told twice is told once, by when it was."""
    refused: list[Refused] = []
    told = []
    known = outcomes.tasks(conn, {row.key for _, row in read})
    for entry, row in read:
        found = known.get(row.key)
        if found is None:
            _refuse(refused, entry, "there is no such task, or it was never given out")
        else:
            told.append(outcomes.Told(found, row.values["outcome"], row.values.get("note") or "", row.values["at"]))
    added = outcomes.record(conn, job.keys, told, now=job.now)
    return Counter(inserted=added, unchanged=len(told) - added), refused


def _store_slips(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    """Codes for a pool, what tills redeemed, what became of claims."""
    told = fulfil.take_in(conn, job.reader.kind, job.vocabulary, job.list_name, [row for _, row in read], job.now)
    pairs = [(entry, became, problem) for (entry, _), (became, problem) in zip(read, told, strict=True)]
    refused = [Refused(entry[0], entry[1], problem) for entry, _, problem in pairs if problem]
    return Counter(became for _, became, problem in pairs if not problem), refused


def _store_points(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    """Opening balances and corrections: what an older programme says, or a person."""
    refused: list[Refused] = []
    found = _owners(conn, read)
    grants = []
    for entry, row in read:
        owner = _owner_of(row, found)
        if isinstance(owner, str):
            _refuse(refused, entry, owner)
        else:
            whose = owner["customer_id"], owner["account_id"]
            grants.append(earn.Grant(job.keys.hash("points", row.key), *whose, **row.values))
    added = earn.take_in(conn, grants, job.now)
    return Counter(inserted=added, unchanged=len(grants) - added), refused


def _store_referrals(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    """Who was brought by whose code. What does not count is put aside with the reason; it is written once."""
    refused: list[Refused] = []
    found = _owners(conn, read)
    claims, entries = [], []
    for entry, row in read:
        owner = _owner_of(row, found)
        if isinstance(owner, str):
            _refuse(refused, entry, owner)
        else:
            claims.append(refer.Claim(row.key, owner["customer_id"], owner["account_id"], row.values["at"]))
            entries.append(entry)
    counts: Counter[str] = Counter()
    for entry, answer in zip(entries, refer.take_in(conn, claims, job.now), strict=True):
        if answer.state == "refused":
            _refuse(refused, entry, f"{answer.reason}: {refer.REASONS[answer.reason]}")
        else:
            counts["inserted" if answer.new else "unchanged"] += 1
    return counts, refused


def _store_costs(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    new, changed, same = measure.take_costs(conn, [row for _, row in read], job.vocabulary.currency)
    return Counter(inserted=new, updated=changed, unchanged=same), []


def _store_answers(conn: sa.Connection, job: _Job, read: _Read) -> _Result:
    """Answers to surveys. A row that names a person where nobody may be named is not kept in the quarantine, either."""
    customers = people.find_customers(conn, _named(read, "customer"))
    found = answering.take_in(conn, job.keys, job.vocabulary, [row for _, row in read], customers, job.now)
    _tell(conn, job, found.event_ids)
    refused = [
        Refused(read[place][0][0], {} if place in found.secret else read[place][0][1], problem)
        for place, problem in found.wrong.items()
    ]
    added = len(found.event_ids) + found.nobodys
    return Counter(inserted=added, unchanged=len(read) - len(refused) - added), refused


_STORE: Mapping[ImportKind, Callable[[sa.Connection, _Job, _Read], _Result]] = {
    "customers": _store_customers,
    "accounts": _store_accounts,
    "records": _store_records,
    "events": _store_events,
    "consents": _store_consents,
    "devices": _store_devices,
    "touches": _store_touches,
    "cases": _store_cases,
    "suppressions": _store_suppressions,
    "outcomes": _store_outcomes,
    "vouchers": _store_slips,
    "redemptions": _store_slips,
    "claims": _store_slips,
    "points": _store_points,
    "referrals": _store_referrals,
    "costs": _store_costs,
    "answers": _store_answers,
}
_UNKNOWN_CUSTOMER = "this customer is not known; import the customers first"


def _named(read: _Read, ref: str) -> set[str]:
    return {name for _, row in read if (name := row.refs.get(ref))}


def _owners(conn: sa.Connection, read: _Read) -> tuple[dict[str, people.Person], dict[str, int]]:
    return people.find_customers(conn, _named(read, "customer")), people.find_accounts(conn, _named(read, "account"))


def _owner_of(
    row: ReadRow, found: tuple[Mapping[str, people.Person], Mapping[str, int]]
) -> dict[str, int | None] | str:
    """Whose it is, as ids (both None when nobody is named); or why that is not known."""
    customers, accounts = found
    name, company = row.refs.get("customer"), row.refs.get("account")
    if name and name not in customers:
        return _UNKNOWN_CUSTOMER
    if company and company not in accounts:
        return f"account `{company}` is not known; import the accounts first"
    return {
        "customer_id": customers[name].id if name else None,
        "account_id": accounts[company] if company else None,
    }
