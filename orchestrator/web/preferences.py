"""GET and POST /p/TOKEN: what somebody wants to hear, how much of it, and what is known of her. /d/TOKEN: her data.

There is no cookie and no login: the token in the address is all the authority there is, so that no other site can make
a browser post here with a right that its user has and the site has not (CSRF). The page's own address is told to
nobody (`Referrer-Policy`), and what is on it leads nowhere else.

A switch is recorded only where it was moved: the form carries what it showed, so that a page left open for a week does
not take back a STOP that was texted in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from channels.base import Medium
from orchestrator import choosing, consenting, handout, rewarding
from orchestrator.apply import Force
from orchestrator.centre import spoken
from orchestrator.choosing import Cell, Centre
from orchestrator.model import Kind
from orchestrator.store.links import Linked
from orchestrator.store.preferences import Chosen
from orchestrator.web.links import Followed, evidence, follow, masked, written
from orchestrator.web.pages import Fields, Form, Pages, Said, moved
from orchestrator.web.preferring import ASKED_FOR, LANGUAGE_NAMES, TEXTS
from orchestrator.zones import local

HOW_OFTEN: Final = ("", "1 week", "2 week", "1 month", "2 month", "4 month")
"""At most so many in so long; "": as many as there are."""
DONE: Final = (
    "saved", "same", "asked", "refused", "nothing", "paused", "resumed", "told", "fresh", "data", "called", "uncalled",
)  # fmt: skip


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.api_route("/p/{token}", methods=["GET", "HEAD"])
    def look(request: Request, token: str) -> HTMLResponse:
        found = _follow(pages, request, token, "p")
        return found if isinstance(found, HTMLResponse) else _page(pages, request, found)

    @router.post("/p/{token}")
    def change(request: Request, token: str, form: Form) -> Response:
        found = _follow(pages, request, token, "p")
        if isinstance(found, HTMLResponse):
            return found
        act = _ACTS.get(form.one("do"))
        if act is None:
            return pages.sorry(request, 400, found.link.message.locale)
        done = act(pages, request, found, form)
        if isinstance(done, HTMLResponse):
            return done
        return moved(request, f"{pages.base}/p/{token}?done={'-'.join(done)}#done")

    @router.api_route("/d/{token}", methods=["GET", "HEAD"])
    def offer(request: Request, token: str) -> HTMLResponse:
        found = _follow(pages, request, token, "d")
        return found if isinstance(found, HTMLResponse) else _data_page(pages, request, found)

    @router.post("/d/{token}")
    def hand_out(request: Request, token: str, form: Form) -> Response:
        found = _follow(pages, request, token, "d")
        return found if isinstance(found, HTMLResponse) else _data(pages, request, found, form)

    return router


@dataclass(frozen=True, slots=True)
class _Found:
    """A link of this page with the workspace in force and the words in the reader's language."""

    link: Followed
    force: Force
    said: Said
    language: str


def _follow(pages: Pages, request: Request, token: str, page: str) -> _Found | HTMLResponse:
    link = follow(pages, request, token, page)
    if isinstance(link, HTMLResponse):
        return link
    if link.force is None:
        return pages.sorry(request, 503, link.message.locale)
    locale = link.message.locale
    return _Found(link, link.force, pages.said(request, TEXTS, locale=locale), pages.language(request, locale))


# ---- the page -------------------------------------------------------------------------------------------------------


def _page(
    pages: Pages, request: Request, found: _Found, *, form: Fields | None = None, wrong: Sequence[str] = ()
) -> HTMLResponse:
    wired, link = pages.wired, found.link.message
    now = wired.clock()
    with wired.store.read() as conn:
        centre = choosing.centre_of(conn, wired.keys, found.force, link, now)
        programme = rewarding.has_programme(conn, found.force.project, link.customer_id)
    offered = found.force.project.vocabulary.preferences
    paused = centre.chosen.wishes.paused_until
    asked = request.query_params.get("done", "").split("-")
    return pages.show(
        request,
        "preferences.html",
        TEXTS,
        locale=link.locale,
        status=422 if wrong else 200,
        done=() if wrong else [name for name in DONE if name in asked],
        groups=_groups(found, centre),
        stopped=[medium.value for medium in consenting.MEDIA if medium in centre.stopped],
        often=[(value, f"often.{value or 'any'}") for value in _offers(centre.chosen)],
        chosen_often=_often(centre.chosen),
        form_choice="email" in {medium for _, medium in centre.cells},
        chosen_form=centre.chosen.format or "html",
        languages=[(name, LANGUAGE_NAMES.get(name, name)) for name in offered.languages],
        chosen_language=link.locale or "",
        paused=_day(found, paused) if paused is not None and now < paused else "",
        own=_own(found, centre, form, wrong),
        declared=_day(found, max(own)) if (own := _own_words(found, centre)) else "",
        fresh=centre.fresh,
        email=masked(link.email or ""),
        call=_may_call(offered.call_me, centre),
        rewards=f"{pages.base}/w/{wired.keys.link_token(link.message_id, 'w')}" if programme else "",
    )


def _offers(chosen: Chosen) -> tuple[str, ...]:
    """The offers, with what was chosen under others."""
    own = _often(chosen)
    return HOW_OFTEN if own in HOW_OFTEN else (*HOW_OFTEN, own)


def _often(chosen: Chosen) -> str:
    wishes = chosen.wishes
    value = "" if wishes.at_most is None else f"{wishes.at_most} {wishes.per}"
    return value if value in HOW_OFTEN else ""


def _may_call(to: str, centre: Centre) -> bool:
    return bool(to) and (to != "account_manager" or centre.manager)


def _day(found: _Found, at: datetime) -> str:
    """A day as people of that language write it, by the house's clock."""
    from babel.dates import format_date

    wall = local(at, found.force.project.vocabulary.timezone) or at
    return format_date(wall.date(), "long", found.language)


@dataclass(frozen=True, slots=True)
class _Switch:
    """One topic on one medium, as the page shows it. `state`: a key of the words, "" where there is nothing to say."""

    name: str
    medium: str
    on: bool
    state: str


def _groups(found: _Found, centre: Centre) -> list[tuple[str, list[tuple[str, list[_Switch]]]]]:
    """Advertising, then service; each topic with its switches."""
    topics = found.force.project.vocabulary.topics
    groups = []
    for purpose in ("marketing", "transactional"):
        rows: dict[str, list[_Switch]] = {}
        for (topic, medium), choice in centre.cells.items():
            if topics[topic].purpose == purpose:
                shut = choice.way == "no" and not choice.on
                state = "asked" if choice.asked else "shut" if shut else ""
                state = "stopped" if medium in centre.stopped else state
                rows.setdefault(topic, []).append(_Switch(_name((topic, medium)), medium.value, choice.on, state))
        if rows:
            titled = [(found.link.title_of(topic, found.language), switches) for topic, switches in rows.items()]
            groups.append((purpose, titled))
    return groups


def _name(cell: Cell) -> str:
    return f"{cell[0]}:{cell[1]}"


@dataclass(frozen=True, slots=True)
class _Line:
    """One field of own data. `kind` of input; `choices` of a select."""

    name: str
    label: str
    value: str
    kind: str
    choices: Sequence[tuple[str, str]]
    complete: str
    wrong: bool
    settled: bool


_COMPLETE: Final = {
    "first_name": "given-name", "last_name": "family-name", "company": "organization", "street": "street-address",
    "postcode": "postal-code", "city": "address-level2", "region": "address-level1", "country": "country",
    "birthday": "bday",
}  # fmt: skip
"""What a browser may fill in by itself (WCAG 1.3.5)."""


def _own(found: _Found, centre: Centre, form: Fields | None, wrong: Sequence[str]) -> list[_Line]:
    vocabulary = found.force.project.vocabulary
    if not centre.fresh:
        return []
    lines = []
    for name, stored in choosing.readable(vocabulary, centre.person).items():
        declared = vocabulary.customer[name]
        labels = vocabulary.preferences.labels.get(name, {})
        own = found.said.plain(f"field.{name}") if f"field.{name}" in found.said else _plainly(name)
        choices: Sequence[tuple[str, str]] = ()
        if declared.kind is Kind.YES_NO:
            choices = [(value, found.said.plain(value)) for value in ("yes", "no")]
        elif declared.kind is Kind.CHOICE:
            choices = [(value, _plainly(value)) for value in declared.choices]
        elif name == "country":
            choices = _countries(found.language)
        kind = "select" if choices else "date" if declared.kind is Kind.DATE else "text"
        value = form.one(name) if form is not None and name in form else stored
        settled = choosing.is_settled(vocabulary, centre.person, name)
        label = spoken(labels, found.language, vocabulary.locale) or own
        lines.append(_Line(name, label, value, kind, choices, _COMPLETE.get(name, "off"), name in wrong, settled))
    return lines


def _own_words(found: _Found, centre: Centre) -> list[datetime]:
    """Since when values on the page are the person's own."""
    fields = found.force.project.vocabulary.preferences.fields
    return [at for name, at in centre.declared.items() if name in fields]


def _plainly(name: str) -> str:
    text = name.replace("_", " ").replace("-", " ")
    return text[:1].upper() + text[1:]


def _countries(language: str) -> list[tuple[str, str]]:
    from babel import Locale

    named = Locale(language).territories
    return sorted(((code, name) for code, name in named.items() if len(code) == 2 and code.isalpha() and code not in
                   ("EU", "EZ", "UN", "XA", "XB", "ZZ", "QO")), key=lambda pair: pair[1])  # fmt: skip


# ---- what is done ---------------------------------------------------------------------------------------------------


def _save(pages: Pages, request: Request, found: _Found, form: Fields) -> list[str]:
    """Switches, frequency, form and language: one transaction, and only what is otherwise than it was shown."""
    wired = pages.wired
    now = wired.clock()
    wanted = _moved(found, form)
    words = {cell: _wording(found, cell, on) for cell, on in wanted.items()}
    proof = {**evidence(pages, request, "p", method=choosing.METHOD), "language": found.language}
    proof.pop("wording", None)
    vocabulary = found.force.project.vocabulary
    often, form_ = form.one("often"), form.one("format")
    at_most, _, per = often.partition(" ") if often in HOW_OFTEN and often else ("", "", "week")

    def write(conn: Any, link: Linked) -> tuple[choosing.Decided, bool]:
        decided = choosing.decide(conn, wired.keys, found.force, link, wanted, words, proof, now)
        new = False
        if "often" in form:
            new |= choosing.set_wishes(
                conn,
                link,
                at_most=int(at_most) if at_most else None,
                per="month" if per == "month" else "week",
                form="text" if form_ == "text" else "html",
                now=now,
            )
        new |= choosing.speak(conn, vocabulary, link, form.one("language"), now)
        return decided, new

    decided, new = written(pages, found.link, write)
    done = ["saved"] if decided.recorded or new else []
    done += (["asked"] if decided.asked else []) + (["refused"] if decided.refused else [])
    return done or ["same"]


def _moved(found: _Found, form: Fields) -> dict[Cell, bool]:
    """Switches that stand otherwise than they were shown."""
    shown, on = set(form.get("shown", ())), set(form.get("on", ()))
    were_on = set(form.get("was", ()))
    cells = {}
    for name in shown:
        topic, _, medium = name.rpartition(":")
        known = topic in found.force.project.vocabulary.topics and medium in set(consenting.MEDIA)
        if known and (name in on) is not (name in were_on):
            cells[topic, Medium(medium)] = name in on
    return cells


def _wording(found: _Found, cell: Cell, on: bool) -> str:
    """What stood beside a switch, and how it was left."""
    said, (topic, medium) = found.said, cell
    title = found.link.title_of(topic, found.language)
    named = {"house": found.force.project.vocabulary.sender.get("name", ""), "topic": title}
    switch = f"{title} – {said.plain(f'medium.{medium}')}: {said.plain('on' if on else 'off')}"
    return "\n".join([said.plain("topics.what", **named), switch])


def _nothing(pages: Pages, request: Request, found: _Found, form: Fields) -> list[str]:
    wired = pages.wired
    words = f"{found.said.plain('nothing.what')}\n{found.said.plain('nothing.do')}"
    proof = {**evidence(pages, request, "p", method=choosing.METHOD, wording=words), "language": found.language}
    now = wired.clock()
    written(
        pages,
        found.link,
        lambda conn, one: consenting.unsubscribe(conn, wired.keys, one, everything=True, evidence=proof, now=now),
    )
    return ["nothing"]


def _pause(pages: Pages, request: Request, found: _Found, form: Fields) -> list[str]:
    now = pages.wired.clock()
    written(pages, found.link, lambda conn, one: choosing.rest(conn, one, now + choosing.REST, now))
    return ["paused"]


def _resume(pages: Pages, request: Request, found: _Found, form: Fields) -> list[str]:
    now = pages.wired.clock()
    written(pages, found.link, lambda conn, one: choosing.rest(conn, one, None, now))
    return ["resumed"]


def _tell(pages: Pages, request: Request, found: _Found, form: Fields) -> list[str] | HTMLResponse:
    wired, link = pages.wired, found.link.message
    now = wired.clock()
    with wired.store.read() as conn:
        fresh = choosing.is_fresh(conn, wired.keys, link, now)
    if not fresh:
        return pages.sorry(request, 400, link.locale)
    vocabulary = found.force.project.vocabulary
    said = {name: form.one(name) for name in vocabulary.preferences.fields if name in form}
    told = written(pages, found.link, lambda conn, one: choosing.tell(conn, vocabulary, one, said, now))
    if told.wrong:
        return _page(pages, request, found, form=form, wrong=told.wrong)
    return ["told" if told.changed else "same"]


def _fresh(pages: Pages, request: Request, found: _Found, form: Fields) -> list[str]:
    return _mailed(pages, found, choosing.FRESHER, "fresh")


def _ask_data(pages: Pages, request: Request, found: _Found, form: Fields) -> list[str]:
    return _mailed(pages, found, choosing.DATA, "data")


def _mailed(pages: Pages, found: _Found, origin: str, kind: str) -> list[str]:
    title, text = (ASKED_FOR[f"{kind}.{part}"][_place(found.language)] for part in ("title", "text"))
    now = pages.wired.clock()
    written(pages, found.link, lambda conn, one: choosing.ask_for_link(conn, one, origin, title, text, now))
    return [kind]


def _call(pages: Pages, request: Request, found: _Found, form: Fields) -> list[str]:
    house = _place("de" if found.force.project.vocabulary.locale.startswith("de") else "en")
    title, text = (ASKED_FOR[f"call.{part}"][house] for part in ("title", "text"))
    now = pages.wired.clock()
    done = written(pages, found.link, lambda conn, one: choosing.call_me(conn, found.force, one, title, text, now))
    return ["called" if done else "uncalled"]


def _place(language: str) -> int:
    return 1 if language == "de" else 0


_ACTS: Final = {
    "save": _save,
    "nothing": _nothing,
    "pause": _pause,
    "resume": _resume,
    "tell": _tell,
    "fresh": _fresh,
    "data": _ask_data,
    "call": _call,
}


# ---- own data, to take away -----------------------------------------------------------------------------------------


def _open(pages: Pages, found: _Found) -> bool:
    now = pages.wired.clock()
    with pages.wired.store.read() as conn:
        return choosing.is_open(conn, pages.wired.keys, found.link.message, now)


def _data_page(pages: Pages, request: Request, found: _Found) -> HTMLResponse:
    link = found.link.message
    good = _open(pages, found)
    return pages.show(request, "data.html", TEXTS, locale=link.locale, good=good, status=200 if good else 410)


def _data(pages: Pages, request: Request, found: _Found, form: Fields) -> Response:
    """The files that `orchestrator customer export` writes. By POST alone: who scans a mail's links opens no file."""
    if not _open(pages, found):
        return _data_page(pages, request, found)
    document = handout.document(pages.wired, found.link.message.customer_id)
    if document is None:
        return pages.sorry(request, 404, found.link.message.locale)
    plain = form.one("as") == "json"
    text = handout.as_json(document[1]) if plain else handout.as_page(document[1])
    name, kind = ("my-data.json", "application/json") if plain else ("my-data.html", "text/html; charset=utf-8")
    headers: Mapping[str, str] = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=kind, headers=dict(headers))
