"""The flow: one call of the verb, its counts for an operator, nothing of a person in what Prefect keeps."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from channels.base import Misconfigured
from orchestrator import wiring
from orchestrator.project import load
from orchestrator.store.tables import tick as ticks
from tests.flows.conftest import outbox, sign_up

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_backend")]


def last_run() -> tuple[Any, str]:
    """The newest flow run and its artifact, as Prefect's own database has them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
    from prefect.client.schemas.sorting import FlowRunSort

    async def look() -> tuple[Any, str]:
        async with get_client() as client:
            [run] = await client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
            of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
            [artifact] = await client.read_artifacts(artifact_filter=of_run)
            return run, str(artifact.data)

    return asyncio.run(look())


def test_a_run_sends_what_is_due_and_tells_it_in_numbers(waiting: Path):
    from orchestrator import flows

    counts = flows.run_tick(str(waiting), 30)
    assert [(m["journey"], m["medium"], m["verdict"], m["count"]) for m in counts["messages"]] == [
        ("hello", "email", "sent", 1)
    ]
    assert len(outbox(waiting)) == 1
    run, artifact = last_run()
    assert run.state.name == "Dispatched"
    assert "sent 1" in run.state.message
    assert "| hello | email | sent |  | 1 |" in artifact
    kept = json.dumps(run.parameters) + run.state.message + artifact
    assert "ana" not in kept.replace(str(waiting), "")
    again = flows.run_tick(str(waiting), 30)
    assert again["messages"] == [] and again["finished"]
    assert len(outbox(waiting)) == 1


def test_a_rehearsal_has_the_clock_it_is_given(small: Path):
    from orchestrator import flows

    now = datetime(2031, 5, 1, 12, tzinfo=UTC)
    sign_up(small, load(small), "ben", now=now)
    counts = flows.run_tick(str(small), 30, now.isoformat())
    assert counts["now"] == now.isoformat()
    assert "Thu, 01 May 2031 12:00:00" in outbox(small)[0].read_text()
    with wiring.connected(small) as wired, wired.store.read() as conn:
        row = conn.execute(ticks.select()).one()
    assert (row.started_at, row.finished_at, row.counts["tick"]) == (now, now, row.id)


def test_another_clock_is_refused_where_a_channel_is_live(small: Path, monkeypatch: pytest.MonkeyPatch):
    from orchestrator import flows

    monkeypatch.setenv("ORCHESTRATOR_CHANNELS__SMS", "carrier")
    soon = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(Misconfigured, match="for rehearsals, but sms would be sent"):
        flows.run_tick(str(small), 30, soon.isoformat())


def test_what_fails_in_the_verb_fails_the_run(tmp_path: Path):
    from orchestrator import flows
    from orchestrator.store import StoreUnavailable

    with pytest.raises(StoreUnavailable, match="is no workspace"):
        flows.run_tick(str(tmp_path), 30)


def test_a_stop_ends_a_tick_before_its_next_batch(waiting: Path, monkeypatch: pytest.MonkeyPatch):
    from orchestrator import flows

    monkeypatch.setattr(wiring, "stopping", type("Set", (), {"is_set": lambda self: True})())
    counts = flows.run_tick(str(waiting), 30)
    assert not counts["finished"] and counts["messages"] == []
    monkeypatch.undo()
    assert flows.run_tick(str(waiting), 30)["summary"].endswith("sent 1")


def test_the_flow_that_seals(waiting: Path):
    from orchestrator import flows

    async def seal() -> Any:
        return await flows.seal(workspace=str(waiting), return_state=True)

    state = asyncio.run(seal())
    assert state.name == "Sealed"
    assert state.message.endswith("in all, 0 waiting")
    assert asyncio.run(seal()).name == "Idle"


def test_the_flow_that_reconciles(waiting: Path):
    from orchestrator import flows
    from orchestrator.store.tables import message

    async def reconcile() -> Any:
        return await flows.reconcile(workspace=str(waiting), return_state=True)

    assert asyncio.run(reconcile()).name == "Idle"
    flows.run_tick(str(waiting), 30)
    with wiring.connected(waiting) as wired, wired.store.write() as conn:
        long_ago = datetime.now(UTC) - timedelta(days=3)
        conn.execute(message.update().values(state="uncertain", reason="no_answer", settled_at=long_ago))
    state = asyncio.run(reconcile())
    assert (state.name, state.message) == ("Settled", "given up 1")
    assert asyncio.run(reconcile()).name == "Idle"


@pytest.mark.parametrize("name", ["letters", "digest", "retention", "refresh"])
def test_the_other_flows_run_and_find_nothing_to_do(waiting: Path, name: str):
    from orchestrator import flows

    async def run() -> Any:
        return await getattr(flows, name)(workspace=str(waiting), return_state=True)

    state = asyncio.run(run())
    assert (state.type.value, state.name) == ("COMPLETED", "Idle") and state.message
    assert not outbox(waiting)
