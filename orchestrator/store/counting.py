"""What is counted of a batch's recipients: contacts, open cases, rivals for the room under a cap, and money.

Read once before the verdicts, and what others may have changed meanwhile once more under the locks of the commit
point. A fixed number of statements per batch, and none for what the policies do not ask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from channels.base import Medium
from orchestrator.model import Cap, Policies, Purpose, Vocabulary
from orchestrator.outbound import Due
from orchestrator.rules import Contact, Rival, Wishes
from orchestrator.store.database import bound_among, bound_ids, bound_keys
from orchestrator.store.tables import batch as batch_table
from orchestrator.store.tables import journey_control, message, reservation, spend, support_case, touch
from orchestrator.zones import Period, local

PATIENCE = timedelta(hours=1)
"""How long a message that was held waits for a rival that is ready and does not go: its channel may be out of use."""

_LONGEST = {"day": timedelta(days=1, hours=1), "week": timedelta(days=7, hours=1), "month": timedelta(days=31, hours=1)}
_MOST_RIVALS = 20  # each stands in the decision's line of the log
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_PERIODS: tuple[Period, ...] = ("day", "week", "month")
_MEDIA = {medium.value: medium for medium in Medium}


class Asks(Protocol):
    """What counting needs to know of what is asked of a batch."""

    @property
    def medium(self) -> Medium: ...
    @property
    def policies(self) -> Policies: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def now(self) -> datetime: ...


class Counted(NamedTuple):
    """What was found reserved (message ids) and spent: judged again where the commit point finds another."""

    reserved: frozenset[int]
    spent: int


class Waiting(NamedTuple):
    """A message that is ready: how it ranks (lowest goes first), and since when."""

    rank: tuple[int, datetime, int]
    since: datetime
    rival: Rival


@dataclass(frozen=True, slots=True)
class Around:
    """What no decision of ours changes: contacts of other departments, customers with an open case, who else waits, and
    what customers wish for themselves."""

    touches: tuple[Contact, ...] = ()
    cases: frozenset[int] = frozenset()
    waiting: Mapping[int, tuple[Waiting, ...]] = field(default_factory=dict)
    wishes: Mapping[int, Wishes] = field(default_factory=dict)  # of customers who said how much they want to hear


@dataclass(slots=True)
class Contacts:
    """What was allowed before, within this batch too, by customer, by account and by content. Grows as one allows.

    `reserved`: ids of messages that were allowed before, as far as they count. `spent`: millionths of the workspace
    currency on the batch's medium in its budget's period; `price` of one message, or of one segment of a text; `day`:
    the workspace's local day that costs are booked on, "" where a message costs nothing.
    """

    by_customer: dict[int, list[Contact]]
    by_account: dict[int, list[Contact]]
    sent_at: dict[str, datetime]
    around: Around = field(default_factory=Around)
    reserved: set[int] = field(default_factory=set)
    spent: int = 0
    price: int = 0
    day: str = ""
    accounts: bool = True  # whether a cap is an account's: then a contact is its colleagues' too, and in their lines

    def of(self, due: Due) -> list[Contact]:
        """Each once: the customer's own, and those of the account's other contacts."""
        own = self.by_customer.get(due.customer_id, []) if due.customer_id is not None else []
        if due.account_id is None:
            return list(own)
        return [*own, *(c for c in self.by_account.get(due.account_id, []) if c.customer_id != due.customer_id)]

    def add(self, contact: Contact, dedupe_key: str, cost: int) -> None:
        self.put(contact)
        self.sent_at[dedupe_key] = contact.at
        self.spent += cost

    def put(self, contact: Contact) -> None:
        self.by_customer.setdefault(contact.customer_id, []).append(contact)
        if self.accounts and contact.account_id is not None:
            self.by_account.setdefault(contact.account_id, []).append(contact)

    def rivals(self, due: Due, now: datetime) -> tuple[Rival, ...]:
        """Who goes before this message: higher priority, then planned earlier, then the lower id.

        That order is total, so that two never wait for one another. The first twenty: no more room is ever shared.
        """
        waiting = self.around.waiting.get(due.customer_id) if due.customer_id is not None else None
        if not waiting or due.purpose != "marketing" or due.addressee != "customer":
            return ()
        own = _rank(due.priority, due.planned_at, due.id)
        patient = due.state == "planned"  # its first turn: whoever was ready before it may have had none either
        first = (w.rival for w in waiting if w.rank < own and (patient or now - w.since < PATIENCE))
        # What was allowed since we looked who waits is among the contacts by now.
        return tuple(islice((rival for rival in first if rival.message_id not in self.reserved), _MOST_RIVALS))


def counted(
    conn: sa.Connection,
    batch: Sequence[Due],
    dedupe_keys: Mapping[int, str],
    asked: Asks,
    again: Contacts | None = None,
    wishes: Mapping[int, Wishes] = MappingProxyType({}),
) -> tuple[Counted, Contacts]:
    """What caps, dedupe and budgets count of these recipients, and what that stands for: at most six statements.

    `again`: what was found before the locks were taken. Then only what others may have changed is read, at most three
    statements, and money is locked. `wishes`: of the customers who said how much they want to hear.
    """
    policies, now = asked.policies, asked.now
    marketing = [d for d in batch if d.purpose == "marketing" and d.addressee == "customer"]
    if again is not None:
        wishes = again.around.wishes
    since = _reaches_back(asked, wishes.values()) if marketing else None
    around = again.around if again is not None else _around(conn, batch, marketing, since, asked, wishes)
    contacts = Contacts(defaultdict(list), defaultdict(list), {}, around)
    contacts.accounts = _by_account(policies.caps)
    for contact in around.touches:
        contacts.put(contact)
    reserved = contacts.reserved
    if since is not None:
        for message_id, contact in _reservations(conn, marketing, policies.caps, since):
            reserved.add(message_id)
            contacts.put(contact)
    if policies.dedupe is not None and dedupe_keys:
        values = {"keys": list(set(dedupe_keys.values())), "since": now - policies.dedupe}
        for dedupe_key, message_id, at in conn.execute(_same(conn.dialect.name), values).all():
            reserved.add(message_id)
            contacts.sent_at[dedupe_key] = at
    _money(conn, contacts, asked, lock=again is not None)
    return Counted(frozenset(reserved), contacts.spent), contacts


@cache
def _same(dialect: str) -> sa.Select[Any]:
    """What was allowed of the same content to the same address, the latest last."""
    listed, r = bound_keys(dialect), reservation.c
    query = sa.select(r.dedupe_key, r.message_id, r.at).join(listed, listed.c.key == r.dedupe_key)
    return query.where(r.at > sa.bindparam("since")).order_by(r.at)


# ---- contacts -------------------------------------------------------------------------------------------------------


def _reaches_back(asked: Asks, wishes: Iterable[Wishes]) -> datetime | None:
    """From when on contacts may count, under the workspace's caps, the law's and the customers' own; None where there
    is no cap."""
    now = asked.now
    spans = [
        _ALWAYS if c.within is None and c.per is None else now - (c.within or _LONGEST[c.per or ""])
        for c in asked.policies.caps
    ]
    hours = asked.policies.ruleset.hours
    spans += [now - row.cap.within for row in hours if row.cap is not None and asked.medium.value in row.media]
    spans += [now - _LONGEST[per] for per in {w.per for w in wishes if w.at_most is not None}]
    return min(spans) if spans else None


def _reservations(
    conn: sa.Connection, batch: Sequence[Due], caps: Iterable[Cap], since: datetime
) -> list[tuple[int, Contact]]:
    """Marketing that was allowed to these customers, or (under a cap for accounts) to anybody of their accounts."""
    accounts = _by_account(caps)
    values = {**_whose(batch, accounts), "since": since}
    return [
        (message_id, Contact(at, _MEDIA[medium], topic, cast(Purpose, purpose), customer_id, account_id))
        for message_id, at, medium, topic, purpose, customer_id, account_id in conn.execute(
            _reserved(conn.dialect.name, accounts), values
        )
    ]


@cache
def _reserved(dialect: str, accounts: bool) -> Any:
    names = ("message_id", "at", "medium", "topic", "purpose", "customer_id", "account_id")
    recent = sa.and_(reservation.c.at >= sa.bindparam("since"), reservation.c.purpose == "marketing")
    return _theirs(dialect, reservation, names, recent, accounts)


def _touches(conn: sa.Connection, batch: Sequence[Due], since: datetime, asked: Asks) -> tuple[Contact, ...]:
    """Contacts of the departments that the policies name. They have no topic, and count as marketing does."""
    accounts = _by_account(asked.policies.caps)
    query = _touched(conn.dialect.name, accounts, tuple(sorted(asked.policies.counting)))
    rows = conn.execute(query, {**_whose(batch, accounts), "since": since, "now": asked.now})
    return tuple(
        Contact(r.at, _MEDIA[r.medium], "", "marketing", r.customer_id, r.account_id, r.department)
        for r in rows
        if r.medium in _MEDIA
    )


@lru_cache(maxsize=8)
def _touched(dialect: str, accounts: bool, departments: tuple[str, ...]) -> Any:
    names = ("id", "at", "medium", "department", "customer_id", "account_id")
    recent = sa.and_(touch.c.at >= sa.bindparam("since"), touch.c.at <= sa.bindparam("now"))
    return _theirs(dialect, touch, names, sa.and_(recent, touch.c.department.in_(departments)), accounts)


def _by_account(caps: Iterable[Cap]) -> bool:
    return any(cap.scope == "account" for cap in caps)


def _whose(batch: Iterable[Due], accounts: bool = False) -> dict[str, Any]:
    """The batch's customers, and their accounts, as they are bound."""
    found: dict[str, Any] = {"customers": list({d.customer_id for d in batch if d.customer_id is not None})}
    if accounts:
        found["accounts"] = list({d.account_id for d in batch if d.account_id is not None})
    return found


def _theirs(dialect: str, table: sa.Table, names: Iterable[str], where: Any, accounts: bool) -> Any:
    """A table's rows of the batch's customers, and of their accounts where a cap counts by them; each once."""
    columns = [table.c[name] for name in names]
    query: Any = sa.select(*columns).where(bound_among(dialect, table.c.customer_id, "customers"), where)
    if accounts:
        query = query.union(sa.select(*columns).where(bound_among(dialect, table.c.account_id, "accounts"), where))
    return query


# ---- what is around -------------------------------------------------------------------------------------------------


def _around(
    conn: sa.Connection,
    batch: Sequence[Due],
    marketing: Sequence[Due],
    since: datetime | None,
    asked: Asks,
    wishes: Mapping[int, Wishes],
) -> Around:
    if not marketing:
        return Around(wishes=wishes)
    policies = asked.policies
    return Around(
        _touches(conn, marketing, since, asked) if since is not None and policies.counting else (),
        _open_cases(conn, marketing, asked.now) if policies.pause_on_case else frozenset(),
        _waiting(conn, batch, marketing, asked.now) if since is not None else {},
        wishes,
    )


def _open_cases(conn: sa.Connection, batch: Sequence[Due], now: datetime) -> frozenset[int]:
    """Customers with a case that is open now. The customer's own: a colleague's trouble is not everybody's."""
    return frozenset(conn.execute(_open(conn.dialect.name), {**_whose(batch), "now": now}).scalars())


@cache
def _open(dialect: str) -> sa.Select[Any]:
    c, now = support_case.c, sa.bindparam("now", type_=support_case.c.opened_at.type)
    return sa.select(c.customer_id).where(
        bound_among(dialect, c.customer_id, "customers"),
        c.opened_at <= now,
        sa.or_(c.closed_at.is_(None), c.closed_at > now),
    )


def _waiting(
    conn: sa.Connection, batch: Sequence[Due], marketing: Sequence[Due], now: datetime
) -> dict[int, tuple[Waiting, ...]]:
    """Marketing to the same customers that is ready now, in other batches. Within a batch the order does it.

    What is held till later, belongs to a paused journey or has expired cannot go, and is no rival.
    """
    own = {d.id for d in batch}
    found: dict[int, list[Waiting]] = defaultdict(list)
    rows = conn.execute(_ready(conn.dialect.name), {**_whose(marketing), "now": now}).all()
    for i, customer_id, account_id, medium, topic, priority, planned_at, due_at in rows:
        if i not in own:
            rival = Rival(i, _MEDIA[medium], topic, priority, account_id)
            found[customer_id].append(Waiting(_rank(priority, planned_at, i), due_at, rival))
    return {customer_id: tuple(sorted(those)) for customer_id, those in found.items()}


@cache
def _ready(dialect: str) -> sa.Select[Any]:
    names = ("id", "customer_id", "account_id", "medium", "topic", "priority", "planned_at")
    m, now = message.c, sa.bindparam("now", type_=batch_table.c.due_at.type)
    return (
        sa.select(*(m[name] for name in names), batch_table.c.due_at)
        .join(batch_table, batch_table.c.id == m.batch_id)
        .where(
            bound_among(dialect, m.customer_id, "customers"),
            sa.text("message.state IN ('planned', 'held')"),  # as the index says it: a bound value would not match
            m.purpose == "marketing",
            m.addressee == "customer",
            sa.or_(m.expires_at.is_(None), m.expires_at > now),
            sa.or_(m.journey.is_(None), m.journey.not_in(sa.select(journey_control.c.scope))),
            batch_table.c.done_at.is_(None),
            batch_table.c.due_at <= now,
        )
    )


def _rank(priority: int, planned_at: datetime, message_id: int) -> tuple[int, datetime, int]:
    return -priority, planned_at, message_id


# ---- money ----------------------------------------------------------------------------------------------------------


def _money(conn: sa.Connection, contacts: Contacts, asked: Asks, *, lock: bool) -> None:
    """What a message costs, on what day, and what the budget's period has cost so far."""
    contacts.price = asked.policies.prices.get(asked.medium, 0)
    budget = asked.policies.budgets.get(asked.medium)
    if not contacts.price and budget is None:
        return
    day = (local(asked.now, asked.vocabulary.timezone) or asked.now).date()
    contacts.day = day.isoformat()
    if budget is None:
        return
    if lock:
        amounts = book(conn, {(asked.medium.value, contacts.day): 0})
        contacts.spent = amounts[asked.medium.value, period(day, budget[2])]
        return
    values = {"medium": asked.medium.value, "period": period(day, budget[2])}
    contacts.spent = conn.execute(_SPENT, values).scalar_one_or_none() or 0


_SPENT: Final = sa.select(spend.c.amount).where(
    spend.c.medium == sa.bindparam("medium"), spend.c.period == sa.bindparam("period")
)


def period(day: date, per: Period) -> str:
    """The name of the period a day lies in: 2027-03-01, 2027-W09 (ISO, from Monday), 2027-03."""
    if per == "day":
        return day.isoformat()
    if per == "month":
        return day.isoformat()[:7]
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def book(conn: sa.Connection, amounts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """Add what was spent, or given back, on (medium, day); (medium, period) → what it is then. One statement.

    Each day's money is kept by day, week and month, so that a budget may change its period. The rows are locked till
    the end of the transaction, in the order of their names, behind enrollments, customers, accounts and messages.
    """
    changes: dict[tuple[str, str], int] = defaultdict(int)
    for (medium, day), amount in amounts.items():
        for per in _PERIODS:
            changes[medium, period(date.fromisoformat(day), per)] += amount
    if not changes:
        return {}
    values: dict[str, Any] = {}
    for n, (medium, name) in enumerate(sorted(changes)):
        values |= {f"medium_{n}": medium, f"period_{n}": name, f"amount_{n}": changes[medium, name]}
    added = conn.execute(_booking(conn.dialect.name, len(changes)), values)
    return {(row.medium, row.period): row.amount for row in added}


@lru_cache(maxsize=32)
def _booking(dialect: str, count: int) -> Any:
    names = ("medium", "period", "amount")
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(spend)
    insert = insert.values([{name: sa.bindparam(f"{name}_{n}") for name in names} for n in range(count)])
    return insert.on_conflict_do_update(
        index_elements=["medium", "period"], set_={"amount": spend.c.amount + insert.excluded.amount}
    ).returning(spend.c.medium, spend.c.period, spend.c.amount)


def taken_back(conn: sa.Connection, message_ids: Iterable[int]) -> dict[tuple[str, str], int]:
    """Delete reservations; (medium, day) → what is to be booked back for them, as negative amounts."""
    amounts: dict[tuple[str, str], int] = defaultdict(int)
    for medium, day, cost in conn.execute(_taking_back(conn.dialect.name), {"ids": list(message_ids)}).all():
        if day is not None and cost:
            amounts[medium, day] -= cost
    return dict(amounts)


@cache
def _taking_back(dialect: str) -> Any:
    r = reservation.c
    gone = reservation.delete().where(r.message_id.in_(sa.select(bound_ids(dialect).c.id)))
    return gone.returning(r.medium, r.day, r.cost)
