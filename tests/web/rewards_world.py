"""A small business whose members have a page of their own, and somebody who got a message with a link to it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.accrue import accrue
from orchestrator.store import Store
from tests.loyal import fill
from tests.outgoing import POLICIES, World, email, files, journey, open_store
from tests.postgres import Postgres

PROGRAM = """
program:
  b2c:
    membership: { joins: free }
    tier_by: points(365 days)
    thresholds: { bronze: 0, silver: 500, gold: 2000 }
    benefits: { silver: [free-shipping], gold: [early-access, personal-shopper] }
    points:
      - 1 per 1 EUR of bought.amount
      - 50 for signed_up, after 14 days
    points_expire: 18 months
    challenges:
      first-order: { when: count(bought) >= 1, points: 100, badge: buyer }
      mystery: { when: count(left) >= 1, points: 10, hidden: yes }
      regular: { when: count(bought) >= 5, points: 200, until: 2027-12-31 }
    rewards:
      mug: { costs: 300, stock: 3 }
      ten-off: { costs: 500, voucher: ten, each: 4 }
      vip-night: { costs: 100, kind: event_ticket, tiers: [gold] }
      tree: { costs: 0, kind: donation, each: 1 }
      yacht: { costs: 90000 }
      locals: { costs: 10, only_if: 'town == "Bonn"' }
    referral: { converts_on: bought, reward: { referrer: 500 } }
    draws:
      summer: { entry: per 100 points, closes: 2027-08-31, winners: 1, prize: mug }
      golden: { entry: each, closes: 2027-08-31, open_to: tier == gold }
    leaderboard: yes
    content:
      guide: { title: { en: The silver guide, de: Das Silberheft }, url: "https://small.example/members/silver-9f2c",
        text: Fifty recipes., tiers: [silver, gold] }
      lounge: { title: The golden lounge, url: "https://small.example/members/gold-77aa", tiers: [gold] }
    titles:
      b2c: { en: Friends of Small, de: Freundeskreis Small }
      silver: { en: Silver, de: Silber }
      bought: { en: Order, de: Bestellung }
      free-shipping: { en: Free shipping, de: Kostenloser Versand }
      ten-off: { en: Ten euros off, de: Zehn Euro Rabatt }
      mug: { en: A mug, de: Ein Becher }
  b2b:
    points: [ "1 per 1 EUR of bought.amount" ]
    claimed_by: [ Buyer, head of office ]
    rewards:
      workshop: { costs: 100, kind: training, voucher: ten }
vouchers:
  ten: { title: { en: Ten euros, de: Zehn Euro }, valid: 30 days }
"""


def texts(program: str = PROGRAM) -> dict[str, str]:
    hello = email("Hello", "<a href='{{ links.rewards }}'>Rewards</a> <a href='{{ links.preferences }}'>Settings</a>")
    found = files(
        {"hello": journey("hello", "- email: hello", more="reentry: always")},
        POLICIES,
        **{"templates/email/hello.mjml": hello},
    )
    path = "journeys/workspace.yaml"
    whole = found[path].replace("\npolicies:", f"{program}policies:", 1)
    whole = whole.replace("tiers: [silver, gold] }", "tiers: [bronze, silver, gold] }", 1)
    whole = whole.replace("sender: { name: Small,", "sender: { name: Small, website: https://small.example/,", 1)
    return found | {path: whole}


_migrated: list[Path] = []


@contextmanager
def club(request: pytest.FixtureRequest, tmp_path: Path, program: str = PROGRAM) -> Iterator[World]:
    """The club in force on the database that `request.param` names, with codes in its pool."""
    if getattr(request, "param", "sqlite") == "sqlite":
        if not _migrated:
            _migrated.append(Path(tempfile.mkdtemp(prefix="migrated-")) / "store.db")
            open_store(f"sqlite:///{_migrated[0]}").close()
        shutil.copy(_migrated[0], tmp_path / "store.db")
        with opened(f"sqlite:///{tmp_path / 'store.db'}", program) as world:
            yield world
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        template = postgres.template("loyal", lambda url: open_store(url).close())
        with postgres.fresh_database(template) as url, opened(url, program) as world:
            yield world


@contextmanager
def opened(url: str, program: str = PROGRAM) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="outbox-"))
    world = World(Store.open(url), folder)
    world.apply(texts(program))
    fill(world, "ten", [f"TEN-{n:04}" for n in range(1, 9)])
    try:
        yield world
    finally:
        world.store.close()
        shutil.rmtree(folder, ignore_errors=True)


def written_to(world: World, customer_id: int) -> int:
    """The message that somebody got by e-mail now."""
    world.event([customer_id])
    world.tick()
    accrue(world.store, now=world.now)
    message = [m for m in world.messages() if m.customer_id == customer_id][-1]
    assert message.state in ("sent", "delivered"), (message.state, message.reason)
    return int(message.id)


def somebody(world: World, spent: int = 84000, **person: Any) -> tuple[int, int]:
    """(customer, message) of a member who has spent so many cents, and got an offer by e-mail."""
    [customer_id] = world.people(1, **{"tier": "bronze", **person})
    if spent:
        world.event([customer_id], "bought", amount=spent, amount_currency="EUR")
        accrue(world.store, now=world.now)
    return customer_id, written_to(world, customer_id)


def page(world: World, message_id: int) -> str:
    return f"/w/{world.keys.link_token(message_id, 'w')}"
