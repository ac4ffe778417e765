"""A call to another system."""

from __future__ import annotations

from dataclasses import dataclass

from channels.base import Medium
from orchestrator.model import Json
from orchestrator.reading import option
from orchestrator.steps import Addressee, Here
from orchestrator.steps.sending import SendStep, internal


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(SendStep):
    """Tells another system: an HTTP call to an endpoint named in orchestrator.toml.

    The value is the endpoint's name; addresses and secrets stay out of journeys.

    ```yaml
    - webhook: crm-follow-up
    ```
    """

    keyword = "webhook"
    medium = Medium.WEBHOOK

    webhook: str = option("the endpoint's name")
    to: tuple[str, ...] = option(skip=True, default=())

    def elsewhere(self, here: Here) -> tuple[Addressee, ...]:
        return (internal(here, "system"),)

    @property
    def goes_elsewhere(self) -> bool:
        return True

    def payload(self, here: Here) -> Json:
        return SendStep.payload(self, here) | {"to": self.webhook}
