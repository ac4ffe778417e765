"""workspace.yaml and segments.yaml: the vocabulary, the policies and the segments that come of them."""

from __future__ import annotations

from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from channels.base import Medium
from orchestrator.condition import Condition
from orchestrator.model import Cap, Kind, Policies, Vocabulary
from orchestrator.problems import Problems, render
from orchestrator.project import load_files
from orchestrator.source import parse
from orchestrator.workspace import read_segments, read_workspace, segments_used
from tests.golden.workspace import GOOD

ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = GOOD["journeys/workspace.yaml"]


@pytest.fixture(scope="module")
def found() -> Vocabulary:
    return load_files(GOOD).vocabulary


def attempt(text: str) -> tuple[Vocabulary, bool, list[tuple[str, str]]]:
    problems = Problems()
    node = parse(text, "w.yaml", problems)
    assert node is not None
    vocabulary, sound = read_workspace(node, None, problems)
    return vocabulary, sound, [(p.code, f"{p.span.line}:{p.span.col}") for p in problems.sorted()]


def policies(lines: str) -> Policies:
    head, _, _ = WORKSPACE.partition("policies:")
    vocabulary, _, problems = attempt(head + "policies:\n" + lines)
    assert not problems, problems
    return vocabulary.policies


def caps(*lines: str) -> tuple[Cap, ...]:
    return policies("  caps:\n" + "".join(f"    - {line}\n" for line in lines)).caps


# ---- names ----------------------------------------------------------------------------------------------------------


def test_what_is_declared(found: Vocabulary) -> None:
    assert (found.workspace, found.timezone, found.currency, found.locale) == ("acme", "Europe/Berlin", "EUR", "en")
    assert found.sender == {"name": "Acme", "postal_address": "Acme GmbH, Hauptstr. 1, 10115 Berlin, DE"}
    assert found.customer["birthday"].kind is Kind.DATE and found.customer["birthday"].column is None
    assert found.customer["email"].column == "email"
    assert found.account["status"].choices == ("active", "churned")
    assert found.customer["class"].choices == ("b2c", "b2b")
    contract = found.records["contract"]
    assert (contract.of, contract.key, contract.fields["contract_id"].kind) == ("account", "contract_id", Kind.KEY)
    assert list(contract.fields) == ["ends", "value", "auto_renew", "contract_id"]
    assert found.events["order_placed"].fields["amount"].kind is Kind.MONEY
    assert found.classes["b2c"].tiers == ("bronze", "silver", "gold", "platinum")
    assert found.classes["b2b"].unit == "account"
    notices = found.topics["contract-notices"]
    assert (notices.purpose, notices.reviewed_by, notices.reviewed_on) == ("transactional", "legal", date(2026, 11, 1))
    assert found.segments == {"big-spenders", "regulars", "still-looking", "active-companies"}


def test_fields_know_where_they_are_declared(found: Vocabulary) -> None:
    span = found.customer["birthday"].span
    assert span is not None and str(span) == "journeys/workspace.yaml:6:15"


def test_a_small_workspace_is_enough() -> None:
    text = "workspace: a\ntimezone: UTC\ncurrency: JPY\nsender: { name: A, postal_address: B }\nlocale: fr-CA\n"
    vocabulary, sound, problems = attempt(text)
    assert not problems and sound and vocabulary.locale == "fr-CA" and vocabulary.policies == Policies()


def test_events_may_carry_nothing() -> None:
    text = WORKSPACE.replace("signed_up: { source: text }", "signed_up:")
    vocabulary, _, problems = attempt(text)
    assert not problems and vocabulary.events["signed_up"].fields == {}
    assert attempt(WORKSPACE.replace("{ source: text }", "{}"))[2] == []


def test_problems_of_policies_leave_the_names_sound() -> None:
    _, sound, problems = attempt(WORKSPACE.replace("24 hours", "a while").replace("Europe/Berlin", "Mars/Base"))
    assert sound and [code for code, _ in problems] == ["wrong-type", "bad-dedupe"]
    for wrong in ("birthday: dates", "birthday: [date]", "birthday: { one_off: [a] }", "Birthday: date"):
        _, sound, problems = attempt(WORKSPACE.replace("birthday: date", wrong))
        assert not sound and len(problems) == 1, problems


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("favourite_store: text", "favourite_store: ", "unknown-type"),
        ("favourite_store: text", "favourite_store: 3", "unknown-type"),
        ("favourite_store: text", "favourite_store: tier", "unknown-type"),
        ("favourite_store: text", "customer: text", "reserved-name"),
        ("favourite_store: text", "_store: text", "bad-name"),
        ("favourite_store: text", f"{'x' * 65}: text", "bad-name"),
        ("favourite_store: text", "first_name: text", "name-taken"),
        ("contract: { of", "status: { of", "name-taken"),
        ("contract: { of: account", "contract: { of: accounts", "wrong-choice"),
        ("signed_up: { source: text }", "signed_up: text", "wrong-type"),
        ("signed_up: { source: text }", "signed_up: [source]", "wrong-type"),
        ("signed_up: { source: text }", "signed_up: { source: text, event_id: key }", "name-taken"),
        ("b2c: { tiers: [bronze", "B2C: { tiers: [bronze", "bad-name"),
        ("[standard, preferred]", "[standard, Preferred]", "bad-name"),
        ("title: Your membership", "titel: Your membership", "unknown-key"),
        ("loyalty:", "Loyalty:", "bad-name"),
        ("workspace: acme\n", "workspace: acme\nlocale: english\n", "bad-locale"),
        ("currency: EUR", "currency: EURO", "bad-currency"),
        ("currency: EUR", "currency: XXQ", "bad-currency"),
        ("favourite_store: text", "paid: money, paid_currency: text", "name-taken"),
        ("name: Acme,", 'name: "Acme\\nBcc: x@example.com",', "line-break"),
    ],
)
def test_refused_declarations(right: str, wrong: str, code: str) -> None:
    assert right in WORKSPACE
    problems = attempt(WORKSPACE.replace(right, wrong))[2]
    assert [found for found, _ in problems] == [code], problems


# ---- policies -------------------------------------------------------------------------------------------------------


def test_policies(found: Vocabulary) -> None:
    own = found.policies
    hours = own.hours[Medium.EMAIL]
    assert (hours.window.open, hours.window.close, hours.then) == (time(7), time(22), "hold")
    assert own.release == timedelta(hours=2) and own.dedupe == timedelta(hours=24)
    assert own.pause_if == (0.02, 500) and own.budgets == {Medium.MAIL: (50_000, "EUR", "month")}
    assert len(own.caps) == 3


def test_hours_with_days() -> None:
    own = policies("  quiet_hours:\n    sms: { open: 08:00-20:00, days: weekdays, then: deny }\n").hours[Medium.SMS]
    assert own.window.days == frozenset(range(5)) and own.then == "deny"


def test_what_things_cost_is_kept_in_millionths(found: Vocabulary) -> None:
    assert found.policies.prices == {Medium.MAIL: 850_000, Medium.SMS: 75_000}
    assert found.policies.zone == "Europe/Berlin", "budgets begin anew by the workspace's clock"
    assert policies("  prices: { sms: 0.0075 EUR, push: 0.000001 EUR }\n").prices[Medium.SMS] == 7_500


def test_other_departments_and_open_cases() -> None:
    own = policies("  counting: [ support, sales ]\n  pause_on_case: yes\n")
    assert own.counting == {"support", "sales"} and own.pause_on_case


def test_nothing_said_is_no_policy() -> None:
    assert policies("  dedupe: off\n") == Policies()


ALL = frozenset({Medium.EMAIL, Medium.SMS, Medium.PUSH})


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("1 per day across email, sms, push", [(1, "customer", ALL, "day", None, None, None)]),
        ("1 per day and 3 per week across email, sms and push", [
            (1, "customer", ALL, "day", None, None, None), (3, "customer", ALL, "week", None, None, None)]),
        ("2 per month across mail", [(2, "customer", frozenset({Medium.MAIL}), "month", None, None, None)]),
        ("4 per week per account", [(4, "account", frozenset(), "week", None, None, None)]),
        ("4 per week per account across email", [(4, "account", frozenset({Medium.EMAIL}), "week", None, None, None)]),
        ("3 within 36 hours", [(3, "customer", frozenset(), None, timedelta(hours=36), None, None)]),
        ("1 per day, 3 per week and 8 per month", [
            (1, "customer", frozenset(), "day", None, None, None),
            (3, "customer", frozenset(), "week", None, None, None),
            (8, "customer", frozenset(), "month", None, None, None)]),
        ("for tier platinum: 6 per week", [(6, "customer", frozenset(), "week", None, "platinum", None)]),
        ("'for tier platinum: 6 per week'", [(6, "customer", frozenset(), "week", None, "platinum", None)]),
        ("{ for tier platinum: 6 per week }", [(6, "customer", frozenset(), "week", None, "platinum", None)]),
        ("for tiers gold, platinum: 6 per week", [
            (6, "customer", frozenset(), "week", None, "gold", None),
            (6, "customer", frozenset(), "week", None, "platinum", None)]),
        ("for topic loyalty: 1 per week across email", [
            (1, "customer", frozenset({Medium.EMAIL}), "week", None, None, "loyalty")]),
        ("0 per day across sms", [(0, "customer", frozenset({Medium.SMS}), "day", None, None, None)]),
    ],
)  # fmt: skip
def test_caps(line: str, meant: list[Any]) -> None:
    own = caps(line)
    assert [(c.count, c.scope, c.media, c.per, c.within, c.tier, c.topic) for c in own] == meant
    assert {c.text for c in own} == {line.strip("'{} ")}


def test_a_caps_key_does_not_hang_on_its_place_or_its_count() -> None:
    one = caps("1 per day across email, sms", "4 per week per account")
    two = caps("5 per week per account", "2 per day across sms, email")
    assert {c.key for c in one} == {c.key for c in two} and len({c.key for c in one}) == 2


def test_a_cap_may_be_for_bands_of_the_pyramid() -> None:
    own = caps("for bands top and big: 6 per week across email", "for tier gold: 5 per week across email")
    assert [(c.count, c.band, c.tier) for c in own] == [(6, "top", None), (6, "big", None), (5, None, "gold")]
    assert len({c.key for c in own}) == 3


@pytest.mark.parametrize(
    ("line", "code", "place"),
    [
        ("daily", "bad-cap", "22:7"),
        ("1 per day and some per week", "bad-cap", "22:21"),
        ("1 per fortnight", "bad-cap", "22:7"),
        ("1 per day across email, telegram", "unknown-medium", "22:31"),
        ("1 per day across task", "unknown-medium", "22:24"),
        ("for tier platin: 1 per day", "unknown-tier", "22:16"),
        ("for tier gold, platin: 1 per day", "unknown-tier", "22:22"),
        ("for topic news: 1 per day", "unknown-topic", "22:17"),
        ("for band topp: 1 per day", "unknown-band", "22:16"),
        ("for bands top, topp: 1 per day", "unknown-band", "22:22"),
        ("for topics offers: 1 per day", "bad-cap", "22:7"),
        ("for everybody: 1 per day", "bad-cap", "22:7"),
        ("for tier gold: 1 daily", "bad-cap", "22:22"),
        ("'for tier gold: 1 daily'", "bad-cap", "22:23"),
        ("[1 per day]", "bad-cap", "22:7"),
        ("{ a: 1 per day, b: 2 per week }", "bad-cap", "22:7"),
        ("-1 per day", "bad-cap", "22:7"),
    ],
)
def test_refused_caps(line: str, code: str, place: str) -> None:
    head, _, _ = WORKSPACE.partition("policies:")
    problems = attempt(f"{head}policies:\n  caps:\n    - {line}\n")[2]
    assert problems == [(code, place)]


def test_a_comma_of_a_list_in_brackets_parts_a_cap_and_is_told_once() -> None:
    head, _, _ = WORKSPACE.partition("policies:")
    for line, whole in (
        ("3 per day and 9 per week across email, sms, push", "3 per day and 9 per week across email, sms, push"),
        ("1 per day of email, and sms, 4 per week", "1 per day of email, and sms"),
    ):
        problems = Problems()
        node = parse(f"{head}policies:\n  caps: [ {line} ]\n", "w.yaml", problems)
        assert node is not None
        read_workspace(node, None, problems)
        assert [p.code for p in problems.found] == ["bad-cap"]
        assert problems.found[0].hint == f'put the line into quotation marks: `"{whole}"`'
    assert len(policies('  caps: [ "3 per day and 9 per week across email, sms, push" ]\n').caps) == 2


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("release: spread 2 days", "unknown-key"),
        ("quiet_hours: { release: spread 2 days }", "bad-release"),
        ("quiet_hours: { release: spread a month }", "bad-release"),
        ("quiet_hours: { ruleset: mine }", "wrong-choice"),
        ("quiet_hours: { task: { open: 08:00-20:00 } }", "unknown-key"),
        ("dedupe: same content within 24 hours", "bad-dedupe"),
        ("dedupe: same address and same content within 0 days", "bad-dedupe"),
        ("pause_if: errors > 200% of last 500", "bad-pause-if"),
        ("pause_if: errors > 2% of last 0", "bad-pause-if"),
        ("budget: { email: 500 EUR }", "bad-budget"),
        ("budget: { mail: 1.5 JPY per day }", "bad-budget"),
        ("budget: { fax: 500 EUR per day }", "unknown-medium"),
        ("budget: [ 500 EUR ]", "wrong-type"),
        ("budget: { mail: [ 500 EUR ] }", "wrong-type"),
        ("budget: { mail: 500 EUR per month }", "no-price"),
        ("{ budget: { mail: 500 USD per month }, prices: { mail: 0.85 EUR } }", "bad-budget"),
        ("prices: { mail: 0.85 USD }", "bad-price"),
        ("prices: { mail: free }", "bad-price"),
        ("prices: { sms: 0.00000075 EUR }", "bad-price"),
        ("prices: { fax: 1 EUR }", "unknown-medium"),
        ("counting: [ Customer Support ]", "bad-department"),
        ("pause_on_case: perhaps", "wrong-choice"),
        ("caps:", "empty-value"),
    ],
)
def test_refused_policies(line: str, code: str) -> None:
    head, _, _ = WORKSPACE.partition("policies:")
    assert [found for found, _ in attempt(f"{head}policies:\n  {line}\n")[2]] == [code]


# ---- segments -------------------------------------------------------------------------------------------------------


def segments(text: str) -> tuple[dict[str, Condition], list[tuple[str, str]], str]:
    problems = Problems()
    node, root = parse(text, "s.yaml", problems), parse(WORKSPACE, "w.yaml", problems)
    assert node is not None and root is not None
    vocabulary, _ = read_workspace(root, node, problems)
    found = read_segments(node, vocabulary, problems)
    told = [(p.code, f"{p.span.line}:{p.span.col}") for p in problems.sorted()]
    return found, told, render(problems.sorted(), {"s.yaml": text})


def test_segments_are_conditions_of_their_unit() -> None:
    found, told, _ = segments('a: tier >= gold\nb: { of: account, when: status == "active" }\nc: in segment("a")\n')
    assert not told and {n: c.unit for n, c in found.items()} == {"a": "customer", "b": "account", "c": "customer"}
    assert segments_used([found["c"]], found) == {"a"}


def test_segments_used_goes_all_the_way() -> None:
    found, _, _ = segments('a: email is set\nb: in segment("a")\nc: in segment("b")\nd: in segment("c")\n')
    assert segments_used([found["d"]], found) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('a: in segment("a")\n', [("segment-circle", "1:1")]),
        ('a: in segment("b")\nb: not in segment("a")\n', [("segment-circle", "1:1")]),
        ('a: in segment("b")\nb: in segment("c")\nc: in segment("b") or email is set\n', [("segment-circle", "2:1")]),
        ('a: in segment("b")\nb: in segment("a")\nc: in segment("d")\nd: in segment("c")\n',
         [("segment-circle", "1:1"), ("segment-circle", "3:1")]),
        ('a: { of: account, when: status == "active" }\nb: in segment("a")\n', [("segment-unit", "2:4")]),
        ("- a\n", [("wrong-type", "1:1")]),
        ("a: { off: account, when: key is set }\n", [("unknown-key", "1:6")]),
        ("a: { of: account }\n", [("missing-key", "1:4")]),
        ("a: { of: account, when: }\n", [("empty-value", "1:19")]),
        ("A b: email is set\n", [("bad-name", "1:1")]),
        ("a: { of: account, when: email is set }\n", [("not-in-scope", "1:25")]),
    ],
)  # fmt: skip
def test_refused_segments(text: str, told: list[tuple[str, str]]) -> None:
    _, found, shown = segments(text)
    assert found == told, shown


def test_the_shipped_files_name_their_schemas() -> None:
    for path in (ROOT / "journeys").rglob("*.yaml"):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        reference = first.removeprefix("# yaml-language-server: $schema=")
        assert reference != first and (path.parent / reference).resolve().is_file(), path


# ---- the preference centre and surveys ------------------------------------------------------------------------------


def centre(lines: str) -> tuple[Vocabulary, list[tuple[str, str]]]:
    head, _, rest = WORKSPACE.partition("policies:")
    vocabulary, _, problems = attempt(head + lines + "policies:" + rest)
    return vocabulary, problems


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("preferences: { fields: [first_name, favourite_store, birthday], overwrite: after 1 year }", []),
        ("preferences: { fields: [phone] }", ["closed-field"]),
        ("preferences: { fields: [tier] }", ["closed-field"]),
        ("preferences: { fields: [locale] }", ["closed-field"]),
        ("preferences: { fields: [shoe_size] }", ["unknown-attribute"]),
        ("preferences: { labels: { shoe_size: Size } }", ["unknown-attribute"]),
        ("preferences: { languages: [german] }", ["bad-locale"]),
        ("preferences: { overwrite: after 2 hours }", ["bad-overwrite"]),
        ("preferences: { overwrite: after 5 business days }", ["bad-overwrite"]),
        ("preferences: { colour: red }", ["unknown-key"]),
        ("surveys: { nps: { title: T, questions: { a: { kind: nps, ask: A } } } }", []),
        ("surveys: { NPS: { title: T, questions: { a: { kind: nps, ask: A } } } }", ["bad-name"]),
        ("surveys: { nps: { title: T, questions: { score: { kind: nps, ask: A } } } }", ["name-taken"]),
        ("surveys: { nps: { title: T, questions: { where: { kind: nps, ask: A } } } }", ["reserved-name"]),
        ("surveys: { nps: { title: T, questions: { a: { kind: choice, ask: A } } } }", ["bad-survey"]),
        ("surveys: { n: { title: T, questions: { a: { kind: nps, ask: A, choices: { x: X, y: Y } } } } }",
         ["bad-survey"]),
        ("surveys: { nps: { title: T, questions: { a: { kind: scale, ask: A, up_to: 11 } } } }", ["wrong-type"]),
        ("surveys: { nps: { title: T } }", ["missing-key"]),
        ("surveys: { a: { title: T, questions: { q: { kind: nps, ask: A } } }, "
         "b: { title: T, questions: { q: { kind: text, ask: A } } } }", ["name-taken"]),
    ],
)  # fmt: skip
def test_what_people_may_choose_and_answer(line: str, codes: list[str]) -> None:
    assert [code for code, _ in centre(line + "\n")[1]] == codes


def test_texts_by_language_and_the_event_of_answers() -> None:
    found, problems = centre(
        "preferences: { overwrite: after 12 months, labels: { favourite_store: { de: Filiale } } }\n"
        "surveys:\n  nps:\n    title: { en: Hello, de: Hallo }\n"
        "    questions: { likely: { kind: nps, ask: Likely }, why: { kind: text, ask: Why } }\n"
    )
    assert not problems
    assert found.preferences.overwrite == timedelta(days=366) and found.preferences.labels["favourite_store"]
    answered = found.events["survey_answered"].fields
    assert {n: f.kind for n, f in answered.items()} == {
        "survey": Kind.CHOICE, "score": Kind.NUMBER, "source": Kind.CHOICE, "likely": Kind.NUMBER, "why": Kind.TEXT,
    }  # fmt: skip
    assert answered["survey"].choices == ("nps",)
    twice = WORKSPACE.replace("events:\n", "events:\n  survey_answered: {}\n")
    more = "surveys: { nps: { title: T, questions: { a: { kind: nps, ask: A } } } }\n"
    assert [code for code, _ in attempt(twice + more)[2]] == ["name-taken"]
    own, problems = centre("surveys: {}\n")
    assert "survey_answered" not in own.events and not problems
