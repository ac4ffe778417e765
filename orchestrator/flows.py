"""Prefect's door: the flows that `prefect.yaml` deploys. The only module that imports Prefect.

The import costs two seconds, so the command line imports this module only where a flow is run. A flow body is one call
of a verb. Prefect runs a flow at least once, may start it a second early or twice, and may forget that it ran: what is
due is computed from our own tables, so none of that sends anything twice.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    # A fresh home took 18 s to start on two idle cores (Prefect 3.8.8), and the default is 20.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
"""Prefect's settings wherever we start it: quiet, and calling nobody outside."""
EMBEDDED = {
    # The embedded server says "database is locked" in pages of traceback that mean nothing (prefect #18934, #19771).
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    # A run that fails raises here, and whoever began it says why in a line: no page of traceback before that.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # its events go to a server that a Ctrl-C has ended as well
}
"""More of them, where a flow run starts a server of its own."""

if "prefect" not in sys.modules:  # on a worker Prefect came first, with the settings its operator chose
    for _name, _value in QUIET.items() if os.environ.get("PREFECT_API_URL") else (QUIET | EMBEDDED).items():
        os.environ.setdefault(_name, _value)
    _here = os.environ.get("ORCHESTRATOR_WORKSPACE") or str(Path.cwd())
    os.environ.setdefault("PREFECT_HOME", str(Path(_here).absolute() / ".orchestrator" / "prefect"))

import asyncio  # noqa: E402
import math  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import asdict  # noqa: E402
from datetime import datetime  # noqa: E402
from typing import Any, TypeVar  # noqa: E402

from prefect import flow, task  # noqa: E402
from prefect.artifacts import acreate_markdown_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.states import Completed  # noqa: E402

from channels.base import Medium  # noqa: E402
from orchestrator import wiring  # noqa: E402
from orchestrator.posting import PostReport, house, take_back  # noqa: E402
from orchestrator.rank import RankReport  # noqa: E402
from orchestrator.rank import refresh as refresh_now  # noqa: E402
from orchestrator.reconcile import ReconcileReport  # noqa: E402
from orchestrator.reconcile import reconcile as reconcile_now  # noqa: E402
from orchestrator.retain import RetainReport  # noqa: E402
from orchestrator.retain import retain as retain_now  # noqa: E402
from orchestrator.seal import SealReport  # noqa: E402
from orchestrator.seal import seal as seal_now  # noqa: E402
from orchestrator.settings import HARMLESS  # noqa: E402
from orchestrator.tasking import DigestReport, plan_digests  # noqa: E402
from orchestrator.tick import TickReport  # noqa: E402
from orchestrator.tick import tick as tick_now  # noqa: E402

T = TypeVar("T")
Stop = Callable[[], bool]


async def _aside(
    workspace: str | None,
    work: Callable[[wiring.Wired, Stop], T],
    *,
    seconds: float = math.inf,
    now: datetime | None = None,
) -> T:
    """A verb in a thread of its own: channels run an event loop, and so does the flow.

    It is told to stop after so many seconds, when the process is to end, and when the flow run is over: one that is
    cancelled or terminated does not leave its thread sending.
    """
    over, end = threading.Event(), time.monotonic() + seconds

    def stop() -> bool:
        return over.is_set() or wiring.stopping.is_set() or time.monotonic() > end

    def run() -> T:
        with wiring.connected(workspace, now=now) as wired:
            return work(wired, stop)

    try:
        return await asyncio.to_thread(run)
    finally:
        over.set()


@flow(name="tick", persist_result=False)
async def tick(workspace: str | None = None, budget_seconds: int = 50, now: str | None = None) -> State[dict[str, Any]]:
    """Enroll, advance and deliver what is due, for at most `budget_seconds`.

    Parameters carry no personal data: Prefect shows and stores them in clear.

    Args:
        workspace: The folder with orchestrator.toml; without it ORCHESTRATOR_WORKSPACE, then the working directory.
        budget_seconds: No new batch begins after this many seconds. Keep it below the schedule's interval.
        now: A rehearsal's instant (ISO 8601 with its offset) in place of the clock; refused where a channel is live.
    """
    report = await do_tick(workspace, budget_seconds, now)
    await acreate_markdown_artifact(key="tick", markdown=report.markdown(), description=report.summary)
    return Completed(name=report.name, message=report.summary, data=report.counts())


# Not cached and not retried: a tick sends. What it leaves undone the next one finds in the tables.
@task(name="tick", cache_policy=NO_CACHE, persist_result=False, retries=0)
async def do_tick(workspace: str | None, budget_seconds: int, now: str | None) -> TickReport:
    """The verb, in a thread of its own: channels run an event loop, and so does the flow."""
    at = datetime.fromisoformat(now) if now else None

    def work(wired: wiring.Wired, stop: Stop) -> TickReport:
        return tick_now(
            wired.store,
            wired.channels,
            wired.keys,
            clock=wired.clock,
            budget_seconds=budget_seconds,
            worker=wiring.worker_name(),
            public_url=wired.settings.web.public_url,
            senders=wired.settings.senders,
            permits=wired.settings.safety.permits(),
            erasures=wired.erasures_path,
            stop=stop,
        )

    return await _aside(workspace, work, now=at)


@flow(name="seal", persist_result=False)
async def seal(workspace: str | None = None, budget_seconds: int = 50) -> State[dict[str, Any]]:
    """Seal what is new in the ledgers and sign a checkpoint, for at most `budget_seconds`.

    Ticks seal as well; this is for what comes in between them, and where ticks have no time left.

    Args:
        workspace: The folder with orchestrator.toml; without it ORCHESTRATOR_WORKSPACE, then the working directory.
        budget_seconds: No new chunk begins after this many seconds. Keep it below the schedule's interval.
    """
    report = await do_seal(workspace, budget_seconds)
    text = report.held_up or f"{report.sealed:,} sealed, {report.size:,} in all, {report.waiting:,} waiting"
    data = {"sealed": report.sealed, "size": report.size, "waiting": report.waiting, "lag": round(report.lag, 3)}
    return Completed(name="Sealed" if report.sealed else "Idle", message=text, data=data)


# Not cached and not retried: what it leaves undone the next one finds in the tables.
@task(name="seal", cache_policy=NO_CACHE, persist_result=False, retries=0)
async def do_seal(workspace: str | None, budget_seconds: int) -> SealReport:
    """The verb, in a thread of its own."""

    def work(wired: wiring.Wired, stop: Stop) -> SealReport:
        return seal_now(
            wired.store,
            wired.keys,
            now=wired.clock(),
            stop=stop,
        )

    return await _aside(workspace, work, seconds=budget_seconds)


@flow(name="reconcile", persist_result=False)
async def reconcile(workspace: str | None = None, budget_seconds: int = 300) -> State[dict[str, Any]]:
    """Find out what became of uncertain sends, for at most `budget_seconds`.

    Args:
        workspace: The folder with orchestrator.toml; without it ORCHESTRATOR_WORKSPACE, then the working directory.
        budget_seconds: No new batch begins after this many seconds; the next run goes on.
    """
    report = await do_reconcile(workspace, budget_seconds)
    text = "; ".join((report.summary, *report.problems))
    data = {"looked": report.looked, "settled": report.settled, "left": report.left, "finished": report.finished}
    return Completed(name="Settled" if report.settled else "Idle", message=text, data=data)


# Not cached and not retried: what it leaves undone the next one finds in the tables.
@task(name="reconcile", cache_policy=NO_CACHE, persist_result=False, retries=0)
async def do_reconcile(workspace: str | None, budget_seconds: int) -> ReconcileReport:
    """The verb, in a thread of its own: channels run an event loop, and so does the flow."""

    def work(wired: wiring.Wired, stop: Stop) -> ReconcileReport:
        return reconcile_now(
            wired.store,
            wired.channels,
            wired.keys,
            now=wired.clock,
            public_url=wired.settings.web.public_url,
            senders=wired.settings.senders,
            stop=stop,
        )

    return await _aside(workspace, work, seconds=budget_seconds)


@flow(name="letters", persist_result=False)
async def letters(workspace: str | None = None) -> State[dict[str, Any]]:
    """Take in the receipts and the returned post that the print house left.

    Args:
        workspace: The folder with orchestrator.toml; without it ORCHESTRATOR_WORKSPACE, then the working directory.
    """
    report = await do_letters(workspace)
    text = "; ".join((report.summary, *report.problems))
    data = {"files": report.files, "new": dict(report.new), "refused": report.refused, "jobs": report.jobs}
    return Completed(name="Read" if report.files else "Idle", message=text, data=data)


# Not cached and not retried: what it leaves undone the next one finds where the house left it.
@task(name="letters", cache_policy=NO_CACHE, persist_result=False, retries=0)
async def do_letters(workspace: str | None) -> PostReport:
    """The verb, in a thread of its own: channels run an event loop, and so does the flow."""

    def work(wired: wiring.Wired, stop: Stop) -> PostReport:
        if wired.settings.channel(Medium.MAIL).provider in HARMLESS:
            return PostReport()  # letters that reach nobody come back from nobody
        return take_back(
            wired.store,
            wired.keys,
            house(wired.channels),
            now=wired.clock,
            stop=stop,
        )

    return await _aside(workspace, work)


@flow(name="digest", persist_result=False)
async def digest(workspace: str | None = None) -> State[dict[str, Any]]:
    """Plan today's list of open tasks for everybody who has any, from the hour on that the settings say, once a day.

    Args:
        workspace: The folder with orchestrator.toml; without it ORCHESTRATOR_WORKSPACE, then the working directory.
    """
    report = await do_digest(workspace)
    return Completed(name="Planned" if report.planned else "Idle", message=report.summary, data=asdict(report))


# Not cached and not retried: what it leaves undone the next one plans, and a list is planned once a day.
@task(name="digest", cache_policy=NO_CACHE, persist_result=False, retries=0)
async def do_digest(workspace: str | None) -> DigestReport:
    """The verb, in a thread of its own."""

    def work(wired: wiring.Wired, stop: Stop) -> DigestReport:
        at = getattr(wired.channels[Medium.TASK], "digest", None)
        return plan_digests(wired.store, wired.keys, at, now=wired.clock()) if at else DigestReport()

    return await _aside(workspace, work)


@flow(name="retention", persist_result=False)
async def retention(workspace: str | None = None, budget_seconds: int = 600) -> State[dict[str, Any]]:
    """Destroy what is older than `policies.retention` says, for at most `budget_seconds`.

    Args:
        workspace: The folder with orchestrator.toml; without it ORCHESTRATOR_WORKSPACE, then the working directory.
        budget_seconds: No new batch begins after this many seconds; the next run goes on.
    """
    report = await do_retain(workspace, budget_seconds)
    done = sum(report.counts.values())
    data = {"counts": dict(report.counts), "finished": report.finished}
    return Completed(name="Destroyed" if done else "Idle", message=report.summary, data=data)


# Not cached and not retried: what it leaves undone the next one finds in the tables.
@task(name="retention", cache_policy=NO_CACHE, persist_result=False, retries=0)
async def do_retain(workspace: str | None, budget_seconds: int) -> RetainReport:
    """The verb, in a thread of its own."""

    def work(wired: wiring.Wired, stop: Stop) -> RetainReport:
        return retain_now(
            wired.store,
            now=wired.clock(),
            budget_seconds=budget_seconds,
            stop=stop,
        )

    return await _aside(workspace, work)


@flow(name="refresh", persist_result=False)
async def refresh(workspace: str | None = None, budget_seconds: int = 600) -> State[dict[str, Any]]:
    """Work out everybody's value anew and rank them, for at most `budget_seconds`.

    Args:
        workspace: The folder with orchestrator.toml; without it ORCHESTRATOR_WORKSPACE, then the working directory.
        budget_seconds: No new batch is written after this many seconds; the next run writes them all.
    """
    report = await do_refresh(workspace, budget_seconds)
    data = {"ranked": report.ranked, "moved": report.moved, "scored": report.scored, "finished": report.finished}
    text = "; ".join((report.summary, *report.notes))
    return Completed(name="Ranked" if report.ranked or report.scored else "Idle", message=text, data=data)


# Not cached and not retried: all of it is worked out anew each time.
@task(name="refresh", cache_policy=NO_CACHE, persist_result=False, retries=0)
async def do_refresh(workspace: str | None, budget_seconds: int) -> RankReport:
    """The verb, in a thread of its own."""

    def work(wired: wiring.Wired, stop: Stop) -> RankReport:
        return refresh_now(
            wired.store,
            now=wired.clock(),
            stop=stop,
        )

    return await _aside(workspace, work, seconds=budget_seconds)


def run_tick(
    workspace: str | None = None, budget_seconds: int = 50, now: str | None = None, *, runner: Callable[..., Any] = tick
) -> dict[str, Any]:
    """One flow run from plain code, on the embedded engine or PREFECT_API_URL's; returns the counts.

    The first one of a process starts the embedded server (11 s; 25 s with a fresh home). Raises what the verb raised.
    """

    async def run() -> dict[str, Any]:
        state = await runner(workspace=workspace, budget_seconds=budget_seconds, now=now, return_state=True)
        found: dict[str, Any] = await state.aresult()
        return found

    return asyncio.run(run())
