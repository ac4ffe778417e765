"""From orchestrator.toml to what the verbs are given: database, channels, keys, clock.

A channel's provider is found by its file, `channels/PROVIDER.py`, which brings
`connect(medium, options, site) -> Channel`; nothing else names one. It may bring `live(options) -> bool`, which says
whether these settings would reach people: a test refuses them. Secrets are read here, once, and go no further.
"""

from __future__ import annotations

import hmac
import importlib
import os
import platform
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from channels.base import Channel, Keeps, Medium, Misconfigured, Site
from orchestrator.platforms import Parted
from orchestrator.problems import Problems, ProjectError
from orchestrator.project import WORKSPACE as WORKSPACE_FILE
from orchestrator.settings import (
    FILE,
    ChannelSettings,
    MissingSecret,
    Reveal,
    Settings,
    check_provider,
    check_safety,
    parse_settings,
)
from orchestrator.store import versions
from orchestrator.store.database import Store, StoreUnavailable, insert_many
from orchestrator.store.keys import Keys, KeysUnusable, load_keys
from orchestrator.store.tables import setting

if TYPE_CHECKING:
    from orchestrator.erase import Forget, Places

WORKSPACE = "ORCHESTRATOR_WORKSPACE"
"""The environment variable that names the workspace where no argument does."""
KEYS = "ORCHESTRATOR_KEYS"
"""The environment variable that names the key file, for workers away from the machine that made it."""
Clock = Callable[[], datetime]
"""Aware UTC instants."""

_stores: dict[str, Store] = {}

stopping = threading.Event()
"""Set by who ends the process: the tick under way ends at its next batch, with nothing left half done."""


@dataclass(frozen=True)
class Wired:
    """What a workspace's machine settings stand for. Channels and keys are made when they are first asked for."""

    folder: Path
    settings: Settings
    store: Store
    clock: Clock
    _reveal: Reveal
    _text: str

    @cached_property
    def keys(self) -> Keys:
        """This installation's secrets; made on first use beside the database. Raises Misconfigured."""
        path = self.keys_path
        if self.keys_lost():
            raise Misconfigured(
                f"the key file {path} is gone, and the database {self.store.where} was begun with it: without it "
                f"suppressed addresses would not be known again. Bring it back from its backup, or name it in {KEYS}"
            )
        try:
            keys = load_keys(path)
        except KeysUnusable as error:
            raise Misconfigured(str(error)) from None
        self._same_keys(keys, path)
        return keys

    def reread_keys(self) -> bool:
        """For who runs long: read the key file again, as another process may have rotated it; whether it had been."""
        before = self.keys
        if not self.keys_path.exists() or load_keys(self.keys_path) == before:
            return False
        del self.__dict__["keys"]
        return self.keys != before

    def keys_if_any(self) -> Keys | None:
        """The keys, or None where there is no key file yet: for who only looks. Raises Misconfigured."""
        return self.keys if self.keys_path.exists() else None

    @property
    def keys_path(self) -> Path:
        named = os.environ.get(KEYS)
        if named:
            return Path(named)
        database = self.store.engine.url.database if self.store.dialect == "sqlite" else None
        where = Path(self.store.where)
        return where.with_suffix(".keys") if database and where.is_absolute() else self.home / "orchestrator.keys"

    @property
    def erasures_path(self) -> Path:
        """The list of erasures: of the machine that holds the keys, never in the database's backup."""
        named = self.settings.erasures.path
        return self.folder / named if named else self.keys_path.with_suffix(".erased.jsonl")

    @property
    def exports(self) -> Path:
        """Where what is held about a person is written, for her; an erasure looks here."""
        return self.home / "exports"

    @property
    def previews(self) -> Path:
        """Where pages that show texts for somebody are written; an erasure deletes them."""
        return self.home / "preview"

    def places(self) -> Places:
        """Where anything about a person may be kept outside the database. Raises what `channels` raises."""
        from orchestrator.erase import Places

        sandbox: Any = importlib.import_module("channels.sandbox")  # it may have been used before
        forget: list[Forget] = [partial(sandbox.forget, self.settings.outbox_path(self.folder))]
        forget += [c.forget for c in self.channels.values() if isinstance(c, Keeps) and c.name != "sandbox"]
        return Places(self.erasures_path, tuple(forget), self.exports, self.folder, self.previews)

    def keys_lost(self) -> bool:
        """Whether there is no key file where the database has been used with one."""
        return not self.keys_path.exists() and self._keys_mark() is not None

    @property
    def home(self) -> Path:
        """What a workspace's runs leave behind, apart from what its author wrote."""
        return self.folder / ".orchestrator"

    @cached_property
    def channels(self) -> Mapping[Medium, Channel]:
        """By medium, as the settings say. Raises ProjectError for an unknown provider, Misconfigured."""
        return {medium: self._channel(medium) for medium in Medium}

    def nothing_applied(self) -> bool:
        """Whether no workspace is in force yet, so that ticks find nothing to do."""
        with self.store.read() as conn:
            return versions.newest(conn) is None

    def rehearses(self) -> bool:
        """Whether no channel reaches anybody."""
        return not self.settings.live()

    def _channel(self, medium: Medium) -> Channel:
        problems = Problems()
        check_provider(self.settings, medium, self._text, problems)
        if problems.found:
            raise ProjectError(problems.found)
        by_platform = self.settings.by_platform(medium)
        usual = self._connected(medium, self.settings.channel(medium), but=by_platform)
        if not by_platform:
            return usual
        return Parted(usual, {p: self._connected(medium, chosen) for p, chosen in by_platform.items()})

    def _connected(self, medium: Medium, chosen: ChannelSettings, but: Collection[str] = ()) -> Channel:
        secret = hmac.digest(self.keys.token, f"channel\0{chosen.provider}\0{medium}".encode(), "sha256")
        hook = f"{self.settings.web.public_url.rstrip('/')}/hooks/{medium}"
        site = Site(self.settings.outbox_path(self.folder), self.clock, secret, hook)
        try:
            options = chosen.options(self._reveal, but)
        except MissingSecret as error:
            raise Misconfigured(f"{chosen.provider} for {medium}: {error}") from None
        module = importlib.import_module(f"channels.{chosen.provider}")
        live: Callable[[Mapping[str, object]], bool] | None = getattr(module, "live", None)
        if self.settings.safety.environment == "test" and live is not None and live(options):
            raise Misconfigured(
                f"{chosen.provider} for {medium}: this is a test, and its key is that of a live account. Use the "
                'provider\'s test mode or the `sandbox`, or say `environment = "staging"` with the `recipients` allowed'
            )
        connect: Callable[[Medium, Mapping[str, object], Site], Channel] = module.connect
        return connect(medium, options, site)

    def _same_keys(self, keys: Keys, path: Path) -> None:
        """Two workers with different keys would not know each other's suppressions: refuse the second."""
        # A file whose token was rotated is the same one: the token it began with is among its old ones.
        marks = [hmac.digest(keys.address, t, "sha256")[:8].hex() for t in (keys.token, *keys.old_tokens)]
        known = self._keys_mark()
        if known is None:
            with self.store.write() as conn:
                insert_many(conn, setting, [{"name": "keys", "value": marks[-1]}], ignore_conflicts=True)
            known = self._keys_mark()
        if known not in marks:
            raise Misconfigured(
                f"the keys in {path} are not those that the database {self.store.where} was begun with: suppressed "
                f"addresses would not be known again. Bring that key file here, or name it in {KEYS}"
            )

    def _keys_mark(self) -> str | None:
        with self.store.read() as conn:
            return conn.execute(sa.select(setting.c.value).where(setting.c.name == "keys")).scalar_one_or_none()


@contextmanager
def connected(
    workspace: str | Path | None = None, *, now: datetime | None = None, create: bool = False
) -> Iterator[Wired]:
    """Open what a workspace's orchestrator.toml names; closed at the end.

    `workspace` None: ORCHESTRATOR_WORKSPACE, then the working directory. `now`: a rehearsal's instant, for all of the
    clock; refused where a channel is live. `create`: make the database, or bring its schema up to date, first.
    Raises ProjectError (the settings are wrong), StoreUnavailable, Misconfigured.
    """
    folder = Path(workspace or os.environ.get(WORKSPACE) or Path.cwd()).expanduser().absolute()
    reveal = Reveal(os.environ, lambda path: (folder / path).read_text(encoding="utf-8"))
    settings, text = read_settings(folder)
    try:
        url = settings.database_url(folder, reveal)
    except MissingSecret as error:
        raise Misconfigured(f"the database's address: {error}") from None
    # Opening says what is wrong with the path; the one kept has its statements compiled, a third of a small tick.
    try:
        opened = Store.open(url, create=create)
    except StoreUnavailable:
        if any((folder / name).exists() for name in (FILE, WORKSPACE_FILE)):
            raise
        text = f"{folder} is no workspace; go to one, or name it with `-w`; `orchestrator init DIR` makes one"
        raise StoreUnavailable(text) from None
    store = _stores.setdefault(url, opened)
    try:
        if create:
            store.migrate()
        else:
            store.check_schema()
        wired = Wired(folder, settings, store, _clock(now), reveal, text)
        if now is not None and not wired.rehearses():
            live = sorted(settings.live())
            raise Misconfigured(f"another time than the present is for rehearsals, but {', '.join(live)} would be sent")
        yield wired
    finally:
        store.close()


def tried_channels(folder: Path) -> Mapping[Medium, Channel]:
    """The channels as the settings say, with passing secrets and no database: for who asks, before the first run,
    whether they can be made. Nothing may be sent through them. Raises what `Wired.channels` raises."""
    reveal = Reveal(os.environ, lambda path: (folder / path).read_text(encoding="utf-8"))
    settings, text = read_settings(folder)
    store = Store.open("sqlite:///:memory:", create=True)
    try:
        wired = Wired(folder, settings, store, _clock(None), reveal, text)
        passing = [secrets.token_bytes(32) for _ in range(4)]
        wired.__dict__["keys"] = Keys(passing[0], passing[1], passing[2], passing[3])
        return wired.channels
    finally:
        store.close()


def read_settings(folder: Path) -> tuple[Settings, str]:
    """A folder's machine settings and their text; the embedded default where there is no file. Raises ProjectError,
    for what is wrong in it and where it is not said whom live channels may reach."""
    problems = Problems()
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read: {type(error).__name__}") from None
    settings = parse_settings(text, problems, os.environ)
    if settings is not None:
        check_safety(settings, text, problems)
    if settings is None or problems.errors:
        raise ProjectError(problems.found)
    return settings, text


def worker_name() -> str:
    """Who leases: unique among all processes and threads, and tells an operator where to look."""
    return f"{platform.node()}:{os.getpid()}:{threading.get_native_id()}"


def _clock(now: datetime | None) -> Clock:
    if now is None:
        return lambda: datetime.now(UTC)
    fixed = now.astimezone(UTC)
    return lambda: fixed
