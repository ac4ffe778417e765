"""The demo's tables fit where they are shown, and lose no number there."""

from __future__ import annotations

import io
from collections import Counter
from datetime import date

import pytest
from rich.console import Console

from orchestrator.cli._demo_tables import Day, by_day, reasons

MESSAGES = {("email", "sent"): 1198, ("sms", "held"): 6, ("push", "refused"): 14, ("mail", "sent"): 1}
DAYS = [Day(date(2027, 3, 25 + n), Counter(MESSAGES), 106, Counter(goal=7), Counter(opened=57)) for n in range(3)]


@pytest.mark.parametrize("width", [60, 80, 93, 94, 100])
def test_nothing_is_cut_off(width: int):
    out = io.StringIO()
    console = Console(file=out, width=width)
    by_day(console, DAYS, 60)
    reasons(console, {("refused", "consent_withdrawn", m): 12 for m in ("email", "sms", "push", "mail", "task")})
    shown = out.getvalue()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for told in ("3594", "18", "42", "318", "21", "171", "consent_withdrawn", "task 12"):
        assert told in shown, told


def test_numbers_of_a_medium_stand_apart():
    out = io.StringIO()
    days = [Day(date(2027, 3, 25), Counter({("email", "sent"): 323, ("email", "held"): 196, ("email", "refused"): 92}))]
    by_day(Console(file=out, width=100), days, 60)
    assert "323 196 92" in out.getvalue()
