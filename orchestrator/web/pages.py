"""Pages in the house's shell: whose they are, in which language, and how what people send is read.

A module of pages brings `routes(pages) -> APIRouter`; its handlers are plain functions (they run in threads, and may
use the store), take `Form` or `Body` where they need what was sent, and end in `pages.show(…)` or `pages.sorry(…)`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import jinja2
from fastapi import Depends
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from channels.base import Misconfigured
from orchestrator.apply import in_force
from orchestrator.problems import ProjectError
from orchestrator.store import StoreUnavailable
from orchestrator.store.keys import KeysUnusable
from orchestrator.web.limits import Limits, network
from orchestrator.web.words import SHELL, Table, in_language, language_of
from orchestrator.wiring import Wired

_HOUSE_SECONDS = 30
_FIELDS = 500
_KEY_LOOKS = 20
PER_LINK = 60
"""So often a minute one link may be used."""
MISSES = 60
"""So many addresses a minute that do not exist may be asked for from one place."""


@dataclass(frozen=True, slots=True)
class House:
    """Who the pages are of, as the workspace in force says; empty before the first apply."""

    name: str = ""
    address: str = ""
    locale: str = ""


class Said:
    """The texts of a page in one language; called with a key and what it names, escaped."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def __call__(self, key: str, **named: Any) -> Markup:
        return Markup(escape(self._texts[key])).format(**named)

    def plain(self, key: str, **named: Any) -> str:
        """The text as it is, for what is kept beside a consent: the words that were shown."""
        return self._texts[key].format(**named)

    def __contains__(self, key: str) -> bool:
        return key in self._texts


@dataclass
class Pages:
    """What every page is made with."""

    wired: Wired
    limits: Limits = field(default_factory=Limits)
    _house: tuple[float, House] | None = None

    def house(self) -> House:
        """Looked up twice a minute; without a database the last one known, so that an error can be told."""
        at = time.monotonic()
        if self._house is None or at - self._house[0] > _HOUSE_SECONDS:
            try:
                with self.wired.store.read() as conn:
                    force = in_force(conn)
            except (StoreUnavailable, ProjectError):
                return self._house[1] if self._house else House()
            found = House()
            if force is not None:
                vocabulary = force.project.vocabulary
                name = vocabulary.sender.get("name") or vocabulary.workspace
                found = House(name, vocabulary.sender.get("postal_address", ""), vocabulary.locale)
            self._house = (at, found)
        return self._house[1]

    @cached_property
    def base(self) -> str:
        """The path under which the world sees the pages; "" where they have a host of their own."""
        return urlsplit(self.wired.settings.web.public_url).path.rstrip("/")

    def language(self, request: Request, locale: str | None = None) -> str:
        """The person's own (`locale`), else the browser's, else the house's."""
        return language_of(locale, request.headers.get("accept-language", ""), self.house().locale)

    def said(self, request: Request, *tables: Table, locale: str | None = None) -> Said:
        """The words of these tables, and of the shell, in the reader's language."""
        return Said(in_language(self.language(request, locale), SHELL, *tables))

    def show(
        self,
        request: Request,
        template: str,
        texts: Table | Sequence[Table] = (),
        *,
        locale: str | None = None,
        status: int = 200,
        **context: Any,
    ) -> HTMLResponse:
        """A template of this package in the shell. It sees `t("key", name=…)`, `language`, `house`, `base` and what is
        given here; it extends "shell.html" and fills the blocks `title` (plain text, the page's one heading) and
        `body`. `locale`: the person's own, where the person is known."""
        tables = (texts,) if isinstance(texts, Mapping) else tuple(texts)
        language = self.language(request, locale)
        told: dict[str, Any] = {
            "t": self.said(request, *tables, locale=locale),
            "language": language,
            "house": self.house(),
            "base": self.base,
            "style": f"{self.base}/style.css?v={_version('style.css')}",
            "icon": f"{self.base}/icon.svg?v={_version('icon.svg')}",
        }
        html = _templates().get_template(template).render({**told, **context})
        return HTMLResponse(html, status, {"Content-Language": language})

    def sorry(self, request: Request, status: int, locale: str | None = None) -> HTMLResponse:
        """The page that says what happened, and what to do now."""
        known = status if f"sorry.{status}.title" in SHELL else 400 if status < 500 else 500
        return self.show(request, "sorry.html", locale=locale, status=status, kind=f"sorry.{known}")

    def keys_rotated(self) -> bool:
        """Whether the key file says otherwise by now; looked at once in some seconds, however many links are wrong."""
        if not self.limits.take("keys", _KEY_LOOKS, time.monotonic()):
            return False
        try:
            return self.wired.reread_keys()
        except (KeysUnusable, Misconfigured):
            return False

    def busy(self, request: Request, token: str) -> bool:
        """Whether a link is used more often than a person would."""
        name = hashlib.sha256(token.encode()).hexdigest()[:24]
        return not self.limits.take(f"link {name}", PER_LINK, time.monotonic())

    def missed(self, request: Request) -> HTMLResponse:
        """There is no such page: no word on why, and after many of them from one place none at all."""
        name = f"miss {network(address_of(request))}"
        return self.sorry(request, 404 if self.limits.take(name, MISSES, time.monotonic()) else 429)


def address_of(request: Request) -> str:
    """The address the request came from, as the server knows it (a proxy's word only where the proxy is trusted)."""
    return request.client.host if request.client else ""


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("orchestrator.web", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=8)
def static(name: str) -> bytes:
    """A file of the package's static folder."""
    return files("orchestrator.web").joinpath("static", name).read_bytes()


def _version(name: str) -> str:
    return hashlib.sha256(static(name)).hexdigest()[:12]


# ---- what people send -----------------------------------------------------------------------------------------------


async def _body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_body)]
"""What was sent, as it came."""


class Fields(dict[str, list[str]]):
    """A form's fields, each with all its values."""

    def one(self, name: str) -> str:
        """The last value of a field; "" when it is not there."""
        values = self.get(name)
        return values[-1] if values else ""


async def _fields(request: Request) -> Fields:
    """Of an urlencoded form; of another kind none. Never fails."""
    found = Fields()
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        text = (await request.body()).decode("utf-8", "replace")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS)
        except ValueError:
            return found
        for name, value in pairs:
            found.setdefault(name, []).append(value)
    return found


Form = Annotated[Fields, Depends(_fields)]
"""The fields of a page's form."""


def moved(request: Request, location: str) -> Response:
    """See other: after a POST that may be repeated by a reload."""
    return Response(status_code=303, headers={"Location": location})
