"""The log of a period as a document for somebody who must answer for it: volumes, refusals and why, the rules in force,
consent, exceptions, and the checkpoint by which all of it can be checked. As a page and as PDF, from the same data.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from importlib.resources import files
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from jinja2 import Environment, StrictUndefined

import orchestrator
from orchestrator import outbound, outcome, paper, rules
from orchestrator.apply import in_force
from orchestrator.audit import VerifyReport
from orchestrator.decision import read_policies
from orchestrator.merkle import verifier
from orchestrator.model import ConsentRule, HoursRule, Json, Policies, Ruleset, Window, minor_digits
from orchestrator.store import auditing, tree
from orchestrator.store.auditing import Tally
from orchestrator.store.database import Store, uncollected
from orchestrator.store.keys import Keys
from orchestrator.zones import local

LISTED: Final = 40
"""So many of each kind of exception are listed; all are counted, and the export has them."""
_CHUNK: Final = 20_000
_DAYS, _WEEKS = 92, 92 * 7
_WRONG: Final = ("failed", "bounced", "uncertain")
_DROPPED: Final = ("cancelled", "expired")
_COUNTED: Final = ("allow", "deny", "hold", "sent", "delivered", "bounced", "failed", "uncertain", "dropped")
_DAYS_OF_WEEK: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_decode = msgspec.json.Decoder().decode


def build(
    store: Store,
    keys: Keys,
    *,
    since: datetime | None,
    until: datetime,
    now: datetime,
    verified: VerifyReport | None = None,
) -> Json:
    """Everything the document says, as plain JSON; one snapshot of the database, aggregated there.

    `verified`: what `audit.verify` found just before; without it the document says that nobody looked.
    """
    with store.read() as conn, uncollected():
        force = in_force(conn)
        zone = force.project.vocabulary.timezone if force else "UTC"
        clock = _Clock(zone)
        found = auditing.tallies(conn, since, until)
        span = auditing.first_and_last(conn, since, until)
        begin = since or (span[0] if span else until)
        decided = _decided(conn, since, until)
        policies = _policies(conn, decided, clock)
        return {
            "workspace": force.project.vocabulary.workspace if force else "",
            "log": tree.origin(conn) or "",
            "from": clock.minute(begin),
            "to": clock.minute(until),
            "zone": zone,
            "made_at": clock.minute(now),
            "program": orchestrator.__version__,
            "headline": _headline(found),
            "chart": _chart(auditing.by_time(conn, since, until), clock, begin, until),
            "media": _volumes(found, lambda tally: tally.medium),
            "journeys": _volumes(found, lambda tally: tally.journey or "no journey"),
            "refusals": _reasons(found, "deny"),
            "holds": _reasons(found, "hold"),
            "ends": _ends(found),
            "applies": _applies(auditing.applies(conn, since, until), clock),
            "policies": policies,
            "programs": _programs(decided),
            "rulesets": _rulesets(conn, decided),
            "consents": _consents(conn, decided, since, until),
            "exceptions": _exceptions(conn, found, since, until, clock),
            "operations": _operations(auditing.operations(conn, since, until), clock),
            "checkpoint": _checkpoint(conn, keys, clock),
            "verification": _verification(verified),
        }


def html(document: Json) -> str:
    """The document as one page that needs nothing else: no script, no font and no picture from anywhere."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    environment.filters["percent"] = _percent
    source = files("orchestrator").joinpath("pages", "report.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(document) + "\n"


def pdf(document: Json) -> bytes:
    """The document on paper. Raises paper.NoPaper."""
    return paper.pdf("report.typ", document)


class _Clock:
    """Instants by the workspace's wall clock."""

    def __init__(self, zone: str) -> None:
        self.zone = zone

    def wall(self, at: datetime) -> datetime:
        return local(at, self.zone) or at

    def minute(self, at: datetime) -> str:
        return f"{self.wall(at):%Y-%m-%d %H:%M}"

    def day(self, at: datetime) -> date:
        return self.wall(at).date()


def _number(value: int) -> str:
    return f"{value:,}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


# ---- volumes --------------------------------------------------------------------------------------------------------


def _kind_of(tally: Tally) -> str | None:
    """What a tally counts as in the tables of volumes."""
    if tally.kind == "decision":
        return tally.verdict
    if tally.kind == "outcome":
        return "dropped" if tally.verdict in _DROPPED else tally.verdict
    return None


def _headline(found: Iterable[Tally]) -> Json:
    counts: Counter[str] = Counter()
    for tally in found:
        if (kind := _kind_of(tally)) is not None:
            counts[kind] += tally.lines
    decided = counts["allow"] + counts["deny"]
    return {name: counts[name] for name in _COUNTED} | {
        "decided": decided,
        "refused_share": counts["deny"] / decided if decided else 0.0,
        "wrong": sum(counts[name] for name in _WRONG),
    }


def _volumes(found: Iterable[Tally], key: Any) -> list[Json]:
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for tally in found:
        kind = _kind_of(tally)
        if kind in _COUNTED:
            rows[key(tally)][kind] += tally.lines
    told = [{"name": name, **{kind: counts[kind] for kind in _COUNTED}} for name, counts in rows.items()]
    return sorted(told, key=lambda row: (-row["sent"] - row["deny"], row["name"]))


def _chart(counted: Sequence[tuple[datetime, str, str, int]], clock: _Clock, begin: datetime, until: datetime) -> Json:
    """Bars of sent, refused and wrong by day, week or month, none left out between the first and the last."""
    first, last = clock.day(begin), clock.day(until - timedelta(microseconds=1))
    if counted:  # the rest of a long time in which nothing happened says nothing
        last = min(last, max(clock.day(counted[-1][0]), first))
    days = (last - first).days + 1
    unit = "day" if days <= _DAYS else "week" if days <= _WEEKS else "month"
    bars: dict[date, Json] = {}
    day = first
    while day <= last:
        start = _bucket(day, unit)
        bars.setdefault(start, {"label": _label(start, unit), "sent": 0, "refused": 0, "wrong": 0})
        day += timedelta(days=1)
    for at, kind, verdict, n in counted:
        bar = bars.get(_bucket(clock.day(at), unit))
        if bar is None:
            continue
        if kind == "decision" and verdict == "deny":
            bar["refused"] += n
        elif kind == "outcome" and verdict == "sent":
            bar["sent"] += n
        elif kind == "outcome" and verdict in _WRONG:
            bar["wrong"] += n
    top = max((bar["sent"] + bar["refused"] + bar["wrong"] for bar in bars.values()), default=0)
    shown = list(bars.values())
    return {"unit": unit, "top": top, "bars": shown, "labels": _spread([bar["label"] for bar in shown])}


def _bucket(day: date, unit: str) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def _label(day: date, unit: str) -> str:
    return f"{day:%Y-%m}" if unit == "month" else f"{day.day} {day:%b %Y}"


def _spread(labels: Sequence[str]) -> list[str]:
    """The first and the last, and the middle where there is one: as many as a phone has room for."""
    if len(labels) < 2:
        return list(labels)
    middle = [labels[len(labels) // 2]] if len(labels) > 4 and len(labels) % 2 else []
    return [labels[0], *middle, labels[-1]]


# ---- reasons --------------------------------------------------------------------------------------------------------


def _meaning(rule: str, code: str) -> str:
    told = rules.reasons()
    known = {**rules.REASONS, **told.get(rule, {}), **(outbound.REASONS if rule == "text" else {})}
    return known.get(code, "This version of the program does not know this code any more.")


def _reasons(found: Iterable[Tally], verdict: str) -> list[Json]:
    counts: Counter[tuple[str, str]] = Counter()
    media: dict[tuple[str, str], set[str]] = defaultdict(set)
    for tally in found:
        if tally.kind == "decision" and tally.verdict == verdict:
            counts[(tally.rule, tally.reason)] += tally.lines
            media[(tally.rule, tally.reason)].add(tally.medium)
    total = sum(counts.values())
    return [
        {"rule": rule, "code": code, "count": n, "share": n / total, "meaning": _meaning(rule, code),
         "media": ", ".join(sorted(media[(rule, code)] - {""}))}
        for (rule, code), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]  # fmt: skip


_STATES: Final[Mapping[str, str]] = {
    "cancelled": "withdrawn between decision and hand-over",
    "expired": "its time ran out between decision and hand-over",
    "failed": "not taken, or not delivered",
    "bounced": "the address does not exist",
    "uncertain": "nobody can know whether it went out; never sent again by itself",
    "planned": "put back, to be judged again",
}


def _ends(found: Iterable[Tally]) -> list[Json]:
    """What became of allowed messages otherwise than being sent."""
    counts: Counter[tuple[str, str]] = Counter()
    for tally in found:
        if tally.kind == "outcome" and tally.verdict in _STATES:
            counts[(tally.verdict, tally.reason)] += tally.lines
    return [
        {"state": state, "code": code, "count": n,
         "meaning": outcome.REASONS.get(code) or f"{_STATES[state][:1].upper()}{_STATES[state][1:]}."}
        for (state, code), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]  # fmt: skip


# ---- what was in force ----------------------------------------------------------------------------------------------


class _Decided:
    """What decisions say of the rules they were made by and the consents they rely on."""

    def __init__(self) -> None:
        self.policies: dict[str, list[Any]] = {}  # hash → [how many, first, last]
        self.programs: Counter[tuple[str, str, str, str]] = Counter()
        self.relied: Counter[int] = Counter()
        self.unneeded = 0


def _decided(conn: sa.Connection, since: datetime | None, until: datetime) -> _Decided:
    found, after = _Decided(), 0
    while chunk := auditing.decisions(conn, since, until, after, _CHUNK):
        for _, at, verdict, text in chunk:
            body = _decode(text)
            used = found.policies.setdefault(str(body.get("policies", "")), [0, at, at])
            used[0], used[2] = used[0] + 1, at
            names = ("ruleset", "rules", "tzdata", "holidays")
            found.programs[tuple(str(body.get(name, "")) for name in names)] += 1  # type: ignore[index]
            if verdict != "allow" or body.get("purpose") != "marketing" or body.get("addressee") != "customer":
                continue
            consents = body.get("consents") or ()
            found.relied.update(consents)
            found.unneeded += not consents
        after = chunk[-1][0]
    return found


def _applies(rows: Iterable[Json], clock: _Clock) -> list[Json]:
    return [
        {"at": clock.minute(row["at"]), "author": row["author"], "message": row["message"],
         "journeys": len(row["journeys"]), "project": row["project"][:12]}
        for row in rows
    ]  # fmt: skip


def _policies(conn: sa.Connection, decided: _Decided, clock: _Clock) -> list[Json]:
    bodies = auditing.documents(conn, decided.policies)
    told = []
    for name, (n, first, last) in sorted(decided.policies.items(), key=lambda item: item[1][1]):
        read = _read(bodies.get(name))
        lines = ["They are not among the documents, or cannot be read."] if read is None else list(_spoken(read))
        told.append({"hash": name[:12], "decisions": n, "first": clock.minute(first), "last": clock.minute(last),
                     "lines": lines, "ruleset": read.ruleset.version if read else ""})  # fmt: skip
    return told


def _read(body: Json | None) -> Policies | None:
    try:
        return None if body is None else read_policies(body)
    except ValueError:
        return None


def _spoken(policies: Policies) -> Iterator[str]:
    """Policies as lines to read aloud."""
    for medium, house in policies.hours.items():
        yield f"{medium}: {_window(house.window)} by the recipient's clock; outside, {_THEN[house.then]}"
    if policies.release:
        yield f"Held messages are released over {_span(policies.release)}"
    for text in dict.fromkeys(cap.text for cap in policies.caps):  # one line may make several caps
        yield f"Cap: {text}"
    if policies.counting:
        yield f"Caps count contacts of: {', '.join(sorted(policies.counting))}"
    if policies.dedupe:
        yield f"The same content goes to the same address once within {_span(policies.dedupe)}"
    for medium, (amount, currency, per) in policies.budgets.items():
        digits = minor_digits(currency)
        yield f"Budget of {medium}: {amount / 10**digits:,.{digits}f} {currency} per {per}"
    if policies.pause_if:
        share, last = policies.pause_if
        yield f"A journey is paused when more than {_percent(share)} of its last {last:,} messages went wrong"
    if policies.growth is not None:
        yield f"A journey is paused when its audience grew by more than {_percent(policies.growth)}"
    if policies.pause_on_case:
        yield "No marketing while a case of the customer is open"
    if policies.born:
        yield f"Minors are told by `{policies.born}`"
    for kind, span in sorted(policies.retention.items()):
        yield f"Kept for {_span(span)}: {kind}"


_THEN: Final[Mapping[str, str]] = {"hold": "held", "deny": "refused"}


def _span(span: timedelta) -> str:
    if span >= timedelta(days=1) and not span % timedelta(days=1):
        n, unit = span.days, "day"
    elif not span % timedelta(hours=1):
        n, unit = span // timedelta(hours=1), "hour"
    else:
        n, unit = span // timedelta(minutes=1), "minute"
    return f"{n:,} {unit}{'' if n == 1 else 's'}"


def _window(window: Window) -> str:
    text = f"{window.open:%H:%M}–{window.close:%H:%M}"
    if len(window.days) < 7:
        days = sorted(window.days)
        run = days == list(range(days[0], days[-1] + 1)) and len(days) > 2
        named = [_DAYS_OF_WEEK[day] for day in days]
        text += f" {named[0]}–{named[-1]}" if run else f" {', '.join(named)}"
    return text


def _programs(decided: _Decided) -> list[Json]:
    names = ("ruleset", "rules", "tzdata", "holidays")
    return [
        {**dict(zip(names, versions, strict=True)), "decisions": n}
        for versions, n in sorted(decided.programs.items(), key=lambda item: -item[1])
    ]


def _rulesets(conn: sa.Connection, decided: _Decided) -> list[Json]:
    """Every ruleset that a decision of the period was made under, row by row."""
    found: dict[str, Ruleset] = {}
    for body in auditing.documents(conn, decided.policies).values():
        read = _read(body)
        if read is not None:
            found.setdefault(read.ruleset.version, read.ruleset)
    return [
        {
            "version": version,
            "hours": [_hours_row(row) for row in ruleset.hours],
            "consent": [_consent_row(row) for row in ruleset.consent],
            "ages": ", ".join(f"{country}: {age}" for country, age in sorted(ruleset.ages.items())),
        }
        for version, ruleset in sorted(found.items())
    ]


def _where(country: str | None, region: str | None = "*") -> str:
    if country is None:
        return "elsewhere"
    return country if region == "*" else f"{country}, region unknown" if region is None else f"{country}-{region}"


def _hours_row(row: HoursRule) -> Json:
    windows = "; ".join(dict.fromkeys(map(_window, row.windows))) or "never"
    closed = " (not on public holidays)" if any(window.closed_on for window in row.windows) else ""
    cap = f"; at most {row.cap.count} in {_span(row.cap.within)}" if row.cap else ""
    where = "country unknown" if row.country is None else _where(row.country, row.region)
    return {**_sourced(row), "where": where, "media": ", ".join(sorted(row.media)), "says": windows + closed + cap}


def _consent_row(row: ConsentRule) -> Json:
    if row.without:
        says = "no consent needed, unless somebody objected"
    else:
        says = " or ".join(basis.replace("_", " ") for basis in sorted(row.bases)) or "nothing suffices"
    if row.confirmed:
        says += ", confirmed (double opt-in)"
    for basis, months in sorted(row.lapses.items()):
        says += f"; {basis.replace('_', ' ')} ends after {months} months"
    if len(row.forms) < 3:
        says += f" ({', '.join(form.replace('_', ' ') for form in sorted(row.forms))})"
    return {**_sourced(row), "where": _where(row.country), "media": ", ".join(sorted(row.media)), "says": says}


def _sourced(row: HoursRule | ConsentRule) -> Json:
    term = [f"from {row.since}"] if row.since else []
    term += [f"until {row.until}"] if row.until else []
    return {"id": row.id, "source": row.source, "confidence": row.confidence, "as_of": str(row.as_of),
            "term": ", ".join(term), "note": row.note}  # fmt: skip


# ---- consent --------------------------------------------------------------------------------------------------------


def _consents(conn: sa.Connection, decided: _Decided, since: datetime | None, until: datetime) -> Json:
    relied: Counter[tuple[str, str, str]] = Counter()
    ids = sorted(decided.relied)
    for at in range(0, len(ids), _CHUNK):
        for i, event in auditing.consents(conn, ids[at : at + _CHUNK]).items():
            key = (event["medium"], event["basis"] or "", event["method"] or "")
            relied[key] += decided.relied[i]
    return {
        "relied": [
            {"medium": medium, "basis": _named(basis), "method": _named(method), "count": n}
            for (medium, basis, method), n in sorted(relied.items(), key=lambda item: (item[0][0], -item[1]))
        ],
        "unneeded": decided.unneeded,
        "said": [
            {"medium": medium, "action": action, "basis": _named(basis), "method": _named(method), "count": n}
            for medium, action, basis, method, n in auditing.said(conn, since, until)
        ],
    }


def _named(code: str) -> str:
    return code.replace("_", " ") or "not stated"


# ---- exceptions -----------------------------------------------------------------------------------------------------


def _exceptions(
    conn: sa.Connection, found: Sequence[Tally], since: datetime | None, until: datetime, clock: _Clock
) -> list[Json]:
    counts: Counter[str] = Counter()
    for tally in found:
        if tally.kind == "outcome":
            counts[tally.verdict] += tally.lines
        elif tally.kind == "decision" and tally.reason == "rule_failed":
            counts["rule_failed"] += tally.lines
    told: list[Json] = []
    for state, title in (("uncertain", "Uncertain sends"), ("failed", "Failures"), ("bounced", "Bounces")):
        rows = auditing.of_note(conn, since, until, (state,), LISTED) if counts[state] else []
        told.append({"title": title, "count": counts[state], "meaning": f"{_STATES[state]}", "rows": [
            {"at": clock.minute(row["at"]), "message": f"m{row['message_id']}a{row['attempt']}",
             "journey": row["journey"] or "", "medium": row["medium"] or "", "reason": row["reason"],
             "leaf": "" if row["index"] is None else _number(row["index"])}
            for row in rows
        ]})  # fmt: skip
    failed = "a rule could not judge, and the message was refused: nothing goes out unjudged"
    told.append({"title": "Rules that failed", "count": counts["rule_failed"], "rows": [], "meaning": failed})
    return told


_DONE: Final[Mapping[str, str]] = {"paused": "Paused", "resumed": "Resumed", "erased": "A person erased",
                                   "retained": "Retention", "decided": "Experiment decided"}  # fmt: skip


def _operations(rows: Iterable[Json], clock: _Clock) -> list[Json]:
    told = []
    for row in rows:
        about = _decode(row["body"])
        by, scope = str(about.pop("by", "")), about.pop("scope", "")
        what = _DONE.get(row["verdict"], row["verdict"].replace("_", " "))
        if scope:
            what += ": everything" if scope == "*" else f": {scope}"
        rest = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sorted(about.items()))
        told.append({"at": clock.minute(row["at"]), "what": what, "by": by, "why": row["reason"], "rest": rest})
    return told


# ---- how it can be checked ------------------------------------------------------------------------------------------


def _checkpoint(conn: sa.Connection, keys: Keys, clock: _Clock) -> Json | None:
    head, name = tree.newest(conn), tree.origin(conn)
    if head is None or name is None:
        return None
    return {
        "origin": name,
        "size": head.size,
        "root": head.root.hex(),
        "root_base64": base64.b64encode(head.root).decode(),
        "at": clock.minute(head.at),
        "note": head.note,
        "key": str(verifier(name, keys.sign)),
    }


def _verification(report: VerifyReport | None) -> Json | None:
    if report is None:
        return None
    checked = {"entries, each against its row": report.size, "checkpoints of this tree": report.checkpoints,
               "checkpoints kept outside": report.anchors, **report.judged}  # fmt: skip
    findings = [{"entry": "" if f.entry is None else _number(f.entry), "row": f.row, "what": f.what}
                for f in report.findings[:LISTED]]  # fmt: skip
    return {
        "ok": report.ok,
        "anchored": bool(report.anchors),
        "verdict": report.verdict,
        "checked": [{"what": what, "count": n} for what, n in checked.items()],
        "wrong": report.wrong,
        "findings": findings,
        "waiting": report.waiting,
        "notes": list(report.notes),
    }
