"""`draw`: journeys as pictures, from the folder's workspace; with counts, from the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from orchestrator.cli._opening import ruling
from orchestrator.cli.terminal import FINE, CannotRun, Usage, terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.journey import Journey
    from orchestrator.simulation import Traffic


def register(app: App) -> None:
    app.command(draw)


def draw(
    journey: str | None = None,
    /,
    *,
    out: Path | None = None,
    every: Annotated[Path | None, Parameter(name="--all")] = None,
    live: Annotated[bool, Parameter(negative=())] = False,
    theme: Literal["auto", "light", "dark"] = "auto",
) -> int:
    """Draw a journey as a picture (SVG) for a page, a document or a presentation. Says where it lies.

    Drawn as it is written in the folder; no database is needed, but for `--live`.

    Parameters
    ----------
    journey
        Its name.
    out
        The file to write; without it, JOURNEY.svg where you stand.
    every
        Draw all journeys, each into a file of this folder.
    live
        The version in force, with counts from the database: who came where, who stands where, what was sent.
    theme
        Colours: light or dark for good, or as whoever looks at it has set (auto). Presentations want light or dark.
    """
    from orchestrator import drawing

    if (journey is None) == (every is None):
        raise Usage("name a journey, or write `--all DIR` for all of them")
    if every is not None and out is not None:
        raise Usage("`--out` is for one journey; with `--all` the folder says where")
    call = terminal()
    journeys, counts = _live(call.workspace, journey) if live else (_written(call.workspace, journey), {})
    paths = []
    for name in sorted(journeys):
        path = (every / f"{name}.svg") if every is not None else out or Path(f"{name}.svg")
        _write(path, drawing.draw(journeys[name], counts.get(name), theme=theme))
        paths.append(path)
    told = "\n".join(map(str, paths))
    call.answer(
        lambda: {"files": [str(path) for path in paths]},
        lambda console: console.print(told, markup=False, soft_wrap=True),
    )
    return FINE


def _written(workspace: Path, name: str | None) -> Mapping[str, Journey]:
    from orchestrator.project import load

    return _chosen(load(workspace).journeys, name, "the workspace")


def _live(workspace: Path, name: str | None) -> tuple[Mapping[str, Journey], dict[str, Traffic]]:
    """What is in force, and how many went which way in these versions."""
    from orchestrator import wiring
    from orchestrator.store.traffic import traffic

    with wiring.connected(workspace) as wired, wired.store.read() as conn:
        journeys = _chosen(ruling(conn, wired).project.journeys, name, "what is in force")
        return journeys, {n: traffic(conn, n, version=j.version) for n, j in journeys.items()}


def _chosen(journeys: Mapping[str, Journey], name: str | None, where: str) -> Mapping[str, Journey]:
    if name is None:
        return journeys
    if name not in journeys:
        from orchestrator.problems import suggest

        raise Usage(f"there is no journey `{name}` in {where}; {suggest(name, journeys)}".removesuffix("; "))
    return {name: journeys[name]}


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"{path} cannot be written: {error.strerror or type(error).__name__}") from None
