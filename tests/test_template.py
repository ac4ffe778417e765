"""Texts as they are loaded: e-mail pages and their text part, locales, includes, push and letters, the starter set."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import StrictUndefined
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from mjml import mjml2html

from channels.base import Medium, Outbound
from orchestrator.jinja import MissingValue, Sandbox
from orchestrator.mjml import Masked, page_text
from orchestrator.model import (
    Vocabulary,
)
from orchestrator.problems import Problems, Span
from orchestrator.project import load as load_workspace
from orchestrator.template import compile_text, context_names, load_templates, sms_segments
from tests.templates.declared import CONTEXT, VOCABULARY, email, load, load_one, sms

ROOT = Path(__file__).resolve().parent.parent
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}


class Balance(HTMLParser):
    """Tells the first tag that is closed wrongly or never."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(page)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")


# ------------------------------------------------------------------------------------------------------------ e-mail


def test_an_email_is_a_valid_page_with_subject_preheader_and_text():
    head = "subject: 'Hi {{ customer.first_name }} & co'\npreheader: A <short> word\ntopic: loyalty\nfrom: Acme\n"
    body = (
        "<mj-text><h1>Dear {{ customer.first_name }}</h1><p>You joined on {{ customer.joined | date }}.<br/>Thanks.</p>"
        "<ul><li>One</li><li>Two</li></ul></mj-text><mj-divider />"
        "<mj-button href='https://acme.example/shop?u={{ contract.contract_id }}&amp;x=1'>Go &amp; see</mj-button>"
        "<mj-text>Or <a href='{{ links.preferences }}'>choose</a>.</mj-text>"
        "<mj-table><tr><td>Desk</td><td>{{ contract.value | money }}</td></tr></mj-table>"
    )
    template = load_one(email(body, head))
    made = template.compiled("en-GB")
    got = made.render(CONTEXT)
    assert set(got) == {"subject", "preheader", "html", "text"}
    assert got["subject"] == "Hi Ana & co" and got["preheader"] == "A <short> word"
    page = got["html"]
    assert page.startswith("<!doctype html>") and Balance(page).wrong == []
    assert '<html lang="en"' in page and "<title>Hi Ana &amp; co</title>" in page and "A &lt;short&gt; word" in page
    assert 'href="https://acme.example/shop?u=c1&amp;x=1"' in page and "1 February 2024" in page
    assert not re.search(r"zqj|\{\{|\{%|mj-|fonts\.g", re.sub(r"mj-(column|outlook)[\w-]*|mj-\w+-mobile", "", page))
    assert got["text"] == (
        "Dear Ana\n\nYou joined on 1 February 2024.\nThanks.\n\n- One\n- Two\n\n----\n\n"
        "Go & see: https://acme.example/shop?u=c1&x=1\n\nOr choose (https://acme.example/p).\n\nDesk  €12,345.67"
    )
    outbound = Outbound("a", Medium.EMAIL, {}, made.skeleton, made.slots(CONTEXT))
    assert outbound.part("html") == page
    assert template.options["from"] == "Acme" and template.topic == "loyalty"


def test_conditions_and_loops_between_elements_reach_the_page_and_the_text():
    body = (
        "<mj-text>Start</mj-text>\n{% if tier == 'gold' %}\n<mj-text>Gold</mj-text>\n"
        "{% else %}\n<mj-text>Other</mj-text>\n{% endif %}\n"
        "{% for benefit in benefits %}\n<mj-text>{{ loop.index }}. {{ benefit }}</mj-text>\n{% endfor %}"
        "\n<mj-text>End</mj-text>"
    )
    made = load_one(email(body)).compiled("en")
    got = made.render(CONTEXT)
    assert got["text"] == "Start\n\nGold\n\n1. early-access\n\n2. free-shipping\n\nEnd"
    assert "Gold" in got["html"] and "Other" not in got["html"] and Balance(got["html"]).wrong == []
    other = made.render({**CONTEXT, "tier": "x", "benefits": []})
    assert other["text"] == "Start\n\nOther\n\nEnd" and Balance(other["html"]).wrong == []


def test_tags_survive_in_attributes_tables_and_raw_html_even_when_styles_are_inlined():
    body = (
        "<mj-table>{% for b in benefits %}<tr><td class='x'>{{ b }}</td></tr>{% endfor %}</mj-table>"
        "<mj-raw><tr>{% if points.balance < 200 and points.balance > 1 %}<td>{{ points.balance }}</td>"
        "{% endif %}</tr></mj-raw>"
        "<mj-text css-class='{{ tier }}'>"
        "<a href=\"{{ links.unsubscribe }}\" title='{% if tier %}a{% endif %}'>x</a></mj-text>"
    )
    page = email(body)["email/hello.mjml"]
    plain = load_one({"email/hello.mjml": page}).compiled("en").render(CONTEXT)["html"]
    inlined = page.replace(
        "<mj-body>", "<mj-head><mj-style inline='inline'>.x { color: red }</mj-style></mj-head><mj-body>"
    )
    inline = load_one({"email/hello.mjml": inlined}).compiled("en").render(CONTEXT)["html"]
    for html in (plain, inline):
        assert Balance(html).wrong == []
        assert re.search(r"<td[^>]*>early-access</td></tr><tr><td[^>]*>free-shipping</td></tr>", html)
        assert "<td>120</td>" in html and 'class="gold"' in html and 'title="a"' in html
        assert 'href="https://acme.example/u?a=1&amp;b=2"' in html
    assert "color: red" in inline and "color: red" not in plain


def test_a_set_before_the_page_and_comments():
    files = email("{# a note #}<mj-text>{{ who }}{# another #}</mj-text>")
    files["email/hello.mjml"] = files["email/hello.mjml"].replace("<mjml>", "{% set who = tier | upper %}\n<mjml>")
    got = load_one(files).compiled("en").render(CONTEXT)
    assert got["text"] == "GOLD" and ">GOLD<" in got["html"] and got["html"].lstrip().startswith("<!doctype")


def test_raw_blocks_and_words_that_look_like_masks_come_back_as_they_were():
    body = "<mj-text>{% raw %}{{ not.ours }}{% endraw %} zqj0jqz zqj7jqz &#123;{ x }}</mj-text>"
    got = load_one(email(body)).compiled("en").render(CONTEXT)
    assert "{{ not.ours }} zqj0jqz zqj7jqz" in got["html"]
    assert got["text"] == "{{ not.ours }} zqj0jqz zqj7jqz {{ x }}"


def test_an_own_text_file_stands_for_the_derived_text():
    files = email("<mj-text>Page</mj-text>") | {
        "email/hello.txt": "Hi {{ customer.first_name }}\n{% if tier %}\nA\n{% endif %}\nB\n"
    }
    files |= email("<mj-text>Seite</mj-text>", path="email/hello.de.mjml")
    template = load_one(files)
    assert template.compiled("en").render(CONTEXT)["text"] == "Hi Ana\nA\nB"
    assert template.compiled("de").render(CONTEXT)["text"] == "Seite"
    assert "templates/email/hello.txt" in template.files


# ----------------------------------------------------------------------------------------------------------- locales


def test_a_locale_falls_back_to_its_language_then_to_the_workspaces():
    files = sms("Hello") | sms("Bonjour", path="sms/hello.fr.txt") | sms("Salut", path="sms/hello.fr-CA.txt")
    template = load_one(files)
    assert set(template.locales) == {"en", "fr", "fr-CA"}
    chosen = {
        asked: template.compiled(asked).locale for asked in ("fr-CA", "fr_CA", "fr-BE", "fr", "en-GB", "de", "", None)
    }
    assert chosen == {
        "fr-CA": "fr-CA", "fr_CA": "fr-CA", "fr-BE": "fr", "fr": "fr", "en-GB": "en", "de": "en", "": "en", None: "en",
    }  # fmt: skip
    assert template.compiled("fr-BE").skeleton is template.compiled("fr").skeleton
    assert template.compiled("fr-CA").render({}) == {"text": "Salut"}


def test_numbers_follow_the_reader_where_the_language_is_the_texts():
    files = sms("{{ contract.value | money }}") | sms("{{ contract.value | money }}", path="sms/hello.de.txt")
    template = load_one(files)
    written = {
        asked: template.compiled(asked).render(CONTEXT)["text"]
        for asked in ("de", "de-CH", "fr", "en", "xx-YY", "de-XX")
    }
    assert written == {
        "de": "12.345,67\xa0€",
        "de-CH": "EUR\xa012’345.67",
        "fr": "€12,345.67",
        "en": "€12,345.67",
        "xx-YY": "€12,345.67",
        "de-XX": "12.345,67\xa0€",
    }


def test_a_variant_takes_over_what_it_does_not_say():
    files = sms("Hello", head="topic: loyalty\nfrom: Acme\nutm: { campaign: x }")
    files |= sms("Hallo", head="from: Acme DE", path="sms/hello.de.txt")
    template = load_one(files)
    assert template.options_for("de") == {"topic": "loyalty", "from": "Acme DE", "utm": {"campaign": "x"}}
    assert template.options_for("fr")["from"] == "Acme"


def test_missing_variable_says_what_happens_to_a_recipient_without_a_value():
    body = "Hi {{ customer.first_name }}!"
    with pytest.raises(MissingValue, match=r"customer\.first_name"):
        load_one(sms(body)).compiled("en").slots({"customer": {}})
    lenient = load_one(sms(body, head="topic: loyalty\nmissing_variable: default"))
    assert lenient.compiled("en").render({"customer": {}}) == {"text": "Hi !"}


# ---------------------------------------------------------------------------------------------------------- includes


def test_includes_are_expanded_with_locale_variants_of_their_own():
    files = email('{% include "snippets/foot.mjml" %}') | email(
        '{% include "snippets/foot.mjml" %}', path="email/hello.de.mjml"
    )
    files |= {
        "snippets/foot.mjml": '<mj-text>{{ workspace.sender.name }}</mj-text>\n{% include "snippets/end.mjml" %}\n',
        "snippets/foot.de.mjml": "<mj-text>Tschüss</mj-text>\n",
        "snippets/end.mjml": "{% if tier %}<mj-text>Bye</mj-text>{% endif %}\n",
    }
    template = load_one(files)
    assert template.compiled("en").render(CONTEXT)["text"].rstrip() == "Acme\n\nBye"
    assert template.compiled("de").render(CONTEXT)["text"] == "Tschüss"


def test_the_hash_covers_all_that_is_rendered_from_and_nothing_else():
    files = email('{% include "snippets/foot.mjml" %}') | {"snippets/foot.mjml": "<mj-text>a</mj-text>\n"}
    files |= {"snippets/other.mjml": "<mj-text>b</mj-text>\n"}
    first = load_one(files).hash
    assert load_one(files).hash == first
    assert load_one(files | {"snippets/other.mjml": "<mj-text>c</mj-text>\n"}).hash == first
    assert load_one(files | {"snippets/foot.mjml": "<mj-text>c</mj-text>\n"}).hash != first
    assert load_one(files | {"email/hello.txt": "own text"}).hash != first


def test_an_include_reads_as_jinja_would_include_it():
    files = sms('a\n{% include "snippets/x.txt" %}\nb {% if tier %}{% include "snippets/x.txt" %}{% endif %}!')
    files |= {"snippets/x.txt": "[{{ tier }}]\n"}
    assert load_one(files).compiled("en").render(CONTEXT) == {"text": "a\n[gold]b [gold]!"}


def test_a_snippet_sees_what_its_includer_sets():
    files = sms('{% set label = "Go" %}{% include "snippets/x.txt" %}') | {"snippets/x.txt": "{{ label }}!"}
    templates, problems = load(files)
    assert [p.code for p in problems.found] == [], problems.found
    assert next(iter(templates)).compiled("en").render({}) == {"text": "Go!"}


# ------------------------------------------------------------------------------------------------------ other media


def test_push_mail_and_task():
    push = {
        "push/p.yaml": "topic: loyalty\ntitle: 'Hi {{ tier }}'\nbody: |\n  One\n  Two\nurl: https://acme.example/x\n"
    }
    assert load_one(push).compiled("en").render(CONTEXT) == {
        "title": "Hi gold", "body": "One\nTwo", "url": "https://acme.example/x",
    }  # fmt: skip
    page = (
        "<!doctype html>\n<html><head><title>T</title><style>p { margin: 0 }</style></head><body>\n"
        "<p>Dear {{ account.name }},</p>\n<p>Bye</p></body></html>\n"
    )
    letter = load_one({"mail/l.html": f"---\ntopic: loyalty\nformat: A4\n---\n{page}"}).compiled("en").render(CONTEXT)
    assert letter["html"] == page.replace("{{ account.name }}", "Nord &amp; Co").rstrip("\n")
    assert letter["text"] == "Dear Nord & Co,\n\nBye"
    problems = Problems()
    task = compile_text("Call {{ account.manager_name }}", Span.whole("journeys/a.yaml"), VOCABULARY, problems)
    assert task.render(CONTEXT) == {"text": "Call Clara Weiss"} and not problems.found


def test_context_names_are_what_must_be_loaded():
    body = (
        "{{ contract.value | money }} {{ customer.first_name.upper() }} {{ workspace.name }} {{ links.survey('nps') }}"
        "{% for b in benefits %}{{ b }}{{ loop.index }}{% endfor %}{{ customer['last_name'] }}"
    )
    template = load_one(sms(body))
    assert context_names(template) == {
        "benefits",
        "contract.value",
        "contract.value_currency",
        "customer.first_name",
        "customer.last_name",
        "links.survey",
    }
    values = {**CONTEXT, "links": {"survey": "https://acme.example"}}
    assert "https://acme.example/nps" in template.compiled("en").render(values)["text"]


def test_templates_are_found_by_medium_and_name():
    templates, _ = load(sms("x") | sms("y", path="sms/b.txt") | email("<mj-text>z</mj-text>"))
    assert templates.names("sms") == ("b", "hello") and templates.names(Medium.PUSH) == ()
    assert templates.get("sms", "none") is None and len(templates) == 3
    found = templates.get(Medium.EMAIL, "hello")
    assert found is not None and found.span.file == "templates/email/hello.mjml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("GSM-7", 1)),
        ("a" * 160, ("GSM-7", 1)),
        ("a" * 161, ("GSM-7", 2)),
        ("a" * 306, ("GSM-7", 2)),
        ("a" * 307, ("GSM-7", 3)),
        ("€" * 80, ("GSM-7", 1)),
        ("€" * 81, ("GSM-7", 2)),
        ("a" * 152 + "€" + "a" * 152, ("GSM-7", 3)),  # the escape and its character stay together
        ("äöüß" * 40, ("GSM-7", 1)),
        ("ç", ("UCS-2", 1)),
        ("я" * 70, ("UCS-2", 1)),
        ("я" * 71, ("UCS-2", 2)),
        ("я" * 134, ("UCS-2", 2)),
        ("😀" * 35, ("UCS-2", 1)),
        ("😀" * 36, ("UCS-2", 2)),
        ("😀" * 67, ("UCS-2", 3)),  # 33 pairs fit into 67 units, not 33 and a half
        ("it’s", ("UCS-2", 1)),
    ],
)
def test_sms_segments(text: str, expected: tuple[str, int]):
    assert sms_segments(text) == expected


# ----------------------------------------------------------------------------------------------------- the starter set


def starter() -> tuple[dict[str, str], Vocabulary]:
    vocabulary = load_workspace(ROOT).vocabulary
    paths = [p for p in (ROOT / "templates").rglob("*") if p.is_file()]
    return {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in paths}, vocabulary


def test_every_starter_text_is_right_in_both_languages_and_equals_plain_jinja():
    files, vocabulary = starter()
    problems = Problems()
    templates = load_templates(files, vocabulary, problems)
    assert not problems.found, problems.found
    assert len(templates) * 2 == sum(not p.startswith("templates/snippets/") for p in files)
    for template in templates:
        for locale in ("en", "de"):
            made = template.compiled(locale)
            assert made.locale == locale
            for tier in ("gold", "silver", "bronze"):
                context = filled(made.names) | {"tier": tier, "workspace": made._base["workspace"]}
                got = made.render(context)
                for part in made.parts:
                    assert got[part.name] == plain(part.source, part.escape, locale).render(context)
            if template.medium == Medium.EMAIL:
                assert (
                    Balance(got["html"]).wrong == []
                    and len(got["html"]) < 102_000
                    and f'lang="{locale}"' in got["html"]
                )
                assert len(got["text"]) > 100 and "<" not in got["text"] and "\n\n\n" not in got["text"]
            if template.medium == Medium.SMS:
                assert sms_segments(got["text"])[1] == 1


_DAYS = ("expires", "expire_on", "review_on", "ends", "due", "on", "until", "since", "closes")
_NUMBERS = ("points", "progress", "amount", "place", "score", "seats", "value")


class _Survey(str):
    """The address of surveys: printed by us with the name behind it, called by plain Jinja."""

    def __call__(self, name: str) -> str:
        return f"{self}/{name}"


def filled(names: frozenset[str]) -> dict[str, Any]:
    """The usual context, and something of the right kind for what else a text names."""
    context = {root: dict(of) if isinstance(of, dict) else of for root, of in CONTEXT.items()}
    context["benefits"] = {"free-shipping": "Free shipping", "early-access": "Early access"}
    for name in sorted(names):
        root, _, member = name.partition(".")
        inside = context.setdefault(root, {})
        if not member or not isinstance(inside, dict) or member in inside or root in ("benefits", "workspace"):
            continue
        if member.endswith("_currency"):
            inside[member] = "EUR"
        elif member in _DAYS:
            inside[member] = "2027-04-01"
        elif (root in _NUMBERS and member not in ("next", "band")) or member in _NUMBERS:
            inside[member] = 120
        else:
            inside[member] = _Survey("https://acme.example/s") if member == "survey" else "https://acme.example/x"
    return context


def plain(source: str, escape: bool, locale: str):
    """Jinja's own sandbox with our filters and nothing else of ours."""

    class Plain(ImmutableSandboxedEnvironment):
        currency, timezone = "EUR", "Europe/Berlin"
        context_class = type("Located", (Context,), {"locale": locale})

    plain = Plain(undefined=StrictUndefined, autoescape=escape, trim_blocks=True, lstrip_blocks=True)
    plain.filters = Sandbox({}).filters
    return plain.from_string(source)


def test_the_engine_still_says_nothing_about_unknown_tags_and_stray_text():
    # The reason for our own checks: should this fail, the engine has learnt to tell.
    page = "<mjml><mj-body>stray<mj-section><mj-column><mj-foo>x</mj-foo></mj-column></mj-section></mj-body></mjml>"
    assert ">stray<!--" in mjml2html(page) and "<mj-foo>" in mjml2html(page)


def test_what_is_for_the_eye_alone_is_not_read_aloud():
    page = Masked(text="<p><span aria-hidden='true'>A<span>B</span>C</span>Acme</p><p>Hello</p>")
    assert page_text(page) == "Acme\n\nHello"
