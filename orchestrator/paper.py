"""Documents as PDF, by typst: our own templates, data as data and never as markup, the same bytes for the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any


class NoPaper(Exception):
    """PDF cannot be made here. The message says what to install."""


def ready() -> None:
    """Raises NoPaper where the package for it is not installed."""
    try:
        import typst  # noqa: F401
    except ImportError:
        raise NoPaper("PDF needs typst: pip install 'campaign-orchestrator[pdf]'; or take another format") from None


def pdf(template: str, data: Mapping[str, Any]) -> bytes:
    """A template of this package's with its data, any plain JSON. Raises NoPaper."""
    ready()
    import typst

    source = files("orchestrator").joinpath("pages", template).read_bytes()
    # Fonts of the machine, and the hour, would make other bytes of the same data.
    given = {"data": json.dumps(data)}
    return typst.compile(source, sys_inputs=given, ignore_system_fonts=True, timestamp=0, format="pdf")


def table_pdf(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], foot: str) -> bytes:
    """A long table on landscape pages. Raises NoPaper."""
    return pdf("listing.typ", {"title": title, "columns": columns, "rows": rows, "foot": foot})
