"""A text message."""

from __future__ import annotations

from dataclasses import dataclass

from channels.base import Medium
from orchestrator.steps.sending import TemplateStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Sms(TemplateStep):
    """Sends a text message: `templates/sms/NAME.txt`.

    A customer without a phone number or without consent is not sent to; the refusal and its reason are on the record,
    and the journey goes on.

    ```yaml
    - sms: renewal-short
      expire_after: 12 hours
    ```
    """

    keyword = "sms"
    medium = Medium.SMS
