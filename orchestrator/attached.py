"""Files that go with an e-mail: those that lie under templates/attachments/, and an invitation for the calendar.

Both stand in the front matter, and are the same for everybody who gets the text in one language:

    attachments: [price-list.pdf]
    invitation: { title: Summer evening, starts: 2027-06-12 18:00, ends: 2027-06-12 22:00, place: "At the shop" }
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from collections.abc import Mapping
from datetime import UTC, datetime

from channels.base import Attachment
from orchestrator import source, words
from orchestrator.problems import Problems, suggest
from orchestrator.zones import instant, zone

FOLDER = "templates/attachments/"
MOST = 5_000_000
"""Bytes that the files of one text may have together: relays refuse more than some 10 MB, and base64 adds a third."""
INVITATION = ("title", "starts", "ends", "place", "text")
_NEEDED = ("title", "starts", "ends")
# Formats that run something when they are opened: mail programs throw the whole message away for them.
_RUN = "exe com bat cmd scr js jse vbs vbe wsf msi dll jar ps1 lnk hta iso img html htm svg"
_REFUSED = frozenset(f".{ending}" for ending in _RUN.split())


def packed(content: bytes) -> str:
    """A file's bytes as the text that a project keeps of it."""
    return base64.b64encode(content).decode("ascii")


def attachments(
    node: source.Node, texts: Mapping[str, str], problems: Problems
) -> tuple[tuple[Attachment, ...], tuple[str, ...]]:
    """What the list of file names stands for, and the paths. `texts`: the project's files, `packed`."""
    found: list[Attachment] = []
    paths: list[str] = []
    known = sorted(path.removeprefix(FOLDER) for path in texts if path.startswith(FOLDER))
    for item in node.items:
        name = item.text if item.kind == "scalar" else ""
        path = FOLDER + name
        suffix = "." + name.rpartition(".")[2].lower()
        if path not in texts:
            message = f"there is no file `{name}` in {FOLDER}" if name else "an attachment is the name of a file"
            problems.error("no-such-file", message, item.span, suggest(name, known) or f"put the file into {FOLDER}")
            continue
        if suffix in _REFUSED:
            message = f"mail programs refuse files that end in `{suffix}`"
            problems.error("bad-attachment", message, item.span, "send a PDF, or a link to a page")
            continue
        try:
            content = base64.b64decode(texts[path], validate=True)
        except binascii.Error:
            content = b""
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        found.append(Attachment(name.rpartition("/")[2], kind, content))
        paths.append(path)
    size = sum(len(a.content) for a in found)
    if size > MOST:
        message = f"these files have {size / 1e6:.1f} MB together, and relays refuse large e-mails"
        problems.error("bad-attachment", message, node.span, f"at most {MOST / 1e6:.0f} MB: link to a page instead")
    return tuple(found), tuple(paths)


def invitation(node: source.Node, timezone: str, sender: Mapping[str, str], problems: Problems) -> Attachment | None:
    """An .ics file (RFC 5545, METHOD:PUBLISH: to be put into a calendar, with nobody to answer to); None when wrong."""
    before = len(problems.errors)
    if node.kind != "map":
        hint = "write `invitation: { title: …, starts: 2027-06-12 18:00, ends: 2027-06-12 22:00 }`"
        problems.error("bad-value", "`invitation` takes a title, a beginning and an end", node.span, hint)
        return None
    for entry in node.entries:
        if entry.key not in INVITATION:
            message = f"`{entry.key}` is not a part of an invitation"
            problems.error("unknown-key", message, entry.key_span, suggest(entry.key, INVITATION))
        elif "{{" in entry.value.text or "{%" in entry.value.text:
            hint = "an invitation is the same for everybody: write the words out"
            problems.error("bad-value", "an invitation has no placeholders", entry.value.span, hint)
    for key in _NEEDED:
        given = node.get(key)
        if given is None or given.kind != "scalar" or not given.text.strip():
            problems.error("missing-key", f"an invitation needs `{key}`", node.span, f"add `{key}: …`")
    if len(problems.errors) > before:
        return None
    starts, ends = (_instant(node, key, timezone, problems) for key in ("starts", "ends"))
    if starts is None or ends is None:
        return None
    if ends <= starts:
        given = node.get("ends") or node
        problems.error("bad-value", "this invitation ends before it begins", given.span, "exchange the two")
        return None
    return Attachment("invitation.ics", "text/calendar; method=PUBLISH", _calendar(node, starts, ends, sender))


def _instant(node: source.Node, key: str, timezone: str, problems: Problems) -> datetime | None:
    given = node.get(key)
    assert given is not None
    said = words.stamp(given.text)
    if said is None or said.zone == "recipient":
        hint = "write `2027-06-12 18:00`, with a zone's name behind it where it is not the workspace's"
        problems.error("bad-value", f"`{key}` is not a day and a time", given.span, hint)
        return None
    named = zone(said.zone or timezone)
    if named is None:
        problems.error("unknown-zone", f"there is no time zone `{said.zone}`", given.span, "such as `Europe/Berlin`")
        return None
    return instant(said.wall.date(), said.wall.time(), named)


def _calendar(node: source.Node, starts: datetime, ends: datetime, sender: Mapping[str, str]) -> bytes:
    written = {key: given.text.strip() for key in INVITATION if (given := node.get(key)) is not None}
    from icalendar import Calendar, Event, vText  # a tenth of a second, and few texts invite

    made = Calendar()
    made.add("prodid", "-//campaign-orchestrator//EN")
    made.add("version", "2.0")
    made.add("method", "PUBLISH")
    event = Event()
    # The same words are the same event: a second mailing moves nothing in anybody's calendar.
    event.add("uid", source.digest(*(f"{key}={text}" for key, text in written.items()))[:32])
    event.add("dtstamp", starts.astimezone(UTC))
    event.add("dtstart", starts.astimezone(UTC))
    event.add("dtend", ends.astimezone(UTC))
    event.add("summary", vText(written["title"]))
    if written.get("place"):
        event.add("location", vText(written["place"]))
    if written.get("text"):
        event.add("description", vText(written["text"]))
    if sender.get("email"):
        event.add("organizer", f"mailto:{sender['email']}")
    made.add_component(event)
    return bytes(made.to_ical())
