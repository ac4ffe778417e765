"""Sends: whom they go to, when they are left, who takes whose place."""

from datetime import timedelta

import pytest

from channels.base import Medium
from orchestrator.condition import Expression
from orchestrator.model import MESSAGE_STATES, SETTLED_STATES, Kind
from orchestrator.steps import Addressee, Facts, Go, MessageState, Stay, kinds
from orchestrator.steps.email import Email
from orchestrator.steps.sms import Sms
from orchestrator.steps.task import Task
from orchestrator.steps.webhook import Webhook
from orchestrator.terms import Scalar
from orchestrator.words import Duration, Rate
from tests.making import CUSTOMER, NOW, SPAN, condition, contact, enrollment, here, message, sends, step

EMAIL = step(Email, "email:hello", template="hello")
A, B, C = contact(1, "boss"), contact(2, "buyer"), contact(3, "buyer")
FIRM = Facts(recipients={Medium.EMAIL: (A, B, C)})


def at_firm(memory=None, messages=(), recipients=(A, B, C), step_="email:hello", **others):
    facts = Facts(recipients={Medium.EMAIL: recipients}, messages=tuple(messages))
    return here(facts, enrollment_=enrollment("account", step=step_, memory=memory or {}), **others)


def mail(state: str, to: Addressee, reason: str = "") -> MessageState:
    return message("email:hello", state, to, reason=reason)


def test_every_kind_is_found_by_its_file() -> None:
    assert set(kinds()) == {
        *("email", "sms", "push", "mail", "task", "webhook", "first_of", "wait", "wait_until", "wait_for"),
        *("branch", "split", "goto", "enter", "exit", "update", "emit", "points", "voucher", "survey"),
    }
    for keyword, kind in kinds().items():
        assert kind.keyword == keyword
        assert kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}("), f"{keyword} has no page"


def test_a_send_plans_one_message_and_waits_for_it() -> None:
    outcome = EMAIL.arrive(here())
    assert isinstance(outcome, Stay) and outcome.until is None and outcome.what == "planned"
    (send,) = sends(outcome)
    assert (send.step, send.visit, send.medium, send.template) == ("email:hello", 0, Medium.EMAIL, "hello")
    assert (send.addressee, send.due_at, send.expires_at, send.payload) == (CUSTOMER, NOW, None, {})


@pytest.mark.parametrize("state", MESSAGE_STATES)
def test_a_send_is_left_when_its_message_is_settled(state: str) -> None:
    told = here(Facts(messages=(mail(state, CUSTOMER),)), enrollment_=enrollment(step="email:hello"))
    outcome = EMAIL.wake(told)
    if state in SETTLED_STATES:
        assert isinstance(outcome, Go) and outcome.note == {"messages": {state: 1}} and not outcome.effects
    else:
        assert isinstance(outcome, Stay) and outcome.until is None and not outcome.effects


def test_messages_of_another_visit_do_not_count() -> None:
    old = message("email:hello", "sent", visit=0)
    told = here(Facts(messages=(old,)), enrollment_=enrollment(step="email:hello", visit=1))
    (send,) = sends(EMAIL.wake(told))
    assert send.visit == 1


@pytest.mark.parametrize(("truth", "sent"), [(True, 1), (False, 0), (None, 0)])
def test_only_if_must_be_true(truth: bool | None, sent: int) -> None:
    only = condition("vip")
    picky = step(Email, "email:hello", template="hello", only_if=only)
    assert picky.asks() == (only,)
    outcome = picky.arrive(here(Facts(truths={"vip": truth})))
    if sent:
        assert len(sends(outcome)) == 1
    else:
        assert isinstance(outcome, Go) and outcome.what == "skipped"
        assert outcome.note == {"because": "only_if", "condition": "vip", "truth": truth}


def test_options_travel_with_the_message() -> None:
    full = step(
        Email,
        "email:hello",
        template="hello",
        locale="fr",
        expire_after=Duration(days=1),
        dedupe="off",
        from_="account_manager",
        throttle=Rate(500, timedelta(hours=1)),
    )
    (send,) = sends(full.arrive(here(enrollment_=enrollment(event_id=7, record_id=9))))
    assert send.expires_at == NOW + timedelta(days=1)
    assert send.payload == {
        "locale": "fr",
        "from": "account_manager",
        "dedupe": "off",
        "throttle": [500, 3600],
        "event": 7,
        "record": 9,
    }


# ---- accounts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_most", "chosen"), [(None, [1, 2, 3]), (2, [1, 2]), (1, [1])])
def test_at_most_so_many_contacts(at_most: int | None, chosen: list[int]) -> None:
    outcome = EMAIL.arrive(at_firm(at_most=at_most))
    assert [s.addressee.id for s in sends(outcome)] == chosen
    assert isinstance(outcome, Stay) and outcome.memory == {"wanted": len(chosen)}


def test_a_role_narrows_the_recipients() -> None:
    for_buyers = step(Email, "email:hello", template="hello", to=("buyer",))
    assert [s.addressee.id for s in sends(for_buyers.arrive(at_firm(at_most=1)))] == [2]


def test_nobody_there_is_told() -> None:
    outcome = EMAIL.arrive(at_firm(recipients=()))
    assert isinstance(outcome, Go) and outcome.what == "skipped" and "no contact" in outcome.note["because"]


@pytest.mark.parametrize(
    ("state", "reason", "next_one"),
    [
        ("bounced", "", True),
        ("failed", "", True),
        ("denied", "no_address", True),
        ("denied", "suppressed", True),
        ("denied", "no_consent", False),
        ("denied", "frequency_cap", False),
        ("expired", "", False),
        ("sent", "", False),
        ("planned", "", False),
    ],
)
def test_the_next_takes_the_place(state: str, reason: str, next_one: bool) -> None:
    messages = [mail(state, A, reason), mail("sent", B)]
    outcome = EMAIL.wake(at_firm({"wanted": 2}, messages))
    assert [s.addressee.id for s in sends(outcome)] == ([3] if next_one else []) if isinstance(outcome, Stay) else True
    assert isinstance(outcome, Stay) is (next_one or state == "planned")
    if next_one:
        assert isinstance(outcome, Stay) and outcome.memory == {"wanted": 2} and outcome.until is None


def test_nobody_is_asked_twice_and_it_ends() -> None:
    messages = [mail("bounced", A), mail("bounced", B), mail("bounced", C)]
    outcome = EMAIL.wake(at_firm({"wanted": 2}, messages))
    assert isinstance(outcome, Go) and outcome.note == {"messages": {"bounced": 3}}


def test_all_of_them_is_not_more_when_others_join_later() -> None:
    outcome = EMAIL.wake(at_firm({"wanted": 2}, [mail("sent", A), mail("sent", B)]))
    assert isinstance(outcome, Go)


# ---- our own people ------------------------------------------------------------------------------------------------

MANAGER = Addressee("staff", 11, None, 11)


@pytest.mark.parametrize("unit", ["customer", "account"])
def test_a_task_goes_to_the_manager_once(unit) -> None:
    task = step(Task, "task:account_manager", task="account_manager", text="call", due=Duration(business=2))
    told = here(Facts(staff=MANAGER, recipients=FIRM.recipients), enrollment_=enrollment(unit))
    (send,) = sends(task.arrive(told))
    assert send.addressee == MANAGER and send.medium is Medium.TASK and send.template == ""
    assert send.payload == {"to": "account_manager", "text": "call", "due": "2027-03-03"}  # from a Monday


def test_no_manager_no_task() -> None:
    outcome = step(Task, "t", task="account_manager").arrive(here())
    assert isinstance(outcome, Go) and outcome.note == {"because": "the account has no manager"}


@pytest.mark.parametrize("unit", ["customer", "account"])
def test_without_a_manager_another_takes_it(unit) -> None:
    task = step(Task, "t", task="account_manager", otherwise="customer-care", text="call")
    (send,) = sends(task.arrive(here(enrollment_=enrollment(unit))))
    assert send.addressee.kind == "staff" and send.payload == {"to": "customer-care", "text": "call"}
    (send,) = sends(task.arrive(here(Facts(staff=MANAGER), enrollment_=enrollment(unit))))
    assert send.addressee == MANAGER and send.payload == {"to": "account_manager", "text": "call"}


OWNER = Expression("deal.owner", Scalar(), Kind.TEXT, "account", SPAN)


@pytest.mark.parametrize(
    ("said", "whose"),
    [
        ("mara@small.example", "mara@small.example"),
        (" Mara\nBeck ", "Mara Beck"),
        ("account_manager", "account_manager"),
        *[
            (nobody, "sales")
            for nobody in (None, " ", "a@small.example, b@small.example", "a@b@c", "<m@small.example>")
        ],
    ],
)
def test_a_task_is_for_whoever_stands_in_the_field(said, whose) -> None:
    task = step(Task, "t", task="deal.owner", otherwise="sales", field=OWNER)
    assert task.asks() == (OWNER,)
    (send,) = sends(task.arrive(here(Facts(values={"deal.owner": said}, staff=MANAGER))))
    assert send.addressee.kind == "staff" and send.payload == {"to": whose}


def test_nobody_in_the_field_it_is_the_managers() -> None:
    task = step(Task, "t", task="deal.owner", otherwise="account_manager", field=OWNER)
    (send,) = sends(task.arrive(here(Facts(staff=MANAGER))))
    assert send.addressee == MANAGER and send.payload == {"to": "account_manager"}
    assert isinstance(task.arrive(here(Facts())), Go)


def test_nobody_in_the_field_no_task() -> None:
    outcome = step(Task, "t", task="deal.owner", field=OWNER).arrive(here(Facts(values={"deal.owner": None})))
    assert isinstance(outcome, Go) and outcome.note == {"because": "nobody stands in deal.owner"}


def test_a_team_has_a_name() -> None:
    (send,) = sends(step(Task, "t", task="support").arrive(here()))
    assert send.addressee.kind == "staff" and send.payload == {"to": "support"}


def test_a_copy_for_an_address_of_our_own() -> None:
    copy = step(Sms, "copy", template="x", to=("sales@example.com",))
    (send,) = sends(copy.arrive(at_firm(at_most=1)))
    assert send.addressee == Addressee("staff", 11, None, 11) and send.payload == {"to": "sales@example.com"}


def test_a_webhook_is_the_systems() -> None:
    (send,) = sends(step(Webhook, "webhook:crm", webhook="crm").arrive(here()))
    assert (send.addressee.kind, send.medium, send.payload) == ("system", Medium.WEBHOOK, {"to": "crm"})
