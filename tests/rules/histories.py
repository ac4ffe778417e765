"""Consent histories as a decision table: what was said, to whom it matters, and what the law makes of it.

Each line is one customer with a past of her own. The expected code is what the rule must say of a marketing message on
topic `offers` (unless the line says otherwise) at NOW; `law` is why. No legal advice, and no other reading of the
shipped ruleset than its own rows give.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC, hour=12)


@dataclass(frozen=True)
class Said:
    """One consent event. `at`: when it happened; `heard`: when it reached us (at once, if not said)."""

    action: str
    at: datetime
    basis: str | None = None
    topic: str = "offers"
    medium: str | None = None
    id: str = ""
    answers: str = ""
    until: datetime | None = None
    heard: datetime | None = None


def ago(days: float, action: str, basis: str | None = None, **more: Any) -> Said:
    return Said(action, NOW - days * DAY, basis, **more)


@dataclass(frozen=True)
class History:
    title: str
    expected: str
    law: str
    said: tuple[Said, ...] = ()
    countries: tuple[str, ...] = ("DE",)
    medium: str = "email"
    form: str | None = None
    purpose: str = "marketing"
    topic: str = "offers"
    more: dict[str, Any] = field(default_factory=dict)


def de(title: str, expected: str, law: str, *said: Said, **more: Any) -> History:
    return History(title, expected, law, said, **more)


def there(country: str, title: str, expected: str, law: str, *said: Said, **more: Any) -> History:
    countries = tuple(country.split()) if country else ()
    return History(f"{country or 'unknown'}: {title}", expected, law, said, countries, **more)


YES = "allow consented"
NONE = "deny no_consent"
OPEN = "deny consent_unconfirmed"
GONE = "deny consent_withdrawn"
OVER = "deny consent_expired"
LAPSED = "deny consent_lapsed"
LITTLE = "deny consent_insufficient"
FREE = "allow no_consent_needed"
SMS = {"medium": "sms"}
MAIL = {"medium": "mail"}
PUSH = {"medium": "push"}
B2B = {"form": "corporate"}
SOLE = {"form": "sole_trader"}

GERMANY = [
    de("nothing was ever said", NONE, "UWG § 7(2) no. 2: prior express consent; no record is no consent"),
    de("a plain yes, not confirmed", OPEN, "GDPR art. 7(1): the sender must prove it, and double opt-in is that proof",
       ago(9, "grant", "express")),
    de("asked, never answered", OPEN, "The request alone is nobody's consent", ago(9, "request", "express")),
    de("asked and confirmed", YES, "Double opt-in", ago(9, "request", "express", id="r"),
       ago(8, "confirm", answers="r")),
    de("confirmed without saying which request", YES, "The confirmation itself is the yes", ago(9, "request"),
       ago(8, "confirm")),
    de("a confirmation that names a request nobody knows", OPEN, "It proves nothing: GDPR art. 7(1)",
       ago(8, "confirm", answers="lost")),
    de("a confirmation that answers the request for another topic", OPEN, "Consent is specific: GDPR art. 4(11)",
       ago(9, "request", id="r", topic="loyalty"), ago(8, "confirm", answers="r")),
    de("the confirmation came in before its request", YES, "Imports come in any order; what counts is what was said",
       ago(8, "confirm", answers="r", heard=NOW - 3 * DAY), ago(9, "request", id="r", heard=NOW - 2 * DAY)),
    de("granted on paper, confirmed later", YES, "The proof may come after the yes", ago(30, "grant",
       "express_written"),
       ago(20, "confirm")),
    de("confirmed, then taken back", GONE, "GDPR art. 7(3)", ago(9, "confirm"), ago(2, "withdraw")),
    de("confirmed and taken back at one instant", GONE, "A withdrawal wins a tie", ago(9, "confirm"), ago(9,
       "withdraw")),
    de("taken back, then a yes that was not confirmed", OPEN, "The old confirmation died with the old yes",
       ago(30, "confirm"), ago(20, "withdraw"), ago(10, "grant", "express")),
    de("taken back, then confirmed anew", YES, "A new consent", ago(30, "confirm"), ago(20, "withdraw"),
       ago(11, "request", id="r2"), ago(10, "confirm", answers="r2")),
    de("taken back, then asked again", OPEN, "The question is not the answer", ago(30, "confirm"), ago(20, "withdraw"),
       ago(10, "request")),
    de("asked again while a yes is in force", YES, "A question takes nothing away", ago(30, "confirm"), ago(2,
       "request")),
    de("soft opt-in, e-mail", YES, "UWG § 7(3): existing customers, own similar goods, told at collection",
       ago(30, "grant", "soft_opt_in")),
    de("soft opt-in, objected", GONE, "UWG § 7(3) no. 3: unless the customer objected", ago(30, "grant", "soft_opt_in"),
       ago(3, "withdraw")),
    de("soft opt-in, objected, then bought again", GONE, "UWG § 7(3) no. 3: the objection stands",
       ago(30, "withdraw"), ago(3, "grant", "soft_opt_in")),
    de("soft opt-in, text message", LITTLE, "UWG § 7(3) speaks of electronic mail", ago(30, "grant", "soft_opt_in"),
       **SMS),
    de("a company, nothing on record", NONE, "UWG § 7(2) no. 2 protects companies too", **B2B),
    de("a company, legitimate interest", LITTLE, "UWG § 7(2) no. 2: express consent, for companies too",
       ago(30, "grant", "legitimate_interest"), **B2B),
    de("a company, double opt-in", YES, "UWG § 7(2) no. 2", ago(30, "confirm", "express"), **B2B),
    de("a sole trader, unconfirmed", OPEN, "As anybody", ago(30, "grant", "express"), **SOLE),
    de("a letter, nothing said", FREE, "GDPR art. 6(1)(f), recital 47: advertising by post is a legitimate interest",
       **MAIL),
    de("a letter, objected", GONE, "GDPR art. 21(2): absolute", ago(3, "withdraw"), **MAIL),
    de("a letter, objected to everything by post", GONE, "GDPR art. 21(2)", ago(3, "withdraw", topic="*"), **MAIL),
    de("a letter, a yes on record", YES, "Evidence is told even where none is needed", ago(3, "grant"), **MAIL),
    de("a letter, objected, then a yes", YES, "A later yes answers", ago(9, "withdraw"), ago(3, "grant"), **MAIL),
    de("a letter, a consent that ended", FREE, "The end of a consent is no objection", ago(9, "grant"), ago(3,
       "expire"),
       **MAIL),
    de("a letter, objected, then a yes for a time that is over", GONE, "What answers the objection is gone",
       ago(30, "withdraw"), ago(20, "grant", until=NOW - DAY), **MAIL),
    de("a parent said yes for the child, confirmed", YES, "GDPR art. 8(1)", ago(30, "confirm", "parental")),
]  # fmt: skip

TOPICS = [
    de("a general yes, confirmed", YES, "Everything on the medium", ago(9, "confirm", topic="*")),
    de("a general no after a particular yes", GONE, "GDPR art. 7(3)", ago(9, "confirm"), ago(3, "withdraw", topic="*")),
    de("a particular no under a general yes", GONE, "Consent is specific", ago(9, "confirm", topic="*"),
       ago(3, "withdraw")),
    de("a particular yes after a general no", YES, "The newer word", ago(9, "withdraw", topic="*"), ago(3, "confirm")),
    de("a general yes after a particular no", YES, "START answers STOP", ago(9, "withdraw"), ago(3,
       "confirm", topic="*")),
    de("a general no and a particular yes at one instant", GONE, "A withdrawal wins a tie", ago(3, "confirm"),
       ago(3, "withdraw", topic="*")),
    de("another topic's no", YES, "Consent is specific: GDPR art. 4(11)", ago(9, "confirm"),
       ago(3, "withdraw", topic="loyalty")),
    de("another topic's yes", NONE, "Consent is specific: GDPR art. 4(11)", ago(9, "confirm", topic="loyalty")),
    de("another medium's yes", NONE, "Consent to texts is none to e-mail", ago(9, "confirm", medium="sms")),
    de("a general yes, a particular no, then a particular yes that is too little", OPEN,
       "The no ended the general yes too; the new yes does not bring it back", ago(30, "confirm", topic="*"),
       ago(20, "withdraw"), ago(10, "grant", "express")),
    de("a particular no, then a question, under an older general yes", OPEN,
       "A question does not hide the no that it came after", ago(30, "confirm", topic="*"), ago(20, "withdraw"),
       ago(10, "request")),
    de("its own time is over, the general yes stands", YES, "The end of one consent is no objection to another",
       ago(30, "confirm", topic="*"), ago(20, "confirm"), ago(10, "expire")),
]  # fmt: skip

TIME = [
    de("for a year, eleven months ago", YES, "As it was given", ago(330, "confirm", until=NOW + 35 * DAY)),
    de("for a year, two years ago", OVER, "Consent for a time ends with it", ago(730,
       "confirm", until=NOW - 365 * DAY)),
    de("until this very instant", OVER, "Half-open: the end no longer counts", ago(9, "confirm", until=NOW)),
    de("for a time that is over, and one without end before it", OVER,
       "The newest yes on a ground is the one that counts", ago(99, "confirm", "express"),
       ago(50, "confirm", "express", until=NOW - DAY)),
    de("ended by an expiry", OVER, "The ledger says so", ago(9, "confirm"), ago(2, "expire")),
    de("the end and a yes at one instant", OVER, "The end wins a tie over a yes", ago(9, "confirm"), ago(9, "expire")),
    de("ended, and said no at one instant", GONE, "The withdrawal is the stronger word", ago(9, "confirm"),
       ago(2, "expire"), ago(2, "withdraw")),
    de("ended, then confirmed anew", YES, "A new consent", ago(9, "expire"), ago(2, "confirm")),
    de("a yes dated tomorrow, heard yesterday", YES, "It counts from when it was heard: a sender's clock was wrong",
       Said("confirm", NOW + DAY, heard=NOW - DAY)),
    de("a yes dated tomorrow, and a no after it was heard", GONE, "A wrong clock must not outlive a no",
       Said("confirm", NOW + DAY, heard=NOW - 2 * DAY), Said("withdraw", NOW - DAY)),
    de("a no of long ago that was heard today, a newer yes", YES, "What was said last counts, not what came in last",
       ago(9, "confirm"), ago(20, "withdraw", heard=NOW)),
    de("a no heard today, dated after the yes", GONE, "What was said last counts", ago(20, "confirm"),
       ago(9, "withdraw", heard=NOW)),
    de("imported without a ground, not confirmed", OPEN, "An import proves no more than it says", ago(9, "import")),
]  # fmt: skip

AMERICA = [
    there("US", "a text, plain yes", LITTLE, "47 CFR 64.1200(a)(2): prior express written consent", ago(9, "grant"),
          **SMS),
    there("US", "a text, in writing", YES, "47 CFR 64.1200(f)(9)", ago(9, "grant", "express_written"), **SMS),
    there("US", "a text, confirmed by text but not in writing", LITTLE, "Confirming a plain yes leaves it a plain yes",
          ago(9, "confirm", "express"), **SMS),
    there("US", "a text, confirmed a request in writing", YES, "The confirmation has its request's ground",
          ago(9, "request", "express_written", id="r"), ago(8, "confirm", answers="r"), **SMS),
    there("US", "a text, in writing, then STOP", GONE, "47 CFR 64.1200(a)(10): revoked by any reasonable means",
          ago(9, "grant", "express_written"), ago(1, "withdraw", topic="*"), **SMS),
    there("US", "a text, STOP, then a plain yes", LITTLE, "The new yes must be in writing too",
          ago(9, "grant", "express_written"), ago(5, "withdraw", topic="*"), ago(1, "grant"), **SMS),
    there("US", "a text, a purchase", LITTLE, "No implied consent to marketing texts", ago(9, "grant",
          "implied_purchase"),
          **SMS),
    there("US", "a text to a company's number", LITTLE, "The law protects the number, not its holder", ago(9, "grant"),
          **SMS, **B2B),
    there("US", "a text, both a plain and a written yes", YES, "One of the grounds suffices",
          ago(9, "grant", "express_written"), ago(2, "grant", "express"), **SMS),
    there("US", "e-mail, nothing on record", NONE, "CAN-SPAM asks for none; we ask for a ground on record"),
    there("US", "e-mail, legitimate interest", YES, "15 U.S.C. 7704: an opt-out regime",
          ago(9, "grant", "legitimate_interest")),
    there("US", "e-mail, imported", YES, "15 U.S.C. 7704: an opt-out regime", ago(9, "import")),
    there("US", "e-mail, opted out", GONE, "15 U.S.C. 7704(a)(4)", ago(9, "import"), ago(1, "withdraw")),
    there("US", "a letter", FREE, "No statute asks for consent", **MAIL),
    there("US", "a letter, asked to stop", GONE, "DMA guidelines; the house's own word", ago(1, "withdraw"), **MAIL),
    there("US", "push, nothing", NONE, "App Store guideline 4.5.4: explicit opt-in", **PUSH),
    there("US", "push, opted in", YES, "App Store guideline 4.5.4", ago(9, "grant"), **PUSH),
    there("US", "push, soft opt-in", LITTLE, "App Store guideline 4.5.4: explicit", ago(9, "grant", "soft_opt_in"),
          **PUSH),
    there("CA", "express", YES, "CASL s. 6(1)(a): express consent does not lapse", ago(2000, "grant")),
    there("CA", "nothing", NONE, "CASL s. 6"),
    there("CA", "bought 23 months ago", YES, "CASL s. 10(10)(a): two years",
          Said("grant", day("2024-12-23"), "implied_purchase")),
    there("CA", "bought two years ago to the hour", LAPSED, "CASL s. 10(10)(a): within two years before",
          Said("grant", day("2024-11-22"), "implied_purchase")),
    there("CA", "bought a day less than two years ago", YES, "CASL s. 10(10)(a)",
          Said("grant", day("2024-11-23"), "implied_purchase")),
    there("CA", "bought long ago, and again last month", YES, "CASL s. 10(10)(a): from the newest purchase",
          Said("grant", day("2020-01-01"), "implied_purchase"), Said("grant", day("2026-10-22"), "implied_purchase")),
    there("CA", "inquired five months ago", YES, "CASL s. 10(10)(e): six months",
          Said("grant", day("2026-06-23"), "implied_inquiry")),
    there("CA", "inquired six months ago", LAPSED, "CASL s. 10(10)(e)", Said("grant", day("2026-05-22"),
          "implied_inquiry")),
    there("CA", "a lapsed purchase and an express yes", YES, "CASL s. 6(1)(a)",
          Said("grant", day("2020-01-01"), "implied_purchase"), Said("grant", day("2019-01-01"), "express")),
    there("CA", "bought, and unsubscribed", GONE, "CASL s. 11(3)", ago(30, "grant", "implied_purchase"), ago(1,
          "withdraw")),
    there("CA", "unsubscribed, then bought", GONE, "CASL s. 11(3): a purchase is not the person's word against the no",
          ago(60, "withdraw"), ago(30, "grant", "implied_purchase")),
    there("CA", "unsubscribed, then bought, then agreed", YES, "The person's own word answers",
          ago(60, "withdraw"), ago(30, "grant", "implied_purchase"), ago(9, "grant", "express")),
    there("CA", "unsubscribed, then agreed for a time that is over, then bought", OVER,
          "What answered the no is over", ago(60, "withdraw"), ago(30, "grant", "express", until=NOW - 9 * DAY),
          ago(2, "grant", "implied_purchase")),
    there("US", "e-mail, opted out, then an interest recorded", GONE,
          "15 U.S.C. 7704(a)(4): no interest of ours answers",
          ago(9, "withdraw"), ago(3, "grant", "legitimate_interest")),
    there("CA", "legitimate interest", LITTLE, "CASL knows no such ground", ago(9, "grant", "legitimate_interest")),
    there("CA", "a text, bought", YES, "CASL covers texts alike", ago(30, "grant", "implied_purchase"), **SMS),
]  # fmt: skip

EUROPE = [
    there("GB", "soft opt-in by text", YES, "PECR reg. 22(3): electronic mail includes texts",
          ago(9, "grant", "soft_opt_in"), **SMS),
    there("GB", "plain yes", YES, "PECR reg. 22(2)", ago(9, "grant")),
    there("GB", "nothing, a person", NONE, "PECR reg. 22(2)"),
    there("GB", "nothing, a sole trader", NONE, "PECR reg. 2: sole traders are individual subscribers", **SOLE),
    there("GB", "soft opt-in, a sole trader", YES, "PECR reg. 22(3)", ago(9, "grant", "soft_opt_in"), **SOLE),
    there("GB", "nothing, a company", FREE, "PECR reg. 22(1) protects individual subscribers only", **B2B),
    there("GB", "a company's contact objected", GONE, "UK GDPR art. 21(2)", ago(9, "withdraw"), **B2B),
    there("GB", "a company's contact agreed", YES, "Evidence is told even where none is needed", ago(9, "grant"),
          **B2B),
    there("GB", "push to a company's contact", NONE, "Explicit opt-in everywhere", **PUSH, **B2B),
    there("FR", "nothing, a person", NONE, "CPCE L34-5"),
    there("FR", "a company, legitimate interest on record", YES, "CPCE L34-5: related to the person's work",
          ago(9, "grant", "legitimate_interest"), **B2B),
    there("FR", "a company, nothing on record", NONE, "The interest must be on record", **B2B),
    there("FR", "a person, legitimate interest", LITTLE, "CPCE L34-5", ago(9, "grant", "legitimate_interest")),
    there("FR", "a company, legitimate interest, by text", LITTLE, "The CNIL's reading is of e-mail",
          ago(9, "grant", "legitimate_interest"), **B2B, **SMS),
    there("IT", "soft opt-in, e-mail", YES, "Codice privacy art. 130(4)", ago(9, "grant", "soft_opt_in")),
    there("IT", "soft opt-in, text", LITTLE, "Codice privacy art. 130(4) is of e-mail", ago(9, "grant", "soft_opt_in"),
          **SMS),
    there("PL", "soft opt-in", LITTLE, "PKE art. 398 knows none", ago(9, "grant", "soft_opt_in")),
    there("AT", "plain yes", YES, "TKG 2021 § 174", ago(9, "grant")),
    there("NO", "a letter", FREE, "GDPR art. 6(1)(f), in the EEA too", **MAIL),
]  # fmt: skip

ELSEWHERE = [
    there("AU", "inferred from a purchase", YES, "Spam Act 2003 sched. 2: inferred consent",
          ago(900, "grant", "implied_purchase")),
    there("AU", "nothing", NONE, "Spam Act 2003 s. 16"),
    there("AU", "a letter", NONE, "Nothing we have read lets us write without a yes", **MAIL),
    there("", "plain yes, nobody knows where", YES, "The strictest common ground of e-mail", ago(9, "grant")),
    there("", "soft opt-in, nobody knows where", LITTLE, "Fail closed", ago(9, "grant", "soft_opt_in")),
    there("", "a letter, nobody knows where", NONE, "Fail closed", **MAIL),
    there("BR", "a country without a row", YES, "The row for all others", ago(9, "grant")),
    there("BR", "a purchase, a country without a row", LITTLE, "The row for all others", ago(9, "grant",
          "implied_purchase")),
    there("GB DE", "unconfirmed, address in one, number of the other", OPEN, "Each candidate country must be satisfied",
          ago(9, "grant")),
    there("GB DE", "confirmed", YES, "Each candidate country must be satisfied", ago(9, "confirm")),
    there("DE US", "a text, confirmed but not in writing", LITTLE, "The United States ask for writing", ago(9,
          "confirm"),
          **SMS),
    there("DE US", "a text, in writing but not confirmed", OPEN, "Germany asks for a confirmation",
          ago(9, "grant", "express_written"), **SMS),
    there("DE US", "a text, in writing and confirmed", YES, "Both are satisfied",
          ago(9, "confirm", "express_written"), **SMS),
    there("CA GB", "a purchase that is soft opt-in on neither side", LITTLE,
          "The United Kingdom knows no implied consent",
          ago(9, "grant", "implied_purchase")),
    there("CA GB", "a purchase in the one, soft opt-in in the other", YES, "Each country by the ground that does there",
          ago(9, "grant", "implied_purchase"), ago(9, "grant", "soft_opt_in")),
    there("GB AU", "a company's letter", NONE, "The stricter of the two", **MAIL, **B2B),
]  # fmt: skip

SERVICE = [
    de("transactional, nothing said", "allow transactional", "No marketing: ePrivacy Directive art. 13 does not apply",
       purpose="transactional", topic="contract"),
    de("transactional, a general no", "allow transactional", "A no to marketing is none to the contract",
       ago(9, "withdraw", topic="*"), purpose="transactional", topic="contract"),
    de("transactional, a no to exactly this", GONE, "What the preference centre offers to stop is stopped",
       ago(9, "withdraw", topic="contract"), purpose="transactional", topic="contract"),
    de("transactional, a no to exactly this, then a yes", "allow transactional", "The newer word",
       ago(9, "withdraw", topic="contract"), ago(2, "grant", topic="contract"), purpose="transactional",
       topic="contract"),
]  # fmt: skip

HISTORIES = [*GERMANY, *TOPICS, *TIME, *AMERICA, *EUROPE, *ELSEWHERE, *SERVICE]
