"""A simulation's page: every number where it belongs, closed HTML, nothing loaded; two told apart."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Medium
from orchestrator import charts
from orchestrator.almanac import page
from orchestrator.drawing import STYLE as DRAWING
from orchestrator.project import Project, load_files
from orchestrator.simulation import Refusal, Reply, Simulation, Traffic, Volume
from tests.outgoing import files, journey

BEGIN = datetime(2027, 2, 28, 23, tzinfo=UTC)  # midnight in Berlin
MARCH = date(2027, 3, 1)
STEPS = "- email: hello\n- branch:\n    - if: tier == gold\n      steps: [ { sms: short } ]\n- email: second"


@cache
def project() -> Project:
    more = "holdout: 10%\ngoal: { event: bought, within: 30 days }"
    return load_files(files({"greet": journey("greet", STEPS, more=more), "idle": journey("idle", "- push: ping")}))


def volume(day: int, count: int, medium: Medium = Medium.EMAIL, name: str = "greet", cost: int = 0) -> Volume:
    step = {Medium.EMAIL: "email:hello", Medium.SMS: "sms:short"}[medium]
    return Volume(MARCH + timedelta(days=day), name, step, medium, count, cost, "EUR" if cost else "")


def played(**others: object) -> Simulation:
    found = Simulation(
        "a" * 64,
        BEGIN,
        BEGIN + timedelta(days=31, hours=-1),
        7,
        500,
        scale=20.0,
        traffic={
            "greet": Traffic(
                400,
                {"email:hello": 360, "branch": 350, "sms:short": 40},
                {("branch", "if 1"): 40, ("branch", "none"): 310},
                {"email:second": 6},
                {"holdout": 40, "goal": 90, "completed": 264},
                {"email:hello": 333, "sms:short": 40},
            ),
            "idle": Traffic(),
        },
        volumes=(
            volume(0, 300),
            volume(3, 33),
            volume(3, 40, Medium.SMS, cost=3_000_000),
            volume(5, 2, name="opt_in"),
        ),
        refusals=(
            Refusal("greet", Medium.EMAIL, "hold", "quiet_hours", 71),
            Refusal("greet", Medium.SMS, "deny", "no_consent", 27),
            Refusal("greet", Medium.EMAIL, "cancelled", "goal", 12),
        ),
        replies=(
            Reply(MARCH, "greet", Medium.EMAIL, "opened", 111),
            Reply(MARCH, "greet", Medium.EMAIL, "delivered", 330),
        ),
        messages="f" * 64,
        notes=("nobody enters idle: it waits for a call <now>",),
    )
    return replace(found, **others)  # type: ignore[arg-type]


class Reader(HTMLParser):
    """Whether all that is opened is closed; texts, ids and links."""

    VOID = frozenset({"meta", "rect", "line", "path", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [v or "" for k, v in attrs if k in ("href", "src")]
        assert not any(k.startswith("on") for k in found)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(text: str) -> Reader:
    found = Reader(text)
    assert "script" not in found.tags and "link" not in found.tags and "img" not in found.tags
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "") and "@import" not in text and "url(" not in text
    assert len(found.ids) == len(set(found.ids))
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    return found


def test_numbers_stand_on_the_page():
    text = read(page(played(), project())).text
    for said in (
        "Small, 1 March to 31 March 2027", "500 customers, each of whom stands for 20; seed 7",
        "375 messages went out some 7,500 for all of yours", "0.8 for each customer", "400 runs entered",
        "25.0% reached a goal", "71 holds", "39 refused or withdrawn", "3.00 EUR message cost some 60.00 EUR for all",
        "Monday, 1 March 2027: 300 messages", "the most on one day: 300, on 1 March 2027",
        "4 March 2027: 73, e-mail 33, SMS 40",
        "held quiet_hours 71", "refused no_consent 27", "There is no record that the customer ever said yes",
        "withdrawn goal 12", "The goal was reached before it went out.",
        "SMS 40 0.075 EUR 3.00 EUR", "e-mail 335 0.00 EUR 0.00 EUR", "all 375 3.00 EUR",
        "greet 400 373 39 25.0% 3.00 EUR", "opt_in no journey 0 2 0 none", "Nobody entered: idle.",
        "runs entered 400", "held out, to compare 40 10.0%", "reached the goal 90 25.0%",
        "messages went out 373", "… opened 111 29.8%", "6 here", "40 · 11%",
        "it waits for a call <now>", "seed 7", "aaaaaaaaaaaaaaaa", "ffffffffffffffff",
    ):  # fmt: skip
        assert said in text, said
    assert page(played(), project()) == page(played(), project())
    assert page(played(), project()).count(DRAWING) == 1


def test_two_side_by_side():
    other = played(volumes=(volume(0, 300),), refusals=(), notes=(), messages="e" * 64, scale=1.0)
    text = read(page(played(), project(), other, names=("new <b>", "in force"))).text
    for said in (
        "new <b> (the large numbers) against in force (below them)",
        "375 300 +75, +25% messages went out", "25.0% 25.0% ±0 reached a goal",
        "3.00 EUR 0.00 EUR +3.00 EUR message cost", "27 0 +27", "greet 400 400 ±0 373 300 +73, +24%",
        "1 March 2027 300 300 0 0 300 300",
    ):  # fmt: skip
        assert said in text, said
    turned = read(page(other, project(), played())).text
    assert "300 375 −75, −20% messages went out" in turned
    assert "this" in turned and "the other" in turned


def test_a_journey_that_only_one_has():
    renamed = load_files(files({"hail": journey("hail", STEPS)}))
    other = played(traffic={"hail": Traffic(5, sent={"email:hello": 5})}, volumes=(volume(1, 5, name="hail"),))
    text = read(page(played(), project(), other, renamed)).text
    assert "There is no such journey in the other" in text and "There is no such journey in this" in text


def test_nothing_at_all():
    nothing = Simulation("", BEGIN, BEGIN, 1, 0)
    text = read(page(nothing, project())).text
    assert "No message went out." in text and "Nothing was held or refused." in text and "no message at all" in text
    read(page(nothing, project(), played()))
    read(page(played(), project(), nothing))


def test_few_messages_are_told_without_a_scale_and_prices_as_they_are():
    few = played(volumes=(volume(0, 3),), traffic={"idle": Traffic(2, {"push:ping": 2})})
    texts = files({"greet": journey("greet", STEPS), "idle": journey("idle", "- push: ping")})
    texts["journeys/workspace.yaml"] += "  prices: { sms: 0.08 EUR, mail: 1 EUR }\n"
    html = page(few, load_files(texts))
    text = read(html).text
    assert "a day" not in text and "the most on one day: 3, on 1 March 2027" in text
    assert "SMS and letter have a price, and none of it went out" in text and "no medium has a price" not in text
    assert "— reached a goal no run had a goal to reach" in text
    assert "more to the right →" in text
    assert "no medium has a price" in read(page(few, project())).text


@pytest.mark.parametrize("days", [1, 2, 62, 63, 400, 401, 800])
def test_columns_are_days_weeks_or_months_and_lose_nothing(days: int):
    first, last = MARCH, MARCH + timedelta(days=days - 1)
    counts = {(first + timedelta(days=n), "email"): n + 1 for n in range(days)}
    size, found = charts.columns(counts, first, last)
    assert size == ("day" if days <= 62 else "week" if days <= 400 else "month")
    assert sum(c.whole for c in found) == sum(counts.values())
    assert len(found) == len({c.title for c in found}) <= 62
    Reader(charts.stacked(found, {"email": "e-mail"}, "x"))
    calendar = charts.calendar({d: n for (d, _), n in counts.items()}, first, last)
    assert all(f"{charts.on(d)}: {n:,} messages" in calendar for (d, _), n in counts.items())


@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=40))
def test_columns_stay_within_their_chart(counts: list[int]):
    found = [charts.Column(str(n), str(n), {"email": count}) for n, count in enumerate(counts)]
    svg = charts.stacked(found, {"email": "e-mail"}, "x")
    tops = [float(y) for y in re.findall(r'class="c-email" x="[\d.]+" y="(-?[\d.]+)"', svg)]
    lines = re.findall(r'<line x1="0" x2="1000" y1="([\d.]+)"', svg)
    assert all(-0.01 <= y <= 100 for y in tops) and 2 <= len(lines) <= 8 and len(lines) == len(set(lines))


def test_short_numbers():
    assert [charts.short(n) for n in (0, 950, 1000, 1500, 1234, 12_000, 2_500_000)] == [
        "0", "950", "1k", "1.5k", "1,234", "12k", "2.5M",
    ]  # fmt: skip


def contrast(one: str, other: str) -> float:
    from tests.test_drawing import contrast

    return contrast(one, other)


@pytest.mark.parametrize("theme", [0, 1])
def test_days_of_the_calendar_can_be_read(theme: int):
    for ground, ink in zip(charts._HEAT[theme], charts._INK_ON_HEAT[theme], strict=True):
        assert contrast(ground, ink) >= 4.5, (ground, ink)
