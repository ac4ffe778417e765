"""Everybody's own salt: made once, by whoever comes first, and never for one who was erased."""

import threading
from datetime import UTC, datetime

import sqlalchemy as sa

from orchestrator.store import Store
from orchestrator.store.people import salts
from orchestrator.store.tables import customer

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


def people(store: Store, count: int) -> list[int]:
    with store.write() as conn:
        for n in range(count):
            values = {"key": f"k{n}", "class": "b2c", "attributes": {}, "created_at": NOW, "updated_at": NOW}
            conn.execute(customer.insert().values(values))
        return list(conn.execute(sa.select(customer.c.id).order_by(customer.c.id)).scalars())


def test_a_salt_is_made_once_and_kept(store: Store) -> None:
    ids = people(store, 3)
    with store.write() as conn:
        first = salts(conn, ids[:2])
    with store.write() as conn:
        second = salts(conn, ids)
    assert set(first) == set(ids[:2])
    assert {len(s) for s in second.values()} == {32}
    assert len(set(second.values())) == 3
    assert {i: second[i] for i in first} == first


def test_reading_alone_makes_none(store: Store) -> None:
    ids = people(store, 2)
    with store.write() as conn:
        known = salts(conn, ids[:1])
    with store.read() as conn:
        assert salts(conn, ids, make=False) == known
        assert salts(conn, []) == {}


def test_an_erased_person_gets_none(store: Store) -> None:
    ids = people(store, 2)
    with store.write() as conn:
        conn.execute(customer.update().where(customer.c.id == ids[0]).values(erased_at=NOW))
    with store.write() as conn:
        assert set(salts(conn, ids)) == {ids[1]}
    with store.write() as conn:
        assert conn.execute(sa.select(customer.c.salt).where(customer.c.id == ids[0])).scalar_one() is None


def test_two_at_once_see_the_same_salts(store: Store) -> None:
    ids = people(store, 40)
    together = threading.Barrier(3)
    found: list[dict[int, bytes]] = []

    def ask(order: list[int]) -> None:
        together.wait()
        with store.write() as conn:
            found.append(salts(conn, order))

    threads = [threading.Thread(target=ask, args=(order,)) for order in (ids, ids[::-1], ids[10:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    whole = [f for f in found if len(f) == 40]
    assert len(found) == 3
    assert whole[0] == whole[1]
    assert all(f[i] == whole[0][i] for f in found for i in f)
