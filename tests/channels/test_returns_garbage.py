"""A print house leaves whatever it likes: no file of it stops the others from being read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.letterfile.ledger import Entry
from channels.letterfile.returns import read

NOW = datetime(2027, 3, 2, tzinfo=UTC)
HEAD = b"piece_id,reason,date\n"


def entry() -> Entry:
    return Entry("h-1", "h", NOW, NOW, "dropped", NOW, None, {"m1a1": ("ABC", "x")})


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize(
    "body",
    [
        HEAD + b"m1a1,moved,0001-01-01\n",
        HEAD + b"m1a1,moved,9999-12-31\n",
        HEAD + b'"m1a1',
        HEAD + b"m1a1\x00,moved,2027-03-02\n",
        HEAD + b'"' + b"a" * 200_000 + b'",x,y\n',
        HEAD + b"m9a9,moved,2027-03-02\n",
        json.dumps({"job": "h-1", "at": "0001-01-01T00:00:00+14:00"}).encode(),
        json.dumps({"job": "h-1", "at": "9999-12-31T23:59:59-14:00"}).encode(),
        json.dumps({"job": "h-2", "state": "mailed"}).encode(),
        json.dumps({"job": "h-1", "state": ["mailed"]}).encode(),
        json.dumps({"job": {}, "rejects": 3}).encode(),
        json.dumps({"job": "h-1", "state": "mailed", "rejects": [[1], None, {"piece_id": "m9a9"}]}).encode(),
        b'{"job": "h-1", "accepted": ' + b"9" * 5000 + b"}",
        b"{" * 100_000,
        b"\xff\xfe",
        b"no table at all",
    ],
    ids=lambda body: body[:60].decode("latin-1") if isinstance(body, bytes) else None,
)
def test_garbage_is_kept_with_its_reason_and_nothing_happened(body: bytes, zone: str) -> None:
    report = read(body, [entry()], NOW, ZoneInfo(zone))
    assert report.refused and not report.events
    assert report.file()


@given(body=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)), head=st.booleans())
def test_nothing_at_all_stops_it(body: bytes, head: bool) -> None:
    read(HEAD + body if head else body, [entry()], NOW, ZoneInfo("Europe/Berlin")).file()
