"""Files and invitations that go with an e-mail: from the workspace's folder to the message."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from icalendar import Calendar as _Calendar

import orchestrator.apply
from channels.base import Medium
from orchestrator.problems import ProjectError
from orchestrator.project import load_files, read_files
from tests.channels.kits.smtp import smtp
from tests.outgoing import World, files, journey, world_of
from tests.templates.declared import email, load
from tests.vendors.relay import Relay

Calendar: Any = _Calendar
PDF = b"%PDF-1.7\n\x00\xff\xfe"
PACKED = base64.b64encode(PDF).decode()
INVITED = (
    "invitation: { title: 'Evening; for you, all', starts: 2027-06-12 18:00, ends: 2027-06-12 22:00, place: Bonn }"
)


def told(head: str, **more: str) -> list[tuple[str, str, str]]:
    made = email("<mj-text>Hi</mj-text>", head=f"topic: offers\nsubject: Hi\n{head}\n")
    templates, problems = load({**made, **{f"attachments/{name}": text for name, text in more.items()}})
    assert bool(templates) is not bool(problems.errors)
    return [(p.code, str(p.span), p.hint) for p in problems.found]


def the_attachments(head: str, **more: str) -> Any:
    made = email("<mj-text>Hi</mj-text>", head=f"topic: offers\nsubject: Hi\n{head}\n")
    templates, problems = load({**made, **{f"attachments/{name}": text for name, text in more.items()}})
    assert not problems.found
    return next(iter(templates)).attachments_for(None)


def test_a_file_goes_as_it_is():
    (found,) = the_attachments("attachments: [prices.pdf]", **{"prices.pdf": PACKED})
    assert (found.name, found.type, found.content) == ("prices.pdf", "application/pdf", PDF)


def test_an_invitation_is_in_the_workspaces_time():
    (found,) = the_attachments(INVITED)
    assert found.type == "text/calendar; method=PUBLISH"
    assert b"\r\n" in found.content and max(map(len, found.content.split(b"\r\n"))) <= 75
    event: Any
    (event,) = Calendar.from_ical(found.content).walk("VEVENT")
    assert str(event["summary"]) == "Evening; for you, all"
    assert event["dtstart"].dt.isoformat() == "2027-06-12T16:00:00+00:00"  # Berlin
    assert event["dtend"].dt.isoformat() == "2027-06-12T20:00:00+00:00"
    assert the_attachments(INVITED)[0].content == found.content, "the same words are the same entry"
    other = the_attachments(INVITED.replace("18:00", "18:00 America/New_York").replace("22:00", "23:30 Europe/London"))
    (event,) = Calendar.from_ical(other[0].content).walk("VEVENT")
    assert event["dtstart"].dt.isoformat() == "2027-06-12T22:00:00+00:00"


@pytest.mark.parametrize(
    ("head", "code", "hint"),
    [
        ("attachments: [price.pdf]", "no-such-file", "did you mean `prices.pdf`?"),
        ("attachments: [../../etc/passwd]", "no-such-file", "one of: "),
        ("attachments: [{a: b}]", "no-such-file", "one of: "),
        ("attachments: [run.exe]", "bad-attachment", "send a PDF, or a link to a page"),
        ("attachments: [huge.pdf]", "bad-attachment", "at most 5 MB: link to a page instead"),
        ("attachments: prices.pdf", "bad-value", ""),
        ("invitation: tomorrow", "bad-value", "write `invitation: { title: …, starts: 2027-06-12 18:00, "),
        ("invitation: { title: A, starts: 2027-06-12 18:00 }", "missing-key", "add `ends: …`"),
        (INVITED.replace("22:00", "17:00"), "bad-value", "exchange the two"),
        (INVITED.replace("2027-06-12 18:00", "on Friday"), "bad-value", "write `2027-06-12 18:00`, with a zone"),
        (INVITED.replace("18:00", "18:00 Europe/Bonn"), "unknown-zone", "such as `Europe/Berlin`"),
        (INVITED.replace("Bonn", "'{{ customer.city }}'"), "bad-value", "an invitation is the same for everybody"),
        (INVITED.replace("place", "palce"), "unknown-key", "did you mean `place`?"),
    ],
)
def test_what_is_wrong_is_told_once_with_its_place(head, code, hint):
    more = {"prices.pdf": PACKED, "run.exe": PACKED, "huge.pdf": base64.b64encode(bytes(5_000_001)).decode()}
    ((found, place, said),) = told(head, **more)
    assert found == code and said.startswith(hint)
    assert place.startswith("templates/email/") and ":4:" in place


def with_files(text: str) -> str:
    return text.replace("---\n", f"---\nattachments: [prices.pdf]\n{INVITED}\n", 1)


def test_a_folder_is_read_with_its_files(tmp_path):
    texts = files({"hello": journey("hello", "- email: hello")})
    texts["templates/email/hello.mjml"] = with_files(texts["templates/email/hello.mjml"])
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "templates/attachments").mkdir()
    (tmp_path / "templates/attachments/prices.pdf").write_bytes(PDF)
    read = read_files(tmp_path)
    assert read["templates/attachments/prices.pdf"] == PACKED
    template = load_files(read).templates.get(Medium.EMAIL, "hello")
    assert template is not None and [a.name for a in template.attachments_for("de")] == ["prices.pdf", "invitation.ics"]
    changed = {**read, "templates/attachments/prices.pdf": base64.b64encode(b"other").decode()}
    again = load_files(changed).templates.get(Medium.EMAIL, "hello")
    assert again is not None and again.hash != template.hash, "other bytes are another text, for plan and the log"
    (tmp_path / "templates/attachments/huge.pdf").write_bytes(bytes(5_000_001))
    with pytest.raises(ProjectError) as refused:
        read_files(tmp_path)
    assert [(p.code, p.span.file) for p in refused.value.problems] == [
        ("bad-attachment", "templates/attachments/huge.pdf")
    ]


def test_through_the_database_and_a_relay(database_url, tmp_path):
    """The workspace comes back from the database, and the message goes over a real line."""
    with contextlib.closing(world_of(database_url).store) as store, Relay() as relay:
        world = World(store, tmp_path)
        world.channels[Medium.EMAIL] = smtp(relay.port)  # type: ignore[assignment]
        texts = files({"hello": journey("hello", "- email: hello")})
        texts["templates/email/hello.mjml"] = with_files(texts["templates/email/hello.mjml"])
        texts["journeys/workspace.yaml"] = texts["journeys/workspace.yaml"].replace(
            "sender: { name", "sender: { email: hello@example.com, name"
        )
        world.apply({**texts, "templates/attachments/prices.pdf": PACKED})
        orchestrator.apply._projects.clear()
        world.event(world.people(3))
        assert world.tick()["sent"] == 3
        assert world.states() == {"sent": 3}
        assert len({m.provider_id for m in world.messages()}) == 3
        for _, message in relay.taken:
            found = {part.get_filename(): part.get_content() for part in message.iter_attachments()}
            assert found["prices.pdf"] == PDF
            assert "SUMMARY:Evening\\; for you\\, all" in found["invitation.ics"]
            assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
