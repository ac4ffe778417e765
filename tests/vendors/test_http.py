"""What a request came to, as channels are told it."""

import socket
import time

import pytest

from channels._http import Answer, Http, Request, only, required, retry_after
from channels.base import Misconfigured, Unavailable, Uncertain
from tests.vendors.server import HANG_UP, RESET, Asked, Reply, Vendor, slow


def echo(asked: Asked) -> Reply:
    return Reply(200, {"X-Path": asked.path}, asked.body)


def posts(url, count):
    return [Request(n, "POST", f"{url}/{n}", {"Content-Type": "text/plain"}, str(n).encode()) for n in range(count)]


@pytest.fixture
def http():
    made = Http(at_once=20, total_seconds=1.0)
    yield made
    made.close()


def test_every_request_gets_its_own_answer(http):
    with Vendor(echo) as vendor:
        answers = {a.key: a for a in http.all(posts(vendor.url, 100))}
    assert {k: (a.status, a.headers["x-path"], a.body) for k, a in answers.items()} == {
        n: (200, f"/{n}", str(n).encode()) for n in range(100)
    }


def test_requests_are_under_way_together(http):
    with Vendor(echo) as vendor:
        vendor.next(*[slow(0.3)] * 20)
        began = time.monotonic()
        assert all(a.status == 200 for a in http.all(posts(vendor.url, 20)))
        assert vendor.asked[-1].at - began < 0.3


@pytest.mark.parametrize("reply", [RESET, HANG_UP, slow(1.5)], ids=["reset", "half an answer", "time-out"])
def test_what_may_have_been_taken_is_uncertain(http, reply):
    with Vendor(echo) as vendor:
        vendor.next(reply)
        answer = http.one(posts(vendor.url, 1)[0])
    assert type(answer.failed) is Uncertain
    assert "127.0.0.1" not in str(answer.failed)


def test_what_was_never_sent_is_not_taken(http):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answer = http.one(posts(f"http://127.0.0.1:{port}", 1)[0])
    assert type(answer.failed) is Unavailable


def test_redirects_are_not_followed(http):
    with Vendor(lambda asked: Reply(302, {"Location": "/elsewhere"})) as vendor:
        assert http.one(posts(vendor.url, 1)[0]) == Answer(0, 302, vendor_headers(vendor, http), b"")
        assert [a.path for a in vendor.asked] == ["/0", "/0"]


def vendor_headers(vendor, http):
    return http.one(posts(vendor.url, 1)[0]).headers


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 50.0), ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0), ("soon", None)],
)
def test_how_long_to_wait(text, seconds):
    assert retry_after({"retry-after": text}, 50.0) == seconds
    assert retry_after({}, 50.0) is None


def test_settings_are_asked_for_by_name():
    assert required({"a": "1", "b": "2"}, "acme", "b", "a") == ["2", "1"]
    with pytest.raises(Misconfigured, match="acme needs the settings a, c"):
        required({"a": "", "b": "2"}, "acme", "a", "c")
    with pytest.raises(Misconfigured, match="acme has no setting `colour`; known: a"):
        only({"colour": "green"}, "acme", ["a"])
