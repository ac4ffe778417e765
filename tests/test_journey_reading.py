"""Journey files: what they come to, and what is told of those that are wrong."""

# ruff: noqa: E501

from datetime import UTC, datetime, time, timedelta

import pytest

from channels.base import Medium
from orchestrator.condition import Condition
from orchestrator.journey import (
    ApiTrigger,
    AtTrigger,
    DateTrigger,
    EventTrigger,
    MissedRuns,
    Recipients,
    Reentry,
    ScheduleTrigger,
    SegmentTrigger,
    Throttle,
    TierTrigger,
    check_entries,
    read_journey,
)
from orchestrator.problems import Problems, Span
from orchestrator.source import parse
from orchestrator.terms import InSegment
from tests.making import WORDS, journey, told

FULL = """
journey: renewal
owner: crm@acme.example
unit: account
priority: 80
trigger: { date: 90 days before contract.ends, at: 08:30 }
audience: status == "active" and in segment("vips")
recipients: { role: [boss, buyer], at_most: 2 }
reentry: once per contract
overlap: allow
goal: { event: quote_opened, where: contract_id == contract.contract_id, within: 120 days }
exit_when: [ { event: order_placed }, status == "churned" ]
in_flight: migrate
holdout: 10%
missed_runs: { grace: 2 hours, then: skip }
throttle: 1000 per hour
steps:
  - first_of: [ { email: notice }, { mail: letter } ]
    within: 2 days
  - wait_for:
      event: quote_opened
      timeout: 7 days
      then: [ { task: account_manager, message: call } ]
      else:
        - split:
            one: { share: 50%, steps: [ { email: offer } ] }
            two: { share: 50%, steps: [] }
  - wait_until: 45 days before contract.ends
  - email: last
"""


def test_everything_a_journey_says() -> None:
    j = journey(FULL)
    assert (j.name, j.owner, j.unit, j.priority, j.path) == ("renewal", "crm@acme.example", "account", 80, "j.yaml")
    assert j.recipients == Recipients(("boss", "buyer"), 2) and j.reentry == Reentry("key", None, "contract")
    assert (j.overlap, j.in_flight, j.holdout) == ("allow", "migrate", 0.1)
    assert j.missed_runs == MissedRuns(timedelta(hours=2), "skip") and j.throttle == Throttle(1000, timedelta(hours=1))
    assert (j.record, j.event) == ("contract", None)
    assert j.goal is not None and j.goal.text.startswith("happened(quote_opened where contract_id")
    assert "10368000s" in j.goal.text and j.goal_text.endswith("within 120 days")
    assert [c.text for c in j.exit_when] == ["happened(order_placed since entry)", 'status == "churned"']
    assert j.audience is not None and j.audience.unit == "account"


def test_where_each_step_leads() -> None:
    j = journey(FULL)
    assert {s: j.after(s) for s in (i.id for i in j.every_step()) if j.has(s)} == {
        "first_of": "wait_for:quote_opened",
        "wait_for:quote_opened": "wait_until:45-days-before-contract.ends",
        "task:account_manager": "wait_until:45-days-before-contract.ends",
        "split:one-two": "wait_until:45-days-before-contract.ends",
        "email:offer": "wait_until:45-days-before-contract.ends",
        "wait_until:45-days-before-contract.ends": "email:last",
        "email:last": None,
    }
    assert j.first == "first_of" and j.step("email:notice").span.line == 18
    assert not j.has("email:notice") and not j.has("nowhere")
    assert j.sends() == {
        "email:notice": Medium.EMAIL,
        "mail:letter": Medium.MAIL,
        "task:account_manager": Medium.TASK,
        "email:offer": Medium.EMAIL,
        "email:last": Medium.EMAIL,
    }


def test_what_wakes_its_sleepers() -> None:
    j = journey(FULL)
    assert j.listens() == {"quote_opened", "order_placed"}
    assert {s: [c.text for c in cs] for s, cs in j.watched().items()} == {
        "": ['status == "churned"'],
        "wait_until:45-days-before-contract.ends": ["contract.ends"],
    }
    assert [c.text for c in j.watches()] == ['status == "churned"', "contract.ends"]
    counting = journey("journey: j\ntrigger: api\ngoal: count(order_placed) >= 2\nsteps: [ { email: a } ]\n")
    assert counting.listens() == {"order_placed"} and len(counting.watches()) == 1


def test_a_few_lines_are_a_journey() -> None:
    j = journey("journey: j\ntrigger: { event: order_placed }\nsteps:\n  - email: hello\n")
    assert (j.unit, j.priority, j.overlap, j.in_flight, j.holdout) == ("customer", 50, "forbid", "finish", 0.0)
    assert j.missed_runs == MissedRuns(timedelta(hours=12), "latest") and j.reentry == Reentry("once")
    assert (j.goal, j.exit_when, j.audience, j.throttle, j.owner) == (None, (), None, None, "")
    assert j.event == "order_placed"


# ---- versions ------------------------------------------------------------------------------------------------------


def version(text: str, segments: dict[str, Condition] | None = None) -> str:
    problems = Problems()
    node = parse(text, "j.yaml", problems)
    assert node is not None
    found = read_journey(node, "j.yaml", WORDS, segments or {}, problems)
    assert found is not None
    return found.version


def segment(text: str, *names: str) -> Condition:
    return Condition(text, InSegment(names[0]) if names else InSegment(""))


SHORT = "journey: j\ntrigger: {segment_entry: vips}\nsteps: [email: a]\n"


def test_a_version_is_what_it_says_and_what_it_names() -> None:
    base = version(SHORT)
    assert base == version("# a remark\njourney: 'j'\ntrigger:\n  segment_entry: vips\nsteps:\n  - email: a\n")
    assert base != version(SHORT.replace("a]", "b]"))
    vips, sleepy = segment('in segment("sleepy")', "sleepy"), segment("score > 1")
    pinned = version(SHORT, {"vips": vips, "sleepy": sleepy})
    assert pinned != base
    assert pinned == version(SHORT, {"vips": vips, "sleepy": sleepy, "other": segment("x")})
    assert pinned != version(SHORT, {"vips": vips, "sleepy": segment("score > 2")})  # named by the one it names


def test_segments_named_anywhere_belong_to_it() -> None:
    text = SHORT.replace("steps: [email: a]", "audience: in segment('sleepy')\nsteps: [email: a]")
    problems = Problems()
    node = parse(text, "j.yaml", problems)
    assert node is not None
    found = read_journey(node, "j.yaml", WORDS, {"vips": segment("a"), "sleepy": segment("b")}, problems)
    assert found is not None and found.segments == {"vips", "sleepy"}


# ---- triggers ------------------------------------------------------------------------------------------------------


def trigger(text: str, unit: str = "customer"):
    j = journey(f"journey: j\nunit: {unit}\ntrigger: {text}\nsteps:\n  - email: hello\n")
    (found,) = j.triggers
    return found, j


def test_triggers_of_every_kind() -> None:
    found, j = trigger("{ segment_exit: vips, include_existing: true }")
    assert isinstance(found, SegmentTrigger) and (found.segment, found.direction) == ("vips", "exit")
    assert found.include_existing and j.segments == frozenset()
    found, j = trigger("{ event: order_placed, where: store == 'north', key: order_id }")
    assert isinstance(found, EventTrigger) and found.run_by == "order_id" and found.where is not None
    assert j.reentry == Reentry("key", None, "order_id")
    found, j = trigger("{ at: 2027-03-01 09:00 America/New_York, waves: 4, every: 2 hours }")
    assert isinstance(found, AtTrigger) and found.at == datetime(2027, 3, 1, 14, tzinfo=UTC) and not found.local
    assert (found.waves, found.wave_gap, j.reentry) == (4, timedelta(hours=2), Reentry("always"))
    found, _ = trigger("{ at: 2027-03-01 09:00 }")
    assert isinstance(found, AtTrigger) and found.at == datetime(2027, 3, 1, 8, tzinfo=UTC)  # the workspace's clock
    found, _ = trigger("{ at: 2027-03-01 09:00 recipient }")
    assert isinstance(found, AtTrigger) and found.local and found.at.replace(tzinfo=None).hour == 9
    found, j = trigger('{ schedule: "0 9 * * mon-fri" }')
    assert isinstance(found, ScheduleTrigger) and (found.cron, found.timezone) == ("0 9 * * mon-fri", "Europe/Berlin")
    assert j.reentry == Reentry("always")
    found, _ = trigger('{ schedule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYHOUR=9;BYMINUTE=0", timezone: recipient }')
    assert isinstance(found, ScheduleTrigger) and found.cron is None and found.timezone == "recipient"
    found, _ = trigger("{ tier_change: up, to: [gold] }")
    assert isinstance(found, TierTrigger) and (found.direction, found.to) == ("up", ("gold",))
    assert isinstance(trigger("api")[0], ApiTrigger)
    assert isinstance(trigger("{ api: true }")[0], ApiTrigger)


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("every year on birthday", "customer", ("customer", "birthday", 0, 0, False, True)),
        ("7 days before birthday", "customer", ("customer", "birthday", -7, 0, False, False)),
        ("every year 3 days before joined", "customer", ("customer", "joined", -3, 0, False, True)),
        ("account.joined", "customer", ("account", "joined", 0, 0, False, False)),
        ("1 month after renews", "account", ("account", "renews", 0, 1, False, False)),
        ("2 business days after contract.ends", "account", ("contract", "ends", 2, 0, True, False)),
        ("on order_placed.due", "customer", ("order_placed", "due", 0, 0, False, False)),
    ],
)
def test_triggers_by_date(text: str, unit: str, expected: tuple[object, ...]) -> None:
    found, j = trigger(f"{{ date: {text} }}", unit)
    assert isinstance(found, DateTrigger) and found.at == time(9)
    moved = (found.offset_days, found.offset_months, found.business_days, found.every_year)
    assert (found.of, found.field_name, *moved) == expected
    assert j.reentry == Reentry("always")
    assert found.source == {"contract": "record", "order_placed": "event"}.get(found.of, found.of)


def test_a_list_of_triggers_has_in_scope_what_all_of_them_bring() -> None:
    j = journey(
        "journey: j\ntrigger: [ { event: order_placed }, { event: order_placed, key: order_id } ]\nsteps: [ { sms: a } ]\n"
    )
    assert len(j.triggers) == 2 and j.event == "order_placed" and j.triggers[0].key != j.triggers[1].key
    j = journey("journey: j\ntrigger: [ { event: order_placed }, api ]\nsteps: [ { sms: a } ]\n")
    assert j.event is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("once", Reentry("once")),
        ("always", Reentry("always")),
        ("after 30 days", Reentry("after", timedelta(days=30))),
        ("once per order_id", Reentry("key", None, "order_id")),
    ],
)
def test_reentry(text: str, expected: Reentry) -> None:
    j = journey(f"journey: j\ntrigger: {{ event: order_placed }}\nreentry: {text}\nsteps: [ {{ sms: a }} ]\n")
    assert j.reentry == expected


@pytest.mark.parametrize(
    ("text", "overlap"),
    [
        ("trigger: { event: order_placed }", "forbid"),
        ("trigger: { event: order_placed, key: order_id }", "allow"),
        ("trigger: { event: order_placed, key: order_id }\noverlap: forbid", "forbid"),
        ("trigger: { date: on contract.ends }\nunit: account", "allow"),
        ("trigger: { date: on contract.ends }\nunit: account\nreentry: once", "forbid"),
        ("trigger: { date: every year on birthday }", "forbid"),
        ("trigger: { schedule: 0 9 * * 1 }", "forbid"),
    ],
)
def test_runs_for_different_things_may_overlap(text: str, overlap: str) -> None:
    assert journey(f"journey: j\n{text}\nsteps: [ {{ sms: a }} ]\n").overlap == overlap


# ---- mistakes ------------------------------------------------------------------------------------------------------

HEAD = "journey: j\ntrigger: { event: order_placed }\n"
FIRM = "journey: j\nunit: account\ntrigger: { date: contract.ends }\n"
API = "journey: j\ntrigger: api\n"

BAD = [
    # (file, code, line and column, a word of the hint)
    ("journey: j\nsteps: [ { email: a } ]\n", "missing-key", "1:1", "lets somebody in"),
    (HEAD + "steps: []\n", "empty-steps", "3:8", "email: welcome"),
    ("journey: j\ntrigger: { event: order_plaid }\nsteps: [ { email: a } ]\n", "unknown-event", "2:19", "order_placed"),
    ("journey: j\ntrigger: { segment_entry: vip }\nsteps: [ { email: a } ]\n", "unknown-segment", "2:27", "vips"),
    ("journey: j\ntrigger: { event: order_placed, key: order }\nsteps: [ { email: a } ]\n", "unknown-property", "2:38", "order_id"),
    ("journey: j\ntrigger: { date: contract.end }\nunit: account\nsteps: [ { email: a } ]\n", "unknown-field", "2:18", "ends"),
    ("journey: j\ntrigger: { date: contrakt.ends }\nsteps: [ { email: a } ]\n", "unknown-record-or-event", "2:18", "contract"),
    ("journey: j\ntrigger: { date: 3 days after score }\nsteps: [ { email: a } ]\n", "not-a-date", "2:31", "date"),
    ("journey: j\ntrigger: { date: 3 days after contract.ends }\nsteps: [ { email: a } ]\n", "wrong-unit", "2:31", "unit: account"),
    ("journey: j\ntrigger: { date: 3 hours after birthday }\nsteps: [ { email: a } ]\n", "hours-from-date", "2:18", "at: 10:30"),
    ("journey: j\ntrigger: { date: birthday, leap_day: mar_1 }\nsteps: [ { email: a } ]\n", "unused-key", "2:38", "every year"),
    ("journey: j\ntrigger: { schedule: 0 9 * * }\nsteps: [ { email: a } ]\n", "bad-schedule", "2:22", "minute, hour"),
    ("journey: j\ntrigger: { schedule: 0 25 * * 1 }\nsteps: [ { email: a } ]\n", "bad-schedule", "2:22", "Mondays at nine"),
    ("journey: j\ntrigger: { schedule: 0 0 30 2 * }\nsteps: [ { email: a } ]\n", "bad-schedule", "2:22", "minute, hour"),
    ("journey: j\ntrigger: { schedule: FREQ=WEEKLI }\nsteps: [ { email: a } ]\n", "bad-schedule", "2:22", "FREQ=WEEKLY"),
    ("journey: j\ntrigger: { schedule: FREQ=HOURLY }\nsteps: [ { email: a } ]\n", "bad-schedule", "2:22", "cron"),
    ("journey: j\ntrigger: { schedule: FREQ=DAILY;COUNT=3 }\nsteps: [ { email: a } ]\n", "bad-schedule", "2:22", "DTSTART"),
    ("journey: j\ntrigger: { schedule: 0 9 * * 1, timezone: Europe/Berlni }\nsteps: [ { email: a } ]\n", "unknown-zone", "2:43", "Europe/Berlin"),
    ("journey: j\ntrigger: { at: 2027-03-01 09:00 Berlin }\nsteps: [ { email: a } ]\n", "unknown-zone", "2:16", "Europe/Berlin"),
    ("journey: j\ntrigger: { at: 09:00 }\nsteps: [ { email: a } ]\n", "at-without-day", "2:16", "the day"),
    ("journey: j\ntrigger: { at: 2027-03-01 09:00, waves: 3 }\nsteps: [ { email: a } ]\n", "waves-without-every", "2:41", "every"),
    ("journey: j\ntrigger: { event: order_placed, segment_entry: vips }\nsteps: [ { email: a } ]\n", "one-trigger", "2:10", "list"),
    ("journey: j\ntrigger: { event: order_placed, waves: 2 }\nsteps: [ { email: a } ]\n", "unused-key", "2:33", "where"),
    (HEAD + "reentry: once per order\nsteps: [ { email: a } ]\n", "unknown-key-of-run", "3:10", "order_id"),
    (HEAD + "reentry: sometimes\nsteps: [ { email: a } ]\n", "bad-reentry", "3:10", "after 30 days"),
    (HEAD + "reentry: after 2 months\nsteps: [ { email: a } ]\n", "bad-reentry", "3:10", "months differ"),
    (HEAD + "recipients: { role: boss }\nsteps: [ { email: a } ]\n", "recipients-of-customer", "3:13", "unit: account"),
    (HEAD + "holdout: 100%\nsteps: [ { email: a } ]\n", "holdout-everybody", "3:10", "10%"),
    (HEAD + "priority: 900\nsteps: [ { email: a } ]\n", "wrong-type", "3:11", ""),
    (HEAD + "exit_when: [ { event: order_plaid } ]\nsteps: [ { email: a } ]\n", "unknown-event", "3:23", "order_placed"),
    (HEAD + "steps:\n  - goto: email:b\n    max: 2\n  - email: a\n", "unknown-step-id", "4:5", "email:a"),
    (HEAD + "steps:\n  - email: a\n  - wait: 1 day\n  - goto: email:a\n", "missing-key", "6:5", "how many times"),
    (HEAD + "steps:\n  - email: a\n  - goto: email:a\n    max: 3\n", "loop-without-wait", "5:5", "wait"),
    (HEAD + "steps:\n  - email: a\n  - wait: 0 days\n  - goto: email:a\n    max: 3\n", "wrong-type", "5:11", "how long"),
    (HEAD + "steps:\n  - wait_for: { event: quote_opened, timeout: 0 hours }\n", "wrong-type", "4:47", "how long"),
    (HEAD + "audience:\nsteps: [ { email: a } ]\n", "empty-value", "3:1", "class == b2c"),
    ("journey: j\ntrigger: { schedule: FREQ=MONTHLY;BYDAY=31MO }\nsteps: [ { email: a } ]\n", "bad-schedule", "2:22", "FREQ=WEEKLY"),
    ("journey: j\ntrigger: { schedule: FREQ=DAILY;INTERVAL=0;BYHOUR=9 }\nsteps: [ { email: a } ]\n", "bad-schedule", "2:22", "from 1"),
    ("journey: j\ntrigger: { at: 9999-12-31 23:59 America/Los_Angeles }\nsteps: [ { email: a } ]\n", "wrong-type", "2:16", "2000"),
    ("journey: j\ntrigger: { at: 0001-01-01 00:00 Asia/Tokyo }\nsteps: [ { email: a } ]\n", "wrong-type", "2:16", "2000"),
    (HEAD + "steps:\n  - Email: a\n", "unknown-step", "4:5", "did you mean `email`"),
    (HEAD + "steps:\n  - email: a\n  - exit\n  - sms: b\n  - sms: c\n", "unreachable-step", "6:5", "move it"),
    (HEAD + "steps:\n  - branch:\n      - if: vip\n        steps: [ { exit: x } ]\n      - else: [ { exit: y, id: z } ]\n  - sms: b\n", "unreachable-step", "8:5", "move it"),
    (HEAD + "steps:\n  - branch:\n      - if: vip\n      - steps: [ { sms: b } ]\n", "branch-without-if", "6:9", "if: CONDITION"),
    (HEAD + "steps:\n  - branch:\n      - else: [ { sms: b } ]\n", "branch-without-if", "5:9", "if"),
    (HEAD + "steps:\n  - branch:\n      - else: []\n      - if: vip\n", "else-not-last", "5:9", "last"),
    (HEAD + "steps:\n  - branch:\n      - if: vip\n        else: [ { sms: b } ]\n", "else-with-if", "5:9", "list item"),
    (HEAD + "steps:\n  - split:\n      a: { share: 50%, steps: [ { sms: b } ] }\n      b: { share: 40% }\n", "split-shares", "4:5", "rest"),
    (HEAD + "steps:\n  - first_of: [ { email: a }, { wait: 1 day } ]\n    within: 1 day\n", "misplaced-step", "4:33", "email"),
    (HEAD + "steps:\n  - first_of: [ { email: a }, { sms: b } ]\n", "missing-key", "4:5", "hand-over"),
    (HEAD + "steps:\n  - wait_for: { event: quote_opened }\n", "missing-key", "4:5", "must end"),
    (HEAD + "steps:\n  - wait_for: { timeout: 1 day }\n", "wait-for-what", "4:5", "event"),
    (HEAD + "steps:\n  - wait_for: { event: quote_opened, segment: vips, timeout: 1 day }\n", "wait-for-what", "4:5", "one after"),
    (HEAD + "steps:\n  - wait_for: { message: email:b, timeout: 1 day }\n  - email: a\n", "unknown-step-id", "4:26", "email:a"),
    (HEAD + "steps:\n  - wait_for: { segment: vips, where: vip, timeout: 1 day }\n", "unused-key", "4:32", "event"),
    (HEAD + "steps:\n  - wait_until: every year on birthday\n", "every-year-wait", "4:17", "date"),
    (HEAD + "steps:\n  - wait_until: 3 days before score\n", "type-mismatch", "4:31", ""),
    (HEAD + "steps:\n  - wait_until: { time: 25:00 }\n", "wrong-type", "4:25", "23:59"),
    (HEAD + "steps:\n  - wait_until: { time: 09:00 }\n    at: 10:00\n", "unused-at", "5:5", "time"),
    (HEAD + "steps:\n  - update: { shop: north }\n", "unknown-attribute", "4:15", ""),
    (HEAD + "steps:\n  - update: { stor: north }\n", "unknown-attribute", "4:15", "store"),
    (HEAD + "steps:\n  - update: { tier: gold }\n", "update-standard-field", "4:15", "workspace.yaml"),
    (HEAD + "steps:\n  - update: { score: many }\n", "wrong-value", "4:22", "equals sign"),
    (HEAD + "steps:\n  - update: { band: middle }\n", "wrong-value", "4:21", "low"),
    (HEAD + 'steps:\n  - update: { score: "= store" }\n', "type-mismatch", "4:25", ""),
    (HEAD + "steps:\n  - emit: quote_opened\n    properties: { contract: c }\n", "unknown-property", "5:19", "contract_id"),
    (FIRM + "steps:\n  - update: { customer.vip: true }\n", "update-contact", "5:15", "account"),
    (FIRM + "recipients: { role: [boss] }\nsteps:\n  - email: a\n    to: bos\n", "unknown-role", "6:5", "boss"),
    (HEAD + "steps:\n  - email: a\n    to: boss\n", "no-roles", "5:9", "account_manager"),
    (FIRM + "steps:\n  - email: a\n    to: [boss, account_manager]\n", "several-addressees", "6:9", "two steps"),
    (FIRM + "steps:\n  - task: care\n    otherwise: sales\n    message: A\n", "unused-key", "6:16", "leave it out"),
    (
        FIRM + "steps:\n  - task: account_manager\n    otherwise: account_manager\n    message: A\n",
        "unused-key",
        "6:16",
        "name a team",
    ),
    (HEAD + "steps:\n  - points: { award: 0 }\n", "points-how-many", "4:22", "from 1"),
    (HEAD + "steps:\n  - points: { key: welcome }\n", "points-how-many", "4:5", "award: 50"),
    (HEAD + "steps:\n  - points: { award: 1, deduct: 1 }\n", "points-how-many", "4:5", "award: 50"),
    (HEAD + "steps:\n  - points: { award: '= store' }\n", "type-mismatch", "4:25", ""),
    (API + "steps:\n  - email: a\n    only_if: event.store == 'x'\n", "not-in-scope", "5:14", "event trigger"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "place", "hint"), BAD, ids=[f"{n}-{b[1]}" for n, b in enumerate(BAD)])
def test_one_mistake_is_one_problem_in_its_place(text: str, code: str, place: str, hint: str) -> None:
    found, problems = told(text)
    assert found is None
    assert [(p.code, str(p.span)) for p in problems.errors] == [(code, f"j.yaml:{place}")], problems.found
    (problem,) = problems.errors
    assert hint in problem.hint and not problem.message.endswith(".")


def test_entering_is_checked_where_all_journeys_are_known() -> None:
    one = journey("journey: one\ntrigger: api\nsteps:\n  - enter: two\n  - enter: three\n  - enter: firm\n")
    firm = journey("journey: firm\nunit: account\ntrigger: api\nsteps: [ { email: a } ]\n")
    two = journey("journey: two\ntrigger: api\nsteps: [ { email: a } ]\n")
    problems = Problems()
    check_entries({"one": one, "two": two, "firm": firm}, problems)
    assert [(p.code, p.span.line) for p in problems.sorted()] == [("unknown-journey", 5), ("wrong-unit", 6)]


def test_a_segment_of_accounts_is_none_of_customers() -> None:
    problems = Problems()
    node = parse(SHORT, "j.yaml", problems)
    assert node is not None
    assert read_journey(node, "j.yaml", WORDS, {"vips": Condition("x", InSegment(""), "account")}, problems) is None
    assert [(p.code, p.span) for p in problems.found] == [("segment-unit", Span("j.yaml", 2, 10, 2, 31))]


def read_all(**steps: str) -> list[tuple[str, str]]:
    """What is told of several journeys together, each of which may be entered always."""
    problems = Problems()
    found = {}
    for name, text in steps.items():
        body = f"journey: {name}\ntrigger: {{ event: quote_opened }}\nreentry: always\nsteps:\n{text}"
        if "once" in text:
            body = body.replace("reentry: always", "reentry: once")
        found[name] = journey(body)
    check_entries(found, problems)
    return [(p.code, p.message) for p in problems.found]


def test_journeys_do_not_begin_each_other_without_end() -> None:
    said = "here no time passes: runs would begin without end"
    assert read_all(j="  - email: a\n  - enter: j\n") == [("loop-without-wait", f"from `j` back to {said}")]
    two = {"j": "  - email: a\n  - enter: k\n", "k": "  - enter: j\n"}
    assert read_all(**two) == [("loop-without-wait", f"from `k` back to {said}")]
    assert read_all(**two | {"k": "  - wait: 1 day\n  - enter: j\n"}) == []
    assert read_all(**two | {"k": "  - enter: j\n  - email: once\n"}) == []
    assert read_all(j="  - emit: quote_opened\n") == [("loop-without-wait", f"from `j` back to {said}")]
    assert read_all(j="  - wait: 1 day\n  - emit: quote_opened\n") == []
    assert read_all(j="  - emit: order_placed\n") == []


def test_two_tasks_for_one_person_are_two_steps() -> None:
    """As the renewal journey in the language's own page has them."""
    steps = "steps:\n  - task: account_manager\n    message: A\n  - task: account_manager\n    due: 2 business days\n"
    assert [s.id for s in journey(HEAD + steps).steps] == ["task:account_manager", "task:account_manager-2"]
