"""What a webhook call carries: values by name, as JSON. Made as a text's values are, and never through a template."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import msgspec

from channels.base import Skeleton
from orchestrator.model import Score, Vocabulary
from orchestrator.problems import Problems, Span, suggest
from orchestrator.proof import Names

USUAL: Final = ("customer.key", "account.key")
"""What a call says when its step names nothing: who it is about, by the keys that the house itself gave them."""
_NAME: Final = re.compile(r"[a-z_]\w*(\.[a-z_]\w*)?", re.ASCII)
_VALUES: Final = frozenset({"tier", "today"})
_NO_FIELDS: Final = frozenset({"workspace", "links", "benefits", "voucher", "range", "journey"})
_JSON: Final = msgspec.json.Encoder().encode


def check_fields(names: Sequence[str], vocabulary: Vocabulary, problems: Problems, span: Span) -> None:
    """Problems at `span` for what is no field that a call may carry."""
    known = Names(vocabulary)
    offered = [f"{root}.{name}" for root, names_ in known.roots.items() if isinstance(names_, set) for name in names_]
    offered = [name for name in offered if name.partition(".")[0] not in _NO_FIELDS]
    for name in names:
        root, dot, _ = name.partition(".")
        whole = bool(dot) if root not in _VALUES else not dot
        if _NAME.fullmatch(name) is None or root in _NO_FIELDS or not whole or known.wrong(name, called=False):
            hint = suggest(name, offered)
            hint = hint if hint.startswith("did") else "write `customer.key`, `event.amount`, `tier`"
            problems.error("unknown-field", f"`{name}` is no field that a call can carry", span, hint)


@dataclass(frozen=True)
class Fields:
    """The fields of one step's calls, in the place of a compiled text (`skeleton.Compiled`)."""

    asked: tuple[str, ...]
    journey: str
    locale: str = ""
    parts: tuple[Any, ...] = field(default=(), repr=False)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self.asked)

    @cached_property
    def skeleton(self) -> Skeleton:
        """Part `fields`: a JSON object of objects, `{"customer":{"key":…}}`, its slots the values as JSON."""
        pieces: list[str] = []
        before, root = "{", ""
        for name in self._ordered:
            group, dot, member = name.partition(".")
            if group != root:
                before += "}," if root and "." in self._ordered[len(pieces) - 1] else "," if root else ""
                before += f'"{group}":' + ("{" if dot else "")
            else:
                before += ","
            pieces.append(before + (f'"{member}":' if dot else ""))
            before, root = "", group
        last = "}" if self._ordered and "." in self._ordered[-1] else ""
        pieces.append(f"{before}{last}}}")
        parts = {"journey": (self.journey,), "fields": tuple(pieces)}
        name = hashlib.sha256(_JSON(parts)).hexdigest()
        return Skeleton(name, parts, {"journey": (), "fields": tuple(range(len(self._ordered)))})

    @cached_property
    def _ordered(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.asked)))

    def slots(self, context: Mapping[str, Any]) -> tuple[str, ...]:
        """The values as JSON, null for what is not known."""
        return tuple(_JSON(_found(context, name)).decode() for name in self._ordered)


def _found(context: Mapping[str, Any], name: str) -> Any:
    root, dot, member = name.partition(".")
    value = context.get(root)
    if not dot:
        return value
    found = value.get(member) if isinstance(value, Mapping) else None
    return found.minor if isinstance(found, Score) else found  # as all money in a call
