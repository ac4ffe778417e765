"""Imports, end to end, on both databases."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.importing import ImportRefused, import_file, import_rows, merge_customers
from orchestrator.problems import Conflict
from orchestrator.store import Store, consents, imports
from orchestrator.store import tables as t
from tests.store.vocabulary import KEYS, VOCABULARY

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def take(store: Store, kind, *rows: dict[str, Any], now=NOW, **more):
    return import_rows(store, KEYS, VOCABULARY, kind, rows, now=now, **more)


def counts(report):
    return (report.inserted, report.updated, report.unchanged, report.quarantined)


def all_of(store: Store, table: sa.Table, *columns: str):
    with store.read() as conn:
        query = sa.select(*(table.c[c] for c in columns) if columns else table.c).order_by(*table.primary_key)
        return [tuple(row) for row in conn.execute(query)]


def everything(store: Store):
    with store.read() as conn:
        return {
            table.name: conn.execute(sa.select(table).order_by(*table.primary_key)).all()
            for table in t.metadata.sorted_tables
        }


@pytest.fixture
def people_there(store: Store) -> Store:
    take(store, "accounts", {"key": "nord", "class": "b2b", "name": "Nord", "tier": "standard"})
    take(store, "customers", {"key": "ana", "class": "b2c"}, {"key": "bea", "class": "b2b", "account": "nord"})
    return store


# ---- customers and accounts -----------------------------------------------------------------------------------------


def test_an_absent_column_keeps_and_an_empty_cell_clears(store: Store):
    row = {"key": "a", "class": "b2c", "first_name": "Ana", "city": "Bonn", "size": 4, "colour": "red", "vip": True}
    assert counts(take(store, "customers", row)) == (1, 0, 0, 0)
    assert counts(take(store, "customers", row, now=LATER)) == (0, 0, 1, 0)
    assert counts(take(store, "customers", {"key": "a", "city": "", "size": None, "vip": 0}, now=LATER)) == (0, 1, 0, 0)
    columns = ("first_name", "city", "attributes", "created_at", "updated_at")
    assert all_of(store, t.customer, *columns) == [("Ana", None, {"colour": "red", "vip": False}, NOW, LATER)]
    # 1 and true are different values.
    assert counts(take(store, "customers", {"key": "a", "size": 1})) == (0, 1, 0, 0)
    assert counts(take(store, "customers", {"key": "a", "size": 1.0})) == (0, 0, 1, 0)


def test_the_same_key_twice_in_one_batch(store: Store):
    report = take(
        store,
        "customers",
        {"key": "a", "class": "b2c", "city": "Bonn"},
        {"key": "b", "class": "b2c"},
        {"key": "a", "city": "Ulm"},
        {"key": "a", "city": "Ulm"},
    )
    assert counts(report) == (2, 1, 1, 0)
    assert all_of(store, t.customer, "key", "city") == [("a", "Ulm"), ("b", None)]


def test_a_new_customer_needs_a_class_and_a_known_account(people_there: Store):
    report = take(
        people_there,
        "customers",
        {"key": "x"},
        {"key": "y", "class": "b2b", "account": "nrod"},
        {"key": "ana", "city": "Ulm"},
    )
    assert counts(report) == (0, 1, 0, 2)
    assert [(r.line, r.problem) for r in report.refused] == [
        (1, "class is missing; a new customer needs one"),
        (2, "account `nrod` is not known; import the accounts first"),
    ]
    assert all_of(people_there, t.customer, "key", "account_id") == [("ana", None), ("bea", 1)]


def test_a_phone_s_country_may_be_known_already(store: Store):
    take(store, "customers", {"key": "a", "class": "b2c", "country": "DE"}, {"key": "b", "class": "b2c"})
    report = take(store, "customers", {"key": "a", "phone": "030 12345678"}, {"key": "b", "phone": "030 12345678"})
    assert counts(report) == (0, 1, 0, 1)
    assert all_of(store, t.customer, "phone", "phone_zones")[0] == ("+493012345678", "Europe/Berlin")


def test_tiers_leave_a_trail(store: Store):
    def tier(value, **more):
        return take(store, "customers", {"key": "a", "class": "b2c", "tier": value, **more}, now=LATER)

    for value in ("silver", "silver", "gold", "bronze", ""):
        tier(value)
    assert tier("member").refused[0].problem.startswith("tier `member` is no tier of b2c")
    tier("bronze")
    tier("member", **{"class": "club"})
    take(store, "customers", {"key": "a", "class": "b2c"})  # the old class's tier goes with it
    columns = ("unit", "class", "from_tier", "to_tier", "direction", "at")
    assert [row[1:5] for row in all_of(store, t.tier_change, *columns)] == [
        ("b2c", None, "silver", "set"),
        ("b2c", "silver", "gold", "up"),
        ("b2c", "gold", "bronze", "down"),
        ("b2c", "bronze", None, "set"),
        ("b2c", None, "bronze", "set"),
        ("club", "bronze", "member", "set"),
        ("b2c", "member", None, "set"),
    ]


def test_a_contact_has_the_tier_of_its_account(people_there: Store):
    report = take(people_there, "customers", {"key": "bea", "tier": "strategic"}, {"key": "ana", "tier": "gold"})
    assert report.warnings == {"the tier of a b2b customer is its account's: left out": 1}
    assert all_of(people_there, t.customer, "tier") == [("gold",), (None,)]


def test_accounts_and_their_parents(store: Store):
    def accounts(*pairs):
        return take(store, "accounts", *({"key": k, "class": "b2b", "parent": p} for k, p in pairs))

    assert counts(accounts(("c", "b"), ("b", "a"), ("a", ""), ("x", "nobody"), ("y", "x"))) == (3, 0, 0, 2)
    assert counts(accounts(("c", "b"), ("b", "a"), ("a", ""))) == (0, 0, 3, 0)
    report = accounts(("a", "c"))
    assert report.refused[0].problem == "parent `c` stands below this account itself; that is a circle"
    # Turned round within one file, row by row, without a circle at any moment.
    assert counts(accounts(("c", ""), ("a", "c"), ("b", "a"))) == (0, 2, 1, 0)
    keys = dict(all_of(store, t.account, "id", "key"))
    assert {k: keys.get(p) for k, p in all_of(store, t.account, "key", "parent_id")} == {"a": "c", "b": "a", "c": None}
    assert counts(take(store, "accounts", {"key": "a", "name": "A"})) == (0, 1, 0, 0)  # without the column: kept
    assert dict(all_of(store, t.account, "key", "parent_id"))["a"] is not None


def test_the_daughters_of_an_account_that_is_refused_are_refused_with_it(store: Store):
    """A daughter must not lose her parent without a word because the parent's own row is in a circle."""
    rows = [("top", "left"), ("left", "right"), ("right", "top"), ("leaf", "right"), ("good", "")]
    report = take(store, "accounts", *({"key": k, "class": "b2b", "parent": p} for k, p in rows))
    said = {r.row["key"]: r.problem for r in report.refused}
    assert said["right"] == "parent `top` stands below this account itself; that is a circle"
    assert said["left"] == said["leaf"] == "parent `right` is not known; import it first, then this row again"
    assert said["top"] == "parent `left` is not known; import it first, then this row again"
    assert all_of(store, t.account, "key", "parent_id") == [("good", None)]


def test_a_cell_beyond_all_measure_is_cut_off_in_the_quarantine_and_no_other_row_is_lost(store: Store, tmp_path: Path):
    file = tmp_path / "people.csv"
    file.write_text(f"key,class,first_name\na,b2c,{'x' * 300_000}\nb,b2c,Bea\n")
    report = import_file(store, KEYS, VOCABULARY, "customers", file, now=NOW)
    assert counts(report) == (1, 0, 0, 1)
    assert report.quarantine_file is not None
    (row,) = csv.DictReader(report.quarantine_file.read_text().splitlines())  # the standard reader takes it
    assert row["key"] == "a" and row["_line"] == "2" and len(row["first_name"]) == 100_000
    assert "`first_name` is cut off here" in row["_problem"]
    assert counts(import_file(store, KEYS, VOCABULARY, "customers", file, now=NOW, again=True)) == (0, 0, 1, 1)


# ---- records, events, devices ---------------------------------------------------------------------------------------


def test_records(people_there: Store):
    contract = {"contract_id": "c1", "account": "nord", "ends": "2027-01-31", "value": "10.50 EUR", "auto_renew": "no"}
    pet = {"type": "pet", "pet_id": "p1", "customer": "ana", "name": "Rex"}
    assert counts(take(people_there, "records", contract, pet)) == (2, 0, 0, 0)
    assert counts(take(people_there, "records", contract, pet)) == (0, 0, 2, 0)
    update = take(people_there, "records", {"type": "contract", "contract_id": "c1", "ends": "2028-01-31"})
    assert counts(update) == (0, 1, 0, 0)
    refused = take(
        people_there, "records", {"contract_id": "c2", "ends": "2027-01-01"}, pet | {"customer": "zoe"}
    ).refused
    assert [r.problem for r in refused] == [
        "account is missing: whose is it?",
        "this customer is not known; import the customers first",
    ]
    assert all_of(people_there, t.record, "type", "key", "customer_id", "account_id", "fields") == [
        (
            "contract",
            "c1",
            None,
            1,
            {"contract_id": "c1", "ends": "2028-01-31", "value": 1050, "value_currency": "EUR", "auto_renew": False},
        ),
        ("pet", "p1", 1, None, {"pet_id": "p1", "name": "Rex"}),
    ]


def test_events_come_once_and_are_told(people_there: Store):
    told = []

    def hook(conn, first, last):
        ids = conn.execute(sa.select(t.event.c.id).where(t.event.c.id.between(first, last))).scalars().all()
        told.append(len(ids))

    order = {"type": "order_placed", "customer": "ana", "occurred_at": "2026-11-30T10:00:00Z", "amount": "5 EUR"}
    company = {"type": "signed_up", "account": "nord", "occurred_at": "2026-11-30", "event_id": "e1"}
    report = take(people_there, "events", order, order, company, order | {"amount": "6 EUR"}, on_events=hook)
    assert counts(report) == (3, 0, 1, 0) and told == [3]
    assert counts(take(people_there, "events", order, company, on_events=hook)) == (0, 0, 2, 0) and told == [3]
    refused = take(people_there, "events", order | {"customer": "zoe"}, order | {"account": "sued"}).refused
    assert [r.problem for r in refused] == [
        "this customer is not known; import the customers first",
        "account `sued` is not known; import the accounts first",
    ]
    rows = all_of(people_there, t.event, "type", "customer_id", "account_id", "received_at")
    assert rows == [("order_placed", 1, None, NOW), ("signed_up", None, 1, NOW), ("order_placed", 1, None, NOW)]


def test_a_hook_that_fails_leaves_no_event(people_there: Store):
    def hook(conn, first, last):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take(
            people_there,
            "events",
            {"type": "signed_up", "customer": "ana", "occurred_at": "2026-11-30"},
            on_events=hook,
        )
    assert all_of(people_there, t.event) == []


def test_devices(people_there: Store):
    row = {"token": "t1", "customer": "ana", "platform": "ios"}
    assert counts(take(people_there, "devices", row, row | {"token": "t2", "platform": ""}, row)) == (1, 0, 1, 1)
    moved = take(people_there, "devices", {"token": "t1", "customer": "bea", "retired_at": "2026-11-01T00:00Z"})
    assert counts(moved) == (0, 1, 0, 0)
    assert all_of(people_there, t.device, "customer_id", "platform", "retired_at") == [
        (2, "ios", datetime(2026, 11, 1, tzinfo=UTC))
    ]
    assert take(people_there, "devices", {"token": "t3", "customer": "ana"}).refused[0].problem == (
        "platform is missing; a new device needs one"
    )


# ---- consent --------------------------------------------------------------------------------------------------------


def said(action, at, *, topic="offers", customer="ana", medium="email", **more):
    occurred = at if isinstance(at, str) else at.isoformat()
    return {"customer": customer, "medium": medium, "topic": topic, "action": action, "occurred_at": occurred, **more}


def consent(store: Store):
    columns = ("customer_id", "medium", "topic", "state", "event_id", "since")
    return all_of(store, t.consent_current, *columns)


def states(store: Store):
    """A yes stands beside the no that it answers, and is the newer word."""
    rows = sorted(consent(store), key=lambda row: row[3] == "granted")
    return {(c, topic): state for c, _, topic, state, _, _ in rows}


def test_the_latest_word_counts_and_a_no_wins_ties(people_there: Store):
    day = NOW - timedelta(days=9)
    take(people_there, "consents", said("request", day), said("confirm", day))
    assert states(people_there) == {(1, "offers"): "granted"}
    take(people_there, "consents", said("withdraw", day))
    take(people_there, "consents", said("grant", day))  # as old as the no: the no stands
    assert states(people_there) == {(1, "offers"): "withdrawn"}
    take(people_there, "consents", said("grant", day + timedelta(days=1)), said("withdraw", day, topic="*"))
    assert states(people_there) == {(1, "*"): "withdrawn", (1, "offers"): "granted"}
    take(people_there, "consents", said("withdraw", day - timedelta(days=3), source="late letter"))
    assert states(people_there)[1, "offers"] == "granted"
    take(people_there, "consents", said("expire", day + timedelta(days=2)))
    assert states(people_there)[1, "offers"] == "expired"
    again = take(people_there, "consents", said("expire", day + timedelta(days=2)))
    assert counts(again) == (0, 0, 1, 0)


def test_a_yes_from_the_future_does_not_outlive_a_later_no(people_there: Store):
    take(people_there, "consents", said("grant", NOW + timedelta(hours=20)))
    take(people_there, "consents", said("withdraw", NOW + timedelta(hours=1)), now=NOW + timedelta(hours=1))
    assert states(people_there) == {(1, "offers"): "withdrawn"}


def test_rebuilt_consent_is_the_same(people_there: Store):
    import random

    chance = random.Random(7)
    for n in range(12):
        rows = [
            said(
                chance.choice(["request", "confirm", "grant", "withdraw", "expire", "import"]),
                NOW + timedelta(hours=chance.randrange(-6, 3)),
                topic=chance.choice(["offers", "loyalty", "*"]),
                customer=chance.choice(["ana", "bea"]),
                medium=chance.choice(["email", "sms"]),
                event_id=f"{n}-{m}",
            )
            for m in range(chance.randrange(1, 12))
        ]
        take(people_there, "consents", *rows, now=NOW + timedelta(hours=chance.randrange(4)))
    incremental = consent(people_there)
    assert len({row[:3] for row in incremental}) == 12
    with people_there.write() as conn:
        consents.rebuild_consent_current(conn)
    assert consent(people_there) == incremental


def test_everything_a_consent_brings_is_kept_where_it_belongs(people_there: Store):
    asked = {"wording": "Yes, offers.", "wording_version": "7", "language": "DE-de", "jurisdiction": "DE"}
    proof = {"source": "form", "source_url": "https://acme.example/j", "ip": "192.0.2.9", "agent": "Firefox"}
    day = NOW - timedelta(days=2)
    rows = (
        said("request", day, event_id="r", basis="express_written", expires_at="2030-01-01", **asked, **proof),
        said("confirm", day + timedelta(hours=1), event_id="c", answers="r", method="double opt-in"),
        said("grant", day, event_id="odd", basis="expres"),
    )
    report = take(people_there, "consents", *rows)
    assert counts(report) == (2, 0, 0, 1)
    assert "basis `expres` is not a ground" in report.refused[0].problem and "express" in report.refused[0].problem
    columns = ("basis", "state", "event_id", "confirmed", "until")
    assert all_of(people_there, t.consent_current, *columns) == [
        ("express_written", "granted", 2, True, datetime(2029, 12, 31, 23, tzinfo=UTC))
    ]
    with people_there.read() as conn:
        found = consents.evidence_of(conn, KEYS, [1, 2])
        told = consents.words_of(conn, KEYS, [2])[2]
    assert found[1].evidence == proof and found[2] == (None, "")
    assert (told["wording"], told["wording_version"], told["jurisdiction"]) == ("Yes, offers.", "7", None)
    assert all_of(people_there, t.consent_event, "language", "answers")[0] == ("de-DE", None)


# ---- files ----------------------------------------------------------------------------------------------------------

HEADER = "key,class,first_name,country,phone\n"
CSV = HEADER + "a,b2c,Ana,DE,030 12345678\nb,b2d,Bea,DE,\nc,b2c,=1+1,XX,\nd,b2c,Dia,AT,\ne,b2c,Ev"


def written(tmp_path: Path, text: str | bytes, name="customers.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_bad_rows_go_to_a_file_that_is_mended_and_imported(store: Store, tmp_path: Path):
    path = written(tmp_path, CSV)
    report = import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW)
    assert counts(report) == (2, 0, 0, 3) and report.rows == 5
    assert report.quarantine_file is not None and report.quarantine_file.parent == tmp_path
    assert report.quarantine_file.stat().st_mode & 0o777 == 0o600
    with report.quarantine_file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*HEADER.strip().split(","), "_line", "_problem"]
    assert [(row["_line"], row["_problem"].split(";")[0]) for row in rows] == [
        ("3", "class `b2d` is not a declared class"),
        ("4", "first_name begins with `=`, which a spreadsheet takes for a formula"),
        ("6", "3 cells where the header names 5"),
    ]
    assert "country `XX` is no ISO 3166 country code" in rows[1]["_problem"]
    text = (
        report.quarantine_file.read_text()
        .replace("b2d", "b2c")
        .replace("=1+1,XX", "Cleo,CH")
        .replace("Ev,,", "Eva,DE,")
    )
    mended = written(tmp_path, text, "mended.csv")
    again = import_file(store, KEYS, VOCABULARY, "customers", mended, now=NOW)
    assert counts(again) == (3, 0, 0, 0) and again.warnings == {} and again.quarantine_file is None
    assert [k for (k,) in all_of(store, t.customer, "key")] == ["a", "d", "b", "c", "e"]


def test_the_second_import_changes_nothing(store: Store, tmp_path: Path):
    path = written(tmp_path, CSV)
    first = import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW)
    before = everything(store)
    second = import_file(store, KEYS, VOCABULARY, "customers", written(tmp_path, CSV, "renamed.csv"), now=LATER)
    assert second.already and counts(second) == counts(first)
    assert everything(store) == before
    third = import_file(store, KEYS, VOCABULARY, "customers", path, now=LATER, again=True)
    assert not third.already and counts(third) == (0, 0, 2, 3)
    after = everything(store)
    assert {n: r for n, r in after.items() if n != "import_run"} == {
        n: r for n, r in before.items() if n != "import_run"
    }


def test_json_lines(store: Store, tmp_path: Path):
    lines = [{"key": "a", "class": "b2c", "size": 4}, {"key": "b"}, {"key": "c", "class": "b2c", "vip": None}]
    path = written(tmp_path, "\n".join(map(json.dumps, lines)) + '\n{"key": "d", "cl', "customers.jsonl")
    report = import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW, quarantine_dir=tmp_path)
    assert counts(report) == (2, 0, 0, 2) and report.quarantine_file is not None
    bad = [json.loads(line) for line in report.quarantine_file.read_text().splitlines()]
    assert bad[0] == {"key": "b", "_line": 2, "_problem": "class is missing; a new customer needs one"}
    assert bad[1]["_raw"] == '{"key": "d", "cl' and "ends in the middle of this line" in bad[1]["_problem"]


def test_parquet(store: Store, tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet

    path = tmp_path / "customers.parquet"
    joined = date(2024, 2, 29)
    rows = [{"key": "a", "class": "b2c", "joined": joined, "size": 4.0}, {"key": "b", "class": "x", "size": None}]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    report = import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW)
    assert counts(report) == (1, 0, 0, 1) and report.quarantine_file is not None
    assert report.quarantine_file.suffix == ".jsonl"
    assert all_of(store, t.customer, "key", "joined", "attributes") == [("a", joined, {"size": 4})]
    with pytest.raises(ImportRefused, match=r"fake.parquet: this is no Parquet file"):
        import_file(store, KEYS, VOCABULARY, "customers", written(tmp_path, "no", "fake.parquet"), now=NOW)


def test_parquet_files_as_they_come(store: Store, tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    left = pa.array([None, 1_700_000_000_000_000_001], pa.timestamp("ns", "UTC"))  # what pandas writes, with a rest
    columns = {"key": [1.0, 2.0], "class": ["b2c", "b2c"], "left_at": left, "postcode": [1067.0, float("nan")]}
    pyarrow.parquet.write_table(pa.table(columns), path)
    report = import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW)
    assert counts(report) == (1, 0, 0, 1)
    assert all_of(store, t.customer, "key", "postcode", "left_at") == [("1", "1067", None)]
    assert report.quarantine_file is not None and "postcode is not a text" in report.quarantine_file.read_text()

    twice = pa.table([pa.array(["r1"]), pa.array(["b2c"]), pa.array(["b2b"])], names=["key", "class", "class"])
    pyarrow.parquet.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(ImportRefused, match="more than one column `class`"):
        import_file(store, KEYS, VOCABULARY, "customers", tmp_path / "twice.parquet", now=NOW)

    content = bytearray(path.read_bytes())
    content[20:60] = b"\xff" * 40
    (tmp_path / "broken.parquet").write_bytes(content)
    with pytest.raises(ImportRefused, match=r"broken.parquet: behind row 0 the file cannot be read: .*; write it anew"):
        import_file(store, KEYS, VOCABULARY, "customers", tmp_path / "broken.parquet", now=NOW)


def test_parquet_without_pyarrow(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportRefused, match=r"install `campaign-orchestrator\[parquet\]`"):
        import_file(store, KEYS, VOCABULARY, "customers", written(tmp_path, "x", "a.parquet"), now=NOW)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", b"key,class\na,b2c\nb,M\xfcller\n", "a.csv: line 3: this is not UTF-8"),
        ("a.csv", "key,class\n".encode("utf-16"), "a.csv: this is not UTF-8 text|a.csv: line 1: this is not UTF-8"),
        ("a.csv", b"", "a.csv: line 1: the file is empty"),
        ("a.csv", b"ke,class\n", "a.csv: line 1: there is no column `key`; did you mean `ke`"),
        ("a.csv", b"key,key\n", "more than one column `key`"),
        ("a.xlsx", b"", "the ending `.xlsx` is not known; import .csv, .jsonl or .parquet"),
    ],
)
def test_files_that_are_refused_as_a_whole(store: Store, tmp_path: Path, name, content, message):
    with pytest.raises(ImportRefused, match=message):
        import_file(store, KEYS, VOCABULARY, "customers", written(tmp_path, content, name), now=NOW)
    assert all_of(store, t.import_run) == [] and all_of(store, t.customer) == []


def test_a_file_that_is_not_there(store: Store, tmp_path: Path):
    with pytest.raises(ImportRefused, match=r"none.csv: cannot be read: No such file"):
        import_file(store, KEYS, VOCABULARY, "customers", tmp_path / "none.csv", now=NOW)


def test_a_mark_at_the_beginning_is_no_part_of_the_first_column(store: Store, tmp_path: Path):
    path = written(tmp_path, b"\xef\xbb\xbfkey;class\r\na;b2c\r\n")
    assert counts(import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW)) == (1, 0, 0, 0)


def test_statements_do_not_grow_with_the_rows(store: Store, tmp_path: Path):
    seen = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda c, cur, text, p, ctx, many: seen.append(text))
    numbers = []
    for count in (3, 300):
        seen.clear()
        take(store, "customers", *({"key": f"{count}-{n}", "class": "b2c", "tier": "gold"} for n in range(count)))
        numbers.append(len(seen))
    assert numbers[0] == numbers[1] < 16


# ---- interruptions --------------------------------------------------------------------------------------------------

MANY = 6_000


def many(tmp_path: Path) -> Path:
    lines = [f"k{n},{'b2c' if n % 100 else 'nope'},Ana,DE,\n" for n in range(MANY)]
    return written(tmp_path, HEADER + "".join(lines))


def test_a_failed_commit_is_done_again_and_nothing_twice(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = many(tmp_path)
    real, calls = imports.move, []

    def conflicting(*args):
        calls.append(args)
        if len(calls) in (2, 3):
            raise Conflict("as if PostgreSQL had broken a deadlock")
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(imports, "move", conflicting)
    with pytest.raises(KeyboardInterrupt):
        import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW, batch=500)
    monkeypatch.setattr(imports, "move", real)
    report = import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW, batch=500)
    assert report.resumed_at == 1500 and counts(report) == (MANY - 60, 0, 0, 60)
    check_quarantine(report)


def check_quarantine(report):
    with report.quarantine_file.open(newline="") as file:
        assert [int(row["_line"]) for row in csv.DictReader(file)] == [n + 2 for n in range(0, MANY, 100)]


def test_two_at_once_do_not_do_it_twice(store: Store, tmp_path: Path):
    path = many(tmp_path)

    def overtaking(done, total):
        assert total == MANY + 1
        if done == 1000:
            assert import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW, batch=500).resumed_at == 1000

    with pytest.raises(ImportRefused, match="another process is importing this file"):
        import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW, batch=500, progress=overtaking)
    assert len(all_of(store, t.customer)) == MANY - 60


CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from orchestrator.importing import import_file
from orchestrator.store import Store
from tests.store.vocabulary import KEYS, VOCABULARY

def progress(done, total):
    print(done, flush=True)

store = Store.open(sys.argv[1])
import_file(store, KEYS, VOCABULARY, "customers", Path(sys.argv[2]), now=datetime(2026, 12, 1, 12, tzinfo=UTC),
            batch=100, progress=progress)
"""


def test_a_killed_import_goes_on_where_it_was(store: Store, migrated_url: str, tmp_path: Path):
    path = many(tmp_path)
    survived = 0
    for stop_at in (1, 2_000):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, migrated_url, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= stop_at:
                break
        time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        child.stdout.close()
        survived = max(survived, stop_at)
    report = import_file(store, KEYS, VOCABULARY, "customers", path, now=NOW)
    assert survived <= report.resumed_at < MANY
    assert counts(report) == (MANY - 60, 0, 0, 60)
    assert len(all_of(store, t.customer)) == MANY - 60
    check_quarantine(report)


# ---- merging --------------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(people_there: Store) -> Store:
    store = people_there
    take(store, "customers", {"key": "anna", "class": "b2c", "email": "anna@example.com"})
    take(store, "events", {"type": "signed_up", "customer": "anna", "occurred_at": "2026-11-01", "event_id": "e1"})
    take(store, "devices", {"token": "t1", "customer": "anna", "platform": "ios"})
    take(store, "records", {"type": "pet", "pet_id": "p1", "customer": "anna"})
    return store


def test_merging_brings_everything_over(twins: Store):
    merged = merge_customers(twins, KEYS, "ana", "anna", now=LATER)
    assert (merged.events, merged.devices, merged.records) == (1, 1, 1)
    for table in (t.event, t.device, t.record):
        assert [c for (c,) in all_of(twins, table, "customer_id")] == [1]
    assert dict(all_of(twins, t.customer, "key", "merged_into"))["anna"] == 1
    late = take(twins, "customers", {"key": "anna", "city": "Bonn"})  # what the kept one says stands: no silence
    assert late.warnings == {"a customer that was merged into another one: the row changes nothing there": 1}
    # What still comes in under the old key is the kept one's.
    take(twins, "events", {"type": "signed_up", "customer": "anna", "occurred_at": "2026-11-02"})
    assert [c for (c,) in all_of(twins, t.event, "customer_id")] == [1, 1]
    for keep, drop, message in (
        ("ana", "anna", "has been merged into another one already"),
        ("ana", "nobody", "there is no customer `nobody`"),
        ("ana", "ana", "cannot be merged with itself"),
    ):
        with pytest.raises(ValueError, match=message):
            merge_customers(twins, KEYS, keep, drop, now=LATER)
    merge_customers(twins, KEYS, "bea", "ana", now=LATER)
    assert dict(all_of(twins, t.customer, "key", "merged_into")) == {"ana": 2, "anna": 2, "bea": None}


def test_a_long_import_says_when_each_batch_came(store: Store, tmp_path: Path):
    """A tick beside it looks for what was written since the tick before: the beginning of the import is long past."""
    path = written(tmp_path, "key,class\nana,b2c\nben,b2c\ncem,b2c\n")
    minutes = iter(range(1, 9))
    import_file(
        store,
        KEYS,
        VOCABULARY,
        "customers",
        path,
        now=NOW,
        batch=2,
        clock=lambda: NOW + timedelta(minutes=next(minutes)),
    )
    late = timedelta(minutes=1)
    found = dict(all_of(store, t.customer, "key", "updated_at"))
    assert found == {"ana": NOW + late, "ben": NOW + late, "cem": NOW + 2 * late}


def test_in_a_merge_withdrawals_win(twins: Store):
    early, late = NOW - timedelta(days=9), NOW - timedelta(days=1)
    take(
        twins,
        "consents",
        said("withdraw", early, customer="anna", topic="offers"),
        said("grant", late, customer="ana", topic="offers"),  # later, and still the other record's no wins
        said("grant", early, customer="anna", topic="loyalty"),
        said("grant", late, customer="anna", topic="offers", medium="sms"),
        said("withdraw", early, customer="ana", topic="*", medium="sms"),
        said("grant", early, customer="anna", topic="offers", medium="push"),
    )
    merge_customers(twins, KEYS, "ana", "anna", now=LATER)
    assert len(all_of(twins, t.consent_event)) == 6 + 3
    found = {(medium, topic): (state, since) for c, medium, topic, state, _, since in consent(twins) if c == 1}
    assert found == {
        ("email", "offers"): ("withdrawn", LATER),
        ("email", "loyalty"): ("granted", early),
        ("sms", "*"): ("withdrawn", early),
        ("push", "offers"): ("granted", early),
    }
    with twins.write() as conn:
        before = consent(twins)
        consents.rebuild_consent_current(conn)
    assert consent(twins) == before


def test_in_a_merge_runs_move_or_end(twins: Store):
    ids = dict(all_of(twins, t.customer, "key", "id"))
    keep, drop = ids["ana"], ids["anna"]
    with twins.write() as conn:
        conn.execute(
            sa.insert(t.document), {"hash": "v", "kind": "journey", "name": "j", "body": {}, "created_at": NOW}
        )
        runs = [
            (1, "both", keep, "", None),
            (2, "both", drop, "", None),  # ends: the kept one is in that journey already
            (3, "alone", drop, "", None),  # moves
            (4, "past", drop, None, "completed"),  # moves, so that `reentry: once` still holds
        ]
        for number, journey, who, live, because in runs:
            ended = NOW if because else None
            conn.execute(
                sa.insert(t.enrollment),
                {"id": number, "journey": journey, "version": "v", "unit": "customer", "unit_id": who}
                | {"customer_id": who, "run_key": f"r{number}", "live_key": live, "entered_at": NOW, "since": NOW}
                | {"ended_at": ended, "ended_because": because, "wake_at": NOW, "step": "s", "visit": 0},
            )  # fmt: skip
        batch = {"id": 1, "medium": "email", "purpose": "marketing", "priority": 1, "due_at": NOW, "size": 3}
        conn.execute(sa.insert(t.batch), batch)
        for number, run, state in ((1, 2, "planned"), (2, 3, "held"), (3, 3, "sent")):
            conn.execute(
                sa.insert(t.message),
                {"id": number, "batch_id": 1, "enrollment_id": run, "step": f"s{number}", "visit": 0, "journey": "j"}
                | {"addressee": "customer", "addressee_id": drop, "customer_id": drop, "medium": "email"}
                | {"template": "t", "topic": "offers", "purpose": "marketing", "priority": 1, "state": state}
                | {"planned_at": NOW, "due_at": NOW},
            )  # fmt: skip
    merged = merge_customers(twins, KEYS, "ana", "anna", now=LATER)
    assert (merged.enrollments_moved, merged.enrollments_ended, merged.messages_cancelled) == (1, 1, 1)
    assert all_of(twins, t.enrollment, "unit_id", "ended_because", "live_key") == [
        (keep, None, ""),
        (drop, "merged", None),
        (keep, None, ""),
        (keep, "completed", None),
    ]
    assert all_of(twins, t.message, "addressee_id", "customer_id", "state") == [
        (drop, keep, "cancelled"),
        (keep, keep, "held"),
        (drop, keep, "sent"),
    ]
    assert all_of(twins, t.trace, "enrollment_id", "what", "detail") == [(2, "ended", {"because": "merged"})]
