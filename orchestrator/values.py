"""Values in conditions: literals, arithmetic, aggregates, and what kind each is."""

# mypy: disable-error-code="func-returns-value"
# `return self.error(…)` tells a problem and gives None up the tree in one go.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Literal, cast, get_args

from lark import Token, Tree

from orchestrator.grammar import Parsed
from orchestrator.model import Kind, minor_digits
from orchestrator.problems import suggest
from orchestrator.scope import LOYALTY, Env, Names
from orchestrator.terms import (
    STEP_WORDS,
    Aggregate,
    Amount,
    Arithmetic,
    DaysSince,
    Fold,
    Literal_,
    Negative,
    PointsWithin,
    Ref,
    Rows,
    Scalar,
    Truth,
    kind_of,
    walk,
)
from orchestrator.words import Duration
from orchestrator.words import duration as duration_of

TEXTS = frozenset({Kind.TEXT, Kind.KEY, Kind.CHOICE})
ORDERED = frozenset({Kind.NUMBER, Kind.MONEY, Kind.DATE, Kind.INSTANT, Kind.TEXT, Kind.KEY, Kind.TIER})
KIND_WORDS = {
    Kind.TEXT: "a text", Kind.NUMBER: "a number", Kind.YES_NO: "a yes or no", Kind.DATE: "a date",
    Kind.INSTANT: "an instant", Kind.MONEY: "an amount of money", Kind.KEY: "a key", Kind.CHOICE: "a choice",
    Kind.TIER: "a tier",
}  # fmt: skip
_YES_NO = {"yes": True, "true": True, "no": False, "false": False}
_AGGREGATES = frozenset(get_args(Fold))
EXISTENCE = frozenset({"any", "all", "never"})
BADGE = "badge"
TRUTHS = EXISTENCE | STEP_WORDS.keys() | {BADGE}
"""Functions that are true or false."""
_FUNCTIONS = _AGGREGATES | TRUTHS | {"days_since", "points"}
_MOST_OPERATORS = 12  # keeps products of doubles far from an overflow, which PostgreSQL takes for an error
_CLOCK_UNITS = frozenset({"minute", "minutes", "hour", "hours"})
_DURATION_UNITS = _CLOCK_UNITS | {"day", "days", "week", "weeks", "month", "months", "year", "years"}


class Values(Names):
    """Reads what has a value. `truth` is the other half of the walk."""

    def truth(self, tree: Parsed, env: Env) -> Truth | None:
        raise NotImplementedError

    def scalar(self, tree: Parsed, env: Env) -> Scalar | None:
        node = self.either(tree, env)
        if isinstance(node, Truth):
            return self.error(
                "type-mismatch",
                f"`{self.slice(tree)}` is true or false; a value is needed here",
                tree,
                "join conditions with `and` and `or`",
            )
        return node

    def expected(self, node: Scalar, expect: frozenset[Kind], tree: Parsed) -> Scalar | None:
        """The node as one of these kinds; a plain number will do for money, a quoted day for a date."""
        kind = kind_of(node)
        if kind in expect:
            return node
        wanted = next((k for k in (Kind.MONEY, Kind.DATE, Kind.KEY, Kind.TEXT, Kind.CHOICE) if k in expect), kind)
        found = self.as_kind(node, wanted, tree)
        if found is None or kind_of(found) in expect:
            return found
        listed = " or ".join(KIND_WORDS[k] for k in sorted(expect))
        return self.error("type-mismatch", f"`{self.slice(tree)}` is {KIND_WORDS[kind]}, not {listed}", tree)

    def either(self, tree: Parsed, env: Env) -> Truth | Scalar | None:
        if isinstance(tree, Token):
            if tree.type == "NAME":
                return self.by_name(tree, env)
            return self._token(tree)
        if tree.data == "call":
            word = str(tree.children[0])
            return self.truth(tree, env) if word in TRUTHS else self.scalar_call(tree, env)
        if tree.data == "group":
            return self.either(child(tree), env)
        on: Callable[[Tree[Token], Env], Scalar | None] | None = getattr(self, f"_scalar_{tree.data}", None)
        return self.truth(tree, env) if on is None else on(tree, env)

    def _token(self, token: Token) -> Scalar | None:
        if token.type == "STRING":
            return Literal_(unquoted(token), Kind.TEXT)
        if token.type == "NUMBER":
            return self._number(token)
        if token.type == "DATE":
            return self._day(str(token), token)
        return self.error("bad-condition", f"`{token}` is a step's name", token, f"write opened({token})")

    def _number(self, token: Token) -> Scalar | None:
        value = Decimal(str(token))
        if value >= 10**15:
            return self.error("bad-condition", f"`{token}` is too large", token, "numbers go up to 15 digits")
        return Literal_(int(value) if value == int(value) else float(value), Kind.NUMBER)

    def _day(self, value: str, at: Parsed) -> Literal_ | None:
        try:
            return Literal_(date.fromisoformat(value).isoformat(), Kind.DATE)
        except ValueError:
            return self.error("type-mismatch", f"`{value}` is not a day", at, "write a day as 2027-01-31")

    def _scalar_quantity(self, tree: Tree[Token], env: Env) -> Scalar | None:
        number, unit = tree.children
        assert isinstance(number, Token) and isinstance(unit, Token)
        if str(unit) in _DURATION_UNITS:
            return self.error(
                "type-mismatch",
                f"`{number} {unit}` is a length of time, and a value is needed here",
                tree,
                f"days_since(…) is a number: write `{number}`; of a date, ask `is more than {number} {unit} ago`",
            )
        currency = str(unit)
        if not _is_currency(currency):
            hint = f"did you mean `{currency.upper()}`?" if _is_currency(currency.upper()) else ""
            return self.error(
                "unknown-currency",
                f"`{currency}` is neither a currency nor a unit of time",
                unit,
                hint or f"a currency is three capital letters, such as {self.words.currency}",
            )
        return self._money(Decimal(str(number)), currency, tree)

    def _money(self, number: Decimal, currency: str, at: Parsed) -> Amount | None:
        digits = minor_digits(currency)
        minor = number.scaleb(digits)
        if minor != int(minor):
            message = f"{currency} has {digits} decimals" if digits else f"{currency} has no decimals"
            return self.error("type-mismatch", message, at, "round the amount")
        if abs(minor) >= 10**15:
            return self.error("bad-condition", f"`{number} {currency}` is too large", at, "amounts go up to 15 digits")
        return Amount(int(minor), currency)

    def _scalar_negative(self, tree: Tree[Token], env: Env) -> Scalar | None:
        of_tree = parsed(tree.children[1])
        of = self.scalar(of_tree, env)
        if of is None:
            return None
        if isinstance(of, Literal_) and of.kind is Kind.NUMBER:
            return Literal_(-of.value, Kind.NUMBER)  # type: ignore[operator]
        if isinstance(of, Amount):
            return Amount(-of.minor, of.currency)
        if kind_of(of) not in (Kind.NUMBER, Kind.MONEY):
            return self.error("type-mismatch", f"`{self.slice(of_tree)}` is {KIND_WORDS[kind_of(of)]}", of_tree)
        return Negative(of, kind_of(of))

    def _scalar_arithmetic(self, tree: Tree[Token], env: Env) -> Scalar | None:
        left, op, right = parsed(tree.children[0]), str(tree.children[1]), parsed(tree.children[2])
        a, b = self.scalar(left, env), self.scalar(right, env)
        if a is None or b is None:
            return None
        for node, at in ((a, left), (b, right)):
            if kind_of(node) not in (Kind.NUMBER, Kind.MONEY):
                hint = "of dates, ask `is within next 90 days` or `is more than 90 days ago`"
                return self.error(
                    "type-mismatch",
                    f"`{self.slice(at)}` is {KIND_WORDS[kind_of(node)]}, and cannot be reckoned with",
                    at,
                    hint if kind_of(node) in (Kind.DATE, Kind.INSTANT) else "",
                )
        if op in "+-":
            one, two = self.as_kind(a, kind_of(b), left), self.as_kind(b, kind_of(a), right)
            if one is None or two is None:
                return None
            a, b = one, two
        return self._reckoned(op, a, b, tree, right)

    def _reckoned(self, op: str, a: Scalar, b: Scalar, tree: Parsed, right: Parsed) -> Scalar | None:
        money = (kind_of(a) is Kind.MONEY, kind_of(b) is Kind.MONEY)
        if op == "/" and isinstance(b, Literal_) and b.value == 0:
            return self.error("bad-condition", "this divides by zero", right)
        if (
            (op == "*" and all(money))
            or (op == "/" and money == (False, True))
            or (op in "+-" and any(money) != all(money))
        ):
            words = {"*": "times", "/": "divided by", "+": "plus", "-": "minus"}[op]
            message = f"{KIND_WORDS[kind_of(a)]} {words} {KIND_WORDS[kind_of(b)]} makes no sense"
            return self.error("type-mismatch", message, tree, "money can be added to money and multiplied by a number")
        if self.mixed(a, b, tree):
            return None
        if sum(isinstance(n, Arithmetic) for side in (a, b) for n in walk(side)) >= _MOST_OPERATORS:
            return self.error("bad-condition", f"more than {_MOST_OPERATORS} operators in one sum", tree)
        kind = Kind.NUMBER if (op == "/" and all(money)) or not any(money) else Kind.MONEY
        assert op in ("+", "-", "*", "/")
        return Arithmetic(op, a, b, kind)  # type: ignore[arg-type]

    def mixed(self, a: Scalar, b: Scalar, at: Parsed) -> bool:
        mine, other = _currencies(a), _currencies(b)
        if not (mine and other and mine != other):
            return False
        names = " and ".join(sorted(mine | other))
        self.error("mixed-currency", f"{names} cannot be set against each other", at, "use one currency")
        return True

    def scalar_call(self, tree: Tree[Token], env: Env) -> Scalar | None:
        name, arguments = called(tree)
        word = tree.children[0]
        assert isinstance(word, Token)
        if name == "days_since":
            return self._days_since(tree, arguments, env)
        owner, _, last = name.rpartition(".")
        if last == "points" and owner in ("", env.unit, "account"):
            return self._points(owner, word, tree, arguments, env)
        if name in LOYALTY:
            return self.not_loyal("unknown-function", name, word)
        if name not in _AGGREGATES:
            return self.error("unknown-function", f"there is no `{name}(…)`", word, suggest(name, _FUNCTIONS))
        rows, prop = self.rows(name, tree, arguments, env)
        if rows is None:
            return None
        kind = self._folded(name, rows, prop, tree)
        return Aggregate(name, rows, prop, kind) if kind is not None else None  # type: ignore[arg-type]

    def _points(
        self, owner: str, word: Token, tree: Tree[Token], arguments: list[Tree[Token]], env: Env
    ) -> Scalar | None:
        """`points(365 days)`, of the unit or of its account."""
        if not self.words.loyalty.declared:
            return self.not_loyal("unknown-function", str(word), word)
        if len(arguments) != 1:
            hint = f"write {word}(365 days); {word} alone is the balance"
            return self.error("bad-condition", f"`{word}` takes a window of time", tree, hint)
        window = self._window("event", arguments[0])
        if window is None:
            return None
        theirs = owner == "account" and env.unit == "customer"
        return PointsWithin("account" if theirs else "unit", "account" if theirs else env.unit, window)

    def _days_since(self, tree: Tree[Token], arguments: list[Tree[Token]], env: Env) -> Scalar | None:
        if len(arguments) != 1 or arguments[0].children[1] is not None:
            return self.error(
                "bad-condition", "`days_since` takes one date", tree, "write days_since(last(some_event))"
            )
        given = parsed(arguments[0].children[0])
        since = self.scalar(given, env)
        if since is None:
            return None
        if kind_of(since) not in (Kind.DATE, Kind.INSTANT):
            what = KIND_WORDS[kind_of(since)]
            return self.error("type-mismatch", f"`{self.slice(given)}` is {what}, not a date", given)
        return DaysSince(since)

    def _folded(self, name: str, rows: Rows, prop: Ref | None, at: Parsed) -> Kind | None:
        """The kind of an aggregate's value."""
        if name == "count":
            if prop is None:
                return Kind.NUMBER
            return self.error("bad-condition", f"`count` counts rows, not `{prop.name}`", at, f"write count({rows.of})")
        if name in ("first", "last"):
            if rows.holder == "record":
                return self.error(
                    "bad-condition", f"records have no order, so no {name}", at, "use min or max of a field"
                )
            return prop.kind if prop is not None else Kind.INSTANT
        if prop is None:
            example = f"{name}({rows.of}.amount)"
            return self.error(
                "bad-condition", f"`{name}` needs a property to work on", at, f"write for example {example}"
            )
        able = {Kind.NUMBER, Kind.MONEY} | ({Kind.DATE, Kind.INSTANT} if name in ("min", "max") else set())
        if prop.kind in able:
            return prop.kind
        return self.error("type-mismatch", f"`{prop.name}` is {KIND_WORDS[prop.kind]}: it has no {name}", at)

    # -- rows

    def rows(
        self, name: str, tree: Tree[Token], arguments: list[Tree[Token]], env: Env
    ) -> tuple[Rows | None, Ref | None]:
        """What an aggregate runs over, and the property named behind the dot."""
        nothing: tuple[None, None] = (None, None)
        if not 1 <= len(arguments) <= 2:
            self.error("bad-condition", f"`{name}` takes an event or a record, and a window", tree,
                        f"write for example {name}(some_event, 90 days)")  # fmt: skip
            return nothing
        of, where_tree = halves(arguments[0])
        if not isinstance(of, Token) or of.type != "NAME":
            self.error("bad-condition", f"`{name}` runs over an event or a record", arguments[0], "name one")
            return nothing
        holder, prop = self._rows_name(name, of)
        type_name = str(of).split(".")[0]
        where = None
        if where_tree is not None and holder is not None:
            where = self.truth(where_tree, replace(env, subject=(holder, type_name), nested=True))
        window = self._window(holder, arguments[1]) if len(arguments) == 2 else None
        failed = (where is None and where_tree is not None) or (window is None and len(arguments) == 2)
        if holder is None or failed or (prop is None and "." in str(of)):
            return nothing
        return Rows(holder, type_name, where, window), prop

    def _rows_name(self, name: str, of: Token) -> tuple[Literal["event", "record"] | None, Ref | None]:
        type_name, _, prop_name = str(of).partition(".")
        holder: Literal["event", "record"]
        if type_name in self.words.events:
            holder = "event"
        elif type_name in self.words.records:
            holder = "record"
        else:
            known = [*self.words.events, *self.words.records]
            hint = suggest(type_name, known)
            likely_record = name in ("any", "all") or any(f"`{r}`?" in hint for r in self.words.records)
            what = "record" if likely_record else "event"
            self.error(f"unknown-{what}", f"there is no {what} `{type_name}`", of, hint)
            return None, None
        if not prop_name:
            return holder, None
        fields = self.fields(holder, type_name)
        if prop_name not in fields:
            message = f"{holder} `{type_name}` has no `{prop_name}`"
            self.error("unknown-field", message, of, suggest(str(of), [f"{type_name}.{name}" for name in fields]))
            return holder, None
        return holder, self.ref("subject", holder, type_name, fields[prop_name])

    def _window(self, holder: str | None, argument: Tree[Token]) -> Duration | None:
        given, where = halves(argument)
        if where is not None or not (isinstance(given, Tree) and given.data == "quantity"):
            hint = "the `where` stands before the comma" if where is not None else "write for example `90 days`"
            return self.error("bad-condition", "this is no window of time", argument, hint)
        if holder == "record":
            return self.error(
                "bad-condition",
                "records have no window of time",
                argument,
                "write `where FIELD is within last 90 days`",
            )
        return self.duration(given, given.children[0], given.children[1])

    def duration(self, tree: Parsed, number: object, unit: object) -> Duration | None:
        if str(unit) not in _DURATION_UNITS:
            return self.error(
                "bad-condition",
                f"`{unit}` is no unit of time",
                unit if isinstance(unit, Token) else tree,
                suggest(str(unit), sorted({u.rstrip("s") + "s" for u in _DURATION_UNITS})),
            )
        found = duration_of(f"{number} {unit}") if str(number).isdigit() and int(str(number)) else None
        if found is None:
            hint = "write a whole number from 1, up to a hundred years"
            return self.error("bad-condition", f"`{number} {unit}` is no length of time", tree, hint)
        return found

    # -- literals against the kind they meet

    def pair(self, left: Parsed, right: Parsed, env: Env) -> tuple[Scalar | None, Scalar | None]:
        """Both sides; a bare word that names nothing is a literal of the other side's kind."""
        word = str(left) if isinstance(left, Token) and self._bare(left) else None
        if word is None or self.means_something(word, env):
            a = self.scalar(left, env)
            if a is not None:
                return a, self.literal(right, a, env)
            if self._bare(right) is None:
                self.scalar(right, env)
            return None, None
        other = self._bare(right)
        if other is None or self.means_something(other, env):
            b = self.scalar(right, env)
            if b is not None and word in self.choices(b):
                return Literal_(_YES_NO.get(word, word), kind_of(b)), b
        return self.scalar(left, env), None

    def _bare(self, tree: Parsed) -> str | None:
        """A bare word, dashes allowed (de-AT, e-commerce), as it is written."""
        if isinstance(tree, Token):
            return str(tree) if tree.type == "NAME" and "." not in tree else None
        if tree.data != "arithmetic" or any(not isinstance(t, Token) for t in tree.scan_values(lambda _: True)):
            return None
        written_as = self.slice(tree)
        spotless = not any(c.isspace() or c in "()+*/." for c in written_as)
        return written_as if spotless and not written_as[0].isdigit() else None

    def choices(self, node: Scalar) -> tuple[str, ...]:
        """The words a value may be; () when any text will do."""
        kind = kind_of(node)
        if kind is Kind.TIER:
            return tuple(sorted(self.words.tiers()))
        if kind is Kind.YES_NO:
            return tuple(_YES_NO)
        ref = node.field if isinstance(node, Aggregate) else node
        if kind is Kind.CHOICE and isinstance(ref, Ref):
            if is_class(ref):
                return tuple(self.words.classes)
            found = self.fields(ref.holder, ref.of).get(ref.name)
            return found.choices if found else ()
        return ()

    def literal(self, tree: Parsed, other: Scalar, env: Env) -> Scalar | None:
        """What stands against `other`: a bare word is a literal of its kind, anything else what it is."""
        word = self._bare(tree)
        kind, choices = kind_of(other), self.choices(other)
        if word is not None:
            if kind is Kind.YES_NO and word in _YES_NO:
                return Literal_(_YES_NO[word], Kind.YES_NO)
            if word in choices:
                return Literal_(word, kind)
            if "-" not in word and self.means_something(word, env):
                return self.scalar(tree, env)
            if kind in (Kind.TEXT, Kind.KEY) or (kind is Kind.CHOICE and not choices):
                return self._text(word, other, tree)
            if choices:
                return self._not_chosen(word, other, choices, tree)
        found = self.scalar(tree, env)
        return self.as_kind(found, kind, tree, other) if found is not None else None

    def _not_chosen(self, word: str, other: Scalar, choices: tuple[str, ...], at: Parsed) -> None:
        kind = kind_of(other)
        if kind is Kind.TIER:
            return self.error("unknown-tier", f"no class has a tier `{word}`", at, suggest(word, choices))
        if kind is Kind.YES_NO:
            return self.error("type-mismatch", f"`{word}` is neither yes nor no", at, "write `yes` or `no`")
        ref = other.field if isinstance(other, Aggregate) else other
        if isinstance(ref, Ref) and is_class(ref):
            return self.error("unknown-class", f"there is no class `{word}`", at, suggest(word, choices))
        name = ref.name if isinstance(ref, Ref) else "it"
        hint = suggest(word, choices)
        asked = self.words.surveys.get(word) if name == "survey" else None
        if asked is not None and asked.anonymous:
            hint = "it is anonymous, and no event tells of an answer; what is given for it, give everybody who is asked"
        return self.error("unknown-choice", f"`{name}` is never `{word}`", at, hint)

    def _text(self, value: str, other: Scalar, at: Parsed) -> Scalar | None:
        is_country = isinstance(other, Ref) and other.column == "country"
        if is_country and not (len(value) == 2 and value.isascii() and value.isalpha() and value.isupper()):
            hint = (
                f"did you mean `{value.upper()}`?" if len(value) == 2 else "a country is two capital letters, as in DE"
            )
            return self.error("unknown-choice", f"`{value}` is no country code", at, hint)
        return Literal_(value, kind_of(other) if kind_of(other) in TEXTS else Kind.TEXT)

    def as_kind(self, node: Scalar, kind: Kind, at: Parsed, other: Scalar | None = None) -> Scalar | None:
        """A literal as another kind where a marketer would read it so, else the node itself; None with a problem."""
        if isinstance(node, Literal_) and node.kind is Kind.NUMBER and kind is Kind.MONEY:
            return self._money(Decimal(repr(node.value)), self.words.currency, at)
        if not (isinstance(node, Literal_) and node.kind is Kind.TEXT):
            return node
        word = str(node.value)
        if kind in (Kind.DATE, Kind.INSTANT):
            return self._day(word, at)
        if other is None:
            return Literal_(word, kind) if kind in TEXTS else node
        choices = self.choices(other)
        if choices and kind in (Kind.TIER, Kind.CHOICE):
            return Literal_(word, kind) if word in choices else self._not_chosen(word, other, choices, at)
        return self._text(word, other, at) if kind in TEXTS else node


# ---- small parts ----------------------------------------------------------------------------------------------------


def parsed(child: object) -> Parsed:
    assert isinstance(child, (Tree, Token))
    return child


def child(tree: Tree[Token]) -> Parsed:
    return parsed(tree.children[0])


def called(tree: Tree[Token]) -> tuple[str, list[Tree[Token]]]:
    return str(tree.children[0]), [c for c in tree.children[1:] if isinstance(c, Tree)]


def halves(argument: Tree[Token]) -> tuple[Parsed | None, Parsed | None]:
    """What an argument names, and its `where`."""
    given, where = cast("list[Parsed | None]", argument.children)
    return given, where


def unquoted(token: Token) -> str:
    return str(token)[1:-1] if token.type == "STRING" else str(token)


def is_class(ref: Ref) -> bool:
    return ref.column == "class" and ref.holder in ("customer", "account")


def _currencies(node: Scalar) -> frozenset[str]:
    """The currencies written in a sum of money; a quotient of money has none."""
    if isinstance(node, Amount):
        return frozenset({node.currency})
    if isinstance(node, Arithmetic) and node.kind is Kind.MONEY:
        return _currencies(node.left) | _currencies(node.right)
    if isinstance(node, Negative):
        return _currencies(node.of)
    return frozenset()


def _is_currency(code: str) -> bool:
    from babel.numbers import is_currency  # late: it takes a moment, and few conditions name one

    return is_currency(code)
