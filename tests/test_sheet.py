"""CSV and JSON Lines, and what becomes of broken lines."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sheet import CsvSheet, JsonSheet, Unreadable, csv_line


def entries(text: str):
    return list(CsvSheet(io.StringIO(text, newline="")))


def test_plain_and_quoted_rows():
    text = 'key,name\r\na,"two\nlines"\r\n\r\nb,"say ""hi"", he said"\r\n'
    assert entries(text) == [
        (2, {"key": "a", "name": "two\nlines"}, ""),
        (5, {"key": "b", "name": 'say "hi", he said'}, ""),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_the_header_s(delimiter):
    text = f"key{delimiter}name{delimiter}x\na{delimiter}1,5;2\t3{delimiter}b\n"
    found = list(CsvSheet(io.StringIO(text.replace("1,5;2\t3", '"1,5;2\t3"'), newline="")))
    assert found == [(2, {"key": "a", "name": "1,5;2\t3", "x": "b"}, "")]


def test_a_half_written_last_line():
    assert entries("key,name,city\na,Ana,Bonn\nb,Be") == [
        (2, {"key": "a", "name": "Ana", "city": "Bonn"}, ""),
        (3, {"key": "b", "name": "Be"}, "2 cells where the header names 3; the file ends in the middle of this line"),
    ]
    (good, broken) = entries('key,name\na,Ana\nb,"Be')
    assert good[2] == ""
    assert broken == (
        3,
        {"key": "b", "name": "Be"},
        "2 cells where the header names 2; a quote is opened and not closed; the file ends in the middle of this line",
    )


def test_a_quote_never_closed_takes_only_its_own_line_along():
    text = 'key,name,city\na,"Ana,Bonn\nb,Bea,Ulm\nc,"Cle",Trier\nd,Dia,Kiel\n'
    found = entries(text)
    assert [(line, row["key"], bool(problem)) for line, row, problem in found] == [
        (2, "a", True),
        (3, "b", False),
        (4, "c", False),
        (5, "d", False),
    ]


def test_a_cell_too_many_is_kept():
    found = entries("key,city\na,Bonn, Germany\nb,Ulm\n")
    assert found[0] == (2, {"key": "a", "city": "Bonn"}, "3 cells where the header names 2; left over:  Germany")
    assert found[1][2] == ""


def test_an_endless_cell_does_not_take_the_file_along():
    text = 'key,name\na,"' + "x\n" * 100_000 + "b,Bea\n"
    found = entries(text)
    assert found[0][:2] == (2, {"key": "a", "name": "x\n"}) and found[0][2]
    assert found[-1] == (100_002, {"key": "b", "name": "Bea"}, "")


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "line 1: the file is empty"),
        ("\n \n", "line 1: the file is empty"),
        ("key,key\n", "more than one column `key`"),
        ("key,,\n", "more than one column without a name"),
        ('key,"na\n', "a quote is missing"),
    ],
)
def test_headers_that_are_none(text, said):
    with pytest.raises(Unreadable, match=said):
        entries(text)


def test_refused_rows_are_written_as_they_came():
    text = 'key;name;_line;_problem\na;"x;y";7;old\n'
    sheet = CsvSheet(io.StringIO(text, newline=""))
    ((line, row, _),) = list(sheet)
    again = sheet.quarantine_header() + sheet.quarantine(line, row, "key is odd")
    assert again == 'key;name;_line;_problem\na;"x;y";2;key is odd\n'


def test_a_cell_beyond_all_measure_and_a_row_beyond_all_measure():
    text = "key,b\na," + "x" * 200_000 + "\nc,d\n"
    (line, row, problem), good = entries(text)
    assert (line, row["key"], len(row["b"])) == (2, "a", 200_000)
    assert problem == "a cell too long to be read"
    assert good == (3, {"key": "c", "b": "d"}, "")
    columns = ["key", *(f"c{n}" for n in range(200_000))]
    ((_, row, problem),) = entries(",".join(columns) + "\n" + ",".join("x" for _ in columns) + "\n")
    assert (len(row), problem) == (200_001, "")


def test_json_lines():
    text = '{"key": "a"}\n\n[1]\n{"key": "b"\n{"key": "c"}'
    sheet = JsonSheet(io.StringIO(text))
    found = list(sheet)
    assert [(line, row, bool(problem)) for line, row, problem in found] == [
        (1, {"key": "a"}, False),
        (3, {"_raw": "[1]"}, True),
        (4, {"_raw": '{"key": "b"'}, True),
        (5, {"key": "c"}, False),
    ]
    written = sheet.quarantine(5, {"key": "c", "_line": 1}, "key is odd")
    assert json.loads(written) == {"key": "c", "_line": 5, "_problem": "key is odd"}


CELL = st.text("ab ,;\"'\n\r\tä", max_size=6)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=8), st.sampled_from(",;\t"))
def test_what_is_written_is_read_back(rows, delimiter):
    rows = [row for row in rows if any(row)]
    text = csv_line(["key", "b", "c"], delimiter) + "".join(csv_line(row, delimiter) for row in rows)
    found = entries(text)
    assert [list(row.values()) for _, row, problem in found if not problem] == rows
    assert all(not problem for _, _, problem in found)


@given(st.text('ab,"\n\r;', max_size=60))
def test_any_text_is_read_to_its_end(text):
    found = entries("key,b\n" + text)
    lines = [line for line, _, _ in found]
    assert lines == sorted(lines)
    good = [list(row.values()) for _, row, problem in found if not problem]
    try:
        plain = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        return
    if all(len(row) == 2 for row in plain):
        assert good == plain
