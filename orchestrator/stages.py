"""Stages of what customers and accounts have several of, such as opportunities: how they change is an event.

A record type with a choice field called `stage` has stages. Each change that an import tells becomes a `stage_changed`
of whoever has the record, once: the event's key is made of the record, the two stages and the instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.model import EventType, Field, Kind, RecordType
from orchestrator.problems import Problems
from orchestrator.source import Node

STAGE = "stage"
"""The field that makes a record type one with stages."""
CHANGED = "stage_changed"
"""The event that a change becomes."""
STAGE_EVENT = EventType(
    CHANGED,
    {
        name: Field(name, kind)
        for name, kind in (
            ("record", Kind.TEXT),
            ("record_key", Kind.KEY),
            ("from_stage", Kind.TEXT),
            ("to_stage", Kind.TEXT),
        )
    },
)


def has_stages(kind: RecordType | None) -> bool:
    """Whether a record type has a choice field called `stage`."""
    found = kind.fields.get(STAGE) if kind is not None else None
    return found is not None and found.kind is Kind.CHOICE


def with_stages(
    events: dict[str, EventType], records: Mapping[str, RecordType], node: Node | None, problems: Problems
) -> dict[str, EventType]:
    """The declared events, and the one that a change of stage becomes where a record has stages. `node`: the events as
    they are written."""
    if not any(has_stages(kind) for kind in records.values()):
        return events
    for entry in node.entries if node is not None else ():
        if entry.key == CHANGED:
            message = f"`{CHANGED}` is the event that a record's change of stage becomes: it is there by itself"
            problems.error("name-taken", message, entry.key_span, "take it out of `events`")
    return {**events, CHANGED: STAGE_EVENT}


@dataclass(slots=True)
class Changes:
    """The changes of one batch of records, row after row; `stored`: what is there, by (type, key)."""

    records: Mapping[str, RecordType]
    stored: Mapping[tuple[str, ...], Mapping[str, Any]]
    now: datetime
    _now_in: dict[tuple[str, ...], str | None] = field(default_factory=dict)
    _found: list[tuple[tuple[str, ...], str | None, str | None]] = field(default_factory=list)

    def see(self, kind: str, key: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """Take a row in; what its record's columns are to be. Nothing where its stage is what it was."""
        if not has_stages(self.records.get(kind)):
            return {}
        identity = (kind, key)
        there = self.stored.get(identity)
        new = there is None and identity not in self._now_in
        before = self._now_in[identity] if identity in self._now_in else there["fields"].get(STAGE) if there else None
        if STAGE not in members or (members[STAGE] == before and not new):
            return {}
        self._now_in[identity] = after = members[STAGE]
        if after == before:
            return {}
        self._found.append((identity, before, after))
        return {"stage_since": self.now if after is not None else None}

    def events(self, rows: Mapping[tuple[str, ...], Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The changes as events; `rows`: the records as they are stored now."""
        found = []
        for identity, before, after in self._found:
            row = rows[identity]
            said = {"record": identity[0], "record_key": identity[1], "from_stage": before, "to_stage": after}
            found.append(
                {
                    "type": CHANGED,
                    "key": f"stage:{row['id']}:{before or ''}:{after or ''}:{self.now.isoformat()}",
                    "customer_id": row["customer_id"],
                    "account_id": row["account_id"],
                    "occurred_at": self.now,
                    "received_at": self.now,
                    "properties": {name: value for name, value in said.items() if value is not None},
                }
            )
        return found
