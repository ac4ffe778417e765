"""A decision judged again from its line: the same every time; and what was tampered with is found and named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.base import Medium
from channels.sandbox import rejected, retry
from orchestrator import decision, rules
from orchestrator.decision import Case, Entry, Lines
from orchestrator.erase import Places, erase
from orchestrator.ingest import record_consents
from orchestrator.model import Cap, HouseHours, Policies, Window
from orchestrator.outbound import Due
from orchestrator.rejudge import CODES, Examined, examine
from orchestrator.retain import retain
from orchestrator.rules import Consent, Contact, Partner, Place, Rival, Standing, Subject, Zone, judge
from orchestrator.seal import seal
from orchestrator.store import insert_many, vault, versions
from orchestrator.store import log as send_log
from orchestrator.store import tables as t
from tests.outgoing import NOON, POLICIES, World, audit, files, journey, world_of
from tests.rules.cases import RULESET, SHIPPED

# ---- whatever rules were given, they come to the same again ---------------------------------------------------------

NOW = datetime(2027, 3, 1, 11, tzinfo=UTC)
assert SHIPPED is not None
ONE_OF = st.sampled_from
_AROUND = [(NOW + timedelta(days=days)).replace(tzinfo=None) for days in (-90, 30)]
INSTANTS = st.datetimes(_AROUND[0], _AROUND[1], timezones=st.just(UTC))
TOPICS = ONE_OF(["offers", "news", "*"])
MEDIA = ONE_OF(list(Medium))
ZONES = ONE_OF(
    ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Mars/Olympus", "Etc/Unknown"]
)
SOURCES = ONE_OF(["stated", "address", "phone", "account"])
CONSENTS = st.builds(
    Consent,
    TOPICS,
    ONE_OF(["granted", "withdrawn", "requested", "expired"]),
    INSTANTS,
    st.integers(1, 2**40),
    ONE_OF(["", "express", "express_written", "soft_opt_in", "implied_purchase", "implied_inquiry"]),
    st.booleans(),
    st.none() | INSTANTS,
)
CONTACTS = st.builds(
    Contact, INSTANTS, MEDIA, TOPICS, ONE_OF(["marketing", "transactional"]), st.integers(7, 9), st.none() | st.just(3),
    ONE_OF(["", "support"]),
)  # fmt: skip
PLACES = st.builds(Place, ONE_OF(["DE", "US", "CA", "FR", "GB"]), ONE_OF([None, "NY", "FL", "QC"]),
                   ONE_OF(["address", "phone", "account"]))  # fmt: skip
STANDINGS = st.builds(
    Standing,
    zones=st.lists(st.builds(Zone, ZONES, SOURCES), max_size=3).map(tuple),
    country=ONE_OF([None, "DE", "US"]),
    customer_class=ONE_OF(["b2c", "b2b", ""]),
    tier=ONE_OF([None, "gold"]),
    consents=st.lists(CONSENTS, max_size=3).map(tuple),
    address=ONE_OF([None, "a-keyed-hash"]),
    suppressions=st.lists(st.tuples(ONE_OF(["bounced", "stop"]), st.none() | INSTANTS), max_size=2).map(tuple),
    contacts=st.lists(CONTACTS, max_size=4),
    duplicate_at=st.none() | INSTANTS,
    ended=st.booleans(),
    places=st.lists(PLACES, max_size=2).map(tuple),
    legal_form=ONE_OF([None, "individual", "corporate"]),
    born=st.none() | st.dates(date(1990, 1, 1), date(2020, 1, 1)),
    open_case=st.booleans(),
    rivals=st.lists(st.builds(Rival, st.integers(1, 9), MEDIA, TOPICS, st.integers(0, 99)), max_size=2).map(tuple),
    spent=st.integers(0, 2**50),
    permitted=st.booleans(),
    partners=st.lists(st.builds(Partner, st.integers(1, 9), ONE_OF([None, True, False])), max_size=2).map(tuple),
)
SUBJECTS = st.builds(
    Subject,
    id=st.integers(1, 2**40),
    addressee=ONE_OF(["customer", "staff", "system"]),
    customer_id=st.just(7),
    account_id=st.none() | st.just(3),
    medium=MEDIA,
    topic=TOPICS,
    purpose=ONE_OF(["marketing", "transactional"]),
    priority=st.integers(0, 99),
    planned_at=INSTANTS,
    due_at=INSTANTS,
    expires_at=st.none() | INSTANTS,
)
WINDOWS = st.builds(
    Window, st.times(), st.times(), st.frozensets(st.integers(0, 6), min_size=1), ONE_OF(["", "DE", "US-FL"])
)
POLICY = st.builds(
    Policies,
    hours=st.dictionaries(MEDIA, st.builds(HouseHours, MEDIA, WINDOWS, ONE_OF(["hold", "deny"])), max_size=3),
    caps=st.lists(
        st.builds(
            Cap, ONE_OF(["a", "b"]), st.just("a line"), st.integers(0, 3), ONE_OF(["customer", "account"]),
            st.frozensets(MEDIA, max_size=2), ONE_OF([None, "day", "week", "month"]),
        ),
        max_size=2,
    ).map(tuple),
    dedupe=st.none() | st.timedeltas(timedelta(minutes=1), timedelta(days=30)),
    pause_if=st.none() | st.tuples(st.floats(0, 1), st.integers(1, 500)),
    budgets=st.dictionaries(
        MEDIA, st.tuples(st.integers(1, 10**6), st.just("EUR"), ONE_OF(["day", "month"])), max_size=2
    ),
    prices=st.dictionaries(MEDIA, st.integers(1, 10**6), max_size=2),
    ruleset=ONE_OF([SHIPPED, replace(SHIPPED, hours=())]),
    counting=st.frozensets(ONE_OF(["support", "sales"])),
    pause_on_case=st.booleans(),
    born=ONE_OF(["", "born"]),
)  # fmt: skip


def due_of(subject: Subject) -> Due:
    s = subject
    to = (s.addressee, 7, s.customer_id, s.account_id, s.medium, "x", s.topic, s.purpose, s.priority, "planned")
    fields: Any = (s.id, 1, "journey", 1, "j", "v", "email:x", 0, *to, s.planned_at, s.due_at, s.expires_at, 0, {})
    return Due(*fields)


def logged(subject: Subject, standing: Standing, policies: Policies, now: datetime = NOW) -> Entry:
    case = Case(due_of(subject), judge(subject, standing, policies, now), standing, addresses=("a-keyed-hash",))
    return Lines({"policies": "p"}, lambda _: ("j.yaml", 3)).entry(case, f"m{subject.id}a1", now)


@settings(max_examples=150)
@given(SUBJECTS, STANDINGS, POLICY)
def test_a_logged_decision_comes_out_the_same(subject: Subject, standing: Standing, policies: Policies):
    entry = logged(subject, standing, policies)
    assert isinstance(entry.detail, bytes)
    detail = decision.read_detail(entry.detail)
    assert detail.subject == subject and detail.standing == standing
    text = decision.policies_text(policies)
    read = decision.read_policies(msgspec.json.decode(text))
    assert read == policies and decision.policies_text(read) == text
    assert detail.standing is not None
    again = judge(detail.subject, detail.standing, read, NOW)
    assert again == judge(subject, standing, policies, NOW)
    assert (again.say, again.rule, again.reason) == (entry.verdict, entry.rule, entry.reason)


@settings(max_examples=50)
@given(SUBJECTS, STANDINGS, POLICY)
def test_a_line_is_canonical_and_its_body_says_nothing_of_the_person(
    subject: Subject, standing: Standing, policies: Policies
):
    entry = logged(subject, standing, policies)
    assert isinstance(entry.body, bytes) and isinstance(entry.detail, bytes)
    assert entry.body == msgspec.json.encode(msgspec.json.decode(entry.body), order="deterministic")
    said = msgspec.json.decode(entry.body)
    assert not {"standing", "zones", "addresses", "content_hash", "locale", "local"} & said.keys()
    assert b"a-keyed-hash" not in entry.body
    assert list(said["verdicts"]) == sorted(rules.rules())


def test_a_clock_of_another_kind_is_logged_as_an_instant():
    """freezegun's datetimes are no datetimes to msgspec."""
    with freeze_time("2027-03-01T11:00:00Z"):
        now = datetime.now(UTC)
        subject = Subject(1, "customer", 7, None, Medium.EMAIL, "offers", "marketing", 50, now, now, now)
        standing = Standing((), None, "b2c", None, (), "a", (), (), now)
        text = logged(subject, standing, Policies()).detail
    assert isinstance(text, bytes)
    detail = decision.read_detail(text)
    assert detail.subject.planned_at == NOW and detail.standing is not None and detail.standing.duplicate_at == NOW


def test_the_rules_version_names_the_program_and_its_rules():
    import orchestrator

    assert decision.rules_version().startswith(f"{orchestrator.__version__}:")
    assert RULESET.is_dir()


# ---- worlds ---------------------------------------------------------------------------------------------------------

HELLO = journey("hello", "- email: hello")
CAPPED = POLICIES + "  caps:\n    - 1 per day across email\n  dedupe: same address and same content within 24 hours\n"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    made.store.close()


def examined(world: World) -> Examined:
    with world.store.read() as conn:
        return examine(conn, world.keys)


def codes(world: World) -> list[tuple[str, str]]:
    return [(finding.row, finding.code) for finding in examined(world).findings]


def sent(world: World, people: int = 3) -> list[int]:
    world.apply(files({"hello": HELLO}, CAPPED))
    ids = world.people(people)
    world.pass_time(minutes=10)
    world.event(ids)
    assert world.tick()["sent"] == people
    return ids


def unguarded(world: World, table: str) -> Any:
    """A transaction in which a ledger can be changed, as somebody with the database's file can."""
    conn = world.store.engine.connect()
    if world.store.dialect == "sqlite":
        names = conn.exec_driver_sql(f"select name from sqlite_master where type='trigger' and tbl_name='{table}'")
        for (name,) in names.all():
            conn.exec_driver_sql(f"DROP TRIGGER {name}")
    else:
        conn.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    return conn


def changed(world: World, statement: Any, table: str) -> None:
    conn = unguarded(world, table)
    try:
        conn.execute(statement)
        conn.commit()
    finally:
        conn.close()


def test_every_kind_of_decision_is_judged_again_and_stands(world: World):
    """Holds, releases, caps, duplicates, refusals by rule and by text, retries, staff, a pause, people who said no."""
    steps = "- email: town\n- sms: short\n- push: ping\n- task: sales\n  message: Call {{ customer.first_name }}"
    more = "priority: 90"
    world.apply(files({"hello": HELLO, "all": journey("all", steps, more=more)}, CAPPED))
    world.behaviour = lambda outbound, number: retry(1) if number == 1 else _accept()
    world.now = NOON.replace(hour=21, minute=30)
    fine = world.people(2, attributes={"town": "Ulm"})
    lacking = world.people(1)
    nobody = world.people(1, consents=None)
    nowhere = world.people(1, timezone=None, country=None, street=None, city=None, phone=None)
    world.consent(fine[1:], "sms", "*", "withdraw")
    world.event(fine + lacking + nobody + nowhere)
    counts = world.tick()
    for hours in (1, 9, 3, 24):
        world.pass_time(hours=hours)
        counts += world.tick()
    assert counts["hold quiet_hours"] and counts["allow"] and counts["deny frequency_cap"]
    assert counts["deny consent_withdrawn"] and counts["deny missing_value"] and counts["deny no_address"]
    found = examined(world)
    assert found.findings == () and found.notes == ()
    assert (
        found.checked["judged again"]
        == found.checked["decisions"]
        == sum(n for name, n in counts.items() if name.split()[0] in ("allow", "hold", "deny"))
    )
    assert found.checked["sends that need a yes"] > 0


def _accept() -> Any:
    from channels.sandbox import ACCEPT

    return ACCEPT


def test_what_the_rule_saw_is_what_is_logged_when_it_was_judged_twice(world: World):
    """Another worker's allow comes between the facts and the commit: the line tells of the second judgement."""
    journeys = {"a": journey("a", "- email: hello"), "b": journey("b", "- sms: short")}
    world.apply(files(journeys, POLICIES + "  caps:\n    - 1 per day across email, sms\n"))
    world.event(world.people(1))
    world.move()
    from orchestrator import deliver as door

    plain = door._judged
    seen: list[int] = []

    def judged(due: Due, *rest: Any) -> Case:
        case = plain(due, *rest)
        if not seen:
            row: dict[str, Any] = {
                "message_id": 2,
                "customer_id": 1,
                "account_id": None,
                "medium": "sms",
                "topic": "offers",
            }
            row |= {"purpose": "marketing", "at": world.now, "dedupe_key": "x"}
            with world.store.write() as conn:
                conn.execute(t.reservation.insert().values(row))
        seen.append(due.id)
        return case

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "_judged", judged)
        world.deliver(limit=1)
    assert seen[:2] == [1, 1], "judged again under the lock"
    refused = [line for line in world.log() if line["verdict"] == "deny"]
    assert refused and len(refused[0]["detail"]["standing"]["contacts"]) == 1
    assert examined(world).findings == ()


# ---- tampering ------------------------------------------------------------------------------------------------------


def test_a_changed_detail_is_found(world: World):
    sent(world)
    with world.store.write() as conn:
        row = conn.execute(sa.select(t.log_detail).order_by(t.log_detail.c.log_id)).mappings().first()
        assert row is not None
        body = bytearray(row["body"])
        body[40] ^= 1
        conn.execute(t.log_detail.update().where(t.log_detail.c.log_id == row["log_id"]).values(body=bytes(body)))
    assert codes(world) == [("log line 1", "detail")]
    assert world.log(1)[0]["sealed"] == "damaged"


def test_a_detail_sealed_anew_by_who_has_the_keys_is_found(world: World):
    sent(world)
    with world.store.write() as conn:
        row = conn.execute(sa.select(t.log_detail).order_by(t.log_detail.c.log_id)).mappings().first()
        assert row is not None
        key = send_log.person_keys(conn, world.keys, [row["customer_id"]])[row["customer_id"]]
        record = vault.unseal(key, bytes(row["salt"]), bytes(row["body"]))
        forged = vault.seal(key, record.replace(b'"tier":"silver"', b'"tier":"golden"'), bytes(row["salt"]))
        conn.execute(t.log_detail.update().where(t.log_detail.c.log_id == row["log_id"]).values(body=forged.body))
    assert codes(world) == [("log line 1", "detail")]
    assert "committed to" in examined(world).findings[0].what


def erased(world: World, customer: int) -> None:
    """As `erase` does it, as far as the log goes."""
    key = world.one(sa.select(t.customer.c.key).where(t.customer.c.id == customer))
    erase(world.store, world.keys, key, Places(world.folder / "list.jsonl"), now=world.now, by="me")


def test_a_detail_that_is_gone_is_found_unless_the_person_was_erased(world: World):
    first, *_ = sent(world)
    with world.store.write() as conn:
        conn.execute(t.log_detail.delete().where(t.log_detail.c.customer_id == first))
    assert codes(world) == [("log line 1", "detail")]
    erased(world, first)
    found = examined(world)
    assert found.findings == () and found.checked["erased"] == 1 and found.checked["judged again"] == 2
    assert world.log(1)[0]["detail"] is None and world.log(1)[0]["sealed"] == "erased"
    assert any("not sealed yet" in note for note in found.notes)
    seal(world.store, world.keys, now=world.now)
    assert examined(world).notes == ()


def test_an_erasure_that_the_log_does_not_know_hides_nothing(world: World):
    """A customer's row, and whose detail it is, anybody can write who has the database."""
    first, second, third = sent(world)

    def hidden() -> list[tuple[str, str]]:
        return [told for told in codes(world) if told[1] != "evidence"]  # of their consents, too, it is all missed

    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == first).values(salt=None, erased_at=world.now))
        conn.execute(t.log_detail.delete().where(t.log_detail.c.customer_id == second))
        conn.execute(t.customer.update().where(t.customer.c.id == second).values(salt=None, erased_at=world.now))
    assert hidden() == [("log line 1", "detail"), ("log line 2", "detail")]
    erased(world, third)
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == second).values(merged_into=third))
        conn.execute(t.log_detail.update().where(t.log_detail.c.log_id == 1).values(customer_id=third))
    assert hidden() == [("log line 1", "detail"), ("log line 2", "detail")]
    with world.store.write() as conn:  # a line, and nobody whom the ledger of erasures names
        send_log.operation(conn, world.now, "erased", by="me", reason="request", body={"ids": [first, second]})
    assert hidden() == [("log line 1", "detail"), ("log line 2", "detail")]


def test_who_was_merged_is_erased_with_whom_she_was_merged_into(world: World):
    first, second, _ = sent(world)
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == second).values(merged_into=first))
    erased(world, first)
    found = examined(world)
    assert found.findings == () and found.checked["erased"] == 2


def test_a_send_after_the_erasure_and_a_line_emptied_before_it_are_found(world: World):
    first, *_ = sent(world)
    changed(world, t.log.update().where(t.log.c.id == 1).values(commitment=None), "log")
    erased(world, first)
    assert codes(world) == [("log line 1", "detail")]
    [line] = world.rows(sa.select(t.log).where(t.log.c.id == 1))
    with world.store.write() as conn:
        at = world.now + timedelta(hours=1)
        body = line.body.replace(b"m1a1", b"m1a2")
        send_log.append(conn, [Entry("decision", at, 1, 2, "allow", body=body, customer_id=first)])
    assert [code for _, code in codes(world)] == ["detail", "withdrawn"]


def test_a_detail_whose_time_was_over_is_not_missed(world: World):
    kept = CAPPED + "  retention: { decision_details: 30 days }\n"
    world.apply(files({"hello": HELLO}, kept))
    ids = world.people(3)
    world.event(ids)
    assert world.tick()["sent"] == 3
    world.pass_time(days=31)
    assert retain(world.store, now=world.now).counts == {"decision_details": 3}
    found = examined(world)
    assert found.findings == () and found.checked["destroyed in time"] == 3
    world.apply(files({"more": journey("more", "- email: second", "{ event: left }")}, kept))
    world.event([1], "left", why="x")
    assert world.tick()["sent"] == 1
    with world.store.write() as conn:
        conn.execute(t.log_detail.delete())
    assert [code for _, code in codes(world)] == ["detail"], "what came later is missed"


def test_a_retention_that_no_policy_asked_for_hides_nothing(world: World):
    sent(world)
    with world.store.write() as conn:
        conn.execute(t.log_detail.delete())
        body = {"kind": "decision_details", "destroyed": 3, "before": rules.stamp(world.now)}
        send_log.operation(conn, world.now, "retained", by="retention", reason="decision_details", body=body)
    assert [code for _, code in codes(world)] == ["detail"] * 3


def test_sealed_details_of_an_erased_person_open_no_more(world: World):
    first, *_ = sent(world)
    erased(world, first)
    found = examined(world)
    assert found.findings == () and found.checked["erased"] == 1
    assert world.log(1)[0]["sealed"] == "erased"
    assert world.log(1)[0]["body"]["verdicts"]["consent"] == "allow consented", "the line stands"


def forged(world: World, **changes: Any) -> None:
    """A first line's decision once more, as somebody with the keys would write it: another line, sealed and all."""
    with world.store.write() as conn:
        row = conn.execute(sa.select(t.log).order_by(t.log.c.id)).mappings().first()
        assert row is not None
        kept = send_log.of_messages(conn, [row["message_id"]], world.keys)[0]
        body = {**kept["body"], **changes.pop("body", {})}
        detail = {**kept["detail"], **changes.pop("detail", {})}
        values = {
            **{n: row[n] for n in ("kind", "at", "message_id", "attempt", "verdict", "reason", "rule")},
            **changes,
        }
        entry = Entry(body=body, detail=detail, customer_id=body["customer"], **values)
        keys = send_log.person_keys(conn, world.keys, [body["customer"]])
        send_log.append(conn, [entry], keys)


def test_a_refusal_written_as_a_send_is_found(world: World):
    world.apply(files({"hello": HELLO}))
    world.event(world.people(1, consents=None))
    assert world.tick() == {"deny no_consent": 1}
    forged(world, attempt=1, verdict="allow", reason="", rule="", body={"attempt": "m1a1"})
    found = examined(world)
    assert [(f.row, f.code) for f in found.findings] == [("log line 2", "judgement"), ("log line 2", "consent")]
    assert "it is deny by consent (no_consent), and the log says allow" in found.findings[0].what


def test_facts_made_up_to_allow_a_send_are_held_against_the_ledger(world: World):
    """The detail says there was a yes, everything is sealed and agrees with itself: the ledger has no such yes."""
    sent(world, 1)
    with world.store.read() as conn:
        kept = send_log.of_messages(conn, [1], world.keys)[0]
    text = msgspec.json.encode(kept["detail"]).replace(b'"events":[1]', b'"events":[77]')
    standing = kept["detail"]["standing"]
    standing["consents"][0][3] = 77
    verdicts = msgspec.json.decode(text)["verdicts"]
    forged(
        world,
        attempt=2,
        body={"attempt": "m1a2", "consents": [77]},
        detail={"standing": standing, "verdicts": verdicts},
    )
    found = examined(world)
    assert [(f.row, f.code) for f in found.findings] == [("log line 3", "consent")]
    assert "consent event 77, which customer 1 never gave for email" in found.findings[0].what


def test_a_changed_consent_is_found(world: World):
    ids = sent(world, 1)
    event = sa.select(t.consent_event.c.id).where(
        t.consent_event.c.customer_id == ids[0], t.consent_event.c.medium == "email"
    )
    number = world.one(event)
    later = world.now + timedelta(hours=1)
    update = t.consent_event.update().where(t.consent_event.c.id == number)
    changed(world, update.values(received_at=later), "consent_event")
    assert codes(world) == [("log line 1", "consent")]
    assert "arrived after it" in examined(world).findings[0].what
    changed(world, update.values(received_at=NOON, occurred_at=later), "consent_event")
    assert "is dated after it" in examined(world).findings[0].what
    changed(world, update.values(received_at=NOON, occurred_at=NOON, topic="news"), "consent_event")
    assert "is about news, not about offers" in examined(world).findings[0].what
    changed(world, update.values(topic="offers", action="request"), "consent_event")
    assert "is no yes (request)" in examined(world).findings[0].what
    changed(world, update.values(action="grant", medium="sms"), "consent_event")
    assert "never gave for email" in examined(world).findings[0].what


def test_a_missing_consent_is_found(world: World):
    sent(world, 1)
    changed(world, t.consent_current.delete(), "consent_current")
    number = world.one(sa.select(sa.func.min(t.consent_event.c.id)).where(t.consent_event.c.medium == "email"))
    changed(world, t.consent_evidence.delete().where(t.consent_evidence.c.event_id == number), "consent_evidence")
    changed(world, t.consent_event.delete().where(t.consent_event.c.id == number), "consent_event")
    assert codes(world) == [("log line 1", "consent")]


def test_a_no_that_came_before_the_send_is_found(world: World):
    ids = sent(world, 2)
    early = world.now - timedelta(seconds=50)
    row = {"key": "k", "customer_id": ids[1], "medium": "email", "topic": "*", "action": "withdraw"}
    changed(world, t.consent_event.insert().values(**row, occurred_at=early, received_at=early), "consent_event")
    found = examined(world)
    assert found.findings == () and found.checked["crossed"] == 1 and "less than a minute" in found.notes[0]
    at = NOON + timedelta(seconds=1)
    world_at = t.consent_event.update().where(t.consent_event.c.key == "k")
    changed(world, world_at.values(occurred_at=at, received_at=at), "consent_event")
    assert codes(world) == [("log line 2", "withdrawn")]


def test_a_yes_again_answers_an_earlier_no(world: World):
    world.apply(files({"hello": HELLO}))
    ids = world.people(1)
    world.pass_time(hours=1)
    world.consent(ids, "email", "*", "withdraw")
    world.pass_time(hours=1)
    world.consent(ids, "email", "offers")
    world.pass_time(hours=1)
    world.event(ids)
    assert world.tick()["sent"] == 1
    assert examined(world).findings == ()


def test_attempts_and_outcomes_out_of_order_are_found(world: World):
    sent(world, 1)
    forged(world, attempt=3, body={"attempt": "m1a3"})
    with world.store.write() as conn:
        body = {"provider": "sandbox", "provider_id": "sandbox-m1a1"}
        again = Entry("outcome", world.now, 1, 7, "sent", body=body)
        other = Entry("outcome", world.now, 99, 1, "sent", body=body)
        send_log.append(conn, [again, other])
    assert codes(world) == [
        ("log line 3", "attempt"),
        ("log line 4", "outcome"),
        ("log line 4", "outcome"),
        ("log line 4", "provider_id"),
        ("log line 5", "outcome"),
        ("log line 5", "provider_id"),
    ]


def test_policies_that_were_changed_or_are_gone_are_found(world: World):
    sent(world, 1)
    policies = t.document.c.kind == "policies"
    body = world.one(sa.select(t.document.c.body).where(policies))
    assert body["caps"][0]["count"] == 1
    body["caps"][0]["count"] = 100
    with world.store.write() as conn:
        conn.execute(t.document.update().where(policies).values(body=body))
    [finding] = examined(world).findings
    assert finding.code == "policies" and "were changed" in finding.what
    with world.store.write() as conn:
        conn.execute(t.document.delete().where(policies))
    assert "are not among the documents" in examined(world).findings[0].what


def test_decisions_of_another_version_of_the_rules_are_told_and_not_blamed(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    sent(world, 2)
    monkeypatch.setattr(decision, "rules_version", lambda: "9.9.9:0123456789abcdef")
    found = examined(world)
    assert found.findings == () and len(found.notes) == 1
    assert "2 decisions were made by rules" in found.notes[0] and "9.9.9:0123456789abcdef" in found.notes[0]
    assert "otherwise" not in found.notes[0]
    strict = {name: _deny if name == "dedupe" else rule for name, rule in rules.rules().items()}
    monkeypatch.setattr(rules, "rules", lambda: strict)
    assert "2 came out otherwise" in examined(world).notes[0]


def _deny(*_: Any) -> rules.Verdict:
    return rules.Verdict("dedupe", "deny", "duplicate")


def test_policies_are_a_document_from_the_apply_on_and_from_the_decision_where_the_program_changed(world: World):
    sent(world, 1)
    name = world.log(1)[0]["body"]["policies"]
    assert world.one(sa.select(t.document.c.kind).where(t.document.c.hash == name)) == "policies"
    assert decision.policies_hash(decision.policies_text(decision.read_policies(
        world.one(sa.select(t.document.c.body).where(t.document.c.hash == name))))) == name  # fmt: skip
    with world.store.write() as conn:  # as if this program's ruleset were newer than the apply
        conn.execute(t.document.delete().where(t.document.c.kind == "policies"))
    world.pass_time(days=2)
    world.apply(files({"hello": HELLO, "more": journey("more", "- email: second", "{ event: left }")}, CAPPED))
    with world.store.write() as conn:
        conn.execute(t.document.delete().where(t.document.c.kind == "policies"))
    world.event([1], "left", why="x")
    assert world.tick()["sent"] == 1
    assert examined(world).findings == ()


def test_findings_have_a_documented_code(world: World):
    sent(world, 1)
    assert set(CODES) >= {finding.code for finding in examined(world).findings}


# ---- operations and who may read ------------------------------------------------------------------------------------


def test_pauses_are_on_the_record(world: World):
    from orchestrator.store import explain, versions

    world.apply(files({"hello": HELLO}))
    with world.store.write() as conn:
        assert versions.pause(conn, "hello", by="mara", reason="typo", now=world.now)
        assert not versions.pause(conn, "hello", by="mara", reason="again", now=world.now)
        assert versions.resume(conn, "hello", by="ben", now=world.now)
        assert not versions.resume(conn, "hello", by="ben", now=world.now)
    with world.store.read() as conn:
        lines = explain.log_lines(conn, explain.LogFilter(), 10)
    told = [(line["kind"], line["verdict"], line["reason"], line["by"], line["about"]) for line in lines]
    assert told == [
        ("operation", "resumed", "", "ben", {"scope": "hello"}),
        ("operation", "paused", "typo", "mara", {"scope": "hello", "meanwhile": "hold"}),
    ]
    assert examined(world).findings == ()


def test_nothing_of_a_person_can_be_read_without_the_keys(world: World):
    """Names, addresses, numbers, zones, tokens: in no byte of the ledgers, and of the details none that is sealed."""
    world.apply(files({"hello": HELLO, "all": journey("all", "- sms: short\n- push: ping\n- mail: letter")}))
    who = {"first_name": "Zenobia", "last_name": "Quillfeather", "email": "zenobia.q@example.com"}
    who |= {"city": "Oberwiesenthal", "phone": "+491713999999", "street": "Seltenweg 71", "timezone": "Pacific/Chatham"}
    world.event(world.people(2, **who))
    world.tick(6)
    for _ in range(3):
        world.pass_time(hours=8)
        world.tick()
    words = [value.encode() for value in who.values()] + [b"token-1", b"zenobia", b"Chatham", b"Lindenweg"]
    ledgers = ("log", "log_detail", "consent_event", "consent_evidence", "applied", "erased", "reservation")
    seen = 0
    for name in ledgers:
        for row in world.rows(sa.select(t.metadata.tables[name])):
            seen += 1
            text = b"\0".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
            assert not any(word in text for word in words), name
    assert seen > 10
    opened = [line["detail"] for line in world.log() if line["kind"] == "decision"]
    assert opened and all(d["standing"]["zones"][0][0] == "Pacific/Chatham" for d in opened), (
        "with the keys it is there"
    )
    with world.store.read() as conn:
        closed = send_log.of_messages(conn, [1], None)
    assert closed[0]["detail"] is None and closed[0]["sealed"] == "closed"


def test_a_detail_needs_keys(world: World):
    with world.store.write() as conn, pytest.raises(ValueError, match="keys"):
        send_log.append(conn, [Entry("decision", NOON, 1, 0, "deny", "x", "y", {}, {"a": 1})])


def test_of_somebody_erased_meanwhile_only_the_line_is_kept(world: World):
    world.apply(files({"hello": HELLO}))
    [one] = world.people(1)
    world.event([one])
    world.move()
    with world.store.write() as conn:  # the very moment: her run and her message are not withdrawn yet
        conn.execute(t.customer.update().where(t.customer.c.id == one).values(salt=None, erased_at=world.now))
        insert_many(conn, t.erased, [{"kind": "key", "hash": "h", "customer_id": one, "at": world.now}])
        send_log.operation(conn, world.now, "erased", by="me", reason="request", body={"ids": [one]})
    world.deliver()
    [line, *_] = world.log(1)
    assert line["kind"] == "decision" and line["commitment"] is None
    assert world.rows(sa.select(t.log_detail)) == []
    assert examined(world).findings == ()


def test_what_bounced_is_suppressed_though_the_address_is_sealed(world: World):
    from channels.base import EventKind, Reason

    sent(world, 2)
    world.hear("m1a1", EventKind.BOUNCED, reason=Reason.UNKNOWN_ADDRESS)
    rows: Sequence[Any] = world.rows(sa.select(t.suppression))
    assert [row.address_key for row in rows] == [world.keys.address_key("email", "c1@example.com")]
    world.behaviour = lambda *_: rejected(Reason.INVALID_ADDRESS)
    audit(world)


def test_policies_that_were_never_in_force_carry_no_decision(world: World):
    """Whoever can write documents can write laxer policies, and a hash that fits them."""
    sent(world)
    lax = decision.policies_text(Policies())
    name = decision.policies_hash(lax)
    [line] = world.rows(sa.select(t.log).where(t.log.c.id == 1))
    body = msgspec.json.decode(line.body)
    was = body["policies"]
    with world.store.write() as conn:
        versions.add_documents(conn, "policies", {name: ("", msgspec.json.decode(lax))}, world.now)
    found = [{**body, "policies": name}, {**body, "project": "f" * 64}, body]
    for one, told in zip(found, (f"the policies {name[:12]}", "which was not in force then", ""), strict=True):
        text = decision.as_json(one).encode()
        changed(world, t.log.update().where(t.log.c.id == 1).values(body=text), "log")
        said = [finding.what for finding in examined(world).findings if finding.code == "policies"]
        assert [told in what for what in said] == ([True] if told else []), (was, said)
    world.pass_time(hours=30)
    world.apply(files({"hello": HELLO}))
    later = world.now + timedelta(hours=25)
    changed(world, t.log.update().where(t.log.c.id == 1).values(at=later), "log")
    assert any("not in force" in finding.what for finding in examined(world).findings)


def test_a_consent_that_was_sealed_after_the_send_is_found_whatever_its_instant_says(world: World):
    sent(world)
    seal(world.store, world.keys, now=world.now)
    assert examined(world).findings == ()
    relied = msgspec.json.decode(world.rows(sa.select(t.log.c.body).where(t.log.c.id == 1))[0].body)["consents"]
    late = t.leaf.update().where(t.leaf.c.ledger == "consent_event", t.leaf.c.row_id == relied[0])
    changed(world, late.values(index=t.leaf.c["index"] + 1_000), "leaf")  # a tree built with it behind the send
    found = [(finding.row, finding.code) for finding in examined(world).findings if "sealed after it" in finding.what]
    assert found == [("log line 1", "consent")]


# ---- what stands beside the log -------------------------------------------------------------------------------------


def _proven(world: World) -> int:
    """Somebody with a consent that has evidence and a wording; returns her id."""
    world.apply(files({"hello": journey("hello", "- email: hello")}))
    [her] = world.people(1, consents=None)
    row = {
        "key": "yes", "customer_id": her, "medium": "email", "topic": "offers", "action": "confirm",
        "occurred_at": world.now, "basis": "express_written", "method": "form", "source": "sign-up page",
        "ip": "192.0.2.7", "wording": "Yes, write to me.",
    }  # fmt: skip
    with world.store.write() as conn:
        record_consents(conn, world.keys, [row], now=world.now)
    world.event([her])
    assert world.tick()["sent"] == 1
    assert not found_in(world)
    return her


def found_in(world: World) -> list[str]:
    with world.store.read() as conn:
        return [finding.code for finding in examine(conn, world.keys).findings]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM consent_evidence",
        "UPDATE consent_evidence SET body = salt",
        "UPDATE consent_evidence SET customer_id = customer_id + 1",
    ],
)
def test_evidence_of_a_consent_that_was_touched_is_found(world: World, change: str):
    _proven(world)
    with world.store.write() as conn:
        conn.exec_driver_sql(change)
    assert found_in(world) == ["evidence"]


def test_words_shown_that_were_changed_are_found(world: World):
    _proven(world)
    with world.store.write() as conn:
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql("DROP TRIGGER consent_wording_no_update")
        else:
            conn.exec_driver_sql("ALTER TABLE consent_wording DISABLE TRIGGER ALL")
        conn.exec_driver_sql("UPDATE consent_wording SET text = 'Yes, write to me for ever.'")
    assert found_in(world) == ["evidence"]


def test_a_message_whose_row_says_otherwise_than_the_log_is_found(world: World):
    _proven(world)
    [sent] = world.messages()
    with world.store.write() as conn:
        conn.execute(t.message.update().where(t.message.c.id == sent.id).values(state="denied"))
    assert found_in(world) == ["message"]
    world.people(1, consents=None)
    world.event([sent.customer_id + 1])
    world.tick()
    with world.store.write() as conn:
        conn.execute(t.message.update().values(state="sent"))
    assert found_in(world) == ["message"]  # the one that was refused
    with world.store.write() as conn:
        conn.execute(t.message.update().where(t.message.c.id != sent.id).values(state="denied"))
    assert found_in(world) == []


def test_evidence_of_somebody_erased_is_not_missed(world: World, tmp_path: Any):
    _proven(world)
    erase(world.store, world.keys, "c1", Places(tmp_path / "erased.jsonl"), now=world.now, by="me", reason="request")
    assert found_in(world) == []
