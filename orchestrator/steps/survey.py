"""A survey's question, by e-mail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from channels.base import Medium
from orchestrator.centre import ASKED
from orchestrator.condition import Condition, Expression, parse
from orchestrator.reading import Context, option, unknown
from orchestrator.source import Node
from orchestrator.steps import Emit, Go, Here, Outcome
from orchestrator.steps.sending import SendStep
from orchestrator.words import Duration

_WENT = frozenset({"sending", "uncertain", "sent", "delivered"})
"""What is no refusal: the question may be with her."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(SendStep):
    """Asks a survey of workspace.yaml by e-mail: `templates/email/survey-NAME.mjml`, or the text that `text` names. It
    has to hold the survey's link, `{{ links.survey("NAME") }}`.

    Nobody is asked the same again within `not_within`, whichever journey asks: the step is passed over then, and the
    run goes on. Caps, quiet hours and consent hold as for every message; a text of a marketing topic needs a yes.
    When the question has gone out, the event `survey_asked` is recorded. Answers come back as the event
    `survey_answered`; those of an anonymous survey do not, for nobody knows whose they are.

    ```yaml
    - survey: nps
    - wait_for:
        event: survey_answered
        where: survey == "nps"
        timeout: 14 days
        then: [ { email: thank-you } ]
    ```
    """

    keyword = "survey"
    medium = Medium.EMAIL
    passes: ClassVar[bool] = True

    survey: str = option("the survey")
    text: str = option("the e-mail's text; without it, `survey-` and the survey's name", default="")
    not_within: Duration = option(
        "whoever was asked this survey so short a time ago is not asked; `0 days`: ask always",
        default=Duration(days=90),
    )
    asked: Condition | None = option(skip=True, default=None)

    def check(self, node: Node, context: Context) -> None:
        SendStep.check(self, node, context)
        surveys = context.vocabulary.surveys
        object.__setattr__(self, "template", self.text or f"survey-{self.survey}")
        if self.survey not in surveys:
            unknown(
                context.problems,
                "survey",
                self.survey,
                (node.get("survey") or node).span,
                surveys,
                " in workspace.yaml",
            )
            return
        if self.not_within != Duration():
            text = f'count({ASKED} where survey == "{self.survey}", {self.not_within}) >= 1'
            scope = replace(context.scope, subject_event=None)
            found = parse(text, self.span, scope, context.vocabulary, context.problems)
            object.__setattr__(self, "asked", found)

    def emits(self) -> str:
        return ASKED

    def asks(self) -> tuple[Condition | Expression, ...]:
        return (*SendStep.asks(self), *((self.asked,) if self.asked is not None else ()))

    def arrive(self, here: Here) -> Outcome:
        if self.asked is not None and here.truth(self.asked) is not False:
            note = {"because": f"asked within {self.not_within}", "survey": self.survey}
            return Go(note=note, what="skipped")
        return SendStep.arrive(self, here)

    def wake(self, here: Here) -> Outcome:
        if not here.messages(self.id):
            return self.arrive(here)
        outcome = SendStep.wake(self, here)
        if isinstance(outcome, Go) and any(m.state in _WENT for m in here.messages(self.id)):
            told = Emit(self.id, here.enrollment.visit, ASKED, {"survey": self.survey})
            return replace(outcome, effects=(*outcome.effects, told), fresh=True)
        return outcome
