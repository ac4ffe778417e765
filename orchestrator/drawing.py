"""A journey as a picture: an SVG that one would put into a presentation."""

from __future__ import annotations

from typing import Literal

from orchestrator.journey import Journey
from orchestrator.simulation import Traffic

Theme = Literal["light", "dark", "auto"]


def draw(journey: Journey, traffic: Traffic | None = None, *, theme: Theme = "auto") -> str:
    """The journey as one SVG document: no script, no font or image from elsewhere.

    With `traffic`, counts stand on edges and steps. `auto` follows the reader's light or dark setting. Deterministic.
    """
    raise NotImplementedError
