"""Tasks that were given out: which are open, and each morning's list of them by e-mail."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, time, timedelta

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.apply import in_force
from orchestrator.outbound import Asked
from orchestrator.store import outbox
from orchestrator.store.database import Store
from orchestrator.store.keys import Attempt, Keys
from orchestrator.store.tables import account, message, support_case
from orchestrator.zones import local

ORIGIN = "task_digest"
OLDEST = timedelta(days=60)
"""A task of which nobody said anything in this time is no open one."""
_LISTED = 200  # tasks that one e-mail names
_GOOD_FOR = timedelta(hours=12)
_BRACES = str.maketrans("{}", "()")  # what the journey's author wrote is no template here


@dataclass(frozen=True, slots=True)
class Open:
    """A task that was given out, and of which nothing has been heard. `due` is "YYYY-MM-DD" or ""."""

    task: str
    whose: str
    due: str
    title: str
    given: datetime
    call: bool
    account_id: int | None
    unit_id: int


@dataclass(frozen=True, slots=True)
class DigestReport:
    """`planned` e-mails; `nobody`: open tasks of teams, whose list is the file alone. `early`: it is not time yet."""

    planned: int = 0
    tasks: int = 0
    nobody: int = 0
    early: bool = False

    @property
    def summary(self) -> str:
        if self.early:
            return "it is not time yet"
        said = f"{self.planned} digest{'' if self.planned == 1 else 's'} planned, {self.tasks} tasks open"
        return f"{said}; {self.nobody} of teams without an address" if self.nobody else said


def open_tasks(conn: sa.Connection, now: datetime) -> list[Open]:
    """By due date, those without one last; not those of complaints that were settled meanwhile. One statement."""
    m = message.c
    settled = sa.exists().where(support_case.c.key == m.origin_key, support_case.c.closed_at.is_not(None))
    query = (
        sa.select(m.id, m.attempts, m.payload, m.journey, m.step, m.settled_at, m.account_id, m.addressee_id)
        .add_columns(account.c.manager_email, account.c.manager_name)
        .select_from(message.outerjoin(account, account.c.id == m.account_id))
        .where(m.medium == Medium.TASK.value, m.state == "sent", m.settled_at > now - OLDEST, ~settled)
    )
    found = []
    for row in conn.execute(query):
        to = str(row.payload.get("to") or "")
        whose = (row.manager_email or row.manager_name or "") if to in ("", "account_manager") else to
        title = str(row.payload.get("title") or row.journey or row.step)
        name = str(Attempt(row.id, row.attempts))
        due, call = str(row.payload.get("due") or ""), row.payload.get("call") is True
        found.append(Open(name, whose, due, title, row.settled_at, call, row.account_id, row.addressee_id))
    return sorted(found, key=lambda one: (one.due or "9999", one.given, one.task))


def plan_digests(store: Store, keys: Keys, at: time, *, now: datetime) -> DigestReport:
    """Plan today's e-mail to everybody with open tasks, once it is `at` in the workspace's zone; once a day.

    It names tasks by their number, title and due date, and nobody of whom they are: that stands in the list."""
    with store.read() as conn:
        force = in_force(conn)
        wall = local(now, force.project.vocabulary.timezone) if force is not None else None
        if wall is None or wall.time() < at:
            return DigestReport(early=True)
        found = open_tasks(conn, now)
    by_address: dict[str, list[Open]] = defaultdict(list)
    for one in found:
        if "@" in one.whose:
            by_address[one.whose.casefold()].append(one)
    day = wall.date().isoformat()
    asked = [
        Asked(
            ORIGIN,
            f"{keys.address_key(Medium.EMAIL, address)}:{day}",
            "staff",
            those[0].unit_id,
            None,
            those[0].account_id,
            Medium.EMAIL,
            "",
            "",
            "transactional",
            expires_at=now + _GOOD_FOR,
            payload={"to": those[0].whose, "title": _title(those, day), "text": _text(those, day), "dedupe": "off"},
        )
        for address, those in by_address.items()
    ]
    planned = store.written(lambda conn: outbox.plan(conn, asked, now)) if asked else 0
    return DigestReport(planned, len(found), sum("@" not in one.whose for one in found))


def _title(those: list[Open], day: str) -> str:
    late = sum(bool(one.due) and one.due < day for one in those)
    said = f"Your tasks on {day}: {len(those)} open"
    return f"{said}, {late} overdue" if late else said


def _text(those: list[Open], day: str) -> str:
    lines = ["Open tasks, by due date. Whom they are about stands in the list of the day they were given out.", ""]
    for one in those[:_LISTED]:
        when = f"due {one.due}" if one.due else "no date"
        marks = [mark for mark, is_so in (("OVERDUE", bool(one.due) and one.due < day), ("call", one.call)) if is_so]
        more = f" ({', '.join(marks)})" if marks else ""
        lines.append(f"- {when}: {one.title}{more}, {one.task}, given out {one.given.date().isoformat()}")
    if len(those) > _LISTED:
        lines.append(f"… and {len(those) - _LISTED} more")
    return "\n".join(lines).translate(_BRACES)
