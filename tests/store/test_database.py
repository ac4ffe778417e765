"""The store itself: opening, transactions, schema, triggers, bulk, JSON members — on both databases."""

import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.store import (
    Store,
    StoreUnavailable,
    database,
    grant_application_role,
    id_list,
    insert_ids,
    insert_many,
    key_list,
)
from orchestrator.store import tables as t
from orchestrator.store.dialect import json_bool, json_date, json_instant, json_number, json_text

NOW = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)


def a_customer(key: str, **more):
    return {"key": key, "class": "b2c", "attributes": {}, "created_at": NOW, "updated_at": NOW, **more}


def test_migrations_and_metadata_agree(store: Store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, t.metadata) == []
        inspector = sa.inspect(conn)
        for table in t.metadata.sorted_tables:
            found = {c["name"] for c in inspector.get_check_constraints(table.name)}
            assert found == {str(c.name) for c in table.constraints if isinstance(c, sa.CheckConstraint)}


def test_schema_is_checked(database_url: str):
    store = Store.open(database_url, create=True)
    with pytest.raises(StoreUnavailable, match="no tables yet; run `orchestrator db upgrade`"):
        store.check_schema()
    store.migrate()
    store.check_schema()
    store.migrate()
    with store.write() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="newer version"):
        store.check_schema()
    with pytest.raises(StoreUnavailable, match="newer version"):
        store.migrate()
    store.close()


def test_an_older_schema_is_told(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "_revisions", lambda: ["0001", "0002"])
    with pytest.raises(StoreUnavailable, match=r"at schema 0001, .* needs 0002; run `orchestrator db upgrade`"):
        store.check_schema()


def test_revisions_are_named_by_their_number():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert [r.revision for r in reversed(list(script.walk_revisions()))] == database._revisions()
    assert script.get_heads() == [database._revisions()[-1]]


def test_absent_file_is_not_made(tmp_path: Path):
    with pytest.raises(StoreUnavailable, match="there is no database"):
        Store.open(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_is_private_and_survives_odd_names(tmp_path: Path):
    path = tmp_path / "50% of #1 ä.db"
    store = Store.open(sa.URL.create("sqlite", database=str(path)).render_as_string(), create=True)
    store.migrate()
    store.check_schema()
    assert path.stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_store_in_memory():
    store = Store.open("sqlite://")
    store.migrate()
    with store.write() as conn:
        insert_many(conn, t.customer, [a_customer("a")])
    with store.read() as conn:
        assert conn.execute(sa.select(t.customer.c.key)).scalars().all() == ["a"]
    store.close()


def test_unknown_urls_are_explained():
    for url in ("nonsense", "mysql://root:hunter2@host/db"):
        with pytest.raises(StoreUnavailable) as caught:
            Store.open(url)
        assert "hunter2" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_without_the_password():
    store = Store.open("postgresql://someone:hunter2@127.0.0.1:1/nothing")
    with pytest.raises(StoreUnavailable) as caught, store.read():
        pass
    assert "hunter2" not in str(caught.value)
    assert "cannot be reached" in str(caught.value)
    store.close()


def test_a_locked_file_is_told(sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(database, "int", lambda x: x, raising=False)
    store = Store.open(sqlite_database_url, create=True)
    store.migrate()
    with store.write():
        with pytest.raises(StoreUnavailable, match="locked"), store.write():
            pass
        with store.read() as conn:  # readers never wait
            assert conn.execute(sa.select(sa.func.count()).select_from(t.customer)).scalar_one() == 0
    store.close()


def test_a_locked_table_is_told(postgresql_database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    store = Store.open(postgresql_database_url)
    store.migrate()
    with store.write() as conn:
        conn.execute(sa.text("LOCK TABLE customer IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StoreUnavailable, match="locked"), store.write() as other:
            other.execute(sa.select(t.customer))
    store.close()


def test_a_file_gone_meanwhile_is_told(sqlite_database_url: str):
    store = Store.open(sqlite_database_url, create=True)
    Path(sqlite_database_url.removeprefix("sqlite:///")).unlink()
    with pytest.raises(StoreUnavailable, match="unable to open"), store.read():
        pass
    store.close()


def test_a_file_of_something_else_is_told(tmp_path: Path):
    path = tmp_path / "letter.db"
    path.write_text("Dear Sir, " * 500)
    store = Store.open(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not a database"), store.read():
        pass


def test_a_failed_block_leaves_nothing(store: Store):
    with pytest.raises(ZeroDivisionError), store.write() as conn:
        insert_many(conn, t.customer, [a_customer("a")])
        raise ZeroDivisionError
    with store.read() as conn:
        assert conn.execute(sa.select(t.customer)).all() == []


def test_a_read_is_a_snapshot(store: Store):
    count = sa.select(sa.func.count()).select_from(t.customer)
    with store.read() as conn:
        assert conn.execute(count).scalar_one() == 0
        with store.write() as other:
            insert_many(other, t.customer, [a_customer("a")])
        assert conn.execute(count).scalar_one() == 0
    with store.read() as conn:
        assert conn.execute(count).scalar_one() == 1


def test_writers_do_not_lose_each_others_work(store: Store):
    def work(name: str) -> None:
        for n in range(20):
            with store.write() as conn:
                insert_ids(conn, t.customer, [a_customer(f"{name}{n}")])

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as conn:
        assert conn.execute(sa.select(sa.func.count(t.customer.c.id.distinct()))).scalar_one() == 60


@pytest.mark.parametrize("table", t.APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET {key} = {key}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_ledgers_refuse_changes(store: Store, table: str, statement: str):
    if "TRUNCATE" in statement and store.dialect == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    _one_ledger_row(store, table)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), store.write() as conn:
        conn.execute(sa.text(statement.format(table, key=_key_of(table))))
    with store.read() as conn:
        assert conn.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one() == 1


def _key_of(table: str) -> str:
    """Quoted: an index is called that."""
    return f'"{t.metadata.tables[table].primary_key.columns[0].name}"'


def _one_ledger_row(store: Store, table: str) -> None:
    with store.write() as conn:
        insert_many(conn, t.customer, [a_customer("a", id=1000)])
        insert_many(conn, t.document, [{"hash": "h", "kind": "journey", "name": "j", "body": {}, "created_at": NOW}])
        run = {
            "id": 1,
            "journey": "j",
            "version": "h",
            "unit": "customer",
            "unit_id": 1000,
            "run_key": "",
            "live_key": "",
        }
        insert_many(conn, t.enrollment, [{**run, "entered_at": NOW, "since": NOW}])
        firm = {"id": 1, "key": "firm", "class": "partner", "created_at": NOW, "updated_at": NOW}
        insert_many(conn, t.account, [firm])
        sale = {"id": 1, "type": "bought", "key": "o1", "occurred_at": NOW, "received_at": NOW}
        insert_many(conn, t.event, [sale])
        asked = {"id": 1, "at": NOW, "author": "", "message": "", "base": None, "project": "", "files": {}}
        if table == "proposal_end":
            insert_many(conn, t.proposal, [asked])
        rows = {
            "log": {
                "at": NOW,
                "kind": "decision",
                "message_id": 1,
                "attempt": 0,
                "verdict": "allow",
                "body": b"\x00\\",
            },
            "consent_event": {"key": "k", "customer_id": 1000, "medium": "email", "topic": "*", "action": "grant"}
            | {"occurred_at": NOW, "received_at": NOW},
            "applied": {"at": NOW, "author": "", "message": "", "project": "", "files": {}, "journeys": {}},
            "proposal": asked,
            "proposal_end": {"proposal": 1, "at": NOW, "by": "", "what": "approved"},
            "tier_change": {"unit": "customer", "unit_id": 1, "class": "b2c", "direction": "up"}
            | {"at": NOW, "received_at": NOW},
            "band_change": {"unit": "customer", "unit_id": 1, "to_band": "top", "at": NOW},
            "point_entry": {"key": "k", "unit": "customer", "unit_id": 1000, "kind": "award", "points": 5}
            | {"at": NOW, "received_at": NOW, "active_at": NOW},
            "commission": {"key": "k", "account_id": 1, "event_id": 1, "amount": 5, "currency": "EUR"}
            | {"at": NOW, "received_at": NOW},
            "experiment_decision": {"at": NOW, "journey": "j", "step": "s", "cards": "c", "by": "bought", "seconds": 60}
            | {"confidence": 0.95, "winner": "a", "arms": [], "comparisons": []},
            "trace": {"enrollment_id": 1, "at": NOW, "step": "", "visit": 0, "what": "arrived"},
            "consent_wording": {"hash": "h", "text": "Yes, write to me.", "created_at": NOW},
            "erased": {"kind": "key", "hash": "h", "customer_id": 1000, "at": NOW},
            "leaf": {"index": 0, "ledger": "log", "row_id": 1, "hash": b"h" * 32},
            "checkpoint": {"size": 1, "at": NOW, "root": b"r", "note": "", "frontier": b"", "below": {"log": 1}},
        }
        insert_many(conn, t.metadata.tables[table], [rows[table]])


def test_the_application_role_owns_nothing(postgresql_database_url: str):
    owner = Store.open(postgresql_database_url)
    owner.migrate()
    with owner.write() as conn:
        conn.execute(sa.text("DROP ROLE IF EXISTS everyday"))
        conn.execute(sa.text("CREATE ROLE everyday LOGIN"))
        grant_application_role(conn, "everyday")
    _one_ledger_row(owner, "log")
    url = sa.make_url(postgresql_database_url).set(username="everyday").render_as_string(hide_password=False)
    app = Store.open(url)
    app.check_schema()
    with app.write() as conn:
        insert_ids(conn, t.customer, [a_customer("x"), a_customer("y")])
        insert_many(conn, t.customer, [a_customer("x"), a_customer("z")], ignore_conflicts=True)
        conn.execute(sa.update(t.customer).values(tier="gold"))
    statements = ["UPDATE alembic_version SET version_num = ''"]
    for table in t.APPEND_ONLY:
        key = _key_of(table)
        statements += [
            f"UPDATE {table} SET {key} = {key}",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
            f"ALTER TABLE {table} DISABLE TRIGGER ALL",
            f"DROP TRIGGER {table}_append_only ON {table}",
            f"DROP TABLE {table} CASCADE",
        ]
    for statement in statements:
        with pytest.raises(sa.exc.DBAPIError, match=r"permission denied|must be owner"), app.write() as conn:
            conn.execute(sa.text(statement))
    app.close()
    with owner.write() as conn:
        conn.execute(sa.text("DROP OWNED BY everyday"))
        conn.execute(sa.text("DROP ROLE everyday"))
    owner.close()


def test_bulk_keeps_every_value(store: Store):
    nasty = "tab\t newline\n return\r back\\slash \\N \"quotes\" 'single' äöü 😀 NULL"
    with store.write() as conn:
        rows = [a_customer("a", first_name=nasty, attributes={"x": nasty, "n": 1.5}, joined=date(2020, 2, 29))]
        rows += [
            a_customer("b", first_name=None, attributes={}, joined=None),
            a_customer("c", first_name="", joined=None),
        ]
        assert insert_many(conn, t.customer, rows) == 3
        body = bytes(range(256))
        log = {"at": NOW, "kind": "decision", "message_id": 1, "attempt": 0, "verdict": "allow", "body": body}
        assert insert_many(conn, t.log, [log]) == 1
    with store.read() as conn:
        c = t.customer.c
        found = conn.execute(sa.select(c.first_name, c.attributes, c.joined, c.created_at).order_by(c.id)).all()
        assert [tuple(row) for row in found] == [
            (nasty, {"x": nasty, "n": 1.5}, date(2020, 2, 29), NOW),
            (None, {}, None, NOW),
            ("", {}, None, NOW),
        ]
        assert conn.execute(sa.select(t.log.c.body, t.log.c.at)).one() == (body, NOW)


def test_bulk_may_leave_conflicts_out(store: Store):
    with store.write() as conn:
        assert insert_many(conn, t.customer, []) == 0
        assert insert_ids(conn, t.customer, []) == []
        assert insert_many(conn, t.customer, [a_customer("a"), a_customer("b")]) == 2
        again = [a_customer("a"), a_customer("c"), a_customer("c")]
        assert insert_many(conn, t.customer, again, ignore_conflicts=True) == 1
        assert insert_many(conn, t.customer, again, ignore_conflicts=True) == 0
        found = insert_ids(conn, t.customer, [a_customer("b"), a_customer("d")], ("key",), ignore_conflicts=True)
        assert found == [("d",)]
        assert insert_many(conn, t.setting, [("a", "1")], columns=("name", "value")) == 1
    with pytest.raises(sa.exc.IntegrityError) as caught, store.write() as conn:
        insert_many(conn, t.customer, [a_customer("secret"), a_customer("secret")])
    assert "VALUES ('secret" not in str(caught.value)
    with pytest.raises(ValueError, match="same columns"), store.write() as conn:
        insert_many(conn, t.customer, [a_customer("q"), a_customer("r", tier="gold")])


def test_ids_are_given_out_in_the_rows_order(store: Store):
    with store.write() as conn:
        found = insert_ids(conn, t.customer, [a_customer(k) for k in "xyz"], ("id", "key"))
        assert [key for _, key in found] == ["x", "y", "z"]
        assert [i for i, _ in found] == sorted(i for i, _ in found)
        rows = conn.execute(sa.select(t.customer.c.id, t.customer.c.key).order_by(t.customer.c.id)).all()
        assert [tuple(r) for r in rows] == found


def test_lists_are_one_bound_value(store: Store):
    with store.write() as conn:
        insert_many(conn, t.customer, [a_customer(str(n), id=n) for n in range(1, 6001)])
    statements = set()
    sa.event.listen(store.engine, "before_cursor_execute", lambda c, cur, s, p, ctx, many: statements.add(s))
    with store.read() as conn:
        for ids in ([], [3], list(range(2, 9000))):
            listed = id_list(conn, ids)
            query = sa.select(t.customer.c.id).join(listed, listed.c.id == t.customer.c.id).order_by(t.customer.c.id)
            assert conn.execute(query).scalars().all() == [i for i in ids if i <= 6000]
        keys = key_list(conn, ["7", 'a"b', "5", "é", "\\"])
        query = sa.select(t.customer.c.id).where(t.customer.c.key.in_(sa.select(keys.c.key)))
        assert sorted(conn.execute(query).scalars()) == [5, 7]
    assert len([s for s in statements if s.startswith("SELECT")]) == 2, statements


def test_lists_of_a_statement_that_is_made_once(store: Store):
    with store.write() as conn:
        insert_many(conn, t.customer, [a_customer(str(n), id=n) for n in range(1, 20)])
    listed, keys = database.bound_ids(store.dialect), database.bound_keys(store.dialect, "names")
    assert database.bound_ids(store.dialect) is listed
    both = (
        sa.select(t.customer.c.id)
        .where(t.customer.c.id.in_(sa.select(listed.c.id)), t.customer.c.key.in_(sa.select(keys.c.key)))
        .order_by(t.customer.c.id)
    )
    some = sa.select(t.customer.c.id).where(database.bound_among(store.dialect, t.customer.c.id, "some"))
    with store.read() as conn:
        for ids, names, found in (([], ["1"], []), ([1, 2, 3], ["2", 'a"b', "\\"], [2]), ([5, 7], ["7", "5"], [5, 7])):
            assert conn.execute(both, {"ids": ids, "names": names}).scalars().all() == found
            assert sorted(conn.execute(some, {"some": ids}).scalars()) == ids


@pytest.mark.parametrize("count", [1, 2])
def test_a_full_disk_is_told_however_many_rows_are_changed(tmp_path: Path, count: int):
    store = Store.open(f"sqlite:///{tmp_path / 'small.db'}", create=True)
    store.migrate()
    with store.write() as conn:
        insert_many(conn, t.customer, [a_customer(str(n), id=n) for n in (1, 2)])
    more = [{"id": n, "attributes": {"note": "n" * 1_000_000}} for n in range(1, count + 1)]
    with pytest.raises(StoreUnavailable, match="is full"), store.write() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        database.update_many(conn, t.customer, more, where=("id",), returning="id")
    store.close()


MEMBERS = {
    "text": "gold",
    "number": 12.5,
    "whole": 7,
    "yes": True,
    "no": False,
    "none": None,
    "list": [1],
    "deep": {"a": 1},
    "day": "2024-02-29",
    "no_day": "2026-02-29",
    "no_century_day": "1900-02-29",
    "bad_day": "2026-13-01",
    "long_day": "2026-04-31",
    "dayish": "2026-04-30 ",
    "at": "2026-11-01T12:30:15.123456Z",
    "old": "1969-12-31T23:59:59.999999Z",
    "bad_at": "2026-02-30T12:30:15.123456Z",
    "bad_hour": "2026-02-20T24:30:15.123456Z",
    "short_at": "2026-11-01T12:30:15Z",
    "huge": 10**400,
}
READERS: dict[Any, dict[str, Any]] = {
    json_text: {k: v for k, v in MEMBERS.items() if isinstance(v, str)},
    json_number: {"number": 12.5, "whole": 7},
    json_bool: {"yes": True, "no": False},
    json_date: {"day": date(2024, 2, 29)},
    json_instant: {"at": NOW, "old": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)},
}


@pytest.mark.parametrize("read", READERS, ids=lambda f: f.__name__)
def test_json_members_read_alike(store: Store, read):
    import json

    with store.write() as conn:
        members = {k: v for k, v in MEMBERS.items() if k != "huge"}
        conn.execute(sa.insert(t.customer), [a_customer("a", attributes=members)])
        # A number beyond a double's range gets in only past our own writers; it must not stop a segment.
        huge = json.dumps({**members, "huge": 10**400})
        kind = "jsonb" if store.dialect == "postgresql" else "text"
        conn.execute(sa.text(f"UPDATE customer SET attributes = CAST(:v AS {kind})"), {"v": huge})
        for name in [*MEMBERS, "absent", 'quo"te']:
            found = conn.execute(sa.select(read(t.customer.c.attributes, name))).scalar_one()
            if name == "huge" and read is json_number:
                assert found is None
                continue
            assert found == READERS[read].get(name), name


def test_json_members_compare(store: Store):
    a = t.customer.c.attributes
    with store.write() as conn:
        conn.execute(sa.insert(t.customer), [a_customer("a", attributes=MEMBERS | {"huge": 0})])
        for condition in (
            json_number(a, "number") > 12,
            json_number(a, "whole") == 7,
            json_bool(a, "yes"),
            ~json_bool(a, "no"),
            json_bool(a, "none").is_(None),
            json_date(a, "day") < date(2024, 3, 1),
            json_date(a, "day") == date(2024, 2, 29),
            json_instant(a, "at") == NOW,
            json_instant(a, "at") >= t.customer.c.created_at,
            json_text(a, "text").in_(["gold", "silver"]),
        ):
            assert conn.execute(sa.select(t.customer.c.id).where(condition)).scalar() is not None, condition
