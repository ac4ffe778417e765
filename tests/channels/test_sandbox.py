"""The sandbox: files a person can open, each attempt once, faults and feedback as scripted."""

import csv
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from html import escape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Event, EventKind, Medium, Misconfigured, Outbound, Reason, Skeleton, Unavailable, Uncertain
from channels.sandbox import (
    Act,
    Behaviour,
    Later,
    Sandbox,
    after,
    always,
    bounced,
    browse,
    by_template,
    delayed,
    delivered,
    kept,
    malformed,
    numbered,
    rejected,
    retry,
    share,
    timed_out,
    unavailable,
)
from tests.channels.kit import NOW, outbound, outbounds

MINUTE = timedelta(minutes=1)


def sandbox(
    folder: Path,
    medium: Medium = Medium.EMAIL,
    behaviour: Behaviour | None = None,
    clock: Callable[[], datetime] = lambda: NOW,
) -> Sandbox:
    return Sandbox(medium, folder, behaviour, clock=clock)


def mail(folder: Path, message: Outbound) -> EmailMessage:
    assert [r.status for r in sandbox(folder).send([message])] == ["accepted"]
    (delivery,) = [d for d in kept(folder) if d.attempt == message.attempt]
    parsed = BytesParser(policy=policy.default).parsebytes((folder / delivery.file).read_bytes())
    assert not parsed.defects
    assert isinstance(parsed, EmailMessage)
    return parsed


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


# ---- e-mail ---------------------------------------------------------------------------------------------------------


def test_an_email_opens_in_any_mail_program(tmp_path: Path) -> None:
    headers = {
        "List-Unsubscribe": "<https://example.com/u/v1.k1.abc>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Feedback-ID": "welcome:b2c:marketing:acme",
    }
    found = mail(tmp_path, outbound(Medium.EMAIL, headers=headers, values=("Zoë",)))
    assert found["Subject"] == "Hello Zoë"
    assert found["To"].addresses[0].addr_spec == "anna.0@example.com"
    assert found["To"].addresses[0].display_name == "Anna Müller"
    assert found["From"] == "Acme <hello@example.com>"
    assert found["Date"].datetime == NOW
    assert {name: found[name] for name in headers} == headers
    assert found["X-Attempt"] == "a0"
    assert found.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "text/html"]
    assert body(found, "plain").split() == ["Dear", "Zoë,", "this", "is", "for", "you."]
    assert "<p>Dear Zoë, this is for you.</p>" in body(found, "html")


def test_without_html_it_is_one_part(tmp_path: Path) -> None:
    plain = Skeleton("h", {"subject": ("Hi",), "text": ("Only words.",)}, {"subject": (), "text": ()})
    found = mail(tmp_path, outbound(Medium.EMAIL, skeleton=plain, values=()))
    assert found.get_content_type() == "text/plain"
    assert found.get_content().strip() == "Only words."


def test_lines_longer_than_mail_may_carry_are_encoded(tmp_path: Path) -> None:
    long = "ä" * 5000
    found = mail(tmp_path, outbound(Medium.EMAIL, values=(long,), headers={"Feedback-ID": "x" * 950}))
    assert long in body(found, "html")
    (delivery,) = kept(tmp_path)
    assert max(map(len, (tmp_path / delivery.file).read_bytes().splitlines())) <= 998


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=200)


@given(WORDS)
def test_any_words_come_out_as_they_went_in(tmp_path: Path, words: str) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    found = mail(folder, outbound(Medium.EMAIL, values=(words,)))
    assert f"<p>Dear {words}, this is for you.</p>" in body(found, "html")
    assert str(found["Subject"]).split() == f"Hello {words}".split()


@pytest.mark.parametrize("bad", ["a\r\nBcc: all@example.com", "a\nb", "a\0b", "a\u2028b"])
@pytest.mark.parametrize("where", ["subject", "header", "name", "address", "header name"])
def test_nothing_is_smuggled_into_headers(tmp_path: Path, bad: str, where: str) -> None:
    message = {
        "subject": outbound(Medium.EMAIL, values=(bad,)),
        "header": outbound(Medium.EMAIL, headers={"List-Unsubscribe": bad}),
        "name": outbound(Medium.EMAIL, to={"address": "anna@example.com", "name": bad}),
        "address": outbound(Medium.EMAIL, to={"address": f"anna{bad}@example.com"}),
        "header name": outbound(Medium.EMAIL, headers={bad: "x"}),
    }[where]
    (receipt,) = sandbox(tmp_path).send([message])
    assert receipt.status == "rejected"
    assert receipt.reason in (Reason.CONTENT, Reason.INVALID_ADDRESS)
    assert "example.com" not in receipt.detail
    assert kept(tmp_path) == []


# ---- the other media ------------------------------------------------------------------------------------------------


def test_texts_pushes_and_webhooks(tmp_path: Path) -> None:
    for medium in (Medium.SMS, Medium.PUSH, Medium.WEBHOOK):
        list(sandbox(tmp_path, medium).send([outbound(medium, valid_until=NOW)]))
    assert (tmp_path / "sms/a0.txt").read_text() == "To: +4915100000000\nFrom: Acme\n\nDear Anna,\nthis is for you.\n\n"
    push = json.loads((tmp_path / "push/a0.json").read_text())
    assert push["to"] == {"token": "token-0"} and push["title"] == "For Anna"
    assert push["url"] == "https://example.com/" and push["valid_until"] == "2027-01-13T12:00:00+00:00"
    assert json.loads((tmp_path / "webhook/a0.json").read_text())["to"] == {"name": "crm"}


def test_tasks_are_a_list_for_a_spreadsheet(tmp_path: Path) -> None:
    channel = sandbox(tmp_path, Medium.TASK)
    list(channel.send([outbound(Medium.TASK, 1, meta={"due": "2027-01-15"})]))
    list(channel.send([outbound(Medium.TASK, 2, values=("=HYPERLINK(1)",)), outbound(Medium.TASK, 3)]))
    text = (tmp_path / "task/tasks.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["attempt"] for row in rows] == ["a1", "a2", "a3"]
    assert rows[0]["assignee"] == "Max Manager" and json.loads(rows[0]["details"]) == {"due": "2027-01-15"}
    assert all(field.startswith('"') for field in text.splitlines()[0].split(","))
    assert "due: 2027-01-15" in (tmp_path / "task/a1.txt").read_text()


def test_a_cell_is_never_a_formula(tmp_path: Path) -> None:
    values = ["=1+1", "@SUM(1)", "+cmd", "-cmd", "\tx", "+49 151 0000", "-5", "plain"]
    for number, value in enumerate(values):
        title = Skeleton("h", {"title": ("", ""), "body": ("x",)}, {"title": (0,), "body": ()})
        list(sandbox(tmp_path, Medium.TASK).send([outbound(Medium.TASK, number, skeleton=title, values=(value,))]))
    with (tmp_path / "task/tasks.csv").open(newline="") as file:
        titles = [row["title"] for row in csv.DictReader(file)]
    assert titles == ["'=1+1", "'@SUM(1)", "'+cmd", "'-cmd", "'\tx", "+49 151 0000", "-5", "plain"]


def test_a_print_house_can_take_the_job(tmp_path: Path) -> None:
    batch = outbounds(Medium.MAIL, 3)
    batch[0] = outbound(Medium.MAIL, 0, to={**batch[0].to, "country": "AT", "name": 'O"Neil, Ana', "email": "a@b.c"})
    batch[1] = outbound(Medium.MAIL, 1, meta={"drop": "2027-01-20"})
    assert [r.status for r in sandbox(tmp_path, Medium.MAIL).send(batch)] == ["accepted"] * 3
    (job,) = [path for path in (tmp_path / "mail").iterdir() if not path.name.startswith(".")]
    assert {path.name for path in job.iterdir()} == {
        f"{job.name}_records.csv", f"{job.name}_manifest.json", f"{job.name}.ok", "letters",
    }  # fmt: skip
    text = (job / f"{job.name}_records.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["piece_id"] for row in rows] == ["a0", "a1", "a2"]  # Austria before Germany
    assert rows[0]["name"] == 'O"Neil, Ana' and rows[1]["postcode"] == "00538" and rows[1]["drop"] == "2027-01-20"
    assert "@" not in text and '"00538"' in text
    assert "<p>Dear Anna" in (job / rows[0]["letter"]).read_text()
    manifest = json.loads((job / f"{job.name}_manifest.json").read_text())
    assert manifest["rows"] == 3 and manifest["by_country"] == {"AT": 1, "DE": 2}
    assert manifest["by_template"] == {"welcome": 3} and manifest["widths"]["name"] == 11
    for file, digest in manifest["sha256"].items():
        assert hashlib.sha256((job / file).read_bytes()).hexdigest() == digest
    assert len(manifest["sha256"]) == 4
    assert (job / f"{job.name}.ok").read_bytes() == b""


def test_the_same_letters_make_the_same_job(tmp_path: Path) -> None:
    for place in ("one", "two"):
        batch = outbounds(Medium.MAIL, 5)
        list(sandbox(tmp_path / place, Medium.MAIL).send(batch if place == "one" else batch[::-1]))
    files = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one/mail").rglob("*") if p.is_file()}
    again = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two/mail").rglob("*") if p.is_file()}
    assert files == again and len(files) == 5 + 5 + 3


def test_half_a_job_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("channels.sandbox.files._sync", full)
    with pytest.raises(Uncertain, match="No space left"):
        list(sandbox(tmp_path, Medium.MAIL).send(outbounds(Medium.MAIL, 3)))
    assert list((tmp_path / "mail").glob("letters-*")) == []
    assert kept(tmp_path) == []


@pytest.mark.parametrize("lacking", [{"name": "", "company": ""}, {"country": ""}, {"street": "a\nb"}])
def test_a_letter_needs_an_address(tmp_path: Path, lacking: dict[str, str]) -> None:
    bad = outbound(Medium.MAIL, 1, to={**outbound(Medium.MAIL).to, **lacking})
    receipts = list(sandbox(tmp_path, Medium.MAIL).send([outbound(Medium.MAIL, 0), bad]))
    assert {r.attempt: r.reason for r in receipts} == {"a0": None, "a1": Reason.INVALID_ADDRESS}
    assert [d.attempt for d in kept(tmp_path)] == ["a0"]


# ---- the index ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("medium", list(Medium))
def test_one_line_a_delivery(tmp_path: Path, medium: Medium) -> None:
    list(sandbox(tmp_path, medium).send(outbounds(medium, 3)))
    lines = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert [line["attempt"] for line in lines] == ["a0", "a1", "a2"]
    for line in lines:
        assert (line["medium"], line["template"], line["locale"]) == (medium.value, "welcome", "de")
        assert line["at"] == "2027-01-13T12:00:00+00:00"
        assert hashlib.sha256((tmp_path / line["file"]).read_bytes()).hexdigest() == line["sha256"]
    assert "Anna" not in (tmp_path / "index.jsonl").read_text()


@pytest.mark.parametrize("medium", list(Medium))
def test_the_same_attempt_twice_is_seen(tmp_path: Path, medium: Medium) -> None:
    list(sandbox(tmp_path, medium).send(outbounds(medium, 3)))
    again = list(sandbox(tmp_path, medium).send(outbounds(medium, 2, 2)))
    assert [(r.attempt, r.status) for r in again] == [("a2", "rejected"), ("a3", "accepted")]
    assert again[0].detail == "this attempt was handed over before"
    assert [d.attempt for d in kept(tmp_path) if d.duplicate] == ["a2"]
    assert len(kept(tmp_path)) == 5
    (copy,) = [d for d in kept(tmp_path) if d.duplicate]
    assert (tmp_path / copy.file).exists()


def test_twice_in_one_batch(tmp_path: Path) -> None:
    one = outbound(Medium.SMS)
    assert [r.status for r in sandbox(tmp_path, Medium.SMS).send([one, one])] == ["accepted", "rejected"]


@pytest.mark.parametrize("attempt", ["../../up", "/root", ".", "..", "a b", "ä/ö", "a~2", "%2e", "x" * 180])
def test_an_attempt_is_never_a_path(tmp_path: Path, attempt: str) -> None:
    for medium in Medium:
        list(sandbox(tmp_path / "in", medium).send([outbound(medium, attempt=attempt)]))
    assert [d.attempt for d in kept(tmp_path / "in")] == [attempt] * len(Medium)
    assert not any(d.duplicate for d in kept(tmp_path / "in"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    (tmp_path / "in/index.jsonl").unlink()
    assert {d.attempt for d in kept(tmp_path / "in")} == {attempt}


@pytest.mark.parametrize("attempt", ["", "x" * 181])
def test_an_attempt_that_cannot_name_a_file_is_refused_alone(tmp_path: Path, attempt: str) -> None:
    batch = [outbound(Medium.EMAIL, 0), outbound(Medium.EMAIL, attempt=attempt), outbound(Medium.EMAIL, 1)]
    assert [r.status for r in sandbox(tmp_path).send(batch)] == ["accepted", "rejected", "accepted"]


def test_half_a_line_of_a_killed_writer_hides_nothing(tmp_path: Path) -> None:
    list(sandbox(tmp_path).send(outbounds(Medium.EMAIL, 2)))
    with (tmp_path / "index.jsonl").open("ab") as index:
        index.write(b'{"attempt": "a7", "medi')
    list(sandbox(tmp_path).send(outbounds(Medium.EMAIL, 1, 2)))
    (tmp_path / "email/a9.eml").write_bytes(b"Subject: written, never indexed\r\n\r\n")
    assert [d.attempt for d in kept(tmp_path)] == ["a0", "a1", "a2", "a9"]
    assert kept(tmp_path)[-1].at == ""


def test_for_the_owner_only(tmp_path: Path) -> None:
    root = tmp_path / "outbox"
    for medium in Medium:
        list(sandbox(root, medium).send([outbound(medium)]))
    browse(root)
    for path in root.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Misconfigured, match="give it one it may write to"):
        list(sandbox(tmp_path / "file").send([outbound(Medium.EMAIL)]))


# ---- scripts --------------------------------------------------------------------------------------------------------


def test_faults_of_single_messages(tmp_path: Path) -> None:
    acts = {1: rejected(), 2: retry(20), 3: malformed(), 4: Act("uncertain")}
    receipts = list(sandbox(tmp_path, behaviour=numbered(acts)).send(outbounds(Medium.EMAIL, 6)))
    assert [(r.attempt, r.status) for r in receipts] == [
        ("a0", "accepted"), ("a1", "rejected"), ("a2", "retry"), ("a4", "uncertain"), ("a5", "accepted"),
    ]  # fmt: skip
    assert receipts[1].reason is Reason.INVALID_ADDRESS and receipts[2].retry_after == 20
    assert [d.attempt for d in kept(tmp_path)] == ["a0", "a3", "a4", "a5"]


@pytest.mark.parametrize(("taken", "expected"), [(True, ["a0", "a1", "a2"]), (False, ["a0", "a1"])])
def test_no_answer_in_time(tmp_path: Path, taken: bool, expected: list[str]) -> None:
    channel = sandbox(tmp_path, behaviour=after(2, timed_out(taken)))
    sending = channel.send(outbounds(Medium.EMAIL, 5))
    assert [next(sending).attempt, next(sending).attempt] == ["a0", "a1"]
    with pytest.raises(Uncertain):
        next(sending)
    assert [d.attempt for d in kept(tmp_path)] == expected


def test_away(tmp_path: Path) -> None:
    channel = sandbox(tmp_path, behaviour=after(0, unavailable(15)))
    with pytest.raises(Unavailable) as raised:
        list(channel.send(outbounds(Medium.EMAIL, 5)))
    assert raised.value.retry_after == 15
    assert kept(tmp_path) == []


def test_by_template_and_by_share(tmp_path: Path) -> None:
    batch = [outbound(Medium.SMS, 0), outbound(Medium.SMS, 1, template="other")]
    receipts = list(sandbox(tmp_path, Medium.SMS, by_template({"other": rejected()})).send(batch))
    assert [r.status for r in receipts] == ["accepted", "rejected"]
    half, number = share(0.5, rejected()), 400
    first = [half(o, 0).receipt for o in outbounds(Medium.SMS, number)]
    assert first == [half(o, 9).receipt for o in outbounds(Medium.SMS, number)]
    assert 0.4 < first.count("rejected") / number < 0.6


CRASH = """
import sys
from channels.base import Medium
from channels.sandbox import Sandbox, after, crashed
from tests.channels.kit import NOW, outbounds
channel = Sandbox(Medium.SMS, sys.argv[1], after(3, crashed(sys.argv[2], sys.argv[3] == "True")), clock=lambda: NOW)
for receipt in channel.send(outbounds(Medium.SMS, 6)):
    print(receipt.attempt, flush=True)
"""


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize(("how", "code"), [("kill", -signal.SIGKILL), ("exit", 70)])
def test_death_between_hand_over_and_receipt(tmp_path: Path, how: str, code: int, taken: bool) -> None:
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path), how, str(taken)],
        capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == code, run.stderr
    assert run.stdout.split() == ["a0", "a1", "a2"]
    assert [d.attempt for d in kept(tmp_path)] == ["a0", "a1", "a2", "a3"][: 4 if taken else 3]


# ---- feedback -------------------------------------------------------------------------------------------------------


def test_feedback_comes_when_it_is_due_and_once(tmp_path: Path) -> None:
    now = [NOW]
    click = Later(EventKind.CLICKED, 5 * MINUTE, "https://example.com/offer")
    acts = {0: delivered(MINUTE, click), 1: bounced(2 * MINUTE), 2: delayed(10 * MINUTE)}
    channel = sandbox(tmp_path, behaviour=numbered(acts), clock=lambda: now[0])
    list(channel.send(outbounds(Medium.EMAIL, 4)))

    def heard() -> list[tuple[str, EventKind]]:
        return [(e.attempt, e.kind) for i in channel.feedback() for e in channel.events(i)]

    assert heard() == [("a2", EventKind.DEFERRED)]
    assert heard() == []
    now[0] = NOW + 5 * MINUTE
    assert heard() == [("a0", EventKind.DELIVERED), ("a1", EventKind.BOUNCED), ("a0", EventKind.CLICKED)]
    (late,) = channel.feedback(NOW + timedelta(days=1))
    assert channel.events(late) == [Event("a2", EventKind.DELIVERED, NOW + 10 * MINUTE, "sandbox-a2")]


def test_a_story_may_say_itself_what_came_back(tmp_path: Path) -> None:
    channel = sandbox(tmp_path)
    story = [
        Event("a1", EventKind.OPENED, NOW, detail="Apple Mail"),
        Event("a1", EventKind.CLICKED, NOW + MINUTE, "sandbox-a1", None, "https://example.com/?q=ü"),
        Event("a2", EventKind.BOUNCED, NOW, "", Reason.UNKNOWN_ADDRESS),
    ]
    assert channel.events(channel.inbound(story)) == story


def test_what_was_refused_reports_nothing(tmp_path: Path) -> None:
    one = outbound(Medium.EMAIL)
    channel = sandbox(tmp_path, behaviour=always(delivered()))
    list(channel.send([one, one]))
    (inbound,) = channel.feedback(NOW + MINUTE)
    assert len(channel.events(inbound)) == 1


# ---- the page -------------------------------------------------------------------------------------------------------


def test_a_person_can_browse(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    for medium in Medium:
        list(sandbox(tmp_path, medium).send([outbound(medium, 0, values=(nasty,)), outbound(medium, 1)]))
    list(sandbox(tmp_path, Medium.SMS).send([outbound(Medium.SMS, 1)]))
    page = browse(tmp_path)
    assert page == tmp_path / "index.html"
    text = page.read_text()
    assert "prefers-color-scheme" in text and 'name="viewport"' in text
    assert f"All {2 * len(Medium) + 1}" in text and "1 handed over twice" in text
    links = [part.split('"')[0] for part in text.split('href="')[1:]]
    assert len(links) == 2 * len(Medium) + 1
    for path in [page, *(tmp_path / link for link in links)]:
        shown = path.read_text()
        assert "<script" not in shown
        assert "default-src 'none'" in shown
        for link in (part.split('"')[0] for part in shown.split('href="')[1:]):
            assert (path.parent / link).exists(), link


def test_a_task_shows_what_is_to_be_done(tmp_path: Path) -> None:
    about = {"due": "2027-01-15", "account": "Velora GmbH"}
    list(sandbox(tmp_path, Medium.TASK).send([outbound(Medium.TASK, 1, meta=about)]))
    file = next((tmp_path / "task").glob("*.txt"))
    title = file.read_text().split("\n")[1]
    done = escape(" ".join(file.read_text().partition("\n\n")[2].split()))
    shown = browse(tmp_path).read_text()
    assert f"<strong>{escape(title)}: {escape(' '.join(done.split()))} (due: 2027-01-15)</strong>" in shown
    assert "account: Velora GmbH" in next((tmp_path / "pages").glob("*.html")).read_text()


def test_devices_of_one_push_are_told_apart(tmp_path: Path) -> None:
    one = outbound(Medium.PUSH, 1)
    list(sandbox(tmp_path, Medium.PUSH).send([replace(one, attempt=f"m7a1d{n}") for n in (1, 2)]))
    shown = browse(tmp_path).read_text()
    assert "A push to several devices lies here once for each" in shown and "device 2" in shown
    assert "handed over twice" not in shown


def test_the_page_lists_the_newest(tmp_path: Path) -> None:
    list(sandbox(tmp_path, Medium.SMS).send(outbounds(Medium.SMS, 30)))
    text = browse(tmp_path, newest=10).read_text()
    assert text.count("<li ") == 10 and "newest 10 of 30" in text
    assert "There are no messages yet" in browse(tmp_path / "empty").read_text()
