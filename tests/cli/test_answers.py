"""`orchestrator answers`: figures, choices and texts of a survey, with nobody's name beside them."""

from __future__ import annotations

from datetime import date

from orchestrator import wiring
from orchestrator.store.preferences import add_answer
from tests.cli.conftest import SMALL, World

SURVEYS = """\
surveys:
  nps:
    title: How are we doing?
    questions:
      likely: { kind: nps, ask: Would you recommend us? }
      bought: { kind: choice, ask: Where?, choices: { store: In a shop, web: On the web } }
      why: { kind: text, ask: Why? }
  secret: { title: Between us, anonymous: yes, questions: { mood: { kind: scale, ask: How are you? } } }
policies:
"""


def _world(small: World) -> World:
    path = small.folder / "journeys" / "workspace.yaml"
    path.write_text(SMALL["journeys/workspace.yaml"].replace("policies:\n", SURVEYS), encoding="utf-8")
    assert small("apply", "-m", "x", "--yes").code == 0
    people = [{"key": f"c{n}", "class": "b2c"} for n in range(4)]
    assert small("db", "upgrade").code == 0
    assert small("import", "customers", str(small.write("people.csv", people))).code == 0
    given = [(10, "store", ""), (9, "web", "It works"), (7, "", ""), (2, "web", "Too [slow]")]
    rows = [
        {"type": "survey_answered", "event_id": f"e{n}", "customer": f"c{n}", "occurred_at": "2027-02-27T09:00Z",
         "survey": "nps", "score": likely, "likely": likely, "bought": bought, "why": why}
        for n, (likely, bought, why) in enumerate(given)
    ]  # fmt: skip
    assert (done := small("import", "events", str(small.write("events.csv", rows)))).code == 0, done
    with wiring.connected(small.folder) as wired, wired.store.write() as conn:
        for n, mood in enumerate((1, 5, 5), 1):
            add_answer(conn, n, "secret", date(2027, 3, 1), {"mood": mood})
    return small


def test_answers(small: World) -> None:
    world = _world(small)
    found = world.json("answers", "nps")
    likely, bought, why = found["questions"]
    assert found["answered"] == 4 and not found["anonymous"]
    assert (likely["nps"], likely["average"], likely["counts"]["9"]) == (25, 7.0, 1)
    assert bought["counts"] == {"store": 1, "web": 2} and bought["answered"] == 3
    assert why["texts"] == ["It works", "Too [slow]"]
    shown = world("answers", "nps").out
    assert "Too [slow]" in shown and "nps 25" in shown and "c1" not in shown
    secret = world.json("answers", "secret")
    assert secret["anonymous"] and secret["questions"][0]["counts"] == {"1": 1, "2": 0, "3": 0, "4": 0, "5": 2}
    said = world("answers", "npss")
    assert said.code == 2 and "did you mean `nps`?" in said.err


def test_the_trend(small: World) -> None:
    world = _world(small)
    [line] = world.json("listening", "--last", "3")["lines"]
    assert (line["name"], line["kind"], line["odd"]) == ("nps", "nps", 0)
    point = next(p for p in line["points"] if p["n"])
    assert (point["begins"], point["n"], point["value"]) == ("2027-02-22", 4, 25.0)
    assert "●" in world("listening").out and "+25" in world("listening", "--by", "month").out
    assert world("listening", "--last", "0").code == 2
