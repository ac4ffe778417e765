"""Real input: the whole CDNOW history imported, a win-back over it through the Prefect flow, and all of it again.

The data lies beside a checkout that has it (benchmarks/cdnow.py says where); without it this test skips, aloud.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks import cdnow
from orchestrator import wiring
from orchestrator.apply import apply
from orchestrator.importing import import_file
from orchestrator.project import load
from orchestrator.rows import ImportKind
from orchestrator.store import tables as t
from tests.flows.conftest import FILES, outbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.prefect,
    pytest.mark.usefixtures("prefect_backend"),
    pytest.mark.skipif(not cdnow.MASTER.is_file(), reason=f"the CDNOW history is not at {cdnow.MASTER.parent}"),
]

NOW = datetime(1998, 7, 1, 15, tzinfo=UTC)  # the day after the history ends: nine to five in every zone made up for it
WORKSPACE = """
workspace: records
timezone: America/New_York
currency: USD
sender: { name: Records, postal_address: "Records Inc., 1 Main Street, Ambler, PA 19002, US" }
events:
  order_placed: { amount: money, channel: text, order_id: key }
classes:
  b2c: { tiers: [bronze, silver] }
topics:
  offers: { purpose: marketing, title: Offers }
policies:
  quiet_hours: { email: { open: 07:00-22:00, then: hold } }
"""
SEGMENTS = """
lapsed: count(order_placed) >= 8 and sum(order_placed.amount) > 200 USD and days_since(last(order_placed)) > 120
"""
WIN_BACK = """
journey: win-back
owner: records@acme.example
trigger: { segment_entry: lapsed, include_existing: true }
reentry: after 365 days
goal: { event: order_placed, within: 60 days }
steps:
  - email: come-back
  - wait: 14 days
"""
EMAIL = """---
subject: Still listening, {{ customer.first_name }}?
preheader: Your first record with us was {{ customer.joined | date }}.
topic: offers
---
<mjml lang="en"><mj-body><mj-section><mj-column>
<mj-text>Hello {{ customer.first_name }}, we have kept something for you.</mj-text>
<mj-text>{{ workspace.sender.postal_address }} <a href="{{ links.unsubscribe }}">Unsubscribe</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""


def _workspace(folder: Path) -> Path:
    texts = {
        "orchestrator.toml": FILES["orchestrator.toml"],
        "journeys/workspace.yaml": WORKSPACE,
        "journeys/segments.yaml": SEGMENTS,
        "journeys/win-back.yaml": WIN_BACK,
        "templates/email/come-back.mjml": EMAIL,
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def _expected() -> set[str]:
    """Who should be written to, worked out from the file alone."""
    count: dict[int, int] = {}
    cents: dict[int, int] = {}
    last: dict[int, datetime] = {}
    for order in cdnow.orders():
        count[order.customer] = count.get(order.customer, 0) + 1
        cents[order.customer] = cents.get(order.customer, 0) + order.cents
        last[order.customer] = max(
            last.get(order.customer, datetime(1970, 1, 1, tzinfo=UTC)),
            datetime(order.day.year, order.day.month, order.day.day, 12, tzinfo=UTC),
        )
    regulars = {c for c, n in count.items() if n >= 8 and cents[c] > 20_000 and (NOW - last[c]).days > 120}
    return {f"cd{c:05d}" for c in regulars if cdnow._draw(c, "consent") % 10 < 8}


def test_the_history_is_imported_and_won_back_once(tmp_path: Path) -> None:
    from orchestrator import flows

    made = cdnow.write(tmp_path / "files")
    assert made == (23_570, 69_659)
    folder = _workspace(tmp_path / "records")
    project = load(folder)

    def imported() -> list[tuple[int, int, int, int]]:
        reports = []
        kinds: tuple[tuple[ImportKind, str], ...]
        kinds = (("customers", "customers"), ("events", "orders"), ("consents", "consents"))
        for kind, name in kinds:
            path = tmp_path / "files" / f"{name}.csv"
            report = import_file(wired.store, wired.keys, project.vocabulary, kind, path, now=NOW, again=True)
            reports.append((report.inserted, report.updated, report.unchanged, report.quarantined))
        return reports

    with wiring.connected(folder, create=True) as wired:
        first = imported()
        assert [f[0] for f in first[:2]] == [23_570, 69_659] and not any(f[3] for f in first)
        apply(wired.store, project, author="test", message="", now=NOW)
    counts = flows.run_tick(str(folder), 300, NOW.isoformat())
    assert counts["finished"], counts
    expected = _expected()
    assert len(expected) > 100
    files = outbox(folder)
    with wiring.connected(folder) as wired, wired.store.read() as conn:
        query = sa.select(t.customer.c.key).join(t.message, t.message.c.customer_id == t.customer.c.id)
        assert set(conn.execute(query.where(t.message.c.state == "sent")).scalars()) == expected
    assert len(files) == len(expected)

    with wiring.connected(folder) as wired:
        second = imported()
    assert [(s[0], s[1], s[3]) for s in second] == [(0, 0, 0)] * 3
    assert [s[2] for s in second] == [f[0] for f in first]
    again = flows.run_tick(str(folder), 300, NOW.isoformat())
    assert again["messages"] == [] and outbox(folder) == files
