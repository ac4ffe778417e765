"""orchestrator.toml: where the data lives and how messages leave. Secrets come by reference, never as themselves.

A reference is `env:NAME` (or `${NAME}`), a variable of the environment, or `file:PATH`, a file's first line (of a JSON
or PEM file, all of it). Any
setting may be overridden from the environment: ORCHESTRATOR_DATABASE__URL for `url` under `[database]`. This module is
pure: the environment and the reading of a secret's file are given to it.
"""

from __future__ import annotations

import pkgutil
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

import channels
from channels.base import Medium
from orchestrator.problems import Problems, Span, suggest

FILE: Final = "orchestrator.toml"
PLATFORMS: Final = ("ios", "android", "web")
"""Of devices: for each, `[channels.push.PLATFORM]` may name a provider of its own."""
HARMLESS: Final = frozenset({"sandbox", "null"})
"""Providers that reach nobody."""
REHEARSING: Final = frozenset({"letterfile"})
"""Providers that with `rehearsal = true` keep all they make in the outbox, and refuse every other place."""
PREFIX: Final = "ORCHESTRATOR_"
_REFERENCE = re.compile(r"env:(?P<env>[A-Za-z_]\w*)|\$\{(?P<braced>[A-Za-z_]\w*)\}|file:(?P<file>.+)", re.ASCII)
_WHOLE = re.compile(r"\s*(\{|-----BEGIN )")
_SECRET_KEY = re.compile(
    r"(^|[_-])(key|keys|token|secret|password|passphrase|credentials|sid_secret|authorization|cookie)$", re.IGNORECASE
)


class MissingSecret(LookupError):
    """A secret's variable is not set, or its file cannot be read. The text names the reference, never a value."""


@dataclass(frozen=True, slots=True)
class Reveal:
    """Where references are looked up: the environment, and a reader of files (path to text, or OSError)."""

    environment: Mapping[str, str]
    read: Callable[[str], str]

    def __call__(self, value: str) -> str:
        """The value itself, or what its reference stands for. Raises MissingSecret."""
        match = _REFERENCE.fullmatch(value)
        if match is None:
            return value
        name = match["env"] or match["braced"]
        if name:
            if not self.environment.get(name):
                raise MissingSecret(f"the environment variable {name} is not set")
            return self.environment[name]
        try:
            text = self.read(match["file"])
            # What is made of several lines is one secret: a service account's JSON, a key as PEM.
            return text.strip() if _WHOLE.match(text) else text.splitlines()[0].strip()
        except (OSError, IndexError, UnicodeDecodeError):
            raise MissingSecret(f"the file {match['file']} cannot be read, or is empty") from None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Database(_Strict):
    """`url`: SQLAlchemy's form, or a reference; a relative SQLite path counts from the workspace's folder."""

    url: str = "sqlite:///.orchestrator/orchestrator.db"

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if _REFERENCE.fullmatch(value):
            return value
        if re.match(r"[\w+]+://[^/@:]*:[^/@]+@", value):
            raise ValueError("a password does not stand in a file: write `env:ORCHESTRATOR_DATABASE_URL`")
        if not re.match(r"sqlite:///(?!$)|postgresql(\+psycopg)?://", value):
            raise ValueError("expected `sqlite:///FILE` or `postgresql+psycopg://…`")
        return value


class Outbox(_Strict):
    """Where the sandbox channel keeps what it was given."""

    path: str = Field(default=".orchestrator/outbox", min_length=1)


class Web(_Strict):
    """The public address of links in messages."""

    public_url: str = Field(default="http://localhost:8400", pattern=r"^https?://[!-.0-~]+(/[!-~]*)?$")


_LISTED = re.compile(r"(?:(?P<kind>token|mail|task|webhook):)?(?P<text>.*)", re.DOTALL)
_KINDS: Final = {"token": Medium.PUSH, "mail": Medium.MAIL, "task": Medium.TASK, "webhook": Medium.WEBHOOK}
_LEAST = 3
"""So many characters beside its stars a line of the list must have: `*` alone would let everybody in."""

Permits = Callable[[Medium, str], bool]
"""Whether a destination, as the one text that its keyed hash is made of, may be written to."""


class Safety(_Strict):
    """What this installation is and, outside production, whom it may write to."""

    environment: Literal["production", "staging", "test"] | None = None
    recipients: tuple[str, ...] = ()

    @field_validator("recipients", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part for part in re.split(r"[\s,]+", value) if part] if isinstance(value, str) else value

    @field_validator("recipients")
    @classmethod
    def _narrow(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for n, line in enumerate(value, 1):
            found = _LISTED.fullmatch(line.strip())
            assert found is not None
            kind, text = found["kind"], found["text"].strip()
            if kind is None and "@" not in text and not text.startswith("+"):
                known = "`*@acme.example`, `+4930*`, `token:…`, `mail:…`, `task:…` or `webhook:…`"
                raise ValueError(f"entry {n} of the list is none of {known}")
            if kind not in ("task", "webhook") and len(text.strip("*@+ ")) < _LEAST:
                raise ValueError(f"entry {n} of the list would let nearly everybody in")
        return value

    def permits(self) -> Permits | None:
        """Who is on the list; None where it does not hold: in production, and where nobody is reached anyway and no
        list is given."""
        if self.environment == "production" or not self.recipients:
            return None
        patterns: dict[Medium, list[re.Pattern[str]]] = {}
        for line in self.recipients:
            found = _LISTED.fullmatch(line.strip())
            assert found is not None
            if found["kind"] is not None:
                media = [_KINDS[found["kind"]]]
            elif line.strip().startswith("+"):
                media = [Medium.SMS]
            else:
                media = [Medium.EMAIL, Medium.TASK]  # a task goes to a colleague's address, too
            for medium in media:
                patterns.setdefault(medium, []).append(_pattern(found["text"], medium))

        def permitted(medium: Medium, address: str) -> bool:
            text = " ".join(address.split())
            return any(pattern.fullmatch(text) for pattern in patterns.get(medium, ()))

        return permitted


def _pattern(text: str, medium: Medium) -> re.Pattern[str]:
    plain = text.replace(" ", "") if medium is Medium.SMS else " ".join(text.split())
    parts = (re.escape(part) for part in plain.split("*"))
    return re.compile(".*".join(parts), re.ASCII if medium is Medium.PUSH else re.IGNORECASE)


class Preview(_Strict):
    """Who gets test sends: whole addresses of those who write the texts, and of nobody else; phones as `+4915…`."""

    authors: tuple[str, ...] = ()

    @field_validator("authors", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part for part in re.split(r"[\s,]+", value) if part] if isinstance(value, str) else value

    @field_validator("authors")
    @classmethod
    def _whole(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for n, address in enumerate(value, 1):
            if not re.fullmatch(r"[^@\s*]+@[^@\s*]+|\+[1-9]\d{6,14}", address):
                raise ValueError(
                    f"entry {n} of the list is no whole address such as `ana@acme.example`, nor a number such as "
                    "`+4915123456789`"
                )
        return value


class Erasures(_Strict):
    """Where the list of erasures is kept: apart from the database and its backups. "": beside the key file."""

    path: str = ""


class ChannelSettings(BaseModel):
    """One medium through one provider. Everything but `provider` is the provider's own; secrets are references."""

    model_config = ConfigDict(extra="allow", frozen=True)

    provider: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"provider": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _no_secrets(self) -> ChannelSettings:
        for name in _inline_secrets(self.model_extra or {}):
            raise ValueError(f"`{name}` is a secret: write `env:{name.upper()}`, and set that variable")
        return self

    @property
    def rehearses(self) -> bool:
        """Whether it reaches nobody, because its provider is told to rehearse."""
        return self.provider in REHEARSING and (self.model_extra or {}).get("rehearsal") is True

    def options(self, reveal: Reveal, but: Collection[str] = ()) -> dict[str, Any]:
        """The provider's own settings, references resolved, without those named in `but`. Raises MissingSecret."""
        own = self.model_extra or {}
        return {name: _revealed(value, reveal) for name, value in own.items() if name not in but}


def _inline_secrets(table: Mapping[str, Any]) -> Iterator[str]:
    """Names of secrets that are written out, in tables within the table too."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _inline_secrets(value)
        elif _SECRET_KEY.search(name):
            # A list of them, where a provider has two keys while they change.
            written = value if isinstance(value, list) else [value]
            if not all(isinstance(one, str) and _REFERENCE.fullmatch(one) for one in written):
                yield name


def _revealed(value: Any, reveal: Reveal) -> Any:
    if isinstance(value, Mapping):
        return {name: _revealed(inner, reveal) for name, inner in value.items()}
    if isinstance(value, list):
        return [_revealed(inner, reveal) for inner in value]
    return reveal(value) if isinstance(value, str) else value


class Settings(_Strict):
    """Machine settings. Without a file, the embedded default: SQLite and the sandbox beside the workspace."""

    database: Database = Database()
    outbox: Outbox = Outbox()
    channels: dict[Medium, ChannelSettings] = Field(default_factory=dict)
    senders: dict[str, dict[str, str]] = Field(default_factory=dict)
    web: Web = Web()
    safety: Safety = Safety()
    erasures: Erasures = Erasures()
    preview: Preview = Preview()

    @field_validator("channels")
    @classmethod
    def _all_media(cls, value: dict[Medium, ChannelSettings]) -> dict[Medium, ChannelSettings]:
        return {m: value.get(m, ChannelSettings(provider="sandbox")) for m in Medium}

    def channel(self, medium: Medium) -> ChannelSettings:
        """The provider that carries a medium; the sandbox where none is named."""
        return self.channels.get(medium) or ChannelSettings(provider="sandbox")

    def by_platform(self, medium: Medium) -> dict[str, ChannelSettings]:
        """Of push, the providers of single platforms; their `provider` is "" where none is named."""
        own = self.channel(medium).model_extra or {} if medium is Medium.PUSH else {}
        found: dict[str, ChannelSettings] = {}
        for platform in (p for p in PLATFORMS if p in own):
            table = own[platform] if isinstance(own[platform], Mapping) else {"provider": own[platform]}
            name = table.get("provider")
            # Built as it is: what is wrong with the name is told at its line, beside all else that is.
            found[platform] = ChannelSettings.model_construct(
                **{**table, "provider": name if isinstance(name, str) else ""}
            )
        return found

    def carriers(self, medium: Medium) -> dict[str, str]:
        """Every provider that carries some of a medium, by whom it carries it to: "push", "push to web"."""
        found = {medium.value: self.channel(medium).provider}
        return found | {f"{medium} to {p}": c.provider for p, c in self.by_platform(medium).items()}

    def live(self) -> dict[str, str]:
        """Those of all media that reach people; a name that is no provider's among them."""
        every = {to: name for medium in Medium for to, name in self.carriers(medium).items()}
        kept = {medium.value for medium in Medium if self.channel(medium).rehearses}
        return {to: name for to, name in every.items() if name not in HARMLESS and to not in kept}

    def database_url(self, folder: Path, reveal: Reveal) -> str:
        """The database's URL, a relative SQLite path resolved from `folder`. Raises MissingSecret."""
        url = reveal(self.database.url)
        path = url.removeprefix("sqlite:///")
        if path == url or path.startswith((":memory:", "/")) or not path:
            return url.replace("postgresql://", "postgresql+psycopg://", 1)
        return f"sqlite:///{folder.absolute() / path}"

    def outbox_path(self, folder: Path) -> Path:
        """Where the sandbox writes."""
        return folder / self.outbox.path


@dataclass(slots=True)
class _Document:
    """The file's lines, to place what pydantic finds: TOML's reader keeps no positions."""

    file: str
    lines: list[str]

    def place(self, path: tuple[str, ...]) -> Span:
        """The line of a dotted path, or of the longest part of it that is written."""
        best, table = Span.whole(self.file), ""
        best_length = 0
        for number, line in enumerate(self.lines, 1):
            header = re.match(r"\s*\[+\s*([^\]#]+?)\s*\]", line)
            key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
            if header:
                table = header[1]
                dotted, start, width = table, header.start(1), len(table)
            elif key:
                dotted = f"{table}.{key[1]}" if table else key[1]
                start, width = key.start(1), len(key[1])
            else:
                continue
            parts = tuple(p.strip("\"' ") for p in dotted.split("."))
            if parts == path[: len(parts)] and len(parts) > best_length:
                best = Span(self.file, number, start + 1, number, start + 1 + width)
                best_length = len(parts)
        return best


def place(text: str, path: tuple[str, ...], file: str = FILE) -> Span:
    """Where the file says what a dotted path says, or the longest part of it that is written."""
    return _Document(file, text.splitlines()).place(path)


def providers() -> list[str]:
    """The providers there are: every module beside channels/base.py, but what they share (`_http`)."""
    return sorted(m.name for m in pkgutil.iter_modules(channels.__path__) if m.name != "base" and m.name[0] != "_")


def check_provider(settings: Settings, medium: Medium, text: str, problems: Problems) -> None:
    """A problem at its line of the file's text when nothing carries a medium by that name."""
    known = providers()
    for to, name in settings.carriers(medium).items():
        if name not in known:
            path = ("channels", *to.split(" to "), "provider")
            hint = f"known: {', '.join(f'`{p}`' for p in known)}"
            said = f"no provider `{name}` for {to}" if name else f"no provider is named for {to}"
            problems.error("unknown-provider", said, _named_at(text, path), hint)


def _named_at(text: str, path: tuple[str, ...]) -> Span:
    """The line that names a provider of a platform; of a medium, the place of its section."""
    return place(text, path if len(path) > 3 else path[:2])


def check_safety(settings: Settings, text: str, problems: Problems) -> None:
    """Problems where a channel reaches people and it is not said that it may, or whom."""
    known = providers()
    live = sorted(to for to, name in settings.live().items() if name in known)
    if not live:
        return
    safety = settings.safety
    named = ", ".join(f"{to} by {settings.live()[to]}" for to in live)
    reaches = f"{named} {'reaches' if len(live) == 1 else 'reach'} people"
    if safety.environment is None:
        where = place(text, ("channels", *live[0].split(" to ")))
        message = f"{reaches}, and it is not said whether this is the production"
        hint = (
            '`environment = "production"` under `[safety]`; or "staging" or "test" with the `recipients` allowed there'
        )
        problems.error("no-environment", message, where, hint)
    elif safety.environment != "production" and not safety.recipients:
        where = place(text, ("safety", "environment"))
        message = f"{reaches}, and this is no production: it refuses live channels without a list of `recipients`"
        hint = '`recipients = ["*@acme.example"]` under `[safety]`; or the channel `sandbox`, which reaches nobody'
        problems.error("no-recipients", message, where, hint)


def parse_settings(
    text: str, problems: Problems, environment: Mapping[str, str] | None = None, file: str = FILE
) -> Settings | None:
    """Settings from the file's text ("" when there is none), overridden from the environment; None with problems."""
    document = _Document(file, text.splitlines())
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _syntax(error, document, problems)
        return None
    overridden = _override(raw, environment or {})
    try:
        return Settings.model_validate(overridden)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            _tell(cast("Mapping[str, Any]", found), document, raw, problems)
        return None


def _syntax(error: tomllib.TOMLDecodeError, document: _Document, problems: Problems) -> None:
    said = str(error)
    match = re.search(r"\(at line (\d+), column (\d+)\)", said)
    last = document.lines[-1] if document.lines else ""
    line, col = (int(match[1]), int(match[2])) if match else (len(document.lines) or 1, len(last) + 1)
    what = re.sub(r"\s*\(at [^)]*\)", "", said).strip().rstrip(".")
    what = what[:1].lower() + what[1:]
    hint = 'texts stand in double quotes: `url = "env:NAME"`'
    span = Span(document.file, line, col, line, col + 1)
    problems.error("settings-syntax", f"this is not valid TOML: {what}", span, hint)


def _override(raw: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """`ORCHESTRATOR_DATABASE__URL` goes over `url` under `[database]`; without `__` a variable is no setting."""
    merged: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in raw.items()}
    for name in sorted(environment):
        path = name.removeprefix(PREFIX).lower().split("__")
        if not name.startswith(PREFIX) or len(path) < 2 or not all(path) or path[0] not in Settings.model_fields:
            continue
        at = merged
        for part in path[:-1]:
            inner = at.get(part)
            # A channel named by its provider alone becomes a table when one of its options is set.
            at[part] = dict(inner) if isinstance(inner, dict) else {"provider": inner} if isinstance(inner, str) else {}
            at = at[part]
        at[path[-1]] = environment[name]
    return merged


def _tell(found: Mapping[str, Any], document: _Document, raw: Mapping[str, Any], problems: Problems) -> None:
    """A finding of pydantic's in our words. Values are not shown: one may be a secret written in the wrong place."""
    path = tuple(str(part) for part in found["loc"] if part != "[key]")
    span, kind = document.place(path), found["type"]
    name = ".".join(path)
    known: Mapping[str, Any] = {}
    if kind == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"database": Database, "outbox": Outbox, "web": Web, "safety": Safety}
        models |= {"erasures": Erasures, "preview": Preview}
        model = models.get(path[0], Settings) if len(path) > 1 else Settings
        known = model.model_fields
        problems.error("unknown-setting", f"unknown setting `{name}`", span, suggest(path[-1], known))
    elif kind == "enum":
        problems.error("unknown-medium", f"there is no medium `{path[-1]}`", span, suggest(path[-1], Medium))
    elif kind == "value_error":
        said = str(found["ctx"]["error"])
        inline = "secret" in said or "password" in said
        hint = "secrets are named here, never written" if inline else ""
        problems.error("secret-inline" if inline else "bad-setting", f"`{name}`: {said}", span, hint)
    else:
        said = _EXPECTED.get(kind, str(found["msg"])).format(name=name)
        problems.error("bad-setting", f"`{name}`: {said}", span, "")


_EXPECTED: Final = {
    "string_type": "expected a text in quotes",
    "literal_error": "expected one of `production`, `staging`, `test`",
    "tuple_type": 'expected a list such as `["*@acme.example"]`',
    "string_too_short": "expected a text that is not empty",
    "string_pattern_mismatch": "expected an address such as `https://example.com`",
    "dict_type": "expected a section `[{name}]`",
    "model_type": "expected a section `[{name}]`",
    "missing": "this is missing",
}
