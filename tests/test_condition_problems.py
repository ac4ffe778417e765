"""A table of wrong conditions: the code, the exact place (in «…»), and what the hint says. One mistake, one problem."""

from dataclasses import replace

import pytest

from channels.base import Medium
from orchestrator.condition import Scope, parse
from orchestrator.model import LOYALTY_EVENTS, Loyalty
from orchestrator.problems import Problems, Span
from tests.store.segments_world import VOCABULARY

SCOPES = {
    "customer": Scope(),
    "loyal": Scope(),
    "account": Scope("account"),
    "journey": Scope("account", "contract", "order_placed", steps={"email:hello": Medium.EMAIL}),
}

LOYAL = replace(
    VOCABULARY, loyalty=Loyalty(True, badges=frozenset({"critic"})), events={**VOCABULARY.events, **LOYALTY_EVENTS}
)
UNDECLARED = "declare `program` in workspace.yaml, or name a declared attribute or event"
VALUES = "one of: `value.band`, `value.clv`, `value.spent`, `value.p_alive`, `value.expected_orders`, `value.renewal`"
BANDS_THERE_ARE = "one of: `big`, `inactive`, `medium`, `prospect`, `small`, `top`"

WRONG = [
    # where it stands, the text, the code, the hint
    ("customer", "«contry» == DE", "unknown-field", "did you mean `country`?"),
    ("customer", "«birthdy» is set", "unknown-field", "did you mean `birthday`?"),
    ("customer", "«account.anual_value» > 5", "unknown-field", "did you mean `account.annual_value`?"),
    ("customer", "«acount.status» == active", "unknown-field", "did you mean `account.status`?"),
    ("customer", "«annual_value» > 5", "unknown-field", "did you mean `account.annual_value`?"),
    ("customer", "«order_placed»", "unknown-field", "write count(order_placed, 90 days) >= 1, or never(order_placed)"),
    ("customer", "«contract» is set", "unknown-field", "write any(contract where …)"),
    ("customer", "«contract.ends» is in past", "not-in-scope", "write any(contract where ends …)"),
    (
        "customer",
        "«order_placed.amount» > 5 EUR",
        "not-in-scope",
        "write last(order_placed.amount), or sum, min, max, avg",
    ),
    ("customer", "«event.amount» > 5 EUR", "not-in-scope", "only a journey with an event trigger has `event`"),
    ("customer", "«value.band» in [top, big]", "unknown-field", UNDECLARED),
    ("customer", "«points»(365 days) > 500", "unknown-function", UNDECLARED),
    ("customer", "«account.points» > 500", "unknown-field", UNDECLARED),
    ("customer", '«badge»("critic")', "unknown-function", UNDECLARED),
    ("loyal", "«pionts» > 500", "unknown-field", "did you mean `points`?"),
    ("loyal", "«value.bnad» == top", "unknown-field", "did you mean `value.band`?"),
    ("loyal", "«value» == top", "unknown-field", VALUES),
    ("loyal", "«account.points.pendin» > 5", "unknown-field", "did you mean `account.points.pending`?"),
    ("loyal", "«balance» > 5", "unknown-field", "did you mean `points`?"),
    ("loyal", "«benefits» is set", "unknown-field", "benefits are for texts; ask for the tier, as `tier >= gold`"),
    ("loyal", "«badge» == critic", "unknown-field", 'write badge("its-name")'),
    ("loyal", 'badge(«"critik"»)', "unknown-badge", "did you mean `critic`?"),
    ("loyal", "«badge()»", "bad-condition", 'write badge("its-name")'),
    ("loyal", "value.band == «botom»", "unknown-choice", BANDS_THERE_ARE),
    ("loyal", "membership.state == «actve»", "unknown-choice", "did you mean `active`?"),
    ("loyal", "«points()» > 5", "bad-condition", "write points(365 days); points alone is the balance"),
    ("loyal", "points(«order_placed») > 5", "bad-condition", "write for example `90 days`"),
    ("loyal", "points(365 «dayz») > 5", "bad-condition", "did you mean `days`?"),
    ("loyal", "value.clv > 500 and «points > 3 EUR»", "type-mismatch", "write money as `500 EUR`"),
    ("loyal", "«points»", "type-mismatch", "compare it, for example with `>= 1`"),
    ("loyal", "«pionts»(365 days) > 5", "unknown-function", "did you mean `points`?"),
    ("customer", "count(«order_place») >= 1", "unknown-event", "did you mean `order_placed`?"),
    ("customer", "never(«ordr_placed»)", "unknown-event", "did you mean `order_placed`?"),
    ("customer", "any(«contrct» where auto_renew)", "unknown-record", "did you mean `contract`?"),
    ("customer", "sum(«order_placed.amnt») > 5 EUR", "unknown-field", "did you mean `order_placed.amount`?"),
    ("customer", "any(contract where «endss» is in past)", "unknown-field", "did you mean `ends`?"),
    ("customer", "«cuont»(order_placed) > 1", "unknown-function", "did you mean `count`?"),
    ("customer", 'in segment(«"vip-clubb"»)', "unknown-segment", "did you mean `vip-club`?"),
    ("customer", "in segment(«3»)", "bad-condition", 'write in segment("its-name")'),
    ("customer", "class == «b2x»", "unknown-class", "did you mean `b2c`?"),
    ("customer", "class in [b2c, «b2bb»]", "unknown-class", "did you mean `b2b`?"),
    ("customer", "tier >= «god»", "unknown-tier", "did you mean `gold`?"),
    ("customer", "tier in [gold, «silvr»]", "unknown-tier", "did you mean `silver`?"),
    ("customer", "class == b2b and «tier >= gold»", "unknown-tier", "one of: `preferred`, `standard`, `strategic`"),
    (
        "customer",
        "class == b2b and (tier == standard or country == DE) and «tier != bronze»",
        "unknown-tier",
        "one of: `preferred`, `standard`, `strategic`",
    ),
    ("customer", "shirt == «xl»", "unknown-choice", "one of: `m`, `s`, `x-large`"),
    ("customer", 'shirt == «"xl"»', "unknown-choice", "one of: `m`, `s`, `x-large`"),
    ("customer", "country == «de»", "unknown-choice", "did you mean `DE`?"),
    ("customer", "country in [DE, «Austria»]", "unknown-choice", "a country is two capital letters, as in DE"),
    ("customer", "joined == «2027-02-31»", "type-mismatch", "write a day as 2027-01-31"),
    ("customer", 'joined == «"last year"»', "type-mismatch", "write a day as 2027-01-31"),
    ("customer", "«joined > 5»", "type-mismatch", "write a day as 2027-01-31, or ask `is within last 90 days`"),
    ("customer", '«seats == "five"»', "type-mismatch", ""),
    ("customer", "«seats > 5 EUR»", "type-mismatch", "write money as `500 EUR`"),
    ("customer", "«account.annual_value > seats»", "type-mismatch", "write money as `500 EUR`"),
    ("customer", "«vip > yes»", "type-mismatch", "compare with `==` or `!=`"),
    ("customer", "vip == «maybe»", "type-mismatch", "write `yes` or `no`"),
    ("customer", "«seats»", "type-mismatch", "compare it, for example with `>= 1`"),
    ("customer", "«country»", "type-mismatch", "compare it with `==`, or ask `is set`"),
    ("customer", "«count(order_placed)»", "type-mismatch", "compare it, for example with `>= 1`"),
    ("customer", "«last(order_placed)»", "type-mismatch", "ask `is within last 90 days`, `is in past` or `is set`"),
    ("customer", "«class < b2c»", "type-mismatch", "compare with `==` or `!=`"),
    ("customer", "«seats» is in past", "type-mismatch", "past, future and `within` are asked of dates and instants"),
    ("customer", "joined is within last «3 hours»", "type-mismatch", "count in days, weeks, months or years"),
    (
        "customer",
        "joined is within last 3 «fortnights»",
        "bad-condition",
        "one of: `days`, `hours`, `minutes`, `months`, `weeks`, `years`",
    ),
    (
        "customer",
        "joined is more than «0 days» ago",
        "bad-condition",
        "write a whole number from 1, up to a hundred years",
    ),
    (
        "customer",
        "joined is more than «900 years» ago",
        "bad-condition",
        "write a whole number from 1, up to a hundred years",
    ),
    ("customer", "days_since(«seats») > 3", "type-mismatch", ""),
    (
        "customer",
        "days_since(last(order_placed)) > «60 days»",
        "type-mismatch",
        "days_since(…) is a number: write `60`; of a date, ask `is more than 60 days ago`",
    ),
    ("customer", "«days_since()» > 3", "bad-condition", "write days_since(last(some_event))"),
    (
        "customer",
        "«joined» - 30 > 5",
        "type-mismatch",
        "of dates, ask `is within next 90 days` or `is more than 90 days ago`",
    ),
    ("customer", "«sum(order_placed)» > 5", "bad-condition", "write for example sum(order_placed.amount)"),
    ("customer", "«sum(order_placed.channel)» > 5", "type-mismatch", ""),
    ("customer", "«count(order_placed.amount)» > 5", "bad-condition", "write count(order_placed)"),
    ("customer", "«last(contract)» is set", "bad-condition", "use min or max of a field"),
    ("customer", "count(contract, «90 days») > 1", "bad-condition", "write `where FIELD is within last 90 days`"),
    ("customer", "count(order_placed, «90») > 1", "bad-condition", "write for example `90 days`"),
    (
        "customer",
        "count(order_placed, «90 days where gift») > 1",
        "bad-condition",
        "the `where` stands before the comma",
    ),
    ("customer", "count(«90 days») > 1", "bad-condition", "name one"),
    (
        "customer",
        "«count(order_placed, 90 days, 30 days)» > 1",
        "bad-condition",
        "write for example count(some_event, 90 days)",
    ),
    ("customer", "«all(contract)»", "bad-condition", "write all(contract where …)"),
    ("customer", "«any(order_placed.amount)»", "bad-condition", "leave the property out"),
    ("customer", "«500 EUR > 400 USD»", "mixed-currency", "use one currency"),
    ("customer", "budget > «5 EUR + 3 USD»", "mixed-currency", "use one currency"),
    ("customer", "budget > 500 «EURO»", "unknown-currency", "a currency is three capital letters, such as EUR"),
    ("customer", "budget > 500 «eur»", "unknown-currency", "did you mean `EUR`?"),
    ("customer", "budget > «0.001 EUR»", "type-mismatch", "round the amount"),
    ("customer", "«budget * budget» > 5", "type-mismatch", "money can be added to money and multiplied by a number"),
    ("customer", "«5 / budget» > 5", "type-mismatch", "money can be added to money and multiplied by a number"),
    ("customer", "«budget + seats» > 5 EUR", "type-mismatch", "money can be added to money and multiplied by a number"),
    ("customer", "seats / «0» > 5", "bad-condition", ""),
    ("customer", "seats > «1000000000000000»", "bad-condition", "numbers go up to 15 digits"),
    ("customer", "«(seats > 5)» == (vip)", "type-mismatch", "join conditions with `and` and `or`"),
    ("customer", "seats in «[]»", "bad-condition", "name at least one value"),
    ("customer", 'seats in [1, «"two"»]', "type-mismatch", ""),
    (
        "customer",
        "city in [Berlin, «joined»]",
        "bad-condition",
        "compare with `==`, joined by `or`; if it is a text, put it in quotation marks",
    ),
    (
        "customer",
        "«any contact(email is set)»",
        "not-in-scope",
        "any contact(…) is asked of accounts: here, name the field itself",
    ),
    ("customer", "«opened(email:hello)»", "not-in-scope", "ask it in a journey's steps"),
    ("customer", "«tier > account.tier»", "type-mismatch", "compare with one by name"),
    ("account", "«email» is set", "not-in-scope", "write any contact(email …)"),
    ("account", "«customer.email» is set", "not-in-scope", "write any contact(email …)"),
    ("account", "«all contact(email is set)»", "bad-condition", "write any contact(…)"),
    ("account", "any contact(«emal» is set)", "unknown-field", "did you mean `email`?"),
    ("account", "any(contract where «any contact(email is set)»)", "not-in-scope", "ask it beside, joined by `and`"),
    ("journey", "opened(«email:helo»)", "unknown-step", "did you mean `email:hello`?"),
    ("journey", "«opened()»", "bad-condition", "write opened(email:some-letter)"),
    ("journey", "any contact(«opened(email:hello)»)", "not-in-scope", "ask it beside, joined by `and`"),
    ("journey", "«event.amnt» > 5 EUR", "unknown-field", "did you mean `event.amount`?"),
    ("journey", "«contract.endss» is in past", "unknown-field", "did you mean `contract.ends`?"),
    ("customer", "«»", "bad-condition", "say what has to be true, or leave the key out"),
    ("customer", "seats «=» 5", "bad-condition", "compare with `==`"),
    ("customer", "seats > 5 «&&» vip", "bad-condition", "write `and`"),
    ("customer", "seats > 5 «AND» vip", "bad-condition", "write it small: `and`"),
    ("customer", "«!»vip", "bad-condition", "write `not`"),
    ("customer", "seats «<>» 5", "bad-condition", "compare with `!=`"),
    ("customer", "1 < seats «<» 5", "bad-condition", "comparisons do not chain: join two with `and`"),
    ("customer", "seats «>» ", "bad-condition", "expected a field or value"),
    ("customer", "(seats > «5»", "bad-condition", "expected `)`"),
    ("customer", "seats > 5«)»", "bad-condition", "there is one `)` too many"),
    ("customer", 'city == «"Berlin»', "bad-condition", "the closing quotation mark is missing"),
    ("customer", "city is «null»", "bad-condition", "write `is not set`"),
    (
        "customer",
        'city «contains» "B"',
        "bad-condition",
        "a text can be compared whole, with `==` or `in [A, B]`, not searched",
    ),
    ("customer", "country in «DE»", "bad-condition", "a list stands in square brackets: `in [DE]`"),
    ("customer", "vip «{{» x }}", "bad-condition", "conditions know no template syntax: name the field plainly"),
    ("customer", "seats is «5»", "bad-condition", "expected `in`, `set`, `within`, `more than` or `less than`"),
    ("customer", "joined is within «30» days", "bad-condition", "expected `next` or `last`"),
    ("customer", "joined is more than 30 day«s»", "bad-condition", "expected `ago`"),
    ("customer", "seats > 5 seats «<» 9", "bad-condition", "comparisons do not chain: join two with `and`"),
    ("customer", "city == «“»Berlin”", "bad-condition", 'use straight quotation marks: "…"'),
    ("customer", "budget > «€»500", "bad-condition", "write the currency behind the number: `500 EUR`"),
    ("customer", 'in «segments»("vip-club")', "bad-condition", "expected `segment`"),
    ("customer", "«if» vip", "bad-condition", "a condition needs no `if`: begin with what is compared"),
    ("customer", "vip o«r»", "bad-condition", "expected a field or value"),
    (
        "customer",
        "vip «android»",
        "bad-condition",
        "expected `and` or `or`, a comparison such as `==`, `is`, `in` or the end",
    ),
    (
        "customer",
        "city is «settled»",
        "bad-condition",
        "write `==` to compare, or `is set`, `is in past`, `is within next 30 days`, `is more than 30 days ago`",
    ),
    (
        "customer",
        "seats > 5 and vip «orbit»",
        "bad-condition",
        "expected `and` or `or`, a comparison such as `==`, `is`, `in` or the end",
    ),
]


@pytest.mark.parametrize(("where", "marked", "code", "hint"), WRONG, ids=[w[1] for w in WRONG])
def test_a_mistake_is_told_once_at_its_place_with_a_hint(where: str, marked: str, code: str, hint: str) -> None:
    text = marked.replace("«", "").replace("»", "")
    start, end = marked.index("«"), marked.index("»") - 1
    problems = Problems()
    # As in a file: line 7, a plain scalar from column 11.
    found = parse(
        text,
        Span("j.yaml", 7, 11, 7, 11 + len(text)),
        SCOPES[where],
        LOYAL if where == "loyal" else VOCABULARY,
        problems,
    )
    assert found is None
    assert [(p.code, p.hint) for p in problems.found] == [(code, hint)]
    span = problems.found[0].span
    assert (span.line, span.col, span.end_col) == (7, 11 + start, 11 + max(end, start + 1))
    assert problems.found[0].message and "Token" not in problems.found[0].message
