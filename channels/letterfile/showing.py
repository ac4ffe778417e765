"""One letter, set as it would be printed, for somebody who looks at it before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from channels.base import Misconfigured, Outbound
from channels.letterfile import paper
from channels.letterfile.job import piece
from channels.letterfile.layout import Unfit
from channels.letterfile.options import read

_NOBODYS = b"a look at a letter: its codes are nobody's"

Shown = tuple[bytes, tuple[bytes, ...], tuple[str, ...], str, str]
"""The PDF, its pages as PNG, the lines in the window, the sheet's format, why it cannot be printed."""


def shown(outbound: Outbound, options: Mapping[str, object], at: datetime) -> Shown | None:
    """`options`: the provider's own, as far as they are known. None where letters cannot be set here, for want of the
    packages. Raises Misconfigured for options that are wrong."""
    chosen = read({"zone": "UTC", **options})
    try:
        paper.check(chosen)
    except Misconfigured as error:
        if "pip install" in str(error):
            return None
        raise
    try:
        one = piece(outbound, chosen, _NOBODYS)
        press = paper.Press(chosen, at)
        return press.pdf(one), tuple(press.pages(one)), one.address.lines, one.format, ""
    except Unfit as unfit:
        return b"", (), (), "A4", unfit.detail
