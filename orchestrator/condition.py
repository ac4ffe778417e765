"""The condition language: typed against the workspace, mistakes are placed, SQL is made elsewhere (store.segments).

This module is the whole front (grammar reads, this one resolves names and checks types; terms holds the result). It
evaluates nothing; there is one evaluator and it is SQL. The reference of the language is docs/reference/conditions.md.
"""

# mypy: disable-error-code="func-returns-value"
# `return self.error(…)` tells a problem and gives None up the tree in one go.

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from lark import Token, Tree

from channels.base import EventKind
from orchestrator.grammar import Parsed
from orchestrator.model import SCORES, CustomerClass, Kind, Score, Unit, Vocabulary
from orchestrator.problems import Problems, Span, suggest
from orchestrator.scope import Env, Scope
from orchestrator.terms import (
    STEP_WORDS,
    Amount,
    And,
    Any_,
    AnyContact,
    Compare,
    Happened,
    Heard,
    InSegment,
    Is,
    IsSet,
    Literal_,
    Node,
    Not,
    OneOf,
    Operator,
    Or,
    Ref,
    Rows,
    Scalar,
    TierIs,
    Truth,
    When,
    kind_of,
    walk,
)
from orchestrator.terms import text as written
from orchestrator.values import (
    BADGE,
    EXISTENCE,
    KIND_WORDS,
    ORDERED,
    TEXTS,
    Values,
    called,
    child,
    halves,
    is_class,
    parsed,
    unquoted,
)

__all__ = [
    "Condition", "Expression", "Happened", "Heard", "Node", "Scope", "happened", "heard", "parse", "parse_expression",
    "segments_named",
]  # fmt: skip


COMPLETED = "challenge_completed"


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition. `text` is canonical (equal meaning by form, equal text); compare and hash by it."""

    text: str
    root: Node = field(compare=False)
    unit: Unit = "customer"
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked scalar: a field, an aggregate, arithmetic. `kind` is the type of its value."""

    text: str
    root: Node = field(compare=False)
    kind: Kind = Kind.TEXT
    unit: Unit = "customer"
    span: Span | None = field(default=None, compare=False)


def parse(text: str, span: Span, scope: Scope, vocabulary: Vocabulary, problems: Problems) -> Condition | None:
    """A condition, or None with every mistake in it added to `problems`, each at its own place within `span`."""
    checker = _Checker(text, span, scope, vocabulary, problems)
    tree = checker.read()
    if tree is None:
        return None
    root = checker.truth(tree, checker.env)
    if root is None or checker.wrong:
        return None
    return Condition(written(root, inside=checker.env.subject is not None), root, scope.unit, span)


def parse_expression(
    text: str,
    span: Span,
    scope: Scope,
    vocabulary: Vocabulary,
    problems: Problems,
    expect: frozenset[Kind] | None = None,
) -> Expression | None:
    """A scalar expression of one of the expected kinds, or None with problems."""
    checker = _Checker(text, span, scope, vocabulary, problems)
    tree = checker.read()
    if tree is None:
        return None
    root = checker.scalar(tree, checker.env)
    if root is not None and expect is not None:
        root = checker.expected(root, expect, tree)
    if root is None or checker.wrong:
        return None
    return Expression(written(root, inside=checker.env.subject is not None), root, kind_of(root), scope.unit, span)


def happened(
    event: str,
    where: Condition | None,
    since: Literal["entry", "step", "ever"],
    unit: Unit,
    within_seconds: int | None = None,
) -> Condition:
    """`wait_for`, `goal` and `exit_when` by event, as a condition: the engine knows no other evaluator."""
    node = Happened(event, where.root if where else None, since, within_seconds)
    return Condition(written(node), node, unit)


def heard(step: str, kinds: frozenset[EventKind], unit: Unit, since: Literal["entry", "step"] = "entry") -> Condition:
    """`first_of … until`, `wait_for: {message}` and opened(…) as a condition."""
    node = Heard(step, kinds, since)
    return Condition(written(node), node, unit)


def segments_named(*conditions: Condition | Expression) -> frozenset[str]:
    """The segments these ask for by name (not those that the segments ask for in turn)."""
    return frozenset(node.name for c in conditions for node in walk(c.root) if isinstance(node, InSegment))


class _Checker(Values):
    """Walks the tree once; a part that is wrong is told once and comes back as None, so nothing is told of it twice."""

    def __init__(self, text: str, span: Span, scope: Scope, vocabulary: Vocabulary, problems: Problems) -> None:
        super().__init__(text, span, scope, vocabulary, problems)
        self._tiers: dict[int, tuple[TierIs, Parsed]] = {}

    def truth(self, tree: Parsed, env: Env) -> Truth | None:
        if isinstance(tree, Tree):
            on = getattr(self, f"_truth_{tree.data}", None)
            if on is not None:
                found: Truth | None = on(tree, env)
                return found
        node = self.either(tree, env)
        if node is None or isinstance(node, Truth):
            return node
        if kind_of(node) is not Kind.YES_NO:
            return self._no_truth(node, tree)
        return Is(node)

    def _no_truth(self, node: Scalar, tree: Parsed) -> None:
        """A value stands where something true or false has to."""
        what = KIND_WORDS[kind_of(node)]
        hint = {
            Kind.NUMBER: "compare it, for example with `>= 1`",
            Kind.MONEY: f"compare it, for example with `> 500 {self.words.currency}`",
            Kind.DATE: "ask `is within last 90 days`, `is in past` or `is set`",
            Kind.INSTANT: "ask `is within last 90 days`, `is in past` or `is set`",
            Kind.TIER: "compare it, for example with `>=`",
        }.get(kind_of(node), "compare it with `==`, or ask `is set`")
        message = f"`{self.slice(tree)}` is {what}, not something that is true or false"
        return self.error("type-mismatch", message, tree, hint)

    def _truth_group(self, tree: Tree[Token], env: Env) -> Truth | None:
        return self.truth(child(tree), env)

    def _truth_or_(self, tree: Tree[Token], env: Env) -> Truth | None:
        parts = [self.truth(parsed(c), env) for c in tree.children]
        return Or(_flat(Or, parts)) if None not in parts else None

    def _truth_and_(self, tree: Tree[Token], env: Env) -> Truth | None:
        found = [self.truth(parsed(c), env) for c in tree.children]
        parts = _flat(And, found)
        for mine in parts:
            match mine:
                case Compare("==", Ref() as ref, Literal_(name, _)) if is_class(ref) and name in self.words.classes:
                    self._on_ladder(self.words.classes[str(name)], ref, parts)
        return And(parts) if None not in found else None

    def _on_ladder(self, ladder: CustomerClass, of: Ref, parts: tuple[Truth, ...]) -> None:
        """Tiers asked of a class that has none of that name."""
        for part in parts:
            tier = part.part if isinstance(part, Not) else part
            if not isinstance(tier, TierIs) or tier.tier.owner != of.owner or id(tier) not in self._tiers:
                continue
            strange = next((name for name in tier.names if name not in ladder.tiers), None)
            if strange is not None:
                _, at = self._tiers.pop(id(tier))
                message = f"class `{ladder.name}` has no tier `{strange}`"
                self.error("unknown-tier", message, at, suggest(strange, ladder.tiers))

    def _truth_negation(self, tree: Tree[Token], env: Env) -> Truth | None:
        part = self.truth(child(tree), env)
        return _negated(part) if part is not None else None

    def _truth_compare(self, tree: Tree[Token], env: Env) -> Truth | None:
        left, op, right = parsed(tree.children[0]), str(tree.children[1]), parsed(tree.children[2])
        a, b = self.pair(left, right, env)
        if a is None or b is None:
            return None
        return self._compared(op, a, b, left, right, tree)

    def _truth_one_of(self, tree: Tree[Token], env: Env) -> Truth | None:
        value_tree, listed = parsed(tree.children[0]), tree.children[1]
        assert isinstance(listed, Tree)
        value = self.scalar(value_tree, env)
        if value is None:
            return None
        if listed.children == [None]:
            return self.error("bad-condition", "the list is empty", listed, "name at least one value")
        options = [self._option(parsed(c), value, value_tree, env) for c in listed.children]
        if None in options:
            return None
        found = tuple(dict.fromkeys(o for o in options if o is not None))
        if kind_of(value) is Kind.TIER and isinstance(value, Ref):
            return self._noted(TierIs(value, "==", tuple(str(o.value) for o in found if isinstance(o, Literal_))), tree)
        return OneOf(value, found)

    def _option(self, tree: Parsed, value: Scalar, value_tree: Parsed, env: Env) -> Scalar | None:
        """One of a list: a literal of the value's kind."""
        option = self.literal(tree, value, env)
        if option is None:
            return None
        if not isinstance(option, (Literal_, Amount)):
            hint = "compare with `==`, joined by `or`; if it is a text, put it in quotation marks"
            return self.error("bad-condition", "a list holds written-out values, not fields", tree, hint)
        one, two = kind_of(value), kind_of(option)
        if one is not two and not {one, two} <= TEXTS and {one, two} != {Kind.DATE, Kind.INSTANT}:
            message = f"`{self.slice(value_tree)}` is {KIND_WORDS[one]}, `{self.slice(tree)}` is {KIND_WORDS[two]}"
            return self.error("type-mismatch", message, tree, _mismatch_hint({one, two}))
        return None if self.mixed(value, option, tree) else option

    def _truth_none_of(self, tree: Tree[Token], env: Env) -> Truth | None:
        part = self._truth_one_of(tree, env)
        return Not(part) if part is not None else None

    def _truth_is_(self, tree: Tree[Token], env: Env) -> Truth | None:
        value_tree, test = parsed(tree.children[0]), tree.children[1]
        assert isinstance(test, Tree)
        words = [str(c) for c in test.children if isinstance(c, Token)]
        value = self.scalar(value_tree, env)
        if words == ["set"]:
            return IsSet(value) if value is not None else None
        spans = [c for c in test.children if isinstance(c, Tree)]
        span = self.duration(spans[0], spans[0].children[0], spans[0].children[1]) if spans else None
        if value is None or (spans and span is None):
            return None
        kind = kind_of(value)
        if kind not in (Kind.DATE, Kind.INSTANT):
            return self.error(
                "type-mismatch",
                f"`{self.slice(value_tree)}` is {KIND_WORDS[kind]}, not a date",
                value_tree,
                "past, future and `within` are asked of dates and instants",
            )
        if kind is Kind.DATE and span is not None and span.seconds:
            return self.error("type-mismatch", "a date has no hours", spans[0], "count in days, weeks, months or years")
        how = words[0]
        assert how in ("past", "future", "next", "last", "more", "less")
        return When(value, how, span)  # type: ignore[arg-type]

    def _truth_is_not(self, tree: Tree[Token], env: Env) -> Truth | None:
        part = self._truth_is_(tree, env)
        return Not(part) if part is not None else None

    def _truth_in_segment(self, tree: Tree[Token], env: Env) -> Truth | None:
        argument = tree.children[1]
        assert isinstance(argument, Tree)
        given, where = halves(argument)
        if where is not None or given is None or not isinstance(given, Token) or given.type not in ("STRING", "NAME"):
            return self.error("bad-condition", "this is no segment's name", argument, 'write in segment("its-name")')
        name = unquoted(given)
        if name not in self.words.segments:
            return self.error(
                "unknown-segment", f"there is no segment `{name}`", given, suggest(name, self.words.segments)
            )
        return InSegment(name)

    def _truth_of_contacts(self, tree: Tree[Token], env: Env) -> Truth | None:
        word = tree.children[0]
        if str(word) != "any":
            return self.error("bad-condition", f"there is no `{word} contact`", tree, "write any contact(…)")
        if env.unit != "account":
            return self.error(
                "not-in-scope",
                "a customer has no contacts",
                tree,
                "any contact(…) is asked of accounts: here, name the field itself",
            )
        if env.subject is not None:
            return self.error(
                "not-in-scope", "any contact(…) cannot stand within a where", tree, "ask it beside, joined by `and`"
            )
        where = self.truth(parsed(tree.children[1]), Env("customer", None, nested=True))
        return AnyContact(where) if where is not None else None

    def _truth_call(self, tree: Tree[Token], env: Env) -> Truth | None:
        name, arguments = called(tree)
        if name in STEP_WORDS:
            return self._step(name, tree, arguments, env)
        if name == BADGE:
            return self._badge(tree, arguments)
        if name not in EXISTENCE:
            value = self.scalar_call(tree, env)
            if value is None:
                return None
            return Is(value) if kind_of(value) is Kind.YES_NO else self._no_truth(value, tree)
        rows, prop = self.rows(name, tree, arguments, env)
        if rows is None:
            return None
        if prop is not None:
            return self.error(
                "bad-condition", f"`{name}` looks for whole rows, not for `{prop.name}`", tree, "leave the property out"
            )
        if name == "all" and rows.where is None:
            return self.error(
                "bad-condition", "`all` needs what is to be true of them", tree, f"write all({rows.of} where …)"
            )
        return Not(Any_(rows)) if name == "never" else Any_(rows, every=name == "all")

    def _badge(self, tree: Tree[Token], arguments: list[Tree[Token]]) -> Truth | None:
        """`badge("critic")`: a challenge that gives it was done."""
        word = tree.children[0]
        assert isinstance(word, Token)
        if not self.words.loyalty.declared:
            return self.not_loyal("unknown-function", BADGE, word)
        given, where = halves(arguments[0]) if len(arguments) == 1 else (None, None)
        if where is not None or not isinstance(given, Token) or given.type not in ("STRING", "NAME"):
            return self.error("bad-condition", "this is no badge's name", tree, 'write badge("its-name")')
        name, known = unquoted(given), self.words.loyalty.badges
        if name not in known:
            hint = suggest(name, known) or "no challenge in workspace.yaml gives one"
            return self.error("unknown-badge", f"no challenge gives the badge `{name}`", given, hint)
        event = self.words.events[COMPLETED]
        of = Ref("subject", "event", event.name, BADGE, event.fields[BADGE].kind)
        return Any_(Rows("event", event.name, Compare("==", of, Literal_(name, of.kind))))

    def _step(self, word: str, tree: Tree[Token], arguments: list[Tree[Token]], env: Env) -> Truth | None:
        if self.scope.steps is None or env.nested or env.subject is not None:
            return self.error(
                "not-in-scope",
                f"`{word}(…)` asks about a step of a journey, and there is none here",
                tree,
                "ask it in a journey's steps" if self.scope.steps is None else "ask it beside, joined by `and`",
            )
        if len(arguments) != 1 or arguments[0].children[1] is not None:
            return self.error("bad-condition", f"`{word}` takes one step", tree, f"write {word}(email:some-letter)")
        # A step id may hold dashes and digits that read as arithmetic: its text is what counts.
        step = self.slice(arguments[0]).strip("\"'")
        if step not in self.scope.steps:
            hint = suggest(step, self.scope.steps)
            return self.error("unknown-step", f"this journey sends nothing at a step `{step}`", arguments[0], hint)
        return Heard(step, STEP_WORDS[word])

    def _compared(self, op: str, a: Scalar, b: Scalar, left: Parsed, right: Parsed, tree: Parsed) -> Truth | None:
        first, second = self.as_kind(a, kind_of(b), left, b), self.as_kind(b, kind_of(a), right, a)
        if first is None or second is None:
            return None
        a, b = first, second
        one, two = kind_of(a), kind_of(b)
        alike = one is two or {one, two} <= TEXTS or ({one, two} == {Kind.DATE, Kind.INSTANT} and _is_day(a, b))
        if not alike:
            return self.error(
                "type-mismatch",
                f"`{self.slice(left)}` is {KIND_WORDS[one]}, `{self.slice(right)}` is {KIND_WORDS[two]}",
                tree,
                _score_hint(a, b) or _mismatch_hint({one, two}),
            )
        if op not in ("==", "!=") and one not in ORDERED:
            return self.error("type-mismatch", f"{KIND_WORDS[one]} is not more or less than another", tree,
                               "compare with `==` or `!=`")  # fmt: skip
        if self.mixed(a, b, tree):
            return None
        assert op in get_args(Operator)
        if one is Kind.TIER and isinstance(b, Literal_) and isinstance(a, Ref):
            return self._tier_is(a, op, str(b.value), tree)
        if one is Kind.TIER and isinstance(a, Literal_) and isinstance(b, Ref):
            return self._tier_is(b, {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op), str(a.value), tree)
        if one is Kind.TIER and op not in ("==", "!="):
            return self.error(
                "type-mismatch", "two tiers may be of different ladders", tree, "compare with one by name"
            )
        return Compare(op, a, b)  # type: ignore[arg-type]

    def _tier_is(self, tier: Ref, op: str, name: str, at: Parsed) -> Truth:
        if op == "!=":
            return Not(self._noted(TierIs(tier, "==", (name,)), at))
        return self._noted(TierIs(tier, op, (name,)), at)  # type: ignore[arg-type]

    def _noted(self, node: TierIs, at: Parsed) -> TierIs:
        """Remembers where a tier was asked for (and the node, so that its id stays its own)."""
        self._tiers[id(node)] = (node, at)
        return node


def _flat(joint: type[And] | type[Or], parts: list[Truth | None]) -> tuple[Truth, ...]:
    return tuple(p for part in parts if part is not None for p in (part.parts if isinstance(part, joint) else (part,)))


def _negated(part: Truth) -> Truth:
    return part.part if isinstance(part, Not) else Not(part)


def _is_day(a: Scalar, b: Scalar) -> bool:
    """An instant is compared with a day that is written out; with a date field it would be a riddle."""
    return isinstance(a, Literal_) or isinstance(b, Literal_)


def _score_hint(a: Scalar, b: Scalar) -> str:
    """Of money beside a score that is none, because some of those that may be meant score in no money."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Ref) and one.holder == "loyalty" and one.name in SCORES and isinstance(other, Amount):
            plain = Score.of(other.minor, other.currency)
            return f"not every class here scores in money: write the plain number, `{plain:f}`"
    return ""


def _mismatch_hint(kinds: set[Kind]) -> str:
    if Kind.MONEY in kinds:
        return "write money as `500 EUR`"
    if Kind.DATE in kinds or Kind.INSTANT in kinds:
        return "write a day as 2027-01-31, or ask `is within last 90 days`"
    if Kind.YES_NO in kinds:
        return "compare it with `yes` or `no`, or write the field alone"
    return ""
