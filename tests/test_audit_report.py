"""`audit report`: numbers that add up to the log's, reasons in the rules' own words, nobody's name; page and paper."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
import sqlalchemy as sa

from channels.base import EventKind, Reason
from channels.sandbox import ACCEPT, rejected, timed_out
from orchestrator import paper, rejudge, reporting, rules
from orchestrator.audit import verify
from orchestrator.model import Json
from orchestrator.seal import seal
from orchestrator.store import auditing, versions
from orchestrator.store import tables as t
from tests.outgoing import NOON, POLICIES, World, files, journey, world_of

SOME = POLICIES + '  caps: [ "1 per day across email, sms" ]\n  guard: audience grew > 30%\n'
EVIL = "<script>alert(1)</script> #evil $x$ *b*"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Sent, refused, held, failed, uncertain and bounced; a pause with a reason that is markup."""
    made = world_of(database_url)
    made.apply(files({"hello": journey("hello", "- email: hello\n- sms: short")}, SOME))
    made.people(5)
    made.people(1, consents=None)
    made.people(1, timezone="America/Los_Angeles", phone=None)
    made.event(range(1, 8))
    made.behaviour = lambda outbound, number: {
        "m3a1": rejected(Reason.CONTENT), "m4a1": timed_out()
    }.get(outbound.attempt, ACCEPT)  # fmt: skip
    made.tick()
    made.hear("m1a1", EventKind.DELIVERED)
    made.hear("m2a1", EventKind.BOUNCED, reason=Reason.UNKNOWN_ADDRESS)
    with made.store.write() as conn:
        versions.pause(conn, "hello", by="mara", reason=EVIL, now=made.now)
    seal(made.store, made.keys, now=made.now)
    yield made
    made.store.close()


def built(world: World, *, verified: bool = True, **more: datetime | None) -> Json:
    report = verify(world.store, world.keys, now=world.now, examine=rejudge.examine) if verified else None
    span = {"since": NOON - timedelta(days=2), "until": NOON + timedelta(days=2), **more}
    return reporting.build(world.store, world.keys, now=world.now, verified=report, **span)  # type: ignore[arg-type]


class Outline(HTMLParser):
    """Headings and tables of a page, and whether every element is closed."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if set(self.open) & {"h1", "h2", "h3"}:
            self.headings[-1] += data


def outline(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    assert found.open == []
    return found


def test_numbers_are_the_logs(world: World):
    document = built(world)
    lines = world.rows(sa.select(t.log.c.kind, t.log.c.verdict))
    counts = Counter((line.kind, line.verdict) for line in lines)
    head = document["headline"]
    assert head["sent"] == counts["outcome", "sent"] > 0
    assert head["deny"] == counts["decision", "deny"] and head["hold"] == counts["decision", "hold"] > 0
    assert head["wrong"] == sum(counts["outcome", kind] for kind in ("failed", "bounced", "uncertain")) >= 3
    assert head["decided"] == counts["decision", "allow"] + counts["decision", "deny"]
    for rows in (document["media"], document["journeys"]):
        for kind in ("sent", "deny", "hold", "delivered", "bounced", "failed", "uncertain"):
            assert sum(row[kind] for row in rows) == head[kind], kind
    bars = document["chart"]["bars"]
    assert sum(bar["sent"] for bar in bars) == head["sent"]
    assert sum(bar["refused"] for bar in bars) == head["deny"]
    assert sum(bar["wrong"] for bar in bars) == head["wrong"]
    assert sum(row["count"] for row in document["refusals"]) == head["deny"]


def test_reasons_are_told_in_the_rules_own_words(world: World):
    refusals = {row["code"]: row for row in built(world)["refusals"]}
    assert refusals["no_consent"]["meaning"] == rules.reasons()["consent"]["no_consent"]
    assert sum(row["share"] for row in refusals.values()) == pytest.approx(1)
    assert [row["code"] for row in built(world)["holds"]] == ["quiet_hours"]


def test_what_was_in_force_stands_with_its_sources(world: World):
    document = built(world)
    [policies] = document["policies"]
    assert "Cap: 1 per day across email, sms" in policies["lines"]
    assert "A journey is paused when its audience grew by more than 30%" in policies["lines"]
    assert any(line.startswith("email: 07:00–22:00") for line in policies["lines"])
    assert [row["author"] for row in document["applies"]] == ["me"]
    [ruleset] = document["rulesets"]
    assert len(ruleset["hours"]) > 30 and len(ruleset["consent"]) > 50
    assert all(row["source"] and row["confidence"] and row["as_of"] for row in ruleset["hours"] + ruleset["consent"])
    assert "no legal advice" in reporting.html(document)


def test_consents_relied_on_are_counted_by_ground(world: World):
    document = built(world)
    assert "email" in {row["medium"] for row in document["consents"]["relied"]}
    allowed = [x for x in world.log() if x["verdict"] == "allow"]
    assert sum(row["count"] for row in document["consents"]["relied"]) == sum(
        len(x["body"]["consents"]) for x in allowed
    )


def test_exceptions_and_operations_are_listed(world: World):
    document = built(world)
    counts = {group["title"]: group["count"] for group in document["exceptions"]}
    assert (counts["Failures"], counts["Bounces"], counts["Rules that failed"]) == (1, 1, 0)
    assert counts["Uncertain sends"] == world.states()["uncertain"] > 0
    uncertain = document["exceptions"][0]["rows"][0]
    assert (uncertain["message"], uncertain["journey"], uncertain["leaf"] != "") == ("m4a1", "hello", True)
    [operation] = document["operations"]
    assert (operation["what"], operation["by"], operation["why"]) == ("Paused: hello", "mara", EVIL)


def test_how_it_can_be_checked_stands_in_it(world: World):
    document = built(world)
    assert document["verification"]["ok"] and "internally consistent only" in document["verification"]["verdict"]
    assert document["checkpoint"]["size"] == world.one(sa.select(sa.func.max(t.checkpoint.c.size)))
    assert document["checkpoint"]["note"].startswith(document["checkpoint"]["origin"] + "\n")
    page = reporting.html(document)
    assert document["checkpoint"]["root"] in page and document["checkpoint"]["key"].partition("+")[0] in page
    assert "Not verified." in reporting.html(built(world, verified=False))


def test_what_is_wrong_is_said_at_its_head(world: World):
    with world.store.write() as conn:
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql("DROP TRIGGER log_no_update")
        else:
            conn.exec_driver_sql("ALTER TABLE log DISABLE TRIGGER ALL")
        conn.execute(t.log.update().where(t.log.c.id == 1).values(reason="made_up"))
    page = reporting.html(built(world))
    assert "Verification failed:" in page and "log line 1" in page
    assert paper_bytes(built(world)).startswith(b"%PDF-")


def test_the_page_is_whole_and_needs_nothing_else(world: World):
    page = reporting.html(built(world))
    found = outline(page)
    assert [h for h in found.headings if h in _CHAPTERS] == list(_CHAPTERS)
    assert found.tags["svg"] == 1 and found.tags["table"] > 8
    names = {name for name, _ in found.attributes}
    assert "src" not in names and found.tags["script"] == found.tags["link"] == found.tags["img"] == 0
    assert all((value or "").startswith("#") for name, value in found.attributes if name == "href")
    assert "prefers-color-scheme:dark" in page and 'name="viewport"' in page
    assert not re.search(r"https?://", page)


_CHAPTERS = ("Audit report", "Volumes", "Refusals and holds", "Rules in force", "Consent", "Exceptions",
             "Checking this report", "The ruleset")  # fmt: skip


def test_nothing_is_taken_for_markup_and_nobody_is_named(world: World):
    page = reporting.html(built(world))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not any(word in page for word in ("example.com", "Ann1", "4917139", "Lindenweg"))


def paper_bytes(document: Json) -> bytes:
    return reporting.pdf(document)


def test_the_paper_opens_and_is_the_same_twice(world: World):
    document = built(world)
    first = paper_bytes(document)
    assert first.startswith(b"%PDF-") and first.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type\s*/Page\b", first)) >= 3
    assert paper_bytes(built(world)) == first
    assert b"CreationDate" not in first or b"D:1970" in first


def test_without_typst_it_is_said_what_to_install(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(paper.NoPaper, match=r"pip install 'campaign-orchestrator\[pdf\]'"):
        reporting.pdf({})


def test_an_empty_time_is_told_as_such(world: World):
    later = built(world, since=NOON + timedelta(days=30), until=NOON + timedelta(days=31))
    assert later["headline"]["decided"] == 0 and later["refusals"] == []
    page = reporting.html(later)
    assert "Nothing was decided in this time." in page and "Nothing was refused." in page
    assert paper_bytes(later).startswith(b"%PDF-")


def test_before_anything_was_sealed_or_applied(database_url: str):
    world = world_of(database_url)
    document = built(world, verified=False)
    assert document["checkpoint"] is None and document["rulesets"] == []
    outline(reporting.html(document))
    assert paper_bytes(document).startswith(b"%PDF-")
    world.store.close()


@pytest.mark.parametrize(("days", "unit"), [(1, "day"), (90, "day"), (95, "week"), (600, "week"), (700, "month")])
def test_long_times_are_summed_up(days: int, unit: str):
    begin = datetime(2026, 12, 31, 23, tzinfo=UTC)  # New Year in Berlin
    end = begin + timedelta(days=days)
    told = [(begin, "outcome", "sent", 3), (end - timedelta(minutes=15), "decision", "deny", 2)]
    chart = reporting._chart(told, reporting._Clock("Europe/Berlin"), begin, end)
    assert chart["unit"] == unit and len(chart["bars"]) <= 100
    assert (chart["bars"][0]["sent"], chart["bars"][-1]["refused"]) == (3, 2)
    assert {"day": "1 Jan 2027", "week": "28 Dec 2026", "month": "2027-01"}[unit] == chart["bars"][0]["label"]


def test_days_are_the_workspaces(world: World):
    """23:30 UTC is the next day in Berlin."""
    found = [(datetime(2027, 3, 1, 23, 30, tzinfo=UTC), "outcome", "sent", 1)]
    begin, end = datetime(2027, 2, 28, 23, tzinfo=UTC), datetime(2027, 3, 3, 23, tzinfo=UTC)
    bars = reporting._chart(found, reporting._Clock("Europe/Berlin"), begin, end)["bars"]
    assert [(bar["label"], bar["sent"]) for bar in bars] == [("1 Mar 2027", 0), ("2 Mar 2027", 1)]


def test_quarters_of_an_hour_are_cut_the_same_on_both_databases(world: World):
    with world.store.read() as conn:
        rows = auditing.by_time(conn, None, NOON + timedelta(days=9))
    assert {row[0] for row in rows} == {NOON}
    assert {type(row[3]) for row in rows} == {int}
