"""`demo`: the starter workspace over ten simulated days, through the real Prefect flow, into a sandbox."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator import sample
from orchestrator.cli import starter
from orchestrator.cli.running import Ticks, embedded
from orchestrator.cli.terminal import FINE, WORKSPACE, Terminal, Usage, near, terminal

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import Console

    from channels.base import Event
    from orchestrator.cli._demo_sides import Side
    from orchestrator.cli._demo_tables import Day
    from orchestrator.importing import ImportReport
    from orchestrator.project import Project
    from orchestrator.wiring import Wired

HOP = timedelta(hours=4)
CODES = 300
"""Made-up codes in each of the programme's pools."""
NIGHTLY = ("accounts", "customers", "records", "devices")
MIDNIGHT = datetime.combine(sample.START, time(), UTC)

_BAD_ROWS: tuple[dict[str, str], ...] = (
    {"key": "bad-1", "class": "b2c", "tier": "bronze", "email": "nobody at example.com"},
    {"key": "bad-2", "class": "b2c", "tier": "diamond", "email": "bad-2@example.com"},
    {"key": "bad-3", "class": "b2c", "tier": "bronze", "phone": "+49 12"},
    {"key": "", "class": "b2c", "tier": "bronze", "email": "bad-4@example.com"},
    {"key": "bad-5", "class": "b2c", "tier": "bronze", "birthday": "1990-02-31"},
)
"""Such as every export has: they are put aside with the reason, and the rest goes on."""


def register(app: App) -> None:
    app.command(demo)


def demo(*, keep: Annotated[bool, Parameter(negative=())] = False, days: int = 10) -> int:
    """Try everything on a made-up business: imports, journeys, ticks through Prefect, a sandbox that reaches nobody.

    Works in .orchestrator/demo of the workspace, emptied first.

    Parameters
    ----------
    keep
        Go on with what the last demo left: the same days again, and nothing is sent twice.
    days
        How many days to simulate, ten at most.
    """
    if not 1 <= days <= 10:
        raise Usage("--days is 1 to 10: the made-up business has ten days")
    call = terminal()
    home = call.workspace / ".orchestrator"
    folder = home / "demo"
    with _own_settings(home), embedded(folder) as ticks:
        story = Story(call, folder, days)
        story.prepare(keep)
        story.play(ticks)
        story.tell()
    return FINE


@contextmanager
def _own_settings(home: Path) -> Iterator[None]:
    """The demo's own workspace and Prefect's embedded engine, whatever this shell is set up to work on."""
    foreign = ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_API_DATABASE_CONNECTION_URL")
    before = dict(os.environ)
    for name in before:
        if name in foreign or (name.startswith("ORCHESTRATOR_") and ("__" in name or name == "ORCHESTRATOR_KEYS")):
            del os.environ[name]
    os.environ.pop(WORKSPACE, None)
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# ---- what the world does --------------------------------------------------------------------------------------------


def _draw(*names: object) -> float:
    """[0, 1), the same for ever for the same names."""
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


@dataclass(slots=True)
class World:
    """Everybody outside: providers that report, people who open, click, complain. By hash: every demo is the same."""

    wired: Wired
    seen: set[str] = field(default_factory=set)
    pending: list[tuple[str, Event]] = field(default_factory=list)

    def look(self) -> None:
        """Decide what will come back of each message that is new in the outbox."""
        sandbox = importlib.import_module("channels.sandbox")
        for delivery in sandbox.kept(self.wired.settings.outbox_path(self.wired.folder)):
            if delivery.attempt not in self.seen and delivery.at:
                self.seen.add(delivery.attempt)
                at = datetime.fromisoformat(delivery.at)
                self.pending += [(delivery.medium, e) for e in _reactions(delivery.attempt, delivery.medium, at)]

    def report(self, now: datetime) -> Counter[str]:
        """What has come back by now, signed and checked as from a provider's webhook, taken in; counted by kind."""
        from orchestrator.ingest import receive

        counts: Counter[str] = self._post(now)
        due = [(medium, event) for medium, event in self.pending if event.at <= now]
        self.pending = [(medium, event) for medium, event in self.pending if event.at > now]
        for medium, channel in self.wired.channels.items():
            events = [event for of, event in due if of == medium]
            if events:
                checked = channel.events(channel.inbound(events))  # type: ignore[attr-defined]
                counts.update(receive(self.wired.store, self.wired.keys, checked, now=now).new)
        return counts

    def _post(self, now: datetime) -> Counter[str]:
        """The print house: says of each job, a day after it was dropped, that it is printed; counted by kind."""
        from orchestrator import posting

        house = posting.house(self.wired.channels)
        for job in house.jobs():
            if job.state == "dropped" and job.dropped_at is not None and job.dropped_at + timedelta(days=1) <= now:
                folder = letters_of(self.wired) / job.id
                receipt = {"job": job.id, "accepted": job.pieces}
                (folder / f"{job.id}_receipt.json").write_text(json.dumps(receipt), encoding="utf-8")
        report = posting.take_back(self.wired.store, self.wired.keys, house, now=lambda: now)
        return Counter(report.new)


def letters_of(wired: Wired) -> Path:
    """Where the demo's print house takes its jobs."""
    return wired.settings.outbox_path(wired.folder) / "letters"


def _reactions(attempt: str, medium: str, at: datetime) -> list[Event]:
    from channels.base import Event, EventKind, Reason

    drawn = _draw("reaction", attempt)

    def after(kind: EventKind, reason: Reason | None = None, **delay: float) -> Event:
        return Event(attempt, kind, at + timedelta(**delay), reason=reason)

    if medium == "email":
        if drawn < 0.04:
            return [after(EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS, minutes=2)]
        found = [after(EventKind.DELIVERED, minutes=1)]
        if drawn > 0.5:
            found.append(after(EventKind.OPENED, minutes=20 + 600 * _draw("opens", attempt)))
        if drawn > 0.99:
            found.append(after(EventKind.UNSUBSCRIBED, hours=11))
        return found
    if medium == "sms":
        return [after(EventKind.DELIVERED, seconds=8) if drawn > 0.03 else after(EventKind.FAILED, seconds=30)]
    return [after(EventKind.OPENED, minutes=45)] if medium == "push" and drawn > 0.7 else []


# ---- the story ------------------------------------------------------------------------------------------------------


_OUTCOME = {"sent": "sent", "hold": "held", "deny": "refused", "expired": "refused", "cancelled": "refused"}


class Story:
    """The demo from its empty folder to what it prints."""

    def __init__(self, call: Terminal, folder: Path, days: int) -> None:
        self.call = call
        self.folder = folder
        self.length = days
        self.days: list[Day] = []
        self.reasons: Counter[tuple[str, str, str]] = Counter()
        self.runs = 0
        self.now = MIDNIGHT
        self.fresh = True
        self._console: Console = call.console
        self._rank: dict[tuple[str, str], int] = {}

    # ---- before the first day

    def prepare(self, keep: bool) -> None:
        """The folder, the first imports, and the workspace in force."""
        from orchestrator import wiring
        from orchestrator.apply import apply
        from orchestrator.project import load

        if self.folder.exists() and not keep:
            shutil.rmtree(self.folder)
        self.fresh = not self.folder.exists()
        if not (self.folder / "orchestrator.toml").exists():
            starter.copy(self.folder)
            _expect_feedback(self.folder / "orchestrator.toml")
        project = load(self.folder)
        for kind in project.vocabulary.classes.values():
            self._rank.update({(kind.name, tier): place for place, tier in enumerate(kind.tiers)})
        self._say("A made-up business", f"{len(project.journeys)} journeys, {len(project.files)} files", self.folder)
        with wiring.connected(self.folder, create=True) as wired:
            reports = self._first_imports(wired, project)
            applied = apply(wired.store, project, author="demo", message="the starter workspace", now=MIDNIGHT)
            self._rank_all(wired, MIDNIGHT)
        self._show_imports(reports)
        state = "put in force" if applied.changed else "in force already"
        self._say("The workspace", f"{state}: {', '.join(sorted(project.journeys))}")

    def _first_imports(self, wired: Wired, project: Project) -> list[ImportReport]:
        found = [self._import(wired, project, kind, _nightly(kind, sample.START), MIDNIGHT) for kind in NIGHTLY]
        for kind in ("consents", "events"):
            found.append(self._import(wired, project, kind, _stream(kind, None, MIDNIGHT), MIDNIGHT))
        for pool in sorted(project.vocabulary.loyalty.pools):
            codes = [{"code": f"DEMO-{pool}-{n:04}".upper()} for n in range(1, CODES + 1)]
            found.append(self._import(wired, project, "vouchers", codes, MIDNIGHT, pool))
        return found

    def _rank_all(self, wired: Wired, now: datetime) -> None:
        """The nightly look at what everybody is worth; not again on days that were there before (`--keep`)."""
        from orchestrator.rank import refresh

        if self.fresh:
            refresh(wired.store, now=now)

    def _import(
        self,
        wired: Wired,
        project: Project,
        kind: str,
        rows: Sequence[Mapping[str, Any]],
        now: datetime,
        list_name: str = "",
    ) -> ImportReport:
        """Write the rows into a file as a business would export it, and import that."""
        from orchestrator.importing import import_file

        place = self.folder / "imports" / f"{now:%Y-%m-%d-%H}"
        place.mkdir(parents=True, exist_ok=True)
        first = kind == "customers" and now == MIDNIGHT
        name = f"{kind}-{list_name}" if list_name else kind
        path = _write(place, name, [*rows, *_BAD_ROWS] if first else rows, half_a_line=first)
        return import_file(
            wired.store,
            wired.keys,
            project.vocabulary,
            kind,  # type: ignore[arg-type]
            path,
            now=now,
            list_name=list_name,
        )

    # ---- day by day

    def play(self, ticks: Ticks) -> None:
        """Imports, feedback and a tick every few hours; a run of the Prefect flow each."""
        from orchestrator import wiring
        from orchestrator.cli._demo_tables import Day
        from orchestrator.project import load

        project = load(self.folder)
        hops = [MIDNIGHT + n * HOP for n in range(1, self.length * int(timedelta(days=1) / HOP) + 1)]
        with wiring.connected(self.folder) as wired, self._progress(len(hops)) as step:
            # What comes back is noted by the demo's clock: its providers live in its days.
            world = World(replace(wired, clock=lambda: self.now))
            step("starting Prefect's embedded engine", 0)
            before = MIDNIGHT
            for now in hops:
                self.now = now
                if not self.days or self.days[-1].day != now.date():
                    self.days.append(Day(now.date()))
                    for kind in NIGHTLY:
                        self._import(wired, project, kind, _nightly(kind, now.date()), now)
                    self._rank_all(wired, now)
                for kind in ("consents", "events"):
                    rows = _stream(kind, before, now)
                    if rows:
                        self._import(wired, project, kind, rows, now)
                self.days[-1].heard.update(world.report(now))
                self._count(ticks(600, now))
                world.look()
                before = now
                step(f"{now:%a %d %b, %H:%M} UTC", 1)

    def _count(self, counts: Mapping[str, Any]) -> None:
        self.runs += 1
        day = self.days[-1]
        day.entered += sum(counts["enrolled"].values())
        day.ended.update(counts["ended"])
        for row in counts["messages"]:
            outcome = _OUTCOME.get(row["verdict"])
            if outcome:
                day.messages[row["medium"], outcome] += row["count"]
            if outcome in ("held", "refused"):
                self.reasons[outcome, row["reason"] or row["verdict"], row["medium"]] += row["count"]

    @contextmanager
    def _progress(self, total: int) -> Iterator[Any]:
        """A bar for people at a terminal; `step(text, hops)` moves it."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description:<38}"),
            BarColumn(36),
            TextColumn("{task.completed}/{task.total} runs"),
        )
        quiet = not self._console.is_terminal
        with Progress(*columns, TimeElapsedColumn(), console=self._console, disable=quiet, transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda text, hops: bar.update(task, description=text, advance=hops)

    # ---- what is told

    def tell(self) -> None:
        """The tables, and where to look."""
        from orchestrator import wiring
        from orchestrator.store import overview

        sandbox = importlib.import_module("channels.sandbox")
        with wiring.connected(self.folder) as wired:
            page = sandbox.browse(wired.settings.outbox_path(wired.folder))
            sms = sorted((wired.settings.outbox_path(wired.folder) / "sms").glob("*.txt"))
            text = sms[-1].read_text(encoding="utf-8") if sms else ""
            letters = sorted(letters_of(wired).glob("*/*_letters/*.pdf"))
            with wired.store.read() as conn:
                received = overview.received(conn)
                texted = overview.texted(conn)
                examples = _examples(conn)
                compared = self._compared(conn)
        if self.call.json:
            beside = [{"class": one.class_name, "tier": one.tier, "key": one.key, "rows": one.rows} for one in compared]
            more = {"letters": letters, "side_by_side": beside}
            self.call.document(self._document(received, texted, examples, page) | more)
            return
        from orchestrator.cli import _demo_sides as sides
        from orchestrator.cli import _demo_tables as tables

        tables.by_day(self._console, self.days, self.runs)
        tables.reasons(self._console, self.reasons)
        tables.differences(self._console, received, self._rank)
        tables.texts(self._console, texted, text)
        sides.show(self._console, compared)
        tables.where_to_look(self._console, self.folder, page, letters, examples)

    def _compared(self, conn: sa.Connection) -> list[Side]:
        from orchestrator.apply import in_force
        from orchestrator.cli import _demo_sides as sides

        force = in_force(conn)
        return [] if force is None else sides.read(conn, force, MIDNIGHT + timedelta(days=self.length))

    def _document(
        self, received: Sequence[Any], texted: Sequence[Any], examples: Mapping[str, Any], page: Path
    ) -> dict[str, Any]:
        from dataclasses import asdict

        return {
            "runs": self.runs,
            "days": [
                {
                    "day": day.day,
                    "messages": [{"medium": m, "what": w, "count": n} for (m, w), n in sorted(day.messages.items())],
                    "entered": day.entered,
                    "ended": day.ended,
                    "heard": day.heard,
                }
                for day in self.days
            ],
            "reasons": [
                {"what": w, "reason": r, "medium": m, "count": n} for (w, r, m), n in sorted(self.reasons.items())
            ],
            "received": [asdict(row) for row in received],
            "texts": [asdict(row) for row in texted],
            "examples": examples,
            "workspace": self.folder,
            "outbox": page,
        }

    def _say(self, what: str, text: str, where: Path | None = None) -> None:
        if not self.call.json:
            self._console.print(f"[bold]{what}[/]  {text}" + (f"  [dim]{near(where)}[/]" if where else ""))

    def _show_imports(self, reports: Sequence[ImportReport]) -> None:
        if self.call.json:
            return
        counts: Counter[str] = Counter()
        for report in reports:
            counts[report.kind] += report.rows - report.quarantined
        self._say("Imported", ", ".join(f"{n:,} {kind}" for kind, n in counts.items()))
        for report in reports:
            if report.quarantine_file is not None:
                self._show_quarantine(report)

    def _show_quarantine(self, report: ImportReport) -> None:
        from rich.padding import Padding
        from rich.text import Text

        assert report.quarantine_file is not None
        rows = f"{report.quarantined} row{'' if report.quarantined == 1 else 's'}"
        self._say("Put aside", f"{rows}, to be mended and imported again; the rest went on")
        self._console.print(f"  [cyan]{near(report.quarantine_file)}[/]", soft_wrap=True)
        with report.quarantine_file.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                told = Text(f"line {row.get('_line') or ''}: {row.get('_problem') or ''}", style="dim")
                self._console.print(Padding(told, (0, 0, 0, 2)))


def _examples(conn: Any) -> dict[str, tuple[str, str]]:
    """A customer (and a journey) to ask `why` about: one sent to, one held, one refused, one whose message bounced."""
    from orchestrator.store import overview

    asked = {"sent": ("sent", "delivered"), "held": ("hold",), "refused": ("deny",), "bounced": ("bounced",)}
    found = {name: overview.an_example(conn, verdicts) for name, verdicts in asked.items()}
    return {name: example for name, example in found.items() if example is not None}


# ---- files ----------------------------------------------------------------------------------------------------------


def _expect_feedback(settings: Path) -> None:
    """The demo plays what comes back, so its sandbox may promise to report deliveries."""
    text = settings.read_text(encoding="utf-8").replace('\nmail = "sandbox"', f"\nmail = {_house()}")
    settings.write_text(text.replace('= "sandbox"', '= { provider = "sandbox", feedback = true }'), encoding="utf-8")


def _house() -> str:
    """Letters as a print house takes them, kept in the outbox. Where typst is not installed, without the PDF."""
    from importlib.util import find_spec

    made = "pdf" if find_spec("typst") and find_spec("segno") else "records"
    proofs = "true" if made == "pdf" else "false"
    return (
        '{ provider = "letterfile", rehearsal = true, house = "demo", country = "DE", language = "de", '
        f'zone = "Europe/Berlin", cutoff = "14:00", holidays = "DE", print = "{made}", proofs = {proofs} }}'
    )


def _nightly(kind: str, day: date) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = getattr(sample, kind)(on=day)
    return rows


def _departures() -> list[dict[str, Any]]:
    """Two who leave a journey before its end: a new member complains, and a company cancels what was to be renewed."""
    joined = [row for row in sample.events(on=sample.START + timedelta(days=9)) if row["type"] == "signed_up"]
    member = next(row for row in joined if row["occurred_at"] >= f"{sample.START + timedelta(days=2)}")
    told = {  # contract → the day on which its renewal begins
        (row["contract_id"], row["account"]): date.fromisoformat(row["ends"]) - timedelta(days=90)
        for row in sample.records()
        if row["type"] == "contract" and row["auto_renew"] == "no"
    }
    begun = sample.START + timedelta(days=3)
    contract, account = next(key for key, day in told.items() if begun <= day <= begun + timedelta(days=3))
    cancelled = told[contract, account] + timedelta(days=2)
    complained = datetime.fromisoformat(member["occurred_at"]) + timedelta(days=1)
    return [
        {
            "type": "complaint_opened",
            "customer": member["customer"],
            "occurred_at": complained.isoformat(),
            "event_id": "demo-complaint",
            "properties": {"subject": "arrived broken"},
        },
        {
            "type": "contract_cancelled",
            "account": account,
            "occurred_at": f"{cancelled}T10:00:00Z",
            "event_id": "demo-cancelled",
            "properties": {"contract_id": contract},
        },
    ]


def _stream(kind: str, after: datetime | None, until: datetime) -> list[dict[str, Any]]:
    """What happened after one instant and up to another; None: from the beginning."""
    rows = getattr(sample, kind)(on=until.date())
    if kind == "events":
        rows = rows + _departures()

    def at(row: Mapping[str, Any]) -> datetime:
        return datetime.fromisoformat(row["occurred_at"])

    return [row for row in rows if at(row) <= until and (after is None or at(row) > after)]


def _write(place: Path, kind: str, rows: Sequence[Mapping[str, Any]], *, half_a_line: bool) -> Path:
    """CSV for flat rows; JSON Lines where rows differ in what they hold."""
    if kind in ("records", "events"):
        path = place / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path
    path = place / f"{kind}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["key"], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        if half_a_line:
            file.write("bad-6,b2c,bro")
    return path
