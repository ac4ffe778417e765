"""An e-mail."""

from __future__ import annotations

from dataclasses import dataclass

from channels.base import Medium
from orchestrator.steps.sending import TemplateStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Email(TemplateStep):
    """Sends an e-mail: `templates/email/NAME.mjml`.

    The template's topic decides whether it is marketing. The step is left when the message is sent, refused or expired;
    while quiet hours hold it, the journey waits here, and a later `wait` begins afterwards.

    ```yaml
    - email: renewal-personal
      from: account_manager
      only_if: account.annual_value >= 50000 EUR
      expire_after: 3 days
    ```
    """

    keyword = "email"
    medium = Medium.EMAIL
