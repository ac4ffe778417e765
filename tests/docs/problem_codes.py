"""Every code a problem can have: collected from the source by its calls, never listed by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import orchestrator
from orchestrator import template
from orchestrator.shapes import DECLARED

SOURCE = Path(orchestrator.__file__).parent
_TELLING = frozenset({"error", "warning", "Problem", "tell", "_tell", "_at", "_refuse"})
"""Functions that take a code first, or second behind the problems."""


@cache
def codes() -> frozenset[str]:
    """All of them."""
    found = set(_built())
    for path in sorted(SOURCE.rglob("*.py")):
        if "cli" in path.relative_to(SOURCE).parts:
            continue  # tells problems, finds none
        for call in _calls(path):
            found |= {code for code in _texts(call.args[0]) if "-" in code or code.isalpha()}
    return frozenset(found)


def formatted() -> dict[str, list[str]]:
    """Codes that are put together in an f-string, as `unknown-{}`: in which files."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for call in _calls(path):
            for part in ast.walk(call.args[0]):
                if isinstance(part, ast.JoinedStr):
                    shape = "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in part.values)
                    found.setdefault(shape, []).append(path.name)
    return found


def _built() -> Iterator[str]:
    """What the f-strings come to."""
    nouns = {declared.noun for declared in DECLARED.values()} | {"record", "event"}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.Call):
                continue
            name, literals = _name(node), [a.value for a in node.args if isinstance(a, ast.Constant)]
            # Names of events and records in conditions, and what a setting's values belong to.
            if name == "unknown":
                nouns |= {str(value) for value in literals[:1]}
            elif name == "read_settings":
                nouns |= {str(value) for value in literals[-1:]}
            elif name == "_known" and path.name == "proof.py":
                nouns |= {str(value) for value in literals[:1]}
    yield from (f"unknown-{noun.replace(' ', '-')}" for noun in nouns)
    needed = {"topic", *(key for keys in template._REQUIRED.values() for key in keys)}
    yield from (f"missing-{key}" for key in needed)


def _calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call) and node.args and _name(node) in _TELLING:
            yield node


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts an argument may be: itself, or either side of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
