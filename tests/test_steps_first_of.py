"""first_of: in turn until one arrives; refusals and bounces move on at once; every contact has a turn of their own."""

from datetime import timedelta

import pytest

from channels.base import EventKind, Medium
from orchestrator.steps import Addressee, Cancel, Facts, Go, Stay
from orchestrator.steps.email import Email
from orchestrator.steps.first_of import FirstOf
from orchestrator.steps.mail import Mail
from orchestrator.steps.sms import Sms
from orchestrator.steps.task import Task
from orchestrator.words import Duration
from tests.making import CUSTOMER, NOW, condition, contact, enrollment, here, message, sends, step

DAY = timedelta(days=1)
E, S, M = EventKind, Medium.SMS, Medium.MAIL
SENDS = (
    step(Email, "email:a", template="a"),
    step(Sms, "sms:b", template="b"),
    step(Mail, "mail:c", template="c"),
)
CAN_TELL = {Medium.EMAIL: frozenset({E.DELIVERED, E.BOUNCED})}


def first_of(until="delivered", sends=SENDS):
    return step(FirstOf, "first_of", first_of=sends, until=until, within=Duration(days=2))


def woken(messages, *, now=NOW, until="delivered", reports=None, sends=SENDS, **facts):
    memory = {"who": [11], "wanted": 1}
    known = Facts(messages=tuple(messages), reports=reports or {}, **facts)
    return first_of(until, sends).wake(here(known, now, enrollment(step="first_of", memory=memory)))


def planned(outcome) -> list[str]:
    return [s.step for s in sends(outcome)]


def test_it_begins_with_the_first() -> None:
    outcome = first_of().arrive(here())
    assert planned(outcome) == ["email:a"] and isinstance(outcome, Stay) and outcome.until is None
    assert outcome.memory == {"who": [11], "wanted": 1}
    assert first_of().sends() == (("email:a", Medium.EMAIL), ("sms:b", S), ("mail:c", M))


ON, OFF, LOOK, WAIT = "moves on", "is left", "looks again", "waits to be woken"


@pytest.mark.parametrize(
    ("state", "heard", "until", "after", "tells", "expected"),
    [
        ("planned", (), "delivered", 0, True, WAIT),
        ("held", (), "delivered", 5, True, WAIT),
        ("sending", (), "delivered", 0, True, WAIT),
        ("denied", (), "delivered", 0, True, ON),
        ("expired", (), "delivered", 0, True, ON),
        ("cancelled", (), "delivered", 0, True, ON),
        ("bounced", (), "delivered", 0, True, ON),
        ("failed", (), "delivered", 0, True, ON),
        ("sent", (E.BOUNCED,), "delivered", 0, True, ON),
        ("sent", (E.DELIVERED, E.BOUNCED), "delivered", 0, True, ON),
        ("sent", (E.SOFT_BOUNCED,), "delivered", 0, True, LOOK),
        ("sent", (E.DEFERRED,), "delivered", 1, True, LOOK),
        ("sent", (), "delivered", 2, True, ON),
        ("sent", (), "delivered", 1, False, LOOK),
        ("sent", (), "delivered", 2, False, OFF),
        ("uncertain", (), "delivered", 2, False, ON),
        ("sent", (E.DELIVERED,), "delivered", 0, True, OFF),
        ("delivered", (), "delivered", 0, False, OFF),
        ("sent", (E.MACHINE_OPENED,), "delivered", 0, True, OFF),
        ("sent", (E.OPENED, E.BOUNCED), "delivered", 0, True, OFF),
        ("sent", (E.DELIVERED,), "opened", 1, True, LOOK),
        ("sent", (E.DELIVERED,), "opened", 2, True, ON),
        ("sent", (E.MACHINE_OPENED,), "opened", 2, True, ON),
        ("sent", (), "opened", 2, False, ON),
        ("sent", (E.OPENED,), "opened", 0, True, OFF),
        ("sent", (E.CLICKED,), "opened", 0, True, OFF),
        ("sent", (E.OPENED,), "clicked", 2, True, ON),
        ("delivered", (E.CLICKED,), "clicked", 0, True, OFF),
    ],
)
def test_what_becomes_of_the_first_decides(state, heard, until, after, tells, expected) -> None:
    first = message("email:a", state, heard=heard)
    outcome = woken([first], now=NOW + after * DAY, until=until, reports=CAN_TELL if tells else None)
    if expected == ON:
        assert planned(outcome) == ["sms:b"]
    elif expected == OFF:
        assert isinstance(outcome, Go) and not outcome.effects
    else:
        assert isinstance(outcome, Stay) and not outcome.effects
        assert outcome.until == (NOW + 2 * DAY if expected == LOOK else None)


def test_each_has_its_time_from_its_own_hand_over() -> None:
    late = NOW + 10 * DAY
    tried = [message("email:a", "bounced"), message("sms:b", "sent", medium=S, at=late)]
    outcome = woken(tried, now=late + DAY, reports={S: frozenset({E.DELIVERED})})
    assert isinstance(outcome, Stay) and outcome.until == late + 2 * DAY
    assert planned(woken(tried, now=late + 2 * DAY, reports={S: frozenset({E.DELIVERED})})) == ["mail:c"]


def test_when_all_have_failed_it_is_left() -> None:
    tried = [message("email:a", "denied", reason="no_consent"), message("sms:b", "failed", medium=S)]
    outcome = woken([*tried, message("mail:c", "denied", medium=M, reason="no_address")])
    assert isinstance(outcome, Go)
    assert outcome.note == {"outcome": ["email:a: denied: no_consent; sms:b: failed; mail:c: denied: no_address"]}


def test_what_is_queued_is_withdrawn_when_an_earlier_one_arrives_late() -> None:
    tried = [message("email:a", "sent", heard=(E.OPENED,)), message("sms:b", "held", medium=S, at=None)]
    outcome = woken(tried)
    assert isinstance(outcome, Go) and outcome.effects == (Cancel(("sms:b",), "reached by another medium"),)


def test_only_if_is_asked_for_the_turn_alone() -> None:
    only = condition("vip")
    some = (SENDS[0], step(Sms, "sms:b", template="b", only_if=only), SENDS[2])
    assert first_of(sends=some).asks() == (only,)
    bounced = [message("email:a", "bounced")]
    assert planned(woken(bounced, sends=some, truths={"vip": False})) == ["mail:c"]
    assert planned(woken(bounced, sends=some, truths={"vip": True})) == ["sms:b"]
    held = [*bounced, message("sms:b", "held", medium=S)]
    assert planned(woken(held, sends=some, truths={"vip": False})) == []  # it is under way already


# ---- accounts ------------------------------------------------------------------------------------------------------

A, B, C = contact(1, "boss"), contact(2, "buyer"), contact(3, "buyer")


def firm(messages=(), memory=None, recipients=None, at_most=2, sends=SENDS, now=NOW, staff=None):
    known = {Medium.EMAIL: (A, B, C), S: (A, B, C), M: (A, B, C)} if recipients is None else recipients
    run = enrollment("account", step="first_of", memory=memory or {})
    told = here(
        Facts(messages=tuple(messages), recipients=known, staff=staff),
        now,
        run,
        at_most=at_most,
        roles=("boss", "buyer"),
    )
    return first_of(sends=sends).wake(told)


def whom(outcome) -> list[tuple[str, int]]:
    return [(s.step, s.addressee.id) for s in sends(outcome)]


def test_every_contact_has_a_turn_of_their_own() -> None:
    begun = firm()
    assert whom(begun) == [("email:a", 1), ("email:a", 2)]
    memory = begun.memory
    mails = [message("email:a", "bounced", A), message("email:a", "sent", B)]
    assert whom(firm(mails, memory)) == [("sms:b", 1)]
    all_in = [*mails, message("sms:b", "delivered", A, S)]
    still = firm(all_in, memory)
    assert isinstance(still, Stay) and still.until == NOW + 2 * DAY
    assert isinstance(firm(all_in, memory, now=NOW + 2 * DAY), Go)


def test_a_medium_that_does_not_reach_somebody_is_passed_over() -> None:
    outcome = firm(recipients={Medium.EMAIL: (B,), S: (A, C), M: ()})
    assert whom(outcome) == [("sms:b", 1), ("email:a", 2)]  # the boss first, though only by phone


def test_who_cannot_be_reached_gives_the_place_to_the_next() -> None:
    memory = {"who": [1, 2], "wanted": 2}
    gone = [message(s, "bounced", A, m) for s, m in (("email:a", Medium.EMAIL), ("sms:b", S), ("mail:c", M))]
    outcome = firm([*gone, message("email:a", "sent", B)], memory)
    assert whom(outcome) == [("email:a", 3)] and outcome.memory == {"who": [1, 2, 3], "wanted": 2}
    again = firm([*gone, message("email:a", "sent", B), message("email:a", "planned", C)], outcome.memory)
    assert whom(again) == [] and again.memory == outcome.memory


def test_a_refusal_for_want_of_consent_gives_no_place_away() -> None:
    memory = {"who": [1], "wanted": 1}
    refused = [
        message(s, "denied", A, m, reason="no_consent")
        for s, m in (("email:a", Medium.EMAIL), ("sms:b", S), ("mail:c", M))
    ]
    assert isinstance(firm(refused, memory, at_most=1), Go)


def test_our_own_people_are_told_once_for_all_and_for_nobody() -> None:
    manager = Addressee("staff", 11, None, 11)
    some = (SENDS[0], step(Task, "task:account_manager", task="account_manager", text="call"))
    memory = {"who": [1, 2], "wanted": 2}
    bounced = [message("email:a", "bounced", who) for who in (A, B)]
    outcome = firm(bounced, memory, {Medium.EMAIL: ()}, sends=some, staff=manager)
    assert whom(outcome) == [("task:account_manager", 11)]
    nobody = firm(recipients={}, sends=some, staff=manager)
    assert whom(nobody) == [("task:account_manager", 11)] and nobody.memory == {"who": [0], "wanted": 1}
    done = message("task:account_manager", "delivered", manager, Medium.TASK)
    assert isinstance(firm([done], nobody.memory, {}, sends=some, staff=manager), Go)


def test_the_team_that_took_it_is_enough_when_the_account_gets_a_manager() -> None:
    some = (SENDS[0], step(Task, "t", task="account_manager", otherwise="customer-care", text="call"))
    nobody = firm(recipients={}, sends=some)
    (send,) = sends(nobody)
    assert send.payload["to"] == "customer-care"
    done = message("t", "delivered", send.addressee, Medium.TASK)
    manager = Addressee("staff", 11, 5, 11)
    assert isinstance(firm([done], nobody.memory, {}, sends=some, staff=manager), Go)


def test_a_customer_keeps_the_turn_without_any_address() -> None:
    assert [s.addressee for s in sends(first_of().arrive(here(Facts(recipients={}))))] == [CUSTOMER]
