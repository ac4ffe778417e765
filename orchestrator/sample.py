"""A small invented business to try things on: seed in, import rows out. No file, no clock, no chance of its own.

Every function takes `n` (customers in all, a third of them contacts of companies), `seed`, `start` (the day the trial
begins) and `on`: rows are what a nightly export would hold at the end of that day, so that importing day after day
brings new members, orders and tier changes, and importing a day twice brings nothing. In the nine days after `start`
there are birthdays, anniversaries, new members, members who move up, buyers whose last order is sixty days ago,
contracts that end ninety days later and new contracts. From `START`, the fourth day is the change of the clock in
Europe and the eighth the first day of a quarter.

Rows have the columns of `orchestrator import`. Names are invented, e-mail addresses stand under example.com, phones are
fictional or example numbers that are valid in form. Some have no phone, no e-mail, no consent, or no known zone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

START = date(2027, 3, 25)
N = 200
SEED = 7

Row = dict[str, Any]
T = TypeVar("T")

_FIRST = (
    "Hanna", "Milan", "Zoë", "Łukasz", "Søren", "José", "Aylin", "Елена", "Νίκος", "美咲", "Amara", "Thảo",
    "Noémie", "Björn", "يوسف", "Priya", "Tomáš", "דניאל", "Imani", "Ígor", "Mairéad", "Олексій", "Jürgen", "지우",
    "Chloé", "Mateus", "Σοφία", "Freya", "Raúl", "Wanda",
)  # fmt: skip
_LAST = (
    "Tannberg", "Vellmar", "Oduyale", "Kestrinsky", "Ashgrove-Lunt", "Bergholm", "Çalıkuşlu", "Бережковець",
    "Καλλιμάρης", "高野原", "Quillworth", "Marovič", "d'Aubray-Lis", "Steinfurthner", "Nakwele", "Østerlind",
    "O'Dunmore", "Peñaflorida", "Rautavesi", "Zwönitzer", "Hallendorff", "Iyerson", "Żelaznowicz", "Fennimoor",
)  # fmt: skip
_COMPANY = (
    "Velora", "Tannwerk", "Brightfen", "Quillstone", "Maristo", "Heliobay", "Nordhafen", "Copperlane", "Zirbelkraft",
    "Oakenhollow", "Pontavie", "Lumenfeld", "Saltmarsh", "Kiefernblick", "Astravelle",
)  # fmt: skip
_STORES = {"DE": "Berlin Mitte", "AT": "Wien Neubau", "CH": "Zürich West"}
_SUFFIX = {"DE": "GmbH", "AT": "GmbH", "CH": "AG", "GB": "Ltd", "US": "Inc.", "FR": "SAS"}
_INDUSTRIES = ("retail", "health", "software")
_MANAGERS = (("Mara Lindenau", "mara.lindenau@example.com"), ("Jonas Achterberg", "jonas.achterberg@example.com"))


@dataclass(frozen=True, slots=True)
class _Place:
    country: str
    city: str
    postcode: str
    region: str
    zone: str
    locale: str
    street: str
    phone: str  # what comes before the running number
    digits: int


_PLACES = (
    _Place("DE", "Berlin", "10115", "", "Europe/Berlin", "de", "Lindenweg {}", "+49171392", 4),
    _Place("US", "New York", "10001", "NY", "America/New_York", "en-US", "{} Maple Row", "+121255501", 2),
    _Place("AT", "Wien", "1070", "", "Europe/Vienna", "de-AT", "Ahorngasse {}", "+43664123", 3),
    _Place("GB", "London", "E1 6AN", "", "Europe/London", "en-GB", "{} Orchard Mews", "+447400123", 3),
    _Place("DE", "München", "80331", "", "Europe/Berlin", "de", "Am Brunnen {}", "+49171392", 4),
    _Place("US", "Los Angeles", "90012", "CA", "America/Los_Angeles", "en-US", "{} Cedar Walk", "+121355501", 2),
    _Place("CH", "Zürich", "8001", "", "Europe/Zurich", "de-CH", "Quellenstrasse {}", "+4178123", 4),
    _Place("FR", "Lyon", "69002", "", "Europe/Paris", "fr", "{} rue des Tilleuls", "+33612345", 3),
    _Place("DE", "Hamburg", "20095", "", "Europe/Berlin", "de", "Fährstieg {}", "+49171392", 4),
    # Texas has two zones and hours of its own: a text waits until nine in El Paso, too.
    _Place("US", "Dallas", "75201", "TX", "America/Chicago", "en-US", "{} Prairie Court", "+121455501", 2),
    _Place("US", "Honolulu", "96813", "HI", "Pacific/Honolulu", "en-US", "{} Plumeria Lane", "+180855501", 2),
    _Place("GB", "Edinburgh", "EH1 1YZ", "", "Europe/London", "en-GB", "{} Weaver's Close", "+447400123", 3),
)
_TOLL_FREE = "+180055501{:02}"  # forty-two candidate zones: a text to it must never find an open window

# What the trial has in store for a member of the shop, by turns.
_BIRTHDAY, _ANNIVERSARY, _LAPSING, _NEW, _MOVES_UP, _GONE = range(6)
_STORIES = 8
_B2C = ("bronze", "silver", "gold", "platinum")


@dataclass(frozen=True, slots=True)
class _Member:
    """One customer: a member of the shop (`account` None) or a contact of a company."""

    number: int
    key: str
    story: int
    day: date  # the day of the story
    place: _Place
    joined: date
    account: int | None
    role: str | None
    line: int  # running number among those whose phones begin alike


def _draw(seed: int, *names: object) -> float:
    """[0, 1), the same for ever for the same names."""
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _pick(options: Sequence[T], seed: int, *names: object) -> T:
    return options[int(_draw(seed, *names) * len(options))]


def _at(day: date, seed: int, *names: object) -> str:
    """An instant of that day as text, between 08:00 and 18:00 UTC, to the minute."""
    minutes = 480 + int(_draw(seed, "minute", *names) * 600)
    return (datetime.combine(day, time(), UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02} EUR"


def _years_before(day: date, years: int) -> date:
    if (day.month, day.day) == (2, 29):
        day = day.replace(day=28)
    return day.replace(year=day.year - years)


def invented_name(seed: int, key: str) -> tuple[str, str]:
    """First and last name of nobody, the same for ever for the same key."""
    return _pick(_FIRST, seed, "first", key), _pick(_LAST, seed, "last", key)


def _contacts(n: int) -> int:
    return n // 3


def _companies(n: int) -> int:
    return max(_contacts(n) // 3, 1)


def _members(n: int, seed: int, start: date) -> list[_Member]:
    people = []
    lines: Counter[str] = Counter()
    for i in range(n - _contacts(n)):
        story, day = i % _STORIES, start + timedelta(days=1 + i // _STORIES % 9)
        place = _PLACES[(i * 5 + i // _STORIES) % len(_PLACES)]
        joined = start - timedelta(days=400 + int(_draw(seed, "joined", i) * 1500))
        if story == _ANNIVERSARY:
            joined = _years_before(day, 1 + i // _STORIES % 4)
        elif story == _NEW:
            joined = day
        people.append(_Member(i, f"member-{i + 1:04}", story, day, place, joined, None, None, lines[place.phone]))
        lines[place.phone] += 1
    for i in range(_contacts(n)):
        company = i % _companies(n)
        role = _ROLES["partner" if _is_partner(company) else "b2b"][i // _companies(n) % 3]
        joined = start - timedelta(days=300 + int(_draw(seed, "contact", i) * 900))
        place, day = _place_of(company), _day_of(company, start)
        people.append(_Member(n + i, f"contact-{i + 1:04}", -1, day, place, joined, company, role, lines[place.phone]))
        lines[place.phone] += 1
    return people


def _tier(member: _Member, on: date) -> str:
    turn = member.number // _STORIES
    if member.story == _NEW:
        return "bronze"
    if member.story == _MOVES_UP:
        return _B2C[turn % 3 + (1 if on >= member.day else 0)]
    if member.story in (_BIRTHDAY, _ANNIVERSARY):
        return _B2C[3 - turn % 4]
    return _B2C[(0, 0, 0, 1, 1, 2, 0, 1, 3, 0)[(member.number * 7 + turn) % 10]]


# ---- companies ------------------------------------------------------------------------------------------------------

_ROLES = {"b2b": ("decision_maker", "procurement", "admin"), "partner": ("owner", "partner_lead", "marketing")}
_VALUES = (1_800_000, 4_200_000, 9_600_000, 30_000_000)  # cents a year; the tier follows
_B2B_TIERS = ("standard", "preferred", "preferred", "strategic")
_PARTNER_TIERS = ("registered", "silver", "gold")


def _is_partner(company: int) -> bool:
    return company % 5 in (2, 4)


def _place_of(company: int) -> _Place:
    return _PLACES[company * 7 % len(_PLACES)]


def _day_of(company: int, start: date) -> date:
    return start + timedelta(days=1 + company % 9)


def _account_key(company: int) -> str:
    return f"company-{company + 1:03}"


def _contract_key(company: int, number: int = 1) -> str:
    return f"contract-{company + 1:03}-{number}"


def _signs(company: int) -> bool:
    """A company whose first contract is signed in the days of the trial."""
    return not _is_partner(company) and company % 5 == 3


def accounts(n: int = N, seed: int = SEED, start: date = START, on: date | None = None) -> list[Row]:
    """Companies: b2b and partners, one of them a daughter of another, one that has left."""
    rows = []
    for i in range(_companies(n)):
        place, partner = _place_of(i), _is_partner(i)
        name = f"{_COMPANY[i % len(_COMPANY)]}{'' if i < len(_COMPANY) else ' ' + str(i // len(_COMPANY) + 1)}"
        manager, address = _MANAGERS[i % len(_MANAGERS)]
        rows.append(
            {
                "key": _account_key(i),
                "name": f"{name} {_SUFFIX[place.country]}",
                "class": "partner" if partner else "b2b",
                "tier": _PARTNER_TIERS[i % 3] if partner else _B2B_TIERS[i % 4],
                "parent": _account_key(0) if i == 6 else "",
                "country": place.country,
                "timezone": place.zone,
                "joined": (start - timedelta(days=2 if _signs(i) else 700 + i)).isoformat(),
                "status": "churned" if i == 11 else "active",
                "annual_value": _money(0 if partner else _VALUES[i % 4]),
                "industry": ("agency", "incubator")[i % 2] if partner else _pick(_INDUSTRIES, seed, "industry", i),
                "manager_name": manager,
                "manager_email": address,
            }
        )
    return rows


def _contract(company: int, start: date) -> Row:
    """Ends ninety days after a day of the trial; a new one a year after it. One in a few renews by itself."""
    return {
        "type": "contract",
        "contract_id": _contract_key(company),
        "account": _account_key(company),
        "product": f"Acme Suite, {(20, 50, 120, 400)[company % 4]} seats",
        "ends": (_day_of(company, start) + timedelta(days=365 if _signs(company) else 90)).isoformat(),
        "value": _money(_VALUES[company % 4]),
        "auto_renew": "yes" if company % 10 == 1 else "no",
    }


def _invoice(company: int, start: date) -> Row:
    return {
        "type": "invoice",
        "invoice_id": f"invoice-{company + 1:03}",
        "account": _account_key(company),
        "due": (start + timedelta(days=company % 30 - 15)).isoformat(),
        "amount": _money(_VALUES[company % 4] // 4),
        "paid": "no" if company % 3 == 0 else "yes",
    }


def _opportunity(company: int, seed: int, start: date) -> Row:
    return {
        "type": "opportunity",
        "opportunity_id": f"opportunity-{company + 1:03}",
        "account": _account_key(company),
        "stage": _pick(("open", "won", "lost"), seed, "stage", company),
        "amount": _money(_VALUES[company % 4] // 2),
        "closes": (start + timedelta(days=20 + company)).isoformat(),
    }


def records(n: int = N, seed: int = SEED, start: date = START, on: date | None = None) -> list[Row]:
    """Contracts, invoices and opportunities of the b2b companies, as known at the end of `on` (default: `start`)."""
    today = on or start
    rows: list[Row] = []
    for i in range(_companies(n)):
        if _is_partner(i):
            continue
        if not _signs(i) or _day_of(i, start) <= today:
            rows.append(_contract(i, start))
        rows.append(_invoice(i, start))
        if i % 3 == 0:
            rows.append(_opportunity(i, seed, start))
    return rows


# ---- people ---------------------------------------------------------------------------------------------------------


def _birthday(member: _Member, seed: int, start: date) -> str:
    if member.story == _BIRTHDAY:
        return _years_before(member.day, 24 + member.number % 50).isoformat()
    if member.number == 5:
        return "1988-02-29"
    if member.account is not None or member.number % 10 == 9:
        return ""
    # Nobody else's in the days of the trial: what it sends stays easy to foresee.
    age = 7_000 + int(_draw(seed, "born", member.number) * 18_000)
    born = start - timedelta(days=age)
    this_year = _years_before(born, born.year - start.year)
    return (born + timedelta(days=60) if abs((this_year - start).days) < 32 else born).isoformat()


def _phone(member: _Member) -> str:
    if member.number % 11 == 3:
        return ""
    if _unknown_zone(member):
        return _TOLL_FREE.format(member.number // 40 % 100)
    return member.place.phone + f"{member.line % 10**member.place.digits:0{member.place.digits}}"


def _email(member: _Member) -> str:
    """None for some members, and for every fourth company's contacts: there a letter takes the place."""
    silent = member.number % 19 == 7 if member.account is None else member.account % 4 == 1
    return "" if silent else f"{member.key}@example.com"


def _unknown_zone(member: _Member) -> bool:
    return member.account is None and member.number % 40 == 12


def _legal_form(member: _Member) -> str:
    """Law asks more for a person than for a company; a few small partners are persons."""
    if member.account is None:
        return "individual"
    return "sole_trader" if member.account % 10 == 4 else "corporate"


def customers(n: int = N, seed: int = SEED, start: date = START, on: date | None = None) -> list[Row]:
    """Members of the shop and contacts of companies, as known at the end of `on` (default: `start`)."""
    today = on or start
    rows = []
    company_rows = accounts(n, seed, start)
    for m in _members(n, seed, start):
        if m.joined > today:
            continue
        company = company_rows[m.account] if m.account is not None else None
        rows.append(
            {
                "key": m.key,
                "class": company["class"] if company else "b2c",
                "tier": company["tier"] if company else _tier(m, today),
                "account": company["key"] if company else "",
                "role": m.role or "",
                "first_name": _pick(_FIRST, seed, "first", m.key),
                "last_name": _pick(_LAST, seed, "last", m.key),
                "email": _email(m),
                "phone": _phone(m),
                "country": "US" if _unknown_zone(m) else m.place.country,
                "region": "" if _unknown_zone(m) else m.place.region,
                "locale": m.place.locale,
                "timezone": "" if _unknown_zone(m) or m.number % 9 == 4 else m.place.zone,
                "street": "" if _unknown_zone(m) else m.place.street.format(1 + m.number % 90),
                "city": "" if _unknown_zone(m) else m.place.city,
                "postcode": "" if _unknown_zone(m) else m.place.postcode,
                "birthday": _birthday(m, seed, start),
                "joined": m.joined.isoformat(),
                "legal_form": _legal_form(m),
                "favourite_store": _STORES.get(m.place.country, "") if m.account is None else "",
            }
        )
    return rows


def _topics(member: _Member) -> tuple[tuple[str, str], ...]:
    if member.account is None:
        return tuple((medium, topic) for topic in ("loyalty", "offers") for medium in ("email", "sms", "push", "mail"))
    if _is_partner(member.account):
        return (("email", "partner-news"),)
    service = tuple((m, t) for t in ("getting-started", "contract-notices") for m in ("email", "sms", "mail"))
    return (*service, ("email", "offers"))


_SAID_YES = {"email": 0.9, "sms": 0.7, "push": 0.85, "mail": 0.9}
_SERVICE = ("getting-started", "contract-notices")
_WORDS = {
    "email": "Yes, Acme may send me e-mail about: {}. I can take that back at any time.",
    "sms": "Yes, Acme may text me about: {}. Message and data rates may apply. No purchase needed. Reply STOP to end.",
    "push": "Show me messages in the app about: {}.",
    "mail": "Acme may write to me about: {}. I can object at any time.",
}


def _said_yes(m: _Member, medium: str, topic: str) -> list[Row]:
    """A yes as the member's country wants it: in writing for American texts, asked and confirmed for German mails."""
    country = "US" if _unknown_zone(m) else m.place.country
    service = topic in _SERVICE
    name, minute = f"{m.key}-{medium}-{topic}", m.number % 60
    row: Row = {
        "event_id": name,
        "customer": m.key,
        "medium": medium,
        "topic": topic,
        "action": "grant",
        "occurred_at": f"{m.joined.isoformat()}T07:{minute:02}:00Z",
        "basis": "express_written" if country == "US" and medium == "sms" else "express",
        "method": "contract" if service else "app" if medium == "push" else "form",
        "jurisdiction": country,
        "wording": "" if service else _WORDS[medium].format(topic),
        "wording_version": "" if service else "3",
        "language": "en",
        "source": "order form" if service else "sign-up page",
        "source_url": "" if service else "https://acme.example/join",
        "ip": "" if service else f"192.0.2.{1 + m.number % 250}",
        "answers": "",
    }
    if service or country != "DE" or medium not in ("email", "sms"):
        return [row]
    asked = row | {"event_id": f"{name}-asked", "action": "request"}
    answer = {"action": "confirm", "method": "double opt-in", "answers": f"{name}-asked", "basis": "", "wording": ""}
    return [asked, row | answer | {"occurred_at": f"{m.joined.isoformat()}T08:{minute:02}:00Z"}]


def consents(n: int = N, seed: int = SEED, start: date = START, on: date | None = None) -> list[Row]:
    """Who said yes or no to what, and how. Every seventeenth member never said yes; some took it back."""
    today = on or start
    rows = []
    for m in _members(n, seed, start):
        if m.joined > today or (m.account is None and m.number % 17 == 6):
            continue
        for medium, topic in _topics(m):
            if topic not in _SERVICE and _draw(seed, "yes", m.key, medium, topic) >= _SAID_YES[medium]:
                continue
            said = _said_yes(m, medium, topic)
            rows += said
            gone = start - timedelta(days=5)
            if m.account is None and m.number % 13 == 5 and topic == "offers" and m.joined < gone:
                no = {
                    "action": "withdraw",
                    "occurred_at": _at(gone, seed, m.key, medium),
                    "basis": "",
                    "method": "link",
                    "source": "preference centre",
                    "wording": "",
                    "answers": "",
                }
                rows.append(said[0] | no | {"event_id": f"{m.key}-{medium}-{topic}-no"})
    return rows


def devices(n: int = N, seed: int = SEED, start: date = START, on: date | None = None) -> list[Row]:
    """Phones and browsers with the app: two of three members have one, some have two."""
    today = on or start
    rows = []
    for m in _members(n, seed, start):
        if m.account is not None or m.joined > today or m.number % 3 == 2:
            continue
        for count in range(2 if m.number % 10 == 0 else 1):
            token = hashlib.sha256(f"{seed}/device/{m.key}/{count}".encode()).hexdigest()[:40]
            platform = _pick(("android", "ios", "web"), seed, "platform", m.key, count)
            rows.append({"customer": m.key, "token": token, "platform": platform})
    return rows


# ---- what happened --------------------------------------------------------------------------------------------------


def _event(kind: str, owner: Row, day: date, seed: int, event_id: str, properties: Row) -> tuple[date, Row]:
    occurred = _at(day, seed, event_id)
    return day, {"type": kind, **owner, "occurred_at": occurred, "event_id": event_id, "properties": properties}


def _orders(member: _Member, seed: int, start: date) -> list[date]:
    """Days on which a member bought. Lapsing: last sixty-one days before the day of the story; gone: long before."""
    if member.story == _NEW:
        return [member.day + timedelta(days=2)] if member.number % 5 == 0 else []
    if member.story == _LAPSING:
        last = member.day - timedelta(days=61)
    elif member.story == _GONE:
        last = start - timedelta(days=200 + member.number % 90)
    else:
        last = start - timedelta(days=1 + int(_draw(seed, "last", member.key) * 40))
    days = [last - timedelta(days=30 * k + member.number % 7) for k in range(1, 1 + member.number % 5)]
    days = [*(d for d in days if d > member.joined), last]
    if _draw(seed, "again", member.key) < 0.15:  # comes back by itself, or because it was asked to
        days.append(max(member.day, start) + timedelta(days=2))
    return days


def _member_events(member: _Member, seed: int, start: date) -> list[tuple[date, Row]]:
    owner = {"customer": member.key}
    found = []
    if member.story == _NEW:
        source = {"source": _pick(("web", "store", "app"), seed, "source", member.key)}
        found.append(_event("signed_up", owner, member.joined, seed, f"{member.key}-signed-up", source))
    for count, day in enumerate(_orders(member, seed, start), 1):
        order = f"{member.key}-order-{count}"
        properties = {
            "order_id": order,
            "amount": _money(1_500 + int(_draw(seed, "amount", order) * 18_000)),
            "channel": _pick(("store", "web", "app"), seed, "channel", order),
        }
        found.append(_event("order_placed", owner, day, seed, order, properties))
    if member.number % 6 == 4:
        review = start - timedelta(days=10 + member.number % 20)
        product = {"product": _pick(("lamp", "kettle", "blanket"), seed, "product", member.key)}
        found.append(_event("review_written", owner, review, seed, f"{member.key}-review", product))
    if member.number % 60 == 18:
        subject = {"subject": "late delivery"}
        found.append(
            _event("complaint_opened", owner, start - timedelta(days=4), seed, f"{member.key}-complaint", subject)
        )
    return found


def _company_events(company: int, seed: int, start: date) -> list[tuple[date, Row]]:
    owner, key, day = {"account": _account_key(company)}, _account_key(company), _day_of(company, start)
    contract = {"contract_id": _contract_key(company)}
    if _is_partner(company):
        return [
            _event(
                "startup_referred",
                owner,
                day - timedelta(days=40 * k),
                seed,
                f"{key}-startup-{k}",
                {"startup": f"startup-{company + 1}-{k}"},
            )
            for k in range(1 + company % 4)
        ]
    if _signs(company):
        found = [_event("contract_signed", owner, day, seed, f"{key}-signed", contract)]
        if company % 2:
            device = {"device": "laptop"}
            found.append(_event("first_login", owner, day + timedelta(days=2), seed, f"{key}-login", device))
        if company % 4 == 1:
            seats = {"seats": 12}
            found.append(_event("onboarding_completed", owner, day + timedelta(days=5), seed, f"{key}-done", seats))
        return found
    found = []
    if company % 3 == 0:
        found.append(_event("renewal_quote_opened", owner, day + timedelta(days=2), seed, f"{key}-quote", contract))
    if company % 6 == 0:
        found.append(_event("contract_renewed", owner, day + timedelta(days=4), seed, f"{key}-renewed", contract))
    return found


def events(n: int = N, seed: int = SEED, start: date = START, on: date | None = None) -> list[Row]:
    """What members and companies did up to the end of `on` (default: `start`), in order of time."""
    today = on or start
    found = [e for m in _members(n, seed, start) if m.account is None for e in _member_events(m, seed, start)]
    found += [e for i in range(_companies(n)) for e in _company_events(i, seed, start)]
    rows = [row for day, row in found if day <= today]
    return sorted(rows, key=lambda row: (row["occurred_at"], row["event_id"]))
