"""What a YAML file lacks, written into its text: comments, order and layout of what is there stay as they are."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.problems import Problems
from orchestrator.source import Node, parse

WIDE: Final = 120
_FILE: Final = "inserted.yaml"


class CannotInsert(Exception):
    """The text is laid out so that nothing can be put in safely; the message says what."""


def inserted(text: str, wanted: Mapping[str, Any]) -> str:
    """The text with every key of `wanted` that it lacks, at any depth; what is there already wins over `wanted`.

    Raises CannotInsert where the text is no YAML map, or the outcome does not read back as it should.
    """
    before = _node(text)
    if before.kind != "map":
        raise CannotInsert("it is not a list of names with values")
    goal = _joined(before.plain(), wanted)
    for _ in range(1_000):
        node = _node(text)
        path = _lacking(node, wanted)
        if path is None:
            break
        value: Any = wanted
        for key in path:
            value = value[key]
        text = _put(text, node, path, value)
    if _node(text).plain() != goal:
        raise CannotInsert("it is laid out in an unusual way")
    return text


def block(wanted: Mapping[str, Any]) -> str:
    """A map as a text of its own: `inserted` into nothing."""
    return inserted("", wanted)


def lacking(text: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What of `wanted` the text has not."""
    return _left(_node(text).plain(), wanted)


def _left(have: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in wanted.items():
        if key not in have:
            found[key] = value
        elif isinstance(value, Mapping) and isinstance(have[key], dict) and (deeper := _left(have[key], value)):
            found[key] = deeper
    return found


def _node(text: str) -> Node:
    problems = Problems()
    node = parse(text, _FILE, problems)
    if node is None:
        raise CannotInsert("it is not YAML")
    return node


def _joined(have: Any, wanted: Any) -> Any:
    """What the text must say afterwards."""
    if not isinstance(have, dict) or not isinstance(wanted, Mapping):
        return have
    found = {key: _joined(value, wanted[key]) if key in wanted else value for key, value in have.items()}
    return found | {key: value for key, value in wanted.items() if key not in have}


def _lacking(node: Node, wanted: Mapping[str, Any], path: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """The first thing that is wanted and not there, by its keys from the root."""
    for key, value in wanted.items():
        have = node.get(key)
        if have is None:
            return (*path, key)
        if isinstance(value, Mapping) and have.kind == "map":
            found = _lacking(have, value, (*path, key))
            if found is not None:
                return found
    return None


def _put(text: str, root: Node, path: tuple[str, ...], value: Any) -> str:
    parent = root
    for key in path[:-1]:
        found = parent.get(key)
        assert found is not None
        parent = found
    if not parent.entries and parent is root:
        return f"{text.rstrip()}\n\n{_block(path[-1], value, 0)}\n".lstrip("\n")
    lines = text.splitlines(keepends=True)
    if lines[parent.span.line - 1][parent.span.col - 1 : parent.span.col] == "{":
        return _into_flow(lines, parent, f"{_scalar(path[-1], flow=True)}: {_flow(value)}")
    last = parent.entries[-1]
    indent = parent.entries[0].key_span.col - 1
    at = max(last.value.span.end_line if not last.value.empty else 0, last.key_span.line)
    if last.value.kind != "scalar" and last.value.span.end_col == 1:
        at -= 1  # libyaml ends a block at the next token
    while at > last.key_span.line and not lines[at - 1].strip():
        at -= 1
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    gap = "\n" if parent is root and any(not line.strip() for line in lines) else ""
    lines.insert(at, f"{gap}{_block(path[-1], value, indent)}\n")
    return "".join(lines)


def _into_flow(lines: list[str], parent: Node, pair: str) -> str:
    """Before the closing brace; on a line of its own where the line would become too long."""
    at = parent.span.end_line - 1
    line, brace = lines[at], parent.span.end_col - 2
    if line[brace : brace + 1] != "}":
        raise CannotInsert("a `}` is not where it is looked for")
    before, behind = line[:brace].rstrip(), line[brace:]
    spaced = line[brace - 1 : brace] == " " or not parent.entries
    head = f"{before}, " if parent.entries and not before.endswith(",") else f"{before} "
    if not before:  # the brace stands on a line of its own
        lines.insert(at, f"{' ' * (parent.entries[0].key_span.col - 1)}{pair},\n")
        return "".join(lines)
    if len(head) + len(pair) + len(behind.rstrip()) + 1 > WIDE and parent.entries:
        start = lines[parent.span.line - 1]
        margin = len(start) - len(start.lstrip()) + 2
        head = f"{head.rstrip()}\n{' ' * margin}"
    lines[at] = f"{head}{pair}{' ' if spaced else ''}{behind}"
    return "".join(lines)


def _block(key: str, value: Any, indent: int) -> str:
    """`key: value` at that depth: on one line where it fits and nothing is nested in it, else each key on its own."""
    head = " " * indent + _scalar(key, flow=False) + ":"
    if isinstance(value, Mapping):
        flat = f"{head} {_flow(value)}"
        if value and (indent == 0 or len(flat) > WIDE or not _short(value)):
            return "\n".join([head, *(_block(k, v, indent + 2) for k, v in value.items())])
        return flat
    if isinstance(value, list):
        flat = f"{head} {_flow(value)}"
        if len(flat) <= WIDE and all(isinstance(item, str) and " " not in item for item in value):
            return flat
        return "\n".join([head, *(f"{' ' * (indent + 2)}- {_value(item)}" for item in value)])
    flat = f"{head} {_value(value)}"
    if len(flat) > WIDE and isinstance(value, str) and value == " ".join(value.split()):
        margin = " " * (indent + 2)
        return f"{head} >-\n{textwrap.fill(value, WIDE, initial_indent=margin, subsequent_indent=margin)}"
    return flat


def _short(value: Any) -> bool:
    """Whether it reads well between braces: no list of sentences, no maps of maps of maps."""
    if isinstance(value, list):
        return all(isinstance(item, str) and " " not in item for item in value)
    if not isinstance(value, Mapping):
        return True
    return all(_short(v) and not (isinstance(v, Mapping) and _deep(v)) for v in value.values())


def _deep(value: Mapping[str, Any]) -> bool:
    return any(isinstance(v, Mapping) for v in value.values())


def _value(value: Any) -> str:
    return _flow(value) if isinstance(value, Mapping | list) else _scalar(value, flow=False)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_scalar(key, flow=True)}: {_flow(v)}" for key, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    return _scalar(value, flow=True)


def _scalar(value: Any, *, flow: bool) -> str:
    """As it would be written by hand: plain where that reads back as the same, else in quotes."""
    if not isinstance(value, str):
        return json.dumps(value)
    doc = f"{{ k: {value} }}" if flow else f"k: {value}"
    problems = Problems()
    try:
        node = parse(doc, _FILE, problems) if value and "\n" not in value else None
    except Exception:  # what cannot be read plain is quoted
        node = None
    plain = node is not None and not problems.found and node.plain() == {"k": value}
    return value if plain else json.dumps(value, ensure_ascii=False)
