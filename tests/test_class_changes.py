"""Another class: what an account is where no rule is true of it, and that nobody is a member where nobody joins."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import grade
from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.importing import import_rows
from orchestrator.project import load_files
from orchestrator.rows import default_class
from orchestrator.store import tables as t
from tests.outgoing import World
from tests.test_membership import events
from tests.tiered import at, buy, row, texts, tier, world

__all__ = ["world"]

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "tiers.md"


def later(world: World) -> None:
    world.pass_time(minutes=1)
    accrue(world.store, now=world.now)


def import_one(world: World, project: Any, kind: Any, **cells: str) -> None:
    report = import_rows(world.store, world.keys, project.vocabulary, kind, [cells], now=world.now)
    assert report.refused == ()
    later(world)


# ---- classes by rule ------------------------------------------------------------------------------------------------


def documented() -> dict[str, str]:
    """The workspace with the classes of the page, as they stand there."""
    (classes,) = re.findall(r"```yaml workspace\n(classes:\n.*?)```", PAGE.read_text(), re.DOTALL)
    made = texts()
    text = made["journeys/workspace.yaml"]
    start, end = text.index("classes:\n"), text.index("topics:")
    program = text.index("program:\n")
    made["journeys/workspace.yaml"] = (
        text[:start] + classes + text[end:program] + text[text.index("policies:", program) :]
    )
    return made


def test_the_classes_of_the_page_take_accounts_that_state_none(world: World) -> None:
    project = world.apply(documented())
    for key, more in (("big", {"annual_value": "5000"}), ("swiss", {"country": "CH"}), ("neither", {})):
        import_one(world, project, "accounts", key=key, **{"class": "", "name": key}, **more)
    found = dict(world.rows(sa.select(t.account.c.key, t.account.c["class"])))
    assert found == {"big": "b2b", "swiss": "partner", "neither": "b2b"}
    import_one(world, project, "accounts", key="neither", country="CH")
    assert world.one(sa.select(t.account.c["class"]).where(t.account.c.key == "neither")) == "partner"


def test_a_class_without_a_rule_comes_before_the_first_that_has_one() -> None:
    made = documented()
    vocabulary = load_files(made).vocabulary
    assert (default_class(vocabulary, "customer"), default_class(vocabulary, "account")) == ("b2c", "b2b")
    path = "journeys/workspace.yaml"
    made[path] = made[path].replace("classes:\n", "classes:\n  firm: { tiers: [one], unit: account }\n")
    assert default_class(load_files(made).vocabulary, "account") == "firm"


# ---- membership -----------------------------------------------------------------------------------------------------

CLUB = "\n    membership: { joins: purchase, event: bought, term: 1 year }\n"
RULE = "    tier_by: count(bought)\n    thresholds: { bronze: 0, silver: 2 }\n"
VIP = "  vip:\n    tier_by: count(bought)\n    thresholds: { one: 0, two: 2 }\n"


def clubs(program: str, vip: str) -> dict[str, str]:
    made = texts(program + vip)
    path = "journeys/workspace.yaml"
    made[path] = made[path].replace("  b2b: {", "  vip: { tiers: [one, two] }\n  b2b: {", 1)
    return made


@pytest.mark.parametrize("vip", ["", VIP], ids=["without a programme", "with tiers"])
def test_who_comes_into_a_class_that_nobody_joins_is_no_member(world: World, vip: str) -> None:
    project = world.apply(clubs(CLUB + RULE, vip))
    import_one(world, project, "customers", key="a", **{"class": "b2c"})
    ann: int = world.one(sa.select(t.customer.c.id))
    buy(world, ann, times=2)
    assert (row(world, ann).member, tier(world, ann)) == ("active", "silver")
    import_one(world, project, "customers", key="a", **{"class": "vip"})
    found = row(world, ann)
    assert (found.member, found.member_since, found.member_until) == (None, None, None)
    assert tier(world, ann) == ("two" if vip else None)
    accrue(world.store, now=world.now)
    assert events(world, ann) == ["started", "ended"]
    at(world, "2029-06-01T12:00")
    assert (row(world, ann).member, events(world, ann)[2:]) == (None, [])
    if vip:
        with world.store.read() as conn:
            force = in_force(conn)
            assert force is not None
            again = grade.rebuilt(conn, force.project, force.segments, "vip", [ann], world.now)
        assert again[ann].stand.tier == tier(world, ann)
    import_one(world, project, "customers", key="a", **{"class": "b2c"})  # as her orders say: it was over long ago
    assert (row(world, ann).member, row(world, ann).member_until) == ("lapsed", date(2029, 2, 28))


def test_a_contact_of_an_account_class_is_no_member_herself(world: World) -> None:
    project = world.apply(texts("\n    membership: { joins: free }\n"))
    import_one(world, project, "customers", key="a", **{"class": "b2c"})
    ann: int = world.one(sa.select(t.customer.c.id))
    assert row(world, ann).member == "active"
    import_one(world, project, "accounts", key="firm", **{"class": "b2b"})
    import_one(world, project, "customers", key="a", account="firm", **{"class": "b2b"})
    assert row(world, ann).member is None


def test_a_programme_that_nobody_joins_any_more_has_no_members_and_tells_nobody(world: World) -> None:
    world.apply(texts(CLUB + RULE))
    (ann,) = world.people(tier=None)
    buy(world, ann)
    assert row(world, ann).member == "active"
    world.pass_time(hours=1)
    world.apply(texts("\n" + RULE))
    later(world)
    assert (row(world, ann).member, row(world, ann).member_until) == (None, None)
    assert events(world, ann) == ["started"]
