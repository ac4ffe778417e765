"""Tiers and terms: who has reached what, what is missing, when it would be lost, how long a membership lasts.

All days are the unit's own. A tier is gained the moment its score is enough; it is lost at a review only, the first
instant of the first day of a month, a quarter or a year. A review that finds the score below the tier's threshold
begins the grace; the first review that comes when it is over takes the tier. A score that is enough again, or
protection, ends the grace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal, NamedTuple

from orchestrator.dates import day_after
from orchestrator.program import ClassProgram, Membership
from orchestrator.words import Duration

Review = Literal["monthly", "quarterly", "yearly", "never"]
_MONTHS = {"monthly": 1, "quarterly": 3, "yearly": 12}
_DAY = timedelta(days=1)
REASONS = ("first", "score", "review", "class")
"""Why the programme changed a tier: its first look at somebody; the score is enough; a review; another class."""
_MOST_REVIEWS = 600
"""Reviews looked through at once: fifty years of months."""


# ---- reviews --------------------------------------------------------------------------------------------------------


def next_review(review: Review, day: date) -> date | None:
    """The first review day on `day` or after it; None where there are none."""
    if review == "never":
        return None
    every = _MONTHS[review]
    month = day.year * 12 + day.month - 1 + (day.day > 1)
    month = -(-month // every) * every
    return date(month // 12, month % 12 + 1, 1)


def reviews(review: Review, after: date, until: date) -> Iterator[date]:
    """Review days in (after, until], oldest first."""
    day = next_review(review, after + _DAY)
    for _ in range(_MOST_REVIEWS):
        if day is None or day > until:
            return
        yield day
        day = next_review(review, day + _DAY)


# ---- tiers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a unit stands. `below_since`: the review day on which the grace began; `held_until`: until that review
    somebody else's word keeps it lower than its score; `held_below`: where no review comes, until the score is enough
    for more than this tier; `reviewed_on`: the last review day that is behind it."""

    tier: str | None = None
    below_since: date | None = None
    held_until: date | None = None
    reviewed_on: date | None = None
    held_below: str | None = None


class Found(NamedTuple):
    """What was asked of a unit at an instant. `score` None: not known."""

    score: float | None
    protected: bool = False


def said(program: ClassProgram, stand: Stand, tier: str | None, found: Found, today: date) -> Stand:
    """After somebody else (an import) has set the tier. A higher one than the score's counts as reached today; a lower
    one holds until the next review; where none comes, until the score is enough for more than it is now."""
    reached = reached_by(program, found.score)
    held, below = None, None
    if tier is not None and reached is not None and _place(program, tier) < _place(program, reached):
        held = next_review(program.downgrade.review, today + _DAY)
        below = reached if held is None else None
    return replace(stand, tier=tier, below_since=None, held_until=held, held_below=below)


def reached_by(program: ClassProgram, score: float | None) -> str | None:
    """The tier a score is enough for; None where it is not known."""
    return None if score is None else program.tier_of(score)


def moved(program: ClassProgram, stand: Stand, found: Found, review: date | None) -> Stand:
    """Where the unit stands after it was looked at; at a review, `review` is its day.

    An unknown score moves nobody, but whoever has no tier yet gets the lowest.
    """
    if review is not None:
        stand = replace(stand, reviewed_on=review, held_below=None)
        if stand.held_until is not None and stand.held_until <= review:
            stand = replace(stand, held_until=None)
    if stand.tier is None or stand.tier not in program.tiers:
        return replace(stand, tier=program.tiers[0] if program.tiers else None, below_since=None)
    reached = reached_by(program, found.score)
    if reached is None:
        return stand
    here, there = _place(program, stand.tier), _place(program, reached)
    held = stand.held_until is not None or (stand.held_below is not None and there <= _place(program, stand.held_below))
    if there > here and not held:
        return replace(stand, tier=reached, below_since=None, held_below=None)
    # A tier without a threshold is by invitation: no score takes it.
    if there >= here or found.protected or stand.tier not in program.thresholds:
        return replace(stand, below_since=None)
    return stand if review is None else _reviewed(program, stand, here, there, review)


def _reviewed(program: ClassProgram, stand: Stand, here: int, there: int, review: date) -> Stand:
    """A review of somebody whose score is below her tier's, unprotected."""
    since = stand.below_since or review
    if review < _over(program, since):
        return replace(stand, below_since=since)
    lower = here - 1 if program.downgrade.steps == "one" else there
    # Each tier has a grace of its own: the one below begins with this review.
    return replace(stand, tier=program.tiers[lower], below_since=review if lower > there else None)


def _over(program: ClassProgram, since: date) -> date:
    """The first day after the grace."""
    grace = program.downgrade.grace
    return since if grace is None else day_after(since, grace)


def _place(program: ClassProgram, tier: str) -> int:
    return program.tiers.index(tier) if tier in program.tiers else -1


@dataclass(frozen=True, slots=True)
class Progress:
    """What conditions and texts name. `missing` to the next tier; `shortfall` to keep the present one; `review_on`:
    the review that would take it, as things stand, None where none would."""

    score: float | None = None
    next_tier: str | None = None
    missing: float | None = None
    shortfall: float | None = None
    review_on: date | None = None
    protected: bool = False


def progress(program: ClassProgram, stand: Stand, found: Found, today: date) -> Progress:
    """As of today, after `moved`."""
    if stand.tier is None or stand.tier not in program.tiers:
        return Progress(found.score, protected=found.protected)
    above = [t for t in program.tiers[_place(program, stand.tier) + 1 :] if t in program.thresholds]
    following = above[0] if above else None
    if found.score is None:
        return Progress(None, following, protected=found.protected)
    missing = None if following is None else max(0.0, program.thresholds[following] - found.score)
    shortfall = max(0.0, program.thresholds.get(stand.tier, found.score) - found.score)
    at_risk = shortfall > 0 and not found.protected and stand.tier != program.tiers[0]
    return Progress(
        found.score, following, missing, shortfall, lost_on(program, stand, today) if at_risk else None, found.protected
    )


def lost_on(program: ClassProgram, stand: Stand, today: date) -> date | None:
    """The review that takes the tier of somebody whose score is, and stays, below its threshold."""
    coming = next_review(program.downgrade.review, today + _DAY)
    if coming is None:
        return None
    over = _over(program, stand.below_since or coming)
    return next_review(program.downgrade.review, max(over, coming))


# ---- membership -----------------------------------------------------------------------------------------------------


class Term(NamedTuple):
    """A time of membership: its first day, its last one (None: without end), how often it was renewed."""

    since: date
    until: date | None
    renewed: int = 0


def terms(membership: Membership, days: Sequence[date], today: date) -> list[Term]:
    """The times that events on these days give, oldest first; days to come are left out.

    An event within a time renews it: a term is added to its end, none is lost by coming early. Where membership renews
    by itself, what is due by today has been added, and further events add nothing.
    """
    found: list[Term] = []
    for day in sorted(day for day in days if day <= today):
        if found:
            found[-1] = _renewed_by_itself(membership, found[-1], day)
        last = found[-1] if found else None
        if last is None or (last.until is not None and last.until < day):
            found.append(Term(day, _end(membership.term, day, 0)))
        elif last.until is not None and membership.renews == "by_event":
            found[-1] = Term(last.since, _end(membership.term, last.since, last.renewed + 1), last.renewed + 1)
    if found:
        found[-1] = _renewed_by_itself(membership, found[-1], today)
    return found


def _renewed_by_itself(membership: Membership, term: Term, day: date) -> Term:
    while membership.renews == "auto" and term.until is not None and term.until < day:
        following = _end(membership.term, term.since, term.renewed + 1)
        if following is None or following <= term.until:
            return term
        term = Term(term.since, following, term.renewed + 1)
    return term


def _end(length: Duration | None, since: date, renewed: int) -> date | None:
    """The last day of a term: the one before the anniversary, or, where the month has no such day, its last. Counted
    from the first day, so that a term from the 31st does not creep back to the 28th."""
    if length is None:
        return None
    n = renewed + 1
    whole = Duration(length.months * n, length.days * n, length.seconds * n, length.business * n)
    end = day_after(since, whole)
    clipped = bool(length.months) and not length.days and end.day < since.day
    return max(since, end if clipped else end - _DAY)


def covering(spans: Sequence[tuple[date, date | None]], today: date) -> Term | None:
    """Contracts' own times (first day, last day) as one: the time that covers today, or the last one that is over;
    None where none has begun. What follows without a gap is one time."""
    joined: list[Term] = []
    for since, until in sorted(spans, key=lambda span: span[0]):
        if since > today:
            break
        last = joined[-1] if joined else None
        if last is None or (last.until is not None and last.until + _DAY < since):
            joined.append(Term(since, until))
        elif last.until is not None and (until is None or until > last.until):
            joined[-1] = Term(last.since, until, last.renewed + 1)
    return joined[-1] if joined else None
