"""Caps, budgets, households and priority with several workers at once, on both databases; and as stories."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium
from channels.sandbox import ACCEPT, rejected
from orchestrator import deliver as delivering
from orchestrator.deliver import deliver
from orchestrator.importing import import_rows
from orchestrator.store import insert_ids, outbox
from orchestrator.store import tables as t
from orchestrator.store.counting import Contacts, period
from orchestrator.store.standing import gather as gathering
from tests.outgoing import NOON, POLICIES, World, audit, files, journey, open_store, world_of

LETTER = journey("letters", "- mail: letter")
ACCOUNT = {"class": "b2b", "name": "Nord", "attributes": {}, "created_at": NOON, "updated_at": NOON}


def policies(*lines: str) -> str:
    return POLICIES + "".join(f"  {line}\n" for line in lines)


def queue(
    world: World, people: Sequence[int], medium: str = "email", template: str = "hello", **more: Any
) -> list[int]:
    """A marketing message to each, every one a batch of its own; returns their ids."""
    shared = {"medium": medium, "purpose": "marketing", "priority": 50, "due_at": world.now}
    with world.store.write() as conn:
        batches = insert_ids(conn, t.batch, [{**shared, "size": 1} for _ in people])
        rows = [
            {
                **shared,
                "batch_id": batch_id,
                "step": f"{medium}:{template}",
                "visit": n,
                "addressee": "customer",
                "addressee_id": person,
                "customer_id": person,
                "template": template,
                "topic": "offers",
                "state": "planned",
                "planned_at": world.now,
                "payload": {},
                **more,
            }
            for n, (person, (batch_id,)) in enumerate(zip(people, batches, strict=True))
        ]
        return [i for (i,) in insert_ids(conn, t.message, rows)]


def at_once(world: World, url: str, workers: int = 8) -> None:
    """Several workers, each with its own connection, begin at the same moment and go on until nothing is due."""
    start, failed = threading.Barrier(workers), []

    def work() -> None:
        store = open_store(url)
        try:
            start.wait(30)
            while True:  # a worker that finds every batch locked for a moment goes home: here it comes back
                deliver(store, world.channels, world.keys, now=world.now, worker="w")
                with store.read() as conn:
                    if not outbox.waiting(conn, world.now)[0]:
                        break
        except BaseException as error:
            failed.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed, failed
    assert not any(thread.is_alive() for thread in threads)


def decided(world: World) -> Counter[str]:
    lines = [line for line in world.log() if line["kind"] == "decision"]
    return Counter(f"{line['verdict']} {line['reason']}".strip() for line in lines)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Batches of so many messages, and a pause between what is counted and what is booked: so workers do meet."""
    plain = outbox.reserve

    def slowly(*given: Any) -> None:
        time.sleep(0.01)
        plain(*given)

    def make(size: int) -> None:
        monkeypatch.setattr(delivering, "BATCH", size)
        monkeypatch.setattr(outbox, "reserve", slowly)

    return make


# ---- at once --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", ["decides", "does not"])
def test_a_thousand_decisions_about_one_customer_and_a_cap_of_one(
    database_url: str, small: Callable[[int], None], priority: str, monkeypatch: pytest.MonkeyPatch
):
    """Were there no priority, the locks alone would have to hold."""
    if priority == "does not":
        monkeypatch.setattr(Contacts, "rivals", lambda *given: ())
    world = world_of(database_url)
    world.apply(files({"j": journey("j", "- email: hello")}, policies("caps: [ 1 per day across email ]")))
    [person] = world.people(1)
    queue(world, [person] * 1000)
    small(10)
    at_once(world, database_url)
    first = decided(world)
    assert first["allow"] == 1 and sum(first.values()) == 1000, first
    assert set(first) <= {"allow", "deny frequency_cap", "hold outranked"}
    world.pass_time(minutes=10)
    at_once(world, database_url, workers=4)
    after = decided(world)
    assert after["allow"] == 1, after
    assert world.states() == {"sent": 1, "denied": 999}
    assert len(world.outbox()) == 1
    world.store.close()


def test_a_cap_of_the_company_holds_over_its_contacts(database_url: str, small: Callable[[int], None]):
    world = world_of(database_url)
    world.apply(files({"j": journey("j", "- email: hello")}, policies("caps: [ 3 per week per account ]")))
    with world.store.write() as conn:
        [(account_id,)] = insert_ids(conn, t.account, [{"key": "nord", **ACCOUNT}])
    people = world.people(60, account_id=account_id)
    queue(world, people, account_id=account_id)
    small(3)
    at_once(world, database_url, workers=6)
    assert decided(world) == {"allow": 3, "deny frequency_cap": 57}
    world.store.close()


def test_a_budget_is_never_exceeded(database_url: str, small: Callable[[int], None]):
    world = world_of(database_url)
    house = policies("budget: { mail: 10 EUR per month }", "prices: { mail: 0.85 EUR }")
    world.apply(files({"letters": LETTER}, house))
    people = world.people(60)
    queue(world, people, "mail", "letter")
    small(2)
    at_once(world, database_url, workers=6)
    assert decided(world) == {"allow": 11, "hold budget_spent": 49}, "11 × 0.85 = 9.35 EUR; the twelfth would be 10.20"
    assert money(world) == {"2027-03": 9_350_000, "2027-03-01": 9_350_000, "2027-W09": 9_350_000}
    assert money(world)["2027-03"] == world.one(sa.select(sa.func.sum(t.reservation.c.cost)))
    [until] = {m.due_at for m in world.rows(sa.select(t.batch.c.due_at).where(t.batch.c.done_at.is_(None)))}
    assert until == datetime(2027, 3, 31, 22, tzinfo=UTC), "April begins at midnight in Berlin"
    world.store.close()


def test_one_household_gets_one_copy(database_url: str, small: Callable[[int], None]):
    world = world_of(database_url)
    world.apply(files({"letters": LETTER}, policies("dedupe: same address and same content within 7 days")))
    family = world.people(30, street="Am Markt 3")
    queue(world, family, "mail", "letter")
    small(1)
    at_once(world, database_url, workers=6)
    assert decided(world) == {"allow": 1, "deny duplicate": 29}
    world.store.close()


def money(world: World) -> dict[str, int]:
    return {row.period: row.amount for row in world.rows(sa.select(t.spend))}


# ---- households -----------------------------------------------------------------------------------------------------


def test_people_of_a_company_are_not_a_household(database_url: str):
    world = world_of(database_url)
    world.apply(files({"letters": LETTER}, policies("dedupe: same address and same content within 7 days")))
    world.event([*world.people(2, street="Am Markt 3", company="Nord GmbH"), *world.people(1, street="Am Markt 3")])
    assert world.tick()["sent"] == 3, "two people of the company, and one who lives there"
    world.event(world.people(1, street="am  markt 3"))
    assert world.tick()["deny duplicate"] == 1, "the same door, however written"
    world.store.close()


# ---- money ----------------------------------------------------------------------------------------------------------


def test_what_waits_for_the_next_month_goes_then(database_url: str):
    world = world_of(database_url)
    house = policies("budget: { mail: 2 EUR per month }", "prices: { mail: 0.85 EUR }")
    world.apply(files({"letters": LETTER}, house))
    world.event(world.people(3))
    assert world.tick() == {"allow": 2, "sent": 2, "hold budget_spent": 1}
    world.now = datetime(2027, 3, 31, 22, tzinfo=UTC)
    assert world.tick() == {"allow": 1, "sent": 1}
    assert money(world)["2027-03"] == 1_700_000 and money(world)["2027-04"] == 850_000
    audit(world)
    world.store.close()


def test_what_was_surely_not_sent_costs_nothing(database_url: str):
    world = world_of(database_url)
    house = policies("budget: { mail: 2 EUR per day }", "prices: { mail: 0.85 EUR, sms: 0.0075 EUR }")
    world.apply(files({"letters": LETTER, "texts": journey("texts", "- sms: short")}, house))
    world.behaviour = lambda outbound, number: rejected() if outbound.medium is Medium.MAIL else ACCEPT
    world.event(world.people(2))
    world.tick()
    assert {row.amount for row in world.rows(sa.select(t.spend).where(t.spend.c.medium == "mail"))} == {0}
    assert {row.amount for row in world.rows(sa.select(t.spend).where(t.spend.c.medium == "sms"))} == {15_000}
    world.behaviour = None
    world.event(world.people(2))
    world.tick()
    assert money(world)["2027-03-01"] in (1_700_000, 30_000)
    world.store.close()


def test_transactional_letters_go_and_count(database_url: str):
    world = world_of(database_url)
    house = policies("budget: { mail: 1 EUR per day }", "prices: { mail: 0.85 EUR }")
    notice = files({})["templates/mail/letter.html"].replace("topic: offers", "topic: service")
    texts = files({"letters": journey("letters", "- mail: notice")}, house)
    world.apply({**texts, "templates/mail/notice.html": notice})
    world.event(world.people(3))
    assert world.tick()["sent"] == 3
    assert money(world)["2027-03-01"] == 2_550_000
    world.store.close()


def test_periods_have_names():
    day = datetime(2027, 1, 1, tzinfo=UTC).date()
    assert [period(day, per) for per in ("day", "week", "month")] == ["2027-01-01", "2026-W53", "2027-01"]


# ---- priority -------------------------------------------------------------------------------------------------------

LOW = journey("low", "- email: hello", more="priority: 20")
HIGH = journey("high", "- sms: short", more="priority: 80")
ONE = policies('caps: [ "1 per day across email, sms" ]')


def test_the_higher_priority_goes_also_on_another_medium(database_url: str):
    world = world_of(database_url)
    world.apply(files({"low": LOW, "high": HIGH}, ONE))
    world.event(world.people(2))
    assert world.tick(1) == {"hold outranked": 2, "allow": 2, "sent": 2}
    assert {kept.medium for kept in world.outbox()} == {"sms"}
    world.pass_time(minutes=6)
    assert world.tick(1) == {"deny frequency_cap": 2}
    world.store.close()


def test_when_the_other_does_not_go_the_lower_does(database_url: str):
    world = world_of(database_url)
    world.apply(files({"low": LOW, "high": HIGH}, ONE))
    world.event(world.people(1, phone=None))
    assert world.tick(1) == {"hold outranked": 1, "deny no_address": 1}
    world.pass_time(minutes=6)
    assert world.tick(1) == {"allow": 1, "sent": 1}
    world.store.close()


def test_who_cannot_go_now_is_no_rival(database_url: str):
    world = world_of(database_url, now=NOON + timedelta(hours=8, minutes=30))  # 20:30 in Berlin: no texts any more
    world.apply(files({"low": LOW, "high": HIGH}, ONE))
    world.event(world.people(1))
    world.move()
    with world.store.write() as conn:  # the text had its turn first
        conn.execute(
            t.batch.update().where(t.batch.c.medium == "email").values(due_at=world.now + timedelta(minutes=1))
        )
    assert world.tick(1) == {"hold quiet_hours": 1}
    world.pass_time(minutes=1)
    assert world.tick(1) == {"allow": 1, "sent": 1}
    world.store.close()


def test_nobody_waits_for_ever_for_a_channel_that_is_out_of_use(database_url: str):
    world = world_of(database_url)
    world.apply(files({"low": LOW, "high": HIGH}, ONE))
    world.event(world.people(1))
    del world.channels[Medium.SMS]
    decisions: list[str] = []
    for _ in range(15):
        decisions += world.tick(1)
        world.pass_time(minutes=6)
    assert decisions == ["hold outranked"] * 10 + ["allow", "sent"], "an hour, and not longer"
    world.store.close()


def test_equals_go_in_the_order_in_which_they_were_planned(database_url: str):
    world = world_of(database_url)
    world.apply(files({"a": journey("a", "- sms: short"), "b": journey("b", "- email: hello")}, ONE))
    [person] = world.people(1)
    [text] = queue(world, [person], "sms", "short", planned_at=world.now - timedelta(hours=1))
    [mail] = queue(world, [person])
    assert world.deliver().total("hold", "outranked") == 1
    world.pass_time(minutes=6)
    world.deliver()
    assert {m.id: m.state for m in world.messages()} == {text: "sent", mail: "denied"}
    world.store.close()


def test_workers_agree_who_goes_first(database_url: str, small: Callable[[int], None]):
    """Twenty customers with five messages each on three media, and room for one: the highest goes, whoever asks."""
    world = world_of(database_url)
    world.apply(files({"low": LOW}, policies('caps: [ "1 per day across email, sms, push" ]')))
    people = world.people(20)
    for medium, template, priority in (("email", "hello", 30), ("push", "ping", 60), ("sms", "short", 50),
                                       ("email", "second", 10), ("sms", "short", 40)):  # fmt: skip
        ids = queue(world, people, medium, template)
        with world.store.write() as conn:
            for table, column in ((t.message, t.message.c.id), (t.batch, t.batch.c.id)):
                of = sa.select(t.message.c.batch_id).where(t.message.c.id.in_(ids)) if table is t.batch else ids
                conn.execute(table.update().where(column.in_(of)).values(priority=priority))
    small(3)
    for _ in range(3):
        at_once(world, database_url, workers=4)
        world.pass_time(minutes=6)
    assert world.states() == {"sent": 20, "denied": 80}
    sent = Counter((m.medium, m.priority) for m in world.messages() if m.state == "sent")
    assert sent == {("push", 60): 20}
    world.store.close()


# ---- other departments ----------------------------------------------------------------------------------------------


def test_touches_of_the_departments_that_count(database_url: str):
    world = world_of(database_url)
    house = policies('caps: [ "1 per day across email, sms" ]', "counting: [ support ]")
    project = world.apply(files({"j": journey("j", "- email: hello")}, house))
    people = world.people(3)
    rows = [
        {"customer": "c1", "department": "Support", "medium": "email", "at": "2027-03-01T09:00:00+01:00"},
        {"customer": "c2", "department": "sales", "medium": "email", "at": "2027-03-01T09:00:00+01:00"},
        {"customer": "c3", "department": "support", "medium": "call", "at": "2027-03-01T09:00:00+01:00"},
        {"customer": "c9", "department": "support", "medium": "call", "at": "2027-03-01T09:00:00+01:00"},
        {"customer": "c1", "department": "support", "medium": "fax", "at": "2027-03-01T09:00:00+01:00"},
    ]
    for expected in (3, 0):  # the same again is nothing new
        report = import_rows(world.store, world.keys, project.vocabulary, "touches", rows, now=world.now)
        assert (report.inserted, report.quarantined) == (expected, 2)
    assert any("policies.counting" in warning for warning in report.warnings)
    world.event(people)
    assert world.tick() == {"deny frequency_cap": 1, "allow": 2, "sent": 2}, "sales is not named, a call is no e-mail"
    [refused] = [line for line in world.log() if line["verdict"] == "deny"]
    assert refused["body"]["customer"] == people[0]
    world.store.close()


def test_an_open_case_pauses_marketing_until_it_is_closed(database_url: str):
    world = world_of(database_url)
    texts = files(
        {"j": journey("j", "- email: hello\n- email: receipt", "{ event: bought }")}, policies("pause_on_case: yes")
    )
    project = world.apply(texts)

    def cases(**row: Any) -> Any:
        return import_rows(world.store, world.keys, project.vocabulary, "cases", [{"key": "t-1", **row}], now=world.now)

    assert cases(opened_at="2027-03-01T10:00:00+01:00").quarantined == 1, "whose is it?"
    assert cases(customer="c1", opened_at="2027-03-01T10:00:00+01:00").quarantined == 1, "nobody knows c1 yet"
    people = world.people(2)
    assert cases(customer="c1", opened_at="2027-03-01T10:00:00+01:00").inserted == 1
    world.event(people, "bought", order_id="o", amount=100, amount_currency="EUR")
    assert world.tick()["hold open_case"] == 1
    world.pass_time(hours=2)
    assert world.tick(1) == {"hold open_case": 1}
    assert cases(closed_at="2027-03-01T08:00:00+01:00").quarantined == 1, "closed before it was opened"
    assert cases(closed_at="2027-03-01T14:00:00+01:00").updated == 1
    assert cases(closed_at="2027-03-01T14:00:00+01:00").unchanged == 1
    world.pass_time(hours=1)
    assert world.tick()["sent"] == 2, "the offer, and then the receipt"
    world.store.close()


def test_a_rival_that_went_meanwhile_counts_once(database_url: str, monkeypatch: pytest.MonkeyPatch):
    """Room for two: while one is judged, another worker lets the higher one go. Both fit."""
    world = world_of(database_url)
    world.apply(files({"low": LOW}, policies('caps: [ "2 per day across email, sms" ]')))
    [person] = world.people(1)
    queue(world, [person], "sms", "short", planned_at=world.now - timedelta(hours=1))
    queue(world, [person])
    other, plain = open_store(database_url), gathering
    text = {Medium.SMS: world.channels.pop(Medium.SMS)}

    def gather(conn: Any, batch: Any, *given: Any) -> Any:
        found = plain(conn, batch, *given)
        if batch[0].medium is Medium.EMAIL:
            monkeypatch.setattr(delivering, "gather", plain)
            deliver(other, text, world.keys, now=world.now, worker="other")
        return found

    monkeypatch.setattr(delivering, "gather", gather)
    assert world.deliver().total("allow") == 1
    assert world.states() == {"sent": 2}
    other.close()
    world.store.close()
