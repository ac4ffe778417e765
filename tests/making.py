"""Journeys, enrollments and facts for tests of the pure heart, made in a line each."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from channels.base import EventKind, Medium
from orchestrator.condition import Condition, Expression
from orchestrator.engine import Move, asks
from orchestrator.journey import Journey, MissedRuns, Recipients, Reentry, arranged, read_journey
from orchestrator.model import (
    ACCOUNT_FIELDS,
    CUSTOMER_FIELDS,
    CustomerClass,
    Enrollment,
    EventType,
    Field,
    Kind,
    Policies,
    RecordType,
    Topic,
    Unit,
    Vocabulary,
)
from orchestrator.problems import Problems, Span, render
from orchestrator.reading import Offset
from orchestrator.source import parse
from orchestrator.steps import Addressee, Facts, Here, MessageState, Send, Step
from orchestrator.terms import Scalar, Truth

SPAN = Span("journeys/x.yaml", 7, 5, 7, 20)
NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)


def fields(**kinds: Any) -> dict[str, Field]:
    return {
        name: Field(name, Kind.CHOICE, kind) if isinstance(kind, tuple) else Field(name, Kind(kind))
        for name, kind in kinds.items()
    }


WORDS = Vocabulary(
    workspace="acme",
    timezone="Europe/Berlin",
    currency="EUR",
    sender={},
    locale="en",
    customer={
        **CUSTOMER_FIELDS,
        **fields(birthday="date", store="text", vip="yes_no", score="number", paid="money", met="instant"),
        **fields(band=("low", "high")),
    },
    account={**ACCOUNT_FIELDS, **fields(status=("active", "churned"), renews="date")},
    records={"contract": RecordType("contract", "account", "contract_id", fields(contract_id="key", ends="date"))},
    events={
        "order_placed": EventType("order_placed", fields(order_id="key", amount="money", store="text", due="date")),
        "quote_opened": EventType("quote_opened", fields(contract_id="key")),
    },
    classes={"b2c": CustomerClass("b2c", ("silver", "gold")), "b2b": CustomerClass("b2b", ("std",), "account")},
    topics={"offers": Topic("offers", "marketing", "Offers")},
    policies=Policies(),
    segments=frozenset({"vips", "sleepy"}),
)


def told(text: str) -> tuple[Journey | None, Problems]:
    """A journey file read, with what is wrong in it."""
    problems = Problems()
    node = parse(text, "j.yaml", problems)
    found = read_journey(node, "j.yaml", WORDS, {}, problems) if node is not None else None
    return found, problems


def journey(text: str) -> Journey:
    """A journey file that must be right."""
    found, problems = told(text)
    assert found is not None, render(problems.sorted(), {"j.yaml": text})
    return found


def of_steps(*steps: Step, unit: Unit = "customer", **others: Any) -> Journey:
    """A journey of steps made by hand."""
    by_id, following = arranged(steps)
    given: dict[str, Any] = {
        "name": "j",
        "path": "j.yaml",
        "owner": "",
        "unit": unit,
        "priority": 50,
        "triggers": (),
        "audience": None,
        "recipients": Recipients(),
        "reentry": Reentry(),
        "overlap": "forbid",
        "goal": None,
        "goal_text": "",
        "exit_when": (),
        "in_flight": "finish",
        "holdout": 0.0,
        "missed_runs": MissedRuns(),
        "throttle": None,
        "record": None,
        "event": None,
        "segments": frozenset(),
        "version": "v1",
        "span": SPAN,
    }
    return Journey(**{**given, **others}, steps=steps, _by_id=by_id, _next=following)


def step(kind: type[Any], id: str, **options: Any) -> Any:
    return kind(id=id, span=SPAN, **options)


def condition(text: str, unit: Unit = "customer") -> Condition:
    return Condition(text, Truth(), unit, SPAN)


def date_field(text: str, kind: Kind = Kind.DATE) -> Expression:
    return Expression(text, Scalar(), kind)


def offset(amount: Any, side: Any, field: str) -> Offset:
    return Offset(amount, side, False, field, date_field(field), SPAN, SPAN)


def enrollment(unit: Unit = "customer", unit_id: int = 11, **others: Any) -> Enrollment:
    given: dict[str, Any] = {
        "id": 1,
        "journey": "j",
        "version": "v1",
        "unit": unit,
        "unit_id": unit_id,
        "customer_id": unit_id if unit == "customer" else None,
        "account_id": unit_id if unit == "account" else None,
        "run_key": "once",
        "step": "",
        "visit": 0,
        "entered_at": NOW,
        "since": NOW,
        "wake_at": NOW,
    }
    return Enrollment(**{**given, **others})


def contact(id: int, role: str = "", account: int = 11) -> Addressee:
    return Addressee("customer", id, id, account, role)


CUSTOMER = Addressee("customer", 11, 11, None)


def message(
    step: str,
    state: str,
    addressee: Addressee = CUSTOMER,
    medium: Medium = Medium.EMAIL,
    *,
    visit: int = 0,
    reason: str = "",
    at: datetime | None = NOW,
    heard: tuple[EventKind, ...] = (),
) -> MessageState:
    return MessageState(step, visit, addressee, medium, state, reason, at, frozenset(heard))


def here(facts: Facts | None = None, now: datetime = NOW, enrollment_: Enrollment | None = None, **others: Any) -> Here:
    return Here(enrollment_ or enrollment(), "j", facts or Facts(zone="Europe/Berlin"), now, lambda name: 0.5, **others)


def facts(j: Journey, at: str, true: tuple[str, ...] = (), **others: Any) -> Facts:
    """Answers to all that may be asked at a step: true for these texts, false for others, no value for fields."""
    asked = asks(j, at)
    truths = {c.text: c.text in true for c in asked if isinstance(c, Condition)}
    values = {e.text: others.get("values", {}).get(e.text) for e in asked if isinstance(e, Expression)}
    return Facts(truths=truths, zone="Europe/Berlin", **{**others, "values": values})


def moved(move: Move) -> Enrollment:
    """The enrollment after a move."""
    return replace(
        move.enrollment,
        step=move.step,
        visit=move.visit,
        since=move.since,
        wake_at=move.wake_at,
        memory=move.memory,
        visits=move.visits,
    )


def sends(move: Any) -> list[Send]:
    return [e for e in move.effects if isinstance(e, Send)]
