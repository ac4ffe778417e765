"""The shipped ruleset's hours as a table of docs/guide/legal-hours.md."""

from __future__ import annotations

from orchestrator.model import HoursRule, Window
from orchestrator.problems import Problems
from orchestrator.project import shipped_ruleset
from orchestrator.ruleset import CONSENT, HOURS, read_ruleset

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_COUNTRIES = {
    "AE": "Emirates", "AU": "Australia", "BR": "Brazil", "CA": "Canada", "DE": "Germany", "ES": "Spain",
    "FR": "France", "GB": "United Kingdom", "IN": "India", "IT": "Italy", "US": "United States",
}  # fmt: skip


def legal_hours() -> str:
    texts = shipped_ruleset()
    found = read_ruleset(texts[HOURS], texts[CONSENT], Problems())
    assert found is not None
    rows = "".join(_row(row) for row in found.hours)
    return f"| Row | Where | For | Hours | From |\n| --- | --- | --- | --- | --- |\n{rows}"


def _row(row: HoursRule) -> str:
    hours = "; ".join(_window(window) for window in row.windows) or "never"
    if any(window.closed_on for window in row.windows):
        hours += "; not on public holidays"
    if row.cap:
        hours += f"; at most {row.cap.count} of one topic in {row.cap.within.total_seconds() / 3600:.0f} hours"
    if row.since:
        hours += f"; from {row.since} on"
    if row.until:
        hours += f"; until {row.until}"
    said = f"{row.source} ({row.confidence}, looked at on {row.as_of})"
    if row.note:
        said += f". {row.note}"
    media = ", ".join("calls" if m == "voice" else "texts" for m in sorted(row.media))
    cells = (f"`{row.id}`", _where(row), media, hours, said)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


def _where(row: HoursRule) -> str:
    if row.country is None:
        return "country not known"
    name = _COUNTRIES[row.country]
    if row.region is None:
        return f"{name}, state not known"
    return name if row.region == "*" else f"{name}, {row.region}"


def _window(window: Window) -> str:
    days = sorted(window.days)
    if len(days) == 7:
        named = "daily"
    elif len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
        named = f"{_DAYS[days[0]]}–{_DAYS[days[-1]]}"
    else:
        named = ", ".join(_DAYS[day] for day in days)
    return f"{named} {window.open:%H:%M}–{window.close:%H:%M}"
