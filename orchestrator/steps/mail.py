"""A letter."""

from __future__ import annotations

from dataclasses import dataclass

from channels.base import Medium
from orchestrator.steps.sending import TemplateStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail(TemplateStep):
    """Sends a letter on paper: `templates/mail/NAME.html`, in the next print file.

    A goal or an exit that comes before the file is handed over withdraws the letter.

    ```yaml
    - mail: birthday-letter
    ```
    """

    keyword = "mail"
    medium = Medium.MAIL
