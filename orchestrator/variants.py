"""What texts have in common, as declared in workspace.yaml: by which choice they have variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.model import Field, Kind
from orchestrator.problems import Problems, suggest
from orchestrator.reading import option
from orchestrator.source import Node

MISTAKEN = "?"
"""A choice is named, and there is none: told, and nothing that hangs on it is told, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatesEntry:
    """What texts have in common."""

    variant_by: str = option(
        "a choice of the account or the customer, such as account.industry: `NAME@health.mjml` is the text for health",
        default="",
    )


def read_variant_by(node: Node | None, units: Mapping[str, Mapping[str, Field]], problems: Problems) -> str:
    """The choice that texts have variants by, as texts name it: `account.industry`; "" where they have none; MISTAKEN.

    `units`: the fields of customers and accounts.
    """
    said = node.get("variant_by") if node is not None and node.kind == "map" else None
    if said is None or said.kind != "scalar" or said.empty:
        return ""
    unit, _, name = said.text.partition(".")
    found = units.get(unit, {}).get(name)
    if found is None or found.kind is not Kind.CHOICE:
        choices = [f"{u}.{n}" for u, fields in units.items() for n, f in fields.items() if f.kind is Kind.CHOICE]
        near = suggest(said.text, choices)
        hint = near if near.startswith("did") else "name an attribute with `one_of`, such as `account.industry`"
        problems.error("bad-variant", f"`{said.text}` is no choice of a customer or an account", said.span, hint)
        return MISTAKEN
    return said.text
