"""What a row from outside may say: a table of cases, and properties against the libraries we take short cuts around."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import timezone as phone_timezone

from orchestrator.cells import address_region, email, moment, money
from orchestrator.model import LOYALTY_EVENTS, Loyalty
from orchestrator.phone import phone
from orchestrator.rows import KINDS, ImportKind, ReadRow, RowReader, direction, fingerprint, tier_problem
from tests.store.vocabulary import VOCABULARY

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def read(kind: ImportKind, row: dict[str, Any]) -> ReadRow | str:
    return RowReader(kind, VOCABULARY, NOW).read(row)


# (a customer's cells, what is stored of them or, as text, what the refusal says)
CUSTOMER: list[tuple[dict[str, Any], dict[str, Any] | str]] = [
    ({"class": "b2c"}, {"class": "b2c"}),
    ({"class": "B2C"}, {"class": "b2c"}),
    ({"class": "clubb"}, "class `clubb` is not a declared class; did you mean `club`?"),
    ({"class": ""}, "class must not be empty"),
    ({"class": "b2c", "tier": "goldd"}, "tier `goldd` is not a declared tier; did you mean `gold`?"),
    ({"tier": ""}, {"tier": None}),
    ({"first_name": "  Zoë "}, {"first_name": "Zoë"}),
    ({"first_name": "Zoe\u0308"}, {"first_name": "Zoë"}),  # composed
    ({"first_name": None}, {"first_name": None}),
    ({"first_name": "=HYPERLINK(1)"}, "first_name begins with `=`, which a spreadsheet takes for a formula"),
    ({"last_name": "@SUM(A1)"}, "last_name begins with `@`"),
    ({"company": "+1"}, "company begins with `+`"),
    ({"street": "-2+3"}, "street begins with `-`"),
    ({"first_name": "A\nBcc: x"}, "first_name holds control characters or line breaks"),
    ({"last_name": "a\u202eb"}, "last_name holds control characters"),
    ({"first_name": "A\x00"}, "first_name holds control characters"),
    ({"first_name": "x" * 201}, "first_name is longer than 200 characters"),
    ({"first_name": ["a"]}, "first_name is not a text"),
    ({"email": "Ana@Example.COM"}, {"email": "Ana@example.com"}),
    ({"email": " a.b+c@example.com "}, {"email": "a.b+c@example.com"}),
    ({"email": "ü@example.com"}, {"email": "ü@example.com"}),
    ({"email": "ana@"}, "email is no e-mail address"),
    ({"email": "ana@@example.com"}, "email is no e-mail address"),
    ({"email": "ana@localhost"}, "email is no e-mail address"),
    ({"email": "a@example.com, b@example.com"}, "email is no e-mail address"),
    ({"email": "a@example.com\nBcc: b@example.com"}, "email is no e-mail address"),
    ({"email": "=1+1@example.com"}, "email begins with `=`"),
    ({"email": ""}, {"email": None}),
    (
        {"phone": "030 12345678", "country": "DE"},
        {"phone": "+493012345678", "phone_zones": "Europe/Berlin", "phone_places": "DE", "country": "DE"},
    ),
    (
        {"phone": "+1 (212) 555-0100"},
        {"phone": "+12125550100", "phone_zones": "America/New_York", "phone_places": "US-NY"},
    ),
    ({"phone": "030 12345678"}, "phone has no country: write it with +"),
    ({"phone": "+49 1"}, "phone is no"),
    ({"phone": "hello"}, "phone has no country"),
    ({"phone": "+49 30 1234567 ext. 5"}, "phone is no number that can be dialled"),
    (
        {"phone": "", "country": "DE"},
        {"phone": None, "phone_zones": None, "phone_places": None, "country": "DE"},
    ),
    ({"legal_form": "individual"}, {"legal_form": "individual"}),
    ({"legal_form": "Sole trader"}, {"legal_form": "sole_trader"}),
    ({"legal_form": "sole-trader"}, {"legal_form": "sole_trader"}),
    ({"legal_form": "PERSON"}, {"legal_form": "individual"}),
    ({"legal_form": "Company"}, {"legal_form": "corporate"}),
    ({"legal_form": " "}, {"legal_form": None}),
    ({"legal_form": ""}, {"legal_form": None}),
    (
        {"legal_form": "cat"},
        "legal_form `cat` is no legal form; write one of individual, sole_trader, corporate, or leave it empty",
    ),
    ({"country": "de"}, {"country": "DE"}),
    ({"country": "Germany"}, "country `Germany` is no ISO 3166 country code; write `DE`"),
    ({"country": "UK"}, "country `UK` is no ISO 3166 country code; write `GB`"),
    ({"country": "DEU"}, "country `DEU` is no ISO 3166 country code; write two letters"),
    ({"country": "EU"}, "country `EU` is no ISO 3166 country code"),
    ({"country": "US", "region": "California"}, {"country": "US", "region": "CA"}),
    ({"country": "US", "region": "Atlantis"}, {"country": "US", "region": "Atlantis"}),
    ({"locale": "de_AT"}, {"locale": "de-AT"}),
    ({"locale": "EN-gb"}, {"locale": "en-GB"}),
    ({"locale": "zh-hant-tw"}, {"locale": "zh-Hant-TW"}),
    ({"locale": "english"}, "locale `english` is no language tag; write `de` or `en-GB`"),
    ({"locale": "de-XX1"}, "locale `de-XX1` is no language tag"),
    ({"timezone": "Europe/Berlin"}, {"timezone": "Europe/Berlin"}),
    ({"timezone": "Mars/Olympus"}, {"timezone": "Mars/Olympus"}),  # kept, seen, and never open
    ({"joined": "2024-02-29"}, {"joined": date(2024, 2, 29)}),
    ({"joined": date(2024, 2, 29)}, {"joined": date(2024, 2, 29)}),
    ({"joined": "2026-02-29"}, "joined is a day that does not exist"),
    ({"joined": "31.12.2026"}, "joined is not a date; write it as 2027-01-31"),
    ({"joined": "20261231"}, "joined is not a date"),
    ({"left_at": "2026-07-01T12:00"}, {"left_at": datetime(2026, 7, 1, 10, tzinfo=UTC)}),  # the workspace's zone
    ({"left_at": "2026-07-01"}, {"left_at": datetime(2026, 6, 30, 22, tzinfo=UTC)}),
    ({"left_at": "yesterday"}, "left_at is not an instant"),
    ({"left_at": "0001-01-01T00:00:00+10:00"}, "left_at is beyond the calendar"),
    ({"account": " nord "}, {}),
]
MEMBERS: list[tuple[dict[str, Any], dict[str, Any] | str]] = [
    ({"birthday": "1990-05-04"}, {"birthday": "1990-05-04"}),
    ({"birthday": ""}, {"birthday": None}),
    ({"size": "42"}, {"size": 42}),
    ({"size": "41.5"}, {"size": 41.5}),
    ({"size": 0}, {"size": 0}),
    ({"size": "1,5"}, "size is not a number; write 1234.5"),
    ({"size": True}, "size is yes or no, not a number"),
    ({"size": "nan"}, "size is not a number that can be stored"),
    ({"size": "1e400"}, "size is not a number that can be stored"),
    ({"vip": "Yes"}, {"vip": True}),
    ({"vip": "0"}, {"vip": False}),
    ({"vip": 1}, {"vip": True}),
    ({"vip": "perhaps"}, "vip is neither yes nor no"),
    ({"note": "two\nlines"}, {"note": "two\nlines"}),
    ({"note": "= fine here"}, {"note": "= fine here"}),
    ({"note": "a\x00b"}, "note holds control characters"),
    ({"seen": "2026-07-01T12:00:00Z"}, {"seen": "2026-07-01T12:00:00.000000Z"}),
    ({"colour": "red"}, {"colour": "red"}),
    ({"colour": "rde"}, "colour `rde` is not one of the choices; did you mean `red`?"),
    ({"credit": "12.50 EUR"}, {"credit": 1250, "credit_currency": "EUR"}),
    ({"credit": "USD 12.50"}, {"credit": 1250, "credit_currency": "USD"}),
    ({"credit": "1500", "credit_currency": "JPY"}, {"credit": 1500, "credit_currency": "JPY"}),
    ({"credit": {"amount": "1.234", "currency": "KWD"}}, {"credit": 1234, "credit_currency": "KWD"}),
    ({"credit": 12.1}, {"credit": 1210, "credit_currency": "EUR"}),  # no currency: the workspace's
    ({"credit": ""}, {"credit": None, "credit_currency": None}),
    ({"credit": "12.505 EUR"}, "credit has more decimals than EUR has (2)"),
    ({"credit": "1 EURO"}, "credit `EURO` is no ISO 4217 currency"),
    ({"credit": "1 EUR", "credit_currency": "USD"}, "credit names two currencies"),
    ({"credit": "ten EUR"}, "credit is not a number"),
    ({"credit": "1e18 EUR"}, "credit is more than can be stored"),
]


@pytest.mark.parametrize("cells, expected", CUSTOMER, ids=lambda c: str(c)[:50] if isinstance(c, dict) else "")
def test_customers(cells, expected):
    found = read("customers", {"key": "c1", **cells})
    if isinstance(expected, str):
        assert isinstance(found, str) and found.startswith(expected)
    else:
        assert isinstance(found, ReadRow) and found.values == expected


@pytest.mark.parametrize("cells, expected", MEMBERS, ids=lambda c: str(c)[:50] if isinstance(c, dict) else "")
def test_declared_values(cells, expected):
    found = read("customers", {"key": "c1", **cells})
    if isinstance(expected, str):
        assert isinstance(found, str) and found.startswith(expected)
    else:
        assert isinstance(found, ReadRow) and found.members == expected
        assert {k: type(v) for k, v in found.members.items()} == {k: type(v) for k, v in expected.items()}


@pytest.mark.parametrize(
    "kind, row, said",
    [
        ("customers", {"key": ""}, "key is missing"),
        ("customers", {"key": "x" * 201}, "key is longer than 200"),
        ("customers", {"key": "a", "country": "XX", "joined": "x"}, "; joined is not a date"),  # every mistake at once
        ("accounts", {"key": "a", "parent": "a"}, "parent is the account itself"),
        (
            "records",
            {"type": "contact", "account": "a"},
            "declared record; did you mean `contract`?",
        ),
        ("records", {"contract_id": "c", "account": ""}, "account is missing: whose is it?"),
        ("records", {"type": "contract", "contract_id": "", "account": "a"}, "contract_id is missing"),
        ("records", {"type": "contract", "contract_id": "c", "customer": "a"}, "customer: a contract belongs to"),
        ("records", {"pet_id": "p", "contract_id": "c", "customer": "a"}, "type is missing"),
        ("events", {"type": "order_place", "customer": "a", "occurred_at": "2026-01-01"}, "type `order_place` is no"),
        ("events", {"type": "signed_up", "occurred_at": "2026-01-01"}, "customer or account is missing"),
        ("events", {"type": "signed_up", "customer": "a"}, "occurred_at is missing"),
        ("events", {"type": "signed_up", "customer": "a", "occurred_at": "2026-12-03"}, "is in the future"),
        ("events", {"type": "signed_up", "customer": "a", "occurred_at": "0005-12-03"}, "is before 1900"),
        (
            "events",
            {"type": "signed_up", "customer": "a", "occurred_at": "x", "properties": "[]"},
            "properties is no JSON",
        ),
        ("consents", {"customer": "a", "medium": "fax"}, "medium `fax` is not a medium"),
        ("consents", {"customer": "a", "medium": "email", "topic": "offerz"}, "topic `offerz` is not a declared topic"),
        ("consents", {"customer": "a", "medium": "task", "topic": "*", "action": "grant"}, "medium `task` is not"),
        (
            "consents",
            {"customer": "a", "medium": "sms", "topic": "*", "action": "grant", "occurred_at": "2026-12-01T12:00:03Z"},
            "occurred_at is in the future",
        ),
        ("devices", {"token": "", "customer": "a", "platform": "ios"}, "token is missing"),
        ("devices", {"token": "t", "customer": "", "platform": "ios"}, "customer is missing"),
        ("devices", {"token": "t", "customer": "a", "platform": "palm"}, "platform `palm` is not a platform"),
    ],
)
def test_refusals(kind, row, said):
    found = read(kind, row)
    assert isinstance(found, str) and said in found


@pytest.mark.parametrize(
    ("action", "at", "taken"),
    [
        ("grant", "2026-12-01T12:00:02Z", True),  # two clocks
        ("grant", "2026-12-01T13:00:00Z", False),  # a message could go out on a yes that is dated after it
        ("confirm", "2026-12-01T13:00:00Z", False),
        ("import", "2026-12-01T13:00:00Z", False),
        ("request", "2026-12-01T13:00:00Z", True),
        ("request", "2026-12-04T12:00:00Z", False),
        ("withdraw", "2026-12-01T13:00:00Z", True),
        ("withdraw", "2027-12-01T00:00:00Z", True),  # a no is heeded, whatever somebody's clock says
    ],
)
def test_what_is_said_ahead_of_its_time(action, at, taken):
    found = read("consents", {"customer": "a", "medium": "sms", "topic": "*", "action": action, "occurred_at": at})
    assert isinstance(found, str) is not taken, found


def test_records_and_events_are_read():
    found = read(
        "records", {"contract_id": "c1", "of": "nord", "ends": "2027-01-31", "value": "10 EUR", "auto_renew": "no"}
    )
    assert isinstance(found, ReadRow)
    assert (found.type, found.key, found.refs) == ("contract", "c1", {"account": "nord"})
    assert found.members["value"] == 1000 and found.members["auto_renew"] is False
    order = {"type": "order_placed", "customer": "ana", "occurred_at": "2026-07-01T10:00:00Z"}
    flat = read("events", {**order, "amount": "12.50 EUR", "channel": "store"})
    nested = read("events", {**order, "properties": {"amount": "12.50 EUR", "channel": "store", "type": "signed_up"}})
    as_text = read("events", {**order, "properties": '{"channel": "store", "amount": "12.50 EUR"}'})
    assert isinstance(flat, ReadRow) and isinstance(nested, ReadRow) and isinstance(as_text, ReadRow)
    assert flat.members == nested.members == {"amount": 1250, "amount_currency": "EUR", "channel": "store"}
    # No id of its own: the same content is the same event, whatever form it came in.
    assert flat.key == nested.key == as_text.key and flat.key.startswith("h:")
    given_id = read("events", {**order, "event_id": "e1"})
    assert isinstance(given_id, ReadRow) and given_id.key == "e1"


def test_fingerprints_differ_with_the_content():
    at = datetime(2026, 7, 1, tzinfo=UTC)
    keys = {
        fingerprint("a", "x", None, at, {}),
        fingerprint("b", "x", None, at, {}),
        fingerprint("a", None, "x", at, {}),
        fingerprint("a", "x", None, at.replace(microsecond=1), {}),
        fingerprint("a", "x", None, at, {"n": 1}),
    }
    assert len(keys) == 5
    assert fingerprint("a", "x", None, at, {"n": 1, "m": 2}) == fingerprint("a", "x", None, at, {"m": 2, "n": 1})


def test_warnings_are_counted():
    reader = RowReader("customers", VOCABULARY, NOW)
    for n in range(3):
        row = {"key": str(n), "first_nam": "x", "timezone": "Mars/X", "street": "Lindenweg 1", "country": "DE"}
        assert isinstance(reader.read(row | {"city": "Berlin", "postcode": "1011"}), ReadRow)
    assert isinstance(reader.read({"key": "x", "street": "Lindenweg 1"}), ReadRow)
    assert reader.warnings == {
        "column `first_nam` is not declared: left out; did you mean `first_name`?": 1,
        "a time zone that is not known: no text will be sent there": 3,
        "a postcode that is none in DE": 3,
        "a street without a country": 1,
    }


def test_columns_a_kind_needs():
    for kind in KINDS:
        assert RowReader(kind, VOCABULARY, NOW).missing_columns(["nothing"]) is not None
    assert RowReader("customers", VOCABULARY, NOW).missing_columns(["Key", "class"]) == (
        "there is no column `key`; did you mean `Key`?"
    )


def test_no_personal_data_in_what_is_said():
    row = {"key": "k-secret", "first_name": "=Secret", "email": "secret@", "phone": "+49 secret"}
    found = read("customers", row)
    assert isinstance(found, str) and found.count(";") >= 2 and "secret" not in found.lower()


def test_tiers():
    assert tier_problem(VOCABULARY, "b2c", "gold") is None
    assert tier_problem(VOCABULARY, "b2c", "member") == (
        "tier `member` is no tier of b2c; one of: `bronze`, `gold`, `silver`"
    )
    assert direction(VOCABULARY, "b2c", "bronze", "gold") == "up"
    assert direction(VOCABULARY, "b2c", "gold", "silver") == "down"
    assert direction(VOCABULARY, "b2c", None, "silver") == "set"
    assert direction(VOCABULARY, "b2c", "member", "silver") == "set"


def test_moments():
    assert moment("2026-10-25T02:30", "Europe/Berlin") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the first one
    assert moment("2027-03-28T02:30", "Europe/Berlin") == datetime(2027, 3, 28, 1, tzinfo=UTC)  # a gap: its end
    with pytest.raises(ValueError, match="workspace's zone is unknown"):
        moment("2026-10-25T02:30", "Nowhere/At_All")


def test_money_of_parquet():
    assert money(Decimal("12.50"), "EUR", "USD") == (1250, "EUR")
    assert money(Decimal("-0.01"), None, "USD") == (-1, "USD")


def test_regions():
    assert address_region("US", "ca") == "CA"
    assert address_region("CA", "Québec") == "QC"
    assert address_region("DE", "Bayern") == "Bayern"


# ---- short cuts agree with the libraries ----------------------------------------------------------------------------

NUMBERS = sorted(
    {
        phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in range(11)
        if (example := phonenumbers.example_number_for_type(region, kind)) is not None
    }
)


def by_the_library(value: str) -> str | None:
    try:
        parsed = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def agrees(value: str) -> None:
    expected = by_the_library(value)
    if expected is None:
        with pytest.raises(ValueError):
            phone(value)
        return
    found, zones = phone(value)
    assert found == expected
    library = set(phone_timezone.time_zones_for_number(phonenumbers.parse(value, None))) - {"Etc/Unknown"}
    assert library <= set(zones.split()) or value.startswith(("+1876", "+1658"))


def test_example_numbers_of_every_country():
    assert len(NUMBERS) > 800
    for value in NUMBERS:
        agrees(value)


@given(st.sampled_from(NUMBERS), st.text("0123456789", min_size=1, max_size=6), st.integers(2, 12))
def test_numbers_near_real_ones(base, digits, at):
    agrees(base[:at] + digits + base[at + len(digits) :])
    agrees(base[:at] + digits)
    agrees(base[:at] + digits + base[at:])


@given(st.from_regex(r"\+[0-9]{1,16}", fullmatch=True))
def test_any_number(value):
    agrees(value)


@pytest.mark.parametrize(
    "value, zones",
    [
        ("+1 850 234 5678", {"America/New_York", "America/Chicago"}),
        ("+1 606 234 5678", {"America/New_York", "America/Chicago"}),
        ("+1 308 234 5678", {"America/Chicago", "America/Denver"}),
        ("+1 876 234 5678", {"America/Jamaica"}),
        ("+1 867 234 5678", {"America/Iqaluit", "America/Whitehorse"}),
        ("+91 98765 43210", {"Asia/Calcutta"}),
        ("+44 7400 123456", {"Europe/London"}),
        ("+1 415 555 2671", {"America/Los_Angeles"}),
    ],
)
def test_candidate_zones(value, zones):
    assert zones <= set(phone(value)[1].split())


def test_numbers_bound_to_no_place_may_ring_anywhere():
    assert len(phone("+1 800 555 0199")[1].split()) > 40
    assert phone("+883 5100 12345")[1] == ""  # an international network: no zone, no text


DOMAINS = st.sampled_from(["example.com", "Mail.Example.ORG", "bücher.example", "example", "a..b", "x.test", "1.2.3.4"])
LOCALS = st.text("abcXYZ012.+-_'=!# ü\"@()", min_size=0, max_size=12)


@given(LOCALS, DOMAINS)
def test_addresses_as_the_library_reads_them(local, domain):
    value = f"{local}@{domain}".strip()
    try:
        expected: str | None = validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        expected = None
    if expected is None or value.startswith("="):
        with pytest.raises(ValueError):
            email(value)
    else:
        assert email(value) == expected


@given(st.integers(50, 80), st.integers(1, 70))
def test_long_addresses_as_the_library_reads_them(local, labels):
    value = "a" * local + "@" + ".".join(["abc"] * labels) + ".com"
    try:
        expected: str | None = validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        expected = None
    if expected is None:
        with pytest.raises(ValueError):
            email(value)
    else:
        assert email(value) == expected


COLUMNS = """key class tier email phone country region street locale joined left_at credit credit_currency size type
customer account of occurred_at properties event_id medium topic action token platform contract_id ends amount other"""
WORDS = ["b2c", "gold", "order_placed", "contract", "2026-01-01", "DE", "+4930123456", "email", "*", "grant", "12 EUR"]
CELLS = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.lists(st.integers()),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.datetimes(),
    st.dates(),
    st.sampled_from(WORDS),
)


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(COLUMNS.split()), CELLS))
def test_no_row_is_too_odd(kind, row):
    assert isinstance(read(kind, row), ReadRow | str)


@pytest.mark.parametrize("key", ["\u200ba", "a\u200d", "a\u00adb", "\u2060a"])
def test_two_keys_never_look_like_one(key: str):
    found = read("customers", {"key": key, "class": "b2c"})
    assert found == "key holds invisible characters, so that two keys would look like one; type it anew"


def test_a_number_is_written_without_pythons_underscores():
    assert "size is not a number" in str(read("customers", {"key": "a", "size": "1_000"}))


def test_columns_that_nobody_declared_are_named_up_to_a_hundred():
    reader = RowReader("customers", VOCABULARY, NOW)
    row: dict[str, Any] = {"key": "a", "class": "b2c", **{f"c{n}": "x" for n in range(20_000)}}
    assert isinstance(reader.read(row), ReadRow)
    assert len(reader.warnings) == 101
    assert reader.warnings["a column that is not declared, besides those named here: left out"] == 19_900


def test_rows_that_leave_out_members_at_will_do_not_fill_the_memory():
    reader = RowReader("customers", VOCABULARY, NOW)
    for n in range(2_000):
        left = {f"x{bit}": "1" for bit in range(11) if n >> bit & 1}
        assert isinstance(reader.read({"key": f"k{n}", "class": "b2c", **left}), ReadRow)
    assert len(reader._plans) <= 500


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "RSD", "IQD", "ALL", "LBP", "HUF", "ISK"])
def test_an_import_a_condition_and_a_text_mean_the_same_amount(currency: str):
    """Babel's precision is what CLDR prints, and not what ISO 4217 counts: 1,000 RSD are 100,000 para."""
    from orchestrator.condition import Scope, parse
    from orchestrator.jinja import Sandbox
    from orchestrator.problems import Problems, Span
    from orchestrator.skeleton import Part, compile_parts
    from orchestrator.terms import Amount, Compare

    stored, code = money(f"1234 {currency}", None, "EUR")
    condition = parse(f"credit == 1234 {currency}", Span("x", 1, 1, 1, 9), Scope(), VOCABULARY, Problems())
    assert condition is not None and isinstance(condition.root, Compare)
    assert condition.root.right == Amount(stored, code)
    part = Part("text", "{{ customer.credit | money(customer.credit_currency) }}")
    written = compile_parts(Sandbox({}), [part], "en").render({"customer": {"credit": stored, "credit_currency": code}})
    assert "1,234" in written["text"] and "1,234,0" not in written["text"]


def test_what_the_programme_records_itself_comes_from_nobody_else():
    events = {**VOCABULARY.events, **LOYALTY_EVENTS}
    row = {"type": "draw_won", "customer": "a", "occurred_at": "2026-11-01T12:00:00Z", "place": "1"}
    declared = replace(VOCABULARY, events=events, loyalty=Loyalty(declared=True))
    found = RowReader("events", declared, NOW).read(row)
    assert isinstance(found, str) and "the programme itself records" in found
