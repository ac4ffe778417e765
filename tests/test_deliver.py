"""From a planned message to the outbox or to a refusal on record, on both databases, by the verbs of a tick."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from channels.base import EventKind, Medium, Outbound, Reason, Receipt, Uncertain
from channels.sandbox import always, misconfigured, numbered, rejected, retry, timed_out, unavailable
from orchestrator.deliver import Line, deliver
from orchestrator.importing import merge_customers
from orchestrator.store import tables as t
from orchestrator.store import versions
from tests.outgoing import NOON, POLICIES, Statements, World, audit, email, files, journey, open_store, world_of

HELLO = journey("hello", "- email: hello")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def reasons(world: World) -> Counter[tuple[str, str | None]]:
    return Counter((m.state, m.reason) for m in world.messages())


# ---- the plain way --------------------------------------------------------------------------------------------------


def test_a_message_is_judged_written_sent_and_recorded(world: World):
    world.apply(files({"hello": HELLO}))
    world.event(world.people(3))
    assert world.tick() == {"allow": 3, "sent": 3}
    assert [k.attempt for k in world.outbox()] == ["m1a1", "m2a1", "m3a1"]
    text = world.opened(world.outbox()[0])
    assert "Subject: Hello Ann1" in text and "List-Unsubscribe: <https://small.example/o/v1.m1." in text
    decision, outcome = world.log(1)
    assert (decision["verdict"], outcome["verdict"]) == ("allow", "sent")
    body = decision["body"]
    assert (body["file"], body["line"], body["step"]) == ("journeys/hello.yaml", 5, "email:hello")
    assert body["attempt"] == "m1a1" and len(decision["detail"]["content_hash"]) == 64
    rules = [v["rule"] for v in decision["detail"]["verdicts"]]
    assert {"consent", "suppression", "quiet_hours", "frequency_cap", "dedupe", "expiry"} <= set(rules)
    assert outcome["body"]["provider"] == "sandbox" and outcome["body"]["provider_id"] == "sandbox-m1a1"
    assert [r.ended_because for r in world.rows(sa.select(t.enrollment))] == ["completed"] * 3
    assert all(b.done_at for b in world.rows(sa.select(t.batch)))


def test_nothing_personal_is_in_the_log(world: World):
    world.apply(files({"hello": HELLO}))
    world.event(world.people(1, first_name="Zenobia", email="zenobia@example.com", phone="+491713999999"))
    world.tick()
    with world.store.read() as conn:
        texts = [bytes(b) for b in conn.execute(sa.select(t.log.c.body)).scalars()]
        sealed = [bytes(b) for b in conn.execute(sa.select(t.log_detail.c.body)).scalars()]
    texts += sealed
    assert texts and not any(word in text for text in texts for word in (b"enobia", b"example.com", b"4917"))
    assert sealed and not any(word in text for text in sealed for word in (b"Berlin", b"offers", b"addresses"))


def test_a_second_call_and_another_worker_send_nothing_more(world: World):
    world.apply(files({"hello": HELLO}))
    world.event(world.people(2))
    world.tick()
    assert world.deliver().judged == 0 and world.deliver(worker="other").judged == 0
    assert len(world.outbox()) == 2


def test_every_medium_gets_its_own_address(world: World):
    steps = "- email: hello\n- sms: short\n- push: ping\n- mail: letter\n"
    steps += "- task: sales\n  message: Call {{ customer.first_name }}"
    world.apply(files({"all": journey("all", steps)}))
    world.event(world.people(1))
    assert world.tick(6) == {"allow": 5, "sent": 5}
    found = {k.medium: world.opened(k) for k in world.outbox()}
    assert "c1@example.com" in found[Medium.EMAIL] and "To: +4917139" in found[Medium.SMS]
    assert '"token": "token-1"' in found[Medium.PUSH] and "Dear Ann1" in found[Medium.MAIL]
    assert "For: sales" in found[Medium.TASK] and "Call Ann1" in found[Medium.TASK]


def test_a_push_goes_to_every_device_and_is_sent_when_one_takes_it(world: World):
    world.apply(files({"ping": journey("ping", "- push: ping")}))
    [person] = world.people(1)
    with world.store.write() as conn:
        more = [{"customer_id": person, "token": f"more-{n}", "platform": "web", "created_at": NOON} for n in range(2)]
        conn.execute(t.device.insert(), more)
    world.behaviour = numbered({0: rejected(Reason.UNKNOWN_ADDRESS)})
    world.event([person])
    assert world.tick()["sent"] == 1
    assert [k.attempt for k in world.outbox()] == ["m1a1d2", "m1a1d3"]
    assert world.one(sa.select(t.device.c.token).where(t.device.c.retired_at.isnot(None))) == "token-1"
    world.pass_time(days=2)
    world.event([person])
    world.apply(files({"ping": journey("ping", "- push: ping\n- push: ping\n  id: again", more="reentry: always")}))


def test_transactional_goes_first_then_priority(world: World):
    journeys = {
        "low": journey("low", "- email: hello", more="priority: 10"),
        "high": journey("high", "- email: second", more="priority: 90"),
        "order": journey("order", "- email: receipt", "{ event: bought }", "priority: 1"),
    }
    world.apply(files(journeys))
    people = world.people(2)
    world.event(people)
    world.event(people, "bought", order_id="o1", amount=1234, amount_currency="EUR")
    world.move()
    world.deliver()
    assert [k.template for k in world.outbox()] == ["receipt"] * 2 + ["second"] * 2 + ["hello"] * 2
    assert "12.34" in world.opened(world.outbox()[0])


# ---- refusals and holds ---------------------------------------------------------------------------------------------


def test_no_consent_is_refused_and_the_journey_goes_on(world: World):
    world.apply(files({"two": journey("two", "- sms: short\n- email: hello")}))
    world.event(world.people(1, consents="email"))
    assert world.tick() == {"allow": 1, "sent": 1, "deny no_consent": 1}
    assert world.log(1)[0]["rule"] == "consent"


def test_a_text_that_became_marketing_while_it_waited_needs_a_yes(world: World):
    """The words are the newest applied; so is what they count as."""
    journeys = {"hello": HELLO}
    world.apply(files(journeys, templates__email__hello_dot_mjml=email("Your account", "It is open.", "service")))
    world.event(world.people(2, consents=None))
    world.event(world.people(1))
    world.move()
    world.apply(files(journeys, templates__email__hello_dot_mjml=email("Half off", "Buy now.", "offers")))
    assert world.tick() == {"deny no_consent": 2, "allow": 1, "sent": 1}
    assert {(m.topic, m.purpose) for m in world.messages()} == {("offers", "marketing")}
    assert {x["body"]["purpose"] for x in world.log() if x["kind"] == "decision"} == {"marketing"}


def test_a_text_whose_review_came_while_it_waited_needs_none(world: World):
    journeys = {"hello": HELLO}
    world.apply(files(journeys))
    world.event(world.people(1, consents=None))
    world.move()
    world.apply(files(journeys, templates__email__hello_dot_mjml=email("Your account", "It is open.", "service")))
    assert world.tick() == {"allow": 1, "sent": 1}
    assert [r.topic for r in world.rows(sa.select(t.reservation))] == ["service"]


def test_no_address_no_zone_suppressed(world: World):
    world.apply(files({"s": journey("s", "- sms: short")}))
    nobody = world.people(1, phone=None)
    nowhere = world.people(1, timezone=None, country=None)
    unknown = world.people(1, timezone="Mars/Olympus")
    silent = world.people(1)
    with world.store.write() as conn:
        from orchestrator.ingest import suppress

        phone = conn.execute(sa.select(t.customer.c.phone).where(t.customer.c.id == silent[0])).scalar_one()
        suppress(conn, [("sms", world.keys.address_key("sms", phone), "stop", None)], now=NOON)
    fine = world.people(1)
    world.event(nobody + nowhere + unknown + silent + fine)
    world.tick()
    assert [(m.state, m.reason) for m in world.messages()] == [
        ("denied", "no_address"),
        ("denied", "unknown_zone"),
        ("denied", "unknown_zone"),
        ("denied", "suppressed"),
        ("sent", None),
    ]


def test_what_a_text_lacks_is_refused_and_named_and_stops_nobody_else(world: World):
    world.apply(files({"town": journey("town", "- email: town")}))
    world.event(world.people(1) + world.people(1, attributes={"town": "Ulm"}))
    assert world.tick() == {"deny missing_value": 1, "allow": 1, "sent": 1}
    line = world.log(1)[0]
    assert (line["rule"], line["detail"]["where"]) == ("text", "customer.town")
    assert "In Ulm" in world.opened(world.outbox()[0])


def test_a_template_that_breaks_for_one(world: World):
    broken = email("Hello", "{{ 10 // (customer.town | length - 3) }}")
    world.apply(files({"x": journey("x", "- email: odd")}, templates__email__odd_dot_mjml=broken))
    world.event(world.people(1, attributes={"town": "Ulm"}) + world.people(1, attributes={"town": "Berlin"}))
    assert world.tick() == {"deny render_failed": 1, "allow": 1, "sent": 1}
    assert "ZeroDivisionError" in world.log(1)[0]["detail"]["where"]


def test_a_rule_or_a_fact_that_cannot_be_read_denies_that_one(world: World, monkeypatch: pytest.MonkeyPatch):
    from orchestrator.store.standing import Facts

    plain = Facts.standing

    def odd(self, due, contacts, segments=1):
        if due.id == 1:
            raise ValueError("an unreadable row")
        return plain(self, due, contacts, segments)

    monkeypatch.setattr(Facts, "standing", odd)
    world.apply(files({"hello": HELLO}))
    world.event(world.people(2))
    assert world.tick() == {"deny rule_failed": 1, "allow": 1, "sent": 1}


def test_a_hold_waits_for_the_window_and_is_judged_again(world: World):
    world.now = datetime(2027, 3, 1, 22, 30, tzinfo=UTC)  # 23:30 in Berlin
    world.apply(files({"s": journey("s", "- sms: short\n- wait: 1 hour\n- email: hello")}))
    people = world.people(3)
    world.event(people)
    assert world.tick() == {"hold quiet_hours": 3}
    assert world.states() == {"held": 3}
    world.consent(people[:1], "sms", "offers", "withdraw")
    world.pass_time(hours=8)
    assert world.tick() == {}  # 07:30
    world.pass_time(minutes=30)
    assert world.tick() == {"deny consent_withdrawn": 1, "allow": 2, "sent": 2}
    waits = world.rows(sa.select(t.enrollment.c.wake_at))
    assert {w.wake_at for w in waits} == {world.now + timedelta(hours=1)}, "the wait begins behind the hold"


def test_a_release_is_spread_and_never_behind_the_expiry(world: World):
    world.now = datetime(2027, 3, 1, 22, 30, tzinfo=UTC)
    world.apply(files({"s": journey("s", "- sms: short")}, POLICIES + "    release: spread 2 hours\n"))
    world.event(world.people(60))
    world.tick()
    eight = datetime(2027, 3, 2, 7, tzinfo=UTC)
    starts = [b.due_at for b in world.rows(sa.select(t.batch).where(t.batch.c.due_at > world.now))]
    assert min(starts) >= eight and max(starts) < eight + timedelta(hours=2) and len(starts) > 30
    world.now = eight + timedelta(minutes=15)
    world.tick()
    assert 0 < world.states()["sent"] < 20
    world.pass_time(hours=2)
    world.tick()
    assert world.states() == {"sent": 60}


def test_expired_and_exited(world: World):
    world.now = datetime(2027, 3, 1, 22, 30, tzinfo=UTC)
    steps = "- sms: short\n  expire_after: 2 days\n- email: hello"
    more = "exit_when: [ { event: left } ]"
    world.apply(files({"s": journey("s", steps, more=more)}))
    stays, leaves = world.people(2)
    world.event([stays, leaves])
    world.tick()
    world.event([leaves], "left", why="moved")
    world.pass_time(days=3)
    counts = world.tick()
    assert counts["deny expired"] == 1
    assert reasons(world)[("expired", "expired")] == 1
    [message] = [m for m in world.messages() if m.customer_id == leaves]
    assert message.state == "cancelled"
    assert world.log(message.id)[-1]["verdict"] == "cancelled"


def test_caps_count_within_the_batch_and_across_batches(world: World):
    world.apply(
        files(
            {
                "a": journey("a", "- email: hello", more="priority: 10"),
                "b": journey("b", "- email: second", more="priority: 90"),
            },
            POLICIES + "  caps:\n    - 1 per day across email, sms\n",
        )
    )
    world.event(world.people(3))
    assert world.tick() == {"allow": 3, "sent": 3, "deny frequency_cap": 3}
    assert {k.template for k in world.outbox()} == {"second"}, "priority decides who goes"


def test_a_refused_text_counts_for_no_cap(world: World):
    journeys = {
        "a": journey("a", "- email: town", more="priority: 90"),
        "b": journey("b", "- email: hello", more="priority: 10"),
    }
    world.apply(files(journeys, POLICIES + "  caps:\n    - 1 per day across email\n"))
    world.event(world.people(1))
    assert world.tick() == {"deny missing_value": 1, "allow": 1, "sent": 1}


def test_the_same_content_goes_to_a_shared_address_once(world: World):
    policies = POLICIES + "  dedupe: same address and same content within 24 hours\n"
    world.apply(
        files(
            {"hello": HELLO, "order": journey("order", "- email: receipt", "{ event: bought, key: order_id }")},
            policies,
        )
    )
    people = world.people(2, email="family@example.com")
    world.event(people)
    for n, person in enumerate(people):
        world.event([person], "bought", order_id=f"o{n}", amount=100, amount_currency="EUR")
    counts = world.tick()
    assert counts == {"allow": 3, "sent": 3, "deny duplicate": 1}
    assert Counter(k.template for k in world.outbox()) == {"hello": 1, "receipt": 2}


# ---- the last look --------------------------------------------------------------------------------------------------


def test_what_changes_after_the_decision_is_cancelled(world: World):
    """Between the commit point and the first request: withdrawal, suppression, exit, pause, departure."""
    world.apply(files({"hello": HELLO, "other": journey("other", "- email: second", "{ event: left }")}))
    withdrawn, suppressed, exited, departed, fine = world.people(5)
    [paused] = world.people(1)
    world.event([withdrawn, suppressed, exited, departed, fine])
    world.event([paused], "left")
    world.move()
    from orchestrator.ingest import suppress
    from orchestrator.store import outbox

    plain, done = outbox.last_look, [False]

    def first_something_happens(conn, deliveries, at, channel):
        if not done[0]:
            done[0] = True
            world.consent([withdrawn], "email", "*", "withdraw")
            with world.store.write() as other:
                key = world.keys.address_key("email", f"c{suppressed}@example.com")
                suppress(other, [("email", key, "complained", None)], now=world.now)
                run = t.enrollment.c.customer_id == exited
                over = {"ended_at": world.now, "ended_because": "exited", "live_key": None}
                other.execute(t.enrollment.update().where(run).values(**over))
                other.execute(t.customer.update().where(t.customer.c.id == departed).values(left_at=world.now))
                versions.pause(other, "other", by="me", reason="", now=world.now)
        with world.store.read() as fresh:
            return plain(fresh, deliveries, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "last_look", first_something_happens)
        report = world.deliver()
    assert report.total("sent") == 1 and [k.attempt for k in world.outbox()] == ["m5a1"]
    assert reasons(world) == {
        ("cancelled", "consent_withdrawn"): 1,
        ("cancelled", "suppressed"): 1,
        ("cancelled", "exited"): 2,
        ("sent", None): 1,
        ("planned", "paused"): 1,
    }
    assert world.tick()["sent"] == 0
    with world.store.write() as conn:
        versions.resume(conn, "other", by="me", now=world.now)
    assert world.tick()["sent"] == 1


def test_two_contacts_who_are_one_person_are_told_once(world: World):
    """A merge while both are queued for: the copy is withdrawn; what only the one who goes was to get is not lost."""
    more = "unit: account\nrecipients: { role: [buyer], at_most: 2 }"
    world.apply(files({"j": journey("j", "- email: hello", more=more)}))
    columns = {"class": "b2b", "attributes": {}, "timezone": "Europe/Berlin"}
    with world.store.write() as conn:
        for n in (1, 2):
            row = {"key": f"a{n}", "name": f"Firm {n}", "created_at": NOON, "updated_at": NOON, **columns}
            conn.execute(t.account.insert().values(row))
    both = world.people(2, account_id=1, role="buyer")
    alone = world.people(1, account_id=2, role="buyer")
    world.now = NOON.replace(hour=22)
    world.event([both[0], alone[0]])
    assert world.tick() == {"hold quiet_hours": 3}
    assert merge_customers(world.store, world.keys, "c1", "c2", now=world.now).messages_cancelled == 1
    assert merge_customers(world.store, world.keys, "c1", "c3", now=world.now).messages_cancelled == 0
    world.pass_time(hours=12)
    assert world.tick() == {"allow": 2, "sent": 2}
    assert reasons(world) == {("sent", None): 2, ("cancelled", "merged"): 1}
    assert {m.addressee_id for m in world.messages() if m.state == "sent"} == {both[0]}
    assert [r.ended_because for r in world.rows(sa.select(t.enrollment))] == ["completed", "completed"]


def test_every_request_is_preceded_by_a_look(database_url: str):
    world = world_of(database_url, batch_size=10)
    world.apply(files({"hello": HELLO}))
    people = world.people(30)
    world.event(people)
    world.move()

    def stop_everybody(outbound, number):
        from channels.sandbox import ACCEPT

        if number == 9:
            world.consent(people, "email", "offers", "withdraw")
        return ACCEPT

    world.behaviour = stop_everybody
    world.pass_time(seconds=1)
    world.deliver()
    assert reasons(world) == {("sent", None): 10, ("cancelled", "consent_withdrawn"): 20}
    audit(world)
    world.store.close()


def test_pauses(world: World):
    world.apply(files({"hello": HELLO, "other": journey("other", "- email: second", "{ event: left }")}))
    people = world.people(2)
    world.event(people)
    world.event(people, "left")
    world.move()
    with world.store.write() as conn:
        versions.pause(conn, "hello", by="me", reason="wait", now=world.now)
    assert world.deliver().total("sent") == 2
    assert world.deliver().judged == 0
    with world.store.write() as conn:
        versions.pause(conn, "*", by="me", reason="all", now=world.now)
        versions.resume(conn, "hello", by="me", now=world.now)
    assert world.deliver().judged == 0
    with world.store.write() as conn:
        versions.resume(conn, "*", by="me", now=world.now)
    assert world.deliver().total("sent") == 2


# ---- what providers say ---------------------------------------------------------------------------------------------


def test_rejected_is_failed_and_the_address_is_not_used_again(world: World):
    world.apply(files({"two": journey("two", "- email: hello\n- email: second")}))
    world.behaviour = numbered({0: rejected(Reason.INVALID_ADDRESS)})
    world.event(world.people(1))
    assert world.tick() == {"allow": 1, "failed invalid_address": 1, "deny suppressed": 1}
    assert world.one(sa.select(sa.func.count()).select_from(t.reservation)) == 0


def test_retry_waits_with_growing_pauses_and_is_counted_once(world: World):
    world.apply(files({"hello": HELLO}, POLICIES + "  caps:\n    - 1 per day across email\n"))
    world.behaviour = numbered({0: retry(), 1: retry(600.0)})
    world.event(world.people(1))
    assert world.tick() == {"allow": 1, "planned rate": 1}
    assert world.tick() == {}
    world.pass_time(seconds=30)
    assert world.tick() == {"allow": 1, "planned rate": 1}
    world.pass_time(seconds=599)
    assert world.tick() == {}
    world.pass_time(seconds=1)
    assert world.tick() == {"allow": 1, "sent": 1}
    assert [k.attempt for k in world.outbox()] == ["m1a3"]


def test_a_provider_that_puts_off_for_ever_fails_in_the_end(world: World):
    world.apply(files({"hello": HELLO}))
    world.behaviour = always(retry())
    world.event(world.people(1))
    for _ in range(30):
        world.tick(1)
        world.pass_time(hours=1.01) if 5 < world.now.hour < 20 else world.pass_time(hours=13)
    assert reasons(world) == {("failed", "gave_up"): 1}


def test_a_provider_that_is_away(world: World):
    world.apply(files({"hello": HELLO}))
    world.behaviour = numbered({2: unavailable(90.0)})
    world.event(world.people(5))
    world.move()
    report = world.deliver()
    assert report.total("sent") == 2 and report.total("planned", "unavailable") == 3
    assert report.problems and "email by sandbox is not available" in report.problems[0]
    world.behaviour = None
    world.pass_time(seconds=91)
    assert world.deliver().total("sent") == 3


def test_a_provider_that_is_set_up_wrongly_is_told_and_nothing_is_lost(world: World):
    world.apply(files({"two": journey("two", "- email: hello"), "sms": journey("sms", "- sms: short")}))
    world.behaviour = lambda o, n: misconfigured() if o.medium is Medium.EMAIL else _accept()
    world.event(world.people(2))
    world.move()
    report = world.deliver()
    assert report.total("sent") == 2, "the other medium goes on"
    assert "email by sandbox needs an operator" in report.problems[0]
    assert reasons(world) == {("planned", "misconfigured"): 2, ("sent", None): 2}
    world.behaviour = None
    world.pass_time(minutes=5)
    assert world.deliver().total("sent") == 2


def _accept():
    from channels.sandbox import ACCEPT

    return ACCEPT


@pytest.mark.parametrize("taken", [True, False])
def test_no_answer_is_uncertain_and_never_sent_again(world: World, taken: bool):
    world.apply(files({"two": journey("two", "- email: hello\n- sms: short")}))
    world.behaviour = lambda o, n: timed_out(taken) if o.medium is Medium.EMAIL and n == 1 else _accept()
    world.event(world.people(4))
    counts = world.tick(5)
    assert counts["uncertain no_answer"] == 3 and counts["sent"] == 5, "the batch broke off at the second"
    world.pass_time(days=1)
    assert world.tick(5) == {}
    assert Counter(m.state for m in world.messages() if m.medium == "email") == {"sent": 1, "uncertain": 3}


class Odd:
    """A channel that breaks the rules."""

    name = "odd"
    medium = Medium.EMAIL
    batch_size = 100
    rate = None
    resend = "never"
    reports: frozenset[EventKind] = frozenset()

    def __init__(self, how: str) -> None:
        self.how = how

    def send(self, batch: list[Outbound]) -> Iterator[Receipt]:
        if self.how == "raises":
            raise RuntimeError("c1@example.com could not be reached")
        yield Receipt("m999a1", "accepted")
        yield Receipt(batch[0].attempt, "accepted", "x")
        yield Receipt(batch[0].attempt, "rejected", "x")
        if self.how == "uncertain":
            raise Uncertain("no answer")

    def events(self, inbound):
        return []


@pytest.mark.parametrize(
    ("how", "reason", "sent"),
    [("raises", "channel_failed", 0), ("silent", "no_receipt", 1), ("uncertain", "no_answer", 1)],
)
def test_a_channel_that_breaks_the_rules(database_url: str, how: str, reason: str, sent: int):
    world = world_of(database_url)
    world.apply(files({"hello": HELLO}))
    world.event(world.people(3))
    world.move()
    report = deliver(world.store, {Medium.EMAIL: Odd(how)}, world.keys, now=world.now)  # type: ignore[dict-item]
    assert report.total("uncertain", reason) == 3 - sent and report.total("sent") == sent
    assert not any("example.com" in problem for problem in report.problems)
    assert world.deliver().judged == 0
    world.store.close()


def test_a_journey_that_goes_wrong_is_paused(world: World):
    world.apply(files({"hello": HELLO}, POLICIES + "  pause_if: errors > 20% of last 10\n"))
    world.behaviour = lambda o, n: rejected(Reason.CONTENT) if n in (1, 2, 3) else _accept()
    world.event(world.people(5))
    world.move()
    assert world.deliver().paused == ("hello",)
    world.event(world.people(1))
    assert world.tick() == {}
    with world.store.read() as conn:
        pause = versions.pauses(conn)["hello"]
    assert pause["by"] == "orchestrator" and "3 of the last 10" in pause["reason"]


# ---- leases ---------------------------------------------------------------------------------------------------------


def test_a_rate_is_kept(world: World):
    world.apply(files({"hello": HELLO}))
    world.channels[Medium.EMAIL].rate = 40.0
    sizes = []
    plain = world.channels[Medium.EMAIL].send

    def send(batch):
        sizes.append(len(batch))
        return plain(batch)

    world.channels[Medium.EMAIL].send = send  # type: ignore[method-assign]
    world.event(world.people(50))
    world.move()
    import time

    begun = time.monotonic()
    assert world.deliver().total("sent") == 50
    assert sizes == [20, 20, 10] and time.monotonic() - begun >= 0.9


def test_a_lease_is_one_workers_and_ends(world: World):
    from orchestrator.store import outbox

    world.apply(files({"hello": HELLO}))
    world.event(world.people(2))
    world.move()
    with world.store.write() as conn:
        taken = outbox.lease(
            conn,
            Medium.EMAIL,
            owner="gone",
            now=world.now,
            until=world.now + timedelta(minutes=1),
            most=10,
            paused=False,
        )
    assert taken is not None and len(taken.messages) == 2
    assert world.deliver().judged == 0
    world.pass_time(minutes=1)
    assert world.deliver().total("sent") == 2, "no decision had been made: they are simply judged"


def test_a_decision_without_an_outcome_is_uncertain(world: World):
    world.apply(files({"two": journey("two", "- email: hello\n- sms: short")}))
    world.event(world.people(2))
    world.move()

    class Died(BaseException):
        pass

    def dies(outbound, number):
        if number == 1:
            raise Died
        return _accept()

    world.behaviour = dies
    with pytest.raises(Died):
        world.deliver()
    assert world.states() == {"sending": 2}
    world.behaviour = None
    assert world.tick() == {}
    world.pass_time(seconds=61)
    counts = world.tick(5)
    assert counts["uncertain lost_worker"] == 2 and counts["sent"] == 2
    assert world.states() == {"uncertain": 2, "sent": 2}


def test_a_safe_channel_may_be_given_it_again(world: World):
    world.apply(files({"hello": HELLO}))
    world.event(world.people(1))
    world.move()
    world.behaviour = always(timed_out(False))

    class Died(BaseException):
        pass

    def dies(outbound, number):
        raise Died

    world.behaviour = dies
    with pytest.raises(Died):
        world.deliver()
    world.behaviour = None
    world.pass_time(seconds=61)
    assert world.deliver(send_again=lambda channel, due: True).total("sent") == 1
    assert [k.attempt for k in world.outbox()] == ["m1a2"]


def test_stop_between_two_requests_puts_the_rest_back(database_url: str):
    world = world_of(database_url, batch_size=10)
    world.apply(files({"hello": HELLO}))
    world.event(world.people(25))
    world.move()
    world.deliver(stop=lambda: bool(world.outbox()))
    assert world.states() == {"sent": 10, "planned": 15}
    audit(world)
    assert world.deliver().total("sent") == 15
    audit(world)
    world.store.close()


def test_limit(world: World):
    world.apply(files({"hello": HELLO}))
    world.event(world.people(25))
    world.move()
    assert world.deliver(limit=10).judged == 10
    assert world.deliver().judged == 15


def test_counts_are_by_journey_medium_and_verdict(world: World):
    world.apply(files({"hello": HELLO}))
    world.event(world.people(2))
    world.move()
    assert world.deliver().counts == {
        Line("hello", "email", "decision", "allow", ""): 2,
        Line("hello", "email", "outcome", "sent", ""): 2,
    }


# ---- sets, not rows -------------------------------------------------------------------------------------------------


def _statements_for(world: World, people: int) -> int:
    world.event(world.people(people))
    world.move()
    with Statements(world.store.engine) as statements:
        assert world.deliver(limit=people).judged == people
    return statements.count


def test_statements_do_not_grow_with_the_batch(world: World):
    caps = "  caps:\n    - 9 per day across email\n    - 9 per day per account\n"
    dedupe = "  dedupe: same address and same content within 24 hours\n"
    world.apply(files({"hello": HELLO}, POLICIES + caps + dedupe))
    few = _statements_for(world, 10)
    many = _statements_for(world, 1000)
    assert many == few and few <= 55, (few, many)


# ---- at the same time -----------------------------------------------------------------------------------------------


def test_two_workers_and_a_cap_of_one(database_url: str):
    """One customer, many messages in many batches, two workers at once: the cap leaves room for one."""
    world = world_of(database_url)
    names = [f"j{n}" for n in range(12)]
    journeys = {
        n: journey(n, f"- email: {'hello' if i % 2 else 'second'}", more=f"priority: {i + 1}")
        for i, n in enumerate(names)
    }
    world.apply(files(journeys, POLICIES + "  caps:\n    - 1 per day across email\n"))
    people = world.people(5)
    world.event(people)
    world.move()
    start = threading.Barrier(2)
    stores = [open_store(database_url) for _ in range(2)]
    failed: list[BaseException] = []

    def work(store):
        try:
            start.wait(5)
            deliver(store, world.channels, world.keys, now=world.now, worker="w", limit=None)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(s,)) for s in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failed, failed
    for s in stores:
        s.close()
    assert Counter(m.state for m in world.messages()) == {"sent": 5, "denied": 55}
    assert len({m.customer_id for m in world.messages() if m.state == "sent"}) == 5
    audit(world)
    world.store.close()
