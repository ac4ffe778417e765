"""Why did she (not) get this? Everything that happened to one person, and what holds of her now, with its place.

A story has two halves. What happened comes from the diary, the messages and the log: for each step and each message
what it did, and every rule's verdict with what it was judged on. What holds now is asked of the database: for a journey
without a run, which part of its trigger or audience is not true, and what else keeps her out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator import outbound, outcome, rules
from orchestrator.apply import Force, in_force, journey_version
from orchestrator.consider import Entry, consider, paused
from orchestrator.journey import (
    AtTrigger,
    DateTrigger,
    EventTrigger,
    Journey,
    MilestoneTrigger,
    RiskTrigger,
    ScheduleTrigger,
    SegmentTrigger,
    StageTrigger,
    TierTrigger,
    Trigger,
)
from orchestrator.model import Json
from orchestrator.problems import ProjectError
from orchestrator.steps.sending import MANAGER
from orchestrator.store import consents, explain, log, versions
from orchestrator.store.database import Store
from orchestrator.store.explain import Row, Who
from orchestrator.store.keys import Keys
from orchestrator.trigger import in_words

__all__ = [
    "Decision",
    "Moment",
    "NoJourney",
    "Nobody",
    "Notice",
    "Refusal",
    "Run",
    "Said",
    "Sent",
    "Story",
    "Word",
    "of_message",
    "why",
]

NEWEST_RUNS = 100


class Nobody(LookupError):
    """Neither a customer nor an account is called that."""


class NoJourney(LookupError):
    """No journey of that name is in force, and there was never a run of it. Second argument: those in force."""


@dataclass(frozen=True, slots=True)
class Said:
    """One rule's verdict: `say` allow, hold or deny; `meaning` of its reason; `inputs` it was judged on."""

    rule: str
    say: str
    reason: str
    meaning: str
    until: datetime | None
    inputs: Json


@dataclass(frozen=True, slots=True)
class Decision:
    """A line of the log that decided on a message. `verdicts` None: what it was judged on cannot be read, and `sealed`
    says why: erased, damaged (changed, or kept under another key) or closed (no keys are here).

    `segments`: of a text message, count, encoding and cost. `where`: of a text that could not be made, the name or
    place. `zones`: (name, whose) candidates of the addressee, and so are `places` ("US-TX", "DE").
    """

    at: datetime
    attempt: int
    say: str
    rule: str
    reason: str
    meaning: str
    until: datetime | None
    verdicts: tuple[Said, ...] | None
    zones: tuple[tuple[str, str], ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    where: str = ""
    sealed: str = ""
    segments: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notice:
    """What became of a message (`kind` outcome), or what was heard of it afterwards (feedback)."""

    at: datetime
    kind: str
    what: str
    reason: str
    meaning: str
    again: datetime | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """A consent event that a decision relied on. `wording`: what was shown, with its hash and version.

    `sealed`: why its source cannot be told: erased, damaged (changed, or kept under another key) or closed (no keys are
    here); "" where it is told, or none was given.
    """

    id: int
    medium: str
    topic: str
    action: str
    at: datetime
    method: str | None
    source: str | None
    basis: str | None
    wording: str | None
    wording_hash: str | None
    wording_version: str | None
    jurisdiction: str | None
    sealed: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A message and everything about it. `file` and `line` are those of its step in the version it was sent by.

    `next_at`: when it is looked at next, while it is planned or held. `to`: the addressee's key; "" for staff, of whom
    `whom` says who is meant, as the journey names them: a team, the account's manager; no address of a person.
    """

    id: int
    step: str
    visit: int
    file: str
    line: int | None
    medium: str
    template: str
    topic: str
    purpose: str
    addressee: str
    to: str
    state: str
    reason: str
    meaning: str
    planned_at: datetime
    next_at: datetime | None
    expires_at: datetime | None
    settled_at: datetime | None
    attempts: int
    provider: str
    decisions: tuple[Decision, ...]
    notices: tuple[Notice, ...]
    relied_on: tuple[Word, ...]
    whom: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no to everything on a medium, or to a topic ("*": everything), and what went before and after it.

    `before`: handed over in the day before it, or on its way by then. `stopped`: planned by then, and not handed over
    because of it. `after`: decided after it and handed over until the next yes, our answers to it apart.
    """

    at: datetime
    medium: str
    topic: str
    method: str
    before: tuple[Sent, ...]
    stopped: tuple[Sent, ...]
    after: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of a run's diary: what a step did."""

    at: datetime
    step: str
    visit: int
    what: str
    file: str
    line: int | None
    detail: Json


@dataclass(frozen=True, slots=True)
class Run:
    """One way through a journey. `began`: the trigger in words, and `because` what it fired for.

    `note`: why a contact got nothing of a run of her account.
    `current`: whether its version is the one in force. `readable`: False when that version can no longer be read
    against the workspace in force, and the run is parked.
    """

    id: int
    journey: str
    version: str
    current: bool
    readable: bool
    unit: str
    run_key: str
    began: str
    because: str
    file: str
    line: int | None
    entered_at: datetime
    step: str
    wake_at: datetime | None
    ended_at: datetime | None
    ended_because: str
    paused: str
    note: str
    moments: tuple[Moment, ...]
    messages: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """The whole answer. `entries`: of the journey asked for, or of every journey without a run."""

    key: str
    account: str | None
    merged_from: str | None
    journey: str | None
    asked_at: datetime
    runs: tuple[Run, ...]
    entries: tuple[Entry, ...]
    others: tuple[Sent, ...] = field(default=())
    stops: tuple[Refusal, ...] = ()


def why(store: Store, keys: Keys | None, key: str, journey: str | None, *, now: datetime) -> Story:
    """The story of a customer (or account), or of one journey of hers. Raises Nobody, NoJourney. Reads only.

    Without `keys` it tells everything but what the decisions were made on.
    """
    with store.read() as conn:
        one = explain.who(conn, key)
        if one is None:
            raise Nobody(key)
        force = in_force(conn)
        runs = _runs(conn, keys, one, force, journey)
        others = () if journey is not None or one.customer_id is None else _others(conn, keys, one, runs)
        known = frozenset(force.project.journeys) if force is not None else frozenset()
        if journey is not None and journey not in known and not runs:
            raise NoJourney(journey, tuple(known))
        names = {journey} & known if journey is not None else known - {run.journey for run in runs}
        if journey is None and force is not None:  # not those that are about another kind of unit
            names = {n for n in names if one.unit_id(force.project.journeys[n].unit) is not None}
        entries = tuple(consider(conn, force, name, one, now) for name in sorted(names)) if force is not None else ()
        said = explain.said(conn, one.customer_id) if one.customer_id is not None else []
    sents = [*(sent for run in runs for sent in run.messages if sent.addressee == "customer"), *others]
    stops = tuple(_refusals(said, sents))
    return Story(one.key, one.account_key, one.merged_from, journey, now, runs, entries, others, stops)


def of_message(store: Store, keys: Keys | None, message_id: int) -> Sent | None:
    """One message with its decisions and what became of it; None when there is none of that number."""
    with store.read() as conn:
        row = explain.message_by_id(conn, message_id)
        if row is None:
            return None
        force = in_force(conn)
        lines = _lines_of(conn, force, row["journey"], row["version"])
        return _sent(conn, keys, [row], {row["version"]: lines})[0]


# ---- runs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lines:
    """Where the steps of one journey version stand."""

    file: str
    journey: Journey | None

    def line(self, step: str) -> int | None:
        if self.journey is None:
            return None
        try:
            return self.journey.step(step).span.line if step else self.journey.span.line
        except KeyError:
            return None


def _lines_of(conn: sa.Connection, force: Force | None, name: str | None, version: str | None) -> _Lines:
    if force is None or name is None or version is None:
        return _Lines("", None)
    try:
        found = journey_version(conn, force, name, version).journey
    except ProjectError:
        body = versions.documents(conn, [version]).get(version, {})
        return _Lines(str(body.get("path", "")), None)
    return _Lines(found.path, found)


def _runs(
    conn: sa.Connection, keys: Keys | None, one: Who, force: Force | None, journey: str | None
) -> tuple[Run, ...]:
    rows = explain.runs(conn, one, journey, NEWEST_RUNS)
    ids = [row["id"] for row in rows]
    places = {row["version"]: _lines_of(conn, force, row["journey"], row["version"]) for row in rows}
    moments: dict[int, list[Moment]] = defaultdict(list)
    files = {row["id"]: places[row["version"]].file for row in rows}
    for row in explain.diary(conn, ids):
        moments[row["enrollment_id"]].append(_moment(row, files[row["enrollment_id"]]))
    messages: dict[int, list[Sent]] = defaultdict(list)
    planned = explain.messages_of_runs(conn, ids)
    for row, sent in zip(planned, _sent(conn, keys, planned, places), strict=True):
        messages[row["enrollment_id"]].append(sent)
    events = explain.events_by_id(conn, [row["event_id"] for row in rows if row["event_id"] is not None])
    records = explain.records_by_id(conn, [row["record_id"] for row in rows if row["record_id"] is not None])
    pauses = versions.pauses(conn)
    found = []
    for row in rows:
        at = places[row["version"]]
        began, line = _began(at.journey, row)
        found.append(
            Run(
                id=row["id"],
                journey=row["journey"],
                version=row["version"],
                current=force is not None and force.applied.journeys.get(row["journey"]) == row["version"],
                readable=at.journey is not None,
                unit=row["unit"],
                run_key=row["run_key"],
                began=began,
                because=_because(row, events, records),
                file=at.file,
                line=line,
                entered_at=row["entered_at"],
                step=row["step"],
                wake_at=row["wake_at"],
                ended_at=row["ended_at"],
                ended_because=row["ended_because"] or "",
                paused="" if row["ended_at"] else paused(pauses, row["journey"]),
                note=_passed_over(at.journey, one, messages[row["id"]]),
                moments=tuple(moments[row["id"]]),
                messages=tuple(messages[row["id"]]),
            )
        )
    return tuple(found)


def _passed_over(journey: Journey | None, one: Who, messages: Sequence[Sent]) -> str:
    """Why a contact of the account got none of a run's messages, where its other contacts did."""
    to = {sent.to for sent in messages if sent.addressee == "customer"}
    if journey is None or journey.unit == "customer" or one.customer_id is None or not to:
        return ""
    if one.left_at is not None:
        return f"`{one.key}` left on {one.left_at:%Y-%m-%d}: from then on others of the account are written to"
    if one.key in to:
        return ""
    roles = f" in the roles {', '.join(journey.recipients.roles)}" if journey.recipients.roles else ""
    most = f", at most {journey.recipients.at_most}" if journey.recipients.at_most else ""
    most += f", {journey.recipients.each} of each role" if journey.recipients.each else ""
    own = f"`{one.key}` has the role {one.role}" if one.role else f"`{one.key}` has no role"
    return f"others of the account were written to ({', '.join(sorted(to))}): contacts{roles}{most}; {own}"


def _moment(row: Row, file: str) -> Moment:
    detail = dict(row["detail"])
    return Moment(row["at"], row["step"], row["visit"], row["what"], file, detail.pop("line", None), detail)


_FIRED = (
    ("event:", EventTrigger),
    ("entry:", SegmentTrigger),
    ("exit:", SegmentTrigger),
    ("tier:", TierTrigger),
    ("risk:", RiskTrigger),
    ("points:", RiskTrigger),
    ("milestone:", MilestoneTrigger),
    ("date:", DateTrigger),
    ("stage:", StageTrigger),
    ("stalled:", StageTrigger),
)


def _began(journey: Journey | None, row: Row) -> tuple[str, int | None]:
    """(what let the run in, in words; its line), as far as the run's key tells which of several triggers it was."""
    if journey is None:
        return "", None
    key = str(row["run_key"])
    if key.startswith("enter:"):
        return f"entered from another journey (run {key.split(':')[1]})", journey.span.line
    kinds: list[type[Trigger]] = [kind for prefix, kind in _FIRED if key.startswith(prefix)]
    by_record: list[type[Trigger]] = [] if row["record_id"] is None else [DateTrigger, StageTrigger]
    kinds += by_record if row["event_id"] is None else [EventTrigger]
    kinds += [AtTrigger, ScheduleTrigger] if key[:2] == "20" and "T" in key else []
    of_kind = [t for t in journey.triggers if isinstance(t, tuple(kinds))] if kinds else list(journey.triggers)
    chosen = of_kind or list(journey.triggers)
    text = " or ".join(in_words(t) for t in chosen)
    return text, chosen[0].span.line if chosen else journey.span.line


def _because(row: Row, events: Mapping[int, Row], records: Mapping[int, Row]) -> str:
    if (event := events.get(row["event_id"])) is not None:
        named = "" if event["key"].startswith("h:") else f" ({event['key']})"  # the content itself: no name
        return f"{event['type']} of {event['occurred_at']:%Y-%m-%d %H:%M} UTC{named}"
    if (record := records.get(row["record_id"])) is not None:
        return f"{record['type']} {record['key']}"
    return ""


# ---- what a no stopped ----------------------------------------------------------------------------------------------

_TOLD = 3  # the newest noes
_EARLIER = timedelta(days=1)
_STOPPED_BY = frozenset({"suppressed", "consent_withdrawn"})


def _refusals(said: Sequence[Row], sents: Sequence[Sent]) -> Iterable[Refusal]:
    """The newest noes, each with the messages around it. `said`: consent events in order of time."""
    noes = [word for word in said if word["action"] == "withdraw"]
    for no in noes[-_TOLD:]:
        at, medium, topic = no["at"], no["medium"], no["topic"]
        yes = (w["at"] for w in said if w["action"] != "withdraw" and w["medium"] == medium and w["at"] > at)
        until = next(yes, datetime.max.replace(tzinfo=UTC))
        mine = [s for s in sents if s.medium == medium and topic in ("*", s.topic) and s.step not in rules.ANSWERS]
        gone = [(s, decided) for s in mine if (decided := _handed_over(s)) is not None]
        yield Refusal(
            at,
            medium,
            topic,
            no["method"] or "",
            tuple(s for s, decided in gone if at - _EARLIER < decided <= at),
            tuple(s for s in mine if s.reason in _STOPPED_BY and s.planned_at <= at <= (s.settled_at or at) < until),
            tuple(s for s, decided in gone if at < decided < until and s.purpose == "marketing"),
        )


def _handed_over(sent: Sent) -> datetime | None:
    """When a message was decided on that a provider got, or may have got; None where it got none."""
    tried = any(n.kind == "outcome" and n.what in ("sent", "uncertain") for n in sent.notices)
    allowed = [d.at for d in sent.decisions if d.say == "allow"]
    return allowed[-1] if tried and allowed else None


# ---- messages -------------------------------------------------------------------------------------------------------


def _others(conn: sa.Connection, keys: Keys | None, one: Who, runs: Sequence[Run]) -> tuple[Sent, ...]:
    """Messages to the customer that none of these runs planned."""
    assert one.customer_id is not None
    known = {sent.id for run in runs for sent in run.messages}
    rows = [row for row in explain.messages_to(conn, one.customer_id, 50) if row["id"] not in known]
    rows = [row for row in rows if row["enrollment_id"] is None]
    return tuple(_sent(conn, keys, rows[::-1], {}))


def _sent(conn: sa.Connection, keys: Keys | None, rows: Sequence[Row], places: Mapping[Any, _Lines]) -> list[Sent]:
    lines: dict[int, list[Json]] = defaultdict(list)
    for line in log.of_messages(conn, [row["id"] for row in rows], keys):
        lines[line["message_id"]].append(line)
    words = consents.words_of(conn, keys, {i for some in lines.values() for line in some for i in _relied_on(line)})
    return [_one(row, lines[row["id"]], words, places.get(row["version"])) for row in rows]


def _one(row: Row, lines: Sequence[Json], words: Mapping[int, Row], place: _Lines | None) -> Sent:
    decisions = tuple(_decision(line) for line in lines if line["kind"] == "decision")
    logged: Json = next((line["body"] for line in reversed(lines) if line["kind"] == "decision"), {})
    relied = {i: words[i] for line in lines for i in _relied_on(line) if i in words}
    waits = row["state"] in ("planned", "held")
    return Sent(
        id=row["id"],
        step=row["step"],
        visit=row["visit"],
        file=str(logged.get("file") or (place.file if place else "")),
        line=logged.get("line") or (place.line(row["step"]) if place else None),
        medium=row["medium"],
        template=row["template"],
        topic=row["topic"],
        purpose=row["purpose"],
        addressee=row["addressee"],
        to=(row["to_key"] or "") if row["addressee"] == "customer" else "",
        state=row["state"],
        reason=row["reason"] or "",
        meaning=meaning(decisions[-1].rule if decisions else "", row["reason"] or ""),
        planned_at=row["planned_at"],
        next_at=row["next_at"] if waits else None,
        expires_at=row["expires_at"],
        settled_at=row["settled_at"],
        attempts=row["attempts"],
        provider=row["provider"] or "",
        decisions=decisions,
        notices=tuple(_notice(line) for line in lines if line["kind"] != "decision"),
        relied_on=tuple(_word(word) for _, word in sorted(relied.items())),
        whom=_whom(row),
    )


def _whom(row: Row) -> str:
    """Which of our own people a message is for, by the name that the step gives them."""
    if row["addressee"] != "staff" or row["medium"] in ("sms", "push", "mail"):
        return ""
    to = str((row["payload"] or {}).get("to") or MANAGER)
    return "the account's manager" if to == MANAGER else "an internal address" if "@" in to else to


def _word(row: Row) -> Word:
    same = ("method", "source", "basis", "wording", "wording_hash", "wording_version", "jurisdiction", "sealed")
    told = {name: row[name] for name in same}
    return Word(row["id"], row["medium"], row["topic"], row["action"], row["occurred_at"], **told)


def _decision(line: Json) -> Decision:
    detail = line["detail"]
    standing: Json = (detail or {}).get("standing") or {}
    verdicts = None if detail is None else tuple(_said(v) for v in detail.get("verdicts", ()))
    return Decision(
        at=line["at"],
        attempt=line["attempt"],
        say=line["verdict"],
        rule=line["rule"],
        reason=line["reason"],
        meaning=meaning(line["rule"], line["reason"]),
        until=_instant(line["body"].get("until")),
        verdicts=verdicts,
        zones=tuple((str(name), str(source)) for name, source in standing.get("zones", ())),
        places=tuple(
            (f"{country}-{region}" if region else str(country or "anywhere"), str(source))
            for country, region, source in standing.get("places", ())
        ),
        where=str((detail or {}).get("where", "")),
        sealed=line["sealed"],
        segments=line["body"].get("segments", {}),
    )


def _said(verdict: Json) -> Said:
    rule, reason = str(verdict["rule"]), str(verdict.get("reason", ""))
    until = _instant(verdict.get("until"))
    return Said(rule, str(verdict["say"]), reason, meaning(rule, reason), until, verdict.get("inputs", {}))


def _notice(line: Json) -> Notice:
    again = _instant(line["body"].get("again"))
    told = meaning("", line["reason"])
    return Notice(line["at"], line["kind"], line["verdict"], line["reason"], told, again)


def _relied_on(line: Json) -> Iterable[int]:
    """The consent events that a decision names."""
    found: Iterable[int] = line["body"].get("consents", ()) if line["kind"] == "decision" else ()
    return found


def meaning(rule: str, reason: str) -> str:
    """What a reason code means, in a sentence; "" for one that no list explains."""
    if not reason:
        return ""
    known = rules.reasons()
    for codes in (known.get(rule, {}), known.get("", {}), outbound.REASONS, outcome.REASONS):
        if reason in codes:
            return codes[reason]
    return ""


def _instant(value: object) -> datetime | None:
    return datetime.fromisoformat(str(value)).astimezone(UTC) if value else None
