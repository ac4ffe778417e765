"""Every rule but the hours, case by case: what is so, and the one word the rule has to say."""

from datetime import timedelta
from typing import Any

import pytest

from channels.base import Medium
from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Zone, rules
from tests.rules.cases import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    POLICIES,
    STANDING,
    SUBJECT,
    cap,
    capped,
    says,
    sent,
    standing,
    subject,
)

MICRO = timedelta(microseconds=1)
TRANSACTIONAL = {"purpose": "transactional", "topic": "contract-notices"}
Case = tuple[str, str, Subject, Standing, Policies, str]  # rule, title, …, "allow reason" or "deny reason"


def consent(title: str, expected: str, *consents: Any, **changes: Any) -> Case:
    return "consent", title, subject(**changes), standing(consents=consents), POLICIES, expected


CONSENT = [
    consent("a yes", "allow consented", says("granted")),
    consent("nothing on record", "deny no_consent"),
    consent("only other topics", "deny no_consent", says("granted", topic="loyalty")),
    consent("a no", "deny consent_withdrawn", says("withdrawn")),
    consent("another topic's no", "allow consented", says("granted"), says("withdrawn", topic="loyalty")),
    consent("asked, not confirmed", "deny consent_unconfirmed", says("requested")),
    consent("its time is over", "deny consent_expired", says("expired")),
    consent("a general yes", "allow consented", says("granted", topic="*")),
    consent("a general no", "deny consent_withdrawn", says("withdrawn", topic="*")),
    consent("a general no after", "deny consent_withdrawn", says("granted", 2 * DAY), says("withdrawn", topic="*")),
    consent("a yes after a general no", "allow consented", says("withdrawn", 2 * DAY, "*"), says("granted")),
    consent("a no and a general yes, tie", "deny consent_withdrawn", says("withdrawn"), says("granted", topic="*")),
    consent("a yes and a general no, tie", "deny consent_withdrawn", says("granted"), says("withdrawn", topic="*")),
    consent("a general yes after a no", "allow consented", says("withdrawn", 2 * DAY), says("granted", topic="*")),
    consent("a no after a general yes", "deny consent_withdrawn", says("granted", 2 * DAY, "*"), says("withdrawn")),
    consent("one microsecond later", "allow consented", says("withdrawn"), says("granted", DAY - MICRO, "*")),
    consent("asked again under a general yes", "allow consented", says("granted", 2 * DAY, "*"), says("requested")),
    consent("asked again after a no", "deny consent_unconfirmed", says("withdrawn", 2 * DAY, "*"), says("requested")),
    consent("expired under a general yes", "allow consented", says("expired"), says("granted", 2 * DAY, "*")),
    consent("expired, then a no", "deny consent_withdrawn", says("expired", 2 * DAY), says("withdrawn", DAY, "*")),
    consent("a no, and a yes of tomorrow", "deny consent_withdrawn", says("withdrawn"), says("granted", -DAY, "*")),
    consent("a yes of tomorrow", "deny no_consent", says("granted", -DAY)),
    consent("a yes of right now", "allow consented", says("granted", 0 * DAY)),
    consent("a no of tomorrow", "deny consent_withdrawn", says("granted"), says("withdrawn", -DAY, "*")),
    consent("a word the ledger does not know", "deny no_consent", says("perhaps")),
    consent("for staff", "allow not_applicable", addressee="staff", customer_id=None),
    consent("for a system", "allow not_applicable", addressee="system", customer_id=None),
    consent("a task for staff", "allow not_applicable", addressee="staff", medium=Medium.TASK),
    consent("a task about which the customer is asked", "deny no_consent_rule", medium=Medium.TASK),
    consent("a letter, where nobody objected", "allow no_consent_needed", medium=Medium.MAIL),
    consent("transactional, nothing on record", "allow transactional", **TRANSACTIONAL),
    consent("transactional, a general no", "allow transactional", says("withdrawn", topic="*"), **TRANSACTIONAL),
    consent("transactional, a no to another topic", "allow transactional", says("withdrawn"), **TRANSACTIONAL),
    consent("transactional, a no to that topic", "deny consent_withdrawn", says("withdrawn", topic="contract-notices"),
            **TRANSACTIONAL),
    consent("transactional, a yes since", "allow transactional", says("withdrawn", 2 * DAY, "contract-notices"),
            says("granted", DAY, "contract-notices"), **TRANSACTIONAL),
]  # fmt: skip


ANSWER: dict[str, Any] = {"origin": "stop_confirmation", "topic": "", "purpose": "transactional"}
CONSENT += [
    consent("a STOP's confirmation behind the STOP", "allow transactional", says("withdrawn", topic="*"), **ANSWER),
    consent("and behind a topic's no", "allow transactional", says("withdrawn"), **ANSWER),
]


def suppressed(title: str, expected: str, *entries: Any, **changes: Any) -> Case:
    return "suppression", title, subject(**changes), standing(suppressions=entries), POLICIES, expected


SUPPRESSION = [
    suppressed("not on the list", "allow "),
    suppressed("for good", "deny suppressed", ("bounced", None)),
    suppressed("for a while", "deny suppressed", ("mailbox_full", NOW + MICRO)),
    suppressed("until now", "allow ", ("mailbox_full", NOW)),
    suppressed("over", "allow ", ("mailbox_full", NOW - DAY)),
    suppressed("one over, one not", "deny suppressed", ("mailbox_full", NOW - DAY), ("complained", None)),
    suppressed("transactional too", "deny suppressed", ("opted_out", None), **TRANSACTIONAL),
    suppressed("staff too", "deny suppressed", ("bounced", None), addressee="staff"),
    suppressed("a system too", "deny suppressed", ("bounced", None), addressee="system"),
    *(
        suppressed(f"{origin}: {title}", expected, *entries, origin=origin, topic="", purpose="transactional")
        for origin in ("stop_confirmation", "start_confirmation", "help_reply")
        for title, expected, *entries in (
            ("its own opt-out", "allow answers_a_text", ("opted_out", None)),
            ("and a list against advertising", "allow answers_a_text", ("opted_out", None), ("robinson", None)),
            ("an opt-out and a bad number", "deny suppressed", ("opted_out", None), ("invalid_address", None)),
            ("a complaint", "deny suppressed", ("complained", None)),
            ("an erased person", "deny suppressed", ("opted_out", None), ("erased", None)),
            ("nothing", "allow "),
        )
    ),
    suppressed("another origin of ours", "deny suppressed", ("opted_out", None), origin="test_send", **TRANSACTIONAL),
]


def contacts(title: str, expected: str, policies: Policies, *entries: Any, **changes: Any) -> Case:
    zones = {"zones": changes.pop("zones")} if "zones" in changes else {}
    tier = {"tier": changes.pop("tier")} if "tier" in changes else {}
    there = standing(contacts=entries, **zones, **tier)
    return "frequency_cap", title, subject(**changes), there, policies, expected


PER_DAY, PER_WEEK, PER_MONTH = cap(1, per="day"), cap(2, per="week"), cap(2, per="month")
FLORIDA = cap(3, within=24 * HOUR, topic="offers")
ACCOUNT = cap(2, scope="account", per="week")
PLATINUM = cap(4, "platinum", per="week", tier="platinum")
STRICT = cap(0, "bronze", per="week", tier="bronze")
CAPS = [
    contacts("no cap", "allow ", capped(), sent(HOUR)),
    contacts("room", "allow ", capped(PER_DAY)),
    contacts("full", "deny frequency_cap", capped(PER_DAY), sent(HOUR)),
    contacts("since local midnight", "deny frequency_cap", capped(PER_DAY), sent(13 * HOUR)),
    contacts("before local midnight", "allow ", capped(PER_DAY), sent(13 * HOUR + MICRO)),
    contacts("New York's day is younger", "allow ", capped(PER_DAY), sent(8 * HOUR),
             zones=(Zone("America/New_York", "stated"), Zone("Europe/Berlin", "phone"))),
    contacts("the first zone's calendar counts", "deny frequency_cap", capped(PER_DAY), sent(8 * HOUR),
             zones=(Zone("Europe/Berlin", "stated"), Zone("America/New_York", "phone"))),
    contacts("no zone: a day of 25 hours", "deny frequency_cap", capped(PER_DAY), sent(25 * HOUR), zones=()),
    contacts("no zone, longer ago", "allow ", capped(PER_DAY), sent(25 * HOUR + MICRO), zones=()),
    contacts("unknown zone: a day of 25 hours", "deny frequency_cap", capped(PER_DAY), sent(25 * HOUR),
             zones=(Zone("Mars/Base", "stated"),)),
    contacts("week from Monday", "deny frequency_cap", capped(PER_WEEK), sent(HOUR), sent(2 * DAY + 13 * HOUR)),
    contacts("Sunday was last week", "allow ", capped(PER_WEEK), sent(HOUR), sent(2 * DAY + 13 * HOUR + MICRO)),
    contacts("month from its first", "deny frequency_cap", capped(PER_MONTH), sent(HOUR), sent(12 * DAY + 13 * HOUR)),
    contacts("last month", "allow ", capped(PER_MONTH), sent(HOUR), sent(12 * DAY + 13 * HOUR + MICRO)),
    contacts("three in 24 hours", "deny frequency_cap", capped(FLORIDA), sent(HOUR), sent(2 * HOUR),
             sent(24 * HOUR - MICRO)),
    contacts("exactly 24 hours ago", "allow ", capped(FLORIDA), sent(HOUR), sent(2 * HOUR), sent(24 * HOUR)),
    contacts("another topic's do not count", "allow ", capped(FLORIDA), sent(HOUR), sent(2 * HOUR),
             sent(3 * HOUR, topic="loyalty")),
    contacts("a cap of another topic", "allow ", capped(FLORIDA), *[sent(HOUR)] * 5, topic="loyalty"),
    contacts("another medium counts", "deny frequency_cap", capped(PER_DAY), sent(HOUR, Medium.SMS)),
    contacts("a medium without the cap", "allow ", capped(PER_DAY), sent(HOUR, Medium.MAIL)),
    contacts("a message the cap is not about", "allow ", capped(PER_DAY), sent(HOUR), medium=Medium.MAIL),
    contacts("a cap without media is about all", "deny frequency_cap", capped(cap(1, per="day", media=frozenset())),
             sent(HOUR, Medium.MAIL)),
    contacts("transactional ones do not count", "allow ", capped(PER_DAY), sent(HOUR, purpose="transactional")),
    contacts("a transactional one is not capped", "allow transactional", capped(PER_DAY), sent(HOUR), **TRANSACTIONAL),
    contacts("staff are not capped", "allow not_applicable", capped(PER_DAY), sent(HOUR), addressee="staff"),
    contacts("systems are not capped", "allow not_applicable", capped(PER_DAY), sent(HOUR), addressee="system"),
    contacts("another customer's do not count", "allow ", capped(PER_DAY), sent(HOUR, customer=8)),
    contacts("the company's count", "deny frequency_cap", capped(ACCOUNT), sent(HOUR, customer=8, account=3),
             sent(DAY, customer=9, account=3), account_id=3),
    contacts("another company's do not count", "allow ", capped(ACCOUNT), sent(HOUR, account=4), sent(DAY, account=4),
             account_id=3),
    contacts("no company, no company's cap", "allow ", capped(ACCOUNT), *[sent(HOUR)] * 5),
    contacts("the tier's cap replaces: more", "allow ", capped(PER_WEEK, PLATINUM), *[sent(HOUR)] * 3, tier="platinum"),
    contacts("… and is itself a cap", "deny frequency_cap", capped(PER_WEEK, PLATINUM), *[sent(HOUR)] * 4,
             tier="platinum"),
    contacts("the tier's cap is not for others", "deny frequency_cap", capped(PER_WEEK, PLATINUM), *[sent(HOUR)] * 2),
    contacts("the tier's cap replaces: less", "deny frequency_cap", capped(PER_WEEK, STRICT), tier="bronze"),
    contacts("other periods stay", "deny frequency_cap", capped(PER_DAY, PER_WEEK, PLATINUM), sent(HOUR),
             tier="platinum"),
    contacts("other media stay", "deny frequency_cap", capped(cap(1, per="week", media=frozenset({Medium.EMAIL})),
             PLATINUM), sent(HOUR), tier="platinum"),
    contacts("no tier", "deny frequency_cap", capped(PER_WEEK, PLATINUM), *[sent(HOUR)] * 2, tier=None),
    contacts("one of this very batch", "deny frequency_cap", capped(PER_DAY), sent(0 * HOUR)),
    contacts("a later clock's", "deny frequency_cap", capped(PER_DAY), sent(-MINUTE)),
    contacts("a cap without a period", "deny frequency_cap", capped(cap(2)), sent(400 * DAY), sent(HOUR)),
]  # fmt: skip


def deduped(title: str, expected: str, ago: timedelta | None, within: Any = DAY, **changes: Any) -> Case:
    there = standing(duplicate_at=None if ago is None else NOW - ago)
    return "dedupe", title, subject(**changes), there, Policies(dedupe=within), expected


DEDUPE = [
    deduped("never before", "allow ", None),
    deduped("an hour ago", "deny duplicate", HOUR),
    deduped("just within", "deny duplicate", DAY - MICRO),
    deduped("just over", "allow ", DAY),
    deduped("the workspace does not mind", "allow ", HOUR, None),
    deduped("this very batch", "deny duplicate", 0 * HOUR),
    deduped("transactional too", "deny duplicate", HOUR, **TRANSACTIONAL),
    deduped("staff too", "deny duplicate", HOUR, addressee="staff"),
]
OTHERS: list[Case] = [
    ("expiry", "no end", SUBJECT, STANDING, POLICIES, "allow "),
    ("expiry", "still time", subject(expires_at=NOW + MICRO), STANDING, POLICIES, "allow "),
    ("expiry", "at the end", subject(expires_at=NOW), STANDING, POLICIES, "deny expired"),
    ("expiry", "past the end", subject(expires_at=NOW - DAY), STANDING, POLICIES, "deny expired"),
    ("expiry", "staff too", subject(expires_at=NOW, addressee="staff"), STANDING, POLICIES, "deny expired"),
    ("address", "an address", SUBJECT, STANDING, POLICIES, "allow "),
    ("address", "none", SUBJECT, standing(address=None), POLICIES, "deny no_address"),
    ("address", "an empty one", SUBJECT, standing(address=""), POLICIES, "deny no_address"),
    ("address", "transactional too", subject(**TRANSACTIONAL), standing(address=None), POLICIES, "deny no_address"),
    ("address", "a task", subject(medium=Medium.TASK), standing(address=None), POLICIES, "allow not_applicable"),
    ("address", "a webhook", subject(medium=Medium.WEBHOOK), standing(address=None), POLICIES, "allow not_applicable"),
    ("address", "mail to staff", subject(addressee="staff"), standing(address=None), POLICIES, "deny no_address"),
    ("ended", "under way", SUBJECT, STANDING, POLICIES, "allow "),
    ("ended", "over", SUBJECT, standing(ended=True), POLICIES, "deny exited"),
    ("ended", "transactional too", subject(**TRANSACTIONAL), standing(ended=True), POLICIES, "deny exited"),
]
CASES = [*CONSENT, *SUPPRESSION, *CAPS, *DEDUPE, *OTHERS]


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES])
def test_the_rule_says(case: Case) -> None:
    name, _, message, there, policies, expected = case
    verdict = rules()[name](message, there, policies, NOW)
    assert f"{verdict.say} {verdict.reason}" == expected
    assert verdict.rule == name
    assert verdict.until is None


def test_enough_cases() -> None:
    assert len(CASES) >= 60
    assert len({(c[0], c[1]) for c in CASES}) == len(CASES)


def test_an_allowed_send_names_the_consent_it_relies_on() -> None:
    there = standing(consents=(says("granted", topic="*", event=5), says("granted", event=6), says("granted", event=7)))
    verdict = rules()["consent"](SUBJECT, there, POLICIES, NOW)
    assert verdict.inputs["events"] == [6]  # the topic's own before the general one
    assert verdict.inputs["states"][0] == {
        "topic": "offers",
        "state": "granted",
        "since": "2027-01-12T12:00:00.000000Z",
        "basis": "express_written",
        "confirmed": True,
    }


def test_a_refusal_names_the_withdrawal() -> None:
    there = standing(consents=(says("granted", 2 * DAY, event=5), says("withdrawn", topic="*", event=9)))
    assert rules()["consent"](SUBJECT, there, POLICIES, NOW).inputs["events"] == [9]


def test_a_capped_person_is_told_the_marketers_own_line_and_the_counts() -> None:
    verdict = rules()["frequency_cap"](SUBJECT, standing(contacts=[sent(HOUR)] * 2), capped(PER_DAY, PER_WEEK), NOW)
    assert verdict.inputs["line"] == "at most 1"
    assert (verdict.inputs["counted"], verdict.inputs["allowed"]) == (2, 1)
    assert verdict.inputs["since"] == "2027-01-12T23:00:00.000000Z"
    assert [c["counted"] for c in verdict.inputs["caps"]] == [2, 2]


def test_a_suppression_tells_its_reasons_not_the_address() -> None:
    there = standing(suppressions=(("complained", None), ("bounced", NOW + DAY)))
    verdict = rules()["suppression"](SUBJECT, there, POLICIES, NOW)
    assert verdict.inputs["suppressions"] == [
        {"reason": "bounced", "until": "2027-01-14T12:00:00.000000Z"},
        {"reason": "complained", "until": None},
    ]
