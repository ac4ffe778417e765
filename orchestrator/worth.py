"""`program.value` of workspace.yaml: how customers and accounts are ranked by what they are worth, as it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from orchestrator.earning import property_named
from orchestrator.model import Kind
from orchestrator.problems import Problems, suggest
from orchestrator.program import Value
from orchestrator.reading import Context, EventName, Share, described, option, read, unknown
from orchestrator.source import Node
from orchestrator.words import Duration

_RANKED: Final = ("top", "big", "medium", "small")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractsEntry:
    """Contracts, where there is more to say than their value and end."""

    value: str = option("the money field of its whole term, such as `contract.value`")
    ends: str = option("when it ends, such as `contract.ends`")
    begins: str = option("when it begins; without it, a `term` before its end", default="")
    renews: str = option("the yes_no that it goes on by itself", default="")
    renewed: EventName | None = option("the event that one was renewed", default=None)
    cancelled: EventName | None = option("the event that one was cancelled", default=None)
    term: Duration = option("how long one is", default=Duration(months=12))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpportunitiesEntry:
    """What open opportunities add."""

    value: str = option("the money field, such as `opportunity.amount`")
    stage: str = option("the field with its stage, such as `opportunity.stage`")
    stages: Mapping[str, Share] = option("how likely each stage ends well: `{ open: 20% }`")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEntry:
    """The events that tell of trainings."""

    began: EventName = option("somebody began one")
    completed: EventName = option("somebody completed one")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueEntry:
    """How customers and accounts are ranked by what they are worth."""

    orders: str = option("the money property of a purchase, such as `order_placed.amount`", default="")
    contracts: str | ContractsEntry | None = option(
        "such as `contract.value until contract.ends`, or a map", default=None
    )
    opportunities: OpportunitiesEntry | None = option("what open opportunities add", default=None)
    inactive_after: Duration | None = option(
        "without a purchase or contract that long; without it, a year", default=None
    )
    bands: Mapping[str, Share] = option("top, big, medium and small: their shares, together 100%", factory=dict)
    margin: Share = option("what is left of revenue", default=1.0)
    horizon: Duration = option("how far the expected value looks", default=Duration(months=12))
    training: TrainingEntry | None = option("for the measure of completed trainings", default=None)


# ---- as it is read ---------------------------------------------------------------------------------------------------


def read_value_of(node: Node, context: Context) -> Value | None:
    """How units are ranked; None, and told, where something in it is wrong."""
    told = len(context.problems.errors)
    said = read(ValueEntry, node, context)
    if said is None:
        return None
    event, _, of = said.orders.strip().partition(".")
    orders = node.get("orders")
    if orders is not None:
        begins = len(orders.text) - len(orders.text.lstrip())
        property_named(orders, begins, orders.text.strip(), context, frozenset({Kind.MONEY}))
    found = Value(
        event,
        of,
        inactive_after=said.inactive_after,
        horizon_days=_days(said.horizon),
        margin=_exactly(node.get("margin")),
        training=(said.training.began, said.training.completed) if said.training is not None else ("", ""),
    )
    found = _contracts(found, node.get("contracts"), said.contracts, context)
    found = _opportunities(found, node.get("opportunities"), said.opportunities, context)
    bands = _bands(node.get("bands"), said.bands, context.problems)
    if len(context.problems.errors) > told:
        return None
    return replace(found, bands=bands) if bands else found


def _exactly(node: Node | None) -> Decimal:
    return Decimal(node.text.replace("%", "").strip()) / 100 if node is not None else Decimal(1)


def _days(span: Duration) -> int:
    """A year as 365 days."""
    return span.days + round(span.months * 365.25 / 12)


def _bands(node: Node | None, said: Mapping[str, float], problems: Problems) -> dict[str, float]:
    if node is None:
        return {}
    for entry in node.entries:
        if entry.key not in _RANKED:
            unknown(problems, "band", entry.key, entry.key_span, _RANKED)
    if all(name in _RANKED for name in said) and abs(sum(said.values()) - 1) > 1e-9:
        message = f"the bands are {sum(said.values()):.4%} of all together".replace(".0000%", "%")
        problems.error("bad-program", message, node.span, "make them 100%; who is inactive is in none of them")
    return {name: said[name] for name in _RANKED if name in said}


def _record_field(node: Node, begins: int, name: str, kinds: frozenset[Kind], context: Context) -> tuple[str, str]:
    """`contract.value` as record and field; told where it is none of these kinds, and then both are ""."""
    record, _, prop = name.partition(".")
    at = node.at(begins, len(name))
    declared = context.vocabulary.records.get(record)
    if declared is None:
        unknown(context.problems, "record", record, at, context.vocabulary.records, " in workspace.yaml")
    elif prop not in declared.fields or declared.fields[prop].kind not in kinds:
        wanted = " or ".join(sorted(k.value for k in kinds))
        fit = [f"{record}.{f.name}" for f in declared.fields.values() if f.kind in kinds]
        message = f"`{record}` has no {wanted} `{prop}`"
        context.problems.error("unknown-property", message, at, suggest(name, fit) or f"declare it as {wanted}")
    else:
        return record, prop
    return "", ""


def _one_record(record: str, other: str, node: Node, problems: Problems) -> None:
    if record and other and record != other:
        message = f"`{record}` and `{other}` are two records"
        problems.error("bad-program", message, node.span, "name fields of one record")


def _contracts(found: Value, node: Node | None, said: str | ContractsEntry | None, context: Context) -> Value:
    money, day = frozenset({Kind.MONEY}), frozenset({Kind.DATE})
    if node is None or said is None:
        return found
    if isinstance(said, str):
        match = re.fullmatch(r"\s*(\w+\.\w+)\s+until\s+(\w+\.\w+)\s*", node.text)
        if match is None:
            message = f"{described(node)} does not say what a contract is worth until when"
            hint = "such as `contract.value until contract.ends`"
            context.problems.error("bad-program", message, node.span, hint)
            return found
        record, value = _record_field(node, match.start(1), match[1], money, context)
        other, ends = _record_field(node, match.start(2), match[2], day, context)
        _one_record(record, other, node, context.problems)
        return replace(found, contract=record, contract_value=value, contract_ends=ends)
    named = {"value": money, "ends": day, "begins": day, "renews": frozenset({Kind.YES_NO})}
    fields: dict[str, str] = dict.fromkeys(named, "")
    record = ""
    for key, kinds in named.items():
        of = node.get(key)
        if of is not None:
            other, fields[key] = _record_field(of, 0, of.text, kinds, context)
            _one_record(record or other, other, of, context.problems)
            record = record or other
    return replace(
        found,
        contract=record,
        contract_value=fields["value"],
        contract_ends=fields["ends"],
        contract_begins=fields["begins"],
        contract_renews=fields["renews"],
        renewed=said.renewed or "",
        cancelled=said.cancelled or "",
        term_days=_days(said.term),
    )


def _opportunities(found: Value, node: Node | None, said: OpportunitiesEntry | None, context: Context) -> Value:
    value, stage = (node.get("value"), node.get("stage")) if node is not None else (None, None)
    if said is None or node is None or value is None or stage is None:
        return found
    record, of = _record_field(value, 0, value.text, frozenset({Kind.MONEY}), context)
    words_of = frozenset({Kind.CHOICE, Kind.TEXT})
    other, at = _record_field(stage, 0, stage.text, words_of, context)
    _one_record(record, other, stage, context.problems)
    declared = context.vocabulary.records.get(other)
    stages = node.get("stages")
    choices = declared.fields[at].choices if declared is not None and at in declared.fields else ()
    for entry in stages.entries if stages is not None else ():
        if choices and entry.key not in choices:
            unknown(context.problems, "choice", entry.key, entry.key_span, choices)
    return replace(found, opportunity=record, opportunity_value=of, opportunity_stage=at, stages=dict(said.stages))
