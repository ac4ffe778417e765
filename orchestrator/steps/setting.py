"""Names with values, as `update` and `emit` write them: a value as it stands, or `= EXPRESSION`. Holds no step kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator import words
from orchestrator.condition import Expression, parse_expression
from orchestrator.model import Field, Kind, minor_digits
from orchestrator.problems import Problems, Span, suggest
from orchestrator.reading import Context, described, place
from orchestrator.source import Node
from orchestrator.steps import Here, Value
from orchestrator.zones import instant, zone

_LIKE: Mapping[Kind, frozenset[Kind]] = {
    Kind.TEXT: frozenset({Kind.TEXT, Kind.CHOICE, Kind.KEY, Kind.TIER}),
    Kind.KEY: frozenset({Kind.TEXT, Kind.KEY}),
    Kind.CHOICE: frozenset({Kind.TEXT, Kind.CHOICE}),
}
_WRITTEN: Mapping[Kind, str] = {
    Kind.TEXT: "text",
    Kind.KEY: "text",
    Kind.NUMBER: "a number",
    Kind.YES_NO: "`true` or `false`",
    Kind.DATE: "a date such as `2027-08-31`",
    Kind.INSTANT: "a time such as `2027-03-01 09:00 Europe/Berlin`",
    Kind.MONEY: "an amount such as `500 EUR`",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One name and what it becomes: `value`, as stored in JSON, or what `expression` comes to."""

    name: str
    value: Value = None
    expression: Expression | None = None


def read_settings(
    values: Mapping[str, Node], fields: Mapping[str, Field], of: str, noun: str, context: Context
) -> tuple[Setting, ...]:
    """Checks each value against its field's kind. `of` and `noun` are for messages: "the customer", "attribute"."""
    found: list[Setting] = []
    for name, node in values.items():
        field = fields.get(name)
        if field is None:
            hint = suggest(name, fields) or f"declare it in workspace.yaml; there is no {noun} yet"
            at = node.key_span or node.span
            context.problems.error(f"unknown-{noun}", f"{of} has no {noun} `{name}`", at, hint)
        elif node.kind == "scalar" and node.text.startswith("=") and node.style != "literal":
            found += _worked_out(field, node, context)
        else:
            found += _literal(field, node, context)
    return tuple(found)


def settled(settings: Iterable[Setting], here: Here) -> dict[str, Value]:
    """What to write, as JSON holds it."""
    return {s.name: s.value if s.expression is None else _stored(here.value(s.expression)) for s in settings}


def _stored(value: Value) -> Value:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value


def _worked_out(field: Field, node: Node, context: Context) -> list[Setting]:
    begins = len(node.text) - len(node.text[1:].lstrip())
    if field.kind is Kind.MONEY:
        hint = "write an amount such as `500 EUR`"
        context.problems.error("money-expression", "an amount of money cannot be worked out here", node.span, hint)
        return []

    def parser(text: str, span: Span, context: Context, problems: Problems) -> Expression | None:
        expect = _LIKE.get(field.kind, frozenset({field.kind}))
        return parse_expression(text, span, context.scope, context.vocabulary, problems, expect)

    expression = place(node, begins, node.text[begins:].rstrip(), context, parser)
    return [] if expression is None else [Setting(field.name, expression=expression)]


def _literal(field: Field, node: Node, context: Context) -> list[Setting]:
    if (
        node.kind == "scalar"
        and field.kind is Kind.MONEY
        and (money := words.money(node.text, minor_digits)) is not None
    ):
        return [Setting(field.name, money.minor), Setting(f"{field.name}_currency", money.currency)]
    value = _value(field, node) if node.kind == "scalar" else None
    if value is not None:
        return [Setting(field.name, value)]
    if field.kind is Kind.CHOICE:
        hint = suggest(node.text, field.choices)
        message = f"{described(node)} is none of the choices of `{field.name}`"
    else:
        hint = 'an expression begins with an equals sign, such as `"= event.store"`'
        message = f"`{field.name}` takes {_WRITTEN.get(field.kind, 'a value')}, got {described(node)}"
    context.problems.error("wrong-value", message, node.span, hint)
    return []


def _value(field: Field, node: Node) -> Value:
    """The literal as JSON holds it; None when it does not fit."""
    plain = node.value
    match field.kind:
        case Kind.NUMBER:
            return plain if isinstance(plain, (int, float)) and not isinstance(plain, bool) else None
        case Kind.YES_NO:
            return plain if isinstance(plain, bool) else None
        case Kind.DATE:
            day = words.day(node.text)
            return day.isoformat() if day else None
        case Kind.INSTANT:
            stamp = words.stamp(node.text)
            tz = zone(stamp.zone) if stamp else None
            return _stored(instant(stamp.wall.date(), stamp.wall.time(), tz)) if stamp and tz else None
        case Kind.CHOICE:
            return node.text if node.text in field.choices else None
        case Kind.TEXT | Kind.KEY:
            return node.text if plain is not None and not isinstance(plain, bool) else None
        case _:
            return None
