"""Lists that are imported: what they stop and what not, that nobody on them is kept, and when entries end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium
from orchestrator.importing import ImportRefused, ImportReport, import_file
from orchestrator.outbound import address_text, listed_texts
from orchestrator.store import Store
from orchestrator.store import tables as t
from orchestrator.store.suppressions import postal_keys
from tests.store.vocabulary import KEYS, VOCABULARY

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
POST = "name,street,postcode,city,country\n"


def take(
    store: Store, folder: Path, list_name: str, text: str, now: datetime = NOW, name: str = "list.csv"
) -> ImportReport:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return import_file(store, KEYS, VOCABULARY, "suppressions", path, now=now, list_name=list_name)


def counts(report: ImportReport) -> tuple[int, ...]:
    return (report.inserted, report.updated, report.unchanged, report.quarantined)


def entries(store: Store) -> list[Any]:
    s = t.suppression.c
    with store.read() as conn:
        query = sa.select(s.medium, s.address_key, s.reason, s.until, s.source).order_by(s.id)
        return list(conn.execute(query))


def test_only_keyed_hashes_are_kept(store: Store, tmp_path: Path) -> None:
    text = POST + "Ana Müller,Lindenweg 1,10115,Berlin,DE\n"
    assert counts(take(store, tmp_path, "robinson", text)) == (1, 0, 0, 0)
    [entry] = entries(store)
    assert entry[:1] + entry[2:] == ("mail", "robinson", None, "robinson")
    with store.read() as conn:
        for table in t.metadata.sorted_tables:
            told = repr(conn.execute(sa.select(table)).all())
            assert "Ana" not in told and "Lindenweg" not in told, table.name


@pytest.mark.parametrize(
    ("ours", "theirs", "alike"),
    [
        (("Ana Müller", "Lindenweg 1", "10115", "DE"), ("ANA MULLER", "LINDENWEG  1", "10115", "DE"), True),
        (("Ana Müller", "Hauptstraße 5", "10115", "DE"), ("Ana Müller", "Hauptstr. 5", "10115", "DE"), True),
        (("Joe Bloggs", "12 High Street", "E1 6AN", "GB"), ("Joe Bloggs", "12 High St.", "E1 6AN", "GB"), True),
        (("Joe Bloggs", "12 High Street", "E1 6AN", "GB"), ("Jo Bloggs", "12 High Street", "E1 6AN", "GB"), False),
        (("Joe Bloggs", "12 High Street", "E1 6AN", "GB"), ("Joe Bloggs", "13 High Street", "E1 6AN", "GB"), False),
        (("Joe Bloggs", "12 High Street", "E1 6AN", "GB"), ("Joe Bloggs", "12 High Street", "E1 6AN", "IE"), False),
        (("Joe Bloggs", "12 High Street", "E1 6AN", "GB"), ("", "12 High Street", "E1 6AN", "GB"), True),
    ],
)
def test_a_letter_is_found_on_a_list_however_it_is_written(ours: Any, theirs: Any, alike: bool) -> None:
    parts = ("name", "street", "postcode", "country")
    mine, listed = (dict(zip(parts, some, strict=True)) for some in (ours, theirs))
    text = listed_texts(listed)[0] if listed["name"] else listed_texts(listed)[1]
    assert (KEYS.hash("listed", text) in postal_keys(KEYS, {**mine, "city": "X", "region": "Y"})) == alike
    assert address_text(Medium.MAIL, mine)


def test_what_a_row_names_decides_the_medium(store: Store, tmp_path: Path) -> None:
    rows = "medium,address,number,country,reason\n"
    rows += ",a@example.com,,,asked by phone\n,,0171 3920001,DE,\nsms,,+491713920002,DE,\n"
    assert counts(take(store, tmp_path, "house", rows)) == (3, 0, 0, 0)
    assert [(e.medium, e.reason) for e in entries(store)] == [
        ("email", "asked_by_phone"), ("sms", "house"), ("voice", "house"), ("sms", "house"),
    ]  # fmt: skip
    take(store, tmp_path, "do_not_call", "number\n+491713920003\n")
    assert [(e.medium, e.reason, e.source) for e in entries(store)[4:]] == [("voice", "do_not_call", "do_not_call")]
    assert entries(store)[1].address_key == KEYS.address_key("sms", "+491713920001")


def test_entries_end_where_their_list_or_their_row_says_so(store: Store, tmp_path: Path) -> None:
    row = POST.strip() + ",until\nJoe Bloggs,1 Maple Row,10001,New York,US,{}\n"
    take(store, tmp_path, "dma_choice", row.format(""))
    assert entries(store)[0].until == datetime(2036, 12, 1, tzinfo=UTC)
    again = take(store, tmp_path, "dma_choice", row.format(""), now=NOW.replace(year=2028), name="newer.csv")
    assert again.already  # the very same content: `--again` says that it was published anew
    moved = take(store, tmp_path, "dma_choice", row.format("2030-05-01T00:00Z"), name="dated.csv")
    assert counts(moved) == (0, 1, 0, 0)
    assert [e.until for e in entries(store)] == [datetime(2030, 5, 1, tzinfo=UTC)]
    assert counts(take(store, tmp_path, "dma_choice", row.format("2030-05-01T00:00:00Z"))) == (0, 0, 1, 0)


def test_the_same_file_may_be_two_lists(store: Store, tmp_path: Path) -> None:
    text = POST + "Joe Bloggs,12 High Street,E1 6AN,London,GB\n"
    assert counts(take(store, tmp_path, "mps", text)) == (1, 0, 0, 0)
    assert counts(take(store, tmp_path, "deceased", text)) == (1, 0, 0, 0)
    assert take(store, tmp_path, "mps", text).already
    assert [e.reason for e in entries(store)] == ["mps", "deceased"]


BAD = POST + 'Ana Müller,Lindenweg 1,,Berlin,DE\n,Lindenweg 2,10115,Berlin,DE\nBea,x,1,y,DE,"left, over"\n'


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_what_is_put_aside_says_where_and_why_and_nobodys_name(store: Store, tmp_path: Path, name: str) -> None:
    text = BAD
    if name.endswith("jsonl"):
        text = (
            '{"name": "Ana Müller", "street": "Lindenweg 1", "country": "DE"}\n{"street": "Lindenweg 2"}\nAna Müller\n'
        )
    report = take(store, tmp_path, "mps", text, name=name)
    assert report.quarantined == 3
    assert report.quarantine_file is not None
    kept = report.quarantine_file.read_text(encoding="utf-8")
    assert "postcode or country is missing" in kept
    assert not any(word in kept for word in ("Ana", "Lindenweg", "Bea", "left, over"))
    assert entries(store) == []


def test_a_household_is_named_by_the_house_alone(store: Store, tmp_path: Path) -> None:
    text = "street,postcode,country\nLindenweg 1,10115,DE\n"
    assert counts(take(store, tmp_path, "deceased", text)) == (0, 0, 0, 1)
    assert counts(take(store, tmp_path, "house", text)) == (1, 0, 0, 0)


def test_a_list_must_be_named_and_known(store: Store, tmp_path: Path) -> None:
    for name in ("", "mbs"):
        with pytest.raises(ImportRefused, match="mps, robinson"):
            take(store, tmp_path, name, POST)
    with pytest.raises(ImportRefused, match="no column `address`, `number` or `street`"):
        take(store, tmp_path, "mps", "name,city\nAna,Berlin\n")
