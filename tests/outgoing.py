"""A small business whose messages can be followed to the outbox: workspace, people, events, the verbs in a row."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import orchestrator.apply
from channels.base import EventKind, Medium
from channels.sandbox import Behaviour, Kept, Sandbox, kept
from orchestrator.advance import advance
from orchestrator.apply import apply
from orchestrator.deliver import DeliverReport, deliver
from orchestrator.enroll import enroll
from orchestrator.ingest import receive, record_consents, record_events
from orchestrator.project import Project, load_files
from orchestrator.rejudge import examine
from orchestrator.store import Store, insert_ids
from orchestrator.store import log as send_log
from orchestrator.store import tables as t
from orchestrator.store.keys import Attempt, Keys

NOON = datetime(2027, 3, 1, 11, tzinfo=UTC)  # a Monday, noon in Berlin
KEYS = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)

WORKSPACE = """
workspace: small
timezone: Europe/Berlin
currency: EUR
sender: { name: Small, postal_address: "Small GmbH, Hauptstr. 1, 10115 Berlin, DE" }
attributes:
  customer: { town: text }
events:
  signed_up: { source: text }
  bought: { order_id: key, amount: money }
  left: { why: text }
classes:
  b2c: { tiers: [silver, gold] }
  b2b: { tiers: [std, big], unit: account }
topics:
  offers: { purpose: marketing, title: Offers }
  news: { purpose: marketing, title: News }
  service: { purpose: transactional, title: Your account, reviewed: { by: legal, on: 2026-11-01 } }
policies:
"""
POLICIES = """
  quiet_hours:
    email: { open: 07:00-22:00, then: hold }
    sms: { open: 08:00-20:00, then: hold }
    push: { open: 08:00-21:00, then: hold }
"""
MAIL = "<mjml><mj-body><mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section></mj-body></mjml>"


def email(subject: str, text: str, topic: str = "offers") -> str:
    foot = '<a href="{{ links.unsubscribe }}">Unsubscribe</a> {{ workspace.sender.postal_address }}'
    return f"---\nsubject: {subject}\npreheader: A few words.\ntopic: {topic}\n---\n" + MAIL.format(f"{text} {foot}")


TEMPLATES = {
    "templates/email/hello.mjml": email("Hello {{ customer.first_name }}", "Good to see you."),
    "templates/email/second.mjml": email("And more", "More for {{ customer.first_name | default('you') }}."),
    "templates/email/town.mjml": email("In {{ customer.town }}", "News from {{ customer.town }}."),
    "templates/email/receipt.mjml": email(
        "Your order", "Order {{ event.order_id }}, {{ event.amount | money }}.", "service"
    ),
    "templates/sms/short.txt": "---\ntopic: offers\n---\nHello {{ customer.first_name }}. Reply STOP to opt out\n",
    "templates/push/ping.yaml": "topic: offers\ntitle: Hello\nbody: A short word.\n",
    "templates/mail/letter.html": (
        "---\ntopic: offers\n---\n<!doctype html><html><head><title>Letter</title></head>"
        "<body><p>Dear {{ customer.first_name }}</p></body></html>"
    ),
}


def journey(name: str, steps: str, trigger: str = "{ event: signed_up }", more: str = "") -> str:
    body = "\n".join("  " + line for line in steps.strip().splitlines())
    head = f"journey: {name}\nowner: me@small.example\ntrigger: {trigger}\n" + (more.strip() + "\n" if more else "")
    return f"{head}steps:\n{body}\n"


def files(journeys: Mapping[str, str], policies: str = POLICIES, **templates: str) -> dict[str, str]:
    workspace = WORKSPACE + policies if policies.strip() else WORKSPACE.removesuffix("policies:\n")
    own = {path.replace("__", "/").replace("_dot_", "."): text for path, text in templates.items()}
    named = {f"journeys/{name}.yaml": text for name, text in journeys.items()}
    return {"journeys/workspace.yaml": workspace, **TEMPLATES, **own, **named}


@lru_cache(maxsize=256)
def _loaded(texts: tuple[tuple[str, str], ...]) -> Project:
    return load_files(dict(texts))


@dataclass
class World:
    """A store with a workspace in force, sandbox channels for every medium, and a clock that only tests move."""

    store: Store
    folder: Path
    now: datetime = NOON
    behaviour: Behaviour | None = None
    batch_size: int = 1000
    keys: Keys = KEYS
    channels: dict[Medium, Sandbox] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for medium in Medium:
            self.channels[medium] = Sandbox(
                medium, self.folder, self._act, clock=lambda: self.now, batch_size=self.batch_size, secret=b"s" * 32
            )

    def _act(self, outbound: Any, number: int) -> Any:
        from channels.sandbox import ACCEPT

        return self.behaviour(outbound, number) if self.behaviour else ACCEPT

    # ---- setting up

    def apply(self, texts: Mapping[str, str]) -> Project:
        project = _loaded(tuple(sorted(texts.items())))
        orchestrator.apply._projects[project.hash] = project  # compiled once for all tests, not once for each
        apply(self.store, project, author="me", message="", now=self.now)
        return project

    def people(self, count: int = 1, *, consents: str | None = "email sms push mail", **columns: Any) -> list[int]:
        """Customers in Berlin with every address, who said yes to offers; returns their ids."""
        start = self.one(sa.select(sa.func.coalesce(sa.func.max(t.customer.c.id), 0)))
        rows = []
        for n in range(start + 1, start + count + 1):
            row: dict[str, Any] = {
                "key": f"c{n}",
                "class": "b2c",
                "tier": "silver",
                "account_id": None,
                "role": None,
                "first_name": f"Ann{n}",
                "last_name": "Lee",
                "email": f"c{n}@example.com",
                "phone": f"+4917139{n:05}",
                "street": "Lindenweg 1",
                "city": "Berlin",
                "postcode": "10115",
                "country": "DE",
                "timezone": "Europe/Berlin",
                "attributes": {},
                "created_at": self.now,
                "updated_at": self.now,
            }
            rows.append({**row, **columns})
        with self.store.write() as conn:
            ids = [i for (i,) in insert_ids(conn, t.customer, rows)]
            insert_ids(
                conn,
                t.device,
                [
                    {
                        "customer_id": i,
                        "token": f"token-{i}",
                        "platform": "web",
                        "created_at": self.now,
                        "retired_at": None,
                    }
                    for i in ids
                ],
            )
        for medium in (consents or "").split():
            self.consent(ids, medium, "offers")
        return ids

    def consent(self, ids: Iterable[int], medium: str, topic: str, action: str = "confirm") -> None:
        """By default a yes that does everywhere: in writing, and confirmed."""
        rows = [
            {
                "key": f"{action}:{i}:{medium}:{topic}:{self.now.isoformat()}",
                "customer_id": i,
                "medium": medium,
                "topic": topic,
                "action": action,
                "occurred_at": self.now,
                "basis": "express_written" if action in ("confirm", "grant") else None,
                "method": "test",
                "source": "test",
            }
            for i in ids
        ]
        with self.store.write() as conn:
            record_consents(conn, self.keys, rows, now=self.now)

    def event(self, ids: Iterable[int], kind: str = "signed_up", **properties: Any) -> int:
        self._events = getattr(self, "_events", 0) + 1
        rows = [
            {
                "type": kind,
                "key": f"{kind}:{i}:{self._events}",
                "customer_id": i,
                "account_id": None,
                "occurred_at": self.now,
                "properties": properties,
            }
            for i in ids
        ]
        with self.store.write() as conn:
            return record_events(conn, rows, now=self.now)

    # ---- the verbs

    def move(self) -> None:
        """Enroll and advance."""
        enroll(self.store, now=self.now)
        advance(self.store, now=self.now, reports={m: c.reports for m, c in self.channels.items()})

    def deliver(self, **more: Any) -> DeliverReport:
        options: dict[str, Any] = {"now": lambda: self.now, "worker": "test", "public_url": "https://small.example"}
        return deliver(self.store, self.channels, self.keys, **{**options, **more})

    def tick(self, times: int = 3, **more: Any) -> Counter[str]:
        """Rounds of enroll, advance, deliver; what was decided and what became of it, counted."""
        counts: Counter[str] = Counter()
        for _ in range(times):
            self.move()
            for line, n in self.deliver(**more).counts.items():
                counts[f"{line.verdict} {line.reason}".strip()] += n
        return counts

    def hear(self, attempt: str, kind: EventKind, **more: Any) -> Any:
        from channels.base import Event

        return receive(self.store, self.keys, [Event(attempt, kind, self.now, **more)], now=self.now)

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)

    # ---- looking

    def one(self, query: Any) -> Any:
        with self.store.read() as conn:
            return conn.execute(query).scalar_one()

    def rows(self, query: Any) -> list[Any]:
        with self.store.read() as conn:
            return list(conn.execute(query))

    def states(self) -> Counter[str]:
        rows = self.rows(sa.select(t.message.c.state, sa.func.count()).group_by(t.message.c.state))
        return Counter(dict(tuple(row) for row in rows))

    def messages(self) -> list[Any]:
        return self.rows(sa.select(t.message).order_by(t.message.c.id))

    def log(self, message_id: int | None = None) -> list[dict[str, Any]]:
        with self.store.read() as conn:
            ids = conn.execute(sa.select(t.message.c.id)).scalars().all() if message_id is None else [message_id]
            return send_log.of_messages(conn, list(ids), self.keys)

    def outbox(self) -> list[Kept]:
        return kept(self.folder)

    def opened(self, delivery: Kept) -> str:
        return (self.folder / delivery.file).read_text(encoding="utf-8")


@dataclass
class Broken(Exception):
    """The database went away at this statement."""

    statement: int


@dataclass
class Statements:
    """Counts the statements of a store; breaks off at the n-th from now on, and stays broken until it is mended.

    Every statement that a cursor is given counts: SQLAlchemy's, and what the store hands to the driver itself.
    """

    engine: sa.Engine
    count: int = 0
    breaks_at: int | None = None
    seen: list[str] = field(default_factory=list)

    def __enter__(self) -> Statements:
        sa.event.listen(self.engine, "before_cursor_execute", self._before)
        sa.event.listen(self.engine, "commit", self._commit)
        return self

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self.engine, "before_cursor_execute", self._before)
        sa.event.remove(self.engine, "commit", self._commit)

    def break_after(self, statements: int | None) -> None:
        self.count, self.breaks_at, self.seen = 0, statements, []

    def _before(self, conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        self._step(statement)

    def _commit(self, conn: Any) -> None:
        self._step("COMMIT")

    def _step(self, statement: str) -> None:
        self.count += 1
        self.seen.append(statement)
        if self.breaks_at is not None and self.count > self.breaks_at:
            raise Broken(self.count)


def audit(world: World) -> None:
    """What must hold at any time, whatever happened: raises AssertionError with what does not."""
    messages = {m.id: m for m in world.messages()}
    lines = world.log()
    by_message: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        by_message.setdefault(line["message_id"], []).append(line)
    with world.store.read() as conn:
        examined = examine(conn, world.keys)
    assert not examined.findings and not any("otherwise" in note for note in examined.notes), examined
    outbox = world.outbox()
    assert not any(k.duplicate for k in outbox)
    handed = [Attempt.read(k.attempt) or Attempt(0, 0) for k in outbox]
    copies = Counter((a.message_id, a.delivery) for a in handed)
    assert all(n == 1 for n in copies.values()), f"more than once: {[k for k, n in copies.items() if n > 1]}"
    out = {a.message_id for a in handed}
    for a in handed:
        allowed = {x["body"]["attempt"] for x in by_message[a.message_id] if x["verdict"] == "allow"}
        assert f"m{a.message_id}a{a.number}" in allowed, "handed over without a decision that allowed it"
        assert messages[a.message_id].state in ("sending", "sent", "uncertain", "delivered", "bounced", "failed")
    for m in messages.values():
        told = by_message.get(m.id, [])
        outcomes = [x["verdict"] for x in told if x["kind"] == "outcome"]
        decisions = [x["verdict"] for x in told if x["kind"] == "decision"]
        match m.state:
            case "sent" | "failed" | "uncertain" | "cancelled" | "bounced":
                assert outcomes and outcomes[-1] == m.state, (m.id, m.state, outcomes)
            case "denied" | "expired":
                assert "deny" in decisions or m.state in outcomes, (m.id, m.state, decisions)
            case "held":
                assert decisions[-1] == "hold"
            case "sending":
                assert decisions[-1] == "allow"
        if m.state in ("sent", "delivered"):
            assert m.id in out, f"message {m.id} is sent, and nobody got it"
    reserved = {row.message_id for row in world.rows(sa.select(t.reservation.c.message_id))}
    for m in messages.values():
        counts = m.state in ("sending", "sent", "delivered", "uncertain", "bounced")
        if m.addressee == "customer" and m.state != "failed":
            assert (m.id in reserved) == counts, (m.id, m.state, m.id in reserved)


def open_store(url: str) -> Store:
    opened = Store.open(url, create=True)
    opened.migrate()
    return opened


def world_of(url: str, **more: Any) -> World:
    return World(open_store(url), Path(tempfile.mkdtemp(prefix="outbox-")), **more)


def ignoring(kind: type[BaseException], work: Callable[[], Any]) -> bool:
    """Whether the work came to its end."""
    with suppress(kind):
        work()
        return True
    return False
