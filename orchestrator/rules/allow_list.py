"""Outside production only those are written to whom the machine's settings name.

House policy: a copy of the real database on a colleague's machine, or a rehearsal before a launch, must not reach the
people in it. `[safety]` in orchestrator.toml says what an installation is and lists its recipients; settings that name
a live channel outside production without such a list are refused. It holds for everybody, staff and systems too, and
for transactional messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict

NAME = "allow_list"
ORDER = 25
REASONS: Mapping[str, str] = {
    "not_on_allow_list": "This is no production, and the recipient is not on its list of those who may be written to.",
}

_ALLOW = Verdict(NAME, "allow")
_DENY = Verdict(NAME, "deny", "not_on_allow_list")


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `not_on_allow_list` to whom this installation may not write."""
    return _ALLOW if standing.permitted else _DENY
