"""A preview says what a delivery would, writes nothing, runs nothing, finds the longest and the emptiest; and test
sends reach authors alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import EventKind, Medium, Outbound
from channels.letterfile import showing
from orchestrator.consenting import EVERYTHING
from orchestrator.model import Field, Kind
from orchestrator.preview import NOBODY, NoSuchText, Preview, Rendering, Sheet, Who, preview, texts_named
from orchestrator.preview.made import Maker
from orchestrator.preview.page import page
from orchestrator.preview.remarks import CLIPPED, remarks
from orchestrator.preview.testing import AN_HOUR, ASKED, NotSent, plan_tests
from orchestrator.project import Project, load, load_files
from orchestrator.store import insert_ids, sampling
from orchestrator.store import tables as t
from orchestrator.store.links import linked
from orchestrator.store.segments import Segments
from tests.outgoing import World, email, files, journey, world_of

STEPS = "- email: receipt\n- email: town\n- sms: short\n- push: ping\n- mail: letter"
BOUGHT = "{ event: bought }"
GERMAN = email("Ihre Bestellung", "Bestellung {{ event.order_id }}.", "service")
EVERY = files(
    {"buy": journey("buy", STEPS, BOUGHT), "hello": journey("hello", "- email: hello\n- email: hello-de")},
    templates__email__receipt_dot_de_dot_mjml=GERMAN,
    templates__email__hello_b_de_dot_mjml=email("Hallo", "Guten Tag {{ customer.first_name }}.").replace("é", "e"),
)
EVERY = {path.replace("hello_b_de", "hello-de"): text for path, text in EVERY.items()}
OWNED = re.compile(r"https://small\.example/[a-z]/[\w.~-]+")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    made.store.close()


@pytest.fixture
def here(sqlite_database_url: str) -> Iterator[World]:
    """Where no SQL is at stake."""
    made = world_of(sqlite_database_url)
    yield made
    made.store.close()


def look(world: World, project: Project, name: str, who: Who = Who(), **more: Any) -> Preview:  # noqa: B008
    texts = texts_named(project, name, now=world.now, journey=more.pop("journey", False))
    with world.store.read() as conn:
        if world.store.dialect == "sqlite":
            conn.exec_driver_sql("PRAGMA query_only = ON")  # PostgreSQL's is a READ ONLY transaction already
        try:
            options: dict[str, Any] = {"now": world.now, "public_url": "https://small.example", **more}
            return preview(project, name, texts, who=who, conn=conn, **options)
        finally:
            if world.store.dialect == "sqlite":
                conn.exec_driver_sql("PRAGMA query_only = OFF")


def without_links(outbound: Outbound) -> dict[str, str]:
    return {part: OWNED.sub("LINK", outbound.part(part)) for part in outbound.skeleton.parts}


def own(found: Preview) -> dict[str, Rendering]:
    return {one.text.name: one for one in found.renderings if one.own and one.values == "usual"}


# ---- the same words -------------------------------------------------------------------------------------------------


def test_it_says_what_a_delivery_says(world: World) -> None:
    went: dict[str, Outbound] = {}
    from channels.sandbox import ACCEPT

    def keep(outbound: Outbound, number: int) -> Any:
        went[outbound.template] = outbound
        return ACCEPT

    world.behaviour = keep
    project = world.apply(EVERY)
    [ann] = world.people(1, attributes={"town": "Übersee"}, locale="de-AT")
    for medium in ("email", "sms", "push", "mail"):
        world.consent([ann], medium, "offers")
    world.event([ann], "bought", order_id="o-17", amount=123456, amount_currency="EUR")
    found = own(look(world, project, "buy", Who(ann), journey=True))
    world.tick(9)
    assert set(went) == {"receipt", "town", "short", "ping", "letter"} == set(found)
    for name, sent in went.items():
        shown = found[name].outbound
        assert shown is not None
        assert without_links(shown) == without_links(sent)
        assert (shown.to, shown.sender, shown.locale) == (sent.to, sent.sender, sent.locale)
        assert shown.headers.keys() == sent.headers.keys()
        assert shown.meta.items() <= sent.meta.items()
    assert found["receipt"].outbound is not None and "o-17" in found["receipt"].outbound.part("html")
    assert found["receipt"].locale == "de" and not found["receipt"].made_up


def test_of_a_company_it_says_what_its_manager_is_told(world: World) -> None:
    from channels.sandbox import ACCEPT

    went: dict[str, Outbound] = {}

    def keep(outbound: Outbound, number: int) -> Any:
        went[outbound.template] = outbound
        return ACCEPT

    world.behaviour = keep
    steps = "- email: hello\n- task: account_manager\n  message: Call {{ account.name }}\n  title: Ring"
    head = "unit: account\nrecipients: { role: [boss], at_most: 1 }"
    project = world.apply(files({"acc": journey("acc", steps, more=head)}))
    company = {"key": "acme", "name": "Acme & Co", "class": "b2b", "tier": "std", "manager_name": "Max"}
    more = {"manager_email": "max@small.example", "attributes": {}, "created_at": world.now, "updated_at": world.now}
    with world.store.write() as conn:
        [(acme,)] = insert_ids(conn, t.account, [company | more])
    [ann] = world.people(1, account_id=acme, role="boss", **{"class": "b2b", "tier": None})
    found = own(look(world, project, "acc", Who(ann)))
    world.event([ann])
    world.tick(5)
    assert set(went) == {"hello", "task:account_manager"} == set(found)
    for name, sent in went.items():
        shown = found[name].outbound
        assert shown is not None and (shown.to, without_links(shown)) == (sent.to, without_links(sent))


def test_a_letter_is_printed_as_a_print_house_would() -> None:
    project, now = load_files(EVERY), world_now()

    def press(outbound: Outbound) -> Sheet:
        found = showing.shown(outbound, {"country": "DE"}, now)
        assert found is not None
        return Sheet(*found)

    found = preview(project, "letter", texts_named(project, "letter", now=now), now=now, press=press)
    sheets = {one.values: one.sheet for one in found.renderings}
    usual = sheets["usual"]
    assert usual is not None and usual.pdf.startswith(b"%PDF") and usual.pages[0].startswith(b"\x89PNG")
    assert usual.lines[0] == "Freya Ashgrove" and usual.lines[-1] == "UNITED KINGDOM"
    assert "data:application/pdf" in page(found) and "data:image/png" in page(found)
    out = found.renderings[0].outbound
    assert out is not None
    assert (
        press(replace(out, to={**out.to, "name": "W" * 90})).refused == "a line of the address is wider than the window"
    )


def test_what_only_invented_values_cannot_print_is_a_hint() -> None:
    project, now = load_files(EVERY), world_now()
    texts = texts_named(project, "letter", now=now)
    found = preview(project, "letter", texts, now=now, press=lambda outbound: Sheet(refused="it is too wide"))
    told = {(r.weight, r.text) for r in remarks(found) if "it is too wide" in r.text}
    assert told == {
        ("bad", "the letter cannot be printed: it is too wide"),
        ("doubt", "it would not be printed for the longest values: it is too wide"),
        ("doubt", "it would not be printed for somebody of whom least is known: it is too wide"),
    }


def test_the_windows_frame_runs_through_no_letter() -> None:
    """The address begins 25 mm from the left and 57.7 mm from the top of an A4 sheet: the frame before it."""
    project, now = load_files(EVERY), world_now()
    texts = texts_named(project, "letter", now=now)
    sheet = Sheet(b"%PDF", (b"",), ("Ann",))
    html = page(preview(project, "letter", texts, now=now, press=lambda outbound: sheet))
    frame = re.search(r'<i style="left:([\d.]+)%;top:([\d.]+)%', html)
    assert frame is not None and float(frame[1]) * 2.1 < 23.5 and float(frame[2]) * 2.97 < 56


def test_on_a_phone_the_page_opens_with_the_phone_alone() -> None:
    project, now = load_files(EVERY), world_now()
    html = page(preview(project, "hello", texts_named(project, "hello", now=now), now=now))
    narrow = html.partition("@media (max-width: 40rem)")[2]
    assert "body:has(#w-both:checked) .desktop { display: none }" in narrow.partition("</style>")[0]


def test_every_language_and_what_she_has_not(here: World) -> None:
    project = here.apply(EVERY)
    [ann] = here.people(1)
    found = look(here, project, "receipt", Who(ann))
    usual = [one for one in found.renderings if one.values == "usual"]
    assert [(one.locale, one.own) for one in usual] == [("en", True), ("de", False)]
    assert all(one.made_up == ("event",) for one in usual)
    told = [r for r in remarks(found) if "made up, because she has none: event" in r.text]
    assert [r.weight for r in told] == ["note"]
    german = look(here, project, "receipt", Who(ann), locale="de")
    assert {one.locale for one in german.renderings} == {"de"}
    french = look(here, project, "receipt", Who(ann), locale="fr")
    assert "there is no text in fr: who reads that gets en" in [one.text for one in remarks(french)]
    town = look(here, project, "town", Who(ann))
    assert own(town)["town"].gaps == {"customer.town": "town"}
    assert any(r.weight == "bad" and "missing_value: customer.town" in r.text for r in remarks(town))


def test_its_links_are_as_long_as_real_ones_and_open_nothing(here: World) -> None:
    project = here.apply(EVERY)
    [ann] = here.people(1)
    shown = own(look(here, project, "hello", Who(ann)))["hello"].outbound
    assert shown is not None
    tokens = re.findall(r"https://small\.example/([a-z])/([\w.~-]+)", shown.part("html") + str(shown.headers))
    assert tokens and all(here.keys.read_link_token(token, kind) is None for kind, token in tokens)
    assert {len(token) - len(NOBODY.link_token(-1, kind)) for kind, token in tokens} == {0}


# ---- nothing is written ---------------------------------------------------------------------------------------------


def counts(world: World) -> Mapping[str, int]:
    with world.store.read() as conn:
        return {
            table.name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in t.metadata.sorted_tables
        }


def test_it_writes_nothing_and_asks_as_often_whatever_the_audience(world: World) -> None:
    project = world.apply(EVERY)
    ids = world.people(3)
    world.event(ids, "bought", order_id="o-1", amount=100, amount_currency="EUR")
    before = counts(world)
    statements: list[str] = []

    def note(*args: Any) -> None:
        statements.append(args[2])

    sa.event.listen(world.store.engine, "before_cursor_execute", note)
    look(world, project, "buy", Who(ids[0]), journey=True)
    few, n = len(statements), world.store.dialect
    statements.clear()
    sa.event.remove(world.store.engine, "before_cursor_execute", note)
    assert counts(world) == before, n
    world.people(60, consents="")
    sa.event.listen(world.store.engine, "before_cursor_execute", note)
    look(world, project, "buy", Who(ids[0]), journey=True)
    sa.event.remove(world.store.engine, "before_cursor_execute", note)
    assert len(statements) == few


# ---- nothing runs ---------------------------------------------------------------------------------------------------


def test_a_name_that_is_a_script_runs_nowhere(here: World) -> None:
    project = here.apply(EVERY)
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    [ann] = here.people(1, first_name=evil, attributes={"town": evil}, key=f"k{evil}")
    here.event([ann], "bought", order_id=evil, amount=1, amount_currency="EUR")
    for name in ("buy", "hello"):
        text = page(look(here, project, name, Who(ann), journey=name == "buy"))
        outer = Tags(text)
        frames = [given for tag, given in outer.found if tag == "iframe"]
        assert frames and all(given["sandbox"] == "" for given in frames)
        policies = [given["content"] for _, given in outer.found if given.get("http-equiv")]
        assert len(policies) == 1 and policies[0].startswith("default-src 'none'") and "script" not in policies[0]
        for seen in (outer, *(Tags(given["srcdoc"]) for given in frames)):
            assert "script" not in {tag for tag, _ in seen.found}
            assert not [name for _, given in seen.found for name in given if name.startswith("on")]
            assert not [given for tag, given in seen.found if tag == "img" and given.get("src") == "x"]
        assert any("&lt;script&gt;" in given["srcdoc"] for given in frames)


class Tags(HTMLParser):
    """What a browser would see as tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


# ---- the longest and the emptiest -----------------------------------------------------------------------------------


def test_the_longest_and_the_emptiest_are_found_in_the_audience(world: World) -> None:
    project = world.apply(EVERY)
    long = "Wolfeschlegelsteinhausenbergerdorff"
    world.people(2, attributes={"town": "Ulm"})
    world.people(1, first_name=long, attributes={"town": "Rottenburg am Neckar"})
    [bare] = world.people(1, first_name=None)
    world.event([bare], "bought", order_id="o-1", amount=5, amount_currency="EUR")
    world.event([bare], "bought", order_id="o-22222", amount=7_000_000, amount_currency="EUR")
    found = look(world, project, "town")
    assert found.extremes["customer.town"] == sampling.Extreme("customer.town", 4, 1, "Rottenburg am Neckar", "Ulm")
    assert [r.text for r in remarks(found) if r.weight == "doubt"] == [
        "missing_value: 1 of 4 without customer.town get no message"
    ]
    by_value = {one.values: one.outbound for one in found.renderings}
    assert by_value["longest"] is not None and "In Rottenburg am Neckar" in by_value["longest"].part("subject")
    hello = look(world, project, "hello")
    longest = next(one for one in hello.renderings if one.values == "longest").outbound
    assert longest is not None and longest.part("subject") == f"Hello {long}"
    assert hello.extremes["customer.first_name"].missing == 1
    receipt = look(world, project, "receipt")
    assert receipt.extremes["event.order_id"].longest == "o-22222"
    assert (receipt.extremes["event.amount"].longest, receipt.extremes["event.amount"].shortest) == (7_000_000, 5)
    assert any("70,000.00" in one.outbound.part("html") for one in receipt.renderings if one.outbound)


def test_the_audience_is_the_journeys(world: World) -> None:
    texts = dict(EVERY)
    texts["journeys/hello.yaml"] = journey("hello", "- email: town", more="audience: tier == gold")
    project = world.apply(texts)
    world.people(1, attributes={"town": "Rottenburg am Neckar"})
    [ann] = world.people(1, tier="gold", attributes={"town": "Ulm"})
    found = look(world, project, "hello", journey=True)
    assert (found.extremes["customer.town"].of, found.extremes["customer.town"].longest) == (1, "Ulm")
    with world.store.read() as conn:
        segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
        meant = sampling.audience(segments, project.journeys["hello"], world.now)
        assert {sampling.drawn(conn, meant, seed) for seed in range(3)} == {ann}
        everybody = sampling.audience(segments, None, world.now)
        assert {sampling.drawn(conn, everybody, seed) for seed in range(20)} == {ann, ann - 1}
        assert sampling.drawn(conn, everybody, 5) == sampling.drawn(conn, everybody, 5)


def test_somebody_is_made_up_without_a_database() -> None:
    project = load_files(EVERY)
    now = world_now()
    found = preview(project, "buy", texts_named(project, "buy", now=now, journey=True), now=now)
    assert not found.is_real and not any(
        one.gaps or one.refused for one in found.renderings if one.values != "emptiest"
    )
    german = [one for one in found.renderings if one.locale == "de" and one.values == "longest"]
    assert german and all(one.outbound for one in german)
    maker = Maker(project.vocabulary, "de", now.date())
    assert maker.value(Field("town", Kind.TEXT), "longest").startswith("Straßenentwässerung")
    assert len(maker.value(Field("first_name", Kind.TEXT), "longest")) >= 40


def test_every_text_of_the_starter_is_shown_for_nobody() -> None:
    project = load(Path(__file__).parent.parent)
    now = world_now()
    for name in sorted(project.journeys):
        try:
            texts = texts_named(project, name, now=now, journey=True)
        except NoSuchText:
            continue  # it sends nothing
        found = preview(project, name, texts, now=now)
        assert [one for one in remarks(found) if one.weight == "bad"] == [], name
        assert {one.locale for one in found.renderings if one.text.template} <= {"en", "de"}


def world_now() -> Any:
    from tests.outgoing import NOON

    return NOON


def test_a_name_is_found_on_every_medium_and_a_slip_is_told() -> None:
    project = load_files({**EVERY, "templates/sms/hello.txt": EVERY["templates/sms/short.txt"]})
    now = world_now()
    assert [text.medium for text in texts_named(project, "hello", now=now)] == [Medium.EMAIL, Medium.SMS]
    assert [text.medium for text in texts_named(project, "hello", Medium.SMS, now=now)] == [Medium.SMS]
    with pytest.raises(NoSuchText, match="did you mean `hello`"):
        texts_named(project, "helo", now=now)


def test_what_is_doubtful_is_told() -> None:
    long = "A sentence that is said again. " * 4_000
    texts = {
        **EVERY,
        "templates/email/town.mjml": email("T" * 70, f'<img src="http://x.example/a.png" /> {long}'),
        "templates/sms/short.txt": "---\ntopic: offers\n---\nHello {{ customer.first_name }} 🎁 " + "a" * 90,
        "templates/push/ping.yaml": f"topic: offers\ntitle: {'T' * 60}\nbody: {'b' * 250}\n",
    }
    project = load_files(texts)
    now = world_now()
    found = preview(project, "buy", texts_named(project, "buy", now=now, journey=True), now=now)
    said = "\n".join(one.text for one in remarks(found))
    for words in (
        "Gmail clips it", "the subject has 70 characters", "1 image without alt", "1 address without https",
        "2 segments (UCS-2, because of 🎁", "the title has 60 characters", "iPhone 50, about",
        "the body has 250 characters", "iPhone 178, Android 240",
    ):  # fmt: skip
        assert words in said, words
    assert CLIPPED == 102 * 1024


# ---- test sends -----------------------------------------------------------------------------------------------------

ME = "author@small.example"
PHONE = "+4915123456789"


def planned(world: World, project: Project, name: str, who: Who = Who(), **more: Any) -> Any:  # noqa: B008
    found = look(world, project, name, who, locale=more.pop("locale", None))
    options = {"to": ME, "author": "ana", "authors": [ME], "now": world.now, **more}
    return plan_tests(world.store, world.keys, project, found, **options)


def test_a_test_send_passes_the_gate_and_is_the_authors_alone(world: World) -> None:
    project = world.apply(EVERY)
    [ann] = world.people(1, consents=None)  # nobody may write to her, and nobody does
    tests = planned(world, project, "hello", Who(ann))
    made = planned(world, project, "receipt", locale="de")
    assert world.tick(1) == {"allow": 2, "sent": 2}
    outs = [world.opened(kept) for kept in sorted(world.outbox(), key=lambda kept: kept.template)]
    assert all(f"To: author <{ME}>" in text for text in outs)
    assert "Subject: [Test] Hello Ann1" in outs[0] and "RECEIPT" not in outs[0] and "ORDER-1042" in outs[1]
    decision, outcome = world.log(tests.messages[0])
    body = decision["body"]
    assert (body["origin"], body["addressee"], body["template"], outcome["verdict"]) == (
        "test",
        "staff",
        "hello",
        "sent",
    )
    assert {rule["rule"] for rule in decision["detail"]["verdicts"]} >= {"suppression", "address", "allow_list"}
    asked = world.rows(sa.select(t.log).where(t.log.c.verdict == ASKED).order_by(t.log.c.id))
    assert [(json.loads(row.body)["by"], json.loads(row.body)["messages"]) for row in asked] == [
        ("ana", list(tests.messages)), ("ana", list(made.messages))
    ]  # fmt: skip
    # What comes back of it is nobody's word, and its links open nothing.
    before = world.rows(sa.select(t.consent_event))
    world.hear(f"m{tests.messages[0]}a1", EventKind.UNSUBSCRIBED)
    assert world.rows(sa.select(t.consent_event)) == before
    with world.store.read() as conn:
        assert linked(conn, tests.messages[0]) is None
    assert EVERYTHING == "*"
    assert not world.rows(sa.select(t.reservation))


def test_a_text_goes_to_the_authors_phone_as_it_is(world: World) -> None:
    project = world.apply(EVERY)
    [ann] = world.people(1, consents=None)
    with pytest.raises(NotSent, match="no author's number"):
        planned(world, project, "short", Who(ann), to=PHONE)
    tests = planned(world, project, "short", Who(ann), to=" +49 (151) 234-56789 ", authors=[ME, PHONE])
    with pytest.raises(NotSent, match="no author's number"):
        planned(world, project, "short", Who(ann), to="+4915123456780", authors=[ME, PHONE])
    assert world.tick(1) == {"allow": 1, "sent": 1}
    [kept] = world.outbox()
    said = world.opened(kept)
    assert f"To: {PHONE}\n" in said and said.endswith("\n\nHello Ann1. Reply STOP to opt out\n")
    decision, outcome = world.log(tests.messages[0])
    assert (decision["body"]["origin"], decision["body"]["addressee"], outcome["verdict"]) == ("test", "staff", "sent")


def test_who_is_no_author_gets_nothing(here: World) -> None:
    project = here.apply(EVERY)
    [ann] = here.people(1)
    for to, authors, words in (
        ("stranger@example.com", [ME], "no author's address"),
        ("c1@example.com", [ME], "no author's address"),
        ("", [ME], "no author's address"),
        ("Me <me@small.example>", [], "no author's address"),
        (ME, [], "no author's address"),
    ):
        with pytest.raises(NotSent, match=words):
            planned(here, project, "hello", Who(ann), to=to, authors=authors)
    assert planned(here, project, "hello", Who(ann), to="ME@small.example", authors=[]).messages  # owns a journey
    assert planned(here, project, "hello", Who(ann), to=ME.upper()).messages
    here.people(1, email="me@small.example")
    with pytest.raises(NotSent, match="a customer's address, too"):
        planned(here, project, "hello", Who(ann), to="me@small.example", authors=[])
    assert planned(here, project, "hello", Who(ann), to="me@small.example", authors=["me@small.example"]).messages


def test_a_draft_is_not_sent_and_neither_is_what_would_be_refused(here: World) -> None:
    here.apply(EVERY)
    [ann] = here.people(1)
    draft = load_files({**EVERY, "templates/email/hello.mjml": email("Hello again", "Edited.")})
    with pytest.raises(NotSent, match="not in force as it stands here"):
        planned(here, draft, "hello", Who(ann))
    new = load_files({**EVERY, "templates/email/fresh.mjml": email("Fresh", "New.")})
    with pytest.raises(NotSent, match="not in force as it stands here"):
        planned(here, new, "fresh", Who(ann))
    with pytest.raises(NotSent, match="missing_value"):
        planned(here, load_files(EVERY), "town", Who(ann))
    with pytest.raises(NotSent, match="no e-mail here: send it to a number"):
        planned(here, load_files(EVERY), "short", Who(ann))
    with pytest.raises(NotSent, match="no text message here: send it to an address"):
        planned(here, load_files(EVERY), "hello", Who(ann), to=PHONE, authors=[PHONE])
    with pytest.raises(NotSent, match="only e-mails and text messages are sent"):
        planned(here, load_files(EVERY), "ping", Who(ann))
    assert not here.messages()


def test_so_many_an_hour_and_no_more(world: World) -> None:
    project = world.apply(EVERY)
    found = look(world, project, "hello")

    def again() -> int:
        options: dict[str, Any] = {"to": ME, "author": "ana", "authors": [ME], "now": world.now}
        return plan_tests(world.store, world.keys, project, found, **options).left

    assert [again() for _ in range(AN_HOUR)] == list(reversed(range(AN_HOUR)))
    with pytest.raises(NotSent, match="12:00 UTC"):
        again()
    world.pass_time(hours=1)
    assert again() == AN_HOUR - 1
