"""`metrics`: measures of loyalty over a period, each with what it means; and what more retention would come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli._look import table
from orchestrator.cli._opening import as_of, ruling
from orchestrator.cli.terminal import FINE, CannotRun, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.measure import By, Only, Report
    from orchestrator.metrics import Figure, Measure, Period, Size, WhatIf, WhatIfs
    from orchestrator.model import Vocabulary

CLASS = Parameter(name="--class")
_BAR = 5
_COHORTS = 24
"""As many of the newest are shown, and more where the period is longer; `--json` has all."""
_CELL = 7
"""Columns of the screen that a cohort's cell takes: `100%█`, and two between."""


def register(app: App) -> None:
    group = App(name="metrics", help="Measures of loyalty over a period, each with what it means.")
    group.default(metrics)
    group.command(what_if, name="what-if")
    app.command(group)


def metrics(
    *,
    period: str | None = None,
    by: Literal["class", "tier", "band", "cohort"] | None = None,
    class_: Annotated[str | None, CLASS] = None,
    tier: str | None = None,
    band: str | None = None,
    cohort: str | None = None,
    cohorts: Literal["month", "quarter", "year"] = "month",
    definitions: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Churn, repeat customers, retention by cohort, lifetime value, orders, NPS, renewals, costs, participation,
    advocacy, training, what journeys brought against those held out, and how experiments stand.

    Each figure with the number of cases behind it; a share with its interval of 95 %. Classes, tiers and bands are
    those of now. Costs come in by `orchestrator import costs FILE`.

    Parameters
    ----------
    period
        A year, quarter, month or days: 2027, 2027-Q1, 2027-03, 2027-03-01..2027-03-14, by the workspace's clock;
        without it, the last 365 days.
    by
        Break everything down by class, tier, band or cohort.
    class_
        Of this class only.
    tier
        Of those only who have this tier now.
    band
        Of those only who stand in this band of the pyramid.
    cohort
        Of those only who first bought then: a period.
    cohorts
        How long a cohort is: who first bought in the same month, quarter or year.
    definitions
        Say below the figures what each of them is.
    """
    from orchestrator import wiring
    from orchestrator.measure import measure

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        force, now = ruling(conn, wired), as_of(conn, wired)
        vocabulary = force.project.vocabulary
        span = _period(period, vocabulary, now)
        only = _only(vocabulary, class_, tier, band, cohort)
        found = measure(conn, force, span, now=now, only=only, by=by, size=cohorts)
    document = _document(found, by, only, cohorts, vocabulary.currency)
    call.answer(lambda: document, lambda console: _show(console, found, by, cohorts, vocabulary.currency, definitions))
    return FINE


def what_if(
    *,
    retention: Annotated[str, Parameter(allow_leading_hyphen=True)],
    period: str | None = None,
    class_: Annotated[str | None, CLASS] = None,
) -> int:
    """What another rate of retention would do to a customer's lifetime, value and revenue.

    Lifetime is 1 ÷ (1 − retention), value is yearly value × margin × lifetime, revenue that of next year from those who
    stay: active at the end × retention × yearly value, contracts by the year. By class, and in sum what can be added.
    Set beside what it costs to win as much by new customers.

    Parameters
    ----------
    retention
        How many percentage points a year's retention would change by: +5%.
    period
        What the present rate is taken from, as `metrics` has it.
    class_
        Of this class only.
    """
    from orchestrator import metrics as worked_out
    from orchestrator import wiring
    from orchestrator.measure import measure

    points = _points(retention)
    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        force, now = ruling(conn, wired), as_of(conn, wired)
        vocabulary = force.project.vocabulary
        span = _period(period, vocabulary, now)
        found = measure(conn, force, span, now=now, only=_only(vocabulary, class_, None, None, None), by="class")
    told = worked_out.what_ifs(found.total, found.groups, points, span.days, found.margin)
    if not told.classes:
        said = told.without if len(told.without) > 1 else {"": next(iter(told.without.values()), "there is nobody yet")}
        raise CannotRun("; ".join(f"{name}: {why}" if name else why for name, why in said.items()))
    document = {"period": asdict(span), "points": points, "currency": vocabulary.currency, **asdict(told)}
    call.answer(lambda: document, lambda console: _show_what_if(console, told, points, span, vocabulary.currency))
    return FINE


# ---- what was asked -------------------------------------------------------------------------------------------------


def _period(text: str | None, vocabulary: Vocabulary, now: Any) -> Period:
    from orchestrator.metrics import Period, period
    from orchestrator.zones import local

    today = (local(now, vocabulary.timezone) or now).date()
    if text is None:
        return Period(today - timedelta(days=365), today - timedelta(days=1))
    found = period(text)
    if found is None:
        raise Usage(f"--period takes 2027, 2027-Q1, 2027-03 or 2027-03-01..2027-03-14, not `{text}`")
    if found.first > today:
        raise Usage(f"--period {text} has not begun: today is {today}")
    # A period that is not over is measured until yesterday, or its rates would be of days that have not been.
    return found if found.last < today else Period(found.first, max(found.first, today - timedelta(days=1)))


def _only(vocabulary: Vocabulary, class_: str | None, tier: str | None, band: str | None, cohort: str | None) -> Only:
    from orchestrator.measure import Only
    from orchestrator.metrics import period
    from orchestrator.model import BANDS
    from orchestrator.problems import suggest

    asked = (("class", class_, tuple(vocabulary.classes)), ("tier", tier, tuple(sorted(vocabulary.tiers()))),
             ("band", band, BANDS))  # fmt: skip
    for name, text, known in asked:
        if text is not None and text not in known:
            raise Usage(f"there is no {name} `{text}`; {suggest(text, known)}")
    first = None if cohort is None else period(cohort)
    if cohort is not None and first is None:
        raise Usage(f"--cohort takes 2027, 2027-Q1 or 2027-03, not `{cohort}`")
    return Only(class_ or "", tier or "", band or "", first)


def _points(text: str) -> float:
    plain = text.strip().removesuffix("%").strip()
    try:
        return float(plain.removeprefix("+")) / 100
    except ValueError:
        raise Usage(f"--retention takes percentage points such as +5%, not `{text}`") from None


# ---- as a document --------------------------------------------------------------------------------------------------


def _document(found: Report, by: By | None, only: Only, size: Size, currency: str) -> dict[str, Any]:
    from orchestrator.metrics import MEASURES, OF_EXPERIMENTS, OF_JOURNEYS

    def plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
        return {name: asdict(figure) for name, figure in figures.items()}

    return {
        "period": asdict(found.period),
        "by": by,
        "only": {"class": only.class_name, "tier": only.tier, "band": only.band, "cohort": only.cohort},
        "currency": currency,
        "figures": plain(found.figures()),
        "groups": [{"group": name, "figures": plain(found.figures(name))} for name in found.groups],
        "cohorts": {
            "size": size,
            "rows": [{"cohort": c.name, "n": c.n, "cells": [asdict(f) for f in c.cells]} for c in found.cohorts],
        },
        "journeys": [{"journey": name, "figures": plain(own)} for name, own in found.of_journeys().items()],
        "experiments": [
            {
                "journey": one.journey,
                "split": one.step,
                "state": one.state,
                "winner": one.decision.winner if one.decision is not None else None,
                "best": one.finding.leader or None,
                "arm_rate": plain(rates),
                "arm_difference": plain(behind),
            }
            for one, rates, behind in found.of_experiments().values()
        ],
        "definitions": {
            m.name: m.definition for m in (*MEASURES.values(), *OF_JOURNEYS.values(), *OF_EXPERIMENTS.values())
        },
        "notes": list(found.notes),
    }


# ---- in the terminal ------------------------------------------------------------------------------------------------


def _show(console: Console, found: Report, by: By | None, size: Size, currency: str, definitions: bool = False) -> None:
    from orchestrator.metrics import MEASURES

    if by is None:
        _show_all(console, found, currency)
    else:
        _show_groups(console, found, by, currency)
    _show_cohorts(console, found, size)
    _show_journeys(console, found, currency)
    _show_experiments(console, found, currency)
    for note in found.notes:
        console.print(f"[yellow]![/] {note}", soft_wrap=True)
    console.print()
    if not definitions:
        console.print("[dim]what each of them is: --definitions[/]")
        return
    for measure in MEASURES.values():
        console.print(f"[bold]{measure.title}[/]: [dim]{measure.definition}[/]")


def _show_all(console: Console, found: Report, currency: str) -> None:
    from orchestrator.metrics import MEASURES

    title = f"{found.period}, of {found.total.units:,} customers and accounts"
    shown = table(title, "measure", "value", "95 %", "", "n", "of whom", right=("value", "n"),
                  wrap=("of whom",))  # fmt: skip
    for name, figure in found.figures().items():
        measure = MEASURES[name]
        shown.add_row(
            measure.title,
            _value(figure, measure, currency),
            _interval(figure, measure),
            _bar(figure, measure),
            _cases(figure),
            f"[dim]{measure.of}[/]",
        )
    console.print(shown)


def _show_groups(console: Console, found: Report, by: By, currency: str) -> None:
    """A row for each measure and group: the groups may be many, and a screen is narrow."""
    from orchestrator.metrics import MEASURES

    shown = table(f"{found.period}, by {by}", "measure", by, "value", "95 %", "", "n", right=("value", "n"))
    groups = {name: found.figures(name) for name in found.groups}
    for name, measure in MEASURES.items():
        whole = ("all", found.figures())
        told = [*groups.items(), whole] if whole[1][name].n else [whole]
        for position, (group, figures) in enumerate(told):
            figure = figures[name]
            shown.add_row(
                f"[bold]{measure.title}[/]" if position == 0 else "",
                group,
                _value(figure, measure, currency),
                _interval(figure, measure),
                _bar(figure, measure),
                _cases(figure),
            )
        shown.add_section()
    console.print(shown)


def _show_cohorts(console: Console, found: Report, size: Size) -> None:
    """As many columns as there are, side by side as far as the screen is wide, the others below."""
    from orchestrator.metrics import MONTHS

    cohorts, span = found.cohorts, found.period
    months = (span.last.year - span.first.year) * 12 + span.last.month - span.first.month + 1
    some = [cohort for cohort in cohorts if cohort.cells][-max(_COHORTS, months // MONTHS[size]) :]
    if not some:
        return
    width = max(len(cohort.cells) for cohort in some)
    names = max(len(cohort.name) for cohort in some) + max(len(f"{cohort.n:,}") for cohort in some) + 4
    fit = max(1, (console.width - names) // _CELL)
    for begin in range(0, width, fit):
        heads = [str(n) for n in range(begin, min(width, begin + fit))]
        title = f"{size}s from {begin} on" if begin else f"Retention: who bought again, {size}s after the first"
        shown = table(title, "cohort", "n", *heads, right=("n", *heads))
        for cohort in some:
            cells = [_shade(figure.value) for figure in cohort.cells[begin : begin + fit]]
            if cells:
                shown.add_row(cohort.name, f"{cohort.n:,}", *cells, *[""] * (len(heads) - len(cells)))
        console.print()
        console.print(shown)
    if len(some) < len(cohorts):
        console.print(f"[dim]the newest {len(some)} of {len(cohorts)}; --json has all[/]")


def _shade(value: float | None) -> str:
    """A share with a block that grows with it, so that a triangle can be seen at a glance."""
    if value is None:
        return "–"
    return f"{value:.0%}{' ▁▂▃▄▅▆▇█'[min(8, round(value * 8))]}"


def _show_journeys(console: Console, found: Report, currency: str) -> None:
    from orchestrator.metrics import OF_JOURNEYS

    own = found.of_journeys()
    if not own:
        return
    console.print()
    shown = table("Journeys", "journey", "measure", "value", "95 %", "", "n", right=("value", "n"))
    for journey, figures in own.items():
        for position, (name, figure) in enumerate(figures.items()):
            measure = OF_JOURNEYS[name]
            shown.add_row(
                f"[bold]{journey}[/]" if position == 0 else "",
                measure.title,
                _value(figure, measure, currency),
                _interval(figure, measure),
                _bar(figure, measure),
                _cases(figure),
            )
        shown.add_section()
    console.print(shown)
    for measure in OF_JOURNEYS.values():
        console.print(f"[bold]{measure.title}[/]: [dim]{measure.definition}[/]")


def _show_experiments(console: Console, found: Report, currency: str) -> None:
    from orchestrator.metrics import OF_EXPERIMENTS

    if not found.experiments:
        return
    console.print()
    heads = ("arm", "value", "95 %", "", "n")
    shown = table("Experiments, from the first on", *heads, right=("value", "n"), wrap=("arm",))
    for name, (one, rates, behind) in found.of_experiments().items():
        won = one.decision.winner if one.decision is not None else ""
        shown.add_row(f"[bold]{name}[/]: {one.state}")
        told = [(f"[green]✓ {arm}[/]" if arm == won else arm, "arm_rate", rate) for arm, rate in rates.items()]
        told += [(f"{one.finding.leader} − {arm}", "arm_difference", figure) for arm, figure in behind.items()]
        for label, kind, figure in told:
            measure = OF_EXPERIMENTS[kind]
            shown.add_row(
                f"  {label}",
                _value(figure, measure, currency),
                _interval(figure, measure),
                _bar(figure, measure),
                _cases(figure),
            )
        shown.add_section()
    console.print(shown)
    for measure in OF_EXPERIMENTS.values():
        console.print(f"[bold]{measure.title}[/]: [dim]{measure.definition}[/]")


def _cases(figure: Figure) -> str:
    return f"{figure.n:,}" if figure.n else "[dim]n = 0[/]"


def _value(figure: Figure, measure: Measure, currency: str) -> str:
    return _told(figure.value, measure, currency)


def _told(value: float | None, measure: Measure, currency: str) -> str:
    if value is None:
        return "–"
    match measure.kind:
        case "share":
            return f"{value:.1%}"
        case "difference":
            return f"{value * 100:+.1f} points"
        case "score":
            return f"{value:+.0f}"
        case "money":
            return _money(value, currency)
        case _:
            return f"{value:,.2f}"


def _money(minor: float, currency: str) -> str:
    from orchestrator.model import minor_digits

    digits = minor_digits(currency)
    return f"{minor / 10**digits:,.{digits}f} {currency}"


def _interval(figure: Figure, measure: Measure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    match measure.kind:
        case "difference":
            return f"{figure.low * 100:+.1f} … {figure.high * 100:+.1f}"
        case "score":
            return f"{figure.low:+.0f} … {figure.high:+.0f}"
        case _:
            return f"{figure.low:.1%} … {figure.high:.1%}"


def _bar(figure: Figure, measure: Measure) -> str:
    if measure.kind != "share" or figure.value is None:
        return ""
    full = round(figure.value * _BAR)
    return f"{'█' * full}[dim]{'░' * (_BAR - full)}[/]"


def _show_what_if(console: Console, found: WhatIfs, points: float, span: Period, currency: str) -> None:
    shown = table(f"Retention {points * 100:+g} points ({span})", "", "now", "then", "", right=("now", "then"))
    for name, one in found.classes.items():
        shown.add_row(f"[bold]{name}[/]", "", "", f"[dim]{_behind(one, currency)}[/]")
        rows = (
            ("retention, a year", f"{one.retention:.1%}", f"{one.retention_then:.1%}", ""),
            ("lifetime", f"{one.lifetime:.1f} years", f"{one.lifetime_then:.1f} years", "1 ÷ (1 − retention)"),
            ("value of a customer", _money(one.value, currency), _money(one.value_then, currency),
             "yearly value × margin × lifetime"),
            ("next year's revenue", _money(one.revenue, currency), _money(one.revenue_then, currency),
             "active × retention × yearly value"),
        )  # fmt: skip
        for title, now, then, formula in rows:
            shown.add_row(f"  {title}", now, then, f"[dim]{formula}[/]")
        cost = "" if one.saved is None else f"{_money(one.saved, currency)} to win"
        shown.add_row("  as many new customers", "", f"{one.worth:,.1f}", f"[dim]{cost}[/]")
    if len(found.classes) > 1:
        now, then = _money(found.revenue, currency), _money(found.revenue_then, currency)
        shown.add_row("[bold]all[/], next year's revenue", now, then, f"[dim]{found.active:,} active[/]")
    console.print(shown)
    for name, why in found.without.items():
        console.print(f"[yellow]![/] {name} is left out: {why}", soft_wrap=True)


def _behind(one: WhatIf, currency: str) -> str:
    return f"{one.active:,} active, {_money(one.yearly, currency)} a year from each"
