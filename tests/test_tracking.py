"""Links of texts: what utm adds, which are counted and for whom, and where a counted one leads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email import message_from_string
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from channels import sandbox
from channels.base import EventKind, Medium
from channels.sandbox import ACCEPT, Kept
from orchestrator.erase import Places, erase
from orchestrator.gsm import sms_segments
from orchestrator.skeleton import Part
from orchestrator.store import tables as t
from orchestrator.store.keys import FOLLOWED, Keys
from orchestrator.tracking import link_key, with_clicks, with_utm
from tests.outgoing import KEYS, POLICIES, World, email, files, journey, world_of
from tests.web.site import Asked

UTM = {"campaign": "spring sale", "source": "news"}
ADDED = "utm_campaign=spring%20sale&utm_source=news"
BROWSER = {"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Safari/605.1.15"}
PAGE = (
    '<a href="https://shop.example/a?x=1&amp;y=2#top">A</a> '
    "<a href=\"https://shop.example/{{ customer.town | default('Ulm') }}\">town</a> "
    '{% if customer.first_name %}<a href="https://shop.example/b">B</a>{% endif %} '
    '<a href="mailto:hello@shop.example">write</a>'
)


def one(name: str, source: str, utm: Mapping[str, str] = UTM) -> str:
    return with_utm([Part(name, source)], utm)[0].source


# ---- utm ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "source", "made"),
    [
        ("url", "https://a.example", f"https://a.example?{ADDED}"),
        ("url", "HTTPS://a.example/x#y", f"HTTPS://a.example/x?{ADDED}#y"),
        ("url", "https://a.example/?b=1#c?d", f"https://a.example/?b=1&{ADDED}#c?d"),
        ("url", "https://a.example/?utm_campaign=own", "https://a.example/?utm_campaign=own&utm_source=news"),
        ("url", "https://a.example/?UTM_Campaign=&utm_source=x", "https://a.example/?UTM_Campaign=&utm_source=x"),
        ("url", "acme://offers", "acme://offers"),
        ("url", "{{ links.preferences }}", "{{ links.preferences }}"),
        ("url", "https://a.example/{{ customer.town }}", "https://a.example/{{ customer.town }}"),
        ("text", "See https://a.example/x.", f"See https://a.example/x?{ADDED}."),
        ("text", "(https://a.example/x)", f"(https://a.example/x?{ADDED})"),
        ("text", "https://a.example/{{ x }} or", "https://a.example/{{ x }} or"),
        ("text", "https://a.{{ x }}", "https://a.{{ x }}"),
        ("text", "{{ links.unsubscribe }}", "{{ links.unsubscribe }}"),
        ("text", "https://r.example/?to=https://a.example x", f"https://r.example/?to=https://a.example&{ADDED} x"),
        ("text", "{{ x }}https://a.example x", "{{ x }}https://a.example x"),
        ("text", '{{ "https://a.example" }} x', '{{ "https://a.example" }} x'),
        ("html", '<a class="b" href="https://a.example/">', f'<a class="b" href="https://a.example/?{ADDED}">'),
        ("html", "<a href='https://a.example/?b=1&amp;c=2'>", f"<a href='https://a.example/?b=1&amp;c=2&amp;{ADDED}'>"),
        ("html", '<a href="https://a.example/&#63;b">', f'<a href="https://a.example/&#63;b?{ADDED}">'),
        ("html", '<link href="https://a.example/style.css">', '<link href="https://a.example/style.css">'),
        ("html", '<img src="https://a.example/i.png">', '<img src="https://a.example/i.png">'),
        ("html", '<abbr href="https://a.example/">', '<abbr href="https://a.example/">'),
        ("html", "<a data-href='https://a.example/'>", "<a data-href='https://a.example/'>"),
        ("html", "<a {% if a > 1 %}x{% endif %} href='https://a.example/'>",
         f"<a {{% if a > 1 %}}x{{% endif %}} href='https://a.example/?{ADDED}'>"),
        ("html", *["{% raw %}<a href='https://a.example/'>{% endraw %}"] * 2),
        ("subject", "https://a.example", "https://a.example"),
    ],
)  # fmt: skip
def test_utm_is_put_behind_fixed_links_alone(name: str, source: str, made: str) -> None:
    assert one(name, source).replace("&amp;utm_source", "&utm_source") == made.replace("&amp;utm_source", "&utm_source")


@given(
    st.from_regex(r"https?://[a-z]{1,9}\.example(/[a-z%0-9.~-]{0,8}){0,3}(\?[a-z]{1,3}=[a-z&=]{0,6})?(#[a-z/?]{0,6})?",
                  fullmatch=True),
    st.dictionaries(st.sampled_from(["campaign", "content", "source", "term"]), st.text("aé &#?=%", min_size=1)),
)  # fmt: skip
def test_a_link_keeps_all_that_it_has_and_takes_parameters_once(url: str, utm: dict[str, str]) -> None:
    made = one("url", url, utm)
    assert one("url", made, utm) == made
    before, _, fragment = url.partition("#")
    assert made.startswith(before) and made.endswith(fragment) and made.isascii()
    assert made.partition("#")[0].count("?") <= max(1, before.count("?"))


def test_the_parameters_of_a_text_are_in_all_its_parts() -> None:
    from orchestrator.project import load_files

    text = email("Hello", '<a href="https://shop.example/a?x=1&amp;y=2">A</a>').replace(
        "topic: offers", "topic: offers\nutm: { campaign: 2027, term: 50% off }"
    )
    made = load_files(files({}, templates__email__sale_dot_mjml=text)).templates.get(Medium.EMAIL, "sale")
    assert made is not None
    page = "".join(made.compiled("en").skeleton.parts["html"])
    assert 'href="https://shop.example/a?x=1&amp;y=2&amp;utm_campaign=2027&amp;utm_term=50%25%20off"' in page
    assert "?x=1&y=2&utm_campaign=2027&utm_term=50%25%20off" in "".join(made.compiled("en").skeleton.parts["text"])
    assert "".join(made.compiled("en").skeleton.parts["html"]).count("utm_") == 2


# ---- counted links --------------------------------------------------------------------------------------------------


def test_what_is_counted_is_written_down_as_it_can_stand_in_a_header() -> None:
    [part], found = with_clicks([Part("text", "Sieh https://shop.example/Grün?ß#ü an")], Medium.SMS)
    assert found == {"https://shop.example/Gr%C3%BCn?%C3%9F#%C3%BC"}
    assert part.source == f"Sieh {{{{ links.followed }}}}/{link_key(*found)} an"
    assert with_clicks([Part("text", "https://shop.example/a")], Medium.EMAIL)[1] == frozenset()
    assert with_clicks([Part("url", "https://shop.example/" + "a" * 2_000)], Medium.PUSH)[1] == frozenset()
    assert with_clicks([Part("html", "<a href='https://a.example/&#10;x'>")], Medium.EMAIL)[1] == frozenset()


@given(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_a_short_token_is_one_message_s_alone(message_id: int, other: int) -> None:
    token = KEYS.link_token(message_id, FOLLOWED)
    assert len(token) <= 19 and KEYS.read_link_token(token, FOLLOWED) == message_id
    later = Keys(KEYS.address, b"n" * 32, KEYS.seal, KEYS.sign, (KEYS.token,))
    assert later.read_link_token(token, FOLLOWED) == message_id
    assert KEYS.read_link_token(later.link_token(message_id, FOLLOWED), FOLLOWED) is None
    for page in "upcsdo":
        assert KEYS.read_link_token(token, page) is None
        assert KEYS.read_link_token(KEYS.link_token(message_id, page), FOLLOWED) is None
    forged = KEYS.link_token(other, FOLLOWED)[:-8] + token[-8:]
    assert (KEYS.read_link_token(forged, FOLLOWED) is None) == (other != message_id)
    assert KEYS.read_link_token("A" + token, FOLLOWED) is None


def test_a_text_s_link_costs_few_characters() -> None:
    assert len(f"/r/{KEYS.link_token(40_000_000, FOLLOWED)}/{link_key('https://shop.example')}") <= 25


TEMPLATES: dict[str, str] = {
    "templates__email__linked_dot_mjml": email("Hello", PAGE),
    "templates__email__told_dot_mjml": email("Your order", PAGE, "service"),
    "templates__sms__linked_dot_txt": (
        "---\ntopic: offers\n---\nLook: https://shop.example/sale?a=1. Reply STOP to opt out\n"
    ),
    "templates__push__linked_dot_yaml": "topic: offers\ntitle: A\nbody: B\nurl: https://shop.example/sale\n",
    "templates__push__app_dot_yaml": "topic: offers\ntitle: A\nbody: B\nurl: acme://sale\n",
}
ALL = "- email: linked\n- sms: linked\n- push: linked\n- push: app\n  id: app\n- email: told"
ON = POLICIES + "  tracking: { clicks: on, opens: on, off_in: [FR] }\n"


def applied(world: World, steps: str = ALL, policies: str = ON, more: str = "", **templates: str) -> None:
    texts = files({"x": journey("x", steps)}, policies, **TEMPLATES, **templates)
    if more:
        old = "offers: { purpose: marketing, title: Offers"
        texts["journeys/workspace.yaml"] = texts["journeys/workspace.yaml"].replace(old, old + more)
    world.apply(texts)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    world = world_of(database_url)
    yield world
    world.store.close()


def sent(world: World, **person: Any) -> list[Kept]:
    known = {kept.attempt for kept in world.outbox()}
    world.event(world.people(1, **person))
    world.tick(5)
    found = [kept for kept in world.outbox() if kept.attempt not in known]
    assert len(found) == 5
    return found


def words(world: World, kept: Kept) -> str:
    text = world.opened(kept)
    if kept.medium == "email":
        parts = message_from_string(text).walk()
        text = next(part.get_payload(decode=True) for part in parts if part.get_content_type() == "text/html").decode()  # type: ignore[union-attr]
    return unescape(text)


COUNTED = re.compile(r"https://small\.example(/r/[\w-]+/[\w-]{8})(?![\w-])")


def counted(world: World, **person: Any) -> list[list[str]]:
    """Counted links by message."""
    return [COUNTED.findall(words(world, kept)) for kept in sent(world, **person)]


def clicks(world: World) -> list[Any]:
    f = t.feedback.c
    query = sa.select(f.message_id, f.url).where(f.kind == EventKind.CLICKED.value).order_by(f.id)
    return [tuple(row) for row in world.rows(query)]


def test_fixed_links_are_counted_and_nothing_else_is_touched(world: World) -> None:
    applied(world)
    [page, text, push, app, told] = sent(world, attributes={"town": "Bonn"})
    written = words(world, page)
    assert len(set(COUNTED.findall(written))) == 2 and "https://shop.example/Bonn" in written
    assert "/u/v1.m" in written and "mailto:hello@shop.example" in written
    [link] = COUNTED.findall(words(world, text))
    assert len(COUNTED.findall(words(world, push))) == 1 and "acme://sale" in words(world, app)
    assert COUNTED.findall(words(world, told))
    answer = Asked(world).get(link, headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.example/sale?a=1")
    assert answer.headers["cache-control"] == "no-store" and answer.headers["referrer-policy"] == "no-referrer"
    assert set(world.rows(sa.select(t.link.c.url))) == {
        ("https://shop.example/a?x=1&y=2#top",), ("https://shop.example/b",), ("https://shop.example/sale?a=1",),
        ("https://shop.example/sale",),
    }  # fmt: skip
    assert clicks(world) == [(2, "https://shop.example/sale?a=1")]


def test_a_text_is_charged_with_the_link_that_goes_out(world: World) -> None:
    applied(world, "- sms: linked")
    world.event(world.people(1))
    world.tick()
    [kept] = world.outbox()
    body = f"Look: https://small.example{COUNTED.findall(words(world, kept))[0]}. Reply STOP to opt out"
    assert body in words(world, kept)
    [line] = [line for line in world.log(1) if line["kind"] == "decision"]
    assert sms_segments(body).segments == 1 and line["verdict"] == "allow"


@pytest.mark.parametrize(
    ("policies", "more", "person", "are"),
    [
        (ON, "", {}, True),
        (ON, ", tracking: off", {}, False),
        (ON, "", {"country": "FR"}, False),
        (ON, "", {"country": None}, False),
        (POLICIES, "", {}, False),
        (POLICIES + "  tracking: { opens: on }\n", "", {}, False),
        (POLICIES + "  tracking: { clicks: on }\n", "", {"country": None}, True),
    ],
)
def test_who_is_not_counted(world: World, policies: str, more: str, person: dict[str, Any], are: bool) -> None:
    applied(world, policies=policies, more=more)
    [page, text, push, app, _] = counted(world, **person)
    assert (bool(page), bool(text), bool(push), bool(app)) == (are, are, are, False)


def test_a_company_s_country_counts_too(world: World) -> None:
    applied(world)
    with world.store.write() as conn:
        row = {"key": "a1", "name": "Acme", "class": "b2b", "tier": "std", "country": "FR", "attributes": {}}
        conn.execute(t.account.insert().values(id=1, **row, created_at=world.now, updated_at=world.now))
    assert not any(counted(world, account_id=1))


def test_opens_are_the_provider_s_and_clicks_ours(world: World) -> None:
    """What a channel is told is opens alone: it must not rewrite links that are ours already."""
    seen: list[tuple[Medium, str | None]] = []

    def act(outbound: Any, _: int) -> Any:
        seen.append((outbound.medium, outbound.meta.get("track")))
        return ACCEPT

    world.behaviour = act
    applied(world)
    sent(world)
    assert seen == [("email", "opens"), ("sms", None), ("push", None), ("push", None), ("email", "opens")]


def test_people_of_one_kind_share_one_skeleton(world: World) -> None:
    seen = []

    def act(outbound: Any, _: int) -> Any:
        seen.append(outbound.skeleton)
        return ACCEPT

    world.behaviour = act
    applied(world, "- email: linked")
    world.event(world.people(3) + world.people(3, country="FR"))
    world.tick()
    assert len(seen) == 6 and len({id(s) for s in seen}) == 2


# ---- the redirect ---------------------------------------------------------------------------------------------------


@pytest.fixture
def link(world: World) -> str:
    applied(world, "- sms: linked\n- wait: 10 days\n- email: linked")
    world.event(world.people(1))
    world.tick()
    return COUNTED.findall(words(world, world.outbox()[0]))[0]


def test_twice_within_a_minute_is_one_click(world: World, link: str) -> None:
    ask = Asked(world)
    for seconds, so_far in ((0, 1), (59, 1), (61, 2), (1, 2)):
        world.pass_time(seconds=seconds)
        assert ask.get(link, headers=BROWSER).status_code == 302
        assert len(clicks(world)) == so_far


AHEAD: list[dict[str, str]] = [
    {"purpose": "prefetch"},
    {"sec-purpose": "prefetch;prerender"},
    {"x-moz": "prefetch"},
    {"x-purpose": "preview"},
    {"user-agent": "facebookexternalhit/1.1"},
    {"user-agent": "WhatsApp/2.24"},
    {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"},
    {"user-agent": ""},
]


def test_what_is_fetched_ahead_is_led_there_and_not_counted(world: World, link: str) -> None:
    ask = Asked(world)
    for headers in AHEAD:
        answer = ask.get(link, headers={**BROWSER, **headers})
        assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.example/sale?a=1"), headers
    assert ask("HEAD", link, headers=BROWSER).status_code == 302
    assert clicks(world) == []


def test_nothing_else_leads_anywhere(world: World, link: str) -> None:
    ask = Asked(world)
    token, key = link.removeprefix("/r/").split("/")
    stranger = world.keys.link_token(77, FOLLOWED)
    wrong = [f"/r/{token[:-1]}{'A' if token[-1] != 'A' else 'B'}/{key}", f"/r/{token}/{link_key('https://evil.example')}",
             f"/r/{token}/https%3A%2F%2Fevil.example", f"/r/{token}", f"/r/{token}/", f"/r/{key}/{token}",
             f"/r/{world.keys.link_token(1, 'u')}/{key}", f"/r/{token}/{key}/x"]  # fmt: skip
    for path in wrong:
        answer = ask.get(path, headers=BROWSER, client=f"203.0.113.{len(path)}")
        assert (answer.status_code, "location" in answer.headers) == (404, False), path
    assert (
        ask.get(f"/r/{token}/{key}?url=https://evil.example", headers=BROWSER)
        .headers["location"]
        .startswith("https://shop.example/sale")
    )
    assert ask.post(link, headers=BROWSER).status_code == 405
    answer = ask.get(f"/r/{stranger}/{key}", headers=BROWSER)  # a message that is none: led on, and nobody's click
    assert answer.status_code == 302 and len(clicks(world)) == 1


def test_a_link_works_for_years_and_for_who_has_been_erased(world: World, link: str, tmp_path: Path) -> None:
    applied(world, "- sms: linked", POLICIES)  # nobody counts any more
    places = Places(tmp_path / "erased.jsonl", (lambda mine: sandbox.forget(world.folder, mine),), None, tmp_path)
    erase(world.store, world.keys, "c1", places, now=world.now, by="me")
    world.pass_time(days=700)
    answer = Asked(world).get(link, headers=BROWSER)
    assert answer.headers["location"] == "https://shop.example/sale?a=1"
    assert [url for _, url in clicks(world)] == [""]


def test_a_click_wakes_who_waits_for_it(world: World) -> None:
    applied(
        world, "- first_of: [ { email: linked }, { sms: linked } ]\n  until: clicked\n  within: 2 days\n- push: linked"
    )
    world.event(world.people(1))
    world.tick()
    link = COUNTED.findall(words(world, world.outbox()[0]))[0]
    world.hear("m1a1", EventKind.DELIVERED)
    world.hear("m1a1", EventKind.OPENED)
    world.pass_time(hours=1)
    assert not world.tick()
    assert Asked(world).get(link, headers=BROWSER).status_code == 302
    assert world.tick()["sent"] == 1
    assert [m.medium for m in world.messages()] == ["email", "push"]
