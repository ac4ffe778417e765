"""The Jinja that texts are written in: what is missing, the filters, the sandbox and its bounds, the names used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, optimizeconst
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, pass_context
from jinja2.visitor import NodeTransformer
from markupsafe import escape

from orchestrator.model import SCORES, Score, minor_digits
from orchestrator.zones import zone

LOOPS = 10_000  # rounds of all loops of one message together
LONG = 200_000  # characters of one intermediate value
OUTPUT_TOO_LONG = "output too long"
WIDE = 100  # of range(), batch() and the like: what a person would write, not what fills a machine

TEXT_METHODS = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "isalpha", "isdigit", "islower", "isupper", "lower",
    "lstrip", "partition", "removeprefix", "removesuffix", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "upper",
})  # fmt: skip
DICT_METHODS = frozenset(["get", "items", "keys", "values"])
_SINGLE = (str, int, float, Decimal, date, Undefined)
_FILTERS = frozenset({
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "int",
    "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select",
    "selectattr", "sort", "string", "striptags", "sum", "title", "trim", "truncate", "unique", "upper",
    "urlencode", "wordcount",
})  # fmt: skip


class MissingValue(TemplateRuntimeError):
    """A recipient has no value for a name the text prints. `name` is dotted, as the author wrote it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Missing(Undefined):
    """What stands for None and for an absent member: false in a condition, no answer when printed or used."""

    __slots__ = ()

    def __init__(self, hint: str | None = None, obj: Any = missing, name: Any = None, exc: Any = None) -> None:
        if isinstance(obj, Missing):
            name = f"{obj._undefined_name}.{name}"
        super().__init__(hint, obj, name, exc if exc is SecurityError else MissingValue)

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name) if self._undefined_exception is MissingValue else "not allowed"

    def _gone(self) -> Exception:
        return self._undefined_exception(self._undefined_message)

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Undefined)

    def __hash__(self) -> int:
        return hash(None)

    def __str__(self) -> str:
        raise self._gone()

    def __len__(self) -> int:
        raise self._gone()

    def __iter__(self) -> Iterator[Any]:
        raise self._gone()

    def __contains__(self, item: object) -> bool:
        raise self._gone()


class Blank(Missing):
    """Missing, for templates that say `missing_variable: default`: prints as nothing."""

    __slots__ = ()

    def __str__(self) -> str:
        return ""

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __contains__(self, item: object) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


class Scope(Context):
    """One message's names, with its budget of loop rounds and the locale its numbers and dates are written in."""

    locale = ""
    rounds = LOOPS

    def resolve_or_missing(self, key: str) -> Any:
        value = self.vars[key] if key in self.vars else self.parent.get(key, missing)
        return self.environment.undefined(name=key) if value is None else value


# ------------------------------------------------------------------------------------------------------- filters


def babel_locale(locale: str) -> str | None:
    """The locale as babel writes it, None when it has no data for it."""
    try:
        return str(Locale.parse(locale, sep="-"))
    except (UnknownLocaleError, ValueError, TypeError):
        return None


@lru_cache(maxsize=512)
def _grouped(locale: str, currency: str) -> Callable[[int], str]:
    """Writes an integer of 1/10**places as babel does, without parsing a pattern each time: a tenth of the cost."""

    places = minor_digits(currency) if currency else 0

    def slow(minor: int) -> str:
        value = Decimal(minor).scaleb(-places)
        return format_currency(value, currency, locale=locale) if currency else format_decimal(value, locale=locale)

    fraction = "89"[:places].ljust(places, "0")
    decimals = rf"(\D){fraction}" if places else ""
    shape = re.compile(rf"(\D*)1(\D?)234(\D?)567{decimals}(\D*)")
    plus, minus = (shape.fullmatch(slow(sign * int("1234567" + fraction))) for sign in (1, -1))
    if plus is None or minus is None or plus[2] != plus[3]:
        return slow
    separator, point = plus[2], plus[4] if places else ""
    scale, least = 10**places, 1000 if separator and separator in slow(1234 * 10**places) else 10000
    edges = {False: (plus[1], plus[plus.lastindex or 1]), True: (minus[1], minus[minus.lastindex or 1])}

    def fast(minor: int) -> str:
        whole, rest = divmod(abs(minor), scale)
        head, tail = edges[minor < 0]
        digits = f"{whole:,}".replace(",", separator) if whole >= least else str(whole)
        return f"{head}{digits}{point}{rest:0{places}d}{tail}" if places else f"{head}{digits}{tail}"

    return fast


@pass_context
def money(context: Scope, value: Any, currency: Any = None) -> Any:
    """Minor units as an amount, "1.234,50 €"; without a currency the value's own, else the workspace's."""
    if isinstance(value, Undefined):
        return value
    if isinstance(value, Score):
        value, currency = value.minor, value.currency
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("money takes whole minor units")
    sandbox: Sandbox = context.environment  # type: ignore[assignment]
    code = currency if isinstance(currency, str) and currency else sandbox.currency
    return _grouped(context.locale or sandbox.locale, code)(value)


@pass_context
def _score(context: Scope, value: Any, currency: Any = None) -> Any:
    """`money` of a score: an amount where the class scores in money, a number where it does not."""
    written = isinstance(value, Undefined | Score) or (isinstance(currency, str) and currency)
    return money(context, value, currency) if written else number(context, value)


@pass_context
def number(context: Scope, value: Any, digits: int | None = None) -> Any:
    """A number by the reader's locale, "1.234,5"; `digits` fixes the decimals."""
    if isinstance(value, Undefined):
        return value
    sandbox: Sandbox = context.environment  # type: ignore[assignment]
    locale = context.locale or sandbox.locale
    if isinstance(value, int) and digits is None:
        return _grouped(locale, "")(value)
    if not isinstance(value, int | float | Decimal):
        raise TypeError("number takes a number")
    pattern = None if digits is None else "#,##0" + ("." + "0" * min(int(digits), 10) if digits else "")
    return format_decimal(value, format=pattern, locale=locale)


@lru_cache(maxsize=8192)
def _written(day: date, format: str, locale: str) -> str:
    return format_date(day, format=format, locale=locale)


@pass_context
def day(context: Scope, value: Any, format: str = "long") -> Any:
    """A date by the reader's locale. Takes a date, an instant (its day in the reader's zone) or ISO text of either.

    `format` is short, medium, long, full, or a CLDR pattern such as "EEEE, d. MMMM".
    """
    if isinstance(value, Undefined):
        return value
    if isinstance(value, str):
        value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    sandbox: Sandbox = context.environment  # type: ignore[assignment]
    if isinstance(value, datetime):
        customer = context.parent.get("customer")
        named = customer.get("timezone") if isinstance(customer, Mapping) else None
        at = (zone(named) if isinstance(named, str) else None) or zone(sandbox.timezone)
        value = value.astimezone(at).date() if value.tzinfo else value.date()
    if not isinstance(value, date):
        raise TypeError("date takes a date")
    return _written(value, format, context.locale or sandbox.locale)


def default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    """Jinja's, for None as well."""
    return default_value if value is None or isinstance(value, Undefined) or (boolean and not value) else value


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SCHEMES = frozenset(["http:", "https:", "mailto:", "tel:", "sms:", "cid:"])
_SKIPPED = re.compile("[\x00-\x20\x7f-\x9f]")  # browsers leave these out of a scheme's name


def address(value: Any) -> Any:
    """A value that begins a link or an image's address: escaping does not make `javascript:…` a harmless one."""
    scheme = _SCHEME.match(_SKIPPED.sub("", value)) if isinstance(value, str) else None
    if scheme is not None and scheme[0].lower() not in _SCHEMES:
        raise ValueError("an address of a kind that is not allowed")
    return value


def _sized(value: Any) -> Any:
    if isinstance(value, str | list | tuple | dict) and len(value) > LONG:
        raise OverflowError("value too long")
    return value


@pass_context
def _bounded(context: Scope, values: Any) -> Any:
    """The sequence of a loop, its rounds taken off the message's budget at once."""
    if isinstance(values, Undefined):
        values = iter(values)
    if not isinstance(values, list | tuple | dict | str | range):
        values = list(islice(values, context.rounds + 1))
    context.rounds -= len(values)
    if context.rounds < 0:
        raise OverflowError("too many rounds")
    return values


def _checked(name: str, limits: Callable[..., bool]) -> Callable[..., Any]:
    """Jinja's filter of that name, refusing arguments for which `limits` is false."""
    inner: Callable[..., Any] = FILTERS[name]

    def call(*args: Any, **kwargs: Any) -> Any:
        given = args[1:] if hasattr(inner, "jinja_pass_arg") else args
        if not limits(*given, **kwargs):
            raise OverflowError("argument too large")
        return _sized(inner(*args, **kwargs))

    if hasattr(inner, "jinja_pass_arg"):
        call.jinja_pass_arg = inner.jinja_pass_arg  # type: ignore[attr-defined]
    return call


def _sandbox_filters() -> dict[str, Callable[..., Any]]:
    table = {name: FILTERS[name] for name in _FILTERS}
    table |= {"money": money, "number": number, "date": day, "default": default, "d": default}
    table |= {"_bounded": _bounded, "_sized": _sized, "_address": address, "_score": _score}
    table["join"] = _checked("join", lambda value, d="", attribute=None: len(str(d)) <= WIDE)
    table["batch"] = _checked("batch", lambda value, linecount, fill_with=None: linecount <= WIDE)
    table["round"] = _checked("round", lambda value, precision=0, method="common": abs(precision) <= 10)
    table["replace"] = _checked("replace", lambda s, old, new, count=None: len(str(new)) <= WIDE)
    return table


def _range(*args: int) -> range:
    found = range(*args)
    if len(found) > 10 * WIDE:
        raise OverflowError("range too long")
    return found


# ------------------------------------------------------------------------------------------------------- sandbox


def _concat(pieces: Iterable[str]) -> str:
    """Jinja's own join, refusing before it is made what no part may be as long as."""
    pieces = list(pieces)
    if sum(map(len, pieces)) > 4 * LONG:
        raise OverflowError(OUTPUT_TOO_LONG)
    return "".join(pieces)


class _Slots(CodeGenerator):
    """Writes two expression statements as the beginning and the end of a slot, whose output is yielded as one text:
    with the `do` extension off no author can write such a statement.

    Members and outputs go through two short functions instead of Jinja's general ones, at half the cost.
    """

    def visit_ExprStmt(self, node: nodes.ExprStmt, frame: Frame) -> None:
        if frame.buffer is None:
            self.buffer(frame)
        else:
            self.writeline(f"yield concat({frame.buffer})", node)
            frame.buffer = None

    @optimizeconst
    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:
        self.write("environment.member(")
        self.visit(node.node, frame)
        self.write(f", {node.attr!r})")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile:
            super()._output_child_pre(node, frame, finalize)
        else:
            self.write("environment.escaped(" if frame.eval_ctx.autoescape else "environment.plain(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile:
            super()._output_child_post(node, frame, finalize)
        else:
            self.write(")")


def _shortcuts(sandbox: Sandbox) -> tuple[Callable[[Any, str], Any], Callable[[Any], str], Callable[[Any], str]]:
    """`getattr`, and what an output prints, escaped and plain, for what values mostly are; the general way else."""
    special = re.compile("[&<>\"']").search

    def member(obj: Any, attribute: str) -> Any:
        if type(obj) is dict:
            value = obj.get(attribute)
            if value is not None:
                return value
        return sandbox.getattr(obj, attribute)

    def escaped(value: Any) -> str:
        if type(value) is str and not special(value):
            return value
        return str(value) if type(value) is int else str(escape(sandbox.printed(value)))

    def plain(value: Any) -> str:
        return value if type(value) is str else str(sandbox.printed(value))

    return member, escaped, plain


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja for texts: plain values in, bounded work, nothing printed that is missing.

    `constants` are names that are the same for every message and are folded, `workspace` above all.
    """

    code_generator_class = _Slots
    context_class = Scope
    intercepted_binops = frozenset(["+", "*", "**", "%"])
    concat = staticmethod(_concat)

    def __init__(
        self,
        constants: Mapping[str, Any],
        *,
        locale: str = "en",
        currency: str = "EUR",
        timezone: str = "UTC",
        autoescape: bool = False,
        blank: bool = False,
    ) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=Blank if blank else Missing,
            autoescape=autoescape,
            finalize=self.printed,
            cache_size=0,
        )
        self.member, self.escaped, self.plain = _shortcuts(self)
        self.constants = constants
        self.locale = babel_locale(locale) or "en"
        self.currency = currency
        self.timezone = timezone
        self.filters = _sandbox_filters()
        self.globals = {"range": _range}
        self.tests["none"] = lambda value: value is None or isinstance(value, Undefined)

    def printed(self, value: Any) -> Any:
        """What an output prints: None counts as missing; a record, a list, a function is a mistake."""
        if isinstance(value, _SINGLE):
            return value
        if value is None:
            return self.undefined(name="a value")
        raise TypeError("not a single value")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        return _Rewriter(self.constants, stored_names(tree)).visit(tree)  # type: ignore[no-any-return]

    def getattr(self, obj: Any, attribute: str) -> Any:
        # A dict's members come first: `order.items` is the order's, and a miss would cost a raised AttributeError.
        if type(obj) is dict:
            value = obj.get(attribute, missing)
            if value is None:
                return self.undefined(obj=obj, name=attribute)
            if value is not missing:
                return value
        elif isinstance(obj, Missing):
            return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Missing):
            return self.undefined(obj=obj, name="[…]")
        value = super().getitem(obj, argument)
        if value is None or (isinstance(value, Missing) and value._undefined_exception is MissingValue):
            return self.undefined(name="[…]")  # what stands in brackets may be a customer's
        return value

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # Allowed by name: padding, formatting and encoding methods write more than an output cap can stop.
        if isinstance(obj, str):
            return attr in TEXT_METHODS
        if isinstance(obj, dict):
            return attr in DICT_METHODS
        return isinstance(obj, LoopContext) and not attr.startswith("_")

    def wrap_str_format(self, value: Any) -> Any:
        return None  # is_safe_attribute refuses format() altogether

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise SecurityError("text % value")
        if operator == "*" and not (_is_number(left) and _is_number(right)):
            raise SecurityError("text * number")
        if operator == "**" and not (_is_number(left) and _is_number(right) and abs(left) < 1e6 and abs(right) <= 16):
            raise OverflowError("power too large")
        value = self.binop_table[operator](left, right)
        if isinstance(value, int) and value.bit_length() > 256:
            raise OverflowError("number too large")
        return _sized(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal | Undefined)


def dotted(node: nodes.Node) -> str | None:
    """`a.b.c` for an attribute chain on a name, None for anything else."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        base, last = dotted(node.node), node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        base, last = dotted(node.node), node.arg.value
    else:
        return None
    return f"{base}.{last}" if base else None


SURVEY = "links.survey"


def survey_named(call: nodes.Call) -> str | None:
    """The survey that `links.survey("nps")` names; None when it does not name one plainly."""
    only = call.args[0] if len(call.args) == 1 else None
    if not isinstance(only, nodes.Const) or not isinstance(only.value, str) or not re.fullmatch(r"[\w-]+", only.value):
        return None
    return None if call.kwargs or call.dyn_args or call.dyn_kwargs else only.value


def stored_names(tree: nodes.Node) -> frozenset[str]:
    """Names the text itself gives a value: loop targets, `set`, `with`."""
    return frozenset(n.name for n in tree.find_all(nodes.Name) if n.ctx in ("store", "param"))


def used_names(tree: nodes.Node) -> list[tuple[str, int, bool]]:
    """Every maximal dotted name the text reads, with its line and whether it is called; local names left out."""
    local = stored_names(tree) | {"loop"}
    found: list[tuple[str, int, bool]] = []

    def walk(node: nodes.Node, called: bool) -> None:
        path = dotted(node)
        if path is None:
            for child in node.iter_child_nodes():
                walk(child, isinstance(node, nodes.Call) and child is node.node)
        elif path.partition(".")[0] not in local and (not isinstance(node, nodes.Name) or node.ctx == "load"):
            found.append((path, node.lineno, called))

    walk(tree, False)
    return found


def value_names(tree: nodes.Node) -> frozenset[str]:
    """The dotted names of the values a text reads, without methods called on them."""
    methods = TEXT_METHODS | DICT_METHODS
    return frozenset(
        path.rpartition(".")[0] if called and path.rpartition(".")[2] in methods else path
        for path, _, called in used_names(tree)
    ) - {"range"}


class _Rewriter(NodeTransformer):
    """Puts in what authors need not write: constants, a money value's own currency, the bounds of loops."""

    def __init__(self, constants: Mapping[str, Any], local: frozenset[str]) -> None:
        self.constants = {name: value for name, value in constants.items() if name not in local}

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        value: Any = self.constants
        for name in (dotted(node) or "").split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str | int | float):
            return nodes.Const(value, lineno=node.lineno, environment=node.environment)
        return self.generic_visit(node)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        name = survey_named(node) if dotted(node.node) == SURVEY else None
        if name is None:
            return self.generic_visit(node)
        # Nothing is called: a link is the message's own address of surveys, and the survey's name behind it.
        behind = nodes.Const(f"/{name}", lineno=node.lineno, environment=node.environment)
        return nodes.Concat([node.node, behind], lineno=node.lineno, environment=node.environment)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        source = node.node
        if node.name == "money" and not node.args and not node.kwargs and isinstance(source, nodes.Getattr):
            own = nodes.Getattr(source.node, source.attr + "_currency", "load", lineno=node.lineno)
            own.environment = node.environment
            node.args = [own]
            if dotted(source) in SCORES:
                node.name = "_score"
        return self.generic_visit(node)

    def _wrap(self, node: nodes.Node, name: str) -> nodes.Expr:
        assert isinstance(node, nodes.Expr)
        return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = self._wrap(node.iter, "_bounded")
        return node

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:
        self.generic_visit(node)
        node.node = self._wrap(node.node, "_sized")
        return node

    def visit_With(self, node: nodes.With) -> nodes.Node:
        self.generic_visit(node)
        node.values = [self._wrap(value, "_sized") for value in node.values]
        return node
