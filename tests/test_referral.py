"""Referrals: codes, what is refused and why, what converts, what both get, refunds, accounts."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import refer
from orchestrator.apply import in_force
from orchestrator.refer import Claim
from orchestrator.store import merging, referrals, rights, vouchers
from orchestrator.store import tables as t
from tests.playing import Game, game, migrated_file, migrated_url, on_sqlite, snapshot  # noqa: F401

PROGRAM = """
b2c:
  refunds: [ returned takes back bought by order_id ]
  referral:
    converts_on: bought
    where: amount >= 20 EUR
    within: 60 days
    reward: { referrer: 500, referred: 200 }
b2b:
  referral: { converts_on: bought, code: per customer, reward: { referrer: 1000 } }
partner:
  referral: { converts_on: bought, code: per account }
"""


@pytest.fixture
def found(migrated_file: Path, tmp_path: Path) -> Iterator[Game]:  # noqa: F811
    with on_sqlite(migrated_file, tmp_path, PROGRAM) as found:
        found.look()
        yield found


@pytest.fixture
def both(migrated_url: str, tmp_path: Path) -> Iterator[Game]:  # noqa: F811
    """On each of the two databases: for what asks most of their SQL."""
    with game(migrated_url, tmp_path, PROGRAM) as found:
        found.look()
        yield found


def code_of(found: Game, unit: Any, unit_id: int, contact: int | None = None) -> str:
    with found.store.write() as conn:
        force = in_force(conn)
        assert force is not None
        whose = (unit, unit_id, contact)
        return referrals.codes(conn, force.project, [whose], found.now)[whose]


def claim(found: Game, code: str, who: int, **more: Any) -> tuple[str, str]:
    with found.store.write() as conn:
        force = in_force(conn)
        assert force is not None
        [answer] = refer.record(conn, force.project, [Claim(code, who, None, more.get("at", found.now))], found.now)
    return answer.state, answer.reason


def buys(found: Game, who: int, amount: int = 2_500, order: str = "", **more: Any) -> None:
    order = order or f"o{who}-{found.now:%m%d%H%M}"
    found.tell("bought", who, order_id=order, amount=amount, amount_currency="EUR", **more)


def states(found: Game) -> list[tuple[str, str]]:
    r = t.referral.c
    return [tuple(row) for row in found.rows(sa.select(r.state, r.reason).order_by(r.id))]


# ---- codes ----------------------------------------------------------------------------------------------------------


def test_codes_are_made_once_and_say_nothing_of_anybody(found: Game):
    ann, bob = found.people(2, consents=None)
    one, two = code_of(found, "customer", ann), code_of(found, "customer", bob)
    assert code_of(found, "customer", ann) == one != two
    assert len(one) == referrals.LENGTH and set(one) <= set(referrals.ALPHABET)
    assert not set("01IOAEU") & set(referrals.ALPHABET)
    assert referrals.normal(f" {one[:5].lower()}-{one[5:]} ") == one


def test_codes_of_accounts_are_each_contact_s_or_the_account_s(found: Game):
    firm, agency = found.company("nord"), found.company("agency", "partner")
    ann, bob = (found.person(**{"class": "b2b", "account_id": firm}) for _ in range(2))
    cem = found.person(**{"class": "partner", "account_id": agency})
    assert code_of(found, "account", firm, ann) != code_of(found, "account", firm, bob)
    assert code_of(found, "account", agency, cem) == code_of(found, "account", agency)


def test_who_has_no_referral_programme_has_no_code(migrated_file: Path, tmp_path: Path):  # noqa: F811
    with on_sqlite(migrated_file, tmp_path, "b2c: { leaderboard: true }") as found:
        ann = found.person()
        with found.store.write() as conn:
            force = in_force(conn)
            assert force is not None
            assert referrals.codes(conn, force.project, [("customer", ann, None)], found.now) == {}


def test_the_link_leads_to_the_sender_s_website(found: Game):
    with found.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        assert refer.link(force.project, "K7QM2R9XPT") == "https://small.example/in?ref=K7QM2R9XPT"


# ---- what counts ----------------------------------------------------------------------------------------------------


def test_a_referral_counts_when_who_was_referred_buys(both: Game):
    found = both
    ann, bob = found.people(2, consents=None)
    found.tell("signed_up", bob, referral_code=code_of(found, "customer", ann))
    found.look()
    assert states(found) == [("pending", "")]
    found.pass_time(days=3)
    buys(found, bob, 1_999)  # not enough
    found.look()
    assert found.points() == {}
    buys(found, bob, 2_000, "second")
    found.look()
    assert states(found) == [("converted", "")]
    assert found.points() == {("customer", ann): 500, ("customer", bob): 200}
    told = {(e.customer_id, e.properties["side"], e.properties["points"]) for e in found.events("referral_converted")}
    assert told == {(ann, "referrer", 500), (bob, "referred", 200)}
    [made] = found.events("referral_made")
    assert (made.customer_id, made.properties) == (ann, {"state": "pending"})
    before = snapshot(found)
    found.pass_time(days=1)
    buys(found, bob, order="third")
    found.look()
    assert snapshot(found) - before == {"event": 1}


def test_the_order_that_names_the_code_counts_itself(found: Game):
    ann, bob = found.people(2, consents=None)
    buys(found, bob, referral_code=code_of(found, "customer", ann).lower())
    found.look()
    assert states(found) == [("converted", "")]


def test_told_late_it_counts_all_the_same(both: Game):
    found = both
    ann, bob = found.people(2, consents=None)
    code, then = code_of(found, "customer", ann), found.now
    found.pass_time(days=1)
    buys(found, bob)
    found.look()
    found.pass_time(days=1)
    assert claim(found, code, bob, at=then) == ("pending", "")
    found.look()
    assert states(found) == [("converted", "")]
    assert found.points() == {("customer", ann): 500, ("customer", bob): 200}


def test_within_its_time_by_the_clock_of_who_was_referred(found: Game):
    ann = found.person()
    tokyo, la = found.person(timezone="Asia/Tokyo"), found.person(timezone="America/Los_Angeles")
    code = code_of(found, "customer", ann)
    for who in (tokyo, la):
        claim(found, code, who)
    # 60 days on by Tokyo's clock is 60 times 24 hours; in California an hour was lost meanwhile.
    found.pass_time(days=60)
    for who in (tokyo, la):
        buys(found, who)
    found.pass_time(minutes=1)
    found.look()
    assert sorted(states(found)) == [("lapsed", ""), ("lapsed", "")]
    found.now -= timedelta(minutes=31)
    for who in (tokyo, la):  # it comes late, and was in time, but not in California
        buys(found, who, order=f"late {who}")
    found.pass_time(hours=1)
    found.look()
    assert sorted(states(found)) == [("converted", ""), ("lapsed", "")]


def test_vouchers_for_both_and_again_when_the_pool_was_empty(migrated_file: Path, tmp_path: Path):  # noqa: F811
    program = """
b2c: { referral: { converts_on: bought, reward: { referrer: ten-off, referred: ten-off } } }
"""
    with on_sqlite(migrated_file, tmp_path, program) as found:
        ann, bob = found.people(2, consents=None)
        with found.store.write() as conn:
            vouchers.add(conn, "ten-off", ["AAAA"], found.now)
        claim(found, code_of(found, "customer", ann), bob)
        buys(found, bob)
        found.look()
        given = sa.select(t.voucher.c.customer_id, t.voucher.c.given_key).where(t.voucher.c.given_at.is_not(None))
        assert len(found.rows(given)) == 1
        with found.store.write() as conn:
            vouchers.add(conn, "ten-off", ["BBBB", "CCCC"], found.now)
        found.pass_time(days=1)
        buys(found, bob, order="next day")
        found.look()
        assert {row[0] for row in found.rows(given)} == {ann, bob}


# ---- what does not --------------------------------------------------------------------------------------------------


def test_nobody_refers_herself(found: Game):
    ann = found.person(email="ann@example.com", phone="+491713900001")
    code = code_of(found, "customer", ann)
    assert claim(found, code, ann) == ("refused", "self")
    assert claim(found, code, found.person(email="Ann@example.com")) == ("refused", "self")
    assert claim(found, code, found.person(phone="+491713900001")) == ("refused", "self")
    assert claim(found, code, found.person()) == ("pending", "")


def test_circles_are_refused(both: Game):
    found = both
    ann, bob, cem, dee = found.people(4, consents=None)
    codes = {who: code_of(found, "customer", who) for who in (ann, bob, cem, dee)}
    assert claim(found, codes[ann], bob) == ("pending", "")
    assert claim(found, codes[bob], ann) == ("refused", "loop")
    assert claim(found, codes[bob], cem) == ("pending", "")
    assert claim(found, codes[cem], dee) == ("pending", "")
    assert claim(found, codes[dee], ann) == ("refused", "loop")
    # The same two again: the same answer.
    assert claim(found, codes[dee], ann) == ("refused", "loop")
    assert len(states(found)) == 5


def test_circles_within_one_batch_are_refused(found: Game):
    ann, bob = found.people(2, consents=None)
    one, two = code_of(found, "customer", ann), code_of(found, "customer", bob)
    found.tell("signed_up", bob, referral_code=one)
    found.tell("signed_up", ann, referral_code=two)
    found.look()
    assert states(found) == [("pending", ""), ("refused", "loop")]


def test_the_first_referrer_stays(found: Game):
    ann, bob, cem = found.people(3, consents=None)
    assert claim(found, code_of(found, "customer", ann), cem) == ("pending", "")
    assert claim(found, code_of(found, "customer", bob), cem) == ("refused", "second_referrer")


def test_who_was_a_customer_before_cannot_be_brought(found: Game):
    ann, bob, cem = found.people(3, consents=None)
    code = code_of(found, "customer", ann)
    buys(found, bob, 100)
    found.pass_time(days=1)
    assert claim(found, code, bob) == ("refused", "known_before")
    assert claim(found, code, found.person(joined=date(2026, 12, 1))) == ("refused", "known_before")
    assert claim(found, code, found.person(joined=date(2027, 2, 20))) == ("pending", "")
    assert claim(found, code, cem) == ("pending", "")
    assert claim(found, "2222222222", cem) == ("refused", "unknown_code")


def test_a_refund_takes_it_back(both: Game):
    found = both
    ann, bob = found.people(2, consents=None)
    claim(found, code_of(found, "customer", ann), bob)
    buys(found, bob, order="o1")
    found.look()
    found.pass_time(days=5)
    found.tell("returned", bob, order_id="another")
    found.look()
    assert states(found) == [("converted", "")]
    found.tell("returned", bob, order_id="o1")
    found.look()
    assert states(found) == [("refused", "refunded")]
    assert found.points() == {}
    before = snapshot(found)
    found.look()
    assert snapshot(found) == before


# ---- accounts -------------------------------------------------------------------------------------------------------


def test_a_contact_s_referral_is_her_company_s(both: Game):
    found = both
    nord, sued = found.company("nord"), found.company("sued")
    ann, cat = (found.person(**{"class": "b2b", "account_id": nord}) for _ in range(2))
    bob, bea = (found.person(**{"class": "b2b", "account_id": sued}) for _ in range(2))
    code = code_of(found, "account", nord, ann)
    assert claim(found, code, cat) == ("refused", "self")
    assert claim(found, code, bob) == ("pending", "")
    assert claim(found, code_of(found, "account", nord, cat), bea) == ("pending", "")  # the same two companies: known
    buys(found, bea)
    found.look()
    assert states(found) == [("refused", "self"), ("converted", "")]
    assert found.points() == {("account", nord): 1000}
    told = {e.properties["side"]: (e.account_id, e.customer_id) for e in found.events("referral_converted")}
    assert told == {"referrer": (nord, ann), "referred": (sued, None)}


def test_a_division_is_a_company_of_its_own(found: Game):
    whole = found.company("whole")
    east, west = found.company("east", parent_id=whole), found.company("west", parent_id=whole)
    ann, bob = (found.person(**{"class": "b2b", "account_id": of}) for of in (east, west))
    claim(found, code_of(found, "account", east, ann), bob)
    buys(found, bob)
    found.look()
    assert found.points() == {("account", east): 1000}


# ---- two records of one person, and erasure -------------------------------------------------------------------------


def test_two_records_of_one_person(both: Game):
    found = both
    ann, twin, bob, cem = found.people(4, consents=None)
    claim(found, code_of(found, "customer", ann), bob)
    claim(found, code_of(found, "customer", bob), cem)
    claim(found, code_of(found, "customer", cem), twin)  # ann → bob → cem → twin; and twin is ann
    with found.store.write() as conn:
        merging.merge(conn, ann, twin, now=found.now)
    assert states(found) == [("pending", ""), ("pending", ""), ("refused", "loop")]
    code = code_of(found, "customer", bob)
    with found.store.write() as conn:
        force = in_force(conn)
        assert force is not None
        merging.merge(conn, ann, bob, now=found.now)  # whom she brought is herself
        assert referrals.by_code(conn, [code])[code].unit_id == ann
    assert states(found) == [("refused", "self"), ("pending", ""), ("refused", "loop")]


def test_of_two_who_brought_one_person_the_first_stays(found: Game):
    ann, bob, cem, twin = found.people(4, consents=None)
    claim(found, code_of(found, "customer", ann), cem)
    found.pass_time(days=1)
    claim(found, code_of(found, "customer", bob), twin)
    with found.store.write() as conn:
        merging.merge(conn, twin, cem, now=found.now)
    assert states(found) == [("pending", ""), ("refused", "second_referrer")]


def test_the_code_of_somebody_who_is_erased_is_nobody_s(found: Game):
    ann, bob = found.people(2, consents=None)
    code = code_of(found, "customer", ann)
    with found.store.write() as conn:
        one = rights.by_id(conn, ann)
        rights.empty(conn, one, one.hashes(found.keys), (), found.now)
    assert claim(found, code, bob) == ("refused", "unknown_code")
