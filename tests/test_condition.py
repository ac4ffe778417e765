"""Conditions as they are read: the specification's examples, kinds of literals, canonical text, places of mistakes."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import EventKind, Medium
from orchestrator import centre
from orchestrator.condition import (
    Condition,
    Expression,
    Heard,
    Scope,
    happened,
    heard,
    parse,
    parse_expression,
    segments_named,
)
from orchestrator.model import (
    ACCOUNT_FIELDS,
    CUSTOMER_FIELDS,
    LOYALTY_EVENTS,
    CustomerClass,
    EventType,
    Field,
    Kind,
    Loyalty,
    Policies,
    Question,
    RecordType,
    Survey,
    Vocabulary,
)
from orchestrator.problems import Problems, Span
from orchestrator.scope import ANSWERED
from orchestrator.terms import text as written
from tests.store.segments_world import VOCABULARY as AWKWARD

REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "conditions.md"


def _fields(**kinds: Kind) -> dict[str, Field]:
    return {name: Field(name, kind) for name, kind in kinds.items()}


ACME = Vocabulary(  # the workspace of the language's own page
    "acme",
    "Europe/Berlin",
    "EUR",
    {},
    "en",
    {**CUSTOMER_FIELDS, **_fields(birthday=Kind.DATE, favourite_store=Kind.TEXT)},
    {**ACCOUNT_FIELDS, **_fields(status=Kind.TEXT), "industry": Field("industry", Kind.CHOICE, ("retail", "health"))},
    {
        "contract": RecordType(
            "contract", "account", "contract_id", _fields(ends=Kind.DATE, value=Kind.MONEY, auto_renew=Kind.YES_NO)
        ),
        "invoice": RecordType(
            "invoice", "account", "invoice_id", _fields(due=Kind.DATE, amount=Kind.MONEY, paid=Kind.YES_NO)
        ),
    },
    {
        "order_placed": EventType("order_placed", _fields(amount=Kind.MONEY, channel=Kind.TEXT, order_id=Kind.KEY)),
        "contract_renewed": EventType("contract_renewed", _fields(contract_id=Kind.KEY)),
        "startup_referred": EventType("startup_referred", _fields(startup=Kind.KEY)),
        "survey_answered": EventType(
            "survey_answered",
            _fields(score=Kind.NUMBER, recommend=Kind.NUMBER)
            | {"survey": Field("survey", Kind.CHOICE, ("nps", "shop"))},
        ),
        **LOYALTY_EVENTS,
    },
    {
        "b2c": CustomerClass("b2c", ("bronze", "silver", "gold", "platinum")),
        "b2b": CustomerClass("b2b", ("standard", "preferred", "strategic"), "account"),
        "partner": CustomerClass("partner", ("registered", "silver", "gold"), "account"),
    },
    {},
    Policies(),
    frozenset({"vip-club", "complained-recently"}),
    surveys={"nps": Survey("nps", {}, (Question("recommend", "nps", {}),)), "shop": Survey("shop", {}, ())},
    loyalty=Loyalty(True, badges=frozenset({"critic"})),
)
NO_PROGRAMME = replace(ACME, loyalty=Loyalty(), surveys={})
STEPS = {"email:renewal-notice": Medium.EMAIL, "sms:renewal-short": Medium.SMS, "email:r-90-days": Medium.EMAIL}
RENEWAL = Scope("account", record="contract", steps=STEPS)

SPECIFIED = [
    ("class == b2c and tier >= gold", Scope()),
    ("country in [DE, AT, CH] and email is set", Scope()),
    ("count(order_placed, 90 days) >= 2 and sum(order_placed.amount, 365 days) > 500 EUR", Scope()),
    ("days_since(last(order_placed)) > 60 or never(order_placed)", Scope()),
    ('count(order_placed where channel == "store", 30 days) >= 1', Scope()),
    ("any(contract where ends is within next 90 days and not auto_renew)", Scope()),
    ("sum(invoice.amount where not paid and due is in past) > 1000 EUR", Scope()),
    ("joined is more than 1 year ago", Scope()),
    ('in segment("vip-club") and not in segment("complained-recently")', Scope()),
    ("opened(email:renewal-notice) or clicked(sms:renewal-short)", RENEWAL),
    ("any contact(role == decision_maker and email is set)", RENEWAL),
    ('class == b2b and account.status == "active" and not contract.auto_renew', RENEWAL),
    ("contract_id == contract.contract_id", Scope("account", record="contract", subject_event="contract_renewed")),
    ('account.status == "churned"', RENEWAL),
    ("account.annual_value >= 50000 or tier >= preferred", RENEWAL),
    ("count(startup_referred, 365 days) >= 3", Scope()),
    ("value.band in [top, big]", Scope()),
    ("nps <= 6", Scope()),
    ("points(365 days) >= 500 and points.expiring > 0", Scope()),
    ('value.clv > 500 EUR and membership.state == "active" or progress.missing <= 100', Scope()),
    ('account.points < 100 and badge("critic")', Scope()),
    ("health < 40 and account.points(1 year) > points", RENEWAL),
    ("any contact(value.p_alive < 0.2 and account.value.band == top)", RENEWAL),
    ("count(challenge_completed where points > customer.points.pending and account.points(3 months) > 5) > 0", Scope()),
]


def read(text: str, scope: Scope | None = None, vocabulary: Vocabulary = ACME) -> Condition:
    problems = Problems()
    found = parse(text, Span("j.yaml", 1, 1, 1, 1 + len(text)), scope or Scope(), vocabulary, problems)
    assert found is not None, (text, problems.found)
    assert not problems.found
    return found


def told(text: str, scope: Scope | None = None, span: Span | None = None) -> list[tuple[str, str]]:
    problems = Problems()
    assert parse(text, span or Span("j.yaml", 1, 1, 1, 1 + len(text)), scope or Scope(), ACME, problems) is None
    return [(p.code, str(p.span)) for p in problems.found]


@pytest.mark.parametrize(("text", "scope"), SPECIFIED)
def test_the_specifications_examples(text: str, scope: Scope) -> None:
    found = read(text, scope)
    again = read(found.text, scope)
    assert (again.text, again.root) == (found.text, found.root)


@pytest.mark.parametrize(
    "text",
    ["value.band in [top, big]", "points(365 days) > 500", "points > 5", "account.points > 5", 'badge("critic")',
     "account.points(1 year) > 5", "health < 40", "balance > 5", "any contact(membership.until is in past)"],
)  # fmt: skip
def test_what_comes_with_the_loyalty_programme_says_so(text: str) -> None:
    problems = Problems()
    scope = Scope("account") if "any contact" in text else Scope()
    assert parse(text, Span("j.yaml", 1, 1, 1, 1 + len(text)), scope, NO_PROGRAMME, problems) is None
    told = [(p.message.partition("` ")[2], p.hint.partition(",")[0]) for p in problems.found]
    assert told == [("comes with the loyalty programme, and none is declared", "declare `program` in workspace.yaml")]


def test_nps_is_the_latest_answer_to_the_question_that_asks_it() -> None:
    assert ANSWERED == centre.ANSWERED
    one = 'last(survey_answered.recommend where survey in ["nps"] and recommend is set)'
    assert read("nps <= 6").text == f"{one} <= 6"
    again = Survey("shop", {}, (Question("would_you", "nps", {}),))
    several = replace(ACME, surveys={**ACME.surveys, "shop": again})
    assert read("nps > 8", None, several).text == (
        'last(survey_answered.score where survey in ["nps", "shop"] and score is set) > 8'
    )
    hidden = replace(ACME, surveys={"nps": replace(ACME.surveys["nps"], anonymous=True)})
    for words in (NO_PROGRAMME, hidden):
        problems = Problems()
        assert parse("nps <= 6", Span("j.yaml", 1, 1, 1, 9), Scope(), words, problems) is None
        assert [(p.code, p.span.col, p.span.end_col) for p in problems.found] == [("unknown-field", 1, 4)]
        assert "kind: nps" in problems.found[0].hint
    own = replace(NO_PROGRAMME, customer={**NO_PROGRAMME.customer, "nps": Field("nps", Kind.NUMBER)})
    assert read("nps <= 6", None, own).text == "nps <= 6", "a declared attribute of that name is meant"


def test_an_attribute_of_ones_own_is_meant_where_there_is_no_programme() -> None:
    own = replace(NO_PROGRAMME, customer={**NO_PROGRAMME.customer, "points": Field("points", Kind.NUMBER)})
    assert read("points > 5", None, own).text == "points > 5"


def test_a_badge_is_a_challenge_that_was_done() -> None:
    assert read('badge("critic")').text == 'any(challenge_completed where badge == "critic")'
    assert read("not badge(critic)").text == 'never(challenge_completed where badge == "critic")'


def test_the_references_examples_are_the_specifications() -> None:
    block = REFERENCE.read_text().split("```")[1].strip().splitlines()
    assert len(block) == 12
    for line in block:
        read(line)


def test_the_references_codes_are_those_told() -> None:
    source = "".join(
        (Path(__file__).parent.parent / "orchestrator" / f"{m}.py").read_text()
        for m in ("condition", "values", "scope")
    )
    used = set(re.findall(r'"((?:bad|unknown|type|not|mixed)-[a-z-]+)"', source)) | {"unknown-event", "unknown-record"}
    listed = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", REFERENCE.read_text().split("## Codes")[1]))
    assert listed == used


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tier>=gold", 'tier   >=  "gold"'),
        ("country in [DE,AT]", "country in ['DE', \"AT\"]"),
        ("((email is set))", "email is set"),
        ("count(order_placed, 1 week) >= 2", "count(order_placed, 7 days) >= 2.0"),
        ("joined is more than 12 months ago", "joined is more than 1 year ago"),
        ("(email is set and phone is set) and city is set", "email is set and (phone is set and city is set)"),
        ("not email is set", "email is not set"),
        ("not not email is set", "email is set"),
        ("country not in [DE]", "not country in [DE]"),
        ("account.annual_value > 25000", "account.annual_value > 25000.00 EUR"),
        ("joined is within last 24 months", "joined is within last 2 years"),
        ("any(contract where contract.ends is in past)", "any(contract where ends is in past)"),
        ("never(order_placed)", "not any(order_placed)"),
        ("joined == 2027-01-31", 'joined == "2027-01-31"'),
        ("tier != gold", "not tier == gold"),
    ],
)
def test_equal_forms_have_one_text(one: str, other: str) -> None:
    assert read(one).text == read(other).text
    assert read(one) == read(other)
    assert hash(read(one)) == hash(read(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("email is set and (phone is set or city is set)", "email is set and phone is set or city is set"),
        ("not (email is set or phone is set)", "not email is set or phone is set"),
        ("1 - (2 - 3) > 0", "1 - 2 - 3 > 0"),
        ("city == DE", "city == de"),
        ("any(contract where account.status == x)", "any(invoice where account.status == x)"),
    ],
)
def test_unequal_forms_have_not(one: str, other: str) -> None:
    assert read(one).text != read(other).text


def test_in_an_account_journey_the_accounts_fields_are_bare() -> None:
    assert read('account.status == "active"', RENEWAL) == read('status == "active"', RENEWAL)


def test_within_a_where_the_units_fields_are_named_in_full() -> None:
    found = read("any(contract where customer.country == DE and ends is in past)")
    assert found.text == 'any(contract where customer.country == "DE" and ends is in past)'


def test_a_record_in_scope_is_not_the_one_a_where_judges() -> None:
    found = read("any(contract where contract_id != contract.contract_id)", RENEWAL)
    assert found.text == "any(contract where contract_id != contract.contract_id)"


def test_words_with_dashes_are_literals_beside_a_text() -> None:
    assert read("locale == de-AT").text == 'locale == "de-AT"'
    assert read("shirt in [x-large, s]", vocabulary=AWKWARD).text == 'shirt in ["x-large", "s"]'
    assert read("seats-1 > 2", vocabulary=AWKWARD).text == "seats - 1 > 2"


def test_a_choice_wins_over_a_field_of_the_same_name_and_a_field_over_a_text() -> None:
    assert read("account.industry == health").text == 'account.industry == "health"'
    assert read("city == region").text == "city == region"


def test_a_steps_id_may_look_like_arithmetic() -> None:
    assert read("opened(email:r-90-days)", RENEWAL).text == 'opened("email:r-90-days")'
    scope = Scope(steps={"r-90-days": Medium.EMAIL})
    assert read("clicked(r-90-days)", scope) == read("clicked('r-90-days')", scope)


def test_money_is_minor_units_of_its_currency() -> None:
    assert read("account.annual_value > 12.5 EUR").text == "account.annual_value > 12.5 EUR"
    assert read("account.annual_value > 1000 JPY").text == "account.annual_value > 1000 JPY"
    assert told("account.annual_value > 0.5 JPY") == [("type-mismatch", "j.yaml:1:24")]


def test_every_mistake_in_one_condition_is_told() -> None:
    text = "contry == DE and tier >= god and cuont(order_placed) > 1 and sum(order_placed) > 5 or class == b2x"
    assert told(text) == [
        ("unknown-field", "j.yaml:1:1"),
        ("unknown-tier", "j.yaml:1:26"),
        ("unknown-function", "j.yaml:1:34"),
        ("bad-condition", "j.yaml:1:62"),
        ("unknown-class", "j.yaml:1:96"),
    ]


def test_a_mistake_on_one_side_does_not_hide_one_on_the_other() -> None:
    assert told("account.x > account.y") == [("unknown-field", "j.yaml:1:1"), ("unknown-field", "j.yaml:1:13")]


@pytest.mark.parametrize(
    ("span", "place"),
    [
        (Span("j.yaml", 3, 12, 3, 12 + 13), "j.yaml:3:22"),  # plain
        (Span("j.yaml", 3, 12, 3, 12 + 15), "j.yaml:3:23"),  # quoted
        (Span("j.yaml", 3, 12, 3, 12 + 16), "j.yaml:3:12"),  # quoted, with an escape: the whole
        (Span("j.yaml", 3, 12, 5, 4), "j.yaml:3:12"),  # over several lines: the whole
    ],
)
def test_a_mistake_is_placed_within_its_scalar(span: Span, place: str) -> None:
    assert told("tier   >= god", span=span) == [("unknown-tier", place)]


def test_expressions_have_a_kind() -> None:
    def kind(text: str, expect: frozenset[Kind] | None = None) -> Kind | None:
        problems = Problems()
        scope = Scope(record="contract", event="order_placed")
        found = parse_expression(text, Span("j.yaml", 1, 1, 1, 1 + len(text)), scope, ACME, problems, expect)
        assert (found is None) == bool(problems.found)
        return found.kind if isinstance(found, Expression) else None

    assert kind("contract.ends") is Kind.DATE
    assert kind("sum(order_placed.amount) / 2") is Kind.MONEY
    assert kind("sum(order_placed.amount) / (5 EUR)") is Kind.NUMBER
    assert kind("last(order_placed)") is Kind.INSTANT
    assert kind("event.channel") is Kind.TEXT
    assert kind("tier") is Kind.TIER
    assert kind("contract.ends", frozenset({Kind.DATE})) is Kind.DATE
    assert kind("50", frozenset({Kind.MONEY})) is Kind.MONEY
    assert kind("'2027-01-01'", frozenset({Kind.DATE})) is Kind.DATE
    assert kind("country", frozenset({Kind.DATE, Kind.INSTANT})) is None
    assert kind("email is set", frozenset({Kind.TEXT})) is None


def test_made_conditions_have_a_text_of_their_own() -> None:
    where = read("contract_id == contract.contract_id", SPECIFIED[12][1])
    made = happened("contract_renewed", where, "entry", "account", 86_400)
    assert made.text == (
        "happened(contract_renewed where contract_id == contract.contract_id since entry within 86400s)"
    )
    assert made != happened("contract_renewed", where, "step", "account", 86_400)
    delivered = frozenset({EventKind.DELIVERED})
    assert heard("email:x", delivered, "customer") != heard("email:x", delivered, "customer", "step")
    opened = read("opened(email:renewal-notice)", RENEWAL)
    assert isinstance(opened.root, Heard)
    assert heard("email:renewal-notice", opened.root.kinds, "account") == opened


def test_the_segments_a_condition_names() -> None:
    found = read('any(contract where in segment("vip-club")) or not in segment("complained-recently")')
    assert segments_named(found) == {"vip-club", "complained-recently"}
    assert segments_named(read("email is set")) == frozenset()


def test_long_and_deep_conditions_are_refused_not_choked_on() -> None:
    for text in (
        "(" * 5_000,
        "(" * 500 + "email is set" + ")" * 500,
        "not " * 2_000 + "email is set",
        " and ".join(["email is set"] * 500),
        "1" + " + 1" * 1_000 + " > 0",
        "x" * 20_000,
        "country in [" + ", ".join(["DE"] * 3_000) + "]",
    ):
        assert told(text)[0][0] in ("bad-condition", "unknown-field")
    assert read("country in [" + ", ".join(["DE", "AT"] * 900) + "]").text == 'country in ["DE", "AT"]'


FRAGMENTS = """class tier country email joined account.annual_value contract.ends event.amount order_placed
contract amount count( sum( last( any( all( never( days_since( opened( any contact ( ) [ ] , == != <
<= > >= + - * / and or not in is set past future within next last more than less ago where segment(
"vip-club" 'x' 500 EUR 90 days 2027-01-31 0.5 yes gold DE b2c email:renewal-notice { = && $ \\ “
\x00 \n é"""


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(FRAGMENTS.split()), max_size=14).map(" ".join)))
def test_no_text_raises(text: str) -> None:
    for scope in (Scope(), RENEWAL, Scope(subject_event="order_placed", event="order_placed")):
        problems = Problems()
        span = Span("j.yaml", 1, 1, 1, 1 + len(text))
        found = parse(text, span, scope, ACME, problems)
        assert (found is None) == bool(problems.found)
        if found is not None:
            assert read(found.text, scope).root == found.root
            assert written(found.root, inside=scope.subject_event is not None) == found.text
        for p in problems.found:
            assert p.message and (p.span.line, p.span.end_line) == (1, 1)
            assert 1 <= p.span.col < p.span.end_col <= max(2, len(text) + 1)
        parse_expression(text, span, scope, ACME, Problems())
