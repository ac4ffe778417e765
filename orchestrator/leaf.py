"""What a row of a ledger is in the tree: its bytes, written in one way only; and what an audit finds of it.

A leaf is JSON, its members in a fixed order, so that anybody who has the row can write it again and hash it. What is
personal is not in it: a leaf has a commitment to that. docs/reference/log-format.md is the auditor's page of this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "consent_event": (
        "id",
        "key",
        "customer_id",
        "medium",
        "topic",
        "action",
        "occurred_at",
        "received_at",
        "basis",
        "method",
        "expires_at",
        "jurisdiction",
        "wording",
        "wording_version",
        "language",
        "answers",
        "commitment",
    ),
    "applied": ("id", "at", "author", "message", "project", "files", "journeys", "approved_by", "proposal"),
    "erased": ("id", "kind", "hash", "customer_id", "at"),
    # The body comes last: it is bytes as they stand, and nothing can follow them that they might imitate.
    "log": ("id", "at", "kind", "message_id", "attempt", "verdict", "reason", "rule", "commitment", "body"),
}
"""Every column of each ledger, in the order of the leaf's members. Ledgers in the order in which they are sealed: a
decision comes after the consent, the workspace and the erasure that it was made on."""
LEDGERS = tuple(COLUMNS)
LATER: Mapping[str, frozenset[str]] = {"applied": frozenset({"approved_by", "proposal"})}
"""Columns that a ledger got when it had rows already: members of a leaf only where they say something, so that leaves
that were sealed before come out as they did."""
WHEN: Mapping[str, str] = {"consent_event": "received_at", "applied": "at", "erased": "at", "log": "at"}
"""The column that says when a row was written."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    `entry`: the leaf's index, None where it is about no leaf. `row`: where to look (`log line 812`, `checkpoint 4096`).
    `what`: in words, ending without a full stop. `code`: one of CODES, or a re-judgement's own.
    """

    entry: int | None
    row: str
    what: str
    code: str = "wrong"


CODES: Mapping[str, str] = {
    "changed": "the row is not the one that was sealed",
    "missing": "the row that was sealed is not there",
    "moved": "what was sealed stands in another row",
    "inserted": "a row stands among sealed ones that was never sealed",
    "order": "leaves are missing, or stand in another order than they were sealed in",
    "checkpoint": "a signed checkpoint does not belong to this log",
    "anchor": "a checkpoint kept outside does not belong to this log",
    "guard": "the database would let the ledgers be changed",
    "document": "a text in force is not the one that was applied",
    "wrong": "something else is not as it must be",
}
"""What a finding means, by its code."""


def name_of(ledger: str, row_id: int) -> str:
    """How people call a row: `log line 812`, `consent event 7`."""
    called = {"log": "log line", "consent_event": "consent event", "applied": "apply", "erased": "erasure"}
    return f"{called[ledger]} {row_id}"


def encoded(ledger: str, rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """The leaves' bytes of rows given as values in the order of COLUMNS."""
    return _log(rows) if ledger == "log" else _plain(ledger, rows)


def _log(rows: Iterable[Sequence[Any]]) -> list[bytes]:
    text, instant = _text, _instant
    return [
        (
            f'{{"ledger":"log","id":{i},"at":{instant(at)},"kind":{text(kind)},'
            f'"message_id":{"null" if message is None else message},"attempt":{attempt},"verdict":{text(verdict)},'
            f'"reason":{text(reason)},"rule":{text(rule)},'
            f'"commitment":{"null" if commitment is None else _hex(commitment)},"body":'
        ).encode()
        + body
        + b"}"
        for i, at, kind, message, attempt, verdict, reason, rule, commitment, body in rows
    ]


def _plain(ledger: str, rows: Iterable[Sequence[Any]]) -> list[bytes]:
    begin = f'{{"ledger":{_text(ledger)}'
    names = [f",{_text(name)}:" for name in COLUMNS[ledger]]
    later = [name in LATER.get(ledger, ()) for name in COLUMNS[ledger]]
    found = []
    for row in rows:
        members = [
            name + _VALUES[type(value)](value)
            for name, value, new in zip(names, row, later, strict=True)
            if not (new and value is None)
        ]
        found.append((begin + "".join(members) + "}").encode())
    return found


@lru_cache(maxsize=4096)  # kinds, verdicts, reasons: few texts in many rows
def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=4096)  # the rows of a batch share most of their instants
def _instant(at: datetime) -> str:
    return '"' + at.astimezone(UTC).isoformat(timespec="microseconds")[:26] + 'Z"'


def _hex(value: bytes) -> str:
    return f'"{value.hex()}"'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


_VALUES: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda _: "null",
    int: str,
    str: _text,
    datetime: _instant,
    bytes: _hex,
    memoryview: lambda value: _hex(bytes(value)),
    dict: _json,
    list: _json,
}
