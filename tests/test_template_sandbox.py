"""What a text may do to us, and a customer's data to a text: nothing lasting, nothing large, nothing unescaped."""

from __future__ import annotations

from typing import Any

import pytest
from markupsafe import escape

from orchestrator.jinja import LOOPS, MissingValue, Sandbox
from orchestrator.skeleton import Part, RenderFailed, compile_parts
from tests.templates.declared import CONTEXT, load

ATTACK = "<script>alert(1)</script>\"'&"


def make(source: str, *, name: str = "text", escape: bool = False, blank: bool = False, **options: Any):
    return compile_parts(Sandbox({}, blank=blank), [Part(name, source, escape=escape, **options)], "en")


# --------------------------------------------------------------------------------------------------------- escaping


def test_a_customers_markup_is_text_in_html_and_itself_elsewhere():
    sandbox = Sandbox({})
    source = '<p title="{{ customer.first_name }}">{{ customer.first_name }}</p>'
    made = compile_parts(sandbox, [Part("html", source, escape=True), Part("text", source)], "en")
    got = made.render({"customer": {"first_name": ATTACK}})
    assert "<script>" not in got["html"] and "&lt;script&gt;" in got["html"] and '"><' not in got["html"]
    assert ATTACK in got["text"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ customer.first_name | upper }}",
        "{{ customer.first_name ~ '!' }}",
        "{{ 'a' ~ customer.first_name }}",
        "{{ customer.first_name | default('x') }}",
        "{{ [customer.first_name, 'b'] | join('<br>') }}",
        "{{ customer.first_name | replace('1', '<b>') }}",
        "{% set x = customer.first_name %}{{ x }}",
        "{% set x %}{{ customer.first_name }}{% endset %}{{ x }}",
        "{% for c in [customer.first_name] %}{{ c }}{% endfor %}",
        "{{ customer.first_name | e }}",
    ],
)
def test_no_filter_takes_the_escaping_off(source: str):
    got = make(source, name="html", escape=True).render({"customer": {"first_name": ATTACK}})["html"]
    assert "<script" not in got.lower() and "&lt;script" in got.lower()


def test_data_is_never_a_template():
    got = make("{{ customer.first_name }}").render({"customer": {"first_name": "{{ 7 * 7 }}{% if %}"}})
    assert got == {"text": "{{ 7 * 7 }}{% if %}"}


@pytest.mark.parametrize("bad", ["\n", "\r", "\x00", "\u2028", "\u2029", "\x85", "\x1b", "\r\nBcc: x@example.com"])
@pytest.mark.parametrize("part", ["subject", "title"])
def test_a_header_stays_one_line(part: str, bad: str):
    made = make("Hi {{ customer.first_name }}", name=part, line=True)
    with pytest.raises(RenderFailed, match="line break or a control character") as failed:
        made.render({"customer": {"first_name": f"Ana{bad}"}})
    assert "Ana" not in failed.value.reason


def test_a_body_may_have_lines():
    assert make("Hi {{ tier }}").render({"tier": "a\nb"}) == {"text": "Hi a\nb"}


# ---------------------------------------------------------------------------------------------------------- missing


@pytest.mark.parametrize("given", [{"customer": {"first_name": None}}, {"customer": {}}, {"customer": None}, {}])
@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("{{ customer.first_name | default('you') }}", "you"),
        ("{{ customer.first_name | d('you') | upper }}", "YOU"),
        ("{% if customer.first_name %}a{% else %}b{% endif %}", "b"),
        ("{% if customer.first_name is defined %}a{% else %}b{% endif %}", "b"),
        ("{% if customer.first_name is none %}a{% else %}b{% endif %}", "a"),
        ("{% if customer.first_name == 'x' %}a{% else %}b{% endif %}", "b"),
        ("{% if customer.first_name in ['x'] %}a{% else %}b{% endif %}", "b"),
        ("{{ customer.first_name | date | default('soon') }}", "soon"),
        ("{{ customer.first_name | money | default('-') }}", "-"),
    ],
)
def test_none_counts_as_missing_and_missing_is_false(given: dict[str, Any], source: str, printed: str):
    assert make(source).render(given) == {"text": printed}


MISSING_USES = [
    "{{ customer.first_name }}",
    "{{ customer.first_name | upper }}",
    "{{ customer.first_name | date }}",
    "{{ customer.first_name | money }}",
    "{{ customer.first_name | number }}",
    "{{ customer.first_name.upper() }}",
    "{{ 'a' ~ customer.first_name }}",
    "{{ customer.first_name | length }}",
    "{{ customer.first_name | int }}",
    "{{ customer['first_name'] }}",
    "{% if customer.first_name > 3 %}a{% endif %}",
    "{% for x in customer.first_name %}{{ x }}{% endfor %}",
    "{% set x = customer.first_name %}{{ x }}",
]


@pytest.mark.parametrize("given", [{"customer": {"first_name": None}}, {"customer": {}}])
@pytest.mark.parametrize("source", MISSING_USES)
def test_what_is_missing_is_never_printed_as_something(given: dict[str, Any], source: str):
    with pytest.raises(MissingValue) as gone:
        make(source).slots(given)
    assert gone.value.name == "customer.first_name"


@pytest.mark.parametrize("source", MISSING_USES)
def test_where_the_template_says_default_what_is_missing_prints_nothing(source: str):
    made = make(source, blank=True)
    if "int" in source or ">" in source:  # a number cannot be made up
        with pytest.raises(MissingValue):
            made.slots({"customer": {"first_name": None}})
    else:
        printed = {"{{ 'a' ~ customer.first_name }}": "a", "{{ customer.first_name | length }}": "0"}
        assert made.render({"customer": {"first_name": None}})["text"] == printed.get(source, "")


def test_a_missing_whole_and_a_value_that_is_not_one():
    with pytest.raises(MissingValue, match=r"^tier$"):
        make("{{ tier }}").slots({"tier": None})
    with pytest.raises(MissingValue, match=r"account\.name"):
        make("{{ account.name }}").slots({"account": None})
    with pytest.raises(RenderFailed, match="customer"):
        make("{{ customer }}").slots(CONTEXT)


FAILING = [
    "{{ customer.first_name | date }}",
    "{{ customer.first_name | money }}",
    "{{ customer.first_name * 2 }}",
    "{{ customer.first_name % 1 }}",
    "{{ 1 + customer.first_name }}",
    "{{ benefits[customer.first_name] }}",
    "{{ {'a': 1}[customer.first_name] }}",
]


def test_no_error_quotes_a_value():
    secret = "Zebedee"
    for source in FAILING:
        with pytest.raises((RenderFailed, MissingValue)) as failed:
            make(source).slots({"customer": {"first_name": secret}, "benefits": ["a"]})
        chain = failed.getrepr(style="native", chain=True, showlocals=False)
        assert secret not in str(failed.value) and secret not in repr(failed.value.args)
        assert failed.value.__cause__ is None and failed.value.__suppress_context__, chain


# ----------------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 30000000 }}",
        "{{ 30000000 * 'x' }}",
        "{{ [1] * 30000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ (10 ** 16) ** 16 }}",
        "{{ '%30000000d' % 1 }}",
        "{{ 'x'.ljust(20000000) }}",
        "{{ 'x'.center(20000000) }}",
        "{{ 'x'.zfill(20000000) }}",
        "{{ '{:>20000000}'.format(1) }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ 'x'.join(['a', 'b']) }}",
        "{{ 'a'.replace('a', 'b') }}",
        "{{ (1).to_bytes(1000000000, 'big') }}",
        "{{ range(100000000) | list | length }}",
        "{{ 1.5 | round(400000000) }}",
        "{{ [1] | batch(100000000, 'x') | list }}",
        "{{ 'a' | replace('a', 'b' ~ range(900) | join('')) }}",
        "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% endfor %}" + "{% endfor %}" * 2,
        "{% for a in range(900) %}{% for b in range(9) %}{{ big }}{% endfor %}{% endfor %}",
        "{% set a = big ~ big %}{% set a = a ~ a %}{% set a = a ~ a %}{% set a = a ~ a %}{% set a = a ~ a %}{{ a }}",
        "{{ customer.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ range.__globals__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ cycler }}",
        "{{ customer.pop('first_name') }}",
        "{{ benefits.append(1) }}",
        "{{ self }}",
        "{{ customer.first_name.encode() }}",
    ],
)
def test_what_would_fill_the_machine_or_leave_the_sandbox_fails_at_once(source: str):
    context: dict[str, Any] = {**CONTEXT, "big": "x" * 50_000}
    with pytest.raises((RenderFailed, MissingValue)):
        make(source, cap=500_000).slots(context)
    assert context["customer"]["first_name"] == "Ana" and "benefits" in context


@pytest.mark.parametrize(
    "filter", ["safe", "xmlattr", "urlize", "tojson", "pprint", "random", "center", "indent", "format"]
)
def test_filters_that_take_bounds_or_escaping_away_are_not_there(filter: str):
    assert filter not in Sandbox({}).filters


def test_loops_have_one_budget_a_message():
    made = make("{% for a in benefits %}{% for b in benefits %}.{% endfor %}{% endfor %}")
    many = int(LOOPS**0.5) - 1
    assert len(made.render({"benefits": [1] * many})["text"]) == many**2
    with pytest.raises(RenderFailed, match="OverflowError"):
        made.slots({"benefits": [1] * (many + 2)})
    assert len(made.render({"benefits": [1] * many})["text"]) == many**2, "the budget is the message's own"


@pytest.mark.parametrize(("cap", "value"), [(160, "x" * 150), (160, "€" * 150), (5_000, "€" * 1_600)])
def test_a_part_is_capped_in_characters_when_small_and_in_bytes_when_large(cap: int, value: str):
    made = make("0123456789{{ tier }}", cap=cap)
    assert len(made.render({"tier": value})["text"]) == 10 + len(value)
    with pytest.raises(RenderFailed, match=f"text: longer than {cap:,}"):
        made.slots({"tier": value + value[:100]})


def test_the_caps_of_all_parts_are_kept():
    parts = [Part("subject", "{{ tier }}", cap=20), Part("text", "{{ tier }}{{ points }}{{ tier }}")]
    made = compile_parts(Sandbox({}), parts, "en")
    assert made.render({"tier": "x" * 20, "points": "y" * 400})["subject"] == "x" * 20
    with pytest.raises(RenderFailed, match="subject: longer than 20"):
        made.slots({"tier": "x" * 21, "points": ""})


def test_a_text_too_long_to_be_made_says_so():
    source = "{% for a in range(900) %}{% for b in range(9) %}{{ big }}{% endfor %}{% endfor %}"
    with pytest.raises(RenderFailed, match="text: longer than allowed"):
        make(source).slots({"big": "x" * 50_000})


# ------------------------------------------------------------------------------------- where escaping does not help


def page(body: str, head: str = "") -> str:
    column = f"<mj-body><mj-section><mj-column>{body}</mj-column></mj-section></mj-body>"
    return f"---\nsubject: Hi\ntopic: offers\n---\n<mjml>{head}{column}</mjml>\n"


@pytest.mark.parametrize(
    ("path", "text", "code"),
    [
        ("email/a.mjml", page("<mj-raw><script>var x = '{{ tier }}'</script></mj-raw>"), "misplaced-tag"),
        ("email/a.mjml", page("<mj-text><a href='x' onclick='go({{ tier }})'>x</a></mj-text>"), "misplaced-tag"),
        ("email/a.mjml", page("<mj-raw><style>a { color: {{ tier }} }</style></mj-raw>"), "misplaced-jinja"),
        ("email/a.mjml", page("<mj-text>x</mj-text>", "<mj-head><mj-style>a{b:{{ tier }} }</mj-style></mj-head>"),
         "misplaced-jinja"),
        ("mail/a.html", "---\ntopic: offers\n---\n<p>x</p><script>{{ tier }}</script>", "misplaced-tag"),
        ("mail/a.html", "---\ntopic: offers\n---\n<style>p { color: {{ tier }} }</style><p>x</p>", "misplaced-jinja"),
    ],
)  # fmt: skip
def test_no_value_stands_where_escaping_does_not_help(path: str, text: str, code: str):
    _, problems = load({path: text})
    assert [p.code for p in problems.errors] == [code]


@pytest.mark.parametrize("quoted", ['<a href="{{ tier }}">x</a>', '<img src="{{ tier | default("x") }}" alt="x">'])
def test_an_address_that_runs_a_program_is_not_sent(quoted: str):
    texts, problems = load(
        {"email/a.mjml": page(f"<mj-text>{quoted}</mj-text><mj-button href='{{{{ tier }}}}'>y</mj-button>")}
    )
    made = texts.get("email", "a")
    assert made is not None, problems.found
    for good in ("https://example.com/?a=b&c=d:e", "/basket", "mailto:a@example.com", "tel:+491"):
        assert escape(good) in made.compiled("en").render({"tier": good})["html"]
    for bad in (
        "javascript:alert(1)",
        "JaVa\tScript:alert(1)",
        " \x01javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
    ):
        with pytest.raises(RenderFailed, match="ValueError in an expression over tier"):
            made.compiled("en").render({"tier": bad})


def test_a_notice_opens_no_program_either():
    head = 'topic: offers\ntitle: x\nbody: y\nurl: "{{ tier }}?a=1"\n'
    made = load({"push/a.yaml": head})[0].get("push", "a")
    assert made is not None
    assert made.compiled("en").render({"tier": "https://example.com/"})["url"] == "https://example.com/?a=1"
    with pytest.raises(RenderFailed):
        made.compiled("en").render({"tier": "javascript:alert(1)//"})


def test_our_own_links_cost_nothing_more():
    texts, _ = load({"email/a.mjml": page('<mj-text><a href="{{ links.unsubscribe }}">x</a></mj-text>')})
    made = texts.get("email", "a")
    assert made is not None and "_address" not in "".join(p.source for p in made.compiled("en").parts)
