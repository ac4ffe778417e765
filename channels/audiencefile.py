"""Lists for advertising platforms: customers as SHA-256 hashes of their e-mail addresses and numbers, one job a run.

    [channels.audience]
    provider = "audiencefile"
    folder = "/srv/audiences"        # without it, `audiencefile` beside the outbox

What is handed over is kept by run, with its attempt, where no platform looks (`.runs`). `finish` makes a job of a run:

    NAME-PLATFORM-RUN/members.csv    who is on the list now: all of it, to replace the list that the platform has
                      removals.csv   who was on the last one and is not any more: to be taken off at the platform
                      manifest.json  how many, and the files' hashes
                      NAME-PLATFORM-RUN.ok   written last

Platforms match hashes of addresses written alike, and each says how: see `address` and `number`.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from channels._http import only
from channels.base import Event, EventKind, Forged, Inbound, Medium, Misconfigured, Outbound, Reason, Receipt, Site

PLATFORMS: Final = ("google", "meta", "tiktok", "linkedin")
HEADS: Final[Mapping[str, tuple[str, str]]] = {
    "google": ("Email", "Phone"),
    "meta": ("email", "phone"),
    "tiktok": ("Email_SHA256", "Phone_SHA256"),
    "linkedin": ("email", "phone"),
}
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}")
_Pair = tuple[str, str]


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> AudienceFile:
    only(options, "audiencefile", ("folder",))
    if medium is not Medium.AUDIENCE:
        raise Misconfigured(f"audiencefile carries no {medium}: it is a provider for `audience`")
    folder = options.get("folder", "")
    if not isinstance(folder, str) or (folder and not Path(folder).is_absolute()):
        raise Misconfigured("audiencefile takes `folder` as a path from the root: `/srv/audiences`")
    return AudienceFile(Path(folder) if folder else site.folder.parent / "audiencefile", site.clock)


def address(text: str, platform: str) -> str:
    """An e-mail address as a platform wants it before it is hashed: small letters, no blanks; for Google without the
    dots and what follows a plus in Gmail's local parts, for TikTok without what follows a plus (both as of 2026)."""
    plain = "".join(text.split()).lower()
    local, at, domain = plain.rpartition("@")
    if platform == "google" and domain in ("gmail.com", "googlemail.com"):
        local = local.partition("+")[0].replace(".", "")
    elif platform == "tiktok":
        local = local.partition("+")[0]
    return f"{local}{at}{domain}"


def number(text: str, platform: str) -> str:
    """A number in E.164 as a platform wants it: Google with its plus, the others digits alone."""
    digits = re.sub(r"\D", "", text)
    return f"+{digits}" if platform == "google" else digits


class AudienceFile:
    """Lists in a folder. A message's `meta` has the audience's name, the platform and the run."""

    name = "audiencefile"
    medium = Medium.AUDIENCE
    batch_size = 1000
    rate: float | None = None
    resend: Literal["safe", "never"] = "never"
    reports: frozenset[EventKind] = frozenset()

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self.folder = folder
        self._clock = clock

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        runs: dict[str, list[Outbound]] = {}
        for outbound in batch:
            to, meta = outbound.to, outbound.meta
            platform = meta.get("platform", "google")
            if not to.get("address") and not to.get("number"):
                yield Receipt(outbound.attempt, "rejected", "", Reason.INVALID_ADDRESS, "nothing to match by")
            elif platform not in PLATFORMS:
                yield Receipt(outbound.attempt, "rejected", "", Reason.CONFIGURATION, "no such platform")
            else:
                job = job_name(meta.get("audience", "audience"), platform, meta.get("run", "run"))
                runs.setdefault(job, []).append(outbound)
        for job, outbounds in runs.items():
            with self._alone():
                self._add(job, outbounds)
            yield from (Receipt(o.attempt, "accepted", f"{job}-{o.attempt}") for o in outbounds)

    def _add(self, job: str, outbounds: Sequence[Outbound]) -> None:
        path = self._runs / f"{job}.csv"
        rows = {row[0]: row for row in _read(path)}
        for outbound in outbounds:
            rows.setdefault(outbound.attempt, [outbound.attempt, *_hashes(outbound)])
        _write(path, _table(rows.values()))

    def finish(self, audience: str, platform: str, run: str) -> Path:
        """Make the job of a run; the same one again is left as it is. Raises Misconfigured."""
        job = job_name(audience, platform, run)
        place = self.folder / job
        with self._alone():
            if (place / f"{job}.ok").exists():
                return place
            now = _pairs(_read(self._runs / f"{job}.csv"))
            before = self._last(audience, platform, job)
            draft = self.folder / f".{job}.part"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            members, removals = _list(platform, now), _list(platform, _gone(before, now))
            _write(draft / "members.csv", members)
            _write(draft / "removals.csv", removals)
            _write(draft / "manifest.json", self._manifest(job, platform, members, removals))
            shutil.rmtree(place, ignore_errors=True)  # one without its .ok: nobody has seen it
            draft.rename(place)
            _write(place / f"{job}.ok", b"")
        return place

    def _last(self, audience: str, platform: str, but: str) -> set[_Pair]:
        """The members of the newest finished job of this list. Runs are named by their time."""
        mine = job_name(audience, platform, "")
        jobs = sorted(p for p in self.folder.glob(f"{mine}*") if p.name != but and (p / f"{p.name}.ok").exists())
        return _pairs([["", *row] for row in _read(jobs[-1] / "members.csv")[1:]]) if jobs else set()

    def _manifest(self, job: str, platform: str, members: bytes, removals: bytes) -> bytes:
        told = {
            "job": job,
            "platform": platform,
            "made": self._clock().astimezone(UTC).isoformat(),
            "hash": "SHA-256, hexadecimal",
            "members": members.count(b"\n") - 1,
            "removals": removals.count(b"\n") - 1,
            "sha256": {
                n: hashlib.sha256(d).hexdigest() for n, d in (("members.csv", members), ("removals.csv", removals))
            },
        }
        return json.dumps(told, indent=2).encode() + b"\n"

    def events(self, inbound: Inbound) -> list[Event]:
        raise Forged("nothing is heard of a list")

    def forget(self, mine: Callable[[str], bool]) -> int:
        """Take these attempts out of every run, and what they were matched by out of every job."""
        if not self.folder.is_dir():
            return 0
        gone: set[str] = set()
        hashes: set[_Pair] = set()
        with self._alone():
            for path in sorted(self._runs.glob("*.csv")):
                rows = _read(path)
                kept = [row for row in rows if not mine(row[0])]
                if len(kept) < len(rows):
                    gone |= {row[0] for row in rows if mine(row[0])}
                    hashes |= _pairs(row for row in rows if mine(row[0]))
                    _write(path, _table(kept))
            for job in sorted(p for p in self.folder.glob("*-*") if p.is_dir() and p.name[0] != "."):
                self._thin(job, {one for pair in hashes for one in pair if one})
        return len(gone)

    def _thin(self, job: Path, hashes: set[str]) -> None:
        changed = False
        for name in ("members.csv", "removals.csv"):
            head, *rows = _read(job / name) or [[]]
            kept = [row for row in rows if not hashes & {*row}]
            if len(kept) < len(rows):
                _write(job / name, _table([head, *kept]))
                changed = True
        if changed:
            platform = str(json.loads((job / "manifest.json").read_bytes())["platform"])
            members, removals = ((job / name).read_bytes() for name in ("members.csv", "removals.csv"))
            _write(job / "manifest.json", self._manifest(job.name, platform, members, removals))

    @property
    def _runs(self) -> Path:
        return self.folder / ".runs"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._runs.mkdir(mode=0o700, exist_ok=True)
            held = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Misconfigured(f"the folder for audiences cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)


def job_name(audience: str, platform: str, run: str) -> str:
    """A job's folder. Raises Misconfigured for names that could be paths."""
    for part in (audience, platform, *([run] if run else [])):
        if not _SAFE.fullmatch(part):
            raise Misconfigured("an audience and its run are named by letters, digits, dashes and underscores")
    return f"{audience}-{platform}-{run}"


def _hashes(outbound: Outbound) -> _Pair:
    platform = outbound.meta.get("platform", "google")
    email, phone = outbound.to.get("address", ""), outbound.to.get("number", "")
    return (
        _sha(address(email, platform)) if email else "",
        _sha(number(phone, platform)) if phone else "",
    )


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pairs(rows: Iterable[Sequence[str]]) -> set[_Pair]:
    return {(row[1], row[2]) for row in rows}


def _gone(before: set[_Pair], now: set[_Pair]) -> set[_Pair]:
    """What was on the list, without whatever is still there: two customers may share an address."""
    there = {one for pair in now for one in pair}
    left = {(e if e not in there else "", p if p not in there else "") for e, p in before}
    return left - {("", "")}


def _list(platform: str, pairs: Iterable[_Pair]) -> bytes:
    return _table([HEADS[platform], *sorted(pairs)])  # by their hashes: the order tells nothing


def _table(rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("ascii")


def _read(path: Path) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(path.read_text(encoding="ascii"), newline="")))
    except FileNotFoundError:
        return []


def _write(path: Path, data: bytes) -> None:
    """Whole and at once, for the owner's eyes only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
