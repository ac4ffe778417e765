"""Links of texts: utm parameters behind them, and addresses of our own in their place where clicks are counted. Pure.

Only a link whose address is the same for everybody is touched: one with a value in it stays as it is written, and so do
a message's own links (`links.unsubscribe` and its like). So nothing personal ever stands in an address of ours, and
what a counted link leads to is written down once, by the house: it cannot be made to lead anywhere else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, quote

from channels.base import Medium
from orchestrator.proof import tags
from orchestrator.skeleton import Part

FOLLOWED: Final = "followed"
"""The name under `links` of a message's own address of counted links. No author can write it."""
LONGEST: Final = 2_000
_PRINTED, _CONTROL = "\0", "\1"  # what a value, and a tag that prints nothing, leave in a text: no address has them
_HREF = re.compile(
    r"<(?:a|area|v:[a-z]+)(?=[\s\0\1])(?:\"[^\"]*\"|'[^']*'|[^\"'<>])*?[\s\1]href\s*=\s*(?:\"(?P<two>[^\"]*)\"|'(?P<one>[^']*)')",
    re.IGNORECASE,
)
_WRITTEN = re.compile(r"(?<![\w/=&?%.:@\0-])https?://[^\s<>\"'\x00-\x20\x7f]+", re.IGNORECASE)
_WHOLE = re.compile(r"https?://[^\s\x00-\x20\x7f<>\"]+", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|\w+);")
_BEHIND = ".,;:!?)]}*_"
_ASCII = "".join(c for c in string.printable if not c.isspace())

Place = tuple[int, int, str]
"""Where an address stands in a source, and the address itself."""


def link_key(url: str) -> str:
    """What a link's target is stored under: eight characters of its SHA-256. Of a hundred thousand links two share a
    key once in fifty thousand houses; both would be the house's own."""
    return base64.urlsafe_b64encode(hashlib.sha256(url.encode()).digest()[:6]).decode()


def with_utm(parts: Sequence[Part], utm: Mapping[str, str]) -> list[Part]:
    """The same parts, with these parameters behind every fixed link; one that is there already wins."""
    if not utm:
        return list(parts)

    def tagged(part: Part, place: Place) -> str:
        start, end, url = place
        known = {name.lower() for name, _ in parse_qsl(_query(url), keep_blank_values=True)}
        named = ((f"utm_{name}", value) for name, value in utm.items())
        added = [f"{name}={quote(value, safe='')}" for name, value in named if name not in known]
        return _extended(part.source[start:end], added, "&amp;" if part.name == "html" else "&")

    return [_rewritten(part, tagged) for part in parts]


def with_clicks(parts: Sequence[Part], medium: Medium) -> tuple[list[Part], frozenset[str]]:
    """The same parts with addresses of ours for fixed links, and what these lead to.

    Of an e-mail its page alone: who reads the text part sees the addresses that are in it.
    """
    found: set[str] = set()

    def ours(part: Part, place: Place) -> str:
        start, end, url = place
        target = quote(url, safe=_ASCII)  # as it stands in a header: not a byte beyond ASCII
        if len(target) > LONGEST:
            return part.source[start:end]
        found.add(target)
        return f"{{{{ links.{FOLLOWED} }}}}/{link_key(target)}"

    counted = ("html", "url") if medium is Medium.EMAIL else ("text", "url")
    made = [_rewritten(part, ours) if part.name in counted else part for part in parts]
    return made, frozenset(found)


def _rewritten(part: Part, new: Callable[[Part, Place], str]) -> Part:
    out: list[str] = []
    at = 0
    for place in _places(part):
        out += (part.source[at : place[0]], new(part, place))
        at = place[1]
    return replace(part, source="".join((*out, part.source[at:]))) if out else part


def _places(part: Part) -> Iterator[Place]:
    """Fixed http and https addresses of a part, in order."""
    masked = _masked(part.source)
    if part.name == "html":
        for found in _HREF.finditer(masked):
            start, end = found.span("two" if found["two"] is not None else "one")
            url = _ENTITY.sub(lambda entity: html.unescape(entity[0]), masked[start:end])
            inset = len(masked[start:end]) - len(masked[start:end].lstrip())
            if _WHOLE.fullmatch(url.strip()):
                yield start + inset, start + len(masked[start:end].rstrip()), url.strip()
    elif part.name == "text":
        for found in _WRITTEN.finditer(masked):
            url = found[0].rstrip(_BEHIND)
            if masked[found.end() : found.end() + 1] not in (_PRINTED, _CONTROL) and _WHOLE.fullmatch(url):
                yield found.start(), found.start() + len(url), url
    elif part.name == "url" and _WHOLE.fullmatch(masked):
        yield 0, len(masked), masked


def _masked(text: str) -> str:
    """A Jinja source with its tags blotted out, as long as it was."""
    marks = {None: "", "print": _PRINTED, "control": _CONTROL}
    return "".join(
        text[start:end] if kind is None else marks[kind] * (end - start) for kind, start, end, _ in tags(text)
    )


def _query(url: str) -> str:
    return url.partition("#")[0].partition("?")[2]


def _extended(address: str, added: Sequence[str], joint: str) -> str:
    """An address as it is written, with more behind its query; its fragment stays the end of it."""
    if not added:
        return address
    rest, hash_sign, fragment = _split_fragment(address)
    sep = "?" if "?" not in rest else "" if rest.endswith(("?", joint, "&")) else joint
    return f"{rest}{sep}{joint.join(added)}{hash_sign}{fragment}"


def _split_fragment(address: str) -> tuple[str, str, str]:
    """At the first # that is no part of an entity."""
    found = re.search(r"(?<!&)#", address)
    return (address, "", "") if found is None else (address[: found.start()], "#", address[found.end() :])
