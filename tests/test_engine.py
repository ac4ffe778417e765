"""The engine: beginnings, ends, rounds, jumps, traces."""

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.engine import ARRIVING, Move, advance, asks, draw
from orchestrator.model import Enrollment
from orchestrator.steps import Cancel, Emit, Facts, Go, Step, Update
from orchestrator.steps.email import Email
from orchestrator.steps.exit import Exit
from orchestrator.steps.goto import Goto
from orchestrator.steps.wait import Wait
from orchestrator.words import Duration
from tests.making import NOW, condition, enrollment, facts, journey, message, moved, of_steps, sends, step

DAY = timedelta(days=1)


def go(j, run: Enrollment | None = None, true: tuple[str, ...] = (), now=NOW, **others) -> Move:
    run = run or enrollment(journey=j.name)
    return advance(j, run, facts(j, run.step, true, **others), now)


def whats(move: Move) -> list[tuple[str, str]]:
    return [(t.step, t.what) for t in move.trace]


PLAIN = """
journey: j
trigger: { event: order_placed }
goal: { event: quote_opened }
exit_when: [ store == "closed", score > 9 ]
steps:
  - email: hello
  - wait: 3 days
  - branch:
      - if: vip
        steps: [ { sms: thanks } ]
  - email: bye
"""
GOAL = "happened(quote_opened since entry)"
CLOSED = 'store == "closed"'


def test_a_run_from_its_beginning_to_its_end() -> None:
    j = journey(PLAIN)
    one = go(j)
    assert [s.step for s in sends(one)] == ["email:hello"] and (one.step, one.wake_at) == ("email:hello", None)
    two = go(j, moved(one), messages=(message("email:hello", "sent"),))
    assert (two.step, two.since) == ("wait:3-days", NOW) and two.wake_at == NOW + 3 * DAY and two.effects == ()
    assert whats(two) == [("email:hello", "left"), ("wait:3-days", "waits")]
    early = go(j, moved(two), now=NOW + DAY)
    assert (early.step, early.since, early.wake_at, early.trace) == ("wait:3-days", NOW, NOW + 3 * DAY, ())
    three = go(j, moved(two), ("vip",), NOW + 3 * DAY)
    assert whats(three) == [("wait:3-days", "woke"), ("branch", "chose"), ("sms:thanks", "planned")]
    assert three.trace[1].detail == {"line": 9, "arm": "if 1", "tried": [{"condition": "vip", "truth": True}]}
    four = go(j, moved(three), messages=(message("sms:thanks", "denied", reason="no_consent"),), now=NOW + 4 * DAY)
    assert [s.step for s in sends(four)] == ["email:bye"]
    assert four.trace[0].detail["messages"] == {"denied: no_consent": 1}
    last = go(j, moved(four), messages=(message("email:bye", "failed"),), now=NOW + 4 * DAY)
    assert (last.ended, last.wake_at, last.again) == ("completed", None, False)
    assert whats(last) == [("email:bye", "left"), ("email:bye", "ended")]


def test_what_a_move_may_ask() -> None:
    j = journey(PLAIN)
    ends = {CLOSED, "score > 9", GOAL}
    assert {c.text for c in asks(j, "")} == {*ends, "vip"}
    assert {c.text for c in asks(j, "sms:thanks")} == ends
    assert {c.text for c in asks(j, "gone")} == ends
    assert asks(j, "") is asks(j, "")


# ---- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("true", "ended", "reason"),
    [((GOAL,), "goal", "goal"), ((CLOSED,), "exited", "exit_when"), ((GOAL, CLOSED), "goal", "goal")],
)
@pytest.mark.parametrize("at", ["", "email:hello", "wait:3-days"])
def test_goal_and_exit_come_first_and_withdraw_what_is_queued(true, ended: str, reason: str, at: str) -> None:
    j = journey(PLAIN)
    move = go(j, enrollment(step=at), true)
    assert (move.ended, move.step, move.wake_at, move.again) == (ended, at, None, False)
    assert move.effects == (Cancel(("email:hello", "sms:thanks", "email:bye"), reason),)
    assert move.trace[-1].what == "ended" and move.trace[-1].detail["condition"] == true[0]


def test_unknown_ends_nothing() -> None:
    j = journey(PLAIN)
    known = facts(j, "")
    unknown = replace(known, truths=dict.fromkeys(known.truths))
    assert advance(j, enrollment(), unknown, NOW).ended is None


def test_holdout_is_a_share_of_units_for_ever_and_comes_first() -> None:
    j = replace(journey(PLAIN), holdout=0.25)
    held = {n for n in range(4000) if go(j, enrollment(unit_id=n), (GOAL,)).ended == "holdout"}
    assert 880 < len(held) < 1120
    assert held == {n for n in range(4000) if draw(enrollment(unit_id=n), "holdout") < 0.25}
    one = min(held)
    move = go(replace(j, version="v9"), enrollment(unit_id=one, run_key="later"))
    assert move.ended == "holdout" and not move.effects and move.trace[0].detail["share"] == 0.25
    assert go(j, enrollment(unit_id=one, step="wait:3-days"), now=NOW + DAY).ended is None  # inside already


def test_a_step_that_is_gone_ends_the_run_and_says_so() -> None:
    j = journey(PLAIN)
    move = go(j, enrollment(step="email:old"))
    assert move.ended == "failed" and "email:old" in move.trace[0].detail["because"]
    assert isinstance(move.effects[0], Cancel)


def test_a_question_that_was_not_answered_is_a_bug() -> None:
    with pytest.raises(KeyError):
        advance(journey(PLAIN), enrollment(), Facts(), NOW)


def test_exit_ends_with_its_reason() -> None:
    j = of_steps(step(Wait, "wait", wait=Duration(days=1)), step(Exit, "exit", exit="enough"))
    move = go(j, enrollment(step="wait"), now=NOW + DAY)
    assert move.ended == "exited" and move.step == "exit"
    assert move.trace[-1].detail == {"line": 7, "because": "enough", "ended": "exited"}


# ---- rounds --------------------------------------------------------------------------------------------------------

FRESH = """
journey: j
trigger: { event: order_placed }
steps:
  - update: { score: "= score + 1" }
  - branch:
      - if: score > 3
        steps: [ { emit: quote_opened, properties: { contract_id: c } } ]
  - sms: done
"""


def test_a_round_ends_where_something_was_written() -> None:
    j = journey(FRESH)
    assert [c.text for c in asks(j, "")] == ["score + 1"]
    one = go(j, values={"score + 1": 4})
    assert (one.again, one.step, one.memory, one.wake_at) == (True, "branch", {ARRIVING: True}, NOW)
    assert one.effects == (Update("customer", {"score": 4}),)
    assert [c.text for c in asks(j, "branch")] == ["score > 3"]
    two = go(j, moved(one), ("score > 3",))
    assert two.again and two.step == "sms:done"
    assert two.effects == (Emit("emit:quote_opened", 0, "quote_opened", {"contract_id": "c"}),)
    three = go(j, moved(two))
    assert not three.again and [s.step for s in sends(three)] == ["sms:done"] and three.memory == {"wanted": 1}


def test_a_write_at_the_end_is_the_end() -> None:
    j = journey("journey: j\ntrigger: api\nsteps:\n  - update: { vip: true }\n")
    move = go(j)
    assert move.ended == "completed" and move.effects == (Update("customer", {"vip": True}),) and not move.again


LOOP = """
journey: j
trigger: api
steps:
  - email: again
  - wait: 1 day
  - goto: email:again
    max: 2
  - sms: last
"""


def test_goto_is_another_visit_so_many_times() -> None:
    j, run, at = journey(LOOP), enrollment(), NOW
    planned: list[tuple[str, int]] = []
    for _ in range(20):
        settled = tuple(message(s, "sent", visit=v) for s, v in planned)
        move = go(j, run, now=at, messages=settled)
        planned += [(s.step, s.visit) for s in sends(move)]
        if move.ended:
            break
        run, at = moved(move), move.wake_at or at
    assert planned == [("email:again", 0), ("email:again", 1), ("email:again", 2), ("sms:last", 2)]
    assert move.ended == "completed" and move.visits == {"goto:email:again": 2}
    assert at == NOW + 3 * DAY


def test_a_jump_is_a_round_of_its_own() -> None:
    j = of_steps(step(Goto, "back", goto="wait", max=1), step(Wait, "wait", wait=Duration(days=1)))
    move = go(j)
    assert (move.again, move.step, move.visit, move.visits) == (True, "wait", 1, {"back": 1})
    assert move.trace[0].detail == {"line": 7, "to": "wait", "times": 1, "max": 1}
    lost = of_steps(step(Goto, "back", goto="gone", max=1))
    assert go(lost).ended == "failed"


class Never(Step):
    """A step kind with a mistake in it: it leads to itself."""

    def arrive(self, here):
        return Go()


def test_a_walk_without_end_ends() -> None:
    j = of_steps(Never(id="a", span=step(Exit, "x").span))
    j._next["a"] = "a"  # type: ignore[index]
    move = go(j)
    assert move.ended == "failed" and "1,000 steps" in move.trace[-1].detail["because"]


def test_the_same_arguments_give_the_same_move() -> None:
    j = journey(PLAIN)
    known, run = facts(j, ""), enrollment()
    assert advance(j, run, known, NOW) == advance(j, run, known, NOW)


def test_a_skipped_send_is_told_and_passed() -> None:
    j = of_steps(
        step(Email, "email:a", template="a", only_if=condition("vip")), step(Wait, "wait", wait=Duration(days=1))
    )
    move = go(j)
    assert whats(move) == [("email:a", "skipped"), ("wait", "waits")]
    assert move.trace[0].detail == {"line": 7, "because": "only_if", "condition": "vip", "truth": False}
