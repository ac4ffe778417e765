"""`experiments` at the command line: from too early to decided, and what the log and `why` say of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from orchestrator import wiring
from orchestrator.store import tables as t
from tests.cli.conftest import MONDAY, World

JOURNEY = """\
journey: trial
owner: me@small.example
trigger: { event: signed_up }
holdout: 20%
goal: { event: order_placed, within: 5 days }
steps:
  - split:
      bold: { share: 50%, steps: [] }
      plain: { share: 30%, steps: [ { wait: 9 days } ] }
      control: { share: 20%, steps: [ { wait: 9 days } ] }
    winner: { by: order_placed, after: 3 days }
"""


def day(n: int) -> str:
    return (MONDAY + timedelta(days=n)).isoformat()


@pytest.fixture
def trial(small: World) -> World:
    (small.folder / "journeys/trial.yaml").write_text(JOURNEY)
    assert small("apply", "-m", "x", "--yes").code == 0
    keys = [f"k{n}" for n in range(200)]
    small.write("people.csv", [{"key": key, "class": "b2c", "tier": "bronze"} for key in keys])
    signed = [{"type": "signed_up", "event_id": f"s{key}", "customer": key, "occurred_at": day(0)} for key in keys]
    small.write("signed.csv", signed)
    for kind, name in (("customers", "people.csv"), ("events", "signed.csv")):
        assert small("import", kind, str(small.folder / name)).code == 0
    small.tick()
    return small


def dealt(world: World, arm: str) -> list[str]:
    """The keys of whom chance dealt an arm."""
    query = sa.select(t.customer.c.key, t.trace.c.detail)
    query = query.join(t.enrollment, t.enrollment.c.customer_id == t.customer.c.id)
    query = query.join(t.trace, t.trace.c.enrollment_id == t.enrollment.c.id).where(t.trace.c.what == "chose")
    with wiring.connected(world.folder) as wired, wired.store.read() as conn:
        return [key for key, detail in conn.execute(query.order_by(t.customer.c.id)) if detail["arm"] == arm]


def test_from_too_early_to_decided(trial: World) -> None:
    out = trial("experiments", width=80).out
    assert "trial · split:bold-plain-control" in out and "too early: nobody's time is over" in out
    [split, holdout] = trial.json("experiments", "trial")["experiments"]
    assert (split["state"], split["decision"]) == ("too early", None)
    assert (holdout["split"], holdout["state"]) == ("holdout", "too early")
    waiting = {arm["name"]: arm["waiting"] for arm in split["arms"]}
    assert sum(waiting.values()) + sum(arm["waiting"] for arm in holdout["arms"] if arm["name"] == "held out") == 200

    bold = dealt(trial, "bold")[:60]
    orders = [{"type": "order_placed", "event_id": f"o{key}", "customer": key, "occurred_at": day(1), "amount": "9 EUR"}
              for key in bold]  # fmt: skip
    trial.write("orders.csv", orders)
    trial.at.now = MONDAY + timedelta(days=2)
    try:
        assert trial("import", "events", str(trial.folder / "orders.csv")).code == 0
        trial.at.now = MONDAY + timedelta(days=4)
        out = trial("experiments", width=80).out
        assert "clear (order_placed within 3 days)" in out and "the next tick decides" in out
        report = trial.tick()
        assert any("`bold` won by order_placed" in problem for problem in report.problems)
        said = trial("experiments", "trial", width=80)
        assert "✓ bold" in said.out and "decided on 2027-03-05 09:00 UTC: bold won, 60 of" in said.out
        tables = [line for line in said.out.splitlines() if "%" in line]
        assert tables and all(len(line.rstrip()) <= 80 and "…" not in line for line in tables)
        [split, holdout] = trial.json("experiments", "trial")["experiments"]
        assert split["decision"]["winner"] == "bold" and split["state"] == "decided" and split["to_go"] == 0
        assert [c["second"] for c in split["comparisons"]] == ["plain", "control"]
        assert "decided" in trial("log", "--limit", "3").out
        late = trial.write("late.csv", [{"key": f"z{n}", "class": "b2c", "tier": "bronze"} for n in range(3)])
        assert trial("import", "customers", str(late)).code == 0
        signed = [{"type": "signed_up", "event_id": f"z{n}", "customer": f"z{n}", "occurred_at": day(4)}
                  for n in range(3)]  # fmt: skip
        assert trial("import", "events", str(trial.write("late-signed.csv", signed))).code == 0
        trial.tick()
        told = [trial("why", f"z{n}", "trial", width=140).out for n in range(3)]
        assert any("takes `bold`, which won the experiment: decision 1" in text for text in told), told
        shown = trial.json("metrics")
        [one] = [e for e in shown["experiments"] if e["split"] != "holdout"]
        assert (one["state"], one["winner"], one["best"]) == ("decided", "bold", "bold")
        assert one["arm_rate"]["bold"]["of"] == 60 and one["arm_difference"]["plain"]["low"] > 0
        assert "✓ bold" in (out := trial("metrics", width=80).out) and "bold − control" in out
    finally:
        trial.at.now = MONDAY


def test_no_experiment_and_no_such_journey(small: World) -> None:
    assert small("apply", "-m", "x", "--yes").code == 0
    assert "give a split a `winner`" in small("experiments").out
    said = small("experiments", "wellcome")
    assert said.code == 2 and "no journey `wellcome` is in force" in said.err
