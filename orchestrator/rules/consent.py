"""Marketing goes only to whom the law of every place they may be in lets us write to, on the ground that they gave.

Law: prior consent for electronic marketing (ePrivacy Directive art. 13, UWG § 7, PECR reg. 22, CPCE L34-5, CASL s. 6,
TCPA 47 CFR 64.1200(a)(2) and (f)(9)), provable and withdrawn as easily as given (GDPR art. 7); for letters an interest
that nobody objected to (GDPR art. 6(1)(f), 21(2)). What suffices is data (`orchestrator/ruleset/consent.yaml`), by
country, medium and legal form: some grounds are not enough, some must have been confirmed, some lapse by themselves.
Each candidate country must be satisfied; where none is known the row without a country speaks. A legal form that is not
known is judged as an individual's, a yes that states no ground as a plain one (`express`).

Of what the ledger says about the topic and about "*" (every topic of the medium) a withdrawal ends every yes that is
not newer, and wins a tie: a general no ends earlier yeses of the topic, a topic's no an earlier general one, and a
later yes, particular or general (START by text), answers an earlier no. Only the person's own word answers one: a
purchase, an existing relationship or our own interest (EXPLICIT names the other grounds) does not, however new. A
request still to be confirmed neither grants nor takes away. A yes dated after `now` does not count yet; a no always
does.

"No record" is never taken for a yes. Where the law asks for none (`without`), the code is `no_consent_needed` and the
inputs say `consent_evidence: none`, so that an auditor sees that nothing was relied on.

Transactional messages need no consent; only a no to exactly their topic, given on the preference centre, is heeded.
The answers to a customer's own text (ANSWERS: a STOP's one confirmation, 47 CFR 64.1200(a)(12); START's and HELP's) are
transactional and have no topic: the no that they confirm does not stop them.
Staff and systems are not customers: consent does not judge them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from channels.base import Medium
from orchestrator.dates import add_months
from orchestrator.model import LEGAL_FORMS, ConsentRule, Json, Policies
from orchestrator.rules import Consent, Standing, Subject, Verdict, stamp, worked_out

NAME = "consent"
ORDER = 40
REASONS: Mapping[str, str] = {
    "consented": "The customer said yes to this topic on this medium; the inputs name the consent events relied on.",
    "no_consent_needed": "The law of every place the customer may be in asks for no consent here, and nobody objected.",
    "not_applicable": "Consent judges customers only, and this message is for staff or a system.",
    "transactional": "A transactional message needs no consent.",
    "no_consent": "There is no record that the customer ever said yes to this topic on this medium.",
    "consent_unconfirmed": "There is a yes, or a request, that counts only once confirmed (double opt-in), and is not.",
    "consent_withdrawn": "The customer said no to this topic, or to everything on this medium.",
    "consent_expired": "The customer's consent was for a time, and that time is over.",
    "consent_lapsed": "The ground it stood on ends by itself, months after the purchase or the inquiry, and has.",
    "consent_insufficient": "There is a yes, on a ground that is not enough for this medium where the customer may be.",
    "no_consent_rule": "The ruleset says nothing about consent on this medium, so nothing is sent.",
}

EXPLICIT = frozenset({"express_written", "express", "parental"})
"""Grounds that are somebody's own word: only these answer a no."""
_CODES = {"withdrawn": "consent_withdrawn", "requested": "consent_unconfirmed", "expired": "consent_expired"}
_NEAREST = ("consent_unconfirmed", "consent_lapsed", "consent_expired", "consent_insufficient")
"""Of several yeses that do not do, the one that lacks least is told."""
_NOT_APPLICABLE = Verdict(NAME, "allow", "not_applicable")
_TRANSACTIONAL = Verdict(NAME, "allow", "transactional")
_Rows = tuple[ConsentRule, ...]


@dataclass(frozen=True, slots=True)
class _Needs:
    """What recipients in the same countries and of the same form need on a medium.

    `of`: by country, the rows of which one must be satisfied. `enough`: (ground, confirmed) that satisfies all of them
    and does not lapse, with the ids of the rows. `unruled`: countries nothing is said about.
    """

    of: tuple[tuple[str | None, _Rows], ...]
    enough: Mapping[tuple[str, bool], list[str]]
    countries: list[str]
    unruled: list[str]


@dataclass(frozen=True, slots=True)
class _Words:
    """What the ledger says about the topic. `yes`: newer than the last no and answering it, the topic's own before the
    general, the newest first; `good`: of these, what was not for a time that is over."""

    found: list[Consent]
    noes: list[Consent]
    yes: list[Consent]
    good: list[Consent]


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Allow with the event ids relied on, or deny with the code of what lacks."""
    if subject.addressee != "customer":
        return _NOT_APPLICABLE
    found = [c for c in standing.consents if c.topic == subject.topic or c.topic == "*"]
    if subject.purpose == "transactional":
        return _transactional(subject, _weighed(found, now, subject.topic))
    known: dict[Any, Any] = worked_out(policies, now)
    key = (NAME, standing.places, standing.country, subject.medium, standing.legal_form)
    needs = known.get(key)
    if needs is None:
        needs = known[key] = _needs(standing, policies, subject.medium, now)
    if len(found) == 1 and found[0].state == "granted":  # what most messages rely on, told at once
        only = found[0]
        rows = needs.enough.get((only.basis or "express", only.confirmed))
        if rows is not None and only.since <= now and (only.until is None or now < only.until):
            return Verdict(NAME, "allow", "consented", inputs=_inputs(found, needs, rows))
    return _judged(subject, needs, _weighed(found, now), now)


def _transactional(subject: Subject, words: _Words) -> Verdict:
    if not words.noes or words.good:
        return _TRANSACTIONAL
    return Verdict(NAME, "deny", "consent_withdrawn", inputs=_told(words.noes))


def _weighed(found: list[Consent], now: datetime, only: str | None = None) -> _Words:
    """`only`: no other topic's no counts, not even the general one."""
    noes = [c for c in found if c.state == "withdrawn" and (only is None or c.topic == only)]
    last_no = max((c.since for c in noes), default=None)
    yes = [c for c in found if c.state == "granted" and c.since <= now and (last_no is None or c.since > last_no)]
    yes.sort(key=lambda c: (c.topic == "*", -c.since.timestamp(), c.event_id))
    good = [c for c in yes if c.until is None or now < c.until]
    if noes and not any(_ground(c) in EXPLICIT for c in good):
        yes, good = [c for c in yes if _ground(c) in EXPLICIT], []
    return _Words(found, noes, yes, good)


def _judged(subject: Subject, needs: _Needs, words: _Words, now: datetime) -> Verdict:
    """The verdict of every country; the first that is not satisfied denies."""
    if needs.unruled:
        return Verdict(NAME, "deny", "no_consent_rule", inputs={"medium": subject.medium, "countries": needs.unruled})
    relied: dict[int, Consent] = {}
    rows: list[str] = []
    for _, options in needs.of:
        row, ground = _satisfied(options, words, now)
        if row is None:
            return _refused(subject, needs, options, words, now)
        rows.append(row.id)
        if ground is not None:
            relied[ground.event_id] = ground
    if relied:
        return Verdict(NAME, "allow", "consented", inputs=_inputs(list(relied.values()), needs, rows))
    inputs = _inputs([], needs, rows)
    inputs["consent_evidence"] = "none"
    return Verdict(NAME, "allow", "no_consent_needed", inputs=inputs)


def _satisfied(rows: _Rows, words: _Words, now: datetime) -> tuple[ConsentRule | None, Consent | None]:
    """The row that lets the message go, and the yes it goes on: a recorded one, on whatever ground, is told even where
    none is needed."""
    for row in rows:
        for c in words.good:
            if _ground(c) in row.bases and (c.confirmed or not row.confirmed) and not _lapsed(row, c, now):
                return row, c
    if not words.noes or words.good:
        for row in rows:
            if row.without:
                return row, words.good[0] if words.good else None
    return None, None


def _refused(subject: Subject, needs: _Needs, rows: _Rows, words: _Words, now: datetime) -> Verdict:
    code, because = _lacking(rows, words, now)
    inputs: Json = _told(because) if because else {"topic": subject.topic, "medium": subject.medium.value}
    inputs |= {"countries": needs.countries, "rules": [row.id for row in rows]}
    return Verdict(NAME, "deny", code, inputs=inputs)


def _lacking(rows: _Rows, words: _Words, now: datetime) -> tuple[str, list[Consent]]:
    """What lacks, and the words it follows from."""
    if words.noes and not words.good and any(row.without for row in rows):
        return "consent_withdrawn", words.noes  # an objection, which a yes that is over does not answer
    if not words.yes:
        against = [c for c in words.found if c.state in _CODES]
        if not against:
            return "no_consent", []
        newest = max(against, key=lambda c: (c.since, c.state == "withdrawn"))
        return _CODES[newest.state], [newest]
    lacks: dict[str, list[Consent]] = {}
    for c in words.yes:
        lacks.setdefault(_lack(rows, c, c in words.good, now), []).append(c)
    if asked := [c for c in words.found if c.state == "requested"]:
        lacks.setdefault("consent_unconfirmed", []).extend(asked)
    code = next(code for code in _NEAREST if code in lacks)
    return code, lacks[code]


def _lack(rows: _Rows, c: Consent, good: bool, now: datetime) -> str:
    if not good:
        return "consent_expired"
    fitting = [row for row in rows if _ground(c) in row.bases]
    if any(row.confirmed and not c.confirmed and not _lapsed(row, c, now) for row in fitting):
        return "consent_unconfirmed"
    return "consent_lapsed" if fitting else "consent_insufficient"


def _ground(c: Consent) -> str:
    return c.basis or "express"


def _lapsed(row: ConsentRule, c: Consent, now: datetime) -> bool:
    """Calendar months, by UTC: of the last day of a month, the last day of another one that is shorter."""
    months = row.lapses.get(_ground(c))
    if months is None:
        return False
    since = c.since.astimezone(UTC)
    return now >= datetime.combine(add_months(since.date(), months), since.timetz())


# ---- what is needed where -------------------------------------------------------------------------------------------


def _needs(standing: Standing, policies: Policies, medium: Medium, now: datetime) -> _Needs:
    countries = {place.country for place in standing.places}
    if standing.country:
        countries.add(standing.country)
    form = standing.legal_form if standing.legal_form in LEGAL_FORMS else "individual"
    named: Sequence[str | None] = sorted(countries) or [None]
    day = now.astimezone(UTC).date()
    fitting = [
        row
        for row in policies.ruleset.consent
        if medium in row.media
        and form in row.forms
        and (row.since is None or row.since <= day)
        and (row.until is None or day <= row.until)
    ]
    of = []
    for country in named:
        rows = tuple(row for row in fitting if row.country == country) if country else ()
        of.append((country, rows or tuple(row for row in fitting if row.country is None)))
    told = [country or "unknown" for country in named]
    unruled = [country or "unknown" for country, rows in of if not rows]
    return _Needs(tuple(of), {} if unruled else _enough([rows for _, rows in of]), told, unruled)


def _enough(of: Sequence[_Rows]) -> dict[tuple[str, bool], list[str]]:
    """(ground, confirmed) that satisfies each of these and never lapses, with the row that says so of each."""
    grounds = sorted({basis for rows in of for row in rows for basis in row.bases})
    found = {}
    for basis in grounds:
        for confirmed in (False, True):
            said = [_always(rows, basis, confirmed) for rows in of]
            if all(said):
                found[basis, confirmed] = said
    return found


def _always(rows: _Rows, basis: str, confirmed: bool) -> str:
    """The row of which a ground satisfies, whenever it was given; "" for none."""
    for row in rows:
        if basis in row.bases and basis not in row.lapses and (confirmed or not row.confirmed):
            return row.id
    return ""


# ---- what is told ---------------------------------------------------------------------------------------------------


def _told(consents: Sequence[Consent]) -> Json:
    states = []
    for c in consents:
        state: Json = {"topic": c.topic, "state": c.state, "since": stamp(c.since)}
        if c.state == "granted":
            state |= {"basis": _ground(c), "confirmed": c.confirmed}
        if c.until is not None:
            state["until"] = stamp(c.until)
        states.append(state)
    return {"events": [c.event_id for c in consents], "states": states}


def _inputs(consents: Sequence[Consent], needs: _Needs, rows: list[str]) -> Json:
    inputs = _told(consents)
    inputs["countries"] = needs.countries
    inputs["rules"] = rows
    return inputs
