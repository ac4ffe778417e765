"""Messages as files a person can open, and how they are written: each once, complete, for the owner's eyes only."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from binascii import b2a_qp
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, formataddr
from pathlib import Path
from typing import Any
from urllib.parse import quote

from channels._call import call_body
from channels.base import Medium, Outbound, Reason, Receipt

SUFFIX: Mapping[Medium, str] = {
    Medium.EMAIL: ".eml",
    Medium.PUSH: ".json",
    Medium.WEBHOOK: ".json",
    Medium.AUDIENCE: ".json",
}
"""How a medium's files end, where it is not `.txt`. Letters are `.html` in the folder of their job."""

_NAME = 180  # bytes of a file name that may be the attempt


class _Unfit(Exception):
    """A message that this medium cannot carry."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def store(folder: Path, medium: Medium, outbounds: Sequence[Outbound], now: datetime) -> list[Receipt | None]:
    """Writes the messages, then the index. For each message None, or the receipt of its refusal; raises OSError."""
    place = folder / medium.value
    refusals: list[Receipt | None] = []
    lines: list[dict[str, Any]] = []
    kept: list[tuple[Outbound, bytes]] = []
    for outbound in outbounds:
        try:
            data = _RENDER[medium](outbound, now)
            file, twice = _place(place, medium, outbound.attempt, data)
        except _Unfit as unfit:
            refusals.append(Receipt(outbound.attempt, "rejected", "", unfit.reason, unfit.detail))
            continue
        if twice:
            detail = "this attempt was handed over before"
            refusals.append(Receipt(outbound.attempt, "rejected", "", Reason.CONFIGURATION, detail))
        else:
            refusals.append(None)
            kept.append((outbound, data))
        if twice or medium is not Medium.MAIL:
            lines.append(_line(outbound, now, f"{medium.value}/{file}", data, twice))
    if medium is Medium.MAIL and kept:
        lines.extend(_job(place, kept, now))
    elif medium is Medium.TASK and kept:
        _append(place / "tasks.csv", _tasks(kept, now), write_list([TASK_COLUMNS]))
    _append(folder / "index.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    if lines:
        _sync(place)
    return refusals


def _place(place: Path, medium: Medium, attempt: str, data: bytes) -> tuple[str, bool]:
    """Creates the message's file. Its name, and whether the attempt had one already: then the copy stands beside it."""
    name = file_name(attempt)
    # A letter is claimed here and shown in the folder of its job, of which there are many.
    claimed, suffix = (".pieces/", ".html") if medium is Medium.MAIL else ("", SUFFIX.get(medium, ".txt"))
    if claimed:
        (place / claimed).mkdir(mode=0o700, exist_ok=True)
    for copy in range(1, 1000):
        file = f"{claimed}{name}{suffix}" if copy == 1 else f"{claimed}{name}~{copy}{suffix}"
        if _create(place / file, data):
            return file, copy > 1
    raise _Unfit(Reason.CONFIGURATION, "this attempt was handed over a thousand times")


def file_name(attempt: str) -> str:
    """An attempt as a file name: one to one, and never a path."""
    name = quote(attempt, safe="", errors="replace")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name) > _NAME:
        raise _Unfit(Reason.CONFIGURATION, f"an attempt has 1 to {_NAME} characters")
    return name.replace("~", "%7E")


def _create(path: Path, data: bytes) -> bool:
    """Creates a file with this content; False when there is one of that name."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    try:
        _write_all(fd, data)
    finally:
        os.close(fd)
    return True


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _append(path: Path, data: bytes, head: bytes = b"") -> None:
    """Appends in one write, so that processes do not interleave; not to the half line that a dead one left."""
    if not data:
        return
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(fd).st_size
        if not size:
            data = head + data
        elif os.pread(fd, 1, size - 1) != b"\n":
            data = b"\n" + data
        _write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _line(outbound: Outbound, now: datetime, file: str, data: bytes, twice: bool = False) -> dict[str, Any]:
    line: dict[str, Any] = {
        "attempt": outbound.attempt,
        "medium": outbound.medium.value,
        "template": outbound.template,
        "locale": outbound.locale,
        "at": now.astimezone(UTC).isoformat(),
        "file": file,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if twice:
        line["duplicate"] = True
    return line


# ---- e-mail ---------------------------------------------------------------------------------------------------------

_BREAKS = re.compile(r"[\r\n\0\u2028\u2029]")
_HEADER = re.compile(r"[!-9;-~]+")  # RFC 5322, 2.2: printable ASCII without the colon


def _header(name: str, value: str) -> str:
    """One header line, encoded and folded where it must be. Raises _Unfit for a line break smuggled into it."""
    if not _HEADER.fullmatch(name):
        raise _Unfit(Reason.CONTENT, "a header has a name that headers cannot have")
    if _BREAKS.search(value):
        raise _Unfit(Reason.CONTENT, f"the header {name} has a line break in it")
    if value.isascii() and len(value) < 900:
        return f"{name}: {value}"
    clean = value.encode("utf-8", "replace").decode()
    return f"{name}: " + Header(clean, "utf-8", header_name=name, maxlinelen=76).encode(linesep="\r\n")


def _address(parts: Mapping[str, str], lacking: str) -> str:
    address = parts.get("address") or parts.get("email") or lacking
    if not address or _BREAKS.search(address) or not address.isascii() or "@" not in address:
        raise _Unfit(Reason.INVALID_ADDRESS, "there is no e-mail address that can stand in a header")
    name = parts.get("name", "")
    if _BREAKS.search(name):
        raise _Unfit(Reason.CONTENT, "the name has a line break in it")
    return formataddr((name, address), "utf-8") if name else address


def _body(kind: str, text: str) -> bytes:
    """One part: readable as it stands, unless a line is longer than mail may carry (RFC 5322, 2.1.1)."""
    data = text.replace("\r\n", "\n").encode("utf-8", "replace")
    encoding = "8bit"
    if max(map(len, data.split(b"\n"))) > 900:
        data, encoding = b2a_qp(data, istext=True), "quoted-printable"
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + data.replace(b"\n", b"\r\n") + b"\r\n"


def _eml(outbound: Outbound, now: datetime) -> bytes:
    """RFC 5322 bytes. Built by hand where the standard library's message objects take a millisecond for each."""
    lines = [
        _header("Date", format_datetime(now.astimezone(UTC))),
        _header("From", _address(outbound.sender, "sender@sandbox.invalid")),
        _header("To", _address(outbound.to, "")),
        _header("Subject", outbound.part("subject")),
        _header("Message-ID", f"<{file_name(outbound.attempt)}@sandbox.invalid>"),
        "MIME-Version: 1.0",
    ]
    if outbound.sender.get("reply_to"):
        lines.append(_header("Reply-To", outbound.sender["reply_to"]))
    lines.extend(_header(name, value) for name, value in outbound.headers.items())
    for name, value in (("X-Attempt", outbound.attempt), ("X-Template", outbound.template)):
        lines.append(_header(name, value))
    if outbound.locale:
        lines.append(_header("Content-Language", outbound.locale))
    parts = [_body(kind, text) for kind, text in (("plain", _text(outbound)), ("html", outbound.part("html"))) if text]
    if len(parts) == 1:
        return "\r\n".join(lines).encode() + b"\r\n" + parts[0]
    border = hashlib.sha256(outbound.attempt.encode()).hexdigest()[:32].encode()
    lines.append(f'Content-Type: multipart/alternative; boundary="={border.decode()}"')
    body = b"".join(b"--=" + border + b"\r\n" + part for part in parts)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"--=" + border + b"--\r\n"


def _text(outbound: Outbound) -> str:
    """The plain words of a message, under whichever name its medium has them."""
    return outbound.part("text") or outbound.part("body")


# ---- texts, pushes, tasks -------------------------------------------------------------------------------------------


def _sms(outbound: Outbound, now: datetime) -> bytes:
    if not outbound.to.get("number"):
        raise _Unfit(Reason.INVALID_ADDRESS, "there is no number")
    sender = outbound.sender.get("number") or outbound.sender.get("name", "")
    head = f"To: {outbound.to['number']}\nFrom: {sender}\n"
    if size := outbound.meta.get("segments"):
        cost = f", {outbound.meta['cost']}" if "cost" in outbound.meta else ""
        head += f"Segments: {size} ({outbound.meta.get('encoding', '')}){cost}\n"
    return f"{head}\n{_text(outbound)}\n".encode("utf-8", "replace")


def _push(outbound: Outbound, now: datetime) -> bytes:
    if not outbound.to.get("token"):
        raise _Unfit(Reason.INVALID_ADDRESS, "there is no device")
    return _json(outbound)


def _json(outbound: Outbound, now: datetime | None = None) -> bytes:
    body: dict[str, Any] = {"to": dict(outbound.to)}
    body.update((name, outbound.part(name)) for name in outbound.skeleton.parts)
    if outbound.valid_until is not None:
        body["valid_until"] = outbound.valid_until.astimezone(UTC).isoformat()
    if outbound.meta:
        body["meta"] = dict(outbound.meta)
    return json.dumps(body, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"


def _call(outbound: Outbound, now: datetime) -> bytes:
    """A call as the endpoint gets it."""
    body = {"to": dict(outbound.to), "body": call_body(outbound, now)}
    return json.dumps(body, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"


TASK_COLUMNS = ("attempt", "at", "template", "locale", "assignee", "address", "title", "body", "details")


def _task(outbound: Outbound, now: datetime) -> bytes:
    lines = [f"For: {outbound.to.get('name', '')} {outbound.to.get('address', '')}".rstrip(), _title(outbound)]
    lines += [f"{name}: {value}" for name, value in sorted(outbound.meta.items())]
    return ("\n".join(line for line in lines if line) + f"\n\n{_text(outbound)}\n").encode("utf-8", "replace")


def _title(outbound: Outbound) -> str:
    return outbound.part("title") or outbound.part("subject")


def _tasks(kept: Sequence[tuple[Outbound, bytes]], now: datetime) -> bytes:
    return write_list(
        [
            _tame(value)
            for value in (
                outbound.attempt,
                now.astimezone(UTC).isoformat(),
                outbound.template,
                outbound.locale,
                outbound.to.get("name", ""),
                outbound.to.get("address", ""),
                _title(outbound),
                _text(outbound),
                json.dumps(dict(sorted(outbound.meta.items())), ensure_ascii=False) if outbound.meta else "",
            )
        ]
        for outbound, _ in kept
    )


def _tame(value: str) -> str:
    """A cell that a spreadsheet will not run as a formula (OWASP, CSV injection); a phone number stays as it is."""
    return f"'{value}" if re.match(r"[=@\t\r]|[+-](?![\d ()/-]*$)", value) else value


def write_list(rows: Iterable[Sequence[str]]) -> bytes:
    """A table as print houses and spreadsheets read it: every cell in quotes."""
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8", "replace")


# ---- letters --------------------------------------------------------------------------------------------------------

LETTER_COLUMNS = ("name", "company", "street", "street2", "city", "region", "postcode", "country")


def _letter(outbound: Outbound, now: datetime) -> bytes:
    if not (outbound.to.get("name") or outbound.to.get("company")) or not outbound.to.get("country"):
        raise _Unfit(Reason.INVALID_ADDRESS, "a letter needs a name or a company, and a country")
    if any(_BREAKS.search(outbound.to.get(column, "")) for column in LETTER_COLUMNS):
        raise _Unfit(Reason.INVALID_ADDRESS, "an address line has a line break in it")
    return (outbound.part("html") or _text(outbound)).encode("utf-8", "replace")


def _job(place: Path, kept: Sequence[tuple[Outbound, bytes]], now: datetime) -> list[dict[str, Any]]:
    """One print-house job: letters, records, manifest and `JOB.ok` under a temporary name, renamed when complete.

    A house polls its folder, so nothing may be seen half-written; the order of pieces is that of the post, and the
    same letters always make the same files.
    """
    kept = sorted(kept, key=lambda k: (*(k[0].to.get(c, "") for c in ("country", "postcode", "street")), k[0].attempt))
    job = "letters-" + hashlib.sha256("\n".join(outbound.attempt for outbound, _ in kept).encode()).hexdigest()[:12]
    temporary = place / f".{job}.{os.getpid()}.part"
    temporary.mkdir(mode=0o700)
    (temporary / "letters").mkdir(mode=0o700)
    job_fields = sorted({name for outbound, _ in kept for name in outbound.meta})
    rows: list[tuple[str, ...]] = [("piece_id", *LETTER_COLUMNS, "template", "locale", "letter", *job_fields)]
    lines, hashes = [], {}
    for outbound, data in kept:
        letter = f"letters/{file_name(outbound.attempt)}.html"
        os.link(place / ".pieces" / Path(letter).name, temporary / letter)
        to = (outbound.to.get(column, "") for column in LETTER_COLUMNS)
        job_values = (outbound.meta.get(name, "") for name in job_fields)
        rows.append((outbound.attempt, *to, outbound.template, outbound.locale, letter, *job_values))
        line = _line(outbound, now, f"mail/{job}/{letter}", data)
        hashes[letter] = line["sha256"]
        lines.append(line)
    records = write_list(rows)
    hashes[f"{job}_records.csv"] = hashlib.sha256(records).hexdigest()
    _create(temporary / f"{job}_records.csv", records)
    manifest = {
        "job": job,
        "created": now.astimezone(UTC).isoformat(),
        "schema": 1,
        "rows": len(kept),
        "by_template": _tally(outbound.template for outbound, _ in kept),
        "by_country": _tally(outbound.to["country"] for outbound, _ in kept),
        "encoding": "utf-8",
        "newline": "LF",
        "quoting": "all",
        "widths": {name: max(len(str(row[n])) for row in rows[1:]) for n, name in enumerate(rows[0])},
        "sha256": hashes,
    }
    _create(temporary / f"{job}_manifest.json", json.dumps(manifest, ensure_ascii=False, indent=2).encode() + b"\n")
    _create(temporary / f"{job}.ok", b"")
    for written in (temporary / "letters", temporary):
        _sync(written)
    temporary.rename(place / job)
    return lines


def _tally(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))


_RENDER: Mapping[Medium, Callable[[Outbound, datetime], bytes]] = {
    Medium.EMAIL: _eml,
    Medium.SMS: _sms,
    Medium.PUSH: _push,
    Medium.WEBHOOK: _call,
    Medium.AUDIENCE: _json,
    Medium.TASK: _task,
    Medium.MAIL: _letter,
}
