"""A small business with a programme: a points shop for people and for companies, and pools of voucher codes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import earn, reward
from orchestrator.apply import in_force
from orchestrator.project import Project
from orchestrator.store import Store, insert_ids, vouchers
from orchestrator.store import tables as t
from tests.outgoing import World, files, open_store
from tests.postgres import Postgres

PROGRAM = """
program:
  b2c:
    points: [ "1 per 1 EUR of bought.amount" ]
    rewards:
      mug: { costs: 300, stock: 3 }
      ten-off: { costs: 500, voucher: ten }
      vip-night: { costs: 0, kind: event_ticket, tiers: [gold], stock: 2 }
      tree: { costs: 50, kind: donation }
      once: { costs: 10, each: 1 }
      locals: { costs: 10, only_if: 'town == "Bonn"' }
  b2b:
    membership: { joins: purchase, event: bought }
    rewards:
      workshop: { costs: 1000, kind: training, stock: 1 }
vouchers:
  ten: { title: Ten percent, valid: 30 days, warn_below: 2 }
  welcome: { title: Welcome }
"""


def texts(journeys: Mapping[str, str] | None = None, program: str = PROGRAM, **templates: str) -> dict[str, str]:
    made = files(dict(journeys or {}), **templates)
    made["journeys/workspace.yaml"] = made["journeys/workspace.yaml"].replace("\npolicies:", f"{program}policies:", 1)
    return made


_migrated: dict[str, Path] = {}


def _migrate(url: str) -> None:
    open_store(url).close()


@contextmanager
def shop(request: pytest.FixtureRequest, tmp_path: Path, journeys: Mapping[str, str] | None = None) -> Iterator[World]:
    """The shop with its workspace in force, on the database that `request.param` names: a copy of one migrated once."""
    if request.param == "sqlite":
        if "" not in _migrated:
            _migrated[""] = Path(tempfile.mkdtemp(prefix="migrated-")) / "store.db"
            _migrate(f"sqlite:///{_migrated['']}")
        shutil.copy(_migrated[""], tmp_path / "store.db")
        with _open(f"sqlite:///{tmp_path / 'store.db'}", journeys) as world:
            yield world
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        with postgres.fresh_database(postgres.template("loyal", _migrate)) as url, _open(url, journeys) as world:
            yield world


@contextmanager
def _open(url: str, journeys: Mapping[str, str] | None) -> Iterator[World]:
    world = World(Store.open(url), Path(tempfile.mkdtemp(prefix="outbox-")))
    world.apply(texts(journeys))
    yield world
    world.store.close()


def fill(world: World, pool: str, codes: Iterable[str]) -> None:
    with world.store.write() as conn:
        vouchers.add(conn, pool, list(codes), world.now)


def project_of(world: World) -> Project:
    with world.store.read() as conn:
        force = in_force(conn)
    assert force is not None
    return force.project


def points_to(world: World, ids: Iterable[int], points: int, unit: Any = "customer") -> None:
    world_number = world.one(sa.select(sa.func.count()).select_from(t.point_entry))
    awards = [earn.Award(f"test:{world_number}:{i}", unit, i, points) for i in ids]
    with world.store.write() as conn:
        earn.award(conn, project_of(world), awards, world.now)


def claimed(world: World, name: str, unit_id: int, key: str, unit: Any = "customer", by: int | None = None) -> Any:
    project = project_of(world)
    return world.store.written(lambda conn: reward.claim(conn, project, unit, unit_id, name, key, by, world.now))


def company(world: World, name: str = "acme", **columns: Any) -> int:
    row = {"key": name, "class": "b2b", "tier": "std", "name": name, "attributes": {}, "created_at": world.now}
    with world.store.write() as conn:
        return int(insert_ids(conn, t.account, [{**row, "updated_at": world.now, **columns}])[0][0])
