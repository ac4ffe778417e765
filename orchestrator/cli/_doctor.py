"""What `doctor` looks at: each thing a run needs, and what to do where it is not well. Changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.cli._look import counted, listed, some, when
from orchestrator.cli._opening import WORKSPACE_FILE
from orchestrator.cli.terminal import near

if TYPE_CHECKING:
    import sqlalchemy as sa

    from orchestrator.settings import Settings
    from orchestrator.store import Store
    from orchestrator.wiring import Wired

LATE = timedelta(minutes=15)
"""Due this long and not done: ticks do not run, or do not keep up."""
SEALED_WITHIN = 60
"""Seconds within which what is written to a ledger is promised to be sealed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: well, to be looked at, or bad; `todo` says what to do."""

    what: str
    state: Literal["ok", "look", "bad"]
    text: str
    todo: str = ""


def examine(workspace: Path, *, prefect: bool) -> list[Finding]:
    """Everything, in the order in which it is needed, but what an earlier trouble keeps from being asked."""
    found = [_workspace(workspace), *_settings(workspace)]
    if all(f.state != "bad" for f in found[1:]):
        found += _database(workspace)
    found.append(_zone_data())
    if prefect:
        found.append(_prefect())
    return found


def _workspace(folder: Path) -> Finding:
    from orchestrator.problems import ProjectError
    from orchestrator.project import load

    if not (folder / WORKSPACE_FILE).is_file():
        return Finding("workspace", "look", f"{near(folder)} is none; runs need only the database")
    try:
        project = load(folder)
    except ProjectError as error:
        return Finding("workspace", "bad", str(error), "orchestrator check")
    warnings = f", {counted(len(project.warnings), 'warning')}" if project.warnings else ""
    return Finding("workspace", "ok", f"{counted(len(project.journeys), 'journey')}, no problems{warnings}")


def _settings(folder: Path) -> Iterator[Finding]:
    from channels.base import Misconfigured
    from orchestrator import wiring
    from orchestrator.problems import ProjectError
    from orchestrator.settings import providers

    try:
        settings, text = wiring.read_settings(folder)
    except ProjectError as error:
        first = error.problems[0]
        yield Finding("settings", "bad", f"{first.span}: {first.message}", first.hint or "orchestrator check")
        return
    except Misconfigured as error:
        yield Finding("settings", "bad", str(error), "check its rights")
        return
    yield Finding("settings", "ok", "orchestrator.toml" if text else "no orchestrator.toml: the embedded default")
    named = {to: provider for medium in settings.channels for to, provider in settings.carriers(medium).items()}
    known = providers()
    reaching = settings.live()
    sandboxed = sorted(m for m in named if m not in reaching)
    live = sorted(f"{m} by {provider}" for m, provider in reaching.items())
    unknown = sorted(f"`{provider}` for {m}" for m, provider in named.items() if provider not in known)
    if unknown:
        todo = f"orchestrator.toml, `[channels]`: one of {', '.join(f'`{p}`' for p in known)}"
        yield Finding("sending", "look", f"no provider {', '.join(unknown)}: no run can begin", todo)
    elif not live:
        yield Finding("sending", "ok", "every medium ends in the sandbox: nobody is reached")
    elif sandboxed:
        yield Finding("sending", "look", f"live: {', '.join(live)}; not reaching anybody: {', '.join(sandboxed)}")
    else:
        yield Finding("sending", "ok", f"live: {', '.join(live)}")
    yield _safety(settings)
    url = settings.web.public_url
    if live and not url.startswith("https://"):
        text = f"links in messages lead to {url}: mailbox providers ask for https, and nobody else reaches localhost"
        yield Finding("links", "look", text, "set `public_url` under `[web]` in orchestrator.toml")


def _safety(settings: Settings) -> Finding:
    said, listed_ = settings.safety.environment, counted(len(settings.safety.recipients), "entry", "entries")
    if said == "production":
        unheeded = f"; the list of recipients ({listed_}) is not heeded" if settings.safety.recipients else ""
        return Finding("safety", "ok", f"production: whoever consented may be written to{unheeded}")
    where = said or "not said to be the production"
    if settings.safety.recipients:
        return Finding("safety", "ok", f"{where}: only recipients on the list ({listed_}) are written to")
    return Finding("safety", "ok", f"{where}: no channel may be live")


def _database(workspace: Path) -> Iterator[Finding]:
    from channels.base import Misconfigured
    from orchestrator import wiring
    from orchestrator.store import StoreUnavailable

    try:
        with wiring.connected(workspace) as wired:
            yield Finding("database", "ok", f"{wired.store.where} ({wired.store.dialect}), its tables are current")
            yield _keys(wired)
            yield _erasures(wired)
            yield _channels(wired, workspace)
            for look in (
                _in_force,
                _sender,
                _ruleset,
                _pauses,
                _ticks,
                _queue,
                _seal,
                _uncertain,
                _parked,
                _zones,
                _places,
                _vouchers,
                _complaints,
                _managers,
            ):
                with _reading(wired.store) as conn:
                    yield look(conn, wired)
    except (StoreUnavailable, Misconfigured) as error:
        text, _, todo = str(error).partition("; ")
        yield Finding("database", "bad", text, todo)
        if isinstance(error, StoreUnavailable):
            yield _channels(None, workspace)


@contextmanager
def _reading(store: Store) -> Iterator[sa.Connection]:
    with store.read() as conn:
        yield conn


def _erasures(wired: Wired) -> Finding:
    from orchestrator.erase import read_list, unreplayed
    from orchestrator.store import rights

    path = wired.erasures_path
    restored, _, todo = unreplayed(wired.store, path).partition(". Run ")
    if restored:
        return Finding("erasures", "bad", restored, todo.strip("`") or "bring the list back from its backup")
    with wired.store.read() as conn:
        left, any_known = rights.left_to_do(conn), rights.any_erased(conn)
    if left:
        text = f"{counted(len(left), 'erasure')} not finished: something of the person may still be in files"
        return Finding("erasures", "look", text, "orchestrator customer erase --finish")
    if any_known and not path.exists():
        text = f"people were erased, and the list of them, {near(path)}, is not here: a restored backup would not tell"
        return Finding("erasures", "look", text, "bring it back, or name it under `[erasures]` in orchestrator.toml")
    many = counted(len(read_list(path)), "person erased", "people erased")
    return Finding("erasures", "ok", f"{many}, all known to the database" if any_known else "nobody was ever erased")


def _keys(wired: Wired) -> Finding:
    path = wired.keys_path
    if not path.exists() and not wired.keys_lost():
        return Finding("keys", "ok", f"none yet: the first run makes {near(path)}")
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
    if mode & 0o077:
        return Finding("keys", "bad", f"{near(path)} can be read by others (mode {mode:o})", f"chmod 600 {near(path)}")
    from channels.base import Misconfigured

    try:
        _ = wired.keys
    except Misconfigured as error:
        return Finding("keys", "bad", str(error))
    return Finding("keys", "ok", f"{near(path)}, for its owner only; back it up, apart from the database")


def _channels(wired: Wired | None, folder: Path) -> Finding:
    """`wired` None: there is no database yet, and what the settings of channels say can be looked at all the same."""
    from channels.base import ChannelError
    from orchestrator import wiring
    from orchestrator.problems import ProjectError

    try:
        channels = wired.channels if wired and wired.keys_path.exists() else wiring.tried_channels(folder)
    except ProjectError as error:
        first = error.problems[0]
        return Finding("channels", "bad", f"{first.span}: {first.message}", first.hint)
    except ChannelError as error:
        return Finding("channels", "bad", str(error), "set it in orchestrator.toml")
    return Finding("channels", "ok", ", ".join(f"{medium} {channel.name}" for medium, channel in channels.items()))


def _in_force(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.store import versions

    found = versions.newest(conn)
    if found is None:
        return Finding("in force", "bad", "nothing is in force yet", "orchestrator apply")
    text = f"apply {found.id}, {when(found.at)} UTC by {found.author}: {counted(len(found.journeys), 'journey')}"
    if (wired.folder / WORKSPACE_FILE).is_file() and _written(wired.folder) != dict(found.files):
        return Finding("in force", "look", text + "; the folder says something else", "orchestrator plan")
    return Finding("in force", "ok", text)


def _vouchers(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.apply import in_force
    from orchestrator.reward import shortages

    force = in_force(conn)
    pools = force.project.vocabulary.loyalty.pools if force is not None else {}
    short = shortages(conn, force.project.vocabulary) if force is not None else ()
    if short:
        return Finding(
            "vouchers", "look", "; ".join(s.partition(";")[0] for s in short), "orchestrator vouchers import"
        )
    enough = f"{counted(len(pools), 'pool')}, with codes enough" if pools else "no pool is declared"
    return Finding("vouchers", "ok", enough)


def _complaints(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.listen import overdue

    left, late, since = overdue(conn, wired.clock())
    if not left:
        return Finding("complaints", "ok", "none is open")
    text = f"{counted(left, 'complaint')} open"
    if late:
        return Finding(
            "complaints", "look", f"{text}, {late:,} overdue, the oldest since {since}", "orchestrator tasks"
        )
    return Finding("complaints", "ok", f"{text}, none overdue")


def _managers(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.apply import in_force
    from orchestrator.store import explain

    force = in_force(conn)
    journeys = [] if force is None else [j for j in force.project.journeys.values() if j.admits and j.needs_manager]
    if force is None or not journeys:
        return Finding("managers", "ok", "no journey in force has anything for managers alone")
    n = explain.without_manager(conn, force.segments, journeys, wired.clock())
    named = some(sorted(journey.name for journey in journeys))
    if not n:
        return Finding("managers", "ok", f"every account has one that {named} may be about")
    has = "account has no manager" if n == 1 else "accounts have no manager"
    text = f"{n:,} {has}, and {named} give tasks to managers: nobody gets those"
    return Finding("managers", "look", text, "import `manager_email`, or `otherwise: TEAM` at the task")


def _sender(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.apply import in_force

    force = in_force(conn)
    if force is None or "email" not in wired.settings.live():
        return Finding("sender", "ok", "looked at once e-mail reaches people and something is in force")
    if force.project.vocabulary.sender.get("email"):
        return Finding("sender", "ok", "e-mail has an address to come from")
    text = "e-mail has no address to come from: texts without a `from` of their own cannot be sent"
    return Finding("sender", "bad", text, "`email` under `sender` in workspace.yaml, then orchestrator apply")


def _ruleset(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.problems import Problems
    from orchestrator.project import shipped_ruleset
    from orchestrator.ruleset import CONSENT, HOURS, read_ruleset
    from orchestrator.store import versions

    texts = shipped_ruleset()
    shipped = read_ruleset(texts[HOURS], texts[CONSENT], Problems())
    found = versions.newest(conn)
    if found is None or shipped is None:
        return Finding("ruleset", "ok", "looked at once something is in force")
    if not texts.keys() <= found.files.keys():
        text = f"no legal ruleset was applied yet: that of this version speaks, {shipped.version}"
        return Finding("ruleset", "look", text, "orchestrator apply")
    stored = versions.documents(conn, [found.files[path] for path in texts])
    hours, consent = (str(stored[found.files[path]]["text"]) for path in (HOURS, CONSENT))
    applied = read_ruleset(hours, consent, Problems())
    if applied is None:
        text = "the one that was applied cannot be read by this version of the program"
        return Finding("ruleset", "bad", text, "orchestrator apply")
    if applied.version == shipped.version:
        return Finding("ruleset", "ok", f"{applied.version}; it is no legal advice")
    if applied.version[:10] > shipped.version[:10]:
        text = f"{applied.version} is in force, and this version of the program brings an older one, {shipped.version}"
        return Finding("ruleset", "look", text, "install the newer version here, too")
    text = f"{applied.version} is in force; this version of the program brings a newer one, {shipped.version}"
    return Finding("ruleset", "look", text, "orchestrator plan, then orchestrator apply")


def _written(folder: Path) -> dict[str, str]:
    """The folder's files by path, as hashes; nothing when they cannot be read."""
    from orchestrator.problems import ProjectError
    from orchestrator.project import read_files
    from orchestrator.store import versions

    try:
        return {path: versions.file_hash(text) for path, text in read_files(folder).items()}
    except ProjectError:
        return {}


def _pauses(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.store import versions

    paused = versions.pauses(conn)
    if not paused:
        return Finding("pauses", "ok", "nothing is paused")
    named = [
        f"{'everything' if scope == versions.EVERYTHING else scope} since {when(row['paused_at'])} by {row['by']}"
        + (f" ({row['reason']})" if row["reason"] else "")
        for scope, row in sorted(paused.items())
    ]
    todo = "orchestrator resume --all" if versions.EVERYTHING in paused else "orchestrator resume JOURNEY"
    return Finding("pauses", "look", "; ".join(named), todo)


def _ticks(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.store import wellbeing

    newest = wellbeing.newest_ticks(conn)
    if not newest:
        return Finding("ticks", "look", "none has run yet", "orchestrator run, or `orchestrator up` for a schedule")
    started, finished = newest[0]
    if finished is None and wired.clock() - started > LATE:
        return Finding("ticks", "look", f"the newest began {when(started)} UTC and never ended: it died, or hangs")
    return Finding("ticks", "ok", f"the newest began {when(started)} UTC")


def _queue(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.store import wellbeing

    now = wired.clock()
    found = wellbeing.queue(conn, now)
    if not found.batches:
        return Finding("queue", "ok", "nothing is due")
    text = f"{counted(found.messages, 'message')} due, the oldest since {when(found.oldest)} UTC"
    if found.abandoned:
        gone = counted(found.abandoned, "batch", "batches")
        text += f"; {gone} left by a worker that died: the next tick takes them up"
    if found.oldest is not None and now - found.oldest > LATE:
        return Finding("queue", "look", text, "orchestrator run; if it stays so, look whether a journey is paused")
    return Finding("queue", "ok", text)


def _seal(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.store import tree

    done = tree.sealed(conn)
    left = tree.waiting(conn, done.below)
    lag = left.lag(wired.clock())
    text = f"{counted(done.size, 'entry', 'entries')} of the log sealed"
    if left.rows:
        text += f", {counted(left.rows, 'row')} not yet, the oldest for {lag:,.0f} s"
    if lag > SEALED_WITHIN:
        return Finding("seal", "look", text, "orchestrator audit seal; `orchestrator up` seals every minute")
    return Finding("seal", "ok", text)


def _uncertain(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.store import wellbeing

    n = wellbeing.uncertain(conn)
    if not n:
        return Finding("uncertain", "ok", "of every message it is known whether it went out")
    text = f"of {counted(n, 'message')} nobody knows yet whether they went out; `reconcile` asks, or gives them up"
    return Finding("uncertain", "look", text, "orchestrator uncertain")


def _parked(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.apply import in_force, journey_version
    from orchestrator.problems import ProjectError
    from orchestrator.store import journeys, versions

    force = in_force(conn)
    if force is None:
        return Finding("people inside", "ok", "nobody")
    inside = versions.inside(conn)
    total = sum(n for steps in inside.values() for n in steps.values())
    unreadable = []
    for name, version, _ in journeys.live_versions(conn):
        try:
            journey_version(conn, force, name, version)
        except ProjectError:
            n = sum(inside.get((name, version), {}).values())
            unreadable.append(f"{n:,} in {name} ({version[:7]})")
    if unreadable:
        text = f"parked, because their version cannot be read against the workspace in force: {listed(unreadable)}"
        return Finding("people inside", "bad", text, "declare again what that version names, and apply")
    return Finding("people inside", "ok", f"{counted(total, 'run')} under way")


def _zones(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.store import wellbeing
    from orchestrator.zones import zone

    stated = wellbeing.zones_stated(conn)
    unknown = {name: n for name, n in stated.items() if name and zone(name) is None}
    lost = wellbeing.lost_for_texts(conn)
    parts = [f"{counted(sum(unknown.values()), 'customer')} in zones that do not exist ({listed(sorted(unknown))})"]
    parts = parts if unknown else []
    parts += [f"{counted(lost, 'customer')} with a phone and no zone at all"] if lost else []
    if not parts:
        return Finding("zones", "ok", f"{counted(sum(stated.values()), 'customer')}, all where the clock is known")
    return Finding("zones", "look", listed(parts) + ": no text or push goes to them", "import their `timezone`")


def _places(conn: sa.Connection, wired: Wired) -> Finding:
    from orchestrator.store import wellbeing

    nowhere, stateless = wellbeing.in_no_country(conn), wellbeing.in_no_state(conn)
    parts = [f"{counted(nowhere, 'customer')} with a phone and no country, by address, number or account"]
    parts = parts if nowhere else []
    parts += [f"{counted(stateless, 'customer')} in the US whose state is not known"] if stateless else []
    if not parts:
        return Finding("places", "ok", "of everybody with a phone it is known whose law holds")
    text = listed(parts) + ": the strictest hours of any place hold for them"
    return Finding("places", "look", text, "import their `country` and `region`")


def _zone_data() -> Finding:
    from orchestrator.holiday import HOLIDAYS
    from orchestrator.zones import TZDATA

    return Finding("zone data", "ok", f"tzdata {TZDATA}; holidays {HOLIDAYS}")


def _prefect() -> Finding:
    """Asks the server that PREFECT_API_URL names; without importing Prefect, which takes seconds."""
    import urllib.error
    import urllib.request

    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Finding("prefect", "ok", "no server is named (PREFECT_API_URL): `run` brings its own engine")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=3) as answer:
            ok = answer.status == 200
    except (OSError, ValueError, urllib.error.URLError):
        ok = False
    if ok:
        return Finding("prefect", "ok", f"{url} answers")
    return Finding("prefect", "bad", f"{url} does not answer", "start it, or unset PREFECT_API_URL")
