"""Real deaths: twenty workers killed by SIGKILL in the middle of their batches, on each database."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from channels.base import Medium
from channels.sandbox import kept
from orchestrator.store.keys import Attempt
from tests import killed
from tests.outgoing import World, audit, open_store

DEATHS = 20


@pytest.mark.slow
def test_twenty_workers_are_killed_and_nobody_gets_it_twice(database_url: str):
    folder = Path(tempfile.mkdtemp(prefix="outbox-"))
    world = World(open_store(database_url), folder)
    world.apply(killed.TEXTS)
    world.event(world.people(2500))
    world.move()
    world.store.close()  # no connection of ours is carried into a process that dies

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.killed"])
    chance = random.Random(20)
    died = 0
    begun = time.monotonic()
    while died < DEATHS and time.monotonic() - begun < 300:
        world.pass_time(seconds=61)  # the dead one's lease is over
        ours, theirs = context.Pipe()
        worker = context.Process(target=killed.work, args=(database_url, str(folder), world.now, theirs, 0.004))
        worker.start()
        theirs.close()
        assert ours.poll(60) and ours.recv() == "ready"
        if died % 4:  # most of them in the middle, some while they decide
            assert ours.poll(60) and ours.recv() == "handing over"
        time.sleep(chance.uniform(0.0, 0.3))
        alive = worker.is_alive()
        worker.kill()
        worker.join(10)
        ours.close()
        died += alive
    assert died == DEATHS, f"only {died} workers were at work when they were killed"

    world.pass_time(seconds=61)
    before = world.states()
    assert before["planned"] and before["sent"], before
    for _ in range(4):
        world.tick()
        world.pass_time(seconds=61)
    audit(world)
    states = world.states()
    assert set(states) == {"sent", "uncertain"} and sum(states.values()) == 5000
    out = Counter(a.message_id for k in kept(folder) if (a := Attempt.read(k.attempt)))
    assert max(out.values()) == 1
    by_id = {m.id: m.state for m in world.messages()}
    assert all(by_id[i] in ("sent", "uncertain") for i in out)
    assert {i for i, state in by_id.items() if state == "sent"} <= set(out)
    assert 0 < states["uncertain"] <= DEATHS * 60, "some died between hand-over and record, and each is listed"
    assert world.channels[Medium.EMAIL].name == "sandbox"
    world.store.close()
    shutil.rmtree(folder, ignore_errors=True)
