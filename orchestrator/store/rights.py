"""Taking one person out of the database: what is hers is blanked or deleted by set, what counts stays without her.

Ledgers are never touched: they hold numbers, codes and keyed hashes. What they say about a person is sealed beside
them (`log_detail`, `consent_evidence`) and goes, with the salt that it was sealed under.

Events and records are emptied and not deleted: runs point at them, their ids are how far ticks have looked, and a
company's totals count what its contacts did. An emptied one says that something of a type happened, not to whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.outbound import About, Due, address_text, destinations
from orchestrator.store.database import Store, id_list, insert_many, key_list, update_many
from orchestrator.store.feedback import lock_runs, suppress
from orchestrator.store.journeys import cancel_messages, wake_settled, withdraw
from orchestrator.store.keys import Keys, postal
from orchestrator.store.people import take_turns
from orchestrator.store.tables import (
    account,
    claim,
    consent_evidence,
    customer,
    declared,
    device,
    enrollment,
    erased,
    event,
    feedback,
    log,
    log_detail,
    loyalty,
    message,
    player,
    preference,
    record,
    referral_code,
    setting,
    support_case,
    touch,
    voucher,
)

ERASED = "erased"
"""Why an address is suppressed, and why runs and messages ended."""
_READY = ("planned", "held")
_LEFT = "erasing:"
_TABLES = (customer, device, event, record, touch, support_case, feedback, message, enrollment, consent_evidence,
           log_detail, preference, declared, loyalty, player, referral_code, claim, voucher)  # fmt: skip
"""Tables whose rows an erasure changes or deletes: what it leaves in their pages is vacuumed away."""
Row = Mapping[str, Any]
Hash = tuple[str, str]
"""(kind, keyed hash) as the table `erased` holds them: kind key, email, sms, mail or push."""


# ---- hashes ---------------------------------------------------------------------------------------------------------


def hashes_of(keys: Keys, row: Mapping[str, Any]) -> list[Hash]:
    """What a customer (or a device, with a `token`) is known by, as keyed hashes. A postal address counts together
    with the name: others live there."""
    found = [("key", keys.hash("customer", row["key"]))] if row.get("key") else []
    if row.get("email"):
        found.append(("email", keys.address_key(Medium.EMAIL, row["email"])))
    if row.get("phone"):
        found.append(("sms", keys.address_key(Medium.SMS, row["phone"])))
    if row.get("street") and row.get("last_name"):
        parts = ("first_name", "last_name", "street", "postcode", "city")
        found.append(("mail", keys.address_key(Medium.MAIL, postal(row.get(part) for part in parts))))
    if row.get("token"):
        found.append(("push", keys.address_key(Medium.PUSH, row["token"])))
    return found


def known_erased(conn: sa.Connection, hashes: Iterable[Hash]) -> dict[Hash, datetime]:
    """Those of these hashes that are of somebody who was erased, and when. One statement."""
    wanted = set(hashes)
    if not wanted:
        return {}
    listed = key_list(conn, {value for _, value in wanted})
    rows = conn.execute(
        sa.select(erased.c.kind, erased.c.hash, erased.c.at).join(listed, listed.c.key == erased.c.hash)
    )
    return {(row.kind, row.hash): row.at for row in rows if (row.kind, row.hash) in wanted}


_ANYBODY: Final = sa.select(erased.c.id).limit(1)


def any_erased(conn: sa.Connection) -> bool:
    """Whether anybody was ever erased."""
    return conn.execute(_ANYBODY).one_or_none() is not None


_BY = {"key": "this key", "email": "this e-mail address", "sms": "this number", "mail": "this name and address"}


def turned_away(conn: sa.Connection, keys: Keys, rows: Mapping[str, Row]) -> dict[str, str]:
    """Rows that would bring back somebody who was erased: by the rows' own names, what to tell of them (no person's
    data). Two statements; one where nobody was ever erased."""
    if not rows or not any_erased(conn):
        return {}
    hashes = {name: hashes_of(keys, row) for name, row in rows.items()}
    known = known_erased(conn, (h for some in hashes.values() for h in some))
    found = {}
    for name, some in hashes.items():
        kind, at = next(((h[0], known[h]) for h in some if h in known), ("", None))
        if at is not None:
            whose = _BY.get(kind, "this device")
            found[name] = f"somebody with {whose} was erased on {at:%Y-%m-%d}: only they can ask to come back"
    return found


# ---- who ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """A customer with every record that was merged into it, as they are before the erasure; tokens of all devices."""

    id: int
    rows: tuple[Row, ...]
    tokens: tuple[str, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(row["id"] for row in self.rows)

    def hashes(self, keys: Keys) -> list[Hash]:
        """Everything that she is known by, each once."""
        found = [h for row in self.rows for h in hashes_of(keys, row)]
        found += [h for token in self.tokens for h in hashes_of(keys, {"token": token})]
        return list(dict.fromkeys(found))

    def names(self) -> frozenset[str]:
        """What names her and nobody else, as files may have it: keys, addresses, numbers, tokens."""
        found = {row[name] for row in self.rows for name in ("key", "email", "phone") if row[name]}
        return frozenset(found | set(self.tokens))


def person(conn: sa.Connection, key: str) -> Person | None:
    """Whom a key stands for; None when nobody is called that."""
    c = customer.c
    found = conn.execute(sa.select(sa.func.coalesce(c.merged_into, c.id)).where(c.key == key)).scalar_one_or_none()
    return None if found is None else by_id(conn, found)


def by_id(conn: sa.Connection, kept: int, *, lock: bool = False) -> Person:
    """The person whose kept record has this id; with `lock`, nobody else's to change until the transaction ends."""
    c = customer.c
    query = sa.select(customer).where(sa.or_(c.id == kept, c.merged_into == kept)).order_by(c.id)
    if lock:
        ids = sa.select(c.id).where(sa.or_(c.id == kept, c.merged_into == kept))
        lock_runs(conn, sa.select(enrollment.c.id).where(enrollment.c.customer_id.in_(ids)))
        query = query.with_for_update()
    rows = tuple(dict(row) for row in conn.execute(query).mappings())
    listed = id_list(conn, [row["id"] for row in rows])
    tokens = conn.execute(
        sa.select(device.c.token).join(listed, listed.c.id == device.c.customer_id).order_by(device.c.id)
    )
    return Person(kept, rows, tuple(tokens.scalars()))


def addresses_of(conn: sa.Connection, one: Person, keys: Keys) -> list[Hash]:
    """(medium, address key) of everywhere she can be written to, as `deliver` knows these addresses."""
    listed = id_list(conn, {row["account_id"] for row in one.rows if row["account_id"] is not None})
    query = sa.select(account.c.id, account.c.name).join(listed, listed.c.id == account.c.id)
    names = {row.id: {"name": row.name} for row in conn.execute(query)}
    found: dict[Hash, None] = {}
    for row in one.rows:
        about = About(customer=dict(row), account=names.get(row["account_id"]), devices=one.tokens)
        for medium in (Medium.EMAIL, Medium.SMS, Medium.PUSH, Medium.MAIL):
            for to in destinations(_any_message(medium), about):
                found[medium.value, keys.address_key(medium, address_text(medium, to))] = None
    return list(found)


def _any_message(medium: Medium) -> Due:
    """A message of that medium to a customer, as far as its destination is concerned."""
    at = datetime.min.replace(tzinfo=UTC)
    to = (0, 0, "", None, None, None, "", 0, "customer", 0, None, None)
    return Due(*to, medium, "", "", "marketing", 0, "planned", at, at, None, 0, {})  # type: ignore[arg-type]


# ---- the erasure ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Emptied:
    """What an erasure did in the database, in numbers."""

    customers: int = 0
    runs_ended: int = 0
    messages_cancelled: int = 0
    addresses_suppressed: int = 0
    devices: int = 0
    events: int = 0
    records: int = 0
    contacts: int = 0
    evidence: int = 0
    details: int = 0
    under_way: int = 0


def empty(
    conn: sa.Connection, one: Person, hashes: Sequence[Hash], addresses: Iterable[Hash], now: datetime
) -> Emptied:
    """Take the person out, in this transaction. `addresses`: (medium, address key) she has or had.

    Every lock is taken in the order that everybody takes them: runs, customers, messages.
    """
    done = Emptied(customers=len(one.rows))
    listed = id_list(conn, one.ids)
    hers = sa.select(listed.c.id)
    done.runs_ended, done.messages_cancelled = _end(conn, one, now)
    done.addresses_suppressed = suppress(conn, [(medium, key, ERASED, None) for medium, key in addresses], now)
    rows = [(kind, value, one.id, now) for kind, value in hashes]
    take_turns(conn, "erased")  # ids in the order of commits, for `seal`
    insert_many(conn, erased, rows, columns=("kind", "hash", "customer_id", "at"), ignore_conflicts=True)
    done.under_way = conn.execute(
        sa.select(sa.func.count()).select_from(message).where(message.c.customer_id.in_(hers), _in_hand())
    ).scalar_one()
    done.details = _delete_details(conn, hers)
    done.evidence = conn.execute(sa.delete(consent_evidence).where(consent_evidence.c.customer_id.in_(hers))).rowcount
    events = _empty_events(conn, hers)
    done.events = len(events)
    done.records = conn.execute(
        sa.update(record)
        .where(record.c.customer_id.in_(hers))
        .values(key=_opaque(record.c.id), fields={}, updated_at=now)
    ).rowcount
    done.devices = conn.execute(sa.delete(device).where(device.c.customer_id.in_(hers))).rowcount
    for own in (preference, declared):
        conn.execute(sa.delete(own).where(own.c.customer_id.in_(hers)))
    for table in (touch, support_case):
        done.contacts += conn.execute(sa.delete(table).where(table.c.customer_id.in_(hers))).rowcount
    _leave_the_programme(conn, hers)
    _empty_messages(conn, hers)
    _empty_runs(conn, hers, events)
    conn.execute(sa.update(customer).where(customer.c.id.in_(hers)).values(**_nothing(now)))
    return done


def _in_hand() -> Any:
    return message.c.state == "sending"


def _opaque(id_: Any) -> Any:
    return sa.literal("erased-") + sa.cast(id_, sa.Text)


def _nothing(now: datetime) -> dict[str, Any]:
    """A customer's row with nothing of a person in it. `left_at`: nothing is sent to it, and it enters no journey."""
    kept = {"id", "class", "merged_into", "created_at"}
    blank: dict[str, Any] = {c.name: sa.null() for c in customer.columns if c.name not in kept}
    return blank | {
        "key": _opaque(customer.c.id),
        "attributes": {},
        "left_at": now,
        "erased_at": now,
        "updated_at": now,
    }


def _end(conn: sa.Connection, one: Person, now: datetime) -> tuple[int, int]:
    """End her runs and withdraw what is queued for her, or about her: (runs, messages)."""
    listed = id_list(conn, one.ids)
    hers = sa.select(listed.c.id)
    e, m = enrollment.c, message.c
    own = sa.and_(e.unit == "customer", e.unit_id.in_(hers), e.ended_at.is_(None))
    runs = list(
        conn.execute(
            sa.update(enrollment)
            .where(own)
            .values(ended_at=now, ended_because="erased", live_key=None, wake_at=None)
            .returning(e.id)
        ).scalars()
    )
    cancelled = cancel_messages(conn, dict.fromkeys(runs, (None, ERASED)), now)
    columns = (m.id, m.attempts, m.journey, m.step, m.enrollment_id)
    # What a company's run has queued for her, and tasks about her.
    query = sa.select(*columns).where(m.customer_id.in_(hers), m.state.in_(_READY)).order_by(m.id)
    queued = conn.execute(query.with_for_update()).all()
    cancelled += withdraw(conn, [(row, ERASED) for row in queued], now)
    wake_settled(conn, {row.enrollment_id for row in queued if row.enrollment_id is not None}, now)
    return len(runs), cancelled


def _delete_details(conn: sa.Connection, hers: Any) -> int:
    about = sa.select(log.c.id).join(message, message.c.id == log.c.message_id).where(message.c.customer_id.in_(hers))
    sealed = sa.or_(log_detail.c.customer_id.in_(hers), log_detail.c.log_id.in_(about))
    return conn.execute(sa.delete(log_detail).where(sealed)).rowcount


def _empty_events(conn: sa.Connection, hers: Any) -> list[int]:
    """Nobody's any more, and without their keys and properties; their ids. Of a company's, amounts of money stay: its
    totals are its own."""
    e = event.c
    rows = conn.execute(sa.select(e.id, e.account_id, e.properties).where(e.customer_id.in_(hers)).order_by(e.id)).all()
    nobody = sa.update(event).where(e.customer_id.in_(hers))
    conn.execute(nobody.values(key=_opaque(e.id), properties={}, customer_id=sa.null()))
    amounts = [(row.id, _amounts(row.properties)) for row in rows if row.account_id is not None]
    update_many(conn, event, [{"id": i, "properties": kept} for i, kept in amounts if kept], where=("id",))
    return [row.id for row in rows]


def _leave_the_programme(conn: sa.Connection, hers: Any) -> None:
    """What is known of her as a member, the name she plays under and the code she handed on go. A voucher's code stays
    in its pool, and what was claimed in the count, as nobody's; the ledger of points holds numbers alone."""
    for table in (loyalty, player, referral_code):
        conn.execute(sa.delete(table).where(table.c.unit == "customer", table.c.unit_id.in_(hers)))
    conn.execute(sa.delete(referral_code).where(referral_code.c.customer_id.in_(hers)))
    own = sa.and_(voucher.c.unit == "customer", voucher.c.unit_id.in_(hers))
    opaque = sa.case((voucher.c.given_key.is_(None), sa.null()), else_=_opaque(voucher.c.id))
    conn.execute(sa.update(voucher).where(own).values(unit=sa.null(), unit_id=sa.null(), given_key=opaque))
    conn.execute(sa.update(voucher).where(voucher.c.customer_id.in_(hers)).values(customer_id=sa.null()))
    # Whoever sent a claim may have named it after her.
    conn.execute(sa.update(claim).where(claim.c.customer_id.in_(hers)).values(key=_opaque(claim.c.id)))


def _amounts(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are money: a whole number of minor units and its currency."""
    kept: dict[str, Any] = {}
    for name, value in properties.items():
        currency = properties.get(f"{name}_currency")
        if isinstance(value, int) and isinstance(currency, str) and len(currency) == 3:
            kept |= {name: value, f"{name}_currency": currency}
    return kept


def _empty_messages(conn: sa.Connection, hers: Any) -> None:
    m = message.c
    theirs = sa.select(m.id).where(m.customer_id.in_(hers))
    # The address of a link may name who clicked on it; two clicks at one instant stay two.
    conn.execute(
        sa.update(feedback)
        .where(feedback.c.message_id.in_(theirs), feedback.c.url != "")
        .values(url=_opaque(feedback.c.id))
    )
    # What is at the provider at this moment still needs its number there, to be settled by.
    conn.execute(
        sa.update(message).where(m.customer_id.in_(hers), ~_in_hand()).values(payload={}, provider_id=sa.null())
    )


def _empty_runs(conn: sa.Connection, hers: Any, events: Sequence[int]) -> None:
    """A run may be named after an event's key, a record's or a date of hers; her company's may be, too."""
    e = enrollment.c
    own = sa.and_(e.unit == "customer", e.unit_id.in_(hers))
    conn.execute(sa.update(enrollment).where(own).values(run_key=_opaque(e.id), memory={}))
    if events:
        began = id_list(conn, events)
        about = sa.and_(e.unit == "account", e.event_id.in_(sa.select(began.c.id)))
        live = sa.case((e.live_key == e.run_key, _opaque(e.id)), else_=e.live_key)
        conn.execute(sa.update(enrollment).where(about).values(run_key=_opaque(e.id), live_key=live))


def accounts_left_alone(conn: sa.Connection, one: Person) -> list[str]:
    """Keys of companies whose only contact she is: the company's own name may be hers."""
    ids = {row["account_id"] for row in one.rows if row["account_id"] is not None}
    if not ids:
        return []
    listed, gone = id_list(conn, ids), id_list(conn, one.ids)
    others = sa.exists().where(customer.c.account_id == account.c.id, customer.c.id.not_in(sa.select(gone.c.id)))
    query = sa.select(account.c.key).join(listed, listed.c.id == account.c.id).where(~others.correlate(account))
    return list(conn.execute(query.order_by(account.c.key)).scalars())


# ---- what is left to do ---------------------------------------------------------------------------------------------


def note_left(conn: sa.Connection, kept: int, ids: Sequence[int], left: Sequence[str]) -> None:
    """Remember, by numbers alone, what is to be done outside the transaction; nothing left: forget it."""
    conn.execute(sa.delete(setting).where(setting.c.name == f"{_LEFT}{kept}"))
    if left:
        value = json.dumps({"ids": list(ids), "left": list(left)})
        conn.execute(setting.insert().values(name=f"{_LEFT}{kept}", value=value))


def left_to_do(conn: sa.Connection) -> dict[int, tuple[tuple[int, ...], tuple[str, ...]]]:
    """Customer id → (ids of all its records, what is to be done) of erasures that were not finished."""
    rows = conn.execute(sa.select(setting).where(setting.c.name.startswith(_LEFT)).order_by(setting.c.name))
    found = {}
    for row in rows:
        value = json.loads(row.value)
        found[int(row.name.removeprefix(_LEFT))] = (tuple(value["ids"]), tuple(value["left"]))
    return found


def message_ids(conn: sa.Connection, ids: Sequence[int]) -> frozenset[int]:
    """Every message to these customers, or about them."""
    listed = id_list(conn, ids)
    return frozenset(
        conn.execute(sa.select(message.c.id).where(message.c.customer_id.in_(sa.select(listed.c.id)))).scalars()
    )


def under_way(conn: sa.Connection, ids: Sequence[int]) -> int:
    """How many of their messages are being handed over at this moment."""
    listed = id_list(conn, ids)
    query = sa.select(sa.func.count()).select_from(message)
    return int(conn.execute(query.where(message.c.customer_id.in_(sa.select(listed.c.id)), _in_hand())).scalar_one())


def sweep(conn: sa.Connection, ids: Sequence[int]) -> None:
    """Once more over what others may have written while the erasure waited for nobody: a run that was just beginning,
    an event that was just coming in, a message that was under way and is settled now."""
    listed = id_list(conn, ids)
    hers = sa.select(listed.c.id)
    rows = tuple(dict(row) for row in conn.execute(sa.select(customer).where(customer.c.id.in_(hers))).mappings())
    lock_runs(conn, sa.select(enrollment.c.id).where(enrollment.c.customer_id.in_(hers)))
    _end(conn, Person(ids[0], rows, ()), rows[0]["erased_at"])
    events = _empty_events(conn, hers)
    _delete_details(conn, hers)
    _empty_messages(conn, hers)
    _empty_runs(conn, hers, events)


def scrub(store: Store) -> list[str]:
    """Write the database's files anew, so that no page keeps what was deleted from it. Returns what could not be done,
    in words for an operator; raises StoreUnavailable when it is locked."""
    if store.dialect == "sqlite":
        return _scrub_sqlite(store)
    return _scrub_postgresql(store)


def _scrub_sqlite(store: Store) -> list[str]:
    # Outside a transaction: the store's own `write` begins one. StaticPool's database in memory has no file to clean.
    raw = store.engine.raw_connection()
    try:
        connection: Any = raw.driver_connection
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
        row = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except Exception as error:  # sqlite3's own: the driver is the store's business
        if "locked" not in str(error) and "busy" not in str(error):
            raise
        row = (1,)
    finally:
        raw.close()
    if row and row[0]:
        return ["the database's files could not be written anew: another process is reading or writing; stop it, and "
                "run the command again"]  # fmt: skip
    return []


def _scrub_postgresql(store: Store) -> list[str]:
    """The tables, with the statistics that hold samples of their values."""
    owner = sa.text(
        "SELECT c.relname FROM pg_class c WHERE c.relname = ANY(:names) AND c.relkind = 'r' "
        "AND pg_table_is_visible(c.oid) AND pg_has_role(c.relowner, 'USAGE') "
        "UNION ALL SELECT 'pg_statistic' FROM pg_database d WHERE d.datname = current_database() "
        "AND pg_has_role(d.datdba, 'USAGE')"
    )
    names = [table.name for table in _TABLES]
    with store.read() as conn:
        owned = set(conn.execute(owner, {"names": names}).scalars())
    quote = store.engine.dialect.identifier_preparer.quote
    wanted = {name: f"VACUUM (FULL, ANALYZE) {quote(name)}" for name in names}
    # Last: the samples of before are dead rows of it now.
    wanted["pg_statistic"] = "VACUUM (FULL) pg_catalog.pg_statistic"
    left = []
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for name, statement in wanted.items():
            try:
                if name in owned:
                    conn.exec_driver_sql(statement)
                else:
                    left.append(statement)
            except sa.exc.OperationalError:  # somebody holds rows for longer than we wait
                left.append(statement)
    if not left:
        return []
    return ["so that the tables' files keep nothing of what was deleted, their owner runs: " + "; ".join(left) + ";"]
