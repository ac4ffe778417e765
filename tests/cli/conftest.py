"""Two worlds for the commands: a small workspace whose words are ours, and the starter workspace with people in it.

Commands run in this process, at an instant that is set: `At` stands in for the machine's clock.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator import cli, wiring
from orchestrator.tick import TickReport, tick

MONDAY = datetime(2027, 3, 1, 9, tzinfo=UTC)
"""Ten in the morning in Berlin."""
GOLDEN = Path(__file__).parent / "golden"


class At:
    """The clock that commands see."""

    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self, now: datetime | None) -> wiring.Clock:
        return lambda: now or self.now


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class World:
    """A workspace's folder, and its clock."""

    folder: Path
    at: At

    def __call__(self, *arguments: str, width: int = 100) -> Said:
        """Run a command, as nobody at a terminal."""
        before = os.environ.get("COLUMNS")
        os.environ["COLUMNS"] = str(width)
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.run(["-w", str(self.folder), *arguments])
        finally:
            os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
        return Said(code, out.getvalue(), err.getvalue())

    def json(self, *arguments: str) -> Any:
        said = self("--json", *arguments)
        assert said.code == 0, said
        return said.data

    def tick(self, at: datetime | None = None) -> TickReport:
        """What the Prefect flow does, without Prefect."""
        now = at or self.at.now
        with wiring.connected(self.folder, now=now) as wired:
            return tick(
                wired.store,
                wired.channels,
                wired.keys,
                clock=wired.clock,
                budget_seconds=60,
                worker="test",
                erasures=wired.erasures_path,
            )

    def write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """A file to import: CSV, or JSON Lines by its name."""
        path = self.folder / name
        if name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            return path
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        return path


def golden(name: str, text: str, world: World) -> None:
    """The text is what the file says, but for the folder. REGEN_GOLDEN=1 writes it anew: read every change."""
    shown = "\n".join(line.rstrip() for line in text.replace(str(world.folder), "DIR").splitlines()) + "\n"
    shown = re.sub(r"quarantine-[0-9a-f]{8}", "quarantine-HASH", shown)
    shown = re.sub(r"(?<=plan )[0-9a-f]{8}", "PLAN-ID", shown)
    path = GOLDEN / name
    if os.environ.get("REGEN_GOLDEN"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


@pytest.fixture(scope="package")  # not for the session: what runs behind this package looks at the real clock
def clock() -> Iterator[At]:
    at = At()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "_clock", at)
        yield at


# ---- a small workspace ----------------------------------------------------------------------------------------------

SMALL = {
    "orchestrator.toml": "",
    "journeys/workspace.yaml": """\
workspace: small
timezone: Europe/Berlin
currency: EUR
sender: { name: Small, postal_address: "Small GmbH, Hauptstr. 1, 10115 Berlin, DE" }
attributes: { customer: { birthday: date } }
events:
  signed_up: { source: text }
  order_placed: { amount: money }
classes:
  b2c: { tiers: [bronze, silver, gold] }
topics:
  news: { purpose: marketing, title: News }
policies:
  quiet_hours: { email: { open: 07:00-22:00, then: hold } }
  caps: [ 2 per day across email ]
""",
    "journeys/segments.yaml": "gold-members: class == b2c and tier >= gold\n",
    "journeys/hello.yaml": """\
journey: hello
owner: members@acme.example
trigger: { event: signed_up }
audience: class == b2c and tier >= silver
reentry: once
goal: { event: order_placed, within: 30 days }
steps:
  - email: hello
  - wait: 2 days
  - branch:
      - if: tier >= gold
        steps: [ { email: hello, id: again } ]
      - else: []
""",
    "journeys/golden.yaml": """\
journey: golden
owner: members@acme.example
trigger: { segment_entry: gold-members }
reentry: after 30 days
steps:
  - email: hello
""",
    "templates/email/hello.mjml": """\
---
subject: Hello {{ customer.first_name | default("there") }}
preheader: There is news.
topic: news
---
<mjml lang="en"><mj-body><mj-section><mj-column>
<mj-text>Hello, here is news. {{ workspace.sender.postal_address }}
<a href="{{ links.unsubscribe }}">Unsubscribe</a> <a href="{{ links.preferences }}">Preferences</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
""",
}


def small_files(folder: Path) -> Path:
    for name, text in SMALL.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def small(tmp_path: Path, clock: At) -> World:
    """The small workspace, nothing in force, no database."""
    clock.now = MONDAY
    return World(small_files(tmp_path / "small"), clock)


PEOPLE = (
    {"key": "ana", "class": "b2c", "tier": "gold", "email": "ana@example.com", "timezone": "Europe/Berlin"},
    {"key": "ben", "class": "b2c", "tier": "silver", "email": "ben@example.com", "timezone": "America/New_York"},
    {"key": "cleo", "class": "b2c", "tier": "silver", "email": "cleo@example.com", "timezone": "Europe/Berlin"},
    {"key": "dora", "class": "b2c", "tier": "bronze", "email": "dora@example.com", "timezone": "Europe/Berlin"},
    {"key": "emil", "class": "b2c", "tier": "silver", "email": "emil@example.com", "timezone": "Europe/Berlin"},
    {"key": "noor", "class": "b2c", "tier": "silver", "email": "", "timezone": "Mars/Olympus"},
)


@pytest.fixture(scope="package")
def told(tmp_path_factory: pytest.TempPathFactory, clock: At) -> World:
    """Everything that `why` has to answer for: ana was sent to, ben is held (it is four in the morning where he is),
    cleo said no word and is refused, dora signed up and is no member of the audience, emil never signed up."""
    return happened(World(small_files(tmp_path_factory.mktemp("told") / "small"), clock))


def happened(world: World) -> World:
    """What `told` tells of, through the commands and a tick."""
    world.at.now = MONDAY - timedelta(days=1)
    people = [{**p, "timezone": p["timezone"].replace("Mars/Olympus", "")} for p in PEOPLE]
    assert world("import", "customers", str(world.write("customers.csv", people))).code == 0
    consents = [
        {
            "customer": key,
            "medium": "email",
            "topic": "news",
            "action": "grant",
            "occurred_at": "2027-02-01T08:00:00+01:00",
            "method": "double opt-in",
            "source": "sign-up page",
        }
        for key in ("ana", "ben", "dora", "emil", "noor")
    ]
    assert world("apply", "-m", "the first", "--author", "mara", "--yes").code == 0
    assert world("import", "consents", str(world.write("consents.csv", consents))).code == 0
    world.at.now = MONDAY
    events = [
        {"type": "signed_up", "customer": key, "occurred_at": MONDAY.isoformat(), "event_id": f"{key}-up",
         "properties": {"source": "shop"}}
        for key in ("ana", "ben", "cleo", "dora", "noor")
    ]  # fmt: skip
    assert world("import", "events", str(world.write("events.jsonl", events))).code == 0
    world.tick(MONDAY)
    return world


@pytest.fixture(autouse=True)
def _monday(request: pytest.FixtureRequest) -> None:
    """Every test begins on the Monday."""
    if "clock" in request.fixturenames:
        request.getfixturevalue("clock").now = MONDAY
