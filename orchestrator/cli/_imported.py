"""What an import should make people think of: journeys that take it for news, and a yes that does not suffice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from orchestrator.cli._look import counted, some

if TYPE_CHECKING:
    import sqlalchemy as sa

    from orchestrator.apply import Force
    from orchestrator.importing import ImportReport
    from orchestrator.project import Project

_NEWS = ("customers", "accounts", "events", "points", "referrals")
_FEW = 50
"""Fewer than these are an ordinary day, as for the guard."""
_FEW_TO_NAME = 6


def notes(conn: sa.Connection, project: Project, report: ImportReport) -> Iterator[str]:
    """What to think of before the next run, each in a line of its own; a fixed number of statements."""
    if report.kind == "consents" and report.inserted:
        yield from _unconfirmed(conn, project)
    if report.kind in _NEWS and report.inserted >= _FEW and not report.already:
        yield from _news(conn)


# ---- a history under journeys in force ------------------------------------------------------------------------------


def _news(conn: sa.Connection) -> Iterator[str]:
    """Where most of what is there is new since the newest apply, it is a history and not a day's news."""
    from orchestrator.apply import in_force
    from orchestrator.store import bygone, versions

    force = in_force(conn)
    if force is None:
        return
    people, before = bygone.people(conn, force.applied.at)
    names = _beginners(force)
    if people - before < max(_FEW, before) or not names or versions.EVERYTHING in versions.pauses(conn):
        return
    which = f"{counted(len(names), 'journey')} that {'begins' if len(names) == 1 else 'begin'} with a segment or a tier"
    yield (
        f"{people - before:,} of {people:,} customers came after the apply in force, and {which} may let them in at the"
        f" next run for what they did long ago: {some(names, _FEW_TO_NAME)}. Is this a history? Then, before the next"
        " run, say `orchestrator pause --all --discard`, import the rest, `orchestrator run`,"
        " `orchestrator resume --all`; see docs/reference/import.md"
    )


def _beginners(force: Force) -> list[str]:
    from orchestrator.journey import SegmentTrigger, TierTrigger

    return sorted(
        name
        for name, journey in force.project.journeys.items()
        if journey.admits
        and not force.is_paused(name)
        and any(isinstance(trigger, SegmentTrigger | TierTrigger) for trigger in journey.triggers)
    )


# ---- yeses that do not suffice --------------------------------------------------------------------------------------


def _unconfirmed(conn: sa.Connection, project: Project) -> Iterator[str]:
    from orchestrator.store import consents

    found = consents.unconfirmed(conn, _confirmed_only(project))
    for medium in sorted({medium for medium, _ in found}):
        by_country = {country: n for (of, country), n in found.items() if of == medium}
        n = sum(by_country.values())
        yield (
            f"{n:,} {'yes' if n == 1 else 'yeses'} on {medium} of people in {', '.join(sorted(by_country))}"
            f" {'has' if n == 1 else 'have'} no `confirm` row, and without one nothing is sent on them there. Import"
            " the confirmations you hold (double opt-in, or a signature); see docs/guide/consent.md"
        )


def _confirmed_only(project: Project) -> Mapping[tuple[str, str], frozenset[str]]:
    """By (medium, country) the grounds on which a yes of a person must have been confirmed there."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    enough: dict[tuple[str, str], frozenset[str]] = {}
    for rule in project.vocabulary.policies.ruleset.consent:
        for medium in rule.media if rule.country is not None and "individual" in rule.forms else ():
            into = found if rule.confirmed else enough
            place = (medium, str(rule.country))
            into[place] = into.get(place, frozenset()) | rule.bases
    return {place: bases - enough.get(place, frozenset()) for place, bases in found.items()}
