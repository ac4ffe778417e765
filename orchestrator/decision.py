"""What was decided on a message and what became of it, as lines of the send log. Pure; `store.log` appends them.

A line's body is read by every auditor and holds no personal byte, nor a plain hash of one: ids, codes, versions. What a
decision was judged on is its detail, which the store seals under the person's key: the very arguments that the rules
were given, so that anybody who may read it can judge again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import msgspec

import orchestrator
from orchestrator.holiday import HOLIDAYS
from orchestrator.model import Json, Policies
from orchestrator.outbound import Due, Written
from orchestrator.outcome import End
from orchestrator.rules import Judgement, Standing, Subject, Verdict, Zone, rules, stamp
from orchestrator.zones import TZDATA, local


def _plain(value: object) -> object:
    """What msgspec does not know: a clock's own kind of datetime, a mapping that refuses to be changed."""
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in the log")


_encode = msgspec.json.Encoder(order="deterministic", enc_hook=_plain).encode


class Entry(NamedTuple):
    """One line of the log. `body`: ids, codes, hashes, versions. `detail`: what it was judged on, kept apart so that an
    erasure can destroy it while the line stands; `customer_id`: under whose key, None for the house's own.

    An operation is about no message: `verdict` says what was done.
    """

    kind: Literal["decision", "outcome", "feedback", "operation"]
    at: datetime
    message_id: int | None
    attempt: int
    verdict: str
    reason: str = ""
    rule: str = ""
    body: Json | bytes = b"{}"  # bytes: canonical JSON already (see `Form`)
    detail: Json | bytes | None = None
    customer_id: int | None = None


class Form:
    """Canonical JSON of many lines that have most members in common: those are written once, the others put between.

    `own`: the names of the members that each line has for itself, in order.
    """

    def __init__(self, shared: Json, own: Sequence[str]) -> None:
        names = sorted({*shared, *own})
        if list(own) != [name for name in names if name in own]:
            raise ValueError("the names of a form's own members are given in order")
        self._before: list[str] = []
        fixed = ""
        for name in names:
            key = _named(name)
            if name in own:
                self._before += [fixed, key]
                fixed = ""
            else:
                fixed += key + as_json(shared[name]) + ","
        self._last = fixed

    def filled(self, *own: str | None) -> bytes:
        """With each own member's value as JSON text; None leaves the member out."""
        pieces = []
        before = iter(self._before)
        for fixed, key, value in zip(before, before, own, strict=True):
            pieces.append(fixed if value is None else f"{fixed}{key}{value},")
        pieces.append(self._last)
        return b"{" + "".join(pieces)[:-1].encode() + b"}"


@cache
def _named(member: str) -> str:
    return f"{as_json(member)}:"


def as_json(value: object) -> str:
    """A value as the log writes it."""
    return _encode(value).decode()


# ---- decisions ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Case:
    """One message under judgement. `standing`: what the judgement was made on; None where it could not be read.

    `written` only while it is allowed; `where`: of what could not be written, a name or a place in the text.
    `addresses`: the keyed hashes it goes, or would go, to.
    """

    due: Due
    judgement: Judgement
    standing: Standing | None = None
    written: Written | None = None
    where: str = ""
    addresses: Sequence[str] = ()

    @property
    def attempt(self) -> int:
        return self.due.attempts + (1 if self.judgement.say == "allow" else 0)

    @property
    def state(self) -> str:
        """What a refused message becomes."""
        return "expired" if self.judgement.reason == "expired" else "denied"

    @property
    def closes(self) -> datetime | None:
        """When the hours close that the message may go in, or that it is held for; None where none are known to."""
        for verdict in self.judgement.verdicts:
            if verdict.rule == "quiet_hours":
                at = verdict.inputs.get("closes")
                return None if at is None else datetime.fromisoformat(at)
        return None


def subject_of(due: Due) -> Subject:
    """A message as rules see it."""
    return Subject(
        due.id,
        due.addressee,
        due.customer_id,
        due.account_id,
        due.medium,
        due.topic,
        due.purpose,
        due.priority,
        due.planned_at,
        due.due_at,
        due.expires_at,
        due.payload.get("call") is True,
        due.origin,
    )


def refused(judgement: Judgement, rule: str, reason: str) -> Judgement:
    """A judgement of the rules, and the no that came behind it."""
    return Judgement((*judgement.verdicts, Verdict(rule, "deny", reason)), "deny", rule, reason, None)


def broken(error: Exception) -> Judgement:
    """Of a message that could not be judged at all: fail closed. Only the kind of error, its text may name somebody."""
    verdict = Verdict("judge", "deny", "rule_failed", inputs={"error": type(error).__name__})
    return Judgement((verdict,), "deny", "judge", "rule_failed", None)


@dataclass(frozen=True, slots=True)
class Detail:
    """What a decision was made on, as it is sealed. `standing` None: it could not be read, and the message was refused.

    `verdicts` in order of hearing, as `told` tells them; `local`: the wall clock in the first candidate zone; `where`:
    of what could not be written. `addresses` are keyed hashes; `content_hash` is that of the words, which for a short
    text with a name in it could be guessed back, and so is no auditor's but with the person's key.
    """

    addresses: tuple[str, ...]
    subject: Subject
    verdicts: msgspec.Raw
    standing: Standing | None = None
    content_hash: str = ""
    local: str = ""
    locale: str = ""
    where: str = ""


_read_detail = msgspec.json.Decoder(Detail).decode


def read_detail(text: bytes) -> Detail:
    """A detail as it was written. Raises ValueError for one that is none, or of another program's types."""
    return _read_detail(text)


class Lines:
    """Decisions as lines of the log: ids, codes and hashes in the body; what they were judged on in the detail.

    What a batch's lines have in common is encoded once: the journey's place and versions, verdicts, the local time.
    `versions`: of everything in force that had a say, by name; `place`: the file and line of a message's step.
    """

    _OWN = ("account", "attempt", "consents", "customer", "enrollment", "segments", "until", "verdicts")

    def __init__(self, versions: Json, place: Callable[[Due], tuple[str, int | None]]) -> None:
        self._versions, self._place = versions, place
        self._forms: dict[tuple[Any, ...], Form] = {}
        self._verdicts = Encoded()
        self._clocks: dict[tuple[Zone, ...], str] = {}

    def entry(self, case: Case, attempt: str, now: datetime) -> Entry:
        """`attempt`: the name under which a message that is allowed is handed over."""
        due, found = case.due, case.judgement
        verdicts, summary = self._verdicts.texts(found.verdicts)
        body, detail = self._body(case, attempt, summary), self._detail(case, verdicts, now)
        return Entry("decision", now, due.id, case.attempt, found.say, found.reason, found.rule, body, detail,
                     due.customer_id)  # fmt: skip

    def _body(self, case: Case, attempt: str, summary: str) -> bytes:
        due, written, until = case.due, case.written, case.judgement.until
        consents = relied_on(case.judgement)
        hash_of = None if written is None else written.template_hash
        key = (due.origin, due.journey, due.version, due.step, due.visit, due.addressee, due.template, due.topic,
               due.purpose, hash_of)  # fmt: skip
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = self._form(due, hash_of)
        return form.filled(
            None if due.account_id is None else str(due.account_id),
            None if written is None else f'"{attempt}"',
            as_json(consents) if consents else None,
            None if due.customer_id is None else str(due.customer_id),
            None if due.enrollment_id is None else str(due.enrollment_id),
            _segments(written),
            None if until is None else f'"{stamp(until)}"',
            summary,
        )

    def _form(self, due: Due, template_hash: str | None) -> Form:
        file, line = self._place(due)
        shared: Json = {
            "origin": due.origin,
            "journey": due.journey,
            "version": due.version,
            "step": due.step,
            "visit": due.visit,
            "file": file,
            "line": line,
            "addressee": due.addressee,
            "medium": due.medium.value,
            "template": due.template,
            "template_hash": template_hash,
            "topic": due.topic,
            "purpose": due.purpose,
            "rules": rules_version(),
            "tzdata": TZDATA,
            "holidays": HOLIDAYS,
            **self._versions,
        }
        return Form({name: value for name, value in shared.items() if value not in (None, "")}, self._OWN)

    def _detail(self, case: Case, verdicts: str, now: datetime) -> bytes:
        written, standing = case.written, case.standing
        zones = () if standing is None else standing.zones
        members = (
            f'"addresses":{as_json(case.addresses)}',
            "" if written is None else f',"content_hash":"{written.content_hash}"',
            self._clock(zones, now),
            "" if written is None else f',"locale":{as_json(written.locale)}',
            "" if standing is None else f',"standing":{as_json(standing)}',
            f',"subject":{as_json(subject_of(case.due))}',
            f',"verdicts":{verdicts}',
            f',"where":{as_json(case.where)}' if case.where else "",
        )
        return f"{{{''.join(members)}}}".encode()

    def _clock(self, zones: tuple[Zone, ...], now: datetime) -> str:
        found = self._clocks.get(zones)
        if found is None:
            wall = local(now, zones[0].name) if zones else None
            told = "" if wall is None else f"{wall.isoformat(timespec='seconds')}[{zones[0].name}]"
            found = self._clocks[zones] = f',"local":{as_json(told)}' if told else ""
        return found


def _segments(written: Written | None) -> str | None:
    """Of a text that was written: as what it goes out, and what that costs (in millionths of the currency)."""
    if written is None or written.carried is None:
        return None
    found: Json = {"count": written.carried.segments, "encoding": written.carried.encoding}
    if written.cost:
        found |= {"cost": written.cost, "currency": written.currency}
    return as_json(found)


class Encoded:
    """Verdicts as the log writes them. Rules give the same verdict object to all to whom it applies: each is encoded
    once, known by its identity; it is kept, so that its id stays its own."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Verdict, str, str]] = {}

    def texts(self, verdicts: Sequence[Verdict]) -> tuple[str, str]:
        """All of them with their inputs, in order of hearing; and the summary, rule → what it said and why, which has
        nothing of what they were judged on."""
        known = self._known
        found = [known.get(id(verdict)) or self._make(verdict) for verdict in verdicts]
        whole = ",".join([text for _, text, _ in found])
        return f"[{whole}]", f"{{{','.join(sorted([said for _, _, said in found]))}}}"

    def _make(self, verdict: Verdict) -> tuple[Verdict, str, str]:
        said = f"{verdict.say} {verdict.reason}".rstrip()
        made = (verdict, as_json(told(verdict)), f"{as_json(verdict.rule)}:{as_json(said)}")
        self._known[id(verdict)] = made
        return made


def relied_on(judgement: Judgement) -> Sequence[int]:
    """The consent events that the rule named: what a yes stands on, or what a no was said by."""
    for verdict in judgement.verdicts:
        if verdict.rule == "consent":
            events: Sequence[int] = verdict.inputs.get("events") or ()
            return events
    return ()


def told(verdict: Verdict) -> Json:
    """A verdict as the log tells it."""
    words: Json = {"rule": verdict.rule, "say": verdict.say}
    if verdict.reason:
        words["reason"] = verdict.reason
    if verdict.until is not None:
        words["until"] = stamp(verdict.until)
    if verdict.inputs:
        words["inputs"] = verdict.inputs
    return words


_READ_BY_RULES = ("orchestrator.rules", "orchestrator.zones", "orchestrator.dates", "orchestrator.holiday")


@lru_cache(maxsize=1)
def rules_version() -> str:
    """Which rules were heard, of which version of the program: equal where the same rules judge alike.

    A hash of their source, so that a rule that was changed between two releases is not taken for the same.
    """
    names = [*_READ_BY_RULES, *sorted(rule.__module__ for rule in rules().values())]
    digest = hashlib.sha256()
    for name in names:
        spec = find_spec(name)
        source = getattr(spec.loader, "get_source", lambda _: None)(name) if spec is not None else None
        digest.update(f"{name}\0{source}\0".encode())
    return f"{orchestrator.__version__}:{digest.hexdigest()[:16]}"


def policies_text(policies: Policies) -> bytes:
    """Policies with their ruleset as a document, that `read_policies` reads back into the same."""
    return _encode(policies)


def policies_hash(text: bytes) -> str:
    """The name under which a decision calls the policies it was made under."""
    return hashlib.sha256(text).hexdigest()


def read_policies(body: Json) -> Policies:
    """Policies from a stored document. Raises ValueError for what is none."""
    return _read_policies(_encode(body))


_read_policies = msgspec.json.Decoder(Policies).decode


# ---- outcomes -------------------------------------------------------------------------------------------------------


class Outcomes:
    """What became of messages as lines of the log."""

    def __init__(self, provider: str, at: datetime) -> None:
        self._provider, self._at = provider, at
        self._forms: dict[tuple[str | None, str], Form] = {}

    def entry(self, end: End) -> Entry:
        due = end.delivery.due
        form = self._forms.get((due.journey, due.step))
        if form is None:
            shared = {"journey": due.journey, "step": due.step, "medium": due.medium.value}
            shared["provider"] = self._provider
            shared = {name: value for name, value in shared.items() if value}
            form = self._forms[(due.journey, due.step)] = Form(shared, ("again", "provider_id"))
        body = form.filled(
            f'"{stamp(end.again)}"' if end.again else None,
            as_json(end.provider_id) if end.provider_id else None,
        )
        return Entry("outcome", self._at, due.id, end.delivery.number, end.state, end.reason, body=body)
