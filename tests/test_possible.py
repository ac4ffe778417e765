"""What conditions leave possible: never "never" of what may be."""

from __future__ import annotations

import pytest

from orchestrator.condition import Condition
from orchestrator.possible import Known, Possible
from orchestrator.project import load_files
from tests.golden.workspace import GOOD

_HEAD = "journey: other\ntrigger: { event: order_placed }\naudience: "
PROJECT = load_files(GOOD)


def _read(text: str) -> tuple[Possible, Condition]:
    files = GOOD | {"journeys/other.yaml": f"{_HEAD}{text}\nsteps: [ {{ sms: hello }} ]\n"}
    found = load_files(files).journeys["other"].audience
    assert found is not None
    roots = {name: (c.unit, c.root) for name, c in PROJECT.segments.items() if c.unit == "customer"}
    return Possible(PROJECT.vocabulary, roots), found


@pytest.mark.parametrize(
    "text",
    [
        "class == b2c and class == b2b",
        "class == b2c and class != b2c",
        "class == b2c and class in [b2b]",
        "class == b2b and in segment('regulars')",
        "class == b2c and not (class == b2c)",
        "tier >= gold and tier < silver",
        "tier == platinum and tier in [bronze, silver]",
        "tier == preferred and in segment('regulars')",
        "country == 'DE' and country == 'AT'",
        "country in ['DE', 'AT'] and country in ['FR']",
        "favourite_store is set and favourite_store is not set",
        "country == 'DE' and country is not set",
        "points > 10 and points < 5",
        "points > 10 and points <= 10",
        "event.channel == 'store' and event.channel == 'web'",
        "event.amount > 50 EUR and event.amount < 20 EUR",
        "(class == b2c or tier == gold) and class == b2b",
        "not (class == b2c or class == b2b) and class == b2c",
        "count(order_placed) > 5 and count(order_placed) < 3",
        "count(order_placed) < 0",
        "count(order_placed) > 3 and count(order_placed) < 4",
        "never(order_placed) and count(order_placed) >= 1",
        "any(order_placed where channel == 'web') and count(order_placed where channel == 'web') == 0",
        "sum(order_placed.amount, 90 days) > 5 EUR and sum(order_placed.amount, 90 days) < 3 EUR",
        "days_since(birthday) > 30 and days_since(birthday) < 20",
        "joined is more than 1 year ago and joined is less than 30 days ago",
        "joined is within next 7 days and joined is more than 4 days ago",
        "joined is more than 1 year ago and joined is not set",
    ],
)
def test_what_excludes_itself(text):
    can, condition = _read(text)
    assert can.after(Known(), condition.root) is None


@pytest.mark.parametrize(
    "text",
    [
        "class == b2c and tier >= gold",
        "class == b2c or class == b2b",
        "class != b2c and tier == preferred",
        "tier >= silver and tier <= silver",
        "country == 'DE' and city == 'Berlin'",
        "country != 'DE' and country != 'AT'",
        "not (country == 'DE') and country is set",
        "points >= 10 and points <= 10",
        "points > 10 and count(order_placed) < 5",
        "birthday is in past and birthday is within last 30 days",
        "event.amount > 50 EUR and event.amount < 20 USD",
        "(class == b2c or class == b2b) and tier == preferred",
        "in segment('regulars') or class == b2b",
        "not in segment('regulars') and class == b2c",
        "count(order_placed) > 5 and count(order_placed, 30 days) < 3",
        "count(order_placed) > 5 and count(signed_up) < 3",
        "count(order_placed where amount > 5 EUR) > 5 and count(order_placed where amount > 6 EUR) < 3",
        "count(order_placed) >= 3 and count(order_placed) < 4",
        "never(order_placed, 30 days) and count(order_placed) >= 1",
        "any(order_placed) and count(order_placed) <= 1",
        "sum(order_placed.amount) > 5 EUR and sum(order_placed.amount) < 3 USD",
        "joined is more than 1 month ago and joined is less than 30 days ago",
        "joined is more than 29 days ago and joined is within last 30 days",
        "joined is in past and joined is in future or joined is within next 2 days",
    ],
)
def test_what_may_be(text):
    can, condition = _read(text)
    assert can.after(Known(), condition.root) is not None


def test_what_is_not_true_may_be_unknown():
    """`else` takes those of whom nobody knows the tier."""
    can, condition = _read("tier >= bronze")
    rest = can.after(Known(), condition.root, "not true")
    assert rest is not None and ("b2c", None) in rest.places["unit"]
    false = can.after(Known(), condition.root, "false")
    assert false is not None and ("b2c", None) in false.places["unit"], "a class without that tier is not above it"


def test_what_is_on_neither_side_of_a_number_is_unknown():
    can, more = _read("points > 10")
    _, less = _read("points <= 10")
    rest = can.after(Known(), more.root, "not true")
    assert rest is not None
    left = can.after(rest, less.root, "not true")
    assert left is not None, "those whose points nobody knows"
    assert can.after(left, more.root) is None
    _, often = _read("count(order_placed) > 10")
    _, seldom = _read("count(order_placed) <= 10")
    rest = can.after(Known(), often.root, "not true")
    assert rest is not None
    assert can.after(rest, seldom.root, "not true") is None, "what is counted is known of everybody"


def test_after_a_while_only_the_class_and_the_event_are_known():
    can, condition = _read("class == b2c and tier == gold and country == 'DE' and event.channel == 'web'")
    known = can.after(Known(), condition.root)
    assert known is not None
    later = can.lasting(known)
    assert {c for c, _ in later.places["unit"]} == {"b2c"} and ("b2c", "silver") in later.places["unit"]
    assert [key[-1] for key in later.values] == ["channel"]
