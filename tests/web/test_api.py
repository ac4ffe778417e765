"""The API: who may call, what is taken, what is answered, and that nothing sent to it makes it fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.base import Medium
from orchestrator.accepting import SCOPES
from orchestrator.store import access
from orchestrator.store import tables as t
from orchestrator.web.api import key_hash, new_key
from orchestrator.web.offer import openapi
from tests.outgoing import World, audit, files, journey, world_of
from tests.web.site import Asked


class Calling:
    """A system with a key."""

    def __init__(self, world: World, *scopes: str) -> None:
        self.world, self.asked, self.key = world, Asked(world), new_key()
        with world.store.write() as conn:
            assert access.add_caller(conn, f"shop{self.key[4:8]}", key_hash(self.key), scopes or SCOPES, world.now)

    def __call__(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.asked.post(f"/v1/{path}", content=content, headers={**given, **named})


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    world = world_of(database_url)
    called = journey("called", "- email: hello", trigger="api")
    world.apply(files({"hello": journey("hello", "- email: hello"), "called": called}))
    yield world
    audit(world)
    world.store.close()


def count(world: World, table: sa.Table) -> int:
    return int(world.one(sa.select(sa.func.count()).select_from(table)))


def test_rows_are_taken_as_an_import_takes_them(world: World) -> None:
    call = Calling(world)
    told = call(
        "customers",
        [
            {
                "key": "ana",
                "class": "b2c",
                "email": "ana@example.com",
                "first_name": "Ana",
                "country": "DE",
                "timezone": "Europe/Berlin",
            },
            {"key": "b"},
        ],
    )
    assert told.status_code == 200
    assert told.json() == {
        "rows": 2,
        "inserted": 1,
        "updated": 0,
        "unchanged": 0,
        "refused": [{"row": 2, "problem": "class is missing; a new customer needs one"}],
        "warnings": [],
    }
    event = {"type": "signed_up", "key": "e1", "customer": "ana", "occurred_at": "2027-03-01T10:00:00Z", "source": "x"}
    assert call("events", event).json()["inserted"] == 1
    assert call("events", {"rows": [event]}).json()["unchanged"] == 1, "the same event again is the same event"
    device = {"token": "tok-1", "customer": "ana", "platform": "ios"}
    assert call("devices", device).json()["new"] == 1
    assert call("devices", {**device, "gone": True}).json()["gone"] == 1
    assert call("devices", device).json()["back"] == 1
    assert call("devices", {**device, "platform": "fax"}).status_code == 422
    said = {"customer": "ana", "medium": "email", "topic": "offers", "action": "confirm"}
    said |= {"basis": "express_written", "method": "form", "occurred_at": "2027-03-01T10:00:00Z"}
    assert call("consents", said).json()["inserted"] == 1
    world.tick()
    assert [(m.state, m.reason) for m in world.messages()] == [("sent", None)]


def test_nobody_gets_in_without_a_key_of_the_right_kind(world: World) -> None:
    call = Calling(world, "events")
    assert call("customers", [{"key": "a"}]).status_code == 403
    for header in ("", "Bearer", "Bearer x", f"Bearer {new_key()}", f"Basic {call.key}", f"Bearer {call.key}x"):
        answer = call.asked.post("/v1/events", content=b"[]", headers={"Authorization": header})
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
    assert call.asked.get("/v1/openapi.json").status_code == 401
    with world.store.write() as conn:
        name = access.callers(conn)[0].name
        assert access.revoke_caller(conn, name, world.now) and not access.revoke_caller(conn, name, world.now)
    assert call("events", []).status_code == 401
    stored = world.rows(sa.select(t.api_key))
    assert call.key not in str(stored) and count(world, t.event) == 0


def test_too_many_requests_are_told_when_to_come_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.api.PER_MINUTE", 2)
    call = Calling(world)
    answers = [call("events", []) for _ in range(3)]
    assert [a.status_code for a in answers] == [422, 422, 429] and answers[2].headers["retry-after"]


def test_a_request_that_comes_twice_is_done_once(world: World) -> None:
    call = Calling(world)
    row = {"key": "ana", "class": "b2c"}
    first = call("customers", row, Idempotency_Key="r-1")
    with world.store.write() as conn:
        conn.execute(t.customer.update().values(tier="gold"))
    again = call("customers", row, Idempotency_Key="r-1")
    assert (again.status_code, again.json()) == (200, first.json()) and again.headers["idempotency-replayed"] == "true"
    assert call("customers", {**row, "tier": "silver"}, Idempotency_Key="r-1").status_code == 422
    assert call("events", row, Idempotency_Key="r-1").status_code == 422
    other = Calling(world)
    assert other("customers", row, Idempotency_Key="r-1").json()["unchanged"] == 1, "each system has its own keys"
    assert call("customers", row, Idempotency_Key="a b").status_code == 400
    world.pass_time(days=8)
    assert call("customers", {**row, "tier": "silver"}, Idempotency_Key="r-1").json()["updated"] == 1


def test_a_request_at_work_is_not_begun_again(world: World) -> None:
    call = Calling(world)
    with world.store.write() as conn:
        caller = access.caller(conn, key_hash(call.key))
        assert caller is not None
        import hashlib

        key = hashlib.sha256(b"r-1").hexdigest()
        body = json.dumps({"key": "ana", "class": "b2c"}).encode()
        request = hashlib.sha256(b"\0".join((b"POST", b"/v1/customers", body))).hexdigest()
        assert access.claim(conn, caller.id, key, request, world.now) is None
    assert call("customers", body, Idempotency_Key="r-1").status_code == 409
    world.pass_time(minutes=6)  # its process is gone
    assert call("customers", body, Idempotency_Key="r-1").json()["inserted"] == 1


def test_a_journey_is_entered_by_name_once_for_each_key(world: World) -> None:
    call = Calling(world)
    ids = world.people(3)
    keys = [f"c{i}" for i in ids]
    told = call("journeys/called/enroll", {"customers": [*keys, "nobody"], "key": "order-1"})
    assert told.json()["entered"] == 3
    assert told.json()["refused"] == [{"row": 4, "problem": "this customer is not known"}]
    again = call("journeys/called/enroll", {"customers": keys, "key": "order-1"})
    assert again.json()["entered"] == 0
    assert call("journeys/hello/enroll", {"customers": keys, "key": "x"}).status_code == 409
    assert call("journeys/nothing/enroll", {"customers": keys, "key": "x"}).status_code == 404
    wrong: Any
    for wrong in ({"customers": keys}, {"customers": [], "key": "x"}, {"key": "x"}, [], {"customers": [1], "key": "x"},
                 {"customers": keys, "accounts": keys, "key": "x"}, {"customers": keys, "key": "a b"}):  # fmt: skip
        assert call("journeys/called/enroll", wrong).status_code == 422, wrong
    world.tick()
    assert world.states() == {"sent": 3}


def test_a_sign_up_is_asked_to_be_confirmed(world: World) -> None:
    call = Calling(world)
    call("customers", {"key": "ana", "class": "b2c", "email": "ana@example.com"})
    row = {"customer": "ana", "topic": "offers", "action": "request", "ip": "203.0.113.7", "wording": "Yes, please"}
    told = call("consents", row)
    assert told.status_code == 422 and "double_opt_in" in told.json()["refused"][0]["problem"]
    assert call("consents", [row, {**row, "action": "grant"}]).status_code == 422
    assert (
        call("consents", {**row, "topic": "ofers"}).json()["refused"][0]["problem"].startswith("topics: one or several")
    )
    assert count(world, t.consent_event) == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"NaN", 400),
        (b'{"a": Infinity}', 400),
        (b"\xff\xfe", 400),
        (b'"\\ud800"', 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b"[1]", 422),
        (b'{"rows": {}}', 422),
        (b'[{"key": "a\\u0000b"}]', 422),
        (b'[{"key": "a", "x": [[[[[[[[1]]]]]]]]}]', 422),
        (b'[{"key": "a", "x": 1e400}]', 400),
        (b'[{"key": "a", "class": "b2c", "email": 5}]', 422),
        (json.dumps([{"key": "a"}] * 1001).encode(), 422),
    ],
)
def test_what_is_no_row_is_told(world: World, body: bytes, status: int) -> None:
    answer = Calling(world)("customers", body)
    assert answer.status_code == status
    assert count(world, t.customer) == 0


def test_paths_and_methods_that_are_not_there_are_problems_too(world: World) -> None:
    call = Calling(world)
    given = {"Authorization": f"Bearer {call.key}", "Content-Type": "application/json"}
    there = [("GET", "/v1/events", 405), ("POST", "/v1/nothing", 404), ("POST", "/v1/records/x", 404)]
    for method, path, status in there:
        answer = call.asked(method, path, headers=given, content=b'[{"key": "a"}]')
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]
    wrong = call.asked.post("/v1/events", content=b"{}", headers={"Authorization": f"Bearer {call.key}"})
    assert wrong.status_code == 415
    huge = call("events", b" " * (10 * 1024 * 1024 + 1))
    assert huge.status_code == 413 and huge.json()["title"] == "Too large"


def test_before_the_first_apply_nothing_is_taken(database_url: str) -> None:
    world = world_of(database_url)
    assert Calling(world)("customers", {"key": "a"}).status_code == 409
    world.store.close()


# ---- nothing sent to it makes it fail -------------------------------------------------------------------------------

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(
        ["ana", "offers", "email", "grant", "request", "signed_up", "2027-03-01T10:00:00Z", "b2c", "+4930123456"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
_COLUMNS = """
key class tier account email phone first_name country timezone locale type customer occurred_at topic topics medium
action basis token platform wording ip expires_at amount order_id source properties rows customers accounts code
receipt at amount_currency reward
"""
COLUMNS = st.sampled_from(sorted(set(_COLUMNS.split())))
BODY = st.lists(st.dictionaries(COLUMNS, ANY, max_size=8), max_size=4) | st.dictionaries(COLUMNS, ANY) | ANY
_PATHS = """
events customers accounts devices consents records/order records/%00 journeys/called/enroll vouchers/redeem
rewards/claim referrals
"""
PATHS = st.sampled_from([*_PATHS.split(), "journeys/%2e/enroll", "openapi.json"])


@pytest.mark.slow
def test_anything_at_all_is_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.api.PER_MINUTE", 100_000)
    call = Calling(world)
    call("customers", {"key": "ana", "class": "b2c", "email": "ana@example.com"})

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(PATHS, BODY, st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=5))
    def ask(path: str, body: Any, once: str | None) -> None:
        headers = {"Idempotency-Key": once} if once else {}
        answer = call(path, body, **headers)
        assert answer.status_code < 500, (path, body, answer.text)
        assert answer.json()["title" if "problem" in answer.headers["content-type"] else "rows"]

    ask()


@pytest.mark.slow
def test_the_document_says_what_is_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests made from the OpenAPI document, good ones and bad ones: no 5xx, and answers as it describes them."""
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    monkeypatch.setattr("orchestrator.web.api.PER_MINUTE", 100_000)
    call = Calling(world)
    call("customers", {"key": "ana", "class": "b2c", "email": "ana@example.com"})
    schema = schemathesis.openapi.from_dict(openapi("https://small.example"))
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) == 11
    checks = [not_a_server_error, response_schema_conformance, status_code_conformance]
    seen: set[int] = set()
    for operation in operations:

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(operation.as_strategy())
        def ask(case: Any) -> None:
            answer = asked_for(call, case)
            seen.add(answer.status_code)
            case.validate_response(answer, checks=checks)

        ask()
    assert 422 in seen


def asked_for(call: Calling, case: Any) -> httpx.Response:
    with httpx.Client() as client:
        made = case.as_transport_kwargs(base_url="https://small.example")
        request = client.build_request(made["method"], made["url"], json=made.get("json"), headers=made.get("headers"))
    answer = call.asked(
        request.method,
        request.url.raw_path.decode(),
        content=request.content,
        headers={**request.headers, "authorization": f"Bearer {call.key}", "content-type": "application/json"},
    )
    answer.request = request
    return answer


def test_two_at_once_with_one_key_do_the_work_once(world: World) -> None:
    call = Calling(world)
    answers: list[int] = []
    body = [{"key": f"k{n}", "class": "b2c"} for n in range(50)]

    def ask() -> None:
        answers.append(call("customers", body, Idempotency_Key="same").status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(answers) <= {200, 409} and 200 in answers
    assert count(world, t.customer) == 50


__all__ = ["Medium"]
