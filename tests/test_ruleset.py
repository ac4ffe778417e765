"""The reader of the ruleset's two texts: what is wrong in them is told, all of it, each at its place."""

import re
from dataclasses import replace
from datetime import date, time, timedelta
from itertools import pairwise

import pytest

from orchestrator import holiday
from orchestrator.model import ConsentRule, HoursRule, LegalCap, Ruleset, Window
from orchestrator.problems import Problem, Problems, ProjectError
from orchestrator.project import load_files, shipped_ruleset
from orchestrator.ruleset import CONSENT, HOURS, read_ruleset
from tests.golden.workspace import GOOD

TEXTS = shipped_ruleset()
UNKNOWN = """
  - id: nowhere
    country: unknown
    media: [sms]
    windows: [{ open: 10:00-18:00 }]
    source: nobody knows
    confidence: practice
    as_of: 2026-11-21
"""
ROW = """
  - id: one
    country: DE
    media: [sms]
    windows: [{ days: weekdays, open: 08:00-20:00 }]
    source: somewhere
    confidence: practice
    as_of: 2026-11-21
"""
CONSENT_ROW = """
  - id: one
    country: DE
    media: [email]
    bases: [express, implied_purchase]
    lapses: { implied_purchase: 24 }
    source: somewhere
    confidence: practice
    as_of: 2026-11-21
"""


def hours_of(*rows: str) -> str:
    return 'version: "2026-11-21"\nrules:' + "".join(rows)


def consent_of(*rows: str, ages: str = '{ "*": 16 }') -> str:
    return f'version: "2026-11-21"\nages: {ages}\nrules:' + "".join(rows)


def told(hours: str = "", consent: str = "") -> list[Problem]:
    problems = Problems()
    found = read_ruleset(hours or hours_of(ROW, UNKNOWN), consent or consent_of(CONSENT_ROW), problems)
    assert (found is None) == bool(problems.errors)
    return problems.found


def shipped() -> Ruleset:
    found = read_ruleset(TEXTS[HOURS], TEXTS[CONSENT], Problems())
    assert found is not None
    return found


# ---- the shipped one ------------------------------------------------------------------------------------------------


def test_every_row_says_where_it_is_from_how_sure_it_is_and_when_it_was_looked_up() -> None:
    assert len(shipped().hours) == 38
    rows: list[HoursRule | ConsentRule] = [*shipped().hours, *shipped().consent]
    for row in rows:
        assert row.source and row.confidence in ("statute", "vendor", "practice") and row.as_of >= date(2026, 11, 21)
    for text in TEXTS.values():
        header = " ".join(text.partition("version:")[0].replace("#", " ").split())
        assert "no legal advice" in header.lower()


def test_every_calendar_is_known() -> None:
    calendars = {window.closed_on for row in shipped().hours for window in row.windows if window.closed_on}
    assert {"DE", "FR", "US-AL"} <= calendars
    assert [name for name in sorted(calendars) if not holiday.known(name)] == []


def test_rows_become_windows_terms_and_caps() -> None:
    rows = {row.id: row for row in shipped().hours}
    assert rows["us-tx"].windows == (
        Window(time(9), time(21), frozenset(range(6))),
        Window(time(12), time(21), frozenset({6})),
    )
    assert rows["us-fl"].cap == LegalCap(3, timedelta(hours=24)) and rows["us-wa"].cap is None
    assert rows["us-pa"].since == date(2026, 10, 18) and rows["us-pa"].windows[0].closed_on == "US-PA"
    assert (rows["us-federal"].region, rows["us-unknown-state"].region) == ("*", None)
    assert (rows["unknown-country"].country, rows["de"].media) == (None, frozenset({"sms"}))
    assert {row.id for row in shipped().hours if row.cap} == {"us-fl", "us-ok", "us-md"}


def test_the_rows_that_speak_for_a_place() -> None:
    def ids(country: str | None, region: str | None, medium: str = "sms") -> list[str]:
        return [row.id for row in shipped().hours_in(country, region, medium)]

    assert ids("US", "FL") == ["us-federal", "us-fl"]
    assert ids("US", "NY") == ["us-federal"]
    assert ids("US", None) == ["us-federal", "us-unknown-state"]
    assert ids("DE", "BY") == ["de"] and ids("DE", None) == ["de"]
    assert ids(None, None) == ["unknown-country"]
    assert ids("CH", None) == [] and ids("DE", None, "voice") == [] and ids("DE", None, "email") == []


def test_an_unknown_state_is_as_narrow_as_any_but_maine() -> None:
    """The row for a US state nobody knows lies within every other state's but Maine's, as its source says."""
    states = [r for r in shipped().hours if r.country == "US" and r.region not in ("*", None, "ME")]
    (unknown,) = [r for r in shipped().hours if r.id == "us-unknown-state"]
    assert len(states) == 23 and {d for w in unknown.windows for d in w.days} == set(range(6))
    for narrow in unknown.windows:
        for row, day in ((row, day) for row in states for day in narrow.days):
            fitting = [w for w in row.windows if day in w.days]
            assert any(w.open <= narrow.open and narrow.close <= w.close for w in fitting), (row.id, day)


def test_it_is_parsed_once_for_each_content() -> None:
    assert shipped() is shipped()


def test_a_version_is_the_date_and_the_content() -> None:
    assert re.fullmatch(r"2026-\d\d-\d\d\+[0-9a-f]{8}", shipped().version)
    problems = Problems()
    changed = read_ruleset(TEXTS[HOURS].replace("08:00-20:00", "08:00-19:00", 1), TEXTS[CONSENT], problems)
    assert changed is not None and not problems.found
    assert changed.version[:10] == shipped().version[:10] and changed.version != shipped().version


# ---- what is wrong --------------------------------------------------------------------------------------------------

BAD = [
    # what is changed, into what, the problem's code, where, words of it
    ("country: DE", "country: Germany", "bad-ruleset", "4:14", "no country"),
    ("country: DE", "country: DE\n    region: Bavaria", "bad-ruleset", "5:13", "no region"),
    ("country: DE", "county: DE", "unknown-key", "4:5", "county"),
    ("    country: DE\n", "", "missing-key", "3:5", "country"),
    ("media: [sms]", "media: [text]", "wrong-choice", "5:13", "text"),
    ("08:00-20:00", "8 to 8", "wrong-type", "6:39", "hours"),
    ("weekdays", "workdays", "wrong-type", "6:23", "days"),
    ("confidence: practice", "confidence: sure", "wrong-choice", "8:17", "sure"),
    ("as_of: 2026-11-21", "as_of: last year", "wrong-type", "9:12", "date"),
    ("    source: somewhere\n", "", "missing-key", "3:5", "source"),
    ("source: somewhere", "source: somewhere\n    cap: many", "bad-ruleset", "8:10", "no cap"),
    ("source: somewhere", "source: x\n    since: 2027-02-01\n    until: 2027-01-01", "bad-ruleset", "9:12", "before"),
    ("id: one", "id: nowhere", "bad-ruleset", "11:9", "second time"),
]


@pytest.mark.parametrize(("old", "new", "code", "where", "words"), BAD, ids=[f"{b[1][:40]!r}" for b in BAD])
def test_a_bad_row_of_hours_is_told_at_its_place(old: str, new: str, code: str, where: str, words: str) -> None:
    text = hours_of(ROW, UNKNOWN)
    assert old in text
    (problem,) = told(hours=text.replace(old, new, 1))
    assert (problem.code, str(problem.span)) == (code, f"{HOURS}:{where}")
    assert words in problem.message and problem.hint


BAD_CONSENT = [
    ("country: DE", "country: de", "bad-ruleset", "5:14", "no country"),
    ("bases: [express, implied_purchase]", "bases: [implied_purchase, hope]", "bad-ruleset", "7:12", "hope"),
    ("lapses: { implied_purchase: 24 }", "lapses: { parental: 24 }", "bad-ruleset", "8:13", "parental"),
    ("lapses: { implied_purchase: 24 }", "lapses: { implied_purchase: 0 }", "bad-ruleset", "8:13", "month"),
    ("media: [email]", "media: [email]\n    forms: [club]", "bad-ruleset", "7:12", "club"),
    ("confidence: practice", "confirmed: perhaps\n    confidence: practice", "wrong-type", "10:16", "perhaps"),
    ('{ "*": 16 }', "{ DE: 16 }", "bad-ruleset", "2:7", "not named"),
    ('{ "*": 16 }', '{ "*": 16, Germany: 14 }', "bad-ruleset", "2:7", "Germany"),
    ('version: "2026-11-21"', "version: newest", "bad-ruleset", "1:10", "no date"),
]


@pytest.mark.parametrize(("old", "new", "code", "where", "words"), BAD_CONSENT, ids=[repr(b[1]) for b in BAD_CONSENT])
def test_a_bad_row_of_consent_is_told_at_its_place(old: str, new: str, code: str, where: str, words: str) -> None:
    text = consent_of(CONSENT_ROW)
    assert old in text
    found = told(consent=text.replace(old, new, 1))
    assert [(p.code, str(p.span)) for p in found] == [(code, f"{CONSENT}:{where}")]
    assert words in found[0].message and found[0].hint


def test_a_row_that_nothing_satisfies_is_told() -> None:
    row = CONSENT_ROW.replace("    bases: [express, implied_purchase]\n", "").replace("{ implied_purchase: 24 }", "{}")
    (problem,) = told(consent=consent_of(row))
    assert "nothing would ever suffice" in problem.message


def test_all_mistakes_are_told_at_once() -> None:
    bad = ROW.replace("DE", "Germany").replace("one", "two").replace("[sms]", "[telex]")
    found = told(hours_of(ROW.replace("practice", "sure"), bad, UNKNOWN), consent_of(CONSENT_ROW.replace("DE", "d")))
    assert [p.code for p in found] == ["wrong-choice", "wrong-choice", "bad-ruleset"]
    assert all(a.span < b.span for a, b in pairwise(found) if a.span.file == b.span.file)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([ROW], "unknown country"),
        ([ROW.replace("country: DE", "country: DE\n    region: BY"), UNKNOWN], "where the region is not known"),
        ([ROW.replace("[sms]", "[sms, voice]"), UNKNOWN], "when voice may be used in an unknown country"),
        ([UNKNOWN.replace("    source", "    holidays: closed\n    source")], "which country's"),
    ],
)
def test_nobody_is_forgotten(rows: list[str], words: str) -> None:
    """Where the country or the region is not known, no row would mean no hours: the reader refuses such a file."""
    (problem,) = told(hours_of(*rows))
    assert problem.code == "bad-ruleset" and words in problem.message


def test_no_row_may_be_an_alias_of_explosive_size_or_a_second_document() -> None:
    (problem,) = told(hours_of(ROW, UNKNOWN) + "---\nversion: x\n")
    assert problem.code == "several-documents"


# ---- in a project ---------------------------------------------------------------------------------------------------


def test_a_project_has_the_ruleset_of_its_files_or_else_the_shipped_one() -> None:
    assert load_files(GOOD).vocabulary.policies.ruleset is shipped()
    assert load_files({**GOOD, **TEXTS}).vocabulary.policies.ruleset is shipped()
    narrow = TEXTS[HOURS].replace("open: 08:00-20:00", "open: 09:00-10:00")
    applied = load_files({**GOOD, **TEXTS, HOURS: narrow}).vocabulary.policies.ruleset
    (fl,) = [row for row in applied.hours if row.id == "us-fl"]
    assert fl.windows[0].close == time(10)


def test_a_stored_ruleset_that_cannot_be_read_stops_everything() -> None:
    with pytest.raises(ProjectError) as caught:
        load_files({**GOOD, **TEXTS, HOURS: TEXTS[HOURS].replace("country: DE", "country: Germany")})
    assert [(p.code, p.span.file) for p in caught.value.problems] == [("bad-ruleset", HOURS)]


def test_another_ruleset_is_another_project() -> None:
    one, other = (
        load_files({**GOOD, **TEXTS}),
        load_files({**GOOD, **TEXTS, HOURS: TEXTS[HOURS] + "# looked at again\n"}),
    )
    assert one.hash != other.hash
    assert one.vocabulary.policies.ruleset.version != other.vocabulary.policies.ruleset.version
    assert replace(one.vocabulary.policies.ruleset, version="") == replace(
        other.vocabulary.policies.ruleset, version=""
    )


# ---- the house's hours beside it -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "days", "words"),
    [
        ("21:30-23:00", "", "anywhere the ruleset knows"),
        ("02:00-03:00", "", "anywhere the ruleset knows"),
        ("17:30-22:00", "", "in US-ME:"),
        ("19:30-22:00", "", "an unknown country"),
        ("10:00-12:00", ", days: [sun]", "in AU, BR, DE"),
        ("08:00-20:00", "", ""),
        ("00:00-00:00", "", ""),
        ("20:00-10:30", "", ""),
    ],
)
def test_hours_that_never_meet_are_said_at_check(hours: str, days: str, words: str) -> None:
    house = f"  quiet_hours:\n    sms: {{ open: {hours}{days} }}\n"
    text = GOOD["journeys/workspace.yaml"].replace("  quiet_hours:\n", house, 1)
    warnings = load_files(GOOD | {"journeys/workspace.yaml": text}).warnings
    if not words:
        assert warnings == ()
        return
    (warning,) = warnings
    assert (warning.code, warning.severity) == ("hours-never-meet", "warning")
    assert words in warning.message
