"""What a simulation came to, as one page to open, send or print: nothing is loaded from elsewhere, no script runs.

`orchestrator simulate --out FILE.html` writes what `page` gives; with `--compare`, two simulations side by side.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from html import escape
from typing import Final

from channels.base import Medium
from orchestrator import outbound, outcome, rules
from orchestrator.caption import named
from orchestrator.charts import MONTHS, STYLE, bar, calendar, columns, legend, on, stacked
from orchestrator.drawing import STYLE as DRAWING
from orchestrator.drawing import draw
from orchestrator.journey import Journey
from orchestrator.model import minor_digits
from orchestrator.project import Project
from orchestrator.simulation import Simulation, Traffic
from orchestrator.zones import zone

MEDIA: Final = {
    "email": "e-mail", "sms": "SMS", "push": "push", "mail": "letter", "task": "task", "webhook": "webhook",
    "audience": "list",
}  # fmt: skip
_PARTS: Final = {
    "calendar": "Calendar of sends",
    "volumes": "Volumes",
    "refusals": "Holds and refusals",
    "costs": "Cost by medium",
    "replies": "What people did",
    "journeys": "Journeys",
    "assumed": "What was assumed",
}
_OPEN: Final = 3
"""So many journeys show their picture at once; the others when they are asked."""
_NARROW: Final = 4
"""Columns that a phone shows at once; a wider table says there that it scrolls."""
_HEARD: Final = {
    "delivered": "delivered", "opened": "opened", "clicked": "clicked", "converted": "led to the goal",
    "bounced": "bounced", "failed": "failed", "complained": "complained of", "unsubscribed": "unsubscribed",
}  # fmt: skip
_VERDICTS: Final = {"hold": "held", "deny": "refused", "expired": "expired", "cancelled": "withdrawn"}
_ENDS: Final = {
    "goal": "The goal was reached before it went out.",
    "exit_when": "A condition of `exit_when` came true before it went out.",
    "exited": "The run came to an `exit`, or to an end of `exit_when`, before it went out.",
    "completed": "The run was over before it went out.",
    "failed": "The run could not go on.",
    "edited": "The journey was edited, and it says `in_flight: exit`.",
    "merged": "The customer was merged into another one.",
    "reached by another medium": "Another medium of a `first_of` arrived first.",
}
"""Why a message was withdrawn: how its run ended."""
_OWN: Final = frozenset({Medium.TASK, Medium.WEBHOOK, Medium.AUDIENCE})
"""Media by which no customer hears anything."""


def page(
    simulation: Simulation,
    project: Project,
    other: Simulation | None = None,
    other_project: Project | None = None,
    *,
    names: tuple[str, str] = ("this", "the other"),
) -> str:
    """The HTML document. `project`: what was simulated, for the journeys' drawings and names.

    With `other` (of `other_project`; None: of the same one) both stand side by side, differences are `simulation` minus
    `other`, and `names` says what each is called, such as ("written here", "in force"). Deterministic.
    """
    this = _Side(names[0], simulation, project)
    that = _Side(names[1], other, other_project or project) if other is not None else None
    return _Page(this, that).document()


# ---- one simulation, summed up --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Side:
    """A simulation and its sums."""

    name: str
    played: Simulation
    project: Project
    first: date = field(init=False)
    last: date = field(init=False)
    days: Counter[date] = field(default_factory=Counter)
    media: Counter[str] = field(default_factory=Counter)
    stacks: Counter[tuple[date, str]] = field(default_factory=Counter)
    costs: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    cost_of: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    heard: Counter[tuple[str, str]] = field(default_factory=Counter)
    heard_of: Counter[tuple[str, str]] = field(default_factory=Counter)
    currency: str = ""

    def __post_init__(self) -> None:
        tz = zone(self.project.vocabulary.timezone) or UTC
        self.first = self.played.began.astimezone(tz).date()
        self.last = max(self.first, (self.played.ended - timedelta(microseconds=1)).astimezone(tz).date())
        self.currency = next((v.currency for v in self.played.volumes if v.currency), self.project.vocabulary.currency)
        for v in self.played.volumes:
            self.days[v.day] += v.count
            self.media[v.medium.value] += v.count
            self.stacks[v.day, v.medium.value] += v.count
            self.costs[v.medium.value] += v.cost
            self.sent[v.journey] += v.count
            self.cost_of[v.journey] += v.cost
        for r in self.played.refusals:
            self.reasons[r.verdict, r.reason] += r.count
            self.verdicts[r.verdict] += r.count
            self.refused[r.journey] += r.count if r.verdict != "hold" else 0
        for reply in self.played.replies:
            self.heard[reply.medium.value, reply.kind] += reply.count
            self.heard_of[reply.journey, reply.kind] += reply.count

    @property
    def total(self) -> int:
        return sum(self.media.values())

    @property
    def withheld(self) -> int:
        return sum(n for verdict, n in self.verdicts.items() if verdict != "hold")

    @property
    def cost(self) -> int:
        return sum(self.costs.values())

    @property
    def entered(self) -> int:
        return sum(t.entered for t in self.played.traffic.values())

    @property
    def each(self) -> float:
        heard = sum(n for medium, n in self.media.items() if Medium(medium) not in _OWN)
        return heard / self.played.customers if self.played.customers else 0.0

    @property
    def goals(self) -> tuple[int, int]:
        """(reached, of so many) over journeys that have a goal; those held out left aside."""
        some = [t for name, t in self.played.traffic.items() if (j := self.journey(name)) and j.goal is not None]
        return sum(t.reached_goal for t in some), sum(t.entered - t.held_out for t in some)

    def journey(self, name: str) -> Journey | None:
        return self.project.journeys.get(name)

    def traffic(self, name: str) -> Traffic:
        return self.played.traffic.get(name, Traffic())

    def money(self, micro: float, more: int = 0) -> str:
        """From millionths of the currency; with `more` decimals than it has, where they say something."""
        digits = minor_digits(self.currency)
        whole, point, rest = f"{micro / 1_000_000:,.{digits + more}f}".partition(".")
        rest = rest[:digits] + rest[digits:].rstrip("0")
        return f"{whole}{point if rest else ''}{rest} {self.currency}".strip()


# ---- the page -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Page:
    this: _Side
    that: _Side | None

    def document(self) -> str:
        title = f"Simulation · {self.this.project.vocabulary.workspace} · {self.span()}"
        sections = [self.days(), self.volumes(), self.holds(), self.costs(), self.replies(), self.journeys()]
        parts = [self.heading(sections), self.tiles(), *sections, self.assumed()]
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" '
            f'content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
            f"<title>{escape(title)}</title>\n<style>{STYLE}{DRAWING}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(part for part in parts if part)
            + "\n</main>\n</body>\n</html>\n"
        )

    @property
    def sides(self) -> list[_Side]:
        return [self.this] if self.that is None else [self.this, self.that]

    def span(self) -> str:
        a, b = self.this.first, self.this.last
        if a == b:
            return on(a)
        begin = on(a) if a.year != b.year else f"{a.day} {MONTHS[a.month - 1]}"
        return f"{begin} to {on(b)}"

    # ---- numbers, alone or two by two

    def number(self, of: Callable[[_Side], float], show: Callable[[float], str] = lambda n: f"{n:,.0f}") -> str:
        """This side's number; with another side, that one's under it, and the difference."""
        mine = of(self.this)
        if self.that is None:
            return show(mine)
        theirs = of(self.that)
        return f"{show(mine)}<small>{show(theirs)} {_difference(mine, theirs, show)}</small>"

    def share(self, of: Callable[[_Side], tuple[int, int]]) -> str:
        """A share and what it is of; the difference in points."""

        def told(side: _Side) -> str:
            k, n = of(side)
            return f"{k / n:.1%}" if n else "—"

        if self.that is None:
            return told(self.this)
        (k, n), (k2, n2) = of(self.this), of(self.that)
        more = ""
        if n and n2:
            points = 100 * (k / n - k2 / n2)
            more = " ±0" if abs(points) < 0.05 else f' <b class="diff">{points:+.1f} pp</b>'.replace("-", "−")
        return f"{told(self.this)}<small>{told(self.that)}{more}</small>"

    # ---- parts

    def heading(self, sections: Sequence[str]) -> str:
        side = self.this
        people = f"{side.played.customers:,} customers"
        if side.played.scale != 1:
            people += f", each of whom stands for {side.played.scale:,.4g}"
        there = [n for n in _PARTS if n == "assumed" or any(f'<section id="{n}">' in part for part in sections)]
        nav = "".join(f'<a href="#{to}">{_PARTS[to]}</a>' for to in there)
        versus = ""
        if self.that is not None:
            versus = (
                f'<p class="versus"><b>{escape(side.name)}</b> (the large numbers) against '
                f"<b>{escape(self.that.name)}</b> (below them). Differences are the first less the second.</p>"
            )
        return (
            f'<header><p class="eyebrow">Simulation: nobody was written to</p>'
            f"<h1>{escape(named(side.project.vocabulary.workspace))}, {self.span()}</h1>"
            f'<p class="lead">{people}; seed {side.played.seed}. The real engine, with its caps, hours, consents, on '
            f"a clock of its own.</p>{versus}<nav>{nav}</nav></header>"
        )

    def tiles(self) -> str:
        this = self.this
        scale = this.played.scale
        real = f"some {this.total * scale:,.0f} for all of yours" if scale != 1 and self.that is None else ""
        goal = "of runs that could" if this.goals[1] else "no run had a goal to reach"
        found = [
            ("messages went out", self.number(lambda s: s.total), real),
            ("for each customer", self.number(lambda s: s.each, lambda n: f"{n:,.1f}"), ""),
            ("runs entered", self.number(lambda s: s.entered), ""),
            ("reached a goal", self.share(lambda s: s.goals), goal),
            ("holds", self.number(lambda s: s.verdicts["hold"]), "went out later, or not"),
            ("refused or withdrawn", self.number(lambda s: s.withheld), ""),
            ("message cost", self.number(lambda s: s.cost, self.sum), self.real_cost()),
        ]
        cards = "".join(
            f"<div><b>{number}</b><span>{what}</span>{f'<em>{more}</em>' if more and self.that is None else ''}</div>"
            for what, number, more in found
        )
        return f'<div class="tiles">{cards}</div>'

    def sum(self, micro: float) -> str:
        number, _, currency = self.this.money(micro).partition(" ")
        return f'{number}&nbsp;<i class="unit">{escape(currency)}</i>'

    def real_cost(self) -> str:
        side = self.this
        if not side.cost:
            priced = [MEDIA[m.value] for m, price in side.project.vocabulary.policies.prices.items() if price]
            if not priced:
                return "no medium has a price"
            return f"{' and '.join(priced)} {'has' if len(priced) == 1 else 'have'} a price, and none of it went out"
        return f"some {side.money(side.cost * side.played.scale)} for all" if side.played.scale != 1 else ""

    def days(self) -> str:
        most = max((n for s in self.sides for n in s.days.values()), default=0)
        shown = [self.titled(s, calendar(s.days, s.first, s.last, most)) for s in self.sides]
        return _section("calendar", "", *shown)

    def titled(self, side: _Side, content: str) -> str:
        return f"<h3>{escape(side.name)}</h3>{content}" if self.that is not None else content

    def volumes(self) -> str:
        used = {m: n for m, n in MEDIA.items() if any(s.media[m] for s in self.sides)}
        if not used:
            return _section("volumes", "No message went out.")
        found = [(s, *columns(s.stacks, s.first, s.last)) for s in self.sides]
        most = max(c.whole for _, _, cs in found for c in cs)
        parts = []
        for side, size, stacks in found:
            parts.append(self.titled(side, stacked(stacks, used, f"Messages by {size} and medium", most)))
        rows = []
        for number, column in enumerate(found[0][2]):
            cells = []
            for medium in [*used, ""]:
                numbers = [(c[number].parts.get(medium, 0) if medium else c[number].whole) if number < len(c) else 0
                           for _, _, c in found]  # fmt: skip
                small = f"<small>{numbers[1]:,}</small>" if len(numbers) > 1 else ""
                cells.append(f"<td>{numbers[0]:,}{small}</td>")
            rows.append(f"<tr><th scope=row>{escape(column.title)}</th>{''.join(cells)}</tr>")
        table = _table([found[0][1].capitalize(), *used.values(), "all"], rows)
        lead = f"Messages that went out, by {found[0][1]} and medium."
        parts.append(f"<details><summary>As a table</summary>{table}</details>")
        return _section("volumes", lead, legend(used), *parts)

    def holds(self) -> str:
        counts: Counter[tuple[str, str]] = Counter()
        for side in self.sides:
            counts.update(side.reasons)
        top = max((s.reasons[key] for s in self.sides for key in counts), default=0)
        rows = []
        for verdict, reason in sorted(counts, key=lambda k: (-self.this.reasons[k], -counts[k], k)):
            key = verdict, reason
            number = self.number(lambda s, key=key: s.reasons[key])  # type: ignore[misc]
            share = self.this.reasons[key] / top if top else 0
            media = ", ".join(sorted({MEDIA[r.medium.value] for s in self.sides for r in s.played.refusals
                                      if (r.verdict, r.reason) == key}))  # fmt: skip
            rows.append(
                f'<tr><td><span class="mark {verdict}">{_VERDICTS.get(verdict, escape(verdict))}</span> '
                f'<code>{escape(reason)}</code></td><td class="right">{number}</td>'
                f"<td>{bar(share, verdict)}</td><td>{_meaning(verdict, reason)}<small>{media}</small></td></tr>"
            )
        if not rows:
            return _section("refusals", "Nothing was held or refused.")
        lead = "Each message once for each reason. What is held is judged again, and goes out or is refused then."
        head = _head(["Why", "Times", "", "What it means"])
        return _section("refusals", lead, f'<table class="stack">{head}<tbody>{"".join(rows)}</tbody></table>')

    def costs(self) -> str:
        used = [m for m in MEDIA if any(s.media[m] for s in self.sides)]
        money = self.this.money
        rows = []
        for m in used:
            each = self.number(lambda s, m=m: s.costs[m] / s.media[m] if s.media[m] else 0, lambda n: money(n, 2))  # type: ignore[misc]
            rows.append(
                f'<tr><th scope=row><i class="c-{m}"></i>{MEDIA[m]}</th>'
                f"<td>{self.number(lambda s, m=m: s.media[m])}</td>"  # type: ignore[misc]
                f"<td>{each}</td><td>{self.number(lambda s, m=m: s.costs[m], money)}</td></tr>"  # type: ignore[misc]
            )
        whole = f"<td>{self.number(lambda s: s.total)}</td><td></td><td>{self.number(lambda s: s.cost, money)}</td>"
        rows.append(f'<tr class="sum"><th scope=row>all</th>{whole}</tr>')
        lead = "By the workspace's prices (policies.prices); a medium without a price costs nothing here."
        return _section("costs", lead, _table(["Medium", "Messages", "Each", "Cost"], rows))

    def replies(self) -> str:
        kinds = [k for k in _HEARD if any(kind == k and n for s in self.sides for (_, kind), n in s.heard.items())]
        used = [m for m in MEDIA if any(s.heard[m, k] for s in self.sides for k in kinds)]
        if not used:
            return ""
        rows = []
        for m in used:
            cells = "".join(
                "<td>" + (self.share(lambda s, m=m, k=k: (s.heard[m, k], s.media[m]))  # type: ignore[misc]
                          if any(s.heard[m, k] for s in self.sides) else '<span class="none">·</span>') + "</td>"
                for k in kinds
            )  # fmt: skip
            sent = self.number(lambda s, m=m: s.media[m])  # type: ignore[misc]
            rows.append(f'<tr><th scope=row><i class="c-{m}"></i>{MEDIA[m]}</th><td>{sent}</td>{cells}</tr>')
        head = ["Medium", "Messages", *(_HEARD[k].capitalize() for k in kinds)]
        lead = "As the behaviour that was played makes them do it; shares are of all messages of the medium."
        return _section("replies", lead, _table(head, rows))

    # ---- journeys

    def journeys(self) -> str:
        names = {n for s in self.sides for n, t in s.played.traffic.items() if t.entered or s.sent[n]}
        ranked = sorted(names, key=lambda n: (-self.this.sent[n], -self.this.traffic(n).entered, n))
        elsewhere = sorted({n for s in self.sides for n in s.sent if n not in s.played.traffic})
        rows = [self.row(n, linked=True) for n in ranked] + [self.row(n, linked=False) for n in elsewhere]
        head = ["Journey", "Entered", "Messages", "Refused", "Goal", "Cost"]
        idle = sorted({n for s in self.sides for n in s.played.traffic} - names)
        nobody = f"<p><b>Nobody entered:</b> {escape(', '.join(idle))}.</p>" if idle else ""
        parts = [self.journey(name, number < _OPEN) for number, name in enumerate(ranked)]
        return _section("journeys", "", _table(head, rows), nobody) + "".join(parts)

    def row(self, name: str, *, linked: bool) -> str:
        shown = (
            f'<a href="#{_anchor(name)}">{escape(name)}</a>' if linked else f"{escape(name)} <small>no journey</small>"
        )
        goal = any((j := s.journey(name)) is not None and j.goal is not None for s in self.sides)
        reached = self.share(lambda s: _goal(s, name)) if goal else '<span class="none">none</span>'
        return (
            f"<tr><th scope=row>{shown}</th><td>{self.number(lambda s: s.traffic(name).entered)}</td>"
            f"<td>{self.number(lambda s: s.sent[name])}</td><td>{self.number(lambda s: s.refused[name])}</td>"
            f"<td>{reached}</td><td>{self.number(lambda s: s.cost_of[name], self.this.money)}</td></tr>"
        )

    def journey(self, name: str, is_open: bool) -> str:
        funnels, pictures = [], []
        for side in self.sides:
            journey = side.journey(name)
            if journey is None:
                absent = f"<p>There is no such journey in {escape(side.name)}.</p>"
                funnels.append(self.titled(side, absent))
                continue
            funnels.append(self.titled(side, _funnel(side, name)))
            svg = draw(journey, side.traffic(name)).replace(f"<style>{DRAWING}</style>", "")
            if side is not self.this:  # two of one journey on a page need ids of their own
                svg = svg.replace('-t"', '-t2"').replace('-d"', '-d2"').replace("-t ", "-t2 ", 1)
            pictures.append(f'<div class="picture">{self.titled(side, "")}<div class="scroll">{svg}</div></div>')
        state = " open" if is_open else ""
        shown = f'<div class="two">{"".join(pictures)}</div>'
        return (
            f'<section class="journey" id="{_anchor(name)}"><h3>{escape(named(name))} <code>{escape(name)}</code></h3>'
            f'<div class="two">{"".join(f"<div>{f}</div>" for f in funnels)}</div>'
            f"<details{state}><summary>Picture with counts</summary>{shown}</details></section>"
        )

    def assumed(self) -> str:
        parts = []
        for side in self.sides:
            played = side.played
            zone_name = side.project.vocabulary.timezone
            again = "comes out again with the same workspace, people, behaviour, clock and seed"
            facts = {
                "from": f"{_instant(played.began)} to {_instant(played.ended)}; days are those of {zone_name}",
                "customers": f"{played.customers:,}",
                "scale": f"one stands for {played.scale:,.4g}" if played.scale != 1 else "1: counts are as played",
                "seed": str(played.seed),
                "workspace": played.project[:16],
                "messages": f"{played.messages[:16]}, which {again}",
            }
            told = "".join(f"<dt>{what}</dt><dd>{escape(value)}</dd>" for what, value in facts.items())
            notes = "".join(f"<li>{escape(note)}</li>" for note in played.notes)
            parts.append(self.titled(side, f"<dl>{told}</dl>" + (f"<ul>{notes}</ul>" if notes else "")))
        lead = (
            "A simulation is no promise: it shows what these journeys do with such people, and what the rules let pass."
        )
        return _section("assumed", lead, *parts)


# ---- pieces ---------------------------------------------------------------------------------------------------------


def _section(name: str, lead: str, *parts: str) -> str:
    told = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f'<section id="{name}"><h2>{_PARTS[name]}</h2>{told}{"".join(parts)}</section>'


def _difference(mine: float, theirs: float, show: Callable[[float], str]) -> str:
    gap = mine - theirs
    if show(abs(gap)) == show(0):
        return "±0"
    share = f", {gap / theirs:+.0%}".replace("-", "−") if theirs else ""
    return f'<b class="diff">{"+" if gap > 0 else "−"}{show(abs(gap))}{share}</b>'


def _goal(side: _Side, name: str) -> tuple[int, int]:
    traffic = side.traffic(name)
    return traffic.reached_goal, traffic.entered - traffic.held_out


def _funnel(side: _Side, name: str) -> str:
    """Runs and messages, from the first to the last, each with its share of what it can be of."""
    traffic, sent, heard = side.traffic(name), side.sent[name], side.heard_of
    runs = [("runs entered", traffic.entered, traffic.entered)]
    if traffic.held_out:
        runs.append(("held out, to compare", traffic.held_out, traffic.entered))
    if (journey := side.journey(name)) is not None and journey.goal is not None:
        runs.append(("reached the goal", traffic.reached_goal, traffic.entered - traffic.held_out))
    if inside := sum(traffic.inside.values()):
        runs.append(("still inside at the end", inside, traffic.entered))
    messages = [("messages went out", sent, sent)] if sent else []
    messages += [(f"… {_HEARD[k]}", heard[name, k], sent) for k in _HEARD if heard[name, k] and sent]
    if refused := side.refused[name]:
        messages.append(("refused or withdrawn", refused, refused + sent))
    return f'<div class="funnels">{_steps(runs)}{_steps(messages)}</div>'


def _steps(rows: Sequence[tuple[str, int, int]]) -> str:
    if not rows:
        return ""
    found = []
    for number, (what, count, of) in enumerate(rows):
        share = count / of if of else 0.0
        told = "" if number == 0 else f"<small>{share:.1%}</small>"
        found.append(f"<tr><th scope=row>{what}</th><td>{count:,}</td><td>{bar(share)}{told}</td></tr>")
    return f'<table class="funnel"><tbody>{"".join(found)}</tbody></table>'


def meaning(verdict: str, reason: str) -> str:
    """What a reason says: in the rules' own words, or why a run ended. "" for one that no list explains."""
    known = [*rules.reasons().values(), outbound.REASONS, outcome.REASONS]
    for codes in [_ENDS, *reversed(known)] if verdict == "cancelled" else known:
        if reason in codes:
            return codes[reason]
    return ""


def _meaning(verdict: str, reason: str) -> str:
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(meaning(verdict, reason)))


def _head(names: Iterable[str]) -> str:
    return "<thead><tr>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr></thead>"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    """Of numbers: it scrolls in a box of its own where it is too wide."""
    hint = '<small class="swipe">more to the right →</small>' if len(head) > _NARROW else ""
    return f'{hint}<div class="scroll"><table class="numbers">{_head(head)}<tbody>{"".join(rows)}</tbody></table></div>'


def _anchor(name: str) -> str:
    return "j-" + "".join(c if c.isascii() and (c.isalnum() or c in "-_") else f".{ord(c):x}" for c in name)


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
