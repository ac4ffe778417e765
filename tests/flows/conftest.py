"""A small workspace in force with one customer waiting for one e-mail, and Prefect's engine once a session."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator import wiring
from orchestrator.apply import apply
from orchestrator.importing import import_rows
from orchestrator.project import Project, load

FILES = {
    "orchestrator.toml": "",
    "journeys/workspace.yaml": """
workspace: small
timezone: UTC
currency: EUR
sender: { name: Small, postal_address: "Small GmbH, Hauptstr. 1, 10115 Berlin, DE" }
events:
  signed_up: { source: text }
classes:
  b2c: { tiers: [bronze, silver] }
topics:
  service: { purpose: transactional, title: Your account, reviewed: { by: legal, on: 2026-11-01 } }
""",
    "journeys/hello.yaml": """
journey: hello
owner: members@acme.example
trigger: { event: signed_up }
reentry: always
steps:
  - email: hello
""",
    "templates/email/hello.mjml": """---
subject: Hello {{ customer.first_name | default("there") }}
preheader: Your account is ready.
topic: service
---
<mjml lang="en"><mj-body><mj-section><mj-column>
<mj-text>Hello {{ customer.first_name | default("there") }}, your account is ready.</mj-text>
</mj-column></mj-section></mj-body></mjml>
""",
}


def write_workspace(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def sign_up(folder: Path, project: Project, *keys: str, now: datetime) -> None:
    """Customers arrive and sign up, a moment before `now`."""
    with wiring.connected(folder) as wired:
        people = [{"key": key, "class": "b2c", "tier": "bronze", "email": f"{key}@example.com"} for key in keys]
        import_rows(wired.store, wired.keys, project.vocabulary, "customers", people, now=now)
        at = (now - timedelta(seconds=1)).isoformat()
        events = [
            {"type": "signed_up", "customer": key, "occurred_at": at, "event_id": f"{key}-up", "properties": {}}
            for key in keys
        ]
        report = import_rows(wired.store, wired.keys, project.vocabulary, "events", events, now=now)
        assert report.inserted == len(keys), report


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A workspace in force, nobody in it."""
    folder = write_workspace(tmp_path / "small")
    with wiring.connected(folder, create=True) as wired:
        apply(wired.store, load(folder), author="test", message="", now=datetime.now(UTC) - timedelta(minutes=5))
    return folder


@pytest.fixture
def waiting(small: Path) -> Path:
    """The same, with one customer who has just signed up."""
    sign_up(small, load(small), "ana", now=datetime.now(UTC))
    return small


@pytest.fixture(scope="session")
def prefect_backend() -> Iterator[None]:
    """Prefect's engine with a database of its own: 15 s, so once for all tests of this folder."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=300),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


def outbox(folder: Path, medium: str = "email") -> list[Path]:
    return sorted(p for p in (folder / ".orchestrator" / "outbox" / medium).glob("*") if p.is_file())
