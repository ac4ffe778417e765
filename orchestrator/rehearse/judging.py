"""What was expected beside what came: a failure for each difference, and both as a timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from channels.base import Medium
from orchestrator.journey import Journey
from orchestrator.rehearsal.expectation import Course, Line
from orchestrator.rehearse.looking import absent, is_within, messages, runs, skipped, stands, told_of
from orchestrator.rehearse.scene import Scene
from orchestrator.rehearse.verdict import Got, Turn
from orchestrator.why import meaning


def judge(scene: Scene) -> tuple[Turn, ...]:
    """Note every failure of messages in the scene; the timeline."""
    got = messages(scene)
    taken: dict[int, Line] = {}
    missing = []
    for line in sorted((e for e in scene.test.expect if isinstance(e, Line)), key=_vague):
        fitting = [g for g in got if (g.id not in taken or line.fate == "held") and _is(scene, line, g)]
        if fitting:
            taken.setdefault(fitting[0].id, line)
        else:
            missing.append(line)
    for line in missing:
        scene.fail("missing", line.text, line.span, *_instead(scene, line, got, taken))
    strange = [g for g in got if scene.test.strict and g.fate == "sent" and g.id not in taken]
    strange = [g for g in strange if g.journey in scene.test.journeys]
    forbidden = _forbidden(scene, got)
    for g in strange:
        if g.id in forbidden or any(_means(line, g) for line in missing):
            continue  # told there: it must not come, or came at another time
        told = "add it to `expect`, or say that others may come: `also: allowed`"
        scene.fail("unexpected", f"{scene.shown(g.at)} {g.line}", scene.test.span, told)
    return _turns(scene, got, taken, missing, {g.id for g in strange} | forbidden)


def _vague(line: Line) -> tuple[bool, ...]:
    """The lines that say most come first, so that no other takes their message."""
    when = line.when
    return (when is None, when is None or when.first is None, not line.to, not line.name)


def _means(line: Line, got: Got) -> bool:
    """Whether the line speaks of this message, whatever became of it and when."""
    step = got.step.removeprefix(f"{got.medium}:")
    if line.medium != got.medium or line.name not in ("", got.template, got.step, step):
        return False
    ours = got.medium in ("task", "webhook") and line.to in got.about
    return (line.to in ("", got.to) or ours) and (not line.about or line.about in got.about)


def _is(scene: Scene, line: Line, got: Got) -> bool:
    """Whether this is what the line expects, in its time."""
    if not _means(line, got):
        return False
    if line.fate == "held":
        at = [held for held, reason in got.held if line.reason in ("", reason)]
    else:
        same = got.fate == line.fate and (line.fate == "sent" or line.reason in ("", got.reason))
        at = [got.at] if same else []
    return any(line.when is None or is_within(scene, line.when, one, got.to, *got.about) for one in at)


def _forbidden(scene: Scene, got: Sequence[Got]) -> set[int]:
    """Messages that `never` forbids; failures for them, for runs, and for refusals with another reason."""
    found: set[int] = set()
    for line in scene.test.never:
        if isinstance(line, Course):
            so, why = stands(scene, line)
            if so:
                scene.fail("forbidden", line.text, line.span, *why)
            continue
        sent = [g for g in got if _is(scene, replace(line, fate="sent", reason=""), g)]
        found |= {g.id for g in sent}
        if sent:
            told = [f"it went out {scene.shown(g.at)}: {g.line}" for g in sent]
            scene.fail("forbidden", line.text, line.span, *told)
        refused = [g for g in got if _is(scene, replace(line, fate="refused", reason=""), g)]
        if line.reason and refused and not any(g.reason == line.reason for g in refused):
            other = f"it was refused {scene.shown(refused[0].at)} because {refused[0].reason}: {refused[0].why}"
            scene.fail("forbidden", line.text, line.span, other)
    return found


# ---- what came instead ----------------------------------------------------------------------------------------------


def _instead(scene: Scene, line: Line, got: Sequence[Got], taken: Mapping[int, Line]) -> list[str]:
    told = []
    for g in got:
        if g.id in taken or not _means(line, g):
            continue
        told += [_sentence(f"it was held {scene.shown(at)} because {why}", meaning(why, why)) for at, why in g.held[:2]]
        whom = f" to {g.to}" if not line.to else ""
        match g.fate:
            case "sent":
                told.append(f"it went out{whom} {scene.shown(g.at)}")
            case "refused":
                told.append(_sentence(f"it was refused{whom} {scene.shown(g.at)} because {g.reason}", g.why))
            case "waiting":
                told.append(f"it waits{whom}, due {scene.shown(g.at)}")
    return told or _nowhere(scene, line)


def _sentence(what: str, why: str) -> str:
    return f"{what}: {why}" if why else what


def _nowhere(scene: Scene, line: Line) -> list[str]:
    """No such message was ever planned: where the runs stood that should have, or why there is none."""
    told: list[str] = []
    given = scene.test.given.people
    whose = [key for key in (line.to, line.about) if key in given] or list(given)
    for name in scene.test.journeys:
        journey = scene.project.journeys[name]
        steps = _senders(journey, line)
        if not steps:
            continue
        mine = {run.id: run for who in whose for run in runs(scene, who, name)}
        told += [told_of(scene, run) for run in mine.values()][:3]
        told += skipped(scene, list(mine.values()), steps)
        if not mine and whose:
            told.append(absent(scene, whose[0], name))
    return told


def _senders(journey: Journey, line: Line) -> tuple[str, ...]:
    """Ids of the steps that may send what the line names, and of those that hold them."""
    named = {
        part.id
        for step in journey.every_step()
        for part in (step, *step.parts())
        if (part.id, Medium(line.medium)) in part.sends()
        and line.name in ("", part.id, part.id.partition(":")[2], getattr(part, "template", ""))
    }
    holders = {step.id for step in journey.every_step() if any(part.id in named for part in step.parts())}
    return tuple(sorted(named | holders))


# ---- the timeline ---------------------------------------------------------------------------------------------------


def _turns(
    scene: Scene, got: Sequence[Got], taken: Mapping[int, Line], missing: Sequence[Line], bad: set[int]
) -> tuple[Turn, ...]:
    turns = []
    for line in missing:
        at = line.when.at if line.when is not None else scene.test.until
        turns.append(Turn(at, line.text, None, good=False, timed=False))
    for g in got:
        expected = taken.get(g.id)
        fate = {"sent": "", "refused": f" refused: {g.reason}", "waiting": " waits"}[g.fate]
        turns.append(Turn(g.at, expected.text if expected else None, g.line + fate, good=g.id not in bad))
    return tuple(sorted(turns, key=lambda turn: turn.at))
