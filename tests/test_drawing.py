"""Journeys as pictures: well-formed, complete, nothing on top of anything else, always the same."""

from __future__ import annotations

import os
import random
import xml.etree.ElementTree as ET
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import caption, drawing
from orchestrator.drawing import COLOURS, draw
from orchestrator.journey import Journey
from orchestrator.layout import MARGIN, Box, Plan, arrange
from orchestrator.project import Project, load
from orchestrator.rehearse.verdict import ways
from orchestrator.simulation import Traffic
from orchestrator.steps.email import Email
from orchestrator.steps.task import Task
from tests.making import condition, journey, of_steps, step
from tests.test_engine_properties import any_journey

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
IMAGES = ROOT / "docs" / "images"
SHOWN = ("win-back", "b2b-onboarding", "welcome")


@cache
def starter() -> Project:
    return load(ROOT)


NAMES = sorted(p.stem for p in ROOT.glob("journeys/*/*.yaml") if not p.name.endswith(".test.yaml"))


def every() -> list[Journey]:
    return list(starter().journeys.values())


def some_traffic(j: Journey, chance: random.Random) -> Traffic:
    steps = {s.id: chance.randint(0, 2_000_000) for s in j.every_step()}
    return Traffic(
        2_000_000,
        steps,
        {way: chance.randint(0, 90_000) for way in ways(j)},
        {s: chance.choice([0, 7, 12_345]) for s in steps},
        {"completed": 3, "goal": 400_000, "holdout": 12, "parked": 1},
        dict.fromkeys(j.sends(), 99_999),
    )


SMALL = """
journey: second-order
trigger: { event: order_placed, where: amount >= 80 EUR, key: order_id }
audience: class == b2c and not in segment("sleepy")
holdout: 5%
goal: { event: order_placed, within: 30 days }
exit_when: [ tier == gold ]
steps:
  - first_of: [ { push: nudge }, { sms: short, only_if: score > 3 } ]
    until: delivered
    within: 2 days
  - wait: 5 days
  - branch:
      - if: tier >= gold
        steps: [ { email: offer }, { goto: "wait:5-days", max: 2 } ]
      - else: [ { exit: no more } ]
  - wait_for: { message: email:offer, is: clicked, timeout: 3 days }
  - task: account_manager
    message: "Call {{ customer.first_name | default('her') }} <now> & ask"
"""


def small() -> Journey:
    return journey(SMALL)


# ---- where things stand ---------------------------------------------------------------------------------------------


def solid(plan: Plan) -> list[Box]:
    return [b for b in plan.boxes if b.kind != "panel"]


def check(plan: Plan) -> None:
    """No box on another, none out of the picture, no line through a box, every leg straight."""
    boxes = solid(plan)
    for a, b in combinations(boxes, 2):
        apart = a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y
        assert apart, (a, b)
    for box in plan.boxes:
        assert box.x >= MARGIN - 0.01 and box.x + box.w <= plan.width - MARGIN + 0.01, box
        assert box.y >= MARGIN and box.y + box.h <= plan.height - MARGIN + 0.01, box
    for line in plan.lines:
        for (x, y), (to_x, to_y) in zip(line.points, line.points[1:], strict=False):
            assert x == to_x or y == to_y, line
            left, right, top, bottom = min(x, to_x), max(x, to_x), min(y, to_y), max(y, to_y)
            assert left >= 0 and right <= plan.width
            for box in boxes:
                through = left < box.x + box.w - 0.5 and right > box.x + 0.5
                assert not (through and top < box.y + box.h - 0.5 and bottom > box.y + 0.5), (line, box)


@pytest.mark.parametrize("counted", [False, True])
def test_no_card_of_the_starter_stands_on_another_and_no_line_runs_through_one(counted: bool):
    for j in every():
        tallies = (("12,345", "entered"), ("1", "completed")) if counted else ()
        check(arrange(j, counted=counted, tallies=tallies))


@given(st.randoms(use_true_random=False), st.booleans())
def test_nor_of_any_tree(chance: random.Random, counted: bool):
    check(arrange(any_journey(chance), counted=counted))


@pytest.mark.parametrize("more", ["", "audience: class == b2c", "holdout: 7%", "audience: class == b2c\nholdout: 7%"])
def test_several_triggers_meet_before_the_first_step(more: str):
    begins = ["{ event: order_placed }", "{ segment_entry: vips }", "{ event: quote_opened }"]
    steps = "steps: [ { split: { a: { share: 50%, steps: [ { email: a } ] }, b: { share: 50% } } } ]"
    for n in (1, 2, 3):
        j = journey(f"journey: j\ntrigger: [ {', '.join(begins[:n])} ]\n{more}\n{steps}")
        for counted in (False, True):
            plan = arrange(j, counted=counted)
            check(plan)
            starts = [line.points[-1][1] for line in plan.lines if line.count == ("entered",)]
            assert all(p[1] <= end for line in plan.lines if line.count == ("entered",) for p in line.points
                       for end in starts)  # fmt: skip


def test_texts_fit_their_cards():
    for j in every():
        for box in solid(arrange(j)):
            room = box.w - (58 if box.kind in ("card", "held", "ending") else 0)
            for line in box.title:
                assert caption.width(line, 14 if box.kind in ("card", "held") else 12, bold=True) <= room + 60, line
            for line in box.details:
                assert caption.width(line, 12) <= room, line


# ---- what is in it --------------------------------------------------------------------------------------------------


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def complete(j: Journey, svg: str) -> None:
    root = parsed(svg)
    steps = {e.get("data-step") for e in root.iter() if e.get("data-step")}
    assert steps == {s.id for s in j.every_step()}
    found = set()
    for group in root.iter():
        if group.get("data-step"):
            found |= {(group.get("data-step"), e.get("data-way")) for e in group.iter() if e.get("data-way")}
    assert found == set(ways(j))


@pytest.mark.parametrize("name", ["light", "dark", "auto"])
def test_every_step_and_way_of_the_starter_is_in_its_picture(name: drawing.Theme):
    for j in every():
        complete(j, draw(j, theme=name))
        complete(j, draw(j, some_traffic(j, random.Random(1)), theme=name))


@given(st.randoms(use_true_random=False))
def test_and_of_any_tree(chance: random.Random):
    j = any_journey(chance)
    complete(j, draw(j))
    complete(j, draw(j, some_traffic(j, chance)))


def texts(svg: str) -> list[str]:
    return [e.text or "" for e in parsed(svg).iter(f"{SVG}text")]


def test_counts_stand_where_they_belong():
    j = small()
    branch, wait = (next(s.id for s in j.steps if s.keyword == k) for k in ("branch", "wait_for"))
    traffic = Traffic(
        1000,
        {"first_of": 950, "wait:5-days": 900, branch: 880, "email:offer": 301, wait: 250},
        {(branch, "if 1"): 301, (branch, "else"): 579, (wait, "then"): 41, (wait, "else"): 198},
        {"wait:5-days": 20},
        {"holdout": 50, "goal": 70, "exited": 600, "completed": 260},
        {"email:offer": 290, "push:nudge": 640, "sms:short": 205},
    )
    shown = texts(draw(j, traffic))
    for text in ("950", "301 · 34%", "579 · 66%", "290 sent", "640", "205", "20 here", "50 runs", "Completed · 260"):
        assert text in shown, text
    assert "it is clicked: 41" in shown and "not in 3 days: 198" in shown
    assert {"1,000", "entered", "reached the goal · 7%", "held out · 5%", "messages sent", "1,135"} <= set(shown)
    assert not any("sent" in text for text in texts(draw(j)) if text != "Sent nothing, to compare")


def test_lines_are_as_thick_as_their_share():
    j = of_steps(step(Email, "a", template="a"), step(Email, "b", template="b"))
    root = parsed(draw(j, Traffic(100, {"a": 100, "b": 10})))
    widths = sorted(float(e.get("stroke-width") or 0) for e in root.iter(f"{SVG}path") if e.get("stroke-linejoin"))
    flows = [w for w in widths if w != 1.6]  # 1.6: the icons' lines
    assert max(flows) > 3 * min(flows)


def test_a_name_a_condition_and_a_text_are_text_and_no_markup():
    evil = '<script>alert("1")</script>&"\'\x00\x0b\uffff'
    j = of_steps(
        step(Task, "task:" + evil, task=evil, text=evil, title=evil, only_if=condition(evil)),
        name=evil,
        audience=condition(evil),
        exit_when=(condition(evil),),
    )
    for traffic in (None, Traffic(3, ended={evil: 2})):
        svg = draw(j, traffic)
        assert "<script" not in svg and "\x00" not in svg
        svg.encode()
        assert not list(parsed(svg).iter(f"{SVG}script"))


def test_nothing_is_loaded_and_nothing_runs():
    svg = draw(small(), some_traffic(small(), random.Random(2)))
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert not any(
        word in svg for word in ("url(", "@import", "href", "<image", "<foreignObject", "onload=", "onclick=")
    )
    assert parsed(svg).get("role") == "img"
    assert [parsed(svg)[0].tag, parsed(svg)[1].tag] == [f"{SVG}title", f"{SVG}desc"]
    assert "Begins: order_placed" in (parsed(svg)[1].text or "")


def test_the_same_for_ever_and_ids_of_its_own():
    j, other = small(), starter().journeys["welcome"]
    assert draw(j) == draw(small())
    ids = [e.get("id") for svg in (draw(j), draw(other)) for e in parsed(svg).iter() if e.get("id")]
    assert len(ids) == len(set(ids)) == 4


def test_a_fixed_theme_needs_no_style_and_auto_changes_with_the_reader():
    light, dark, auto = (draw(small(), theme=t) for t in ("light", "dark", "auto"))
    assert "<style" not in light + dark and COLOURS["page"][0] in light and COLOURS["page"][1] in dark
    assert "prefers-color-scheme:dark" in auto and COLOURS["page"][0] in auto


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_texts_and_icons_can_be_told_from_what_they_stand_on(theme: int):
    tones = [name.removesuffix("-soft") for name in COLOURS if name.endswith("-soft")]
    on = [("ink", "card"), ("soft", "card"), ("ink", "page"), ("soft", "page"), ("jump", "card"), ("on", "begin-deep")]
    on += [("ink", f"{t}-soft") for t in ("flow", "wait", "exit", "goal")]
    on += [(f"{t}-deep", "card") for t in tones] + [(f"{t}-deep", f"{t}-soft") for t in tones]
    for text, ground in on:
        assert contrast(COLOURS[text][theme], COLOURS[ground][theme]) >= 4.5, (text, ground)
    for name in ("flow", "jump", "held"):
        assert contrast(COLOURS[name][theme], COLOURS["page"][theme]) >= 3, name


# ---- words ----------------------------------------------------------------------------------------------------------


def test_words():
    assert caption.named("b2b-renewal") == "B2B renewal"
    assert caption.named("win-back_news") == "Win back news"
    assert caption.cron("0 10 15 * *") == "on the 15th of each month at 10:00"
    assert caption.cron("0 10 1 1,4,7,10 *") == "on the 1st of January, April, July and October at 10:00"
    assert caption.cron("30 9 * * mon,thu") == "every Monday and Thursday at 09:30"
    assert caption.cron("5 9 * * *") == "every day at 09:05"
    assert caption.cron("*/5 9 * * *") == caption.cron("0 9 1 * mon") == ""
    assert caption.said("Call {{ account.name | default('x') }}, {% if a %}b") == "Call [account name], …b"
    said = 'a == "x y" and b >= 5 and in segment("vips") and c == "plain" and opened("email:win-back")'
    assert (
        caption.condition(condition(said))
        == 'a = "x y" and b ≥ 5 and in segment vips and c = plain and opened Win back'
    )


def test_lines_of_text():
    long = "event.invitation_of_a_very_long_name is set and customer.favourite_store is set"
    for room in (40.0, 90.0, 200.0):
        for most in (1, 2, 5):
            lines = caption.wrapped(long, 12, room, most)
            assert 1 <= len(lines) <= most and all(caption.width(line, 12) <= room for line in lines)
    assert caption.wrapped("", 12, 50, 2) == ()
    assert caption.wrapped("short", 12, 50, 2) == ("short",)
    assert caption.wrapped(long, 12, 90, 1)[0].endswith("…")
    assert len(caption.balanced("count(feature_used, 30 days) ≥ 3", 12, 170, 3)) == 2


# ---- as they are kept -----------------------------------------------------------------------------------------------


def kept(path: Path, text: str) -> None:
    if os.environ.get("REGEN_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "run this once with REGEN_GOLDEN=1, and look at the picture"


def test_a_small_journey_to_the_letter():
    kept(ROOT / "tests" / "golden" / "drawing.svg", draw(small()).replace("><", ">\n<"))


@pytest.mark.parametrize("name", SHOWN)
def test_pictures_in_the_documentation_are_current(name: str):
    kept(IMAGES / f"{name}.svg", draw(starter().journeys[name]))


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_it_is_no_wider_than_the_window_that_it_is_opened_in(theme: drawing.Theme):
    assert "max-width:100%;height:auto" in draw(small(), theme=theme)
