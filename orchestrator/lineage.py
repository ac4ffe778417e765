"""Which accounts stand below which, and whose customers they are: what is refused of rows that say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.rows import ReadRow
from orchestrator.sheet import Entry

Read = list[tuple[Entry, ReadRow]]
Refuse = Callable[[Entry, str], None]


def fitting(read: Read, partners: Iterable[str], parent_of: Mapping[str, str | None], refuse: Refuse) -> Read:
    """Rows whose parent and partner are known, or come with them, and whose parents do not go round in a circle.

    `partners`: accounts that are stored, of those named so. `parent_of`: account → its parent (None at the top), of
    what is stored: these accounts and all above them.
    """
    stored = frozenset(partners)
    while True:
        # A row that is refused here may be another's parent or partner: until nothing changes.
        kept = _with_known("parent", _with_known("partner", read, stored, refuse), parent_of, refuse)
        kept = _in_a_tree(kept, dict(parent_of), refuse)
        if len(kept) == len(read):
            return kept
        read = kept


def _with_known(ref: str, read: Read, stored: Iterable[str], refuse: Refuse) -> Read:
    known = {*stored, *(row.key for _, row in read)}
    kept: Read = []
    for entry, row in read:
        named = row.refs.get(ref)
        if named and named not in known:
            refuse(entry, f"{ref} `{named}` is not known; import it first, then this row again")
        else:
            kept.append((entry, row))
    return kept


def _in_a_tree(read: Read, parent_of: dict[str, str | None], refuse: Refuse) -> Read:
    """Those that do not close a circle, row after row."""
    kept: Read = []
    for entry, row in read:
        above = row.refs.get("parent")
        while above is not None and above != row.key:
            above = parent_of.get(above)
        if above == row.key:
            refuse(entry, f"parent `{row.refs['parent']}` stands below this account itself; that is a circle")
            continue
        if "parent" in row.refs:
            parent_of[row.key] = row.refs["parent"]
        kept.append((entry, row))
    return kept


def ids_of(row: ReadRow, ids: Mapping[str, int], refs: Sequence[str] = ("parent", "partner")) -> dict[str, int | None]:
    """The columns that a row's references are kept in: `parent` as `parent_id`. A reference the row does not make is
    left out; an empty one is None."""
    return {f"{ref}_id": ids.get(row.refs[ref] or "") for ref in refs if ref in row.refs}
