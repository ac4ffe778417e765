"""`preview`: texts as somebody would get them, on one page to open in a browser; and test sends to their author."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli._look import counted
from orchestrator.cli.terminal import FINE, CannotRun, Usage, near, terminal

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa
    from rich.console import Console

    from channels.base import Outbound
    from orchestrator.preview import Press, Preview, Rendering, Sheet, Text, Who
    from orchestrator.preview.remarks import Remark
    from orchestrator.preview.testing import Tests
    from orchestrator.project import Project
    from orchestrator.settings import Settings
    from orchestrator.wiring import Wired

FLAG = Parameter(negative=())
_MEDIA = Literal["email", "sms", "push", "mail", "task", "webhook"]
_KEPT = 7 * 86_400
_SIGN = {"bad": "[red]✗[/]", "doubt": "[yellow]![/]", "note": "[dim]·[/]"}


def register(app: App) -> None:
    app.command(preview)


def preview(
    name: str,
    /,
    *,
    medium: _MEDIA | None = None,
    journey: Annotated[bool, FLAG] = False,
    customer: str | None = None,
    sample: Annotated[bool, FLAG] = False,
    seed: int = 0,
    made_up: Annotated[bool, FLAG] = False,
    locale: str | None = None,
    images: Annotated[bool, FLAG] = False,
    out: Path | None = None,
    open: Annotated[bool, FLAG] = False,
    send_to: str | None = None,
    author: str | None = None,
    now: str | None = None,
) -> int:
    """A text, or everything that a journey sends, as somebody would get it: in every language, with the longest and the
    emptiest values there are. Writes one page to open in a browser; nothing is sent, and nothing is recorded.

    Reads the workspace in this folder. Without a choice of whom, one is drawn from the database; where there is none,
    somebody is made up.

    Parameters
    ----------
    name
        A text, by its name without medium and language; or a journey.
    medium
        Only what goes by this medium.
    journey
        The journey of that name, where there is a text of that name too.
    customer
        For this customer, by key.
    sample
        For a customer drawn from the journey's audience, or from all.
    seed
        Which one is drawn.
    made_up
        For nobody: made up from what the workspace declares. Needs no database.
    locale
        In this language alone.
    images
        Show images that are fetched from elsewhere. Their host sees that somebody looked.
    out
        The file to write, in place of .orchestrator/preview/NAME.html.
    open
        Open it in a browser.
    send_to
        Plan a test send of each e-mail to this address, or of each text message to this number, one of the authors': it
        goes out with the next tick, judged and logged like any message, an e-mail's subject marked.
    author
        Who asks for test sends; without it, the name you are logged in with.
    now
        As of this instant (2027-03-28T09:00+02:00).
    """
    from channels.base import Medium
    from orchestrator.cli.running import instant
    from orchestrator.preview import NoSuchText, texts_named
    from orchestrator.preview import preview as written
    from orchestrator.preview.remarks import remarks
    from orchestrator.project import load
    from orchestrator.wiring import read_settings

    call = terminal()
    if sum((customer is not None, sample, made_up)) > 1:
        raise Usage("name one of --customer, --sample and --made-up")
    if send_to is not None and now is not None:
        raise Usage("a test send goes out now; say --send-to without --now")
    project = load(call.workspace)
    settings, _ = read_settings(call.workspace)
    chosen = Medium(medium) if medium is not None else None
    with _database(call.workspace, settings, made_up, customer is not None or sample) as wired:
        at = instant(now) if now is not None else _now(wired)
        try:
            texts = texts_named(project, name, chosen, now=at, journey=journey)
        except NoSuchText as error:
            raise Usage(str(error)) from None
        press = _press(call.workspace, settings, at)
        options: dict[str, Any] = {
            "now": at, "locale": locale, "public_url": settings.web.public_url, "senders": settings.senders,
            "press": press,
        }  # fmt: skip
        if wired is None:
            found = written(project, name, texts, **options)
        else:
            with wired.store.read() as conn:
                who = _who(conn, project, texts, customer, seed, at, sample)
                found = written(project, name, texts, who=who, conn=conn, **options)
    tests = None if send_to is None else _sent(call.workspace, settings, project, found, send_to, author)
    path = _written(call.workspace, name, found, out, images)
    if open:
        _open(path)
    told = remarks(found)
    call.answer(lambda: _document(found, told, path, tests), lambda console: _show(console, found, told, path, tests))
    return FINE


# ---- whom -----------------------------------------------------------------------------------------------------------


@contextmanager
def _database(workspace: Path, settings: Settings, made_up: bool, needed: bool) -> Iterator[Wired | None]:
    """The database, where there is one: nobody needs one to look at a text, and none is made here."""
    from orchestrator import wiring

    path = settings.database.url.removeprefix("sqlite:///")
    embedded = path != settings.database.url
    there = not embedded or (workspace / path).expanduser().exists()
    if made_up or not (there or needed):
        yield None
        return
    with wiring.connected(workspace) as wired:
        yield wired


def _now(wired: Wired | None) -> datetime:
    """Now; or the instant of the newest tick, where ticks were rehearsed ahead of the clock."""
    from datetime import UTC, datetime

    from orchestrator.cli._opening import as_of

    if wired is None:
        return datetime.now(UTC)
    with wired.store.read() as conn:
        return as_of(conn, wired)


def _who(
    conn: sa.Connection, project: Project, texts: list[Text], key: str | None, seed: int, now: datetime, sample: bool
) -> Who:
    """The customer of that key, else one drawn; nobody where there is none to draw."""
    from orchestrator.preview import Who
    from orchestrator.store import sampling
    from orchestrator.store.segments import Segments

    if key is not None:
        found = sampling.customer_named(conn, key)
        if found is None:
            raise Usage(f"there is no customer `{key}`")
        return Who(found)
    segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
    journeys = {text.journey.name: text.journey for text in texts if text.journey is not None}
    one = next(iter(journeys.values())) if len(journeys) == 1 else None
    drawn = sampling.drawn(conn, sampling.audience(segments, one, now), seed)
    if drawn is None and one is not None:  # nobody is meant just now: anybody shows the text
        drawn = sampling.drawn(conn, sampling.audience(segments, None, now), seed)
    if drawn is None and sample:
        raise CannotRun("there is no customer to draw; import some, or say --made-up")
    return Who(drawn, None if drawn is None else seed)


# ---- test sends -----------------------------------------------------------------------------------------------------


def _sent(workspace: Path, settings: Settings, project: Project, found: Preview, to: str, author: str | None) -> Tests:
    """Plan the test sends. What cannot be is told before a page is written."""
    import getpass

    from orchestrator.cli._opening import opened
    from orchestrator.preview.testing import NotSent, plan_tests

    with opened(workspace) as wired:
        try:
            return plan_tests(
                wired.store, wired.keys, project, found, to=to, author=author or getpass.getuser(),
                authors=settings.preview.authors, now=wired.clock(),
            )  # fmt: skip
        except NotSent as error:
            raise CannotRun(str(error)) from None


# ---- letters --------------------------------------------------------------------------------------------------------


def _press(workspace: Path, settings: Settings, at: datetime) -> Press:
    """Prints letters as the settings' own print house has them; by the usual measures where letters are not its."""
    from channels.base import Medium, Misconfigured
    from orchestrator.preview import Sheet
    from orchestrator.settings import MissingSecret, Reveal

    # By its name, as `wiring` finds a provider: it alone knows how a letter is set.
    showing = importlib.import_module("channels.letterfile.showing")
    chosen = settings.channel(Medium.MAIL)
    reveal = Reveal(os.environ, lambda path: (workspace / path).read_text(encoding="utf-8"))
    options: Mapping[str, Any] = {}
    if chosen.provider == "letterfile":
        try:
            options = chosen.options(reveal, but=("sftp", "folder", "rehearsal", "seeds"))
        except MissingSecret:
            options = {}

    def press(outbound: Outbound) -> Sheet | None:
        try:
            found = showing.shown(outbound, options, at)
        except Misconfigured as error:
            return Sheet(refused=str(error))
        return None if found is None else Sheet(*found)

    return press


# ---- the answer -----------------------------------------------------------------------------------------------------


def _written(workspace: Path, name: str, found: Preview, out: Path | None, images: bool) -> Path:
    """The page's path. It may show a person's data: nobody but its owner may read it."""
    from orchestrator.preview.page import page

    folder = workspace / ".orchestrator" / "preview"
    path = out.expanduser().absolute() if out is not None else folder / f"{_file(name)}.html"
    text = page(found, images=images)
    try:
        if out is None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            _forget_old(folder)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise CannotRun(f"the page cannot be written to {path}: {error.strerror or error}") from None
    return path


def _forget_old(folder: Path) -> None:
    """Pages that nobody has made anew for a week: what they show of a person has no business there any more."""
    import time

    for page in folder.glob("*.html"):
        if page.stat().st_mtime < time.time() - _KEPT:
            page.unlink(missing_ok=True)


def _file(name: str) -> str:
    return re.sub(r"[^\w@.-]", "-", name).lstrip(".") or "preview"


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.as_uri()):
        raise CannotRun(f"no browser could be opened; the page is {path}")


def _document(found: Preview, told: list[Remark], path: Path, tests: Tests | None) -> dict[str, Any]:
    return {
        "name": found.name,
        "file": path,
        "at": found.at,
        "who": found.who,
        "real": found.is_real,
        "renderings": [_plain(one) for one in found.renderings],
        "remarks": [{"weight": one.weight, "text": one.text, "where": one.where} for one in told],
        "extremes": [
            {"name": e.name, "of": e.of, "missing": e.missing, "longest": e.longest, "shortest": e.shortest}
            for e in found.extremes.values()
        ],
        "tests": list(tests.messages) if tests is not None else [],
    }


def _plain(one: Rendering) -> dict[str, Any]:
    out, carried = one.outbound, one.carried
    parts = {} if out is None else {part: out.part(part) for part in out.skeleton.parts if part != "html"}
    return {
        "medium": one.text.medium,
        "text": one.text.name,
        "step": one.text.step,
        "locale": one.locale,
        "values": one.values,
        "own": one.own,
        "refused": one.refused,
        "gaps": sorted(one.gaps),
        "made_up": one.made_up,
        "parts": parts,
        "segments": carried.segments if carried is not None else None,
        "encoding": carried.encoding if carried is not None else None,
    }


def _show(console: Console, found: Preview, told: list[Remark], path: Path, tests: Tests | None) -> None:
    texts = len({id(one.text) for one in found.renderings})
    locales = list(dict.fromkeys(one.locale for one in found.renderings if one.locale))
    spoken = f" in {', '.join(locales)}" if locales else ""
    console.print(f"[bold]{found.name}[/]: {counted(texts, 'text')}{spoken}, for {found.who}", soft_wrap=True)
    for one in told:
        where = f"  [dim]{_escaped(one.where)}[/]" if one.where else ""
        console.print(f"  {_SIGN[one.weight]} {_escaped(one.text)}{where}", soft_wrap=True)
    console.print(f"[bold green]✓[/] {near(path)}", soft_wrap=True)
    if tests is not None:
        sends = counted(len(tests.messages), "test send")
        console.print(f"[bold green]✓[/] {sends} planned: out with the next tick (orchestrator run)", soft_wrap=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
