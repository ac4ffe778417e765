"""From a link's token to the person and the message it is about; what is kept of who used it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import HTMLResponse

from channels.base import Medium
from orchestrator.apply import Force, in_force
from orchestrator.problems import ProjectError
from orchestrator.store import StoreUnavailable
from orchestrator.store.links import Linked, hold, linked
from orchestrator.web.pages import Pages, Said, address_of
from orchestrator.web.words import Table

_AGENT = 400

NOBODY: Table = {
    "nobody.title": ("Nothing is held about you here", "Zu diesem Link ist nichts gespeichert"),
    "nobody.what": (
        "Nothing that this link could be about is stored with us any more, and nothing is sent to you because of it.",
        "Zu dem, worauf dieser Link verweist, ist bei uns nichts mehr gespeichert, und es wird Ihnen deswegen auch "
        "nichts mehr geschickt.",
    ),
    "nobody.do": (
        "If you still get messages from us, reply to one of them.",
        "Sollten Sie dennoch Nachrichten von uns bekommen, antworten Sie bitte auf eine davon.",
    ),
}


@dataclass(frozen=True, slots=True)
class Followed:
    """A link that was made here, about somebody of whom something is held. `force` None: nothing is in force."""

    message: Linked
    force: Force | None

    def title_of(self, topic: str, language: str) -> str:
        """A topic as people read it; its name where it is declared no more."""
        declared = self.force.project.vocabulary.topics.get(topic) if self.force is not None else None
        return topic if declared is None else declared.titles.get(language) or declared.title

    @property
    def address(self) -> str:
        """The address that the message's medium goes to, as far as it may stand on a page; "" where it has none."""
        match self.message.medium:
            case Medium.EMAIL:
                return masked(self.message.email or "")
            case Medium.SMS:
                return masked(self.message.phone or "")
        return ""


def follow(pages: Pages, request: Request, token: str, page: str) -> Followed | HTMLResponse:
    """Look a token of this page up: one query, and the workspace in force. A page instead where it leads nowhere (404),
    is used too often (429), or is about nobody of whom anything is held (200: no word on who that was)."""
    if pages.busy(request, token):
        return pages.sorry(request, 429)
    message_id = pages.wired.keys.read_link_token(token, page)
    if message_id is None and pages.keys_rotated():
        message_id = pages.wired.keys.read_link_token(token, page)
    if message_id is None:
        return pages.missed(request)
    with pages.wired.store.read() as conn:
        message = linked(conn, message_id)
        try:
            force = in_force(conn)
        except ProjectError:  # applied by another version of the program: who wants to leave can leave all the same
            force = None
    if message is None:
        return pages.show(request, "nobody.html", NOBODY)
    return Followed(message, force)


T = TypeVar("T")


class Gone(StoreUnavailable):
    """Erased between the look and the writing: asked again, the page says that nothing is held."""


def written(pages: Pages, found: Followed, work: Callable[[sa.Connection, Linked], T]) -> T:
    """What `work` writes of a link's person, in one transaction in which she stays who she is. Raises Gone."""

    def held(conn: sa.Connection) -> T:
        one = hold(conn, found.message.message_id)
        if one is None:
            raise Gone
        return work(conn, one)

    return pages.wired.store.written(held)


def evidence(pages: Pages, request: Request, page: str, *, method: str, wording: str = "") -> Mapping[str, Any]:
    """What is kept of a word that somebody said on a page, for `consenting` and `ingest.record_consents`: how, what was
    shown, from where. The link itself is not kept: who has it can use it."""
    told = {
        "method": method,
        "wording": wording,
        "source_url": f"{pages.wired.settings.web.public_url.rstrip('/')}/{page}/",
        "ip": address_of(request),
        "agent": request.headers.get("user-agent", "")[:_AGENT],
    }
    return {name: value for name, value in told.items() if value}


def shown(said: Said, *keys: str, **named: Any) -> str:
    """The words that stood on a page, as they are kept: a line for each text."""
    return "\n".join(said.plain(key, **named) for key in keys)


def masked(address: str) -> str:
    """An address by which its owner knows it and nobody else learns it: a…@example.com, …4567."""
    local, at, domain = address.rpartition("@")
    if at:
        return f"{local[:1]}…@{domain}"
    return f"…{address[-4:]}" if address else ""
