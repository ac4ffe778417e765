"""What a name in a condition means where it stands: the unit's fields, a judged row's, a record's or event's in scope.

A name that means nothing is told with what was probably meant.
"""

# mypy: disable-error-code="func-returns-value"
# `return self.error(…)` tells a problem and gives None up the tree in one go.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lark import Token

from channels.base import Medium
from orchestrator.grammar import Parsed, Stretch, Unreadable, read, stretch
from orchestrator.model import LOYALTY_FIELDS, Field, Kind, Unit, Vocabulary, loyalty_field
from orchestrator.problems import Problems, Span, suggest
from orchestrator.terms import Aggregate, And, Holder, IsSet, Literal_, OneOf, Owner, Ref, Rows, Scalar

LOYALTY = frozenset({"balance", "badge", "benefits", *(name.partition(".")[0] for name in LOYALTY_FIELDS)})
"""What comes with the loyalty programme, by what stands before the dot."""
NPS = "nps"
ANSWERED = "survey_answered"  # `orchestrator.centre` makes it of what surveys ask
_OCCURRED = Field("occurred_at", Kind.INSTANT, column="occurred_at")


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be named where a condition stands.

    `record`: that record type is in scope by its name (contract.ends). `event`: the triggering event's type, in scope
    as `event.PROPERTY`. `subject_event`: bare names are properties of this event type first (inside `where`), then the
    unit's fields; `subject_record` likewise for records. `steps`: send steps by id, for opened(…) and clicked(…);
    None outside a journey.
    """

    unit: Unit = "customer"
    record: str | None = None
    event: str | None = None
    subject_event: str | None = None
    subject_record: str | None = None
    steps: Mapping[str, Medium] | None = None


@dataclass(frozen=True, slots=True)
class Env:
    """What bare names mean at this depth. `subject`: the holder and type of the row a `where` judges."""

    unit: Unit
    subject: tuple[Literal["event", "record"], str] | None = None
    nested: bool = False  # within any contact(…) or a where: the enrollment's messages are out of sight


class Names:
    """Walks the tree once; a part that is wrong is told once and comes back as None, so nothing is told of it twice."""

    def __init__(self, text: str, span: Span, scope: Scope, vocabulary: Vocabulary, problems: Problems) -> None:
        self.text, self.span, self.scope, self.words, self.problems = text, span, scope, vocabulary, problems
        self.wrong = False
        subject: tuple[Literal["event", "record"], str] | None = None
        if scope.subject_event is not None:
            subject = ("event", scope.subject_event)
        elif scope.subject_record is not None:
            subject = ("record", scope.subject_record)
        self.env = Env(scope.unit, subject)

    # -- problems

    def read(self) -> Parsed | None:
        try:
            return read(self.text)
        except Unreadable as error:
            return self.error("bad-condition", error.message, error.stretch, error.hint)

    def error(self, code: str, message: str, at: Parsed | Stretch, hint: str = "") -> None:
        self.wrong = True
        where = at if isinstance(at, tuple) else stretch(at)
        self.problems.error(code, message, self.place(where), hint)

    def place(self, where: Stretch) -> Span:
        """A stretch of the text as a place in the file: exact in a scalar on one line without escapes."""
        span = self.span
        inset, odd = divmod(span.end_col - span.col - len(self.text), 2)
        if span.line != span.end_line or odd or inset not in (0, 1):
            return span
        start, end = span.col + inset + where[0], span.col + inset + where[1]
        return Span(span.file, span.line, start, span.line, max(end, start + 1))

    def slice(self, tree: Parsed) -> str:
        start, end = stretch(tree)
        return self.text[start:end]

    # -- names

    def ref(self, owner: Owner, holder: Holder, of: str, found: Field) -> Ref:
        return Ref(owner, holder, of, found.name, found.kind, found.column)

    def fields(self, holder: Holder, of: str) -> Mapping[str, Field]:
        if holder == "customer":
            return self.words.customer
        if holder == "account":
            return self.words.account
        if holder == "loyalty":
            return LOYALTY_FIELDS
        if holder == "event":
            fields = self.words.events[of].fields if of in self.words.events else {}
            return {"occurred_at": _OCCURRED, **fields}
        record = self.words.records.get(of)
        if record is None:
            return {}
        return {record.key: Field(record.key, Kind.KEY, column="key"), **record.fields}

    def _owners(self, env: Env) -> Mapping[str, tuple[Owner, Holder, str]]:
        """What may stand before a dot here."""
        found: dict[str, tuple[Owner, Holder, str]] = {}
        if env.subject is not None:
            found[env.subject[1]] = ("subject", *env.subject)
        found[env.unit] = ("unit", env.unit, env.unit)
        if env.unit == "customer":
            found["account"] = ("account", "account", "account")
        if self.scope.event is not None:
            found["event"] = ("event", "event", self.scope.event)
        if self.scope.record is not None:
            found[self.scope.record] = ("record", "record", self.scope.record)
        return found

    def named(self, name: str, env: Env) -> Ref | None:
        """The field of that name, or None without a word."""
        owner, dot, rest = name.partition(".")
        if dot:
            place = self._owners(env).get(owner)
            if place is None:
                return self._loyal("unit", env.unit, name)
            found = self.fields(place[1], place[2]).get(rest)
            if found is None and place[0] in ("unit", "account"):
                return self._loyal(place[0], "customer" if place[1] == "customer" else "account", rest)
            return self.ref(*place, found) if found else None
        if env.subject is not None and (found := self.fields(*env.subject).get(name)):
            return self.ref("subject", *env.subject, found)
        found = self.fields(env.unit, env.unit).get(name)
        return self.ref("unit", env.unit, env.unit, found) if found else self._loyal("unit", env.unit, name)

    def _loyal(self, owner: Owner, of: Unit, name: str) -> Ref | None:
        """What the programme knows of the unit, or of its account."""
        found = loyalty_field(self.words, name, of) if self.words.loyalty.declared else None
        return self.ref(owner, "loyalty", of, found) if found else None

    def means_something(self, name: str, env: Env) -> bool:
        """Whether a bare word is a name here, and no text."""
        return name == NPS or self.named(name, env) is not None

    def by_name(self, token: Token, env: Env) -> Scalar | None:
        name = str(token)
        found = self.named(name, env)
        if found is not None:
            return found
        owner, dot, rest = name.partition(".")
        if name == NPS:
            return self._nps(token)
        if dot:
            return self._unknown_dotted(owner, rest, token, env)
        return self._unknown_bare(name, token, env)

    def _unknown_dotted(self, owner: str, rest: str, token: Token, env: Env) -> None:
        owners = self._owners(env)
        if owner in owners:
            of = owners[owner]
            if of[0] in ("unit", "account") and rest.partition(".")[0] in LOYALTY:
                return self.not_loyal("unknown-field", rest, token, f"{owner}.")
            fields = self.fields(of[1], of[2])
            what = f"event `{of[2]}`" if of[0] == "event" else f"`{owner}`"
            known = [f"{owner}.{name}" for name in fields]
            return self.error("unknown-field", f"{what} has no `{rest}`", token, suggest(f"{owner}.{rest}", known))
        if owner == "customer":
            return self.error("not-in-scope", "an account is not one customer", token, f"write any contact({rest} …)")
        if owner == "event":
            return self.error(
                "not-in-scope", "no event has started this", token, "only a journey with an event trigger has `event`"
            )
        if owner in self.words.records:
            hint = f"write any({owner} where {rest} …)"
            return self.error("not-in-scope", f"no one `{owner}` is meant here", token, hint)
        if owner in self.words.events:
            hint = f"write last({owner}.{rest}), or sum, min, max, avg"
            return self.error("not-in-scope", f"no one `{owner}` is meant here", token, hint)
        if owner in LOYALTY:
            return self.not_loyal("unknown-field", f"{owner}.{rest}", token)
        known = [f"{o}.{rest}" for o, place in owners.items() if rest in self.fields(place[1], place[2])]
        return self.error("unknown-field", f"there is no `{owner}` here", token, suggest(f"{owner}.{rest}", known))

    def _unknown_bare(self, name: str, token: Token, env: Env) -> None:
        if name in LOYALTY and name not in self.words.records:
            return self.not_loyal("unknown-field", name, token)
        if name in self.words.events:
            hint = f"write count({name}, 90 days) >= 1, or never({name})"
            return self.error("unknown-field", f"`{name}` is an event, not a field", token, hint)
        if name in self.words.records:
            return self.error(
                "unknown-field", f"`{name}` is a record, not a field", token, f"write any({name} where …)"
            )
        for owner, place in self._owners(env).items():
            if place[0] != "unit" and name in self.fields(place[1], place[2]):
                return self.error(
                    "unknown-field", f"there is no field `{name}`", token, f"did you mean `{owner}.{name}`?"
                )
        if env.unit == "account" and name in self.words.customer:
            return self.error(
                "not-in-scope", f"`{name}` is a contact's, not an account's", token, f"write any contact({name} …)"
            )
        known = [*self.fields(env.unit, env.unit), *(self.fields(*env.subject) if env.subject else ())]
        known += LOYALTY_FIELDS if self.words.loyalty.declared else ()
        return self.error("unknown-field", f"there is no field `{name}`", token, suggest(name, known))

    # -- the loyalty programme

    def not_loyal(self, code: str, name: str, token: Token, before: str = "") -> None:
        """A name that comes with the programme: there is none, or it has another word for it."""
        if not self.words.loyalty.declared:
            hint = "declare `program` in workspace.yaml, or name a declared attribute or event"
            return self.error(code, f"`{name}` comes with the loyalty programme, and none is declared", token, hint)
        root, dot, _ = name.partition(".")
        known = [f"{before}{known}" for known in LOYALTY_FIELDS if known.partition(".")[0] == root]
        hints = {
            "balance": f"did you mean `{before}points`?",
            "badge": 'write badge("its-name")',
            "benefits": "benefits are for texts; ask for the tier, as `tier >= gold`",
        }
        what = f"`{root}` has no `{name.partition('.')[2]}`" if dot else f"there is no field `{name}`"
        listed = "one of: " + ", ".join(f"`{one}`" for one in known)
        return self.error(code, what, token, hints.get(root) or (suggest(before + name, known) if dot else listed))

    def _nps(self, token: Token) -> Scalar | None:
        """The latest answer to the question of a survey that is declared as one."""
        found = latest_nps(self.words)
        if found is not None:
            return found
        hint = "add a survey whose answers are not anonymous, with a question of `kind: nps`, to workspace.yaml"
        return self.error("unknown-field", f"no survey asks for `{NPS}`", token, hint)


def latest_nps(words: Vocabulary) -> Aggregate | None:
    """The last answer to an nps question, of the surveys that are not anonymous; None where there is none.

    Where their questions have one name, it is that property; else the event's `score`, its first number.
    """
    asked = {s.name: q.name for s in words.surveys.values() if not s.anonymous for q in s.questions if q.kind == NPS}
    answered = words.events.get(ANSWERED)
    if not asked or answered is None:
        return None
    names = set(asked.values())
    question = names.pop() if len(names) == 1 else "score"

    def ref(name: str) -> Ref:
        return Ref("subject", "event", ANSWERED, name, answered.fields[name].kind)

    surveys = tuple(Literal_(name, Kind.CHOICE) for name in asked)
    where = And((OneOf(ref("survey"), surveys), IsSet(ref(question))))
    return Aggregate("last", Rows("event", ANSWERED, where), ref(question), Kind.NUMBER)
