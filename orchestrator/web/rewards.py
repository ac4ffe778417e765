"""GET and POST /w/TOKEN: the programme as one customer sees it, and what she takes for her points.

A look changes nothing. What is worth money is done by POST alone, by a link of these days (`rewarding.NEAR`), once for
each form: the form carries a number of its own. As on the other pages there is no cookie: the token in the address is
all the authority there is, so that no other site can act by somebody's browser.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from orchestrator import choosing, refer, rewarding
from orchestrator.apply import Force
from orchestrator.centre import spoken
from orchestrator.model import Kind, minor_digits
from orchestrator.reward import NOT_CLAIMED
from orchestrator.rewarding import Chances, Overview
from orchestrator.store.links import Linked
from orchestrator.web.links import Followed, follow, masked, written
from orchestrator.web.pages import Fields, Form, Pages, Said, moved
from orchestrator.web.rewardwords import ASKED_FOR, TEXTS
from orchestrator.zones import local

LETTER: Final = "w"
GOOD: Final = frozenset({"taken", "joined", "left", "link", "fresh"})
DONE: Final = GOOD | {"name", "old", "role"} | NOT_CLAIMED.keys()
_SOON: Final = timedelta(days=60)
_FORM: Final = re.compile(r"[\w-]{16,32}", re.ASCII)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.api_route("/w/{token}", methods=["GET", "HEAD"])
    def look(request: Request, token: str) -> HTMLResponse:
        found = _follow(pages, request, token)
        return found if isinstance(found, HTMLResponse) else _page(pages, request, found)

    @router.post("/w/{token}")
    def act(request: Request, token: str, form: Form) -> Response:
        found = _follow(pages, request, token)
        if isinstance(found, HTMLResponse):
            return found
        work = _ACTS.get(form.one("do"))
        done = work(pages, found, form) if work is not None else None
        if done is None:
            return pages.sorry(request, 400, found.link.message.locale)
        return moved(request, f"{pages.base}/w/{token}?done={done}#done")

    return router


@dataclass(frozen=True, slots=True)
class _Found:
    """A link of this page with the workspace in force and the words in the reader's language."""

    link: Followed
    force: Force
    said: Said
    language: str

    def title(self, name: str) -> str:
        """What people read for a name of the programme."""
        told = self.force.project.vocabulary.loyalty.title(name, self.language).replace("_", " ")
        return told[:1].upper() + told[1:]

    def number(self, value: float) -> str:
        from babel.numbers import format_decimal

        return str(format_decimal(Decimal(str(value)), "#,##0.##", locale=self.language))

    def points(self, count: int) -> str:
        return self.said.plain("points.one" if abs(count) == 1 else "points.many", count=self.number(count))

    def day(self, day: date, form: str = "long") -> str:
        from babel.dates import format_date

        return str(format_date(day, form, self.language))


def _follow(pages: Pages, request: Request, token: str) -> _Found | HTMLResponse:
    link = follow(pages, request, token, LETTER)
    if isinstance(link, HTMLResponse):
        return link
    if link.force is None:
        return pages.sorry(request, 503, link.message.locale)
    locale = link.message.locale
    return _Found(link, link.force, pages.said(request, TEXTS, locale=locale), pages.language(request, locale))


# ---- the page -------------------------------------------------------------------------------------------------------


def _page(pages: Pages, request: Request, found: _Found) -> HTMLResponse:
    wired, link = pages.wired, found.link.message
    now = wired.clock()
    with wired.store.read() as conn:
        fresh = choosing.is_fresh(conn, wired.keys, link, now)
        if fresh:
            seen = rewarding.overview(conn, wired.keys, found.force.project, link, found.language, now)
            there = seen is not None
        else:
            seen, there = None, rewarding.has_programme(conn, found.force.project, link.customer_id)
    told: dict[str, Any] = {} if seen is None else _Told(found, seen, now).all()
    asked = request.query_params.get("done", "")
    return pages.show(
        request,
        "rewards.html",
        TEXTS,
        locale=link.locale,
        there=there,
        fresh=fresh,
        done=asked if asked in DONE else "",
        good=asked in GOOD,
        email=masked(link.email or ""),
        preferences=f"{pages.base}/p/{wired.keys.link_token(link.message_id, 'p')}",
        seen=seen,
        form=secrets.token_urlsafe(12),
        **told,
    )


@dataclass(frozen=True, slots=True)
class _Offer:
    name: str
    title: str
    kind: str
    cost: str
    left: str
    why: str
    take: str
    sure: str


@dataclass(frozen=True, slots=True)
class _Draw:
    title: str
    lines: Sequence[str]
    won: bool
    commitment: str
    seed: str


@dataclass(frozen=True, slots=True)
class _Told:
    """What was found, in words."""

    found: _Found
    seen: Overview
    now: datetime

    def all(self) -> dict[str, Any]:
        """What the template sees."""
        seen, found = self.seen, self.found
        loyalty = found.force.project.vocabulary.loyalty
        of_class = seen.member.class_name
        return {
            "class_title": found.title(of_class) if of_class in loyalty.titles else "",
            "company": seen.company or found.said.plain("company.unnamed") if seen.member.unit == "account" else "",
            "tier": found.title(seen.member.tier) if seen.member.tier else "",
            "membership": self._membership(),
            "way": self._way(),
            "risk": self._risk(),
            **self._benefits(),
            "balance": found.number(seen.standing.get("points") or 0),
            "owed": (seen.standing.get("points") or 0) < 0,
            "pending": found.number(p) if (p := seen.standing.get("points_pending") or 0) > 0 else "",
            "expiring": self._expiring(),
            "soon": self._is_soon(),
            "history": self._history(),
            "content": [(self._words(one.title), self._words(one.text), one.url) for one in seen.content],
            "offers": [self._offer(one) for one in seen.offers],
            "taken": [
                (found.title(one.reward), self._on(one.at), f"taken.{one.state}") for one in seen.taken
            ],
            "codes": self._codes(),
            "challenges": self._challenges(),
            "badges": [(found.title(one.name), self._on(one.at)) for one in seen.badges],
            "draws": [self._draw(one) for one in seen.chances],
            "referral": self._referral(),
            "places": [
                (one.rank, one.name, found.number(one.points), one.unit_id == seen.member.id) for one in seen.places
            ],
        }  # fmt: skip

    def _words(self, texts: Mapping[str, str]) -> str:
        return spoken(texts, self.found.language, self.found.force.project.vocabulary.locale)

    def _wall(self, at: datetime) -> datetime:
        house = self.found.force.project.vocabulary.timezone
        return local(at, self.seen.member.zone or house) or local(at, house) or at

    def _on(self, at: datetime, form: str = "long") -> str:
        return self.found.day(self._wall(at).date(), form)

    # ---- tier and points

    def _membership(self) -> list[str]:
        seen, plain = self.seen, self.found.said.plain
        if seen.program.membership is None:
            return []
        if not seen.is_member:
            return [plain("member.lapsed" if seen.standing.get("member") == "lapsed" else "member.none")]
        days = [(f"member.{name}", seen.standing.get(f"member_{name}")) for name in ("since", "until")]
        return [plain(key, day=self.found.day(day)) for key, day in days if day is not None]

    def _score(self, value: float) -> str:
        """A score, or what is missing of one, as people read it."""
        by = self.seen.program.tier_by
        if by is not None and by.kind is Kind.MONEY:
            from babel.numbers import format_currency

            currency = self.found.force.project.vocabulary.currency
            amount = Decimal(ceil(value)).scaleb(-minor_digits(currency))
            return str(format_currency(amount, currency, locale=self.found.language))
        if by is not None and by.text.startswith("points"):
            return self.found.points(ceil(value))
        return self.found.number(round(value, 2))

    def _way(self) -> dict[str, Any] | None:
        """The bar to the next tier; {} on the highest; None where no score makes the tier."""
        program, standing, tier = self.seen.program, self.seen.standing, self.seen.member.tier
        following, missing, score = (standing.get(name) for name in ("next_tier", "missing", "score"))
        if program.tier_by is None or score is None:
            return None
        if following is None or missing is None or following not in program.thresholds:
            return {}
        high, low = program.thresholds[following], program.thresholds.get(tier or "", 0.0)
        share = 0 if high <= low else min(100, max(0, int((score - low) / (high - low) * 100)))
        title = self.found.title(following)
        what = self.found.said.plain(
            "way.what", missing=self._score(missing), tier=title, score=self._score(score)
        ) if missing > 0 else self.found.said.plain("way.done", tier=title)  # fmt: skip
        return {"tier": title, "share": share, "what": what}

    def _risk(self) -> str:
        standing, tier = self.seen.standing, self.seen.member.tier
        if standing.get("protected"):
            return self.found.said.plain("protected")
        missing, day = standing.get("shortfall"), standing.get("review_on")
        if not missing or day is None or not tier:
            return ""
        named = {"tier": self.found.title(tier), "missing": self._score(missing), "day": self.found.day(day)}
        return self.found.said.plain("risk", **named)

    def _benefits(self) -> dict[str, Any]:
        """What the tier gives, and what the next one would."""
        program, tier = self.seen.program, self.seen.member.tier
        by_tier = self.found.force.project.vocabulary.loyalty.benefits.get(self.seen.member.class_name, {})
        mine = by_tier.get(tier or "", ())
        place = program.tiers.index(tier) + 1 if tier in program.tiers else 0
        more, above = [], ""
        for name in program.tiers[place:]:
            more = [one for one in by_tier.get(name, ()) if one not in mine]
            if more:
                above = self.found.title(name)
                break
        title = self.found.title
        return {"benefits": [title(one) for one in mine], "more": [title(one) for one in more], "above": above}

    def _expiring(self) -> str:
        count, day = self.seen.standing.get("points_expiring") or 0, self.seen.standing.get("points_expire_on")
        if count <= 0 or day is None:
            return ""
        key = "expiring.one" if count == 1 else "expiring"
        return self.found.said.plain(key, points=self.found.points(count), day=self.found.day(day))

    def _is_soon(self) -> bool:
        """Whether points expire so soon that it is marked."""
        day = self.seen.standing.get("points_expire_on")
        return day is not None and day - self._wall(self.now).date() <= _SOON

    def _history(self) -> list[tuple[str, str, str, str]]:
        """Lines of (day, what, points, from when they can be spent)."""
        events = {rule.key: rule.event for rule in self.seen.program.points}
        lines = []
        for row in self.seen.history:
            if not row["points"]:
                continue  # a deduction that found nothing to take
            active = row["active_at"]
            later = self._on(active) if row["points"] > 0 and active is not None and active > self.now else ""
            signed = f"{'+' if row['points'] > 0 else '−'}{self.found.number(abs(row['points']))}"
            lines.append((self._on(row["at"], "medium"), self._line(row, events), signed, later))
        return lines

    def _line(self, row: Mapping[str, Any], events: Mapping[str, str]) -> str:
        plain, title, rule = self.found.said.plain, self.found.title, row["rule"] or ""
        match row["kind"]:
            case "earn":
                return plain("line.earn.for", what=title(events[rule])) if rule in events else plain("line.earn")
            case "award" if rule.startswith("challenge:"):
                return plain("line.challenge", what=title(rule.removeprefix("challenge:")))
            case "award" if rule == "referral":
                return plain("line.referral")
            case "award" if rule in self.seen.program.rewards:
                return plain("line.back", what=title(rule))
            case "deduct":
                return plain("line.deduct.referral" if rule == "referral" else "line.deduct")
            case "spend":
                return plain("line.spend", what=title(rule))
            case "reverse":
                return plain("line.correct" if row["points"] > 0 else "line.reverse")
            case other:
                return plain(f"line.{other}")

    # ---- rewards

    def _offer(self, one: Any) -> _Offer:
        plain, rule = self.found.said.plain, one.reward
        title, cost = self.found.title(rule.name), self.found.points(rule.costs)
        why = ""
        if one.reason == "points":
            missing = rule.costs - (self.seen.standing.get("points") or 0)
            key = "reward.missing.one" if missing == 1 else "reward.missing"
            why = plain(key, points=self.found.points(missing))
        elif one.reason == "tier":
            why = plain("why.tier", tiers=plain("or").join(self.found.title(tier) for tier in rule.tiers))
        elif one.reason:
            why = plain(f"why.{one.reason}")
        left = plain("reward.left", count=self.found.number(one.left)) if one.left else ""
        free = "" if rule.costs else ".free"
        take = plain(f"reward.take{free}", points=cost, title=title)
        sure = plain(f"reward.sure{free}", points=cost, title=title)
        shown = cost if rule.costs else plain("reward.free")
        return _Offer(rule.name, title, plain(f"kind.{rule.kind}"), shown, left, why, take, sure)

    def _codes(self) -> list[tuple[str, str, str, bool]]:
        """(what it is, code, until when, whether it is still good)."""
        pools, plain, lines = self.found.force.project.vocabulary.loyalty.pools, self.found.said.plain, []
        today = self._wall(self.now).date()
        for one in self.seen.codes:
            pool = pools.get(one.pool)
            title = self._words(pool.title) if pool is not None else ""
            good = False
            if one.redeemed_at is not None:
                state = plain("voucher.used", day=self._on(one.redeemed_at))
            elif one.expires_on is not None and one.expires_on < today:
                state = plain("voucher.over", day=self.found.day(one.expires_on))
            else:
                good = True
                state = plain("voucher.ever")
                if one.expires_on is not None:
                    state = plain("voucher.until", day=self.found.day(one.expires_on))
            lines.append((title or plain("voucher"), one.code, state, good))
        return sorted(lines, key=lambda line: not line[3])

    # ---- games

    def _challenges(self) -> list[tuple[str, str, bool]]:
        """(title, what there is to say, whether it is done)."""
        plain, lines, today = self.found.said.plain, [], self._wall(self.now).date()
        for one in self.seen.challenges:
            if one.done_at is not None:
                parts = [plain("challenge.done", day=self._on(one.done_at))]
                parts += [plain("challenge.times", count=one.times)] if one.times > 1 else []
            else:
                over = one.until is not None and one.until < today
                parts = [] if over else [plain("challenge.open")]
                if one.until is not None:
                    parts.append(plain("challenge.over" if over else "challenge.until", day=self.found.day(one.until)))
                parts += [self.found.points(one.points)] if one.points and not over else []
            title = one.title[:1].upper() + one.title[1:]
            lines.append((title, " · ".join(parts), one.done_at is not None))
        return lines

    def _draw(self, one: Chances) -> _Draw:
        plain, last = self.found.said.plain, self.found.day(one.rule.closes)
        if one.stage == "soon":
            lines = [plain("draw.soon", day=self._on(one.opens_at)) if one.opens_at is not None
                     and one.opens_at > self.now else plain("draw.shortly")]  # fmt: skip
        else:
            lines = [plain(f"draw.{one.stage}", day=last)]
        if one.rule.prize:
            pool = self.found.force.project.vocabulary.loyalty.pools.get(one.rule.prize)
            prize = self._words(pool.title) if pool is not None else ""
            lines.append(plain("draw.prize", prize=prize or self.found.title(one.rule.prize)))
        if one.won is not None:
            lines.append(plain("draw.won", place=one.won))
        elif one.stage == "drawn" and one.tickets:
            lines.append(plain("draw.lost"))
        if one.stage != "soon":
            verb = "had" if one.stage == "drawn" else "tickets"
            key = f"draw.{verb}.one" if one.tickets == 1 else f"draw.{verb}"
            lines.append(plain(key, count=self.found.number(one.tickets)))
        return _Draw(self.found.title(one.rule.name), lines, one.won is not None, one.commitment, one.seed)

    def _referral(self) -> dict[str, str] | None:
        """None where nobody is brought by a link; {} where there is no link yet."""
        if self.seen.program.referral is None:
            return None
        if self.seen.code is None:
            return {}
        vocabulary = self.found.force.project.vocabulary
        link = refer.link(self.found.force.project, self.seen.code)
        house = vocabulary.sender.get("name", "") or vocabulary.workspace
        key = "referral.share" if link else "referral.share.code"
        share = self.found.said.plain(key, house=house, link=link or self.seen.code)
        return {"link": link, "code": self.seen.code, "share": share}


# ---- what is done ---------------------------------------------------------------------------------------------------


def _mail(found: _Found, kind: str) -> tuple[str, str]:
    place = 1 if found.language == "de" else 0
    return ASKED_FOR[f"{kind}.title"][place], ASKED_FOR[f"{kind}.text"][place]


def _take(pages: Pages, found: _Found, form: Fields) -> str | None:
    name, number = form.one("reward"), form.one("form")
    if not name or _FORM.fullmatch(number) is None:
        return None
    wired, words, now = pages.wired, _mail(found, "receipt"), pages.wired.clock()

    def take(conn: sa.Connection, one: Linked) -> str:
        return rewarding.take(conn, wired.keys, found.force, one, name, number, words, now)

    return written(pages, found.link, take) or "taken"


def _join(pages: Pages, found: _Found, form: Fields) -> str | None:
    wired, now = pages.wired, pages.wired.clock()

    def join(conn: sa.Connection, one: Linked) -> bool | None:
        return rewarding.join(conn, wired.keys, found.force.project, one, form.one("name"), now)

    done = written(pages, found.link, join)
    return "old" if done is None else "joined" if done else "name"


def _leave(pages: Pages, found: _Found, form: Fields) -> str | None:
    wired, now = pages.wired, pages.wired.clock()
    project = found.force.project
    done = written(pages, found.link, lambda conn, one: rewarding.leave(conn, wired.keys, project, one, now))
    return "old" if done is None else "left"


def _hand_on(pages: Pages, found: _Found, form: Fields) -> str | None:
    wired, now = pages.wired, pages.wired.clock()
    project = found.force.project
    done = written(pages, found.link, lambda conn, one: rewarding.hand_on(conn, wired.keys, project, one, now))
    return "old" if done is None else "link"


def _fresh(pages: Pages, found: _Found, form: Fields) -> str | None:
    (title, text), now = _mail(found, "fresh"), pages.wired.clock()
    sent = written(
        pages,
        found.link,
        lambda conn, one: choosing.ask_for_link(conn, one, rewarding.LINK, title, text, now),
    )
    return "fresh" if sent else "old"


_Act = Callable[[Pages, _Found, Fields], str | None]
_ACTS: Final[Mapping[str, _Act]] = {"take": _take, "join": _join, "leave": _leave, "link": _hand_on, "fresh": _fresh}
