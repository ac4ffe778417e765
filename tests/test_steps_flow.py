"""branch, split, goto, enter, exit, update, emit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.engine import draw
from orchestrator.reading import EventName, Share
from orchestrator.steps import Decided, Emit, End, EnterJourney, Facts, Go, Into, Jump, Step, Update
from orchestrator.steps.branch import Branch, Case
from orchestrator.steps.enter import Enter
from orchestrator.steps.exit import Exit
from orchestrator.steps.goto import Goto
from orchestrator.steps.split import Arm, Split, Winner
from orchestrator.steps.wait import Wait
from orchestrator.words import Duration
from tests.making import SPAN, condition, enrollment, here, journey, step

WAIT = step(Wait, "wait", wait=Duration(days=1))
A, B = condition("a"), condition("b")


def branch(with_else: bool = True) -> Branch:
    cases = [Case(span=SPAN, if_=A, steps=(WAIT,)), Case(span=SPAN, if_=B, steps=())]
    return step(Branch, "branch", branch=(*cases, *([Case(span=SPAN, else_=())] if with_else else ())))


@pytest.mark.parametrize(
    ("a", "b", "arm", "tried"),
    [
        (True, True, "if 1", 1),
        (False, True, "if 2", 2),
        (None, True, "if 2", 2),
        (None, None, "else", 2),
        (False, False, "else", 2),
    ],
)
def test_the_first_way_that_is_true(a, b, arm, tried) -> None:
    told = here(Facts(truths={"a": a, "b": b}))
    outcome = branch().arrive(told)
    assert isinstance(outcome, Into) and outcome.body == arm
    assert outcome.note["tried"] == [{"condition": "a", "truth": a}, {"condition": "b", "truth": b}][:tried]
    bare = branch(with_else=False).arrive(told)
    assert isinstance(bare, Go if arm == "else" else Into)
    assert branch().asks() == (A, B)
    assert list(branch().bodies()) == ["if 1", "if 2", "else"]


def split(*shares: float, id: str = "split") -> Split:
    arms = {f"arm{n}": Arm(span=SPAN, share=Share(share), steps=()) for n, share in enumerate(shares)}
    return step(Split, id, split=arms)


def arm_of(splitting: Step, unit_id: int, **others) -> str:
    run = enrollment(unit_id=unit_id, **others)
    told = here(enrollment_=run)
    outcome = splitting.arrive(type(told)(run, "j", told.facts, told.now, lambda name: draw(run, name)))
    assert isinstance(outcome, Into)
    return outcome.body


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.45, 0.45, 0.1), (0.01, 0.99), (1.0,)])
def test_shares_are_kept_over_ten_thousand(shares: tuple[float, ...]) -> None:
    splitting, n = split(*shares), 10_000
    counts = [0] * len(shares)
    for unit_id in range(n):
        counts[int(arm_of(splitting, unit_id)[3:])] += 1
    for count, share in zip(counts, shares, strict=True):
        deviation = (n * share * (1 - share)) ** 0.5
        assert abs(count - n * share) <= 4 * deviation + 1e-9


def test_an_arm_is_for_ever() -> None:
    """Whatever visit, run, version or neighbour: the hash knows the unit, the journey's name and the split's id."""
    for unit_id in range(200):
        arm = arm_of(split(0.5, 0.5), unit_id)
        assert arm == arm_of(split(0.5, 0.5), unit_id, visit=3, version="v2", run_key="again", id=99)
    others = {unit_id for unit_id in range(200) if arm_of(split(0.5, 0.5), unit_id) == "arm0"}
    assert others != {unit_id for unit_id in range(200) if arm_of(split(0.5, 0.5, id="other"), unit_id) == "arm0"}
    assert others != {u for u in range(200) if arm_of(split(0.5, 0.5), u, journey="k") == "arm0"}
    assert others != {u for u in range(200) if arm_of(split(0.5, 0.5), u, unit="account") == "arm0"}


def test_draws_are_even_and_below_one() -> None:
    drawn = [draw(enrollment(unit_id=n), "x") for n in range(10_000)]
    assert all(0 <= d < 1 for d in drawn) and 0.49 < sum(drawn) / len(drawn) < 0.51
    assert len(set(drawn)) == len(drawn)


def test_the_last_arm_takes_what_rounding_leaves() -> None:
    told = here()
    outcome = split(0.333333, 0.333333, 0.333333).arrive(
        type(told)(told.enrollment, "j", told.facts, told.now, lambda name: 0.9999999)
    )
    assert isinstance(outcome, Into) and outcome.body == "arm2"


def won(splitting: Split, arm: str) -> Facts:
    return Facts(decided={splitting.question: Decided(7, arm)})


def test_an_experiment_that_is_over_deals_no_more() -> None:
    sought = Winner(by=EventName("bought"), after=timedelta(days=7), min_confidence=Share(0.95))
    open_ = replace(split(0.5, 0.5), winner=sought)
    dealt = open_.arrive(here())
    assert isinstance(dealt, Into) and dealt.note["cards"] == open_.cards and "draw" in dealt.note
    for arm in ("arm0", "arm1"):
        taken = open_.arrive(here(won(open_, arm)))
        assert taken == Into(arm, {"arm": arm, "decided": 7})
    unasked = split(0.5, 0.5)
    assert unasked.question == "" and "decided" not in unasked.arrive(here(won(open_, "arm1"))).note


def test_what_makes_another_experiment() -> None:
    """Arms, shares, the step, the event; neither how long it may take nor what the arms do."""
    sought = Winner(by=EventName("bought"), after=timedelta(days=7), min_confidence=Share(0.95))
    one = replace(split(0.5, 0.5), winner=sought)
    others = [
        replace(split(0.4, 0.6), winner=sought),
        replace(split(0.5, 0.5, id="other"), winner=sought),
        replace(split(0.3, 0.3, 0.4), winner=sought),
        replace(one, split={name.upper(): arm for name, arm in one.split.items()}),
        replace(one, winner=replace(sought, by=EventName("left"))),
        split(0.5, 0.5),
    ]
    assert len({one.question, *(other.question for other in others)}) == len(others) + 1
    for other in others:
        assert "decided" not in other.arrive(here(won(one, "arm1"))).note
    same = replace(one, winner=replace(sought, after=timedelta(days=9), min_confidence=Share(0.9)))
    busy = replace(one, split={name: replace(arm, steps=(WAIT,)) for name, arm in one.split.items()})
    assert same.question == busy.question == one.question


def test_goto_counts_its_own_jumps() -> None:
    back = step(Goto, "goto:wait", goto="wait", max=2)
    first = back.arrive(here(enrollment_=enrollment(visits={"goto:other": 9})))
    assert isinstance(first, Jump) and first.to == "wait" and first.note["times"] == 1
    assert isinstance(back.arrive(here(enrollment_=enrollment(visits={"goto:wait": 1}))), Jump)
    assert isinstance(back.arrive(here(enrollment_=enrollment(visits={"goto:wait": 2}))), Go)


def test_enter_and_exit() -> None:
    entered = step(Enter, "enter:other", enter="other").arrive(here(enrollment_=enrollment(visit=2)))
    assert isinstance(entered, Go) and entered.effects == (EnterJourney("enter:other", 2, "other"),)
    ended = step(Exit, "exit", exit="bought").arrive(here())
    assert isinstance(ended, End) and (ended.because, ended.note) == ("exited", {"because": "bought"})


UPDATE = """
journey: j
trigger: { event: order_placed }
steps:
  - update:
      store: "= event.store"
      vip: true
      score: 3
      birthday: 2000-02-29
      band: high
      met: 2027-03-01 09:00 Europe/Berlin
      paid: 12.50 EUR
      account.status: active
  - emit: quote_opened
    properties: { contract_id: c1 }
  - wait: 1 day
"""


def test_update_and_emit_write_values_as_they_are_stored() -> None:
    j = journey(UPDATE)
    writing, telling = j.step("update"), j.step("emit:quote_opened")
    assert [a.text for a in writing.asks()] == ["event.store"]
    outcome = writing.arrive(here(Facts(values={"event.store": "north"})))
    assert isinstance(outcome, Go) and outcome.fresh
    assert outcome.effects == (
        Update(
            "customer",
            {
                "store": "north",
                "vip": True,
                "score": 3,
                "birthday": "2000-02-29",
                "band": "high",
                "met": "2027-03-01T08:00:00.000000Z",
                "paid": 1250,
                "paid_currency": "EUR",
            },
        ),
        Update("account", {"status": "active"}),
    )
    told = telling.arrive(here(enrollment_=enrollment(visit=1)))
    assert isinstance(told, Go) and told.fresh
    assert told.effects == (Emit("emit:quote_opened", 1, "quote_opened", {"contract_id": "c1"}),)


def test_an_instant_worked_out_is_stored_as_text() -> None:
    j = journey("journey: j\ntrigger: api\nsteps:\n  - update: { met: '= met' }\n  - wait: 1 day\n")
    value = datetime(2027, 3, 1, 8, tzinfo=UTC)
    outcome = j.step("update").arrive(here(Facts(values={"met": value})))
    assert isinstance(outcome, Go) and outcome.effects == (Update("customer", {"met": "2027-03-01T08:00:00.000000Z"}),)


TWO = """
journey: j
trigger: api
steps:
  - wait: 1 day
  - split:
      news: { share: 50%, steps: [ { email: news } ] }
      offer: { share: 50%, steps: [ { email: offer } ] }
"""


def test_a_split_keeps_its_arms_when_another_is_put_before_it() -> None:
    first, edited = (
        journey(TWO),
        journey(
            TWO.replace("  - wait: 1 day\n", "  - wait: 1 day\n  - split: { a: { share: 40% }, b: { share: 60% } }\n")
        ),
    )
    assert [s.id for s in edited.every_step() if s.keyword == "split"] == ["split:a-b", "split:news-offer"]
    for unit_id in range(100):
        assert arm_of(first.step("split:news-offer"), unit_id) == arm_of(edited.step("split:news-offer"), unit_id)
