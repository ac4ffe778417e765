"""Companies: whose daughters and whose customers they are; who is written to, and over whose head nobody is."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli._story import show_story
from orchestrator.importing import ImportReport, import_rows, merge_customers
from orchestrator.project import load_files
from orchestrator.rank import refresh
from orchestrator.rows import ImportKind
from orchestrator.steps import Addressee
from orchestrator.steps.sending import seated
from orchestrator.store import people, rights
from orchestrator.store import tables as t
from orchestrator.store.holdings import held
from orchestrator.store.segments import Segments
from orchestrator.why import why
from tests.outgoing import POLICIES, Statements, World, audit, email, files, journey, world_of

TEXTS = {
    "templates__email__offer_dot_mjml": email("For {{ customer.first_name }}", "An offer."),
    "templates__email__whose_dot_mjml": email(
        "Of {{ customer.partner_name | default('us') }}",
        "{{ account.parent_name | default('nobody') }} stands above {{ account.name | default('nobody') }}.",
        "service",
    ),
}
SEGMENTS = """
direct: customer.partner is not set
of-acme: customer.partner == "acme"
daughters: { of: account, when: account.parent == "top" }
towards-north: { of: account, when: account.parent_name is set or account.partner_name == "Acme Resale" }
quiet: { of: account, when: not account.allows_contact }
"""


def workspace(policies: str = POLICIES, **journeys: str) -> dict[str, str]:
    own = journeys or {"tell": journey("tell", "- email: offer\n- email: whose", "{ event: signed_up }")}
    return {**files(own, policies, **TEXTS), "journeys/segments.yaml": SEGMENTS}


ALWAYS = journey("tell", "- email: offer\n- email: whose", "{ event: signed_up }", "reentry: always")
VOCABULARY = load_files(workspace()).vocabulary


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


@pytest.fixture
def small(sqlite_database_url: str) -> Iterator[World]:
    """Where nothing hangs on the database."""
    made = world_of(sqlite_database_url)
    yield made
    audit(made)
    made.store.close()


def take(world: World, kind: ImportKind, *rows: dict[str, Any]) -> ImportReport:
    return import_rows(world.store, world.keys, VOCABULARY, kind, rows, now=world.now)


def person(key: str, **more: Any) -> dict[str, Any]:
    own = {"key": key, "class": "b2c", "first_name": key, "email": f"{key}@example.com", "country": "DE"}
    return {**own, "timezone": "Europe/Berlin", **more}


def firms(world: World, **partner: Any) -> None:
    """A holding, a daughter that buys through a partner, and the partner itself."""
    found = take(
        world,
        "accounts",
        {"key": "north", "class": "b2b", "name": "North", "parent": "top", "partner": "acme"},
        {"key": "top", "class": "b2b", "name": "Top"},
        {"key": "acme", "class": "b2b", "name": "Acme Resale", **partner},
    )
    assert not found.refused
    buyers = (
        person("mine", account="top"),
        person("theirs", account="north", **{"class": "b2b"}),
        person("own", account="acme"),
        person("single", partner="acme"),
        person("nobodys"),
    )
    assert not take(world, "customers", *buyers).refused
    world.consent(range(1, 6), "email", "offers")


def reached(world: World, template: str, behind: int = 0) -> set[str]:
    m = t.message.c
    query = sa.select(t.customer.c.key).join(t.message, m.customer_id == t.customer.c.id)
    return {row.key for row in world.rows(query.where(m.template == template, m.id > behind, m.provider.is_not(None)))}


# ---- import ---------------------------------------------------------------------------------------------------------


def test_what_is_refused_of_companies(small: World) -> None:
    firms(small)
    found = take(
        small,
        "accounts",
        {"key": "a", "class": "b2b", "partner": "nobody"},
        {"key": "b", "class": "b2b", "partner": "a"},  # its partner is refused in the same batch
        {"key": "c", "class": "b2b", "partner": "c"},
        {"key": "top", "parent": "north"},
        {"key": "d", "class": "b2b", "partner": "e", "allows_contact": "perhaps"},
        {"key": "e", "class": "b2b", "partner": "acme"},
    )
    assert [(r.line, r.problem.partition(";")[0]) for r in found.refused] == [
        (1, "partner `nobody` is not known"),
        (2, "partner `a` is not known"),
        (3, "partner is the account itself: only who buys through it names it"),
        (4, "parent `north` stands below this account itself"),
        (5, "allows_contact is neither yes nor no"),
    ]
    found = take(small, "customers", person("z", partner="nobody"))
    assert [r.problem for r in found.refused] == ["partner `nobody` is not known; import that account first"]


def test_a_partner_is_taken_away_by_an_empty_cell_and_kept_without_a_column(small: World) -> None:
    firms(small)
    take(small, "customers", {"key": "single", "first_name": "S"})
    take(small, "accounts", {"key": "north", "name": "North 2"})
    query = sa.select(sa.func.count()).select_from(t.customer).where(t.customer.c.partner_id.is_not(None))
    assert small.one(query) == 1
    assert small.one(sa.select(t.account.c.partner_id).where(t.account.c.key == "north")) is not None
    take(small, "customers", {"key": "single", "partner": ""})
    take(small, "accounts", {"key": "north", "partner": None})
    assert small.one(query) == 0
    assert small.one(sa.select(t.account.c.partner_id).where(t.account.c.key == "north")) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
def test_no_import_closes_a_circle(pairs: list[tuple[int, int]]) -> None:
    from orchestrator import lineage
    from orchestrator.rows import ReadRow

    stored: dict[str, str | None] = {str(n): None for n in range(7)}
    for begin in range(0, len(pairs), 3):
        read: lineage.Read = [
            ((n, {}, ""), ReadRow(str(child), refs={"parent": str(above)}))
            for n, (child, above) in enumerate(pairs[begin : begin + 3])
        ]
        for _, row in lineage.fitting(read, (), stored, lambda entry, problem: None):
            stored[row.key] = row.refs["parent"]
        for key in stored:
            seen, at = set(), key
            while at is not None:
                assert at not in seen, stored
                seen.add(at)
                at = stored[at]  # type: ignore[assignment]


# ---- conditions and texts -------------------------------------------------------------------------------------------


def test_conditions_name_the_company_above_and_the_partner(world: World) -> None:
    project = world.apply(workspace())
    firms(world)
    segments = Segments(project.vocabulary, project.segments, world.store.engine.dialect.name)
    expected = {
        "direct": {"mine", "theirs", "own", "nobodys"},
        "of-acme": {"single"},
        "daughters": {"north"},
        "towards-north": {"north"},
        "quiet": set(),  # nobody said no
    }
    with world.store.read() as conn:
        for name, keys in expected.items():
            condition = project.segments[name]
            table = t.customer if condition.unit == "customer" else t.account
            query = sa.select(table.c.key).where(segments.predicate(condition, table, now=world.now))
            assert set(conn.execute(query).scalars()) == keys, name


def test_texts_name_them_too(world: World) -> None:
    world.apply(workspace())
    firms(world)
    world.event(range(1, 6))
    world.tick(2)
    texts = " ".join(world.opened(k) for k in world.outbox() if k.template == "whose")
    for words in ("Of Acme Resale", "Of us", "Top stands above North", "nobody stands above Top"):
        assert words in texts, words


# ---- partners -------------------------------------------------------------------------------------------------------

ALL, DIRECT = {"mine", "theirs", "own", "single", "nobodys"}, {"mine", "own", "nobodys"}
HOUSE = [
    # what the house says            the partner    who gets an offer
    ("", None, DIRECT),
    ("", "no", DIRECT),
    ("", "yes", ALL),
    ("  end_customers: never\n", "yes", DIRECT),
    ("  end_customers: always\n", None, ALL),
]


def test_nobody_is_written_to_over_a_partners_head(world: World) -> None:
    world.apply(workspace())
    firms(world)
    before = 0
    for policy, said, expected in HOUSE:
        world.apply(workspace(POLICIES + policy, tell=ALWAYS))
        take(world, "accounts", {"key": "acme", "allows_contact": said})
        world.pass_time(minutes=5)
        world.event(range(1, 6))
        world.tick(3)
        assert reached(world, "offer", before) == expected, (policy, said)
        assert reached(world, "whose", before) == ALL, "what is about her account with us goes to everybody"
        refused = {m.reason for m in world.messages() if m.state == "denied" and m.id > before}
        assert refused == ({"partners_customer"} if expected != ALL else set())
        before = max(m.id for m in world.messages())
    texts, name = workspace(POLICIES + "  end_customers: never\n", tell=ALWAYS), "journeys/workspace.yaml"
    world.apply({**texts, name: texts[name].replace("title: Offers }", "title: Offers, over_partner: yes }")})
    world.pass_time(minutes=5)
    world.event(range(1, 6))
    world.tick(3)
    assert reached(world, "offer", before) == ALL, "a topic may go over the partner's head"


def test_why_says_it_and_the_partner_can_change_her_mind(small: World) -> None:
    small.apply(workspace())
    firms(small)
    small.event([4])
    small.tick(2)
    text = StringIO()
    show_story(
        Console(file=text, width=200, color_system=None),
        why(small.store, small.keys, "single", "tell", now=small.now),
    )
    told = " ".join(text.getvalue().split())
    assert "by the rule partner: partners_customer" in told
    assert "the customer buys through a partner, and gets marketing, where the partner allows it: it has not" in told
    take(small, "accounts", {"key": "acme", "allows_contact": "yes"})
    small.pass_time(hours=1)
    small.apply(workspace(again=journey("again", "- email: offer", "{ event: bought }")))
    small.event([4], "bought", order_id="o1")
    small.tick(2)
    assert reached(small, "offer") == {"single"}


def test_who_has_a_partner_costs_one_statement_a_batch(world: World) -> None:
    world.apply(workspace(tell=journey("tell", "- email: offer", "{ event: signed_up }")))
    firms(world)
    counts = []
    for many in (3, 60):
        world.event(world.people(many, partner_id=3))
        world.move()
        with Statements(world.store.engine) as statements:
            assert world.deliver().counts
            counts.append((statements.count, sum("allows_contact" in s for s in statements.seen)))
    assert counts[0] == counts[1], counts


def test_what_is_held_of_her_names_her_partner(small: World) -> None:
    firms(small)
    with small.store.read() as conn:
        one = rights.person(conn, "single")
        assert one is not None
        found = held(conn, one, small.keys)
    assert [dict(row) for row in found["partner"]] == [{"key": "acme", "name": "Acme Resale"}]
    assert "partner_id" not in found["profile"][0]


def test_a_merge_takes_no_partner_away(small: World) -> None:
    firms(small)
    merge_customers(small.store, small.keys, "nobodys", "single", now=small.now)
    query = sa.select(t.account.c.key).join(t.customer, t.customer.c.partner_id == t.account.c.id)
    assert small.one(query.where(t.customer.c.key == "nobodys")) == "acme"


HEALTH = """
program:
  b2b: { health: "100 - 30 * count(bought, 90 days)" }
"""


def test_a_health_that_falls_begins_a_journey(world: World) -> None:
    steps = journey("save", "- exit", "{ segment_entry: shaky }", "unit: account\nreentry: always")
    made = workspace(save=steps)
    name, segments = "journeys/workspace.yaml", "journeys/segments.yaml"
    made[name] = made[name].replace("\npolicies:", f"{HEALTH}policies:", 1)
    made[segments] += "shaky: { of: account, when: health < 40 }\n"
    world.apply(made)
    firms(world)
    theirs = world.one(sa.select(t.customer.c.id).where(t.customer.c.key == "theirs"))
    runs = sa.select(t.account.c.key).join(t.enrollment, t.enrollment.c.account_id == t.account.c.id)
    for n in range(3):
        refresh(world.store, now=world.now)
        world.tick(1)
        assert world.rows(runs) == [], "100, 70, 40"
        if n < 2:
            world.event([theirs], "bought", order_id=f"o{n}")
            world.pass_time(days=1)
    world.event([theirs], "bought", order_id="o3")
    world.pass_time(days=1)
    refresh(world.store, now=world.now)
    world.tick(2)
    assert [row.key for row in world.rows(runs)] == ["north"]


# ---- who takes whose place ------------------------------------------------------------------------------------------

POOL = tuple(
    Addressee("customer", n, n, 1, role, above)
    for n, (role, above) in enumerate(
        [("boss", 0), ("boss", 0), ("buyer", 0), ("buyer", 0), ("user", 0), ("boss", 1)], 1
    )
)


@pytest.mark.parametrize(
    ("at_most", "each", "taken", "expected"),
    [
        (None, None, {}, [1, 2, 3, 4, 5, 6]),
        (2, None, {}, [1, 2]),
        (None, 1, {}, [1, 3, 5]),
        (2, 1, {}, [1, 3]),
        (None, 2, {}, [1, 2, 3, 4, 5]),
        (2, 1, {"boss": 1}, [3, 5]),
        (0, None, {}, []),
        (3, 3, {"boss": 2}, [1, 3, 4]),
    ],
)
def test_who_has_a_seat(at_most: int | None, each: int | None, taken: dict[str, int], expected: list[int]) -> None:
    assert [a.id for a in seated(POOL, at_most, each, taken)] == expected


COMMITTEE = "unit: account\nrecipients: { role: [boss, buyer, user], each: 1, above: true }\nreentry: once"


def committee(world: World, steps: str) -> None:
    world.apply(workspace(ask=journey("ask", steps, "{ event: signed_up }", COMMITTEE)))
    tree = ({"key": "top", "class": "b2b"}, {"key": "north", "class": "b2b", "parent": "top"})
    take(world, "accounts", *tree)
    roles = [("b1", "boss"), ("b2", "boss"), ("p1", "buyer"), ("p2", "buyer"), ("u1", "user"), ("w1", "watcher")]
    own = {"class": "b2b", "account": "north"}
    people_ = [person(key, role=role, **own) for key, role in roles]
    assert not take(
        world, "customers", *people_, person("top1", role="boss", **{"class": "b2b"}, account="top")
    ).refused
    world.event([6])


def bounce(world: World, *keys: str) -> None:
    from channels.base import EventKind

    query = sa.select(t.message.c.id, t.message.c.attempts).join(t.customer, t.customer.c.id == t.message.c.customer_id)
    for row in world.rows(query.where(t.customer.c.key.in_(keys), t.message.c.state == "sent")):
        world.hear(f"m{row.id}a{row.attempts}", EventKind.BOUNCED)


def test_a_buying_committee_has_one_of_each_role_and_the_next_of_the_role_stands_in(small: World) -> None:
    committee(small, "- first_of: [ email: whose, sms: short ]\n  within: 2 days")
    small.tick(2)
    assert reached(small, "whose") == {"b1", "p1", "u1"}
    bounce(small, "b1")
    small.tick(2)
    assert reached(small, "whose") == {"b1", "p1", "u1", "b2"}
    bounce(small, "b2", "u1")
    small.tick(2)
    # The boss of the company above; there is no other user, and nobody of another role sits on that chair.
    assert reached(small, "whose") == {"b1", "p1", "u1", "b2", "top1"}
    small.tick(2)
    assert len(small.messages()) == 5


def test_a_send_of_its_own_chooses_anew_each_time(small: World) -> None:
    """A single send is left when it was sent: a bounce that comes later counts from the next send on."""
    committee(small, "- email: whose\n- wait: 1 day\n- email: offer")
    small.tick(2)
    bounce(small, "b1")
    take(small, "customers", {"key": "p1", "left_at": small.now.isoformat()})
    for key in ("b1", "b2", "p1", "p2", "u1"):
        ids = small.rows(sa.select(t.customer.c.id).where(t.customer.c.key == key))
        small.consent([ids[0].id], "email", "offers")
    small.pass_time(days=1, hours=1)
    small.tick(3)
    assert reached(small, "offer") == {"b2", "p2", "u1"}
    assert {m.reason for m in small.messages() if m.state == "denied"} == {"suppressed"}


def test_all_above_an_account_and_no_circle_holds_it_up(world: World) -> None:
    from orchestrator.store.database import id_list
    from orchestrator.store.journeys import HIGHEST, above

    firms(world)
    with world.store.write() as conn:
        tree = above(id_list(conn, [1]))
        rows = {(r.start, r.id, r.level) for r in conn.execute(sa.select(tree))}
        assert rows == {(1, 1, 0), (1, 2, 1)}
        conn.execute(t.account.update().where(t.account.c.id == 2).values(parent_id=1))  # no import would
        assert people.ancestors(conn, {"north"}) == {"north": "top", "top": "north"}
        tree = above(id_list(conn, [1]))
        assert conn.execute(sa.select(sa.func.count()).select_from(tree)).scalar_one() == HIGHEST + 1
