"""Pieces and slots print what plain Jinja prints, byte for byte; what is the same for everybody is no slot."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from babel.numbers import format_currency, format_decimal
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orchestrator.jinja import MissingValue, Sandbox, Scope, money, number
from orchestrator.skeleton import Part, RenderFailed, compile_parts
from tests.templates.declared import CONTEXT

CONSTANTS = {"workspace": {"name": "acme", "sender": {"postal_address": "A & B <c>"}}}
PLAIN = Sandbox(CONSTANTS)
ESCAPED = Sandbox(CONSTANTS, autoescape=True)


def vanilla(escape: bool) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=escape, trim_blocks=True, lstrip_blocks=True
    )


def compiled(source: str, *, escape: bool = True, **options: Any):
    return compile_parts(Sandbox(CONSTANTS, **options), [Part("html", source, escape=escape)], "en")


# ---------------------------------------------------------------------------------------------- generated sources

NAMES = ["customer.first_name", "customer.last_name", "account.name", "tier", "points", "workspace.name", "x", "y"]
FILTERS = ["upper", "lower", "capitalize", "title", "length", "string", "trim", "escape", "default('d')"]
LITERALS = st.text("ab<&>\"' \n\t,.äß€", max_size=6)


def expressions(names: list[str]) -> st.SearchStrategy[str]:
    base = st.one_of(
        st.sampled_from(names),
        st.sampled_from(["'a<b'", '"&"', "1", "2.5", "true", "workspace.sender.postal_address"]),
        st.builds(lambda name, f: f"{name}|string|{f}", st.sampled_from(names), st.sampled_from(FILTERS)),
    )
    return st.one_of(
        base,
        st.builds(lambda a, b: f"{a} ~ {b}", base, base),
        st.builds(lambda a, b: f"({a} if {b} else 'no')", base, base),
        st.builds(lambda a: f"{a} == 'gold'", base),
    )


def sources(names: list[str], depth: int) -> st.SearchStrategy[str]:
    """Templates: text, outputs, `set`, `if`, `for`, `with`, nested, with and without whitespace control."""
    dash = st.sampled_from(["", "", "-"])
    output = st.builds(lambda a, e, b: f"{{{{{a} {e} {b}}}}}", dash, expressions(names), dash)
    assign = st.builds(
        lambda n, e: f"{{% set {n} = {e} %}}", st.sampled_from(["x", "y"]), expressions(names)
    )  # a `set` at the top changes what comes after it
    leaf = st.one_of(LITERALS, LITERALS, output, output, assign)
    if depth == 0:
        return st.lists(leaf, max_size=4).map("".join)
    inner = sources(names, depth - 1)
    looped = sources([*names, "i", "loop.index"], depth - 1)
    blocks = st.one_of(
        st.builds(lambda e, a, b: f"{{% if {e} %}}{a}{{% else %}}{b}{{% endif %}}", expressions(names), inner, inner),
        st.builds(lambda a, b: f"{{% for i in benefits %}}{a}{{% else %}}{b}{{% endfor %}}", looped, inner),
        st.builds(lambda e, a: f"{{% with x = {e} %}}{a}{{% endwith %}}", expressions(names), inner),
        st.builds(lambda a: f"{{% set y %}}{a}{{% endset %}}", inner),
        st.builds(lambda a: f"{{% filter upper %}}{a}{{% endfilter %}}", inner),
        st.builds(lambda d, a: f"{{%{d} if tier {d}%}}\n  {a}\n{{% endif %}}\n", dash, inner),
    )
    return st.lists(st.one_of(leaf, blocks), max_size=5).map("".join)


TEMPLATES = sources(NAMES, 2).map(lambda body: "{% set x = 'X' %}{% set y = tier %}" + body)
VALUES = st.text("ab<&>\"' \näß{%", max_size=5)
CONTEXTS = st.fixed_dictionaries(
    {
        "customer": st.fixed_dictionaries({"first_name": VALUES, "last_name": VALUES}),
        "account": st.fixed_dictionaries({"name": VALUES}),
        "tier": st.sampled_from(["gold", "", "<b>"]),
        "points": st.integers(-5, 5),
        "benefits": st.lists(VALUES, max_size=3),
        "workspace": st.just(CONSTANTS["workspace"]),
    }
)


@given(
    st.lists(st.tuples(TEMPLATES, st.booleans()), min_size=1, max_size=3), st.lists(CONTEXTS, min_size=1, max_size=2)
)
def test_slots_in_pieces_are_what_plain_jinja_renders(texts: list[tuple[str, bool]], contexts: list[dict[str, Any]]):
    parts = [Part(f"part{n}", source, escape=escape) for n, (source, escape) in enumerate(texts)]
    made = compile_parts(PLAIN, parts, "en")
    for context in contexts:
        expected = {p.name: vanilla(p.escape).from_string(p.source).render(context) for p in parts}
        assert made.render(context) == expected


@given(TEMPLATES, CONTEXTS, st.booleans())
def test_money_and_dates_are_the_same_in_slots_and_in_plain_rendering(body: str, context: dict[str, Any], escape: bool):
    source = "{{ contract.value | money }} {{ contract.ends | date('full') }}" + body + "{{ points | number }}"
    context |= {"contract": CONTEXT["contract"]}
    made = compile_parts(PLAIN, [Part("html", source, escape=escape)], "en")
    assert made.render(context)["html"] == (ESCAPED if escape else PLAIN).from_string(source).render(context)


# --------------------------------------------------------------------------------------------------- what is a slot


def test_what_is_the_same_for_everybody_is_a_piece():
    made = compiled("<p>{{ workspace.name }}, {{ workspace.sender.postal_address }}{{ 1 }}{{ 'a' | upper }}</p>")
    assert made.skeleton.parts["html"] == ("<p>acme, A &amp; B &lt;c&gt;1A</p>",)
    assert made.slots({}) == ()


def test_identical_expressions_share_a_slot_within_and_across_parts():
    text = "Hi {{ customer.first_name }}, {{ customer.first_name }}! {% if tier %}{{ tier }}{% endif %}"
    parts = [Part("subject", text), Part("text", text + "{{ customer.first_name }}"), Part("html", text, escape=True)]
    made = compile_parts(PLAIN, parts, "en")
    assert made.skeleton.slots["subject"] == (0, 0, 1)
    assert made.skeleton.slots["text"][:2] == (0, 0)
    assert made.skeleton.slots["html"] == (3, 3, 4), "escaped is another value"
    assert made.slots({"customer": {"first_name": "<A>"}, "tier": "t"}) == ("<A>", "t", "t<A>", "&lt;A&gt;", "t")


def test_a_run_of_dynamic_output_is_one_slot():
    made = compiled("a{{ tier }}{{ points }}{% for b in benefits %}{{ b }}{% endfor %}z")
    assert made.skeleton.slots["html"] == (0,)
    assert made.slots({"tier": 1, "points": 2, "benefits": [3, 4]}) == ("1234",)


def test_a_name_set_in_between_keeps_two_slots_apart():
    made = compiled("{% set x = tier %}{{ x }}-{% set x = points %}{{ x }}")
    assert made.render({"tier": "a", "points": "b"}) == {"html": "a-b"}


def test_what_one_part_sets_is_not_seen_by_the_next():
    parts = [Part("subject", "{% set tier = 'no' %}{{ tier }}"), Part("text", "{{ tier }}")]
    assert compile_parts(PLAIN, parts, "en").render({"tier": "yes"}) == {"subject": "no", "text": "yes"}


def test_recipients_share_one_skeleton_object_and_its_hash_is_its_content():
    made = compiled("Hi {{ tier }}")
    assert made.for_locale("de_AT").skeleton is made.skeleton
    assert compiled("Hi {{ tier }}").skeleton.hash == made.skeleton.hash
    assert compiled("Ho {{ tier }}").skeleton.hash != made.skeleton.hash


def test_a_batch_goes_on_after_a_recipient_that_fails():
    made = compiled("{{ customer.first_name }} {{ points * 2 }}")
    good = {"customer": {"first_name": "A"}, "points": 1}
    results = list(made.slots_many([good, {**good, "customer": {}}, {**good, "points": "x"}, good]))
    assert results[0] == results[3] == ("A", "2")
    assert isinstance(results[1], MissingValue) and results[1].name == "customer.first_name"
    assert isinstance(results[2], RenderFailed)


# ------------------------------------------------------------------------------------------------- numbers and dates


def context(sandbox: Sandbox, locale: str, **names: Any) -> Scope:
    scope = Scope(sandbox, names, None, {})
    scope.locale = locale
    return scope


LOCALES = [
    "en",
    "en_US",
    "en_IN",
    "de",
    "de_AT",
    "de_CH",
    "fr",
    "fr_CA",
    "es",
    "pl",
    "pt_PT",
    "it",
    "sv",
    "ja",
    "ar",
    "hi",
]


@given(st.integers(-(10**12), 10**12), st.sampled_from(LOCALES), st.sampled_from(["EUR", "USD", "JPY", "KWD", "CHF"]))
def test_money_is_written_as_babel_writes_it(minor: int, locale: str, currency: str):
    places = {"JPY": 0, "KWD": 3}.get(currency, 2)
    wanted = format_currency(Decimal(minor).scaleb(-places), currency, locale=locale)
    assert money(context(PLAIN, locale), minor, currency) == wanted
    assert number(context(PLAIN, locale), minor) == format_decimal(minor, locale=locale)


def test_money_knows_its_own_currency_and_falls_back_to_the_workspaces():
    made = compiled("{{ event.amount | money }}|{{ event.tip | money }}|{{ points | money('JPY') }}", currency="USD")
    values = {"event": {"amount": 123456, "amount_currency": "EUR", "tip": 50}, "points": 700}
    assert made.render(values) == {"html": "€1,234.56|$0.50|¥700"}
    assert "event.amount_currency" in made.names


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ contract.ends | date }}", "10. April 2027"),
        ("{{ contract.ends | date('short') }}", "10.04.27"),
        ("{{ contract.ends | date('EEEE') }}", "Samstag"),
        ("{{ event.placed | date }}", "11. Januar 2027"),  # 23:30 UTC is the next day in Berlin
        ("{{ 1234.5 | number }}", "1.234,5"),
        ("{{ 1234.5 | number(2) }}", "1.234,50"),
        ("{{ points.balance | number }}", "120"),
    ],
)
def test_dates_and_numbers_by_the_readers_locale_and_zone(source: str, expected: str):
    assert compiled(source).for_locale("de").render(CONTEXT) == {"html": expected}


def test_an_instant_is_a_day_of_the_workspace_for_a_customer_without_a_zone():
    values = {**CONTEXT, "customer": {}}
    assert compiled("{{ event.placed | date }}").render(values) == {"html": "January 10, 2027"}
    assert compiled("{{ event.placed | date }}", timezone="Asia/Tokyo").render(values) == {"html": "January 11, 2027"}
