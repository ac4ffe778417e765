"""Phone numbers from outside: E.164, and every time zone the number may ring in.

libphonenumber is the authority. It takes some 40 µs a number, most of it looking its patterns up, so numbers that come
as `+` and digits (nearly all of an export) are judged by the same patterns, compiled once; a test holds the two
together. Everything else goes through the library itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberFormat,
    PhoneNumberType,
    format_number,
    number_type,
    parse,
    region_code_for_number,
)

# Where libphonenumber knows one zone and the area has more (read against its data of 2026-11; it also takes the whole
# of Yukon to Nunavut for Fort Nelson, and a Jamaican mobile for anywhere in America).
_AREAS: Mapping[str, tuple[str, ...]] = {
    "1850": ("America/New_York", "America/Chicago"),
    "1448": ("America/New_York", "America/Chicago"),
    "1606": ("America/New_York", "America/Chicago"),
    "1812": ("America/New_York", "America/Chicago"),
    "1930": ("America/New_York", "America/Chicago"),
    "1308": ("America/Chicago", "America/Denver"),
    "1541": ("America/Los_Angeles", "America/Boise"),
    "1458": ("America/Los_Angeles", "America/Boise"),
    "1906": ("America/Detroit", "America/Menominee"),
    "1928": ("America/Phoenix", "America/Denver", "America/Los_Angeles"),
    "1867": (
        "America/Whitehorse",
        "America/Dawson",
        "America/Inuvik",
        "America/Yellowknife",
        "America/Cambridge_Bay",
        "America/Rankin_Inlet",
        "America/Iqaluit",
        "America/Resolute",
    ),
}
_INSTEAD: Mapping[str, tuple[str, ...]] = {"1876": ("America/Jamaica",), "1658": ("America/Jamaica",)}


def phone(raw: Any, country: str | None = None) -> tuple[str, str]:
    """(E.164, candidate zones separated by spaces). No zones known: the second is empty, and no text goes out there.

    `country` (ISO 3166 alpha-2) is where a number without `+` is dialled. Raises ValueError with the end of a sentence.
    """
    return numbered(raw, country)[:2]


def numbered(raw: Any, country: str | None = None) -> tuple[str, str, str | None]:
    """As `phone`, and beside it the country whose plan the number is of (as `country_of`)."""
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise ValueError("is not a text")
    value = str(raw).strip()
    known = _plainly(value)
    if known is not None:
        return known
    if not country and not value.startswith("+"):
        raise ValueError("has no country: write it with + and the country code, or fill in the column `country`")
    try:
        parsed = parse(value, country)
    except NumberParseException:
        raise ValueError("is no phone number; write it as +49 30 1234567") from None
    kind = number_type(parsed)
    if kind == PhoneNumberType.UNKNOWN or parsed.extension:
        raise ValueError("is no number that can be dialled; check its length and its country")
    e164 = format_number(parsed, PhoneNumberFormat.E164)
    zones = _zones_of(e164[1 : 1 + _LONGEST_PREFIX], parsed.country_code, kind)
    return e164, zones, region_code_for_number(parsed)


# ---- the quick way --------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"\+[1-9][0-9]{6,14}")
_SPACED = str.maketrans("", "", " -.()/")


def _plainly(value: str) -> tuple[str, str, str | None] | None:
    """The answer for a valid number in international form; None: ask the library (which knows why it is not)."""
    value = value.translate(_SPACED)
    if not _PLAIN.fullmatch(value):
        return None
    code = calling_code(value)
    if code is None:
        return None
    national = value[1 + len(str(code)) :]
    regions = _regions(code)
    # A trunk prefix (+49 (0) 30…), and the leading zero that an Italian number keeps, are the library's business.
    if national[0] == "0" or not regions or (regions[0].trunk is not None and regions[0].trunk.match(national)):
        return None
    kind, country = _kind(regions, national)
    if kind == PhoneNumberType.UNKNOWN:
        return None
    return value, _zones_of(value[1 : 1 + _LONGEST_PREFIX], code, kind), country


def calling_code(e164: str) -> int | None:
    """The country calling code of `+` and digits; None when there is none of that number."""
    return _code(e164[1:4])


@lru_cache(maxsize=4_096)
def _code(first: str) -> int | None:
    for length in (1, 2, 3):
        if first[:length].isdecimal() and int(first[:length]) in COUNTRY_CODE_TO_REGION_CODE:
            return int(first[:length])
    return None


def country_of(e164: str) -> str | None:
    """The country (ISO 3166) whose plan a valid number is of, as region_code_for_number; None: it cannot be told."""
    code = calling_code(e164)
    if code is None:
        return None
    regions = _regions(code)
    if len(regions) == 1:
        return regions[0].country
    return _kind(regions, e164[1 + len(str(code)) :])[1]


@dataclass(frozen=True, slots=True)
class _Pattern:
    lengths: frozenset[int]
    shape: re.Pattern[str]

    def fits(self, national: str) -> bool:
        return (not self.lengths or len(national) in self.lengths) and self.shape.fullmatch(national) is not None


@dataclass(frozen=True, slots=True)
class _Region:
    country: str
    trunk: re.Pattern[str] | None
    leading: re.Pattern[str] | None
    general: _Pattern | None
    special: tuple[tuple[int, _Pattern], ...]
    fixed: _Pattern | None
    mobile: _Pattern | None
    alike: bool

    def kind(self, national: str) -> int:
        if self.general is None or not self.general.fits(national):
            return PhoneNumberType.UNKNOWN
        for kind, pattern in self.special:
            if pattern.fits(national):
                return kind
        if self.fixed is not None and self.fixed.fits(national):
            both = self.alike or (self.mobile is not None and self.mobile.fits(national))
            return PhoneNumberType.FIXED_LINE_OR_MOBILE if both else PhoneNumberType.FIXED_LINE
        if not self.alike and self.mobile is not None and self.mobile.fits(national):
            return PhoneNumberType.MOBILE
        return PhoneNumberType.UNKNOWN


def _kind(regions: tuple[_Region, ...], national: str) -> tuple[int, str | None]:
    """(type, country), as number_type: the region is the first whose leading digits match or, where it has none, whose
    patterns do."""
    if len(regions) == 1:
        return regions[0].kind(national), regions[0].country
    for region in regions:
        if region.leading is not None:
            if region.leading.match(national):
                return region.kind(national), region.country
        elif (kind := region.kind(national)) != PhoneNumberType.UNKNOWN:
            return kind, region.country
    return PhoneNumberType.UNKNOWN, None


_SPECIAL = (  # in the library's order
    (PhoneNumberType.PREMIUM_RATE, "premium_rate"),
    (PhoneNumberType.TOLL_FREE, "toll_free"),
    (PhoneNumberType.SHARED_COST, "shared_cost"),
    (PhoneNumberType.VOIP, "voip"),
    (PhoneNumberType.PERSONAL_NUMBER, "personal_number"),
    (PhoneNumberType.PAGER, "pager"),
    (PhoneNumberType.UAN, "uan"),
    (PhoneNumberType.VOICEMAIL, "voicemail"),
)


@lru_cache(maxsize=512)
def _regions(country_code: int) -> tuple[_Region, ...]:
    found = []
    for code in COUNTRY_CODE_TO_REGION_CODE[country_code]:
        data: Any = PhoneMetadata.metadata_for_region_or_calling_code(country_code, code)
        if data is None:
            continue
        special = tuple((kind, p) for kind, name in _SPECIAL if (p := _pattern(getattr(data, name))) is not None)
        found.append(
            _Region(
                code,
                re.compile(data.national_prefix_for_parsing) if data.national_prefix_for_parsing else None,
                re.compile(data.leading_digits) if data.leading_digits else None,
                _pattern(data.general_desc),
                special,
                _pattern(data.fixed_line),
                _pattern(data.mobile),
                bool(data.same_mobile_and_fixed_line_pattern),
            )
        )
    return tuple(found)


def _pattern(desc: Any) -> _Pattern | None:
    if desc is None or not desc.national_number_pattern:
        return None
    return _Pattern(frozenset(desc.possible_length), re.compile(desc.national_number_pattern))


# ---- zones ----------------------------------------------------------------------------------------------------------

_LONGEST_PREFIX = 9  # of libphonenumber's zone data


@lru_cache(maxsize=65_536)
def _zones_of(prefix: str, country_code: int, kind: int) -> str:
    from phonenumbers.phonenumberutil import is_number_type_geographical
    from phonenumbers.tzdata import TIMEZONE_DATA

    if prefix[:4] in _INSTEAD:
        return " ".join(_INSTEAD[prefix[:4]])
    # As time_zones_for_number does it, which cannot be asked by prefix: a number bound to no place is anywhere in
    # its country.
    digits = prefix if is_number_type_geographical(kind, country_code) else str(country_code)
    found: set[str] = set()
    for length in range(len(digits), 0, -1):
        if digits[:length] in TIMEZONE_DATA:
            found.update(TIMEZONE_DATA[digits[:length]])
            break
    found.update(_AREAS.get(prefix[:4], ()))
    found.discard("Etc/Unknown")
    return " ".join(sorted(found))
