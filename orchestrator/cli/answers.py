"""`answers`: what people answered to a survey, summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cyclopts import App

from orchestrator.cli.terminal import FINE, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.model import Question

TEXTS = 20


def register(app: App) -> None:
    app.command(answers)


def answers(survey: str, /) -> int:
    """What people answered to a survey: each figure and choice counted, and the free answers, newest last.

    Whose an answer is stands in the event (`customer`, `why`), never here. Of an anonymous survey it stands nowhere.

    Parameters
    ----------
    survey
        The survey's name, as workspace.yaml declares it.
    """
    from orchestrator import wiring
    from orchestrator.apply import in_force
    from orchestrator.problems import suggest
    from orchestrator.store import preferences

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        force = in_force(conn)
        declared: Mapping[str, Any] = force.project.vocabulary.surveys if force is not None else {}
        found = declared.get(survey)
        if found is None:
            raise Usage(f"there is no survey `{survey}` in force; {suggest(survey, declared) or 'none is declared'}")
        read = preferences.answers_to if found.anonymous else preferences.answered
        given = [row["answers"] for row in read(conn, survey)]
    summed = [_summed(question, given) for question in found.questions]

    def show(console: Console) -> None:
        kept = ", anonymous" if found.anonymous else ""
        console.print(f"[bold]{survey}[/]  {len(given):,} answered{kept}", soft_wrap=True)
        for question in summed:
            _show(console, question)

    document = {"survey": survey, "anonymous": found.anonymous, "answered": len(given), "questions": summed}
    call.answer(lambda: document, show)
    return FINE


def _summed(question: Question, given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = [answers[question.name] for answers in given if question.name in answers]
    told: dict[str, Any] = {"name": question.name, "kind": question.kind, "answered": len(values)}
    if question.kind == "text":
        return told | {"texts": [str(value) for value in values[-TEXTS:]]}
    counts = Counter(values)
    order: Iterable[Any] = range(question.low, question.high + 1) if question.high else question.choices
    told["counts"] = {str(value): counts.get(value, 0) for value in order}
    if question.high and values:
        told["average"] = round(sum(values) / len(values), 2)
    if question.kind == "nps" and values:
        # 9 and 10 promote, 0 to 6 detract; the score is the difference of their shares, in points.
        score = sum(1 for v in values if v >= 9) - sum(1 for v in values if v <= 6)
        told["nps"] = round(100 * score / len(values))
    return told


def _show(console: Console, question: Mapping[str, Any]) -> None:
    more = "".join(f"  {name} {question[name]:g}" for name in ("nps", "average") if name in question)
    console.print(f"\n[bold]{question['name']}[/]  {question['answered']:,} answered{more}", soft_wrap=True)
    for value, n in question.get("counts", {}).items():
        console.print(f"  {value:<12}{n:>8,}", soft_wrap=True, markup=False)
    for text in question.get("texts", ()):
        console.print(f"  “{' '.join(text.split())}”", soft_wrap=True, markup=False, highlight=False)
