"""What was decided on a message and what became of it, as lines of the send log. Pure; `store.log` appends them.

A line's body is read by every auditor and holds no personal byte, nor a plain hash of one: ids, codes, versions. What a
decision was judged on is its detail, which the store seals under the person's key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

import orchestrator
from orchestrator.model import Json
from orchestrator.outbound import Due, Written
from orchestrator.outcome import End
from orchestrator.rules import Judgement, Standing, Subject, Verdict, Zone, rules, stamp
from orchestrator.zones import TZDATA

_encode = msgspec.json.Encoder(order="deterministic").encode


class Entry(NamedTuple):
    """One line of the log. `body`: ids, codes, hashes, versions. `detail`: what it was judged on, kept apart so that an
    erasure can destroy it while the line stands."""

    kind: Literal["decision", "outcome", "feedback"]
    at: datetime
    message_id: int
    attempt: int
    verdict: str
    reason: str = ""
    rule: str = ""
    body: Json | bytes = b"{}"  # bytes: canonical JSON already (see `Form`)
    detail: Json | bytes | None = None


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
            key = as_json(name) + ":"
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
    )


def refused(judgement: Judgement, rule: str, reason: str) -> Judgement:
    """A judgement of the rules, and the no that came behind it."""
    return Judgement((*judgement.verdicts, Verdict(rule, "deny", reason)), "deny", rule, reason, None)


def broken(error: Exception) -> Judgement:
    """Of a message that could not be judged at all: fail closed. Only the kind of error, its text may name somebody."""
    verdict = Verdict("judge", "deny", "rule_failed", inputs={"error": type(error).__name__})
    return Judgement((verdict,), "deny", "judge", "rule_failed", None)


class Lines:
    """Decisions as lines of the log: ids, codes and hashes in the body; what they were judged on in the detail.

    What a batch's lines have in common is encoded once: the journey's place and versions, verdicts, zones. `versions`:
    of everything in force that had a say, by name; `place`: the file and line of a message's step.
    """

    _OWN = ("account", "attempt", "content_hash", "customer", "enrollment", "until")

    def __init__(self, versions: Json, place: Callable[[Due], tuple[str, int | None]]) -> None:
        self._versions, self._place = versions, place
        self._forms: dict[tuple[Any, ...], Form] = {}
        self._texts: dict[int, tuple[object, str]] = {}  # by identity; the object is kept, so that its id stays its own

    def entry(self, case: Case, attempt: str, now: datetime) -> Entry:
        """`attempt`: the name under which a message that is allowed is handed over."""
        say, reason, rule = case.judgement.say, case.judgement.reason, case.judgement.rule
        body, detail = self._body(case, attempt), self._detail(case)
        return Entry("decision", now, case.due.id, case.attempt, say, reason, rule, body, detail)

    def _body(self, case: Case, attempt: str) -> bytes:
        due, written, until = case.due, case.written, case.judgement.until
        hash_of = None if written is None else written.template_hash
        key = (due.origin, due.journey, due.version, due.step, due.visit, due.addressee, due.template, due.topic,
               due.purpose, hash_of)  # fmt: skip
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = self._form(due, hash_of)
        return form.filled(
            None if due.account_id is None else str(due.account_id),
            None if written is None else f'"{attempt}"',
            None if written is None else f'"{written.content_hash}"',
            None if due.customer_id is None else str(due.customer_id),
            None if due.enrollment_id is None else str(due.enrollment_id),
            None if until is None else f'"{stamp(until)}"',
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
            "ruleset": _ruleset(),
            "tzdata": TZDATA,
            **self._versions,
        }
        return Form({name: value for name, value in shared.items() if value not in (None, "")}, self._OWN)

    def _detail(self, case: Case) -> bytes:
        written = case.written
        members = [
            f'"addresses":{as_json(case.addresses)}',
            "" if written is None else f',"locale":{as_json(written.locale)}',
            f',"verdicts":[{",".join([self._text(verdict) for verdict in case.judgement.verdicts])}]',
            f',"where":{as_json(case.where)}' if case.where else "",
            f',"zones":{self._text(case.standing.zones if case.standing is not None else ())}',
        ]
        return f"{{{''.join(members)}}}".encode()

    def _text(self, value: Verdict | tuple[Zone, ...]) -> str:
        """Rules give the same verdict object to all to whom it applies."""
        found = self._texts.get(id(value))
        if found is None:
            encoded = as_json(told(value) if isinstance(value, Verdict) else value)
            found = self._texts[id(value)] = (value, encoded)
        return found[1]


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


@lru_cache(maxsize=1)
def _ruleset() -> str:
    """Which rules were heard, and of which version of the program."""
    return f"{orchestrator.__version__}:" + hashlib.sha256(",".join(rules()).encode()).hexdigest()[:16]


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
