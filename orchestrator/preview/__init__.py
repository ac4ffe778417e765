"""A text as somebody would get it: written by what delivers, for a real customer or for nobody, in every language, with
the longest and the emptiest values of its audience. Reads only: nothing is decided, logged or sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

import sqlalchemy as sa

from channels.base import Medium, Outbound
from orchestrator.deliver import links_of
from orchestrator.gsm import Carried
from orchestrator.journey import Journey
from orchestrator.model import Enrollment, Json, Purpose
from orchestrator.outbound import About, Due, Unwritable, Writer, Written, destinations
from orchestrator.preview.made import How, Maker
from orchestrator.problems import suggest
from orchestrator.project import Project
from orchestrator.refer import link
from orchestrator.steps import Addressee, Facts, Here
from orchestrator.steps.sending import SendStep
from orchestrator.store import sampling
from orchestrator.store.keys import Keys
from orchestrator.store.sampling import Extreme
from orchestrator.store.segments import Segments
from orchestrator.store.standing import Asked, gather
from orchestrator.zones import local

__all__ = ["NoSuchText", "Preview", "Rendering", "Sheet", "Text", "Who", "preview", "texts_named"]

_USELESS: Final = b"a preview's key: good for nothing"
NOBODY: Final = Keys(_USELESS, _USELESS, _USELESS, _USELESS)
"""Keys of no installation. Links are made by the very code that delivers, so that they are as long as real ones; signed
with these they open nothing, anywhere: a page that is passed round must not be able to act for the person it shows, and
neither can the links of the message that she got in earnest be worked out of it."""
REFERRAL: Final = "NOBODY42"
_GAPS = 60  # values that one text may lack before it is given up
_STEP = "preview"
_MADE = ("customer", "account", "event", "record", "record_type", "loyalty", "voucher", "referral")
_SERVICE: Final[Purpose] = "transactional"


class NoSuchText(Exception):
    """Nothing is called that. The message says what is."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text to look at: a template, or the words of a step. `journey`: the one that sends it, None where none does;
    `payload`, `addressee`: as that step plans it."""

    medium: Medium
    template: str
    step: str
    journey: Journey | None
    payload: Json
    addressee: Literal["customer", "staff", "system"]
    topic: str
    purpose: Purpose

    @property
    def name(self) -> str:
        return self.template or self.step


@dataclass(frozen=True, slots=True)
class Who:
    """Whom it is written for: a customer by number, or nobody (None). `seed`: of a customer who was drawn by it."""

    customer_id: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A letter on paper: the PDF, its pages as PNG, the lines in the window. `refused`: why it could not be made."""

    pdf: bytes = b""
    pages: tuple[bytes, ...] = ()
    lines: tuple[str, ...] = ()
    format: str = "A4"
    refused: str = ""


Press = Callable[[Outbound], Sheet | None]
"""Prints a letter; None where there is no press here."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """One text, in one language, with one set of values.

    `outbound` None: it cannot be written, and `refused` says why. `gaps`: names that have no value, each with the
    made-up one that is shown; with a gap it would not be sent. `own`: hers, as it would go out to her.
    """

    text: Text
    locale: str
    values: How
    outbound: Outbound | None
    refused: str = ""
    gaps: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False
    carried: Carried | None = None
    cost: int = 0
    currency: str = ""
    sheet: Sheet | None = None
    made_up: tuple[str, ...] = ()
    due: Due | None = None
    made: Mapping[str, Any] = field(default_factory=dict)
    """What a test send tells of nobody in the place of what no delivery would find, by the fields of `About`."""


@dataclass(frozen=True, slots=True)
class Preview:
    """`who`: in words. `extremes`: by name, what the audience has; empty where there is no database. `of`: how many
    customers that audience is."""

    name: str
    at: datetime
    who: str
    is_real: bool
    renderings: tuple[Rendering, ...]
    extremes: Mapping[str, Extreme] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


# ---- which texts ----------------------------------------------------------------------------------------------------


def texts_named(
    project: Project, name: str, medium: Medium | None = None, *, now: datetime, journey: bool = False
) -> list[Text]:
    """The texts of that name on every medium, or every send of the journey of that name (where there is no such text,
    or `journey` says so). Raises NoSuchText."""
    found = [] if journey else _templates(project, name, medium, now)
    if not found and name in project.journeys:
        sends = _sends(project, project.journeys[name], now)
        # A text that several steps send is one to look at.
        once = {(t.medium, t.template or t.step): t for t in reversed(sends) if medium in (None, t.medium)}
        found = [t for t in sends if once.get((t.medium, t.template or t.step)) is t]
        if not found:
            raise NoSuchText(f"the journey `{name}` sends nothing" + (f" by {medium}" if medium else ""))
    if found:
        return found
    known = {t.name for t in project.templates if medium in (None, t.medium)} if not journey else set()
    hint = suggest(name, known | set(project.journeys))
    what = "journey" if journey else f"{medium} text or journey" if medium else "text or journey"
    raise NoSuchText(f"there is no {what} `{name}`" + (f"; {hint}" if hint else ""))


def _templates(project: Project, name: str, medium: Medium | None, now: datetime) -> list[Text]:
    media = [m for m in Medium if medium in (None, m) and project.templates.get(m, name) is not None]
    found = []
    every = [t for j in project.journeys.values() for t in _sends(project, j, now)] if media else []
    for one in media:
        sent = [t for t in every if (t.medium, t.template) == (one, name)]
        found.append(sent[0] if sent else Text(one, name, _STEP, None, {}, "customer", *_topic(project, one, name)))
    return found


def _topic(project: Project, medium: Medium, name: str) -> tuple[str, Purpose]:
    template = project.templates.get(medium, name)
    topic = project.vocabulary.topics.get(template.topic) if template is not None else None
    return (topic.name, topic.purpose) if topic is not None else ("", "marketing")


def _sends(project: Project, journey: Journey, now: datetime) -> list[Text]:
    """Every send, with what its step would plan for somebody who comes to it now."""
    run = Enrollment(0, journey.name, journey.version, journey.unit, 0, None, None, "", "", 0, now, now, None)
    manager = Addressee("staff", 0, None, 0)
    facts = Facts(workspace_zone=project.vocabulary.timezone, staff=manager)
    here = Here(run, journey.name, facts, now, lambda _: 0.0)
    found = []
    for step in journey.every_step():
        if not isinstance(step, SendStep):
            continue
        chosen = step.elsewhere(here) if step.goes_elsewhere else ()
        # A manager is whoever the account's is: asked of nobody, there is none.
        addressee = chosen[0].kind if chosen else "staff" if step.goes_elsewhere else "customer"
        own = addressee == "customer"
        topic, purpose = _topic(project, step.medium, step.template) if own else ("", _SERVICE)
        text = Text(step.medium, step.template, step.id, journey, step.payload(here), addressee, topic, purpose)
        found.append(text)
    return found


# ---- written --------------------------------------------------------------------------------------------------------


def preview(
    project: Project,
    name: str,
    texts: Sequence[Text],
    *,
    now: datetime,
    who: Who = Who(),
    locale: str | None = None,
    public_url: str = "http://localhost:8400",
    senders: Mapping[str, Mapping[str, str]] = {},
    conn: sa.Connection | None = None,
    press: Press | None = None,
) -> Preview:
    """Write texts for somebody, in every locale that they have (or in one), as they are, longest and emptiest.

    `conn`: a reading transaction; without one everything is made up. For a real customer the facts are those that a
    delivery at `now` would gather; what a text names and she has not (an event, a record, a voucher) is the newest of
    hers, else made up, and told. `press` prints letters.
    """
    writer = Writer(project.vocabulary, project.templates, links_of(NOBODY, public_url), senders)
    work = _Work(project, writer, texts, now, who, locale, conn, press)
    if conn is not None:
        work.look(conn)
    renderings = tuple(r for number, text in enumerate(texts) for r in work.renderings(number, text))
    notes: tuple[str, ...] = ()
    journey = project.journeys.get(name)
    if journey is not None and any(text.template == name for text in texts):
        others = len({(t.medium, t.name) for t in _sends(project, journey, now)} - {(t.medium, t.name) for t in texts})
        notes = (f"a journey is called {name}, too, and sends more: --journey",) if others else ()
    return Preview(name, now, work.told_who(), who.customer_id is not None, renderings, work.extremes, notes)


@dataclass(slots=True)
class _Work:
    project: Project
    writer: Writer
    texts: Sequence[Text]
    now: datetime
    who: Who
    locale: str | None
    conn: sa.Connection | None
    press: Press | None
    extremes: Mapping[str, Extreme] = field(default_factory=dict)
    _about: dict[int, About] = field(default_factory=dict)  # of the real customer, by the text's number
    _dues: dict[int, Due] = field(default_factory=dict)
    _events: dict[int, str] = field(default_factory=dict)  # which event `event` is, by the text's number
    _account: int | None = None

    # ---- what is read

    def look(self, conn: sa.Connection) -> None:
        """Everything that is read: the customer's facts as a delivery gathers them, and the audience's extremes."""
        for number, text in enumerate(self.texts):
            self._events[number] = self._event_of(text)
        if self.who.customer_id is not None:
            self._account = sampling.account_of(conn, self.who.customer_id)
            for number, text in enumerate(self.texts):
                self._dues[number] = self._due(number, text, self._subjects(conn, number, text))
            for medium in dict.fromkeys(text.medium for text in self.texts):
                self._gather(conn, [due for due in self._dues.values() if due.medium is medium], medium)
        segments = Segments(self.project.vocabulary, self.project.segments, conn.dialect.name)
        journey = self.texts[0].journey if len({t.journey.name if t.journey else "" for t in self.texts}) == 1 else None
        names = {name for number, text in enumerate(self.texts) for name in self._names(number, text)}
        event = next((e for e in self._events.values() if e), "")
        meant = sampling.audience(segments, journey, self.now)
        self.extremes = sampling.extremes(conn, self.project.vocabulary, meant, names, event_type=event)

    def _gather(self, conn: sa.Connection, dues: Sequence[Due], medium: Medium) -> None:
        vocabulary = self.project.vocabulary
        asked = Asked(
            medium=medium,
            policies=vocabulary.policies,
            vocabulary=vocabulary,
            names=frozenset({"customer.key"}.union(*(self.writer.needs(due) for due in dues))),
            keyed=frozenset(),
            now=self.now,
        )
        facts = gather(conn, dues, NOBODY, asked)
        for due in dues:
            if due.id in facts.about:
                self._about[-due.id - 1] = facts.about[due.id]

    def _subjects(self, conn: sa.Connection, number: int, text: Text) -> Json:
        """The newest event and record of hers that the text may name, by number."""
        assert self.who.customer_id is not None
        roots = {name.partition(".")[0] for name in self._names(number, text)}
        found: Json = {}
        kinds = [self._events[number]] if self._events[number] else []
        if "event" in roots and kinds:
            row = sampling.newest_event(conn, self.who.customer_id, self._account, kinds)
            found |= {"event": row.id} if row is not None else {}
        record = self._record_of(text, roots)
        if record:
            newest = sampling.newest_record(conn, self.who.customer_id, self._account, record)
            found |= {"record": newest} if newest is not None else {}
        return found

    def _event_of(self, text: Text) -> str:
        """Which event a text speaks of: its journey's; else the first that has all that the text names."""
        if text.journey is not None and text.journey.event:
            return text.journey.event
        members = {n.partition(".")[2] for n in self._text_names(text) if n.startswith("event.")}
        own = {m for m in members if not m.endswith("_currency")}
        fitting = (name for name, kind in self.project.vocabulary.events.items() if own <= kind.fields.keys())
        return next(fitting, "") if own else ""

    def _record_of(self, text: Text, roots: Iterable[str]) -> str:
        if text.journey is not None and text.journey.record:
            return text.journey.record
        return next((root for root in sorted(roots) if root in self.project.vocabulary.records), "")

    def _text_names(self, text: Text) -> frozenset[str]:
        return self.writer.needs(self._due(0, text, {}))

    def _names(self, number: int, text: Text) -> frozenset[str]:
        return self._text_names(text)

    # ---- whom

    def told_who(self) -> str:
        """Who it is, in words."""
        if self.who.customer_id is None:
            return "nobody: made up from what the workspace declares"
        about = next(iter(self._about.values()), About())
        key = (about.customer or {}).get("key", "")
        return f"customer {key}" + (f", drawn by seed {self.who.seed}" if self.who.seed is not None else "")

    def _class_of(self, text: Text) -> str:
        """A class for somebody made up: the one the journey's audience asks for, as far as it says so."""
        classes = self.project.vocabulary.classes
        said = text.journey.audience.text if text.journey is not None and text.journey.audience is not None else ""
        unit = text.journey.unit if text.journey is not None else "customer"
        needs = {name.partition(".")[0] for name in self._text_names(text)}
        by_account = unit == "account" or "account" in needs
        named = [name for name in classes if f"class == {name}" in said]
        fitting = [name for name, kind in classes.items() if (kind.unit == "account") == by_account]
        return next(iter([*named, *fitting, *classes]), "")

    def _due(self, number: int, text: Text, subjects: Json) -> Due:
        """The message as its journey would plan it, due now. Its number is no message's."""
        journey, customer = text.journey, self.who.customer_id
        of_account = journey is not None and journey.unit == "account"
        staff = self._account if of_account and self._account is not None else customer
        return Due(
            id=-number - 1,
            batch_id=0,
            origin="journey",
            enrollment_id=None,
            journey=journey.name if journey is not None else None,
            version=journey.version if journey is not None else None,
            step=text.step,
            visit=0,
            addressee=text.addressee,
            addressee_id=(customer if text.addressee == "customer" else staff) or 0,
            customer_id=None if of_account and text.addressee != "customer" else customer,
            account_id=self._account if of_account else None,
            medium=text.medium,
            template=text.template,
            topic=text.topic,
            purpose=text.purpose,
            priority=journey.priority if journey is not None else 50,
            state="planned",
            planned_at=self.now,
            due_at=self.now,
            expires_at=None,
            attempts=0,
            payload={**text.payload, **subjects},
        )

    # ---- one text

    def renderings(self, number: int, text: Text) -> list[Rendering]:
        """Hers first, then the other languages; each also with the longest and the emptiest values."""
        due = self._dues.get(number) or self._due(number, text, {})
        found: list[Rendering] = []
        for locale in self._locales(due, number):
            base = self._base(number, text, due, locale)
            about = base.about
            asked = due if locale is None else replace(due, payload={**due.payload, "locale": locale})
            shown = [r for r in found if r.values == "usual"]
            usual = self._rendered(text, asked, about, "usual", base.made_up, locale)
            usual = replace(usual, due=asked, made=base.made)
            if any(r.locale == usual.locale for r in shown):
                continue
            found.append(usual)
            hows: tuple[How, ...] = ("longest", "emptiest")
            others = [
                self._rendered(text, asked, self._with(how, number, text, about, asked), how, (), locale)
                for how in hows
            ]
            found += [other for other in others if not _alike(usual, other)]
        return found

    def _locales(self, due: Due, number: int) -> list[str | None]:
        """None: as she would get it."""
        own: list[str | None] = [None] if number in self._about else []
        if due.payload.get("locale"):
            return own or [due.payload["locale"]]
        if self.locale is not None:
            return [self.locale]
        templates = self.project.templates.every(due.medium, due.template) if due.template else ()
        named = dict.fromkeys(name for template in templates for name in template.locales)
        return [*own, *(named or {self.project.vocabulary.locale: None})]

    def _maker(self, locale: str | None) -> Maker:
        vocabulary = self.project.vocabulary
        wall = local(self.now, vocabulary.timezone) or self.now
        return Maker(vocabulary, locale or vocabulary.locale, wall.date())

    def _base(self, number: int, text: Text, due: Due, locale: str | None) -> _Base:
        """Whom it is written for, and which facts had to be made up."""
        names = self._names(number, text)
        roots = {name.partition(".")[0] for name in names}
        event = self._events.get(number) or self._event_of(text)
        record = self._record_of(text, roots)
        maker = self._maker(locale)
        real = self._about.get(number)
        if real is None:
            made = maker.about(self._class_of(text), event, record, names)
            made = replace(made, referral=self._referral(made))
            return _Base(made, (), {name: value for name in _MADE if (value := getattr(made, name))})
        assert self.conn is not None and self.who.customer_id is not None
        made_up: list[str] = []
        parts: dict[str, Any] = {}
        if "voucher" in roots and real.voucher is None:
            newest = sampling.newest_voucher(self.conn, self.who.customer_id, self._account)
            parts["voucher"] = maker.voucher()  # of a test send always: a code is as good as money
            real = replace(real, voucher=newest or parts["voucher"])
            made_up += [] if newest else ["voucher"]
        if "event" in roots and real.event is None:
            parts["event"] = maker.event(event)
            real = replace(real, event=parts["event"])
            made_up.append("event")
        if record in roots and real.record is None:
            parts |= {"record": maker.record(record), "record_type": record}
            real = replace(real, record=parts["record"], record_type=record)
            made_up.append(record)
        return _Base(replace(real, referral=self._referral(real)), tuple(made_up), parts)

    def _referral(self, about: About) -> str:
        """A link to hand on that credits nobody, for those who have one at all."""
        declared = self.project.program.classes.get(str((about.customer or {}).get("class")))
        return link(self.project, REFERRAL) if declared is not None and declared.referral is not None else ""

    def _with(self, how: How, number: int, text: Text, about: About, due: Due) -> About:
        """The same person with values of another length under every name that the text prints."""
        maker = self._maker(due.payload.get("locale"))
        event = self._events.get(number) or self._event_of(text)
        for name in sorted(self._names(number, text)):
            known = self.extremes.get(name)
            if maker.has_a_form(name):
                continue  # one's postcode is no other's country's
            if known is not None and known.of:
                empty = how == "emptiest" and known.missing
                value = None if empty else known.longest if how == "longest" else known.shortest
                if value is not None or empty:
                    about = maker.put(about, name, value)
            elif self.conn is None or known is not None:
                if how == "longest" and (value := maker.made(name, about, event, how)) is not None:
                    about = maker.put(about, name, value)
                elif how == "emptiest" and maker.can_be_empty(name):
                    about = maker.put(about, name, None)
        return about

    def _rendered(
        self, text: Text, due: Due, about: About, how: How, made_up: tuple[str, ...], locale: str | None
    ) -> Rendering:
        """Written by `Writer`, as a delivery does; what is missing is filled in by hand, name by name, and told."""
        maker = self._maker(locale or (about.customer or {}).get("locale"))
        gaps: dict[str, Any] = {}
        event = next((e for n, e in self._events.items() if self.texts[n] is text), "") or self._event_of(text)
        while True:
            try:
                written = self.writer.write(due, about, self.now)
                break
            except Unwritable as no:
                name = no.detail
                value = maker.made(name, about, event, "usual") if no.reason == "missing_value" else None
                if value is None or name in gaps or len(gaps) >= _GAPS:
                    said = f"{no.reason}: {name}"
                    return Rendering(text, locale or "", how, None, said, gaps, locale is None, made_up=made_up)
                gaps[name] = value
                about = maker.put(about, name, value)
        to = destinations(due, about)
        outbound = written.outbound("preview", due, to[0] if to else {})
        return self._shown(text, how, written, outbound, gaps, locale is None, made_up)

    def _shown(
        self,
        text: Text,
        how: How,
        written: Written,
        outbound: Outbound,
        gaps: Mapping[str, Any],
        own: bool,
        made_up: tuple[str, ...],
    ) -> Rendering:
        sheet = self.press(outbound) if self.press is not None and text.medium is Medium.MAIL else None
        refused = "" if outbound.to else "no_address"
        return Rendering(
            text,
            written.locale,
            how,
            outbound,
            refused,
            gaps,
            own,
            written.carried,
            written.cost,
            written.currency,
            sheet,
            made_up,
        )


@dataclass(frozen=True, slots=True)
class _Base:
    """Whom a text is written for; which facts had to be made up; and what of it a test send must carry."""

    about: About
    made_up: tuple[str, ...]
    made: Mapping[str, Any]


def _alike(one: Rendering, other: Rendering) -> bool:
    """Whether nothing that varies is in a text, so that there is nothing to compare."""
    a, b = one.outbound, other.outbound
    same = a is not None and b is not None and a.skeleton is b.skeleton and (a.values, a.to) == (b.values, b.to)
    return same and one.gaps == other.gaps
