"""What the settings say about a print house: `[channels.mail]` with `provider = "letterfile"`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Literal, NoReturn, cast
from zoneinfo import ZoneInfo

from channels.base import Misconfigured

FIELDS = ("name", "company", "addr1", "addr2", "addr3", "city", "region", "postcode", "country", "country_name")
"""The columns of the records whose width a house may limit."""
_PARTS = ("name", "company", "street", "city", "region", "postcode", "country")
_SFTP = ("host", "port", "user", "identity", "password", "known_hosts", "folder")
_KNOWN = (
    *("house", "folder", "sftp", "cutoff", "zone", "days", "holidays", "country", "language", "return_line", "print"),
    *("proofs", "font", "fonts", "widths", "newline", "seeds", "contact", "mail_within_days", "rehearsal"),
)


@dataclass(frozen=True, slots=True)
class Sftp:
    """Where jobs are uploaded. `known_hosts`: a file of host keys; without one nothing is uploaded."""

    host: str
    user: str
    known_hosts: Path
    port: int = 22
    folder: str = "."
    identity: Path | None = None
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Options:
    """One print house."""

    zone: ZoneInfo
    house: str = "letters"
    folder: Path | None = None
    sftp: Sftp | None = None
    cutoff: time = time(14)
    days: Literal["daily", "weekdays"] = "weekdays"
    holidays: str = ""
    country: str = ""
    language: str = "en"
    return_line: str = ""
    pdf: bool = True
    proofs: bool = True
    font: str = "Libertinus Serif"
    fonts: Path | None = None
    widths: Mapping[str, int] = field(default_factory=dict)
    newline: Literal["LF", "CRLF"] = "LF"
    seeds: tuple[Mapping[str, str], ...] = ()
    contact: str = ""
    mail_within_days: int = 3
    rehearsal: bool = False


def read(options: Mapping[str, object]) -> Options:
    """The table of the settings, checked. Raises Misconfigured."""
    for name in options:
        if name not in _KNOWN:
            _wrong(f"has no setting `{name}`; it has {', '.join(_KNOWN)}")
    house = _text(options, "house", "letters")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,29}", house):
        _wrong("takes `house` as a short name in small letters, digits and dashes: `acme-print`")
    if options.get("folder") and options.get("sftp"):
        _wrong("takes `folder` or `sftp`, not both")
    if options.get("rehearsal") and (options.get("folder") or options.get("sftp")):
        # `rehearsal` is taken for a word that nobody is reached.
        _wrong("keeps a rehearsal's jobs in the outbox: take `folder` and `sftp` away, or `rehearsal`")
    days = _text(options, "days", "weekdays")
    if days not in ("daily", "weekdays"):
        _wrong("takes `days` as `weekdays` or `daily`")
    country = _text(options, "country").upper()
    if country and not re.fullmatch(r"[A-Z]{2}", country):
        _wrong("takes `country`, the sender's own, as two letters: `DE`")
    printed = _text(options, "print", "pdf")
    if printed not in ("pdf", "records"):
        _wrong("takes `print` as `pdf` (we make the letters) or `records` (the house makes them)")
    newline = _text(options, "newline", "LF").upper()
    if newline not in ("LF", "CRLF"):
        _wrong("takes `newline` as `LF` or `CRLF`")
    fonts = _path(options, "fonts")
    if fonts is not None and not fonts.is_dir():
        _wrong("finds no folder where `fonts` says that font files are")
    return Options(
        zone=_zone(options),
        house=house,
        folder=_path(options, "folder"),
        sftp=_sftp(options.get("sftp")),
        cutoff=_cutoff(_text(options, "cutoff", "14:00")),
        days=cast("Literal['daily', 'weekdays']", days),
        holidays=_text(options, "holidays"),
        country=country,
        language=_language(_text(options, "language", "en")),
        return_line=_text(options, "return_line"),
        pdf=printed == "pdf",
        proofs=_yes(options, "proofs", True),
        font=_text(options, "font", "Libertinus Serif"),
        fonts=fonts,
        widths=_widths(options.get("widths") or {}),
        newline=cast("Literal['LF', 'CRLF']", newline),
        seeds=_seeds(options.get("seeds") or []),
        contact=_text(options, "contact"),
        mail_within_days=_number(options.get("mail_within_days", 3), "mail_within_days", 0, 60),
        rehearsal=_yes(options, "rehearsal", False),
    )


def _wrong(said: str) -> NoReturn:
    raise Misconfigured(f"letterfile {said}")


def _text(options: Mapping[str, object], name: str, default: str = "") -> str:
    value = options.get(name, default)
    if not isinstance(value, str):
        _wrong(f"takes `{name}` as a text in quotes")
    return value.strip()


def _path(options: Mapping[str, object], name: str) -> Path | None:
    text = _text(options, name)
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_absolute():
        _wrong(f"takes `{name}` as a whole path, from the root on")
    return path


def _yes(options: Mapping[str, object], name: str, default: bool) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        _wrong(f"takes `{name}` as true or false")
    return value


def _number(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, str) and value.isdigit():  # from the environment
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        _wrong(f"takes `{name}` as a number from {least} to {most}")
    return value


def _zone(options: Mapping[str, object]) -> ZoneInfo:
    name = _text(options, "zone")
    if not name:
        _wrong('needs `zone`, the time zone of its cut-off: zone = "Europe/Berlin"')
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        _wrong(f"knows no time zone `{name[:40]}`; write it as `Europe/Berlin`")


def _cutoff(text: str) -> time:
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        _wrong('takes `cutoff` as an hour of the day: cutoff = "14:00"')
    return time(int(match[1]), int(match[2]))


def _language(text: str) -> str:
    from babel import Locale, UnknownLocaleError

    try:
        Locale.parse(text, sep="-")
    except (ValueError, UnknownLocaleError):
        _wrong("takes `language`, in which countries are written, as a language tag: `de`")
    return text


def _widths(table: object) -> Mapping[str, int]:
    if not isinstance(table, Mapping):
        _wrong("takes `widths` as a table: widths = { name = 55, addr1 = 60 }")
    for name in table:
        if name not in FIELDS:
            _wrong(f"takes widths of {', '.join(FIELDS)}, not of `{name}`")
    return {name: _number(value, f"widths.{name}", 1, 500) for name, value in table.items()}


def _seeds(rows: object) -> tuple[Mapping[str, str], ...]:
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        _wrong('takes `seeds` as a list of tables: seeds = [{ name = "…", street = "…", city = "…", country = "DE" }]')
    for row in rows:
        odd = [name for name, value in row.items() if name not in _PARTS or not isinstance(value, str)]
        if odd:
            _wrong(f"takes of a seed the texts {', '.join(_PARTS)}, not `{odd[0]}`")
    return tuple(dict(row) for row in rows)


def _sftp(table: object) -> Sftp | None:
    if table is None:
        return None
    if not isinstance(table, Mapping):
        _wrong("takes `sftp` as a table: [channels.mail.sftp] with host, user, key and known_hosts")
    for name in table:
        if name not in _SFTP:
            _wrong(f"has no setting `sftp.{name}`; it has {', '.join(_SFTP)}")
    said = {name: value for name, value in table.items() if name != "port"}
    host, user, known = _text(said, "host"), _text(said, "user"), _path(said, "known_hosts")
    if not host or not user:
        _wrong("needs `sftp.host` and `sftp.user`")
    if known is None or not known.is_file():
        # An upload to whoever answers would hand names and addresses to a stranger.
        _wrong("needs `sftp.known_hosts`, a file with the house's host key: ask the house for it")
    identity = _path(said, "identity")
    if identity is not None and not identity.is_file():
        _wrong("finds no file where `sftp.identity` says that the private key is")
    if identity is None and not said.get("password"):
        _wrong("needs `sftp.identity`, the path of a private key, or `sftp.password`")
    port = _number(table.get("port", 22), "sftp.port", 1, 65535)
    return Sftp(host, user, known, port, _text(said, "folder", ".") or ".", identity, _text(said, "password"))
