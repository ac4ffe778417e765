"""Charts of a page: a calendar of days, stacked columns over time, bars. Own SVG, no script; colours by class.

Each is a fragment of HTML whose numbers can be had by pointing at them (`<title>`), and whose letters keep their size
however narrow the page is: they stand beside the SVG, not in it. Pure.
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import Final

MONTHS: Final = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                 "November", "December")  # fmt: skip
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LEVELS: Final = 5
_CELL: Final = 20
_BY_DAY, _BY_WEEK = 62, 400


@dataclass(frozen=True, slots=True)
class Column:
    """One stack: `name` under it where there is room, `title` in full; `parts` by series."""

    name: str
    title: str
    parts: Mapping[str, int]

    @property
    def whole(self) -> int:
        return sum(self.parts.values())


def on(day: date) -> str:
    """A day as people write it: 3 March 2027."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


# ---- a calendar -----------------------------------------------------------------------------------------------------


def calendar(counts: Mapping[date, int], first: date, last: date, most: int | None = None) -> str:
    """A square for each day, month by month, the fuller the darker. `most`: what the darkest stands for, when several
    calendars are to be compared."""
    top = max(counts.values(), default=0) if most is None else most
    months = []
    month = first.replace(day=1)
    while month <= last:
        months.append(_month(counts, month, first, last, top))
        month = (month + timedelta(days=32)).replace(day=1)
    steps = "".join(f'<i class="h{n}"></i>' for n in range(_LEVELS + 1))
    fullest = max(counts, key=lambda day: (counts[day], -day.toordinal()), default=None)
    told = f"the most on one day: {counts[fullest]:,}, on {on(fullest)}" if fullest is not None else "no message at all"
    scale = f"none {steps} {top:,} a day" if top >= _LEVELS else ""
    legend = f'<p class="legend heat">{"; ".join(part for part in (scale, told) if part)}.</p>'
    return f'<div class="months">{"".join(months)}</div>{legend}'


def _month(counts: Mapping[date, int], month: date, first: date, last: date, most: int) -> str:
    lead, length = monthrange(month.year, month.month)
    rows = math.ceil((lead + length) / 7)
    cells, whole = [], 0
    for number in range(1, length + 1):
        day = month.replace(day=number)
        x, y = (lead + number - 1) % 7 * (_CELL + 2), (lead + number - 1) // 7 * (_CELL + 2)
        count = counts.get(day, 0)
        whole += count
        outside = day < first or day > last
        level = "out" if outside else f"h{_level(count, most)}"
        said = f"{WEEKDAYS[day.weekday()]}, {on(day)}: " + ("not played" if outside else f"{count:,} messages")
        cells.append(
            f'<g class="{level}"><title>{said}</title><rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="4"/>'
            f'<text x="{x + _CELL / 2:g}" y="{y + _CELL / 2 + 3:g}">{number}</text></g>'
        )
    wide, high = 7 * (_CELL + 2) - 2, rows * (_CELL + 2) - 2
    name = f"{MONTHS[month.month - 1]} {month.year}"
    return (
        f'<figure class="month"><figcaption>{name} <b>{whole:,}</b></figcaption>'
        f'<svg viewBox="0 0 {wide} {high}" role="img" aria-label="{name}: {whole:,} messages">{"".join(cells)}</svg>'
        "</figure>"
    )


def _level(count: int, most: int) -> int:
    """0 for none; the root spreads the many small days over the steps."""
    if count <= 0 or most <= 0:
        return 0
    return min(_LEVELS, max(1, math.ceil(math.sqrt(count / most) * _LEVELS)))


# ---- stacked columns ------------------------------------------------------------------------------------------------


def columns(counts: Mapping[tuple[date, str], int], first: date, last: date) -> tuple[str, list[Column]]:
    """Days put together as the length asks for: ("day" | "week" | "month", a column for each, empty ones too)."""
    length = (last - first).days + 1
    size = "day" if length <= _BY_DAY else "week" if length <= _BY_WEEK else "month"
    parts: dict[date, dict[str, int]] = {}
    day = first
    while day <= last:
        parts.setdefault(_start(day, size), {})
        day += timedelta(days=1)
    for (day, series), count in sorted(counts.items()):
        own = parts.setdefault(_start(day, size), {})
        own[series] = own.get(series, 0) + count
    return size, [_column(start, size, parts[start]) for start in sorted(parts)]


def _start(day: date, size: str) -> date:
    return day if size == "day" else day - timedelta(days=day.weekday()) if size == "week" else day.replace(day=1)


def _column(start: date, size: str, parts: Mapping[str, int]) -> Column:
    month = MONTHS[start.month - 1]
    if size == "month":
        return Column(f"{month[:3]} {start.year}", f"{month} {start.year}", parts)
    name = f"{start.day} {month[:3]}"
    return Column(name, ("week from " if size == "week" else "") + on(start), parts)


def stacked(found: Sequence[Column], series: Mapping[str, str], label: str, most: int | None = None) -> str:
    """Columns with an axis. `series`: names to show by key, the lowest first; `most`: the axis' end, to compare."""
    top, steps = _axis(max((c.whole for c in found), default=0) if most is None else most)
    wide = 1000 / max(len(found), 1)
    gap = min(wide * 0.18, 6)
    bars = []
    for number, column in enumerate(found):
        y, told = 100.0, [f"{column.title}: {column.whole:,}"]
        rects = []
        for key, shown in series.items():
            count = column.parts.get(key, 0)
            if not count:
                continue
            high = 100 * count / top
            y -= high
            rects.append(
                f'<rect class="c-{key}" x="{number * wide + gap / 2:.2f}" y="{y:.3f}" width="{wide - gap:.2f}" '
                f'height="{high:.3f}"/>'
            )
            told.append(f"{shown} {count:,}")
        # An invisible column over all of it: a low bar can be pointed at, too.
        hit = f'<rect class="hit" x="{number * wide:.2f}" y="0" width="{wide:.2f}" height="100"/>'
        bars.append(f"<g><title>{escape(', '.join(told))}</title>{''.join(rects)}{hit}</g>")
    lines = "".join(
        f'<line x1="0" x2="1000" y1="{100 - 100 * s / top:.3f}" y2="{100 - 100 * s / top:.3f}"/>' for s in steps
    )
    ys = "".join(f'<span style="bottom:{100 * s / top:.3f}%">{short(s)}</span>' for s in steps)
    xs = "".join(
        f'<span style="left:{(n + 0.5) * wide / 10:.2f}%">{escape(found[n].name)}</span>' for n in _named(len(found))
    )
    return (
        f'<figure class="plot"><div class="chart"><div class="ys">{ys}</div>'
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f'{lines}{"".join(bars)}</svg><div class="xs">{xs}</div></div></figure>'
    )


def _axis(most: int) -> tuple[int, list[int]]:
    """The axis' end and where its lines stand: round numbers, three to six of them."""
    if most <= 4:
        return max(most, 1), list(range(max(most, 1) + 1))
    rough = most / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(int(power * f) for f in (1, 2, 2.5, 5, 10) if power * f >= rough and power * f == int(power * f))
    top = math.ceil(most / step) * step
    return top, list(range(0, top + 1, step))


def _named(length: int) -> list[int]:
    """Which columns are named: no more than fit on a phone."""
    if length <= 5:
        return list(range(length))
    stride = length // 5
    return list(range((length - 4 * stride - 1) // 2, length, stride))[:5]


def short(number: int) -> str:
    """12,000 as 12k."""
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if number >= 10 * size or (number >= size and number % (size // 10) == 0):
            return f"{number / size:.4g}{sign}"
    return f"{number:,}"


def legend(series: Mapping[str, str]) -> str:
    """What each colour stands for."""
    items = "".join(f'<span><i class="c-{key}"></i>{escape(shown)}</span>' for key, shown in series.items())
    return f'<p class="legend">{items}</p>'


def bar(share: float, kind: str = "") -> str:
    """A share of [0, 1] as a bar; the number is to stand beside it."""
    return (
        f'<span class="bar {kind}" aria-hidden="true"><i style="width:{100 * min(max(share, 0), 1):.1f}%"></i></span>'
    )


# ---- looks ----------------------------------------------------------------------------------------------------------

_SERIES: Final[Mapping[str, tuple[str, str]]] = {  # on light, on dark
    "email": ("#3b7dd8", "#6aa9f0"),
    "sms": ("#2b9a5d", "#5cc78d"),
    "push": ("#8559d6", "#ab8bef"),
    "mail": ("#cf8a1f", "#e3ae4c"),
    "task": ("#d1486f", "#ef86a3"),
    "webhook": ("#6b7a8d", "#93a3b5"),
    "audience": ("#159488", "#4fc4b8"),
}
_HEAT: Final = (
    ("#e9edf2", "#cfe6e2", "#9fd0c8", "#63b3a6", "#237d70", "#0f6257"),
    ("#222b35", "#17413c", "#1d5d55", "#2a8073", "#43a898", "#7fd9ca"),
)
_INK_ON_HEAT: Final = (
    ("#566273", "#24323a", "#17202b", "#0c1a1f", "#ffffff", "#ffffff"),
    ("#a3b0bf", "#d6e6e3", "#eef7f5", "#ffffff", "#0b1a18", "#0b1a18"),
)


def _colours(at: int) -> str:
    pairs = {
        "ink": ("#17202b", "#e8edf2"), "soft": ("#566273", "#a3b0bf"), "line": ("#d5dce4", "#36424f"),
        "faint": ("#f1f4f7", "#1c242d"), "page": ("#ffffff", "#11161c"), "accent": ("#1d5fa8", "#8ec1f5"),
        "held": ("#b97a12", "#e3ae4c"), "no": ("#b23a4e", "#f08a9b"),
    }  # fmt: skip
    named = {**{n: p[at] for n, p in pairs.items()}, **{f"m-{n}": p[at] for n, p in _SERIES.items()}}
    named |= {f"h{n}": colour for n, colour in enumerate(_HEAT[at])}
    named |= {f"i{n}": colour for n, colour in enumerate(_INK_ON_HEAT[at])}
    return "".join(f"--{name}:{colour};" for name, colour in named.items())


STYLE: Final = (
    f":root{{{_colours(0)}}}@media screen and (prefers-color-scheme:dark){{:root{{{_colours(1)}}}}}"
    + "".join(f".c-{n}{{fill:var(--m-{n});background:var(--m-{n})}}" for n in _SERIES)
    + "".join(
        f".h{n} rect{{fill:var(--h{n})}}.h{n} text{{fill:var(--i{n})}}i.h{n}{{background:var(--h{n})}}"
        for n in range(_LEVELS + 1)
    )
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 -apple-system,BlinkMacSystemFont,"Segoe UI",Roboto,
"Helvetica Neue",Arial,"Noto Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:72rem;margin:0 auto;padding:2.2rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:.1rem 0 .4rem;letter-spacing:-.01em}
h2{font-size:1.3rem;margin:3rem 0 .5rem;padding-top:1rem;border-top:2px solid var(--ink)}
h3{font-size:1.08rem;margin:1.6rem 0 .5rem}
p{max-width:48rem;margin:.4rem 0}
small{color:var(--soft);font-size:.82em;font-weight:400}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.86em}
h3 code{color:var(--soft);font-weight:400;margin-left:.3rem}
a{color:var(--accent)}
.eyebrow{color:var(--soft);text-transform:uppercase;letter-spacing:.06em;font-size:.8rem;font-weight:600}
.lead{color:var(--soft)}
.versus{border-left:4px solid var(--accent);background:var(--faint);padding:.6rem 1rem;border-radius:0 8px 8px 0}
nav{margin:1rem 0 0;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.92rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.1rem,1fr));gap:.8rem;margin:1.6rem 0}
.tiles div{border:1px solid var(--line);border-radius:12px;padding:.8rem 1rem;background:var(--faint)}
.unit{font-size:.6em;font-style:normal}small .unit{font-size:1em}
.tiles b{display:block;font-size:1.42rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tiles b small{display:block;font-size:.82rem;line-height:1.4}
.tiles span{color:var(--soft);font-size:.9rem;display:block}
.tiles em{color:var(--soft);font-size:.8rem;font-style:normal;display:block;margin-top:.2rem}
b.diff{display:inline!important;font-size:1em!important;color:var(--accent);font-weight:600;white-space:nowrap}
.months{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:1.2rem 1.4rem;margin:.8rem 0}
.month{margin:0;break-inside:avoid}
.month figcaption{font-size:.86rem;color:var(--soft);margin-bottom:.35rem;display:flex;justify-content:space-between}
.month b{color:var(--ink);font-variant-numeric:tabular-nums}
.month svg{display:block;width:100%;max-width:13rem}
.month text{font-size:9px;text-anchor:middle}
.out rect{fill:none;stroke:var(--line)}.out text{fill:var(--soft)}
.legend{display:flex;flex-wrap:wrap;align-items:center;gap:.25rem 1.1rem;font-size:.88rem;color:var(--soft);
max-width:none}
.legend.heat{gap:.25rem .3rem}
.legend i,th i{display:inline-block;width:.8rem;height:.8rem;border-radius:3px;margin-right:.4rem;
vertical-align:-.06rem}
.legend.heat i{margin:0}
.chart{display:grid;grid-template-columns:2.9rem 1fr;grid-template-rows:15rem 1.6rem;margin:.8rem 0 1.2rem}
.plot{margin:0;padding-top:.6rem;break-inside:avoid}
.chart svg{grid-column:2;width:100%;height:100%;display:block;overflow:visible}
.chart line{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}
.ys,.xs{position:relative;font-size:.78rem;color:var(--soft);font-variant-numeric:tabular-nums}
.ys span{position:absolute;right:.6rem;transform:translateY(50%)}
.xs{grid-column:2}
.xs span{position:absolute;top:.35rem;transform:translateX(-50%);white-space:nowrap}
.hit{fill:transparent}
.chart g:hover .hit{fill:var(--ink);fill-opacity:.07}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;vertical-align:top;padding:.42rem .9rem .42rem 0;border-bottom:1px solid var(--line)}
thead th{color:var(--soft);font-weight:600;font-size:.84rem;border-bottom-color:var(--soft);vertical-align:bottom}
tbody th{font-weight:600}
.numbers td,.numbers thead th:not(:first-child),.right{text-align:right;font-variant-numeric:tabular-nums}
.numbers td,.numbers th{white-space:nowrap}
td small{display:block}
.sum th,.sum td{border-bottom:0;font-weight:700}
.none{color:var(--soft)}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch;
background:linear-gradient(270deg,var(--page) 40%,transparent) right/2.5rem 100% no-repeat local,
linear-gradient(270deg,var(--line),transparent) right/1.2rem 100% no-repeat}
.scroll .numbers th:first-child{position:sticky;left:0;background:var(--page)}
.swipe{display:none}@media(max-width:560px){.swipe{display:block;text-align:right}}
.mark{display:inline-block;border:1px solid currentColor;border-radius:99px;padding:0 .5rem;font-size:.8rem;
font-weight:600;color:var(--no)}
.mark.hold{color:var(--held)}.mark.cancelled,.mark.expired{color:var(--soft)}
.bar{display:inline-block;width:7rem;height:.7rem;background:var(--faint);border-radius:4px;vertical-align:middle;
overflow:hidden}
.bar i{display:block;height:100%;min-width:2px;background:var(--accent)}
.bar.hold i{background:var(--held)}.bar.deny i{background:var(--no)}
.bar.expired i,.bar.cancelled i{background:var(--soft)}
.journey{margin:2.2rem 0 0;border-top:1px solid var(--line)}
.two{display:flex;flex-wrap:wrap;gap:.5rem 2.5rem}
.two>div{flex:1 1 21rem;min-width:0;max-width:100%}
.funnels{display:flex;flex-wrap:wrap;gap:.4rem 2.5rem}
.funnel{flex:1 1 20rem;align-self:flex-start}
.funnel th{font-weight:400;color:var(--soft)}.funnel td{white-space:nowrap;font-variant-numeric:tabular-nums}
.funnel td:nth-child(2){text-align:right;font-weight:600}
.funnel td small{display:inline;margin-left:.5rem}
.funnel .bar{width:6rem}
.picture svg{display:block;max-width:none;height:auto}
details{margin:.8rem 0}summary{cursor:pointer;color:var(--accent)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;margin:.8rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
ul{padding-left:1.2rem;max-width:60rem}
@media (max-width:40rem){
main{padding:1.2rem .9rem 3rem}h1{font-size:1.5rem}
.tiles{grid-template-columns:1fr 1fr}
.months{grid-template-columns:1fr 1fr}
.chart{grid-template-columns:2.4rem 1fr;grid-template-rows:11rem 1.6rem}
table.stack thead{display:none}
table.stack tr{display:block;border-bottom:1px solid var(--line);padding:.5rem 0}
table.stack td{display:block;border:0;padding:.1rem 0;text-align:left}
table.stack td:nth-child(2),table.stack td:nth-child(3){display:inline-block;margin-right:.6rem}
table.stack .right{font-weight:600}
.bar{width:5rem}
}
@media print{
body{font-size:12px}main{max-width:none;padding:0}nav,summary{display:none}
h2,h3{break-after:avoid}tr,.tiles div{break-inside:avoid}
details::details-content{content-visibility:visible;display:block}
.scroll{overflow:visible}.picture svg{max-width:100%;max-height:24cm}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
}
"""
)
"""Of a page with these charts: light and dark, phones, paper."""
