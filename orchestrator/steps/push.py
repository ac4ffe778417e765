"""A push message to the customer's devices."""

from __future__ import annotations

from dataclasses import dataclass

from channels.base import Medium
from orchestrator.steps.sending import TemplateStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Push(TemplateStep):
    """Sends a push message: `templates/push/NAME.yaml`.

    One message, delivered to every device the customer has registered.

    ```yaml
    - push: welcome-hello
      only_if: count(order_placed, 30 days) == 0
    ```
    """

    keyword = "push"
    medium = Medium.PUSH
