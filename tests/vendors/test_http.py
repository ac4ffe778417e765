"""What a request came to, as channels are told it."""

import gzip
import multiprocessing
import socket
import subprocess
import sys
import threading
import time

import pytest

import channels._http
from channels._http import Answer, Http, Request, only, required, retry_after
from channels.base import Misconfigured, Unavailable, Uncertain
from tests.vendors.server import HANG_UP, RESET, Asked, Reply, Vendor, slow, together


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


def test_requests_are_under_way_together():
    http = Http(at_once=20)
    with Vendor(echo) as vendor:
        vendor.next(*together(20))
        assert all(a.status == 200 for a in http.all(posts(vendor.url, 20)))
    http.close()


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
    [
        ("3", 3.0),
        ("²", None),
        ("9" * 30, 1e30),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 50.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("soon", None),
    ],
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


def test_a_resolver_that_hangs_has_handed_nothing_over(monkeypatch):
    """Without that, an outage of the network would make every message uncertain, and uncertain advertising is lost."""

    def hangs(*_: object, **__: object) -> list[object]:
        time.sleep(1.0)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    http = Http(at_once=2, total_seconds=0.5)
    try:
        answer = http.one(Request(1, "POST", "http://vendor.example/", {}, b"x"))
    finally:
        http.close()
    assert type(answer.failed) is Unavailable


def test_a_body_that_unpacks_to_a_thousandfold_is_read_to_a_bound(http):
    bomb = gzip.compress(b"0" * 60_000_000)
    with Vendor(lambda asked: Reply(200, {"Content-Encoding": "gzip"}, bomb)) as vendor:
        answer = http.one(posts(vendor.url, 1)[0])
    assert len(answer.body) <= channels._http._MOST


def test_a_flood_of_headers_is_no_answer(http):
    with Vendor(lambda asked: Reply(200, {f"X-{n}": "a" * 500 for n in range(2000)})) as vendor:
        flooded, usual = http.one(posts(vendor.url, 1)[0]), None
        vendor.answer = echo
        usual = http.one(posts(vendor.url, 1)[0])
    assert flooded.status == 200 or type(flooded.failed) is Uncertain
    assert usual.status == 200, "and the connections are as good as before"


def test_connections_do_not_leak_behind_errors(http):
    with Vendor(echo) as vendor:
        for reply in (RESET, HANG_UP, slow(1.2)):
            vendor.next(*[reply] * 20)
            assert all(a.failed for a in http.all(posts(vendor.url, 20)))
        assert sum(a.status == 200 for a in http.all(posts(vendor.url, 40))) == 40


def test_nobody_is_recognised_by_a_cookie(http):
    with Vendor(lambda asked: Reply(200, {"Set-Cookie": "id=1"})) as vendor:
        vendor.url = vendor.url.replace("127.0.0.1", "localhost")
        for _ in range(2):
            http.one(posts(vendor.url, 1)[0])
        assert "cookie" not in vendor.asked[-1].headers


def test_a_connector_that_cannot_be_made_is_an_answer_and_no_wait():
    def broken():
        raise RuntimeError("no")

    assert type(Http(connector=broken).one(Request(1, "POST", "http://127.0.0.1:1/")).failed) is Unavailable


@pytest.mark.parametrize("dies", ["raises", "never comes back"])
def test_nobody_waits_for_ever_for_a_loop_that_died(monkeypatch, dies):
    async def ask(session, request):
        if dies == "raises":
            raise BaseException("not an Exception")
        threading.Event().wait(1.5)

    monkeypatch.setattr(channels._http, "_ask", ask)
    monkeypatch.setattr(channels._http, "_SLACK", 0.1)
    http = Http(at_once=2, total_seconds=0.5)
    answers = list(http.all([Request(1, "GET", "http://127.0.0.1:1/")]))
    assert [type(a.failed) for a in answers] == [Uncertain] and answers[0].key == 1


def _asked_in_a_child(http, url, told):
    told.send(http.one(Request(1, "POST", url, {}, b"x")).status)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_a_loop_of_its_own(http):
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    with Vendor(echo) as vendor:
        assert http.one(posts(vendor.url, 1)[0]).status == 200
        child = multiprocessing.get_context("fork").Process(
            target=_asked_in_a_child, args=(http, vendor.url, theirs), daemon=True
        )
        child.start()
        told = ours.recv() if ours.poll(8) else None
        child.join(3)
        if child.is_alive():
            child.kill()
        assert told == 200
        assert http.one(posts(vendor.url, 1)[0]).status == 200


def test_the_end_of_the_program_is_quiet():
    with Vendor(echo) as vendor:
        vendor.next(slow(3.0))
        program = (
            "from channels._http import Http, Request\n"
            "import threading, time\n"
            f"h = Http(total_seconds=5); r = Request(1, 'POST', '{vendor.url}', {{}}, b'x')\n"
            "threading.Thread(target=lambda: h.one(r), daemon=True).start(); time.sleep(0.3)\n"
            "assert h.one(r).status == 200\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20)
    assert (ended.returncode, ended.stderr) == (0, b"")
