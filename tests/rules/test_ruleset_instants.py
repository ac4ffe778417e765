"""The shipped ruleset, instant by instant: where, when, what the rule must say, and by what law or arithmetic."""

import zoneinfo
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple
from zoneinfo import _zoneinfo  # type: ignore[attr-defined]

import holidays
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.base import Medium
from orchestrator.holiday import HOLIDAYS
from orchestrator.model import Policies, Ruleset
from orchestrator.problems import Problems
from orchestrator.project import shipped_ruleset
from orchestrator.rules import Place, Verdict, Zone, judge, rules
from orchestrator.ruleset import CONSENT, HOURS, read_ruleset
from orchestrator.zones import TZDATA
from tests.rules.cases import hours, standing, subject

NY, LA, CHICAGO, DENVER = "America/New_York", "America/Los_Angeles", "America/Chicago", "America/Denver"
BERLIN, PARIS, LONDON, ROME, MADRID = "Europe/Berlin", "Europe/Paris", "Europe/London", "Europe/Rome", "Europe/Madrid"
SYDNEY, PERTH, HOWE, SAO_PAULO = "Australia/Sydney", "Australia/Perth", "Australia/Lord_Howe", "America/Sao_Paulo"
TORONTO, KOLKATA, DUBAI, HONOLULU, GUAM = (
    "America/Toronto", "Asia/Kolkata", "Asia/Dubai", "Pacific/Honolulu", "Pacific/Guam",
)  # fmt: skip
CALL: Mapping[str, Any] = {"medium": Medium.TASK, "call": True, "addressee": "staff", "purpose": "transactional"}


class Case(NamedTuple):
    """`places`: `US-FL`, `DE`, several by a space, "" for none known. `expected`: `open`, `> INSTANT` for a hold until
    then, or a code. `why`: the law, or the sum that makes it so."""

    why: str
    places: str
    zones: str
    now: str
    expected: str
    house: str = ""
    changes: Mapping[str, Any] = MappingProxyType({"medium": Medium.SMS})


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def shipped() -> Ruleset:
    texts = shipped_ruleset()
    found = read_ruleset(texts[HOURS], texts[CONSENT], Problems())
    assert found is not None
    return found


# ---- the United States ----------------------------------------------------------------------------------------------

FEDERAL = [  # 2027-01-13 is a Wednesday; New York has no row of its own
    Case("47 CFR 64.1200(c)(1): not before 8", "US-NY", NY, "2027-01-13T07:59:59-05:00", "> 2027-01-13T08:00-05:00"),
    Case("half-open: 8:00 is in", "US-NY", NY, "2027-01-13T08:00-05:00", "open"),
    Case("the last second before 21", "US-NY", NY, "2027-01-13T20:59:59-05:00", "open"),
    Case("half-open: 21:00 is out", "US-NY", NY, "2027-01-13T21:00-05:00", "> 2027-01-14T08:00-05:00"),
    Case("the federal rule knows Sundays", "US-NY", NY, "2027-01-17T12:00-05:00", "open"),
    Case("the federal rule knows holidays", "US-NY", NY, "2027-07-05T12:00-04:00", "open"),
    Case("8:00 EST the day before the change", "US-NY", NY, "2027-03-13T12:59Z", "> 2027-03-13T13:00Z"),
    Case("8:00 EDT an hour earlier by UTC", "US-NY", NY, "2027-03-14T11:59Z", "> 2027-03-14T12:00Z"),
    Case("8:00 EST again from 1 November 2026", "US-NY", NY, "2026-11-01T12:30Z", "> 2026-11-01T13:00Z"),
    Case("47 USC 153(58): Puerto Rico is the US", "PR", "America/Puerto_Rico", "2027-01-13T20:30-04:00", "open"),
    Case("… and closes at 21 there", "PR", "America/Puerto_Rico", "2027-01-13T21:00-04:00",
         "> 2027-01-14T08:00-04:00"),
    Case("its zone stated, its state by the address", "US-HI", HONOLULU, "2027-01-13T17:59Z", "> 2027-01-13T18:00Z"),
]  # fmt: skip
STATES = [
    Case("Fla. Stat. 501.616(6): 20, not 21", "US-FL", NY, "2027-01-13T20:00-05:00", "> 2027-01-14T08:00-05:00"),
    Case("the panhandle may be Central: 8:00 there", "US-FL", f"{NY} {CHICAGO}", "2027-01-13T08:30-05:00",
         "> 2027-01-13T09:00-05:00"),
    Case("… and Eastern in the evening", "US-FL", f"{NY} {CHICAGO}", "2027-01-13T20:00-05:00",
         "> 2027-01-14T09:00-05:00"),
    Case("15 O.S. 775C.4: 20", "US-OK", CHICAGO, "2027-01-13T20:30-06:00", "> 2027-01-14T08:00-06:00"),
    Case("Md. Stop the Spam Calls Act: 20", "US-MD", NY, "2027-01-13T20:00-05:00", "> 2027-01-14T08:00-05:00"),
    Case("Washington HB 1497: 20", "US-WA", LA, "2027-01-13T20:00-08:00", "> 2027-01-14T08:00-08:00"),
    Case("Conn. SB 1058: from 9", "US-CT", NY, "2027-01-13T08:59-05:00", "> 2027-01-13T09:00-05:00"),
    Case("Texas SB 140: from 9 on weekdays and Saturdays", "US-TX", CHICAGO, "2027-01-16T08:59-06:00",
         "> 2027-01-16T09:00-06:00"),
    Case("… until 21", "US-TX", CHICAGO, "2027-01-16T20:59-06:00", "open"),
    Case("… from noon on Sundays", "US-TX", CHICAGO, "2027-01-16T21:00-06:00", "> 2027-01-17T12:00-06:00"),
    Case("… El Paso is Mountain: noon there", "US-TX", f"{CHICAGO} {DENVER}", "2027-01-10T12:30-06:00",
         "> 2027-01-10T19:00Z"),
    Case("Virginia SB 1339: 21", "US-VA", NY, "2027-01-13T20:30-05:00", "open"),
    Case("Alabama has no Sundays", "US-AL", CHICAGO, "2027-01-24T12:00-06:00", "> 2027-01-25T08:00-06:00"),
    Case("… and the Monday behind it may be Robert E. Lee's", "US-AL", CHICAGO, "2027-01-17T12:00-06:00",
         "> 2027-01-19T08:00-06:00"),
    Case("… nor its own holidays: Confederate Memorial Day", "US-AL", CHICAGO, "2027-04-26T12:00-05:00",
         "> 2027-04-27T08:00-05:00"),
    Case("… Christmas 2027: kept on Friday, is on Saturday, then Sunday", "US-AL", CHICAGO,
         "2027-12-23T20:00-06:00", "> 2027-12-27T08:00-06:00"),
    Case("Mardi Gras in Louisiana", "US-LA", CHICAGO, "2027-02-09T12:00-06:00", "> 2027-02-10T08:00-06:00"),
    Case("… is none in Mississippi", "US-MS", CHICAGO, "2027-02-09T12:00-06:00", "open"),
    Case("Good Friday in Louisiana, then open on Saturday", "US-LA", CHICAGO, "2027-03-26T12:00-05:00",
         "> 2027-03-27T08:00-05:00"),
    Case("Mississippi: the stricter of two tables has no holidays", "US-MS", CHICAGO, "2027-01-18T12:00-06:00",
         "> 2027-01-19T08:00-06:00"),
    Case("201 CMR 12: 20", "US-MA", NY, "2027-01-13T20:00-05:00", "> 2027-01-14T08:00-05:00"),
    Case("KRS 367.46955(3): from 10", "US-KY", NY, "2027-01-13T09:59-05:00", "> 2027-01-13T10:00-05:00"),
    Case("… by both of Kentucky's clocks", "US-KY", f"{NY} {CHICAGO}", "2027-01-13T10:30-05:00",
         "> 2027-01-13T11:00-05:00"),
    Case("Rhode Island: 18 on weekdays", "US-RI", NY, "2027-01-13T18:00-05:00", "> 2027-01-14T09:00-05:00"),
    Case("… from 10 on Saturdays", "US-RI", NY, "2027-01-16T09:30-05:00", "> 2027-01-16T10:00-05:00"),
    Case("… until 17, and on Sundays, too", "US-RI", NY, "2027-01-16T17:00-05:00", "> 2027-01-17T10:00-05:00"),
    Case("… Victory Day is its own", "US-RI", NY, "2027-08-09T12:00-04:00", "> 2027-08-10T09:00-04:00"),
    Case("Nevada: 20, from 9", "US-NV", LA, "2027-01-13T20:00-08:00", "> 2027-01-14T09:00-08:00"),
    Case("Michigan: from 9", "US-MI", "America/Detroit", "2027-01-13T08:30-05:00", "> 2027-01-13T09:00-05:00"),
    Case("Minn. Stat. 325E.30: 21", "US-MN", CHICAGO, "2027-01-13T21:00-06:00", "> 2027-01-14T09:00-06:00"),
    Case("New Mexico: from 9", "US-NM", DENVER, "2027-01-13T08:59-07:00", "> 2027-01-13T09:00-07:00"),
    Case("Pioneer Day kept on Friday, is on Saturday, then Sunday", "US-UT", DENVER, "2027-07-23T12:00-06:00",
         "> 2027-07-26T08:00-06:00"),
    Case("Wyoming: 20", "US-WY", DENVER, "2027-01-13T20:00-07:00", "> 2027-01-14T08:00-07:00"),
    Case("Pennsylvania: Sundays before 18 October 2026", "US-PA", NY, "2026-10-11T12:00-04:00", "open"),
    Case("… and from that very day on none", "US-PA", NY, "2026-10-18T12:00-04:00", "> 2026-10-19T08:00-04:00"),
    Case("… held on the eve, over the day it begins to bind", "US-PA", NY, "2026-10-17T22:00-04:00",
         "> 2026-10-19T08:00-04:00"),
    Case("… on weekdays the federal hours", "US-PA", NY, "2027-01-13T20:30-05:00", "open"),
    Case("Maine: 17", "US-ME", NY, "2027-01-13T17:00-05:00", "> 2027-01-14T09:00-05:00"),
    Case("… and no weekend", "US-ME", NY, "2027-01-15T17:00-05:00", "> 2027-01-18T09:00-05:00"),
    Case("New Jersey: the narrower of two tables", "US-NJ", NY, "2027-01-13T20:30-05:00", "> 2027-01-14T08:00-05:00"),
    Case("815 ILCS 305: from 9", "US-IL", CHICAGO, "2027-01-13T08:30-06:00", "> 2027-01-13T09:00-06:00"),
    Case("Cal. PUC 2872: from 9", "US-CA", LA, "2027-01-13T08:30-08:00", "> 2027-01-13T09:00-08:00"),
]  # fmt: skip
UNSURE = [
    Case("a state nobody knows: from 10", "US", NY, "2027-01-12T09:30-05:00", "> 2027-01-12T10:00-05:00"),
    Case("… until 18", "US", NY, "2027-01-12T18:00-05:00", "> 2027-01-13T10:00-05:00"),
    Case("… no Sundays", "US", NY, "2027-01-10T12:00-05:00", "> 2027-01-11T10:00-05:00"),
    Case("… no holidays: Independence Day kept on Monday", "US", NY, "2027-07-05T12:00-04:00",
         "> 2027-07-06T10:00-04:00"),
    Case("… from coast to Hawaii: 10:00 HST", "US", f"{NY} {HONOLULU}", "2027-01-12T12:00-05:00",
         "> 2027-01-12T20:00Z"),
    Case("… from New York to Guam: 15-23 and 0-8 UTC never meet", "US", f"{NY} {GUAM}", "2027-01-12T12:00-05:00",
         "window_never_opens"),
    Case("a Florida address, a California number: 9:00 in the west", "US-FL US-CA", f"{NY} {LA}",
         "2027-01-13T11:30-05:00", "> 2027-01-13T09:00-08:00"),
    Case("… and Florida's 20:00 in the east", "US-FL US-CA", f"{NY} {LA}", "2027-01-13T20:00-05:00",
         "> 2027-01-14T09:00-08:00"),
    Case("a German address, a Florida number: 8:00 in New York", "DE US-FL", f"{BERLIN} {NY}",
         "2027-01-13T13:59+01:00", "> 2027-01-13T14:00+01:00"),
    Case("… 20:00 in Berlin", "DE US-FL", f"{BERLIN} {NY}", "2027-01-13T20:00+01:00", "> 2027-01-14T14:00+01:00"),
    Case("… and Germany's Sunday binds in New York, too", "DE US-FL", f"{BERLIN} {NY}", "2027-01-18T04:00Z",
         "> 2027-01-18T13:00Z"),
    Case("Maine and Kentucky meet from 10 to 17", "US-ME US-KY", NY, "2027-01-13T09:30-05:00",
         "> 2027-01-13T10:00-05:00"),
    Case("an unknown country: from 10", "", LONDON, "2027-01-13T09:59Z", "> 2027-01-13T10:00Z"),
    Case("… until 18, and no weekend", "", LONDON, "2027-01-15T18:00Z", "> 2027-01-18T10:00Z"),
    Case("… Samoa left Friday out: Thursday night to Monday", "", "Pacific/Apia", "2011-12-30T08:00Z",
         "> 2012-01-01T20:00Z"),
    Case("an unknown zone: nobody can say", "DE", "Etc/Unknown", "2027-01-13T12:00Z", "unknown_zone"),
    Case("one of two unknown", "DE", f"{BERLIN} Mars/Base", "2027-01-13T12:00Z", "unknown_zone"),
    Case("no zone at all", "DE", "", "2027-01-13T12:00Z", "unknown_zone"),
]  # fmt: skip

# ---- other countries ------------------------------------------------------------------------------------------------

COUNTRIES = [
    Case("CRTC: from 9 on weekdays", "CA-ON", TORONTO, "2027-01-13T08:59-05:00", "> 2027-01-13T09:00-05:00"),
    Case("… until 21:30", "CA-ON", TORONTO, "2027-01-13T21:29:59-05:00", "open"),
    Case("… not at 21:30", "CA-ON", TORONTO, "2027-01-13T21:30-05:00", "> 2027-01-14T09:00-05:00"),
    Case("… 10 to 18 at weekends", "CA-ON", TORONTO, "2027-01-16T18:00-05:00", "> 2027-01-17T10:00-05:00"),
    Case("… Canada Day is a weekday to it", "CA-ON", TORONTO, "2027-07-01T20:00-04:00", "open"),
    Case("tzdata 2026f: 21:30 in Vancouver, 20:30 by older data", "CA-BC", "America/Vancouver", "2026-12-16T04:30Z",
         "> 2026-12-16T16:00Z"),
    Case("the French charter: Saturday from 10", "FR", PARIS, "2027-01-09T09:59+01:00", "> 2027-01-09T10:00+01:00"),
    Case("… until 19, and no Sunday", "FR", PARIS, "2027-01-09T19:00+01:00", "> 2027-01-11T08:00+01:00"),
    Case("… Easter 2027: Sunday, Monday a holiday, the clock goes forward", "FR", PARIS, "2027-03-27T20:00+01:00",
         "> 2027-03-30T06:00Z"),
    Case("… 14 July, a Wednesday", "FR", PARIS, "2027-07-14T12:00+02:00", "> 2027-07-15T08:00+02:00"),
    Case("26 December, a Saturday, in most of France", "FR", PARIS, "2026-12-26T12:00+01:00", "open"),
    Case("… is a holiday in Moselle", "FR-57", PARIS, "2026-12-26T12:00+01:00", "> 2026-12-28T08:00+01:00"),
    Case("… Paris (75) has no calendar of its own: the country's", "FR-75", PARIS, "2027-07-14T12:00+02:00",
         "> 2027-07-15T08:00+02:00"),
    Case("Réunion is France, four hours ahead", "RE", "Indian/Reunion", "2027-01-13T20:00+04:00",
         "> 2027-01-14T08:00+04:00"),
    Case("UK practice: 21", "GB", LONDON, "2027-01-13T21:00Z", "> 2027-01-14T08:00Z"),
    Case("… Sundays, too", "GB", LONDON, "2027-01-17T12:00Z", "open"),
    Case("German practice: 20", "DE", BERLIN, "2027-01-13T20:00+01:00", "> 2027-01-14T08:00+01:00"),
    Case("… no Sundays", "DE", BERLIN, "2027-01-17T12:00+01:00", "> 2027-01-18T08:00+01:00"),
    Case("… Labour Day on a Saturday, then Sunday", "DE", BERLIN, "2027-05-01T12:00+02:00", "> 2027-05-03T08:00+02:00"),
    Case("… Ascension, a Thursday", "DE", BERLIN, "2027-05-06T12:00+02:00", "> 2027-05-07T08:00+02:00"),
    Case("… Christmas 2026: Friday, Saturday, Sunday", "DE", BERLIN, "2026-12-24T20:00+01:00",
         "> 2026-12-28T08:00+01:00"),
    Case("… New Year's Day over the year's end", "DE", BERLIN, "2026-12-31T20:00+01:00", "> 2027-01-02T08:00+01:00"),
    Case("… Good Friday", "DE", BERLIN, "2027-03-26T12:00+01:00", "> 2027-03-27T08:00+01:00"),
    Case("… Easter with the change of the clock", "DE", BERLIN, "2027-03-27T20:00+01:00", "> 2027-03-30T06:00Z"),
    Case("Epiphany is a holiday in Bavaria", "DE-BY", BERLIN, "2027-01-06T12:00+01:00", "> 2027-01-07T08:00+01:00"),
    Case("… and none in Berlin", "DE-BE", BERLIN, "2027-01-06T12:00+01:00", "open"),
    Case("… nor where the state is not known: not nationwide", "DE", BERLIN, "2027-01-06T12:00+01:00", "open"),
    Case("… a state that is none has the country's", "DE-XX", BERLIN, "2027-05-06T12:00+02:00",
         "> 2027-05-07T08:00+02:00"),
    Case("Italian practice: from 9", "IT", ROME, "2027-01-13T08:30+01:00", "> 2027-01-13T09:00+01:00"),
    Case("… Republic Day, a Wednesday", "IT", ROME, "2027-06-02T12:00+02:00", "> 2027-06-03T09:00+02:00"),
    Case("LGDCU art. 96.2: no Saturday", "ES", MADRID, "2027-01-16T12:00+01:00", "> 2027-01-18T09:00+01:00"),
    Case("… not after 21", "ES", MADRID, "2027-01-13T21:00+01:00", "> 2027-01-14T09:00+01:00"),
    Case("… no holidays: Epiphany", "ES", MADRID, "2027-01-06T12:00+01:00", "> 2027-01-07T09:00+01:00"),
    Case("… 9:00 on the Canaries is 10:00 in Madrid", "ES", f"{MADRID} Atlantic/Canary", "2027-01-13T09:30+01:00",
         "> 2027-01-13T10:00+01:00"),
    Case("TRAI TCCCPR: from 10 IST", "IN", KOLKATA, "2027-01-13T04:29Z", "> 2027-01-13T04:30Z"),
    Case("… until 21", "IN", KOLKATA, "2027-01-13T21:00+05:30", "> 2027-01-14T10:00+05:30"),
    Case("UAE: from 7", "AE", DUBAI, "2027-01-13T06:59+04:00", "> 2027-01-13T07:00+04:00"),
    Case("… until 21", "AE", DUBAI, "2027-01-13T21:00+04:00", "> 2027-01-14T07:00+04:00"),
    Case("Brazil: the narrower Saturday", "BR", SAO_PAULO, "2027-01-16T13:00-03:00", "> 2027-01-18T09:00-03:00"),
    Case("… Tiradentes, a Wednesday", "BR", SAO_PAULO, "2027-04-21T12:00-03:00", "> 2027-04-22T09:00-03:00"),
    Case("Australian standard of 2017: Saturday until 17", "AU-NSW", SYDNEY, "2027-01-16T17:00+11:00",
         "> 2027-01-18T09:00+11:00"),
    Case("… Australia Day, a Tuesday", "AU", SYDNEY, "2027-01-26T12:00+11:00", "> 2027-01-27T09:00+11:00"),
    Case("… Labour Day is Victoria's own", "AU-VIC", "Australia/Melbourne", "2027-03-08T12:00+11:00",
         "> 2027-03-09T09:00+11:00"),
    Case("… Perth is not judged by Sydney's clock", "AU", f"{SYDNEY} {PERTH}", "2027-01-13T11:00+11:00",
         "> 2027-01-13T09:00+08:00"),
    Case("… Lord Howe goes back half an hour on that Sunday", "AU-NSW", HOWE, "2027-04-03T20:59Z",
         "> 2027-04-04T22:30Z"),
]  # fmt: skip

# ---- the house, other media, other messages -------------------------------------------------------------------------

NIGHT = "2027-01-13T23:30+01:00"
PUSH: Mapping[str, Any] = {"medium": Medium.PUSH}
OTHERS = [
    Case("the house may narrow", "DE", BERLIN, "2027-01-13T09:00+01:00", "> 2027-01-13T10:00+01:00", "10:00-16:00"),
    Case("… at its end, too", "DE", BERLIN, "2027-01-13T16:00+01:00", "> 2027-01-14T10:00+01:00", "10:00-16:00"),
    Case("the house may not widen", "DE", BERLIN, "2027-01-13T21:00+01:00", "> 2027-01-14T08:00+01:00", "06:00-23:00"),
    Case("20-22 and 8-20 never meet", "DE", BERLIN, "2027-01-13T21:00+01:00", "window_never_opens", "20:00-22:00"),
    Case("one minute in common", "DE", BERLIN, "2027-01-13T21:00+01:00", "> 2027-01-14T19:59+01:00", "19:59-22:00"),
    Case("a country without a row: the house's hours", "CH", "Europe/Zurich", "2027-01-13T20:30+01:00",
         "> 2027-01-14T08:00+01:00", "08:00-20:00"),
    Case("… and none without them", "CH", "Europe/Zurich", NIGHT, "no_window"),
    Case("no legal hours for push were found: Sunday", "DE", BERLIN, "2027-01-17T12:00+01:00", "no_window",
         changes=PUSH),
    Case("… only the house's", "DE", BERLIN, NIGHT, "> 2027-01-14T08:00+01:00", "08:00-21:00", PUSH),
    Case("nor for e-mail", "DE", BERLIN, NIGHT, "no_window", changes={"medium": Medium.EMAIL}),
    Case("nor for letters", "DE", BERLIN, NIGHT, "no_window", changes={"medium": Medium.MAIL}),
    Case("transactional messages are exempt", "DE", BERLIN, NIGHT, "transactional",
         changes={"medium": Medium.SMS, "purpose": "transactional"}),
    Case("law is for customers: a text to staff", "DE", BERLIN, NIGHT, "no_window",
         changes={"medium": Medium.SMS, "addressee": "staff"}),
    Case("a task that is no call", "US-FL", NY, "2027-01-13T23:00-05:00", "not_applicable",
         changes={**CALL, "call": False}),
    Case("a call, marketing or not: Florida's 20:00", "US-FL", NY, "2027-01-13T20:30-05:00",
         "> 2027-01-14T08:00-05:00", changes=CALL),
    Case("a call in Spain: no Saturday", "ES", MADRID, "2027-01-16T12:00+01:00", "> 2027-01-18T09:00+01:00",
         changes=CALL),
    Case("a call in Canada: 21:30", "CA-ON", TORONTO, "2027-01-13T21:00-05:00", "open", changes=CALL),
    Case("a call to an unknown country: 10 to 18", "", LONDON, "2027-01-13T18:00Z", "> 2027-01-14T10:00Z",
         changes=CALL),
    Case("a call nobody knows the zone of", "US-FL", "", "2027-01-13T12:00-05:00", "unknown_zone", changes=CALL),
    Case("a call where no hours of calls are known, on a Sunday: as to an unknown country", "DE", BERLIN,
         "2027-01-17T12:00+01:00", "> 2027-01-18T10:00+01:00", changes=CALL),
    Case("… until 18", "GB", LONDON, "2027-01-13T18:00Z", "> 2027-01-14T10:00Z", changes=CALL),
    Case("… within them", "DE", BERLIN, "2027-01-13T17:59+01:00", "open", changes=CALL),
    Case("… a country without any row", "CH", "Europe/Zurich", "2027-01-13T22:00+01:00", "> 2027-01-14T10:00+01:00",
         changes=CALL),
    Case("… beside one that has hours of calls: Florida's 8 is Berlin's 14", "DE US-FL", f"{BERLIN} {NY}",
         "2027-01-13T13:00+01:00", "> 2027-01-13T16:00+01:00", changes=CALL),
    Case("Decree 2022-1313: calls from 10", "FR", PARIS, "2027-01-13T09:59+01:00", "> 2027-01-13T10:00+01:00",
         changes=CALL),
    Case("… not over midday", "FR", PARIS, "2027-01-13T13:00+01:00", "> 2027-01-13T14:00+01:00", changes=CALL),
    Case("… until 20, and no weekend", "FR", PARIS, "2027-01-15T20:00+01:00", "> 2027-01-18T10:00+01:00",
         changes=CALL),
    Case("… nor 14 July", "FR", PARIS, "2027-07-14T11:00+02:00", "> 2027-07-15T10:00+02:00", changes=CALL),
    Case("… in the afternoon", "FR", PARIS, "2027-01-13T19:59+01:00", "open", changes=CALL),
    Case("… texts keep their own", "FR", PARIS, "2027-01-13T13:30+01:00", "open"),
    Case("its time is over before Monday", "DE", BERLIN, "2027-01-16T21:00+01:00", "expired",
         changes={"medium": Medium.SMS, "expires_at": instant("2027-01-17T21:00+01:00")}),
]  # fmt: skip
CASES = [*FEDERAL, *STATES, *UNSURE, *COUNTRIES, *OTHERS]
ALLOWED = {"open", "no_window", "transactional", "not_applicable"}


def place(text: str) -> Place:
    country, _, region = text.partition("-")
    return Place(country, region or None, "address")


def says(case: Case) -> Verdict:
    message = subject(**case.changes)
    policies = replace(hours(case.house, message.medium) if case.house else Policies(), ruleset=shipped())
    there = standing(
        zones=tuple(Zone(name, "address") for name in case.zones.split()),
        places=tuple(place(text) for text in case.places.split()),
        country=None,
    )
    return rules()["quiet_hours"](message, there, policies, instant(case.now))


@pytest.mark.parametrize("case", CASES, ids=[f"{c.places or 'nowhere'}: {c.why}" for c in CASES])
def test_at_that_instant(case: Case) -> None:
    verdict = says(case)
    if case.expected.startswith("> "):
        assert (verdict.say, verdict.reason) == ("hold", "quiet_hours"), verdict
        assert verdict.until == instant(case.expected[2:])
    else:
        assert (verdict.say, verdict.reason) == ("allow" if case.expected in ALLOWED else "deny", case.expected)


def test_there_are_enough_and_every_row_has_one() -> None:
    assert len(CASES) >= 80
    named = {rule for case in CASES for rule in says(case).inputs.get("rules", ())}
    assert named == {row.id for row in shipped().hours}


@pytest.mark.parametrize("case", [c for c in CASES if c.expected.startswith("> ")], ids=lambda c: f"{c.places} {c.why}")
def test_what_is_held_is_open_then_and_not_a_moment_before(case: Case) -> None:
    if "expires_at" in case.changes:
        return
    assert says(case._replace(now=case.expected[2:])).reason == "open"
    before = instant(case.expected[2:]) - timedelta(microseconds=1)
    assert says(case._replace(now=before.isoformat())).say == "hold"


# ---- against a second reading of the file ---------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = yaml.safe_load(shipped_ruleset()[HOURS])["rules"]
ZONES = sorted(name for name in zoneinfo.available_timezones() if name != "Factory")
PLACES = sorted({(row["country"], row.get("region", "")) for row in ROWS} | {("US", "NY"), ("CH", ""), ("DE", "BY")})
DAYS = {"weekdays": {0, 1, 2, 3, 4}, "weekends": {5, 6}, "sat": {5}, "sun": {6}}


def speaks(row: dict[str, Any], country: str, region: str) -> bool:
    if country == "unknown" or row["country"] == "unknown":
        return row["country"] == country
    if row["country"] != country:
        return False
    if row.get("region") is None:
        return True
    return row["region"] == (region or "unknown")


def lets(row: dict[str, Any], wall: datetime, region: str) -> bool:
    """Whether a row of the file, read anew, is open at a wall time. No row wraps midnight."""
    if (since := row.get("since")) and wall.date() < since:
        return True
    if row.get("holidays") == "closed":
        subdivisions = holidays.country_holidays(row["country"]).subdivisions
        calendar = holidays.country_holidays(row["country"], subdiv=region if region in subdivisions else None)
        if wall.date() in calendar:
            return False
    for window in row["windows"]:
        named = window.get("days", ["weekdays", "weekends"])
        days = set().union(*(DAYS[name] for name in ([named] if isinstance(named, str) else named)))
        opens, closes = window["open"].split("-")
        if wall.weekday() in days and opens <= wall.strftime("%H:%M") < closes:
            return True
    return False


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(PLACES), min_size=1, max_size=2),
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=2),
    st.integers(0, 6 * 365 * 1440),
)
def test_it_is_open_exactly_when_every_row_is_by_every_clock(
    where: list[tuple[str, str]], zones: list[str], minute: int
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    known = [(country, "" if region == "unknown" else region) for country, region in where if country != "unknown"]
    walls = [now.astimezone(_zoneinfo.ZoneInfo(name)).replace(tzinfo=None) for name in zones]
    expected = all(
        lets(row, wall, region)
        for country, region in known or [("unknown", "")]
        for row in ROWS
        if "sms" in row["media"] and speaks(row, country, region)
        for wall in walls
    )
    there = standing(
        zones=tuple(Zone(name, "stated") for name in zones),
        places=tuple(Place(country, region or None, "address") for country, region in known),
        country=None,
    )
    verdict = rules()["quiet_hours"](subject(medium=Medium.SMS), there, Policies(ruleset=shipped()), now)
    assert (verdict.say == "allow") == expected


# ---- what it was judged on ------------------------------------------------------------------------------------------


def test_the_inputs_name_rows_versions_zones_and_places() -> None:
    there = standing(
        zones=(Zone(NY, "stated"), Zone(CHICAGO, "phone")),
        places=(Place("US", "AL", "address"), Place("CH", None, "phone")),
    )
    policies = replace(hours("08:00-20:00", Medium.SMS), ruleset=shipped())
    verdict = rules()["quiet_hours"](subject(medium=Medium.SMS), there, policies, instant("2027-01-17T18:00Z"))
    assert verdict.inputs == {
        "zones": [{"name": NY, "source": "stated"}, {"name": CHICAGO, "source": "phone"}],
        "places": [
            {"country": "US", "region": "AL", "source": "address"},
            {"country": "CH", "region": None, "source": "phone"},
        ],
        "ruleset": shipped().version,
        "rules": ["us-federal", "us-al"],
        "without_rule": ["CH"],
        "window": {"open": "08:00", "close": "20:00", "days": [0, 1, 2, 3, 4, 5, 6], "then": "hold"},
        "tzdata": TZDATA,
        "holidays": HOLIDAYS,
        "local": {NY: "2027-01-17T13:00-05:00", CHICAGO: "2027-01-17T12:00-06:00"},
        # Monday is Robert E. Lee's day in Alabama, too
        "next_open": "2027-01-19T14:00:00.000000Z",
        "closes": "2027-01-20T01:00:00.000000Z",
    }


@pytest.mark.parametrize(
    ("zones", "now", "closes"),
    [
        ((BERLIN,), "2027-01-13T12:00+01:00", "2027-01-13T20:00+01:00"),
        ((BERLIN, NY), "2027-01-13T15:00+01:00", "2027-01-13T20:00+01:00"),
        ((BERLIN, "Asia/Tokyo"), "2027-01-13T10:00+01:00", "2027-01-13T12:00+01:00"),
    ],
)
def test_an_open_text_knows_when_its_hours_close(zones: tuple[str, ...], now: str, closes: str) -> None:
    there = standing(zones=tuple(Zone(z, "stated") for z in zones), places=(Place("DE", None, "address"),))
    policies = Policies(ruleset=shipped())
    verdict = rules()["quiet_hours"](subject(medium=Medium.SMS), there, policies, instant(now))
    assert (verdict.reason, datetime.fromisoformat(verdict.inputs["closes"])) == ("open", instant(closes))


def test_without_places_the_country_speaks() -> None:
    there = standing(zones=(Zone(BERLIN, "stated"),), places=(), country="DE")
    policies = Policies(ruleset=shipped())
    verdict = rules()["quiet_hours"](subject(medium=Medium.SMS), there, policies, instant("2027-01-17T12:00+01:00"))
    assert (verdict.say, verdict.inputs["rules"]) == ("hold", ["de"])


def test_a_calendar_that_nobody_knows_refuses() -> None:
    ruleset = shipped()
    rows = tuple(
        replace(row, windows=tuple(replace(w, closed_on="XX") for w in row.windows)) if row.id == "de" else row
        for row in ruleset.hours
    )
    there = standing(zones=(Zone(BERLIN, "stated"),), places=(Place("DE", None, "address"),))
    policies = Policies(ruleset=replace(ruleset, hours=rows))
    found = judge(subject(medium=Medium.SMS), there, policies, instant("2027-01-13T12:00+01:00"))
    assert found.say == "deny"
    (verdict,) = [v for v in found.verdicts if v.rule == "quiet_hours"]
    assert (verdict.say, verdict.reason, verdict.inputs) == ("deny", "rule_failed", {"error": "UnknownCalendar"})
