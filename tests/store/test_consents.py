"""The ledger of consents on both databases: what is current, in whatever order it came in; what is kept as evidence."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store import Store, auditing, consents, vault
from orchestrator.store import tables as t
from orchestrator.store.people import salts
from tests.rules.heard import judged, tell
from tests.rules.histories import HISTORIES
from tests.store.vocabulary import KEYS

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def people(store: Store, count: int = 3) -> None:
    with store.write() as conn:
        for n in range(1, count + 1):
            row = {"id": n, "key": f"k{n}", "class": "b2c", "attributes": {}, "created_at": NOW, "updated_at": NOW}
            conn.execute(t.customer.insert().values(row))


def said(key: str, action: str = "grant", **more: Any) -> dict[str, Any]:
    row = {"key": key, "customer_id": 1, "medium": "email", "topic": "offers", "action": action}
    return row | {"occurred_at": NOW, "received_at": NOW} | more


def record(store: Store, *rows: dict[str, Any]) -> int:
    with store.write() as conn:
        return consents.record_consents(conn, KEYS, rows)


def current(store: Store) -> list[tuple[Any, ...]]:
    with store.read() as conn:
        columns = (t.consent_current.c[name] for name in consents._CURRENT)
        return sorted(tuple(row) for row in conn.execute(sa.select(*columns)))


def one(store: Store, query: Any) -> Any:
    with store.read() as conn:
        return conn.execute(query).one()


# ---- the decision table ---------------------------------------------------------------------------------------------


def test_every_history_comes_to_its_code(store: Store) -> None:
    held = tell(store, HISTORIES)
    said = {h.title: (v := judged(h, c)).say + " " + v.reason for h, c in zip(HISTORIES, held, strict=True)}
    assert said == {h.title: h.expected for h in HISTORIES}


# ---- a model --------------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    key: str
    customer_id: int
    medium: str
    topic: str
    action: str
    occurred_at: datetime
    received_at: datetime
    basis: str | None
    expires_at: datetime | None
    answers: str | None

    @property
    def at(self) -> datetime:
        return min(self.occurred_at, self.received_at)


moments = st.integers(-5, 5).map(lambda n: NOW + n * HOUR)
events = st.builds(
    Event,
    st.integers(0, 30).map(str),
    st.sampled_from([1, 2]),
    st.sampled_from(["email", "sms"]),
    st.sampled_from(["offers", "*"]),
    st.sampled_from(["request", "confirm", "grant", "withdraw", "expire", "import"]),
    moments,
    moments,
    st.sampled_from([None, "express", "soft_opt_in"]),
    st.none() | moments,
    st.none() | st.integers(0, 30).map(str),
)


def model(known: list[Event]) -> list[tuple[Any, ...]]:
    """What is current, written down once more: plainly, one person, medium and topic after the other."""
    rows: list[tuple[Any, ...]] = []
    numbers = {event.key: n for n, event in enumerate(known, 1)}
    for place in sorted({(e.customer_id, e.medium, e.topic) for e in known}):
        mine = [e for e in known if (e.customer_id, e.medium, e.topic) == place]
        noes = [e for e in mine if e.action in ("withdraw", "expire")]
        last = max(noes, key=lambda e: (e.at, e.action == "withdraw", numbers[e.key]), default=None)
        requests = {e.key: e for e in mine if e.action == "request"}
        yes = [e for e in mine if e.action in ("grant", "confirm", "import") and (last is None or e.at > last.at)]
        proven = any(e.action == "confirm" and (e.answers is None or e.answers in requests) for e in yes)
        by_ground: dict[str, tuple[Event, datetime | None]] = {}
        for e in sorted(yes, key=lambda e: (e.at, numbers[e.key])):
            asked = requests.get(e.answers or "") if e.action == "confirm" else None
            ground = e.basis or (asked.basis if asked else None) or "express"
            by_ground[ground] = (e, e.expires_at or (asked.expires_at if asked else None))
        for ground, (e, until) in by_ground.items():
            rows.append((*place, ground, "granted", numbers[e.key], e.at, proven, until))
        if last is not None:
            state = "withdrawn" if last.action == "withdraw" else "expired"
            rows.append((*place, "", state, numbers[last.key], last.at, False, None))
        asking = [e for e in requests.values() if last is None or e.at > last.at]
        if asking and not yes:
            e = max(asking, key=lambda e: (e.at, numbers[e.key]))
            rows.append((*place, "request", "requested", numbers[e.key], e.at, False, None))
    return sorted(rows, key=lambda row: row[:4])


def check(store: Store, batches: list[list[Event]]) -> None:
    with store.write() as conn:
        conn.exec_driver_sql("DELETE FROM consent_current")
        # The ledger itself cannot be emptied: every example has people, and ids, of its own.
        base = conn.execute(sa.select(sa.func.coalesce(sa.func.max(t.customer.c.id), 0))).scalar_one()
        for n in (1, 2):
            row = {"id": base + n, "key": f"k{base + n}", "class": "b2c", "attributes": {}}
            conn.execute(t.customer.insert().values(row | {"created_at": NOW, "updated_at": NOW}))
    known: dict[str, Event] = {}
    for batch in batches:
        named = [{**e._asdict(), "key": f"{base}/{e.key}", "customer_id": base + e.customer_id} for e in batch]
        named = [row | {"answers": row["answers"] and f"{base}/{row['answers']}"} for row in named]
        for event in batch:
            known.setdefault(event.key, event)
        record(store, *named)
    with store.read() as conn:
        mine = t.consent_event.c.customer_id > base
        ids = list(conn.execute(sa.select(t.consent_event.c.id).where(mine).order_by(t.consent_event.c.id)).scalars())
    numbers = {event_id: n for n, event_id in enumerate(ids, 1)}
    expected = model(list(known.values()))

    def told() -> list[tuple[Any, ...]]:
        found = [row for row in current(store) if row[0] > base]
        return [(row[0] - base, *row[1:5], numbers[row[5]], *row[6:]) for row in found]

    assert told() == expected
    with store.write() as conn:
        conn.execute(sa.delete(t.consent_current).where(t.consent_current.c.customer_id == base + 1))
        assert (consents.differing(conn) > 0) == any(row[0] == 1 for row in expected) or base > 0
        consents.rebuild_consent_current(conn)
        assert consents.differing(conn) == 0
    assert told() == expected


@settings(max_examples=40)
@given(st.lists(st.lists(events, max_size=8), min_size=1, max_size=4))
def test_what_is_current_is_the_model_and_can_be_rebuilt(migrated_once: Store, batches: list[list[Event]]) -> None:
    check(migrated_once, batches)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def migrated_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.store.conftest import migrate

    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('consents') / 'store.db'}"
        migrate(url)
        opened = Store.open(url)
        yield opened
        opened.close()
        return
    postgres = request.getfixturevalue("postgres")
    with postgres.fresh_database(postgres.template("store", migrate)) as url:
        opened = Store.open(url)
        yield opened
        opened.close()


# ---- what is kept ---------------------------------------------------------------------------------------------------


def test_no_plain_key_and_no_evidence_stand_in_the_ledger(store: Store) -> None:
    people(store)
    evidence = {"source_url": "https://acme.example/join", "ip": "192.0.2.7", "agent": "Mozilla", "source": "form 7"}
    wording = "Yes, write to me about offers."
    record(store, said("ana@example.com/1", wording=wording, wording_version="3", language="en", **evidence))
    row = one(store, sa.select(t.consent_event))
    assert row.key == KEYS.hash("consent", "ana@example.com/1")
    assert row.wording == consents.wording_hash(wording)
    assert not any("192.0.2.7" in str(value) or "ana" in str(value) for value in row)
    assert one(store, sa.select(t.consent_wording.c.text)).text == wording
    kept = one(store, sa.select(t.consent_evidence))
    assert b"192.0.2.7" not in kept.body
    with store.read() as conn:
        key = KEYS.person_key(salts(conn, [1], make=False)[1])
    told = vault.unseal(key, kept.salt, kept.body)
    assert json.loads(told) == evidence
    assert vault.commitment(vault.record_key(key, kept.salt), told) == row.commitment


def test_without_evidence_there_is_nothing_to_open(store: Store) -> None:
    people(store)
    record(store, said("1", source="", ip=None))
    assert one(store, sa.select(t.consent_event.c.commitment)).commitment is None
    assert one(store, sa.select(sa.func.count()).select_from(t.consent_evidence))[0] == 0
    with store.read() as conn:
        assert salts(conn, [1], make=False) == {}


def test_a_wording_is_kept_once(store: Store) -> None:
    people(store)
    record(store, said("1", wording="A"), said("2", wording="A"), said("3", wording="B"))
    assert record(store, said("4", wording="A")) == 1
    assert one(store, sa.select(sa.func.count()).select_from(t.consent_wording))[0] == 2


def test_the_same_event_is_recorded_once_and_its_first_evidence_stays(store: Store) -> None:
    people(store)
    assert record(store, said("1", source="first"), said("1", source="second")) == 1
    assert record(store, said("1", "withdraw", source="third")) == 0
    assert [row[4] for row in current(store)] == ["granted"]
    found = consents_of(store)
    assert found == {1: {"source": "first"}}


def test_of_one_who_was_erased_no_evidence_is_kept(store: Store) -> None:
    people(store)
    with store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == 1).values(erased_at=NOW))
    assert record(store, said("1", "withdraw", source="letter")) == 1
    assert one(store, sa.select(sa.func.count()).select_from(t.consent_evidence))[0] == 0
    assert [row[4] for row in current(store)] == ["withdrawn"]


def consents_of(store: Store) -> dict[int, Any]:
    with store.read() as conn:
        return {i: told.evidence for i, told in consents.evidence_of(conn, KEYS, [1, 2, 3]).items()}


def test_evidence_is_told_or_said_to_be_erased_or_damaged(store: Store) -> None:
    people(store)
    record(store, said("1", source="a"), said("2", source="b", customer_id=2), said("3", customer_id=3))
    with store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == 2).values(erased_at=NOW, salt=None))
    with store.read() as conn:
        found = consents.evidence_of(conn, KEYS, [1, 2, 3])
    assert found[1] == ({"source": "a"}, "")
    assert found[2] == (None, "erased")
    assert found[3] == (None, "")
    with store.write() as conn:
        conn.execute(t.consent_evidence.update().values(body=b"x" * 40))
    with store.read() as conn:
        assert consents.evidence_of(conn, KEYS, [1])[1] == (None, "damaged")
        other = dataclasses.replace(KEYS, seal=b"z" * 32)
        assert consents.evidence_of(conn, other, [1])[1] == (None, "damaged")


def test_the_number_of_statements_does_not_grow(store: Store) -> None:
    from tests.outgoing import Statements

    people(store, 60)
    with Statements(store.engine) as counted:
        record(store, *(said(f"a{n}", customer_id=n, source="s", wording="w") for n in range(1, 4)))
        few = counted.count
        counted.break_after(None)
        record(store, *(said(f"b{n}", customer_id=n, source="s", wording="w") for n in range(1, 61)))
        assert counted.count <= few <= 22


# ---- two records of one person --------------------------------------------------------------------------------------


def merged(store: Store, keep: int = 1, drop: int = 2) -> list[tuple[Any, ...]]:
    with store.write() as conn:
        rows = consents.to_carry(conn, keep, drop, now=NOW + HOUR)
        consents.record_consents(conn, KEYS, [{**row, "received_at": NOW + HOUR} for row in rows])
        assert consents.differing(conn) == 0
    return [row for row in current(store) if row[0] == keep]


def test_a_confirmed_yes_goes_over_as_it_is(store: Store) -> None:
    people(store)
    until = NOW + 99 * HOUR
    asked = said("r", "request", customer_id=2, basis="express_written", wording="Yes.", expires_at=until)
    record(store, asked, said("c", "confirm", customer_id=2, answers="r", occurred_at=NOW + HOUR / 2))
    [row] = merged(store)
    assert row[:5] == (1, "email", "offers", "express_written", "granted")
    assert row[6:] == (min(NOW + HOUR / 2, NOW), True, until)
    with store.read() as conn:
        told = consents.words_of(conn, KEYS, [row[5]])[row[5]]
    assert (told["method"], told["source"]) == ("merge", "consent event 2 of customer 2")


def test_two_grounds_go_over_with_the_no_between(store: Store) -> None:
    people(store)
    record(
        store,
        said("1", "withdraw", customer_id=2, occurred_at=NOW - 9 * HOUR),
        said("2", customer_id=2, basis="soft_opt_in", occurred_at=NOW - 5 * HOUR),
        said("3", customer_id=2, basis="express", occurred_at=NOW - 3 * HOUR),
    )
    found = {row[3]: (row[4], row[6], row[7]) for row in merged(store)}
    assert found == {
        "": ("withdrawn", NOW - 9 * HOUR, False),
        "soft_opt_in": ("granted", NOW - 5 * HOUR, False),
        "express": ("granted", NOW - 3 * HOUR, False),
    }


def test_a_no_of_the_one_who_goes_is_said_anew(store: Store) -> None:
    people(store)
    record(store, said("1", occurred_at=NOW - HOUR), said("2", "withdraw", customer_id=2, occurred_at=NOW - 9 * HOUR))
    assert [(row[4], row[6]) for row in merged(store)] == [("withdrawn", NOW + HOUR)]


def test_what_the_one_who_stays_has_said_stands(store: Store) -> None:
    people(store)
    record(
        store,
        said("1", "withdraw", topic="*", medium="sms"),
        said("2", customer_id=2, medium="sms"),
        said("3", "expire"),
        said("4", customer_id=2),
    )
    assert [(row[1], row[2], row[4]) for row in merged(store)] == [
        ("email", "offers", "expired"),
        ("sms", "*", "withdrawn"),
    ]


def test_a_general_yes_of_the_one_who_goes_answers_no_no_of_the_one_who_stays(store: Store) -> None:
    people(store)
    record(
        store,
        said("1", "withdraw", occurred_at=NOW - 9 * HOUR),
        said("2", customer_id=2, topic="*", occurred_at=NOW - HOUR),
        said("3", customer_id=2, topic="news", occurred_at=NOW - HOUR),
        said("4", customer_id=2, topic="*", medium="sms", occurred_at=NOW - HOUR),
    )
    assert [(row[1], row[2], row[4]) for row in merged(store)] == [
        ("email", "news", "granted"),
        ("email", "offers", "withdrawn"),
        ("sms", "*", "granted"),
    ]


# ---- what people are told -------------------------------------------------------------------------------------------


def test_a_confirmation_is_told_with_its_requests_ground_and_words(store: Store) -> None:
    people(store)
    record(store, said("r", "request", basis="express_written", wording="Yes.", wording_version="3"))
    record(store, said("c", "confirm", answers="r", method="double opt-in", source="form 7"))
    with store.read() as conn:
        told = consents.words_of(conn, KEYS, [2])[2]
        closed = consents.words_of(conn, None, [2])[2]
        [row] = consents.standing(conn, KEYS, 1)
    assert (told["basis"], told["wording"], told["wording_version"]) == ("express_written", "Yes.", "3")
    assert (told["source"], told["sealed"]) == ("form 7", "")
    assert (closed["source"], closed["sealed"]) == (None, "closed")
    assert (row["state"], row["basis"], row["confirmed"], row["source"]) == (
        "granted",
        "express_written",
        True,
        "form 7",
    )


def test_a_no_that_was_answered_is_not_told_again(store: Store) -> None:
    people(store)
    record(
        store, said("1", "withdraw", occurred_at=NOW - HOUR), said("2"), said("3", "withdraw", topic="*", medium="sms")
    )
    with store.read() as conn:
        assert [(r["medium"], r["state"]) for r in consents.standing(conn, None, 1)] == [
            ("email", "granted"),
            ("sms", "withdrawn"),
        ]


def test_a_confirmation_is_told_and_counted_on_the_ground_and_words_of_its_request(store: Store) -> None:
    people(store)
    shown = {"basis": "express", "wording": "Yes, write to me.", "wording_version": "3"}
    record(store, said("r", "request", method="form", **shown))
    record(store, said("c", "confirm", method="double opt-in", answers="r"))
    with store.read() as conn:
        wanted = sa.select(t.consent_event.c.id).where(t.consent_event.c.action == "confirm")
        number: int = conn.execute(wanted).scalar_one()
        told = auditing.consents(conn, [number])[number]
        counted = auditing.said(conn, None, NOW + HOUR)
    assert (told["basis"], told["wording"], told["wording_version"]) == (
        "express",
        consents.wording_hash("Yes, write to me."),
        "3",
    )
    assert counted == [("email", "confirm", "express", "double opt-in", 1), ("email", "request", "express", "form", 1)]
