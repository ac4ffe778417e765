"""Words of offers that press for time, in English and German.

What ends by itself (a trial, a contract) ends on its own day, and may say so; what is denied is not said.
"""

from __future__ import annotations

import re
from typing import Final

_DEADLINE: Final = re.compile(
    r"\b(?:only (?:until|till|today|this week)|(?:offer|price|discount)s? (?:ends?|expires?|(?:is )?valid until)"
    r"|(?:ends?|expires?) (?:tonight|today|at midnight)"
    r"|last chance|hurry(?! either)|act (?:now|fast)|while (?:stocks?|supplies) last|don['’]t miss"
    r"|(?:\d+|few) (?:days|hours) left|limited[- ]time|countdown"
    r"|nur (?:noch )?(?:bis|heute|diese woche|(?:\d+|wenige) (?:tage|stunden))"
    r"|(?:angebot|preis|rabatt) (?:endet|gilt (?:nur )?bis)|ende[tn] (?:schon )?heute(?: (?:abend|nacht))?"
    r"|letzte (?:chance|gelegenheit)|solange (?:der )?vorrat|jetzt zugreifen|nicht verpassen|schnell sein)\b",
    re.IGNORECASE,
)
_DENIED: Final = re.compile(
    r"\b(?:no|not|never|kein\w*|nicht|nie|without|ohne) (?:\w+ )?$",
    re.IGNORECASE,
)
_OWN: Final = (
    r"(?:trial|test|contract|subscription|plan|licen[cs]e|membership|agreement|term|pilot|notice|renewal|webinar|event"
    r"|testphase|testzeitraum|testzeit|testmonat|probezeit|vertrag\w*|abo|abonnement|laufzeit|mitgliedschaft|lizenz"
    r"|vereinbarung|pilotphase|kündigungsfrist|frist|veranstaltung)"
)
_ENDS_BEFORE: Final = re.compile(
    rf"\b{_OWN}\b(?: (?:period|phase|version|year))?(?:\W|\b(?:das|die|der|it|that)\b)*$", re.I
)
_ENDS_BEHIND: Final = re.compile(
    rf"\W+(?:(?:in|of|on|until|before|to|for|with|bis|zu|zum|zur|unser\w*|ihr\w*|dein\w*|eur\w*|der|die|das|des|your|the|this|free"
    rf"|my|our|end|ende|kostenlose\w*) +){{0,4}}{_OWN}\b",
    re.IGNORECASE,
)
_LEFT: Final = re.compile(r"\bleft$|tage$|stunden$|\b(?:today|tonight|midnight|heute|abend|nacht)$", re.IGNORECASE)
"""What may be said of what ends by itself."""


_UNSEEN: Final = re.compile(r"\{#.*?#\}|<!--.*?-->|https?://[^\s\"'<>]+", re.DOTALL | re.IGNORECASE)
"""Notes to who writes, and addresses."""


def presses(text: str) -> re.Match[str] | None:
    """The first words of a text that press for time."""
    text = _UNSEEN.sub(lambda unseen: " " * len(unseen[0]), text)
    for said in _DEADLINE.finditer(text):
        before = text[max(0, said.start() - 60) : said.start()]
        if _DENIED.search(before[-30:]):
            continue
        ends = _LEFT.search(said[0]) and not re.match(r"only|offer|price|discount|angebot|preis|rabatt", said[0], re.I)
        if ends and (_ENDS_BEFORE.search(before) or _ENDS_BEHIND.match(text, said.end())):
            continue
        return said
    return None
