"""An address that must not be used is not used, for anything: neither marketing nor service messages, nor staff mail.

A list against advertising (Mailing Preference Service, Robinson, DMAchoice, do-not-call, do-not-mail) is against
marketing alone: the contract's letter still goes. A call to the customer is stopped by whatever list its number is on.

Law: an objection to direct marketing is absolute on every medium (GDPR art. 21(2)); an opt-out is to be honoured
(CAN-SPAM 15 U.S.C. 7704(a)(4), 47 CFR 64.1200(d), Spam Act 2003 s. 18). Gmail, Yahoo and Microsoft judge a sender by
what it sends to addresses that bounce or complain. A suppression with an end (a full mailbox) counts until then.

The answer to a text that the customer has just sent is asked for by that text: the one confirmation of a STOP is
allowed by 47 CFR 64.1200(a)(12), within five minutes and without marketing, and who writes HELP is told how to stop. So
these (ANSWERS) pass the opt-out that they are about; a bounce, a complaint and an erasure stop them as they stop all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from channels.base import Reason
from orchestrator.model import AGAINST_ADVERTISING, Policies
from orchestrator.rules import ANSWERS, Standing, Subject, Verdict, stamp

NAME = "suppression"
ORDER = 30
REASONS: Mapping[str, str] = {
    "suppressed": "The address is on the suppression list; the inputs name why: a bounce, a complaint, an opt-out …",
    "no_advertising": "The address is on a list against advertising, and this message is none.",
    "answers_a_text": "The number has opted out; this is the one answer to its text: a STOP confirmed, help given.",
}

_ALLOW = Verdict(NAME, "allow")
_PASSED_BY_ANSWERS = AGAINST_ADVERTISING | {Reason.OPTED_OUT.value}


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `suppressed` while any suppression of the address is in force."""
    if not standing.suppressions:
        return _ALLOW
    current = sorted(
        ((why, until) for why, until in standing.suppressions if until is None or now < until),
        key=lambda entry: entry[0],
    )
    if not current:
        return _ALLOW
    told = [{"reason": why, "until": until and stamp(until)} for why, until in current]
    advertising = subject.purpose == "marketing" or subject.call  # nobody can tell what a call comes to
    if not advertising and all(why in AGAINST_ADVERTISING for why, _ in current):
        return Verdict(NAME, "allow", "no_advertising", inputs={"suppressions": told})
    if subject.origin in ANSWERS and all(why in _PASSED_BY_ANSWERS for why, _ in current):
        return Verdict(NAME, "allow", "answers_a_text", inputs={"suppressions": told})
    return Verdict(NAME, "deny", "suppressed", inputs={"suppressions": told})
