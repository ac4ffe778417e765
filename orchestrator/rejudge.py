"""Was every decision right? Each one judged again from what was logged, and held against the ledger of consents.

Nothing but the log, the documents and the ledgers is asked: no customer's present data, no clock. What is proved is
that the rules, given what the line's sealed detail says, come to what the line says, under policies that were in force
then; that each send to a customer relies on a yes that was there before it and that no one had taken back; and that
messages were tried, sent and told of in an order that can have happened.

A detail that is not there is excused by the log alone: by a line that says whom was erased, or what was destroyed in
time. What a customer's row says of an erasure anybody could write who wants a decision out of sight.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from orchestrator import decision, evidence
from orchestrator.decision import Detail, Encoded
from orchestrator.evidence import Told, beside
from orchestrator.holiday import HOLIDAYS
from orchestrator.leaf import Finding, name_of
from orchestrator.model import Policies
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.rules import Judgement, judge, stamp
from orchestrator.store import judged, vault, versions
from orchestrator.store.judged import Destroyed, Line, Put, Said
from orchestrator.store.keys import Keys
from orchestrator.zones import TZDATA

CHUNK = 10_000
LISTED = 1_000
"""So many findings are told; more are counted."""
CROSSED = timedelta(seconds=60)
"""A no that arrived so shortly before a decision may have been written after the decision's facts were read: the last
look before the hand-over is there for it. It is counted, and is no finding."""
SKEW = timedelta(seconds=2)
"""So far apart the clocks of two machines may be, one of which took the consent in and the other decided."""
REPLACED = timedelta(days=1)
"""So long a delivery may go on under a workspace that was replaced meanwhile."""
_YES = ("grant", "confirm", "import")
_HANDED_OVER = ("sent", "delivered", "bounced", "failed", "uncertain")

CODES: Mapping[str, str] = {
    "judgement": "judged again from what was logged, a decision comes out otherwise",
    "detail": "what a decision was made on is not what was committed to, or is not there",
    "policies": "what a decision was made under is not among the documents, was changed, or was not in force",
    "consent": "a send relies on a consent that is not there, is another's, or came after it",
    "withdrawn": "a send went out although the customer had said no",
    "attempt": "a message's attempts are not counted one by one",
    "outcome": "something became of an attempt that nobody allowed, or twice",
    "provider_id": "a provider's one number stands for two messages",
    **evidence.CODES,
}
"""What a finding of a re-judgement means, by its code."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found. `checked`: what was looked at → how many; `notes`: what a reader must know, and is no fault."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, int]
    notes: tuple[str, ...] = ()


class _Body(msgspec.Struct, frozen=True):  # no dataclass: msgspec 0.22 reads no Raw into one's optional field
    """The part of a line's body that is held against something."""

    attempt: str = ""
    addressee: str = ""
    medium: str = ""
    topic: str = ""
    purpose: str = ""
    customer: int | None = None
    consents: tuple[int, ...] = ()
    until: str = ""
    verdicts: msgspec.Raw = msgspec.Raw()
    project: str = ""
    policies: str = ""
    ruleset: str = ""
    rules: str = ""
    tzdata: str = ""
    holidays: str = ""
    provider: str = ""
    provider_id: str = ""


_read_body = msgspec.json.Decoder(_Body).decode


def examine(conn: sa.Connection, keys: Keys) -> Examined:
    """Examine every line of the log that this connection's snapshot shows. Reads only."""
    work = _Work(conn, keys)
    after = 0
    while chunk := judged.lines(conn, after, CHUNK):
        work.take(chunk)
        after = chunk[-1].id
    return work.examined([*beside(conn, keys, work.gone.excuses, work.checked)])


@dataclass(slots=True)
class _Case:
    """A decision with what was opened of it."""

    line: Line
    body: _Body
    detail: Detail | None = None


class _Work:
    """One examination: what is known so far of messages, policies, providers."""

    def __init__(self, conn: sa.Connection, keys: Keys) -> None:
        self.conn, self.keys = conn, keys
        self.checked: Counter[str] = Counter()
        self.others: dict[str, Counter[str]] = {}  # who judged otherwise made → all, otherwise
        self.found: list[tuple[int | None, str, str, str]] = []
        self.policies: dict[str, Policies | None] = {}
        self.allowed: dict[int, int] = {}
        self.sent: set[int] = set()
        self.crossed: set[int] = set()
        self.numbers: set[tuple[str, str]] = set()
        self.own = _made_by(decision.rules_version(), TZDATA, HOLIDAYS)
        self.force = _Force(conn)
        self.gone = _Gone(conn, self.force)
        self.unsealed = 0

    def tell(self, line: Line, code: str, what: str) -> None:
        self.found.append((line.id, name_of("log", line.id), what, code))

    def examined(self, beside_it: Sequence[Told]) -> Examined:
        rest = len(self.found) - LISTED
        told = self.found[:LISTED]
        places = judged.entries(self.conn, [i for i, *_ in told if i is not None])
        findings = [Finding(None if i is None else places.get(i), row, what, code) for i, row, what, code in told]
        if rest > 0:
            findings.append(Finding(None, "log", f"and {rest:,} more such findings", "judgement"))
        where = judged.entries(self.conn, [one.row_id for one in beside_it if one.ledger], "consent_event")
        for one in beside_it[:LISTED]:
            findings.append(Finding(where.get(one.row_id) if one.ledger else None, one.row, one.what, one.code))
        if len(beside_it) > LISTED:
            findings.append(Finding(None, "ledger", f"and {len(beside_it) - LISTED:,} more such findings", "evidence"))
        return Examined(tuple(findings), dict(self.checked), tuple(self._notes()))

    def _notes(self) -> Iterable[str]:
        for made_by, n in sorted(self.others.items()):
            told = f"{n['all']:,} decisions were made by {made_by}; they were judged again by {self.own}"
            yield f"{told}, and {n['otherwise']:,} came out otherwise" if n["otherwise"] else told
        if self.crossed:
            all_the_same = len(self.crossed & self.sent)
            told = f"{len(self.crossed):,} decisions crossed a no that arrived less than a minute before"
            yield f"{told}; {all_the_same:,} of these messages were handed over all the same"
        if self.unsealed:
            told = f"what {self.unsealed:,} decisions were made on is gone, by lines of the log that are not sealed yet"
            yield f"{told}: seal, and verify again"
        yield from self.force.notes()

    # ---- a chunk

    def take(self, chunk: Sequence[Line]) -> None:
        cases = []
        for line in chunk:
            try:
                body = _read_body(line.body)
            except msgspec.DecodeError:
                self.tell(line, "judgement", "its body cannot be read")
                continue
            if line.kind == "decision":
                cases.append(_Case(line, body))
                self._attempt(line, body)
            else:
                self._outcome(line, body)
        self._open(cases)
        self._load_policies({case.body.policies for case in cases})
        self._in_force(cases)
        # Rules keep what is the same for many messages of one instant under one policy.
        encoded = Encoded()
        for case in sorted(cases, key=lambda c: (c.body.policies, c.line.at, c.line.id)):
            if case.detail is not None:
                self._judge(case, case.detail, encoded)
        self._consents([case for case in cases if _is_marketing(case)])

    def _attempt(self, line: Line, body: _Body) -> None:
        self.checked["decisions"] += 1
        before = self.allowed.get(line.message_id, 0)
        if line.verdict != "allow":
            if line.attempt != before:
                self.tell(line, "attempt", f"it was made after attempt {line.attempt}, and the log has {before}")
            return
        self.allowed[line.message_id] = line.attempt
        if line.attempt != before + 1:
            self.tell(line, "attempt", f"it allows attempt {line.attempt} of message {line.message_id} after {before}")
        if body.attempt != f"m{line.message_id}a{line.attempt}":
            self.tell(line, "attempt", f"it is not the attempt that it names ({body.attempt or 'none'})")

    def _outcome(self, line: Line, body: _Body) -> None:
        self.checked["outcomes"] += 1
        if line.verdict not in _HANDED_OVER:
            return
        if not 1 <= line.attempt <= self.allowed.get(line.message_id, 0):
            what = f"message {line.message_id} is told to be {line.verdict} in attempt {line.attempt}"
            self.tell(line, "outcome", f"{what}, which no decision before it allowed")
        if line.verdict != "sent":
            return
        if line.message_id in self.sent:
            self.tell(line, "outcome", f"message {line.message_id} is told to be sent a second time")
        self.sent.add(line.message_id)
        if body.provider_id:
            number = (body.provider, body.provider_id)
            if number in self.numbers:
                self.tell(
                    line, "provider_id", f"{body.provider}'s number {body.provider_id} stands for another message too"
                )
            self.numbers.add(number)

    # ---- details

    def _open(self, cases: Sequence[_Case]) -> None:
        salts = judged.salts(self.conn, {i for case in cases if (i := case.body.customer) is not None})
        known: dict[int | None, bytes] = {None: self.keys.person_key(b"")}
        known |= {i: self.keys.person_key(salt) for i, salt in salts.items()}
        for case in cases:
            line, whose = case.line, case.body.customer
            erased = None if whose is None else self.gone.people.get(whose)
            if erased is not None:
                self._after(case, erased)
            if line.detail is not None and line.owner != whose:
                self.tell(line, "detail", "what it was made on is kept under the key of somebody whom it is not about")
            elif line.detail is not None and line.salt is not None and whose in known:
                case.detail = self._opened(line, known[whose])
            elif erased is not None:
                self.checked["erased"] += 1
                self.unsealed += not erased.sealed
                if line.commitment is None and line.id < erased.line:
                    self.tell(line, "detail", "it says nothing of what it was made on, and is older than the erasure")
            elif line.detail is None:
                self._absent(line)
            else:
                self.tell(line, "detail", "what it was made on is there, and the key of whom it is about is gone")

    def _after(self, case: _Case, erased: Destroyed) -> None:
        line = case.line
        late = line.id > erased.line and line.at > erased.at + CROSSED
        if late and line.verdict == "allow" and case.body.addressee == "customer":
            what = f"customer {case.body.customer} had been erased {stamp(erased.at)} (log line {erased.line})"
            self.tell(line, "withdrawn", what)

    def _absent(self, line: Line) -> None:
        by = None if line.commitment is None else self.gone.in_time(line.at)
        if by is not None:
            self.checked["destroyed in time"] += 1  # by `retain`, which said so in the log
            self.unsealed += not by.sealed
        elif line.commitment is None:
            self.tell(line, "detail", "it says nothing of what it was made on, though nobody was erased")
        else:
            self.tell(line, "detail", "what it was made on is gone, though nobody was erased and its time was not over")

    def _opened(self, line: Line, person_key: bytes) -> Detail | None:
        assert line.salt is not None and line.detail is not None
        try:
            record = vault.unseal(person_key, bytes(line.salt), bytes(line.detail))
        except vault.Damaged:
            self.tell(line, "detail", "what it was made on does not open: it was changed, or the keys are others")
            return None
        committed = vault.commitment(vault.record_key(person_key, bytes(line.salt)), record)
        if line.commitment is None or not hmac.compare_digest(committed, bytes(line.commitment)):
            self.tell(line, "detail", "what it was made on is not what the line committed to")
            return None
        try:
            return decision.read_detail(record)
        except ValueError:
            self.checked["unreadable"] += 1
            self.tell(line, "detail", "what it was made on cannot be read by this version of the program")
            return None

    # ---- judging again

    def _in_force(self, cases: Sequence[_Case]) -> None:
        for case in cases:
            line, body = case.line, case.body
            if not self.force.was(body.project, line.at):
                what = f"it was made under the workspace {body.project[:12] or '(none)'}, which was not in force then"
                self.tell(line, "policies", what)
            elif not self.force.has(body, self.policies.get(body.policies)):
                what = f"it was made under the policies {body.policies[:12]}, and the workspace it names has others"
                self.tell(line, "policies", what)

    def _load_policies(self, wanted: set[str]) -> None:
        fresh = wanted - self.policies.keys()
        bodies = versions.documents(self.conn, fresh) if fresh else {}
        for name in sorted(fresh):
            found, fault = None, "are not among the documents"
            if name in bodies:
                try:
                    found = decision.read_policies(bodies[name])
                except ValueError:
                    fault = "cannot be read"
            if found is not None and decision.policies_hash(decision.policies_text(found)) != name:
                found, fault = None, "were changed"
            if found is None:
                what = f"the policies {name[:12] or '(none)'} {fault}: what was decided under them is not judged again"
                self.found.append((None, f"document {name[:12]}", what, "policies"))
            self.policies[name] = found

    def _judge(self, case: _Case, detail: Detail, encoded: Encoded) -> None:
        line, body, policies = case.line, case.body, self.policies[case.body.policies]
        subject = detail.subject
        about = (subject.id, subject.customer_id, subject.addressee, subject.medium, subject.topic, subject.purpose)
        if about != (line.message_id, body.customer, body.addressee, body.medium, body.topic, body.purpose):
            self.tell(line, "detail", "what it was made on is about another message than the line")
            return
        if policies is None:
            return
        if detail.standing is None or line.rule == "judge":
            self.checked["unread"] += 1  # the facts could not be read: refused, and there is nothing to judge again
            if line.verdict != "deny":
                self.tell(line, "judgement", "it was made without facts, and did not refuse")
            return
        again = judge(subject, detail.standing, policies, line.at)
        if line.rule == "text" and again.say == "allow":
            again = decision.refused(again, "text", line.reason)  # the words could not be made: nothing rules can tell
        self.checked["judged again"] += 1
        what = _otherwise(case, detail, again, encoded)
        made_by = _made_by(body.rules, body.tzdata, body.holidays)
        if made_by != self.own:
            self.others.setdefault(made_by, Counter()).update({"all": 1, "otherwise": int(bool(what))})
        elif what and b'"rule_failed"' in bytes(detail.verdicts):
            self.checked["failed then"] += 1  # it refused because a rule broke, and does not break now
        elif what:
            self.tell(line, "judgement", what)

    # ---- what it relied on

    def _consents(self, cases: Sequence[_Case]) -> None:
        if not cases:
            return
        said = judged.said(self.conn, {case.body.customer for case in cases if case.body.customer is not None})
        self._sealed_before(cases)
        for case in cases:
            self.checked["sends that need a yes"] += 1
            self._relies(case, said.get(case.body.customer or 0, []))

    def _sealed_before(self, cases: Sequence[_Case]) -> None:
        """Instants can be made up; where a leaf stands was signed. Consents are sealed before what relies on them."""
        lines = judged.entries(self.conn, [case.line.id for case in cases])
        relied = judged.entries(self.conn, [i for case in cases for i in case.body.consents], "consent_event")
        for case in cases:
            at = lines.get(case.line.id)
            for i in case.body.consents if at is not None else ():
                if at is not None and relied.get(i, at) >= at:
                    what = f"it relies on consent event {i}, which was sealed after it, whatever its instant says"
                    self.tell(case.line, "consent", what)

    def _relies(self, case: _Case, said: Sequence[Said]) -> None:
        line, body = case.line, case.body
        mine = [word for word in said if word.medium == body.medium]
        by_id = {word.id: word for word in mine}
        relied = [by_id[i] for i in body.consents if i in by_id]
        if len(relied) < len(body.consents):
            lacking = ", ".join(str(i) for i in body.consents if i not in by_id)
            what = f"it relies on consent event {lacking}, which customer {body.customer} never gave for {body.medium}"
            self.tell(line, "consent", what)
        if not body.consents and _summary_of(body).get("consent") != "allow no_consent_needed":
            self.tell(line, "consent", "it relies on no consent, and nothing says that none was needed")
        for word in relied:
            if fault := _no_yes(word, body, line.at):
                self.tell(line, "consent", f"it relies on consent event {word.id}, which {fault}")
        self._not_withdrawn(line, body, relied, mine)

    def _not_withdrawn(self, line: Line, body: _Body, relied: Sequence[Said], mine: Sequence[Said]) -> None:
        noes = [w for w in mine if w.received_at < line.at and _ends(w, body.topic)]
        if not noes:
            return
        yes = [w for w in mine if w.action in _YES and w.topic in (body.topic, "*") and w.received_at <= line.at]
        for no in noes:
            standing = [w.at for w in relied] or [w.at for w in yes]
            if standing and min(standing) > no.at:
                continue
            if line.at - no.received_at < CROSSED:
                self.checked["crossed"] += 1
                self.crossed.add(line.message_id)
                continue
            what = f"customer {body.customer} had said no to it (consent event {no.id}) and not yes again"
            self.tell(line, "withdrawn", what)
            return


# ---- what was in force, and what is gone ----------------------------------------------------------------------------


class _Force:
    """The workspaces that were put in force, by the sealed ledger of applies; their texts are told by their hashes."""

    def __init__(self, conn: sa.Connection) -> None:
        self.conn = conn
        puts = judged.applies(conn)
        ends = [*(put.at for put in puts[1:]), None][: len(puts)]
        self.spans: dict[str, list[tuple[Put, datetime | None]]] = {}
        for put, end in zip(puts, ends, strict=True):
            self.spans.setdefault(put.project, []).append((put, end))
        self._policies: dict[str, Policies | None] = {}
        self._known: dict[tuple[str, str, str, str], bool] = {}
        self._others: set[str] = set()

    def notes(self) -> Iterable[str]:
        if self._others:
            told = f"of {len(self._others):,} workspaces the policies cannot be told"
            yield f"{told}: another version of the program, or of the ruleset, made its own of them"

    def was(self, project: str, at: datetime) -> bool:
        """Whether a workspace was in force at an instant."""
        return any(
            put.at <= at + SKEW and (end is None or at <= end + REPLACED) for put, end in self.spans.get(project, ())
        )

    def has(self, body: _Body, policies: Policies | None) -> bool:
        """Whether these are the policies of the workspace that the line names; True, too, where nobody can tell."""
        key = (body.project, body.policies, body.ruleset, body.rules)
        found = self._known.get(key)
        if found is None:
            own = self._of(body.project)
            if policies is None or body.rules != decision.rules_version():
                found = True  # told already
            elif own is None or own.ruleset.version != body.ruleset:
                self._others.add(body.project)
                found = True
            else:
                found = decision.policies_hash(decision.policies_text(own)) == body.policies
            self._known[key] = found
        return found

    def keeps(self, kind: str, at: datetime) -> list[timedelta]:
        """How long records of a kind were kept by the workspaces in force at an instant; nothing can be held against
        one that this version of the program cannot read."""
        found = [self._of(project) for project in self.spans if self.was(project, at)]
        return [one.retention[kind] if one else timedelta(0) for one in found if one is None or kind in one.retention]

    def _of(self, project: str) -> Policies | None:
        if project not in self._policies:
            self._policies[project] = self._read(self.spans[project][0][0])
        return self._policies[project]

    def _read(self, put: Put) -> Policies | None:
        bodies = versions.documents(self.conn, set(put.files.values()))
        try:
            found = load_files({path: str(bodies[key]["text"]) for path, key in put.files.items()})
        except (ProjectError, KeyError, TypeError):
            return None  # a text that is gone is a finding of its own
        return found.vocabulary.policies if found.hash == put.project else None


class _Gone:
    """What the log says was destroyed: people (customer → the line that says it), and details before an instant."""

    def __init__(self, conn: sa.Connection, force: _Force) -> None:
        named = judged.erased_people(conn)
        self.people: dict[int, Destroyed] = {}
        self._in_time: dict[tuple[str, bool], Destroyed] = {}
        for one in judged.destroyed(conn):
            if one.by_request and any(i in named for i in one.customers):
                self.people |= {i: one for i in one.customers if i not in self.people}
            elif one.kind in ("decision_details", "consent_evidence") and one.before is not None:
                kept = any(one.before <= one.at - span for span in force.keeps(one.kind, one.at))
                last = self._in_time.get((one.kind, one.sealed))
                if kept and (last is None or last.before is None or one.before > last.before):
                    self._in_time[one.kind, one.sealed] = one

    def excuses(self, customer_id: int, received_at: datetime) -> Destroyed | None:
        """The line by which evidence of a consent is not kept any more."""
        return self.people.get(customer_id) or self.in_time(received_at, "consent_evidence")

    def in_time(self, at: datetime, kind: str = "decision_details") -> Destroyed | None:
        """The line by which a record of an instant is not kept any more; a sealed one first."""
        for sealed in (True, False):
            one = self._in_time.get((kind, sealed))
            if one is not None and one.before is not None and at < one.before:
                return one
        return None


# ---- what is compared -----------------------------------------------------------------------------------------------


def _made_by(rules: str, tzdata: str, holidays: str) -> str:
    return f"rules {rules or '(not told)'} with tzdata {tzdata or '(not told)'} and holidays {holidays or '(not told)'}"


def _is_marketing(case: _Case) -> bool:
    body = case.body
    return case.line.verdict == "allow" and body.purpose == "marketing" and body.addressee == "customer"


def _no_yes(word: Said, body: _Body, at: datetime) -> str:
    """Why a consent event cannot carry a send; "" when it can."""
    if word.action not in _YES:
        return f"is no yes ({word.action})"
    if word.topic not in (body.topic, "*"):
        return f"is about {word.topic}, not about {body.topic}"
    if word.received_at > at + SKEW:
        return f"arrived after it, {stamp(word.received_at)}"
    return f"is dated after it, {stamp(word.occurred_at)}" if word.occurred_at > at + SKEW else ""


def _ends(word: Said, topic: str) -> bool:
    """An expiry ends its own topic's yes only; a withdrawal of everything ends each."""
    return word.topic in (topic, "*") if word.action == "withdraw" else word.action == "expire" and word.topic == topic


def _summary_of(body: _Body) -> dict[str, str]:
    try:
        found: dict[str, str] = msgspec.json.decode(body.verdicts, type=dict[str, str]) if bytes(body.verdicts) else {}
    except msgspec.DecodeError:
        return {}
    return found


def _otherwise(case: _Case, detail: Detail, again: Judgement, encoded: Encoded) -> str:
    """In what the decision judged again differs from the line; "" when it is the same to the letter."""
    line, body = case.line, case.body
    until = stamp(again.until) if again.until is not None else ""
    was = _told(line.verdict, line.rule, line.reason, body.until)
    now = _told(again.say, again.rule, again.reason, until)
    if was != now:
        return f"judged again from what was logged it is {now}, and the log says {was}"
    verdicts, summary = encoded.texts(again.verdicts)
    if verdicts.encode() != bytes(detail.verdicts):
        different = _different(detail, again)
        return f"judged again from what was logged, {', '.join(different) or 'its rules'} found something else"
    if summary.encode() != bytes(body.verdicts):
        return "the line does not say of its rules what they said"
    if tuple(decision.relied_on(again)) != body.consents:
        return "the line names other consent events than the rule relied on"
    return ""


def _told(say: str, rule: str, reason: str, until: str) -> str:
    by = f" by {rule} ({reason})" if rule else ""
    return f"{say}{by}" + (f" until {until}" if until else "")


def _different(detail: Detail, again: Judgement) -> list[str]:
    logged = {one.get("rule"): one for one in msgspec.json.decode(detail.verdicts)}
    now = {one.rule: msgspec.json.decode(decision.as_json(decision.told(one))) for one in again.verdicts}
    return sorted(str(rule) for rule in logged.keys() | now.keys() if logged.get(rule) != now.get(rule))
