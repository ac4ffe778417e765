"""Whether the links of an e-mail lead anywhere, and its pictures come from anywhere.

What is judged is the address as the source says it. One that begins with a value is not guessed at: what values may
stand there is looked at when they are put in. A mail program opens no page of ours around the text, so that an address
has to be a whole one; an anchor (`#prices`) leads to a place of the same mail.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

from orchestrator.mjml import Event, Masked, events
from orchestrator.problems import Problems, Span

_MASK: Final = re.compile(r"<!--zqj\d+jqz-->|zqj\d+jqz")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+-]*):", re.IGNORECASE)
_OPENED: Final = frozenset({
    "http", "https", "mailto", "tel", "sms", "smsto", "mms", "callto", "facetime", "geo", "maps", "webcal", "whatsapp",
    "skype", "xmpp", "sip", "cid",
})  # fmt: skip
"""Schemes that mail programs hand on to a program. An app's own is taken out by most of them."""
_SHOWN: Final = frozenset(["http", "https", "cid", "data"])
_LEADING: Final = frozenset(["a", "area", "mj-button", "mj-image", "mj-carousel-image", "mj-navbar-link"])
_PICTURES: Final = frozenset(["img", "mj-image", "mj-carousel-image"])
_HINT: Final = "write the whole address: `https://…` (or `mailto:`, `tel:`, `sms:`)"


def check_links(page: Masked, problems: Problems) -> None:
    """Warns of links that lead nowhere and of pictures from nowhere, in an MJML page with its includes in place."""
    found = list(events(page.text))
    # Where a default or a class gives addresses, an element without one of its own has one all the same.
    defaults = list(_defaults(found))
    given = any("href" in event.attributes for event in defaults)
    based = False
    for event in found:
        if event.name == "mj-navbar" and event.kind in ("open", "close"):
            based = event.kind == "open" and bool(event.attributes.get("base-url", "").strip())
        if event.kind != "open":
            continue
        told = event.attributes.keys()
        if event.name == "mj-button" and not (given or "href" in told or any(event is one for one in defaults)):
            message, hint = "this button leads nowhere: it has no `href`", 'add `href="https://…"`'
            problems.warning("broken-link", message, page.span(event.start, 1 + len(event.name)), hint)
        if "href" in told and (event.name in _LEADING or _shared_as_it_is(event)):
            _tell(page, event, "href", _leads_nowhere(_plain(event, "href"), based), problems)
        if event.name in _PICTURES and "src" in told:
            _tell(page, event, "src", _shows_nothing(_plain(event, "src")), problems)


def _leads_nowhere(address: str, based: bool) -> str:
    """What is wrong with the address of a link; nothing where it is one."""
    scheme = _SCHEME.match(address)
    if not address:
        return "this link is empty: it leads nowhere"
    if address == "#":
        return "this link leads nowhere: `#` is no address"
    if _MASK.match(address) or address.startswith("#") or (based and scheme is None):
        return ""
    if scheme is None:
        return f"`{_shown(address)}` is no whole address: from a mail, this link leads nowhere"
    if scheme[1].lower() not in _OPENED:
        return f"no mail program opens `{scheme[1]}:`"
    return ""


def _shows_nothing(address: str) -> str:
    """What is wrong with the address of a picture; nothing where it is one."""
    if not address:
        return "this picture has no address: nothing is shown"
    if _MASK.match(address):
        return ""
    scheme = _SCHEME.match(address)
    if scheme is None:
        return f"`{_shown(address)}` is no whole address: in a mail, this picture is not found"
    return "" if scheme[1].lower() in _SHOWN else f"no mail program loads a picture by `{scheme[1]}:`"


def _tell(page: Masked, event: Event, key: str, message: str, problems: Problems) -> None:
    if message:
        hint = _HINT if key == "href" else "write the whole address: `https://…`"
        problems.warning("broken-link", message, _place(page, event, key), hint)


def _place(page: Masked, event: Event, key: str) -> Span:
    """The value of an attribute, up to the first variable in it; the name where there is none to be seen."""
    written = re.compile(rf"(?<=[\s\"'/]){key}\s*=\s*[\"']?([^\"'\s>]*)").search(page.text, event.start, event.end)
    if written is None:
        return page.span(event.start, 1 + len(event.name))
    value = _MASK.split(written[1], maxsplit=1)[0]
    return page.span(written.start(1), len(value)) if value else page.span(written.start(), len(key))


def _plain(event: Event, key: str) -> str:
    return html.unescape(event.attributes.get(key, "")).strip()


def _shown(address: str) -> str:
    """As it is told: without what stands for variables."""
    return _MASK.sub("…", address)[:60]


def _shared_as_it_is(event: Event) -> bool:
    """A button of a network sends the address on to be shared, and completes it; without sharing it is a link."""
    return event.name == "mj-social-element" and event.attributes.get("name", "").endswith("-noshare")


def _defaults(found: list[Event]) -> Iterator[Event]:
    """What stands within `mj-attributes`."""
    inside = False
    for event in found:
        if event.name == "mj-attributes":
            inside = event.kind == "open" and not event.empty
        elif inside and event.kind == "open":
            yield event
