"""Jobs for a print house: files, addresses, cut-offs, the page, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from channels.base import Collects, Handed, Keeps, Medium, Misconfigured, Outbound, Posts, Reason, Skeleton, Traces
from channels.letterfile import Letterfile
from channels.letterfile.content import of_html, of_text
from channels.letterfile.cutoff import closed, closes
from channels.letterfile.layout import Unfit, laid_out
from channels.letterfile.options import Options
from tests.channels.kit import NOW, outbound, outbounds
from tests.channels.kits.letterfile import letterfile

BERLIN = ZoneInfo("Europe/Berlin")
OURS = Options(zone=BERLIN, country="DE", language="de")
PAGE = Skeleton(
    "page",
    {
        "html": (
            '<html><head><title>For you</title><style>p { color: red }</style></head><body><div class="brand">'
            '<span aria-hidden="true">A</span>Acme</div><div class="window"><small>Acme GmbH · Berlin</small>Somebody'
            '</div><div class="day">13 January</div><h1>Hello ',
            "</h1><p>Dear <b>",
            '</b>,<br>thanks.</p><ul><li>one</li><li>two</li></ul><p><a class="qr" href="https://acme.example/q?x=1">'
            'Scan</a></p><div class="foot">Acme GmbH</div></body></html>',
        )
    },
    {"html": (0, 1)},
)


def letter(number: int, name: str = "Anna Müller", **changes: Any) -> Outbound:
    to = {"name": name, "street": f"Weg {number}", "city": "Bonn", "postcode": "53111", "country": "DE"}
    values = (name.partition(" ")[0], name)
    return outbound(Medium.MAIL, number, **{"to": to, "skeleton": PAGE, "values": values, **changes})


def job_of(folder: Path) -> Path:
    (found,) = [p for p in (folder / "letters").iterdir() if p.is_dir() and p.name[0] != "." and p.name != "returns"]
    return found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def text_of(path: Path) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(path).pages)


def test_it_collects_posts_traces_and_forgets(tmp_path: Path) -> None:
    channel = letterfile(tmp_path)
    assert all(isinstance(channel, kind) for kind in (Collects, Posts, Traces, Keeps))


# ---- the job --------------------------------------------------------------------------------------------------------


def test_the_manifest_says_what_the_files_are(tmp_path: Path) -> None:
    channel = letterfile(tmp_path, print="pdf", proofs=True, contact="print@acme.example")
    batch = [letter(n) for n in range(3)] + [letter(9, "Bob Jones", locale="en")]
    assert [r.provider_id for r in channel.send(batch)] == [f"{job_of(tmp_path).name}/a{n}" for n in (0, 1, 2, 9)]
    job = job_of(tmp_path)
    manifest = json.loads((job / f"{job.name}_manifest.json").read_text())
    files = {p.relative_to(job).as_posix() for p in job.rglob("*") if p.is_file()}
    assert files == manifest["sha256"].keys() | {f"{job.name}_manifest.json", f"{job.name}.ok"}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((job / name).read_bytes()).hexdigest() == digest
    assert (manifest["rows"], manifest["by_country"], manifest["created"]) == (
        4,
        {"DE": 4},
        "2027-01-12T13:00:00+00:00",
    )
    assert manifest["by_template"] == {"welcome de page": 3, "welcome en page": 1}
    assert [p.stat().st_mode & 0o077 for p in job.rglob("*")] == [0] * len(list(job.rglob("*"))), "for the owner only"
    assert len(list((job / f"{job.name}_proofs").iterdir())) == 6
    assert not any("Anna" in text_of(p) or "Weg" in text_of(p) for p in (job / f"{job.name}_proofs").iterdir())


def test_a_folder_of_the_house_is_readable_for_its_group_and_nobody_else(tmp_path: Path) -> None:
    place = tmp_path / "house"
    place.mkdir()
    channel = letterfile(tmp_path / "own", **{"folder": str(place)})
    list(channel.send(outbounds(Medium.MAIL, 2)))
    modes = {(p.is_dir(), p.stat().st_mode & 0o777) for p in place.rglob("*")}
    assert modes == {(True, 0o770), (False, 0o640)}


def test_records_are_in_postal_order_quoted_and_hold_no_other_address(tmp_path: Path) -> None:
    to = {"name": "Anna", "email": "a@example.com", "phone": "+49301234", "tier": "gold"}
    batch = [letter(n, to={**letter(n).to, **to, "postcode": f"5311{9 - n}"}) for n in range(5)]
    list(letterfile(tmp_path).send(batch))
    job = job_of(tmp_path)
    raw = (job / f"{job.name}_records.csv").read_bytes()
    assert b"example.com" not in raw and b"4930" not in raw and b"gold" not in raw and b"\r" not in raw
    assert all(line.startswith('"') and line.endswith('"') for line in raw.decode().splitlines())
    rows = table(job / f"{job.name}_records.csv")
    assert [row["postcode"] for row in rows] == sorted(row["postcode"] for row in rows)
    assert {row["country_name"] for row in rows} == {"Deutschland"}
    assert rows[0]["var_1"] == "Anna" and rows[0]["template_version"] == "page"
    assert (job / f"{job.name}_templates" / "welcome.de.page.html").read_text().count("[[var_") == 2


def test_the_same_letters_are_the_same_bytes(tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        list(letterfile(folder, print="pdf", proofs=True, newline="CRLF").send([letter(n) for n in range(3)]))
        return {p.name: p.read_bytes() for p in job_of(folder).rglob("*") if p.is_file()}

    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_household_is_known_by_its_surname_and_address_and_by_nobody_without_the_key(tmp_path: Path) -> None:
    channel = letterfile(tmp_path)
    same = {"street": "Weg 1", "city": "Bonn", "postcode": "53111", "country": "DE"}
    names = ["Anna Müller", "Bob MULLER", "Bob Jones"]
    list(channel.send([letter(n, to={"name": name, **same}) for n, name in enumerate(names)]))
    rows = {row["piece_id"]: row["household_id"] for row in table(next(job_of(tmp_path).glob("*_records.csv")))}
    assert rows["a0"] == rows["a1"] != rows["a2"]


def test_seeds_are_in_the_records_and_flagged_only_with_us(tmp_path: Path) -> None:
    seed = {"name": "Max Seed", "street": "Kontrollweg 1", "city": "Bonn", "postcode": "53111", "country": "DE"}
    channel = letterfile(tmp_path, seeds=[seed])
    list(channel.send([letter(0, "Anna Müller"), letter(1, "Bob Jones", template="other")]))
    rows = table(next(job_of(tmp_path).glob("*_records.csv")))
    own = [row for row in rows if row["name"] == "Max Seed"]
    assert sorted(row["template"] for row in own) == ["other", "welcome"]
    assert not any("Anna" in row[f"var_{n}"] or "Bob" in row[f"var_{n}"] for row in own for n in (1, 2))
    raw = next(job_of(tmp_path).glob("*_records.csv")).read_text()
    assert "seed" not in raw.replace("Max Seed", "").replace("max seed", "").lower()
    assert sorted(channel._ledger.all()[0].seeds) == sorted(row["piece_id"] for row in own)
    receipt = json.dumps({"job": channel.jobs()[0].id, "accepted": 4}).encode()
    assert sorted(e.attempt for e in channel.events(channel.inbound("r.json", receipt))) == ["a0", "a1"]


def test_handed_over_twice_is_dropped_once(tmp_path: Path) -> None:
    channel = letterfile(tmp_path)
    batch = outbounds(Medium.MAIL, 3)
    first = list(channel.send(batch))
    assert list(channel.send(batch)) == first
    other = [replace(batch[0], values=("Other words",)), *batch[1:]]
    assert [r.status for r in channel.send(other)] == ["uncertain", "accepted", "accepted"]
    assert len(channel.jobs()) == 1 and channel.jobs()[0].notes == ("was handed over again with other words",)
    job_of(tmp_path)


def test_what_was_left_out_is_counted_and_nobody_is_named(tmp_path: Path) -> None:
    channel = letterfile(tmp_path)
    channel.left_out({"no_consent": 2, "suppressed": 1})
    list(channel.send(outbounds(Medium.MAIL, 1)))
    assert table(next(job_of(tmp_path).glob("*_suppressed.csv"))) == [
        {"reason": "no_consent", "pieces": "2"},
        {"reason": "suppressed", "pieces": "1"},
    ]


def test_a_letter_that_cannot_be_set_leaves_the_others(tmp_path: Path) -> None:
    channel = letterfile(tmp_path, print="pdf")
    batch = [letter(0), letter(1, "山田 太郎"), letter(2, "Ελένη Παπαδοπούλου"), letter(3, "محمد علي")]
    receipts = {r.attempt: r for r in channel.send(batch)}
    assert [receipts[f"a{n}"].status for n in range(4)] == ["accepted", "rejected", "accepted", "accepted"]
    assert (receipts["a1"].reason, "U+5C71" in receipts["a1"].detail) == (Reason.CONTENT, True)
    assert len(table(next(job_of(tmp_path).glob("*_records.csv")))) == 3
    assert channel.jobs()[0].refused == {receipts["a1"].detail: 1}


def test_a_job_of_nothing_is_none(tmp_path: Path) -> None:
    channel = letterfile(tmp_path, print="pdf")
    assert [r.status for r in channel.send([letter(1, "山田 太郎")])] == ["rejected"]
    assert not channel.jobs() and not list((tmp_path / "letters").iterdir())


def test_who_is_erased_is_in_no_job_any_more(tmp_path: Path) -> None:
    channel = letterfile(tmp_path, print="pdf", proofs=True)
    list(channel.send([letter(0, "Anna Müller"), letter(1, "Ghislaine Vergessen")]))
    returns = tmp_path / "letters" / "returns"
    returns.mkdir()
    (returns / "a.csv").write_text("piece_id,reason,date,new_address\na1,moved,2027-01-13,Neuhaus 7\n")
    for inbound in list(channel.left()):
        channel.taken(inbound)
    assert channel.forget(lambda attempt: attempt == "a1") == 1
    left = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert not any(b"Ghislaine" in data or b"Neuhaus" in data for data in left.values())
    assert not list(tmp_path.rglob("a1.pdf")) and list(tmp_path.rglob("a0.pdf"))
    manifest = json.loads(next(job_of(tmp_path).glob("*_manifest.json")).read_text())
    assert (manifest["rows"], manifest["withdrawn"]) == (1, 1)
    assert channel.forget(lambda attempt: attempt == "a1") == 0


def test_a_new_ledger_says_nothing_of_what_was_before_it(tmp_path: Path) -> None:
    channel = letterfile(tmp_path)
    old, new = Handed("m1a1", {}, NOW - timedelta(days=1)), Handed("m2a1", {}, NOW)
    assert [(r.attempt, r.detail) for r in channel.trace([old, new])] == [("m2a1", "never_taken")]


# ---- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("paper", "size"), [("A4", (595, 842)), ("A5", (420, 595)), ("letter", (612, 792))])
def test_the_address_stands_in_the_window(tmp_path: Path, paper: str, size: tuple[int, int]) -> None:
    list(letterfile(tmp_path, print="pdf").send([letter(0, meta={"format": paper})]))
    page = PdfReader(next(tmp_path.rglob("a0.pdf"))).pages[0]
    assert (round(page.mediabox.width), round(page.mediabox.height)) == size
    found: dict[str, tuple[float, float]] = {}

    def see(text: str, cm: list[float], tm: list[float], *_: Any) -> None:
        for line in ("Weg 0", "53111 Bonn", "Acme GmbH · Berlin"):
            if line in text.replace("\xa0", " "):
                at = (cm[0] * tm[4] + cm[4], cm[3] * tm[5] + cm[5])
                found[line] = (at[0] / 72 * 25.4, (float(page.mediabox.height) - at[1]) / 72 * 25.4)

    page.extract_text(visitor_text=see)
    top, bottom = {"A4": (62.7, 90), "A5": (45, 90), "letter": (50, 79)}[paper]
    for line in ("Weg 0", "53111 Bonn"):
        left, down = found[line]
        assert 20 <= left <= 105 and top <= down <= bottom, (line, left, down)
    text = page.extract_text()
    assert "AAcme" not in text and "Somebody" not in text and "color" not in text


def test_nothing_that_anybody_wrote_is_markup(tmp_path: Path) -> None:
    odd = '#panic("x") $x^2$ *b* \\ <i>no</i> @ref `raw` [x]'
    html = odd.replace("<", "&lt;").replace(">", "&gt;")
    list(letterfile(tmp_path, print="pdf").send([letter(0, values=("Anna", html))]))
    assert '#panic("x")' in text_of(next(tmp_path.rglob("a0.pdf"))) and "<i>no</i>" in text_of(
        next(tmp_path.rglob("a0.pdf"))
    )


def test_content_is_what_is_meant_and_not_how_it_looks() -> None:
    found = of_html(PAGE.fill("html", ("Anna", "Anna &amp; Bob")))
    assert found.return_line == "Acme GmbH · Berlin" and found.title == "For you"
    assert found.brand == [{"t": "p", "c": [{"x": "Acme"}]}]
    assert [b["t"] for b in found.body] == ["h1", "p", "li", "li", "qr"]
    assert found.body[1]["c"] == [
        {"x": "Dear "},
        {"x": "Anna & Bob", "b": True},
        {"x": ","},
        {"br": True},
        {"x": "thanks."},
    ]
    assert found.body[-1]["href"] == "https://acme.example/q?x=1"
    assert [b["c"] for b in of_text("Hi\nyou\n\nBye").body] == [
        [{"x": "Hi"}, {"br": True}, {"x": "you"}],
        [{"x": "Bye"}],
    ]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="<>/a bpulitdh1\"'=&;qr-!", max_size=60))
def test_any_html_is_read(text: str) -> None:
    for block in of_html(text).body:
        assert block["t"] and "c" in block


# ---- addresses ------------------------------------------------------------------------------------------------------

GOOD = {"name": "Anna Lee", "street": "Weg 1", "city": "Bonn", "postcode": "53111", "country": "DE"}


@pytest.mark.parametrize(
    ("to", "lines"),
    [
        ({}, ("Anna Lee", "Weg 1", "53111 Bonn")),
        ({"company": "Nord GmbH"}, ("Anna Lee", "Nord GmbH", "Weg 1", "53111 Bonn")),
        (
            {"city": "Paris", "postcode": "75001", "country": "FR"},
            ("Anna Lee", "Weg 1", "75001 PARIS", "FRANKREICH"),
        ),
        (
            {"city": "London", "postcode": "sw1a 1aa", "country": "GB"},
            ("Anna Lee", "Weg 1", "LONDON", "SW1A 1AA", "VEREINIGTES KÖNIGREICH"),
        ),
        (
            {"city": "Springfield", "postcode": "62701", "region": "IL", "country": "US"},
            ("Anna Lee", "Weg 1", "SPRINGFIELD, IL 62701", "VEREINIGTE STAATEN"),
        ),
        (
            {"city": "Zürich", "postcode": "CH-8001", "country": "CH"},
            ("Anna Lee", "Weg 1", "CH-8001 Zürich", "SCHWEIZ"),
        ),
        ({"postcode": "", "city": "Dublin", "country": "IE"}, ("Anna Lee", "Weg 1", "DUBLIN", "IRLAND")),
    ],
)
def test_addresses_by_country(to: dict[str, str], lines: tuple[str, ...]) -> None:
    assert laid_out({**GOOD, **to}, OURS).lines == lines


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ({"postcode": "1234"}, Reason.INVALID_ADDRESS),
        ({"postcode": ""}, Reason.INVALID_ADDRESS),
        ({"city": ""}, Reason.INVALID_ADDRESS),
        ({"country": "XX"}, Reason.INVALID_ADDRESS),
        ({"country": ""}, Reason.INVALID_ADDRESS),
        ({"name": ""}, Reason.INVALID_ADDRESS),
        ({"name": "=cmd()"}, Reason.CONTENT),
        ({"street": "+1"}, Reason.CONTENT),
        ({"city": "@x"}, Reason.CONTENT),
        ({"name": "a\nb"}, Reason.CONTENT),
        ({"street": "a\tb"}, Reason.CONTENT),
        ({"name": "a\u202eb"}, Reason.CONTENT),
        ({"name": "x" * 56}, Reason.TOO_LARGE),
    ],
)
def test_what_is_refused_and_never_cut(to: dict[str, str], reason: Reason) -> None:
    with pytest.raises(Unfit) as refused:
        laid_out({**GOOD, **to}, replace(OURS, widths={"name": 55}))
    assert refused.value.reason is reason
    assert not any(value and len(value) > 2 and value in refused.value.detail for value in to.values())


def test_a_postcode_keeps_its_zeros(tmp_path: Path) -> None:
    list(letterfile(tmp_path).send([letter(0, to={**GOOD, "postcode": "00538"})]))
    raw = next(job_of(tmp_path).glob("*_records.csv")).read_text()
    assert next(csv.DictReader(io.StringIO(raw)))["postcode"] == "00538"


# ---- cut-offs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "then"),
    [
        ("2027-03-01T12:59:59", "2027-03-01T13:00"),  # a Monday
        ("2027-03-01T13:00:00", "2027-03-01T13:00"),
        ("2027-03-01T13:00:01", "2027-03-02T13:00"),
        ("2027-03-05T14:00:00", "2027-03-08T13:00"),  # Friday to Monday
        ("2027-03-25T14:00:00", "2027-03-30T12:00"),  # Easter, and the clock has changed
        ("2027-12-31T14:00:00", "2028-01-03T13:00"),
    ],
)
def test_the_next_cut_off(at: str, then: str) -> None:
    ours = replace(OURS, holidays="DE")
    assert closes(ours, datetime.fromisoformat(f"{at}+00:00")) == datetime.fromisoformat(f"{then}+00:00")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 4 * 366 * 86_400), st.sampled_from(["daily", "weekdays"]))
def test_a_cut_off_is_its_own_next_and_last(seconds: int, days: Any) -> None:
    ours, at = replace(OURS, days=days, holidays="DE-BE"), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    found = closes(ours, at)
    assert found >= at and closes(ours, found) == found == closed(ours, found)
    assert found.microsecond == found.second == 0 and closed(ours, at) <= at
    assert found - closed(ours, at) < timedelta(days=8)


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"zone": ""}, "zone"),
        ({"zone": "Mars/Base"}, "zone"),
        ({"cutoff": "25:00"}, "cutoff"),
        ({"holidays": "XX"}, "calendar"),
        ({"house": "Über"}, "house"),
        ({"folder": "relative/path"}, "whole path"),
        ({"widths": {"email": 3}}, "widths"),
        ({"print": "fax"}, "print"),
        ({"font": "Comic Sans", "print": "pdf"}, "font"),
        ({"rehearsal": True, "folder": "/tmp"}, "rehearsal"),
        ({"seeds": [{"email": "a@example.com"}]}, "seed"),
        ({"seeds": [{"name": "Max", "street": "Weg 1", "city": "Bonn", "country": "DE"}]}, "number 1 of its `seeds`"),
        ({"language": "zz-zz-zz"}, "language"),
        ({"mail_within_days": 1000}, "mail_within_days"),
    ],
)
def test_settings_are_checked(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        letterfile(tmp_path, **options)


def test_pdf_is_asked_of_those_who_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(Misconfigured, match=r"campaign-orchestrator\[pdf\]"):
        letterfile(tmp_path, print="pdf")
    assert isinstance(letterfile(tmp_path), Letterfile)


def test_a_rehearsal_reaches_nobody_and_anything_else_is_live() -> None:
    from orchestrator.problems import Problems
    from orchestrator.settings import check_safety, parse_settings

    def told(options: str) -> list[str]:
        problems = Problems()
        text = f'[channels]\nmail = {{ provider = "letterfile", zone = "Europe/Berlin"{options} }}\n'
        found = parse_settings(text, problems)
        assert found is not None
        check_safety(found, text, problems)
        return [*found.live(), *(p.code for p in problems.found)]

    assert told(", rehearsal = true") == []
    for options in ("", ", rehearsal = false", ', rehearsal = "true"', ', folder = "/srv/print"'):
        assert told(options) == ["mail", "no-environment"], options
