"""Erasure: nothing of the person is left where bytes are kept, what counts stays, and nobody comes back by accident."""

from __future__ import annotations

import base64
import json
import quopri
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa

from channels import sandbox
from channels.base import EventKind
from orchestrator.audit import verify
from orchestrator.erase import Places, Refused, erase, finish, missing, read_list, replay, unreplayed
from orchestrator.importing import import_rows, merge_customers
from orchestrator.rejudge import examine
from orchestrator.seal import seal
from orchestrator.store import rights
from orchestrator.store import tables as t
from tests.outgoing import World, audit, files, journey, world_of

WHO = {
    "key": "wilhelmina-brontë-77",
    "first_name": "Wilhelmina",
    "last_name": "Brontë-Östergård",
    "email": "wilhelmina.b@example.com",
    "phone": "+4917139777777",
    "street": "Zwölfzimmergasse 12",
    "city": "Kötzschenbroda",
    "postcode": "01445",
}
OLD = {"key": "w-older-record", "first_name": "Wilhelmina", "last_name": "Östergård-Alt", "email": "w.alt@example.com"}
TOKEN = "push-token-of-wilhelmina"
SECRETS = (
    *(WHO[name] for name in ("key", "first_name", "last_name", "email", "phone", "street", "city")),
    *(OLD[name] for name in ("key", "last_name", "email")),
    TOKEN,
    "order-of-wilhelmina-4711",
    "contract-wilhelmina",
    "call-with-wilhelmina",
)
STEPS = """
- email: hello
- sms: short
- push: ping
- mail: letter
- task: someone@small.example
  message: "Call {{ customer.first_name }} {{ customer.last_name }} in {{ customer.city }}"
- wait: 30 days
- email: second
"""


def forms(text: str) -> set[bytes]:
    """A text as files may have it: plain, UTF-16, within JSON, in a URL, quoted-printable, base64 at any offset."""
    found = {text, json.dumps(text)[1:-1], quote(text), quote_plus(text), quote(text, safe="@+"), text.casefold()}
    out = {form.encode() for form in found} | {text.encode("utf-16-le"), text.encode("latin-1", "ignore")}
    out.add(quopri.encodestring(text.encode()).strip())
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + text.encode())
        out.add(coded[4 if before else 0 : -4])  # the edges are shared with what stands before and behind
    return {form for form in out if len(form) > 4}


def places_of(world: World, folder: Path) -> Places:
    exports = folder / "exports"
    exports.mkdir(exist_ok=True)
    return Places(folder / "keys.erased.jsonl", (lambda mine: sandbox.forget(world.folder, mine),), exports, folder)


def told(path: Path) -> dict[str, list[str]]:
    """Which of the person's words are in the files below a folder: file → words."""
    found: dict[str, list[str]] = {}
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        data = file.read_bytes()
        hits = [word for word in SECRETS if any(form in data for form in forms(word))]
        if hits or any(any(form in file.name.encode() for form in forms(word)) for word in SECRETS):
            found[file.name] = hits
    return found


def in_rows(world: World) -> dict[str, set[str]]:
    """Which of the person's words the tables' rows show: table → words."""
    found: dict[str, set[str]] = {}
    with world.store.read() as conn:
        for table in t.metadata.sorted_tables:
            for row in conn.execute(sa.select(table)):
                data = b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
                hits = {word for word in SECRETS if any(form in data for form in forms(word))}
                found.setdefault(table.name, set()).update(hits)
    return {name: hits for name, hits in found.items() if hits}


def lived(world: World) -> tuple[int, int]:
    """A person who got something on every medium, answered, was merged, called by others; and her neighbour."""
    world.apply(files({"hello": journey("hello", STEPS, more="reentry: always")}))
    neighbour, her, older = *world.people(1), *world.people(1, **WHO), *world.people(1, **OLD)
    with world.store.write() as conn:
        conn.execute(t.device.insert().values(customer_id=her, token=TOKEN, platform="web", created_at=world.now))
        t_row = {"customer_id": her, "department": "support", "medium": "task", "at": world.now}
        conn.execute(t.touch.insert().values(key="call-with-wilhelmina", received_at=world.now, **t_row))
        conn.execute(t.support_case.insert().values(key="wilhelmina.b@example.com #9", customer_id=her,
                                                    opened_at=world.now, closed_at=world.now))  # fmt: skip
        conn.execute(t.record.insert().values(type="contract", key="contract-wilhelmina", customer_id=her,
                                              fields={"name": WHO["last_name"]}, created_at=world.now,
                                              updated_at=world.now))  # fmt: skip
        conn.execute(t.customer.update().where(t.customer.c.id == her).values(attributes={"town": WHO["city"]}))
    merge_customers(world.store, world.keys, WHO["key"], OLD["key"], now=world.now)
    world.event([neighbour, her])
    world.event([her], "bought", order_id="order-of-wilhelmina-4711", amount=500, amount_currency="EUR")
    world.tick(8)
    attempts = {k.medium.value: k.attempt for k in world.outbox() if WHO["first_name"] in world.opened(k)}
    assert {"email", "sms", "mail", "task"} <= set(attempts), attempts
    world.hear(attempts["email"], EventKind.CLICKED, url=f"https://shop.example/?for={quote(WHO['email'])}")
    world.pass_time(days=1)
    assert older
    return her, neighbour


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Of which the files are looked at by tests of their own: to write PostgreSQL's anew takes seconds."""
    found = world_of(str(request.getfixturevalue(f"{request.param}_database_url")))
    if request.param == "postgresql":
        monkeypatch.setattr(rights, "scrub", lambda store: [])
    yield found
    found.store.close()


def erased_one(world: World, folder: Path) -> Any:
    return erase(world.store, world.keys, WHO["key"], places_of(world, folder), now=world.now, by="dpo")


# ---- the bytes ------------------------------------------------------------------------------------------------------


def test_no_byte_of_her_is_left_and_the_neighbour_is_untouched(tmp_path, sqlite_database_url):
    """On SQLite, the files themselves: database, WAL, shared memory; the outbox; exports; refused rows."""
    world = world_of(sqlite_database_url)
    her, neighbour = lived(world)
    places = places_of(world, tmp_path)
    assert places.exports is not None
    (places.exports / f"customer-{her}.md").write_text("all about her")
    (places.exports / "march.csv").write_text(f"id,to\n1,{WHO['email']}\n")
    (places.exports / "april.csv").write_text("id,to\n1,somebody.else@example.com\n")
    refused = tmp_path / "people.quarantine-12345678.csv"
    refused.write_text(f"_line,_problem,key,email\n2,bad,x1,{WHO['email']}\n3,bad,x2,other@example.com\n")
    sandbox.browse(world.folder)
    database = tmp_path / "test.db"
    assert told(database) or told(tmp_path / "test.db-wal")
    assert len(told(world.folder)) > 4
    theirs = {f"m{m.id}a1" for m in world.messages() if m.customer_id == neighbour}
    before = {k.file: world.opened(k) for k in world.outbox() if k.attempt.partition("d")[0] in theirs}
    assert len(before) == 5

    report = erased_one(world, tmp_path)

    assert report.left == ()
    assert report.emptied.customers == 2
    assert report.emptied.runs_ended == 1
    assert report.deliveries == 4 + 3, "five media, and of the push three devices"
    assert (report.exports, report.quarantined) == (2, 1)
    assert told(tmp_path) == {}
    assert told(world.folder) == {}
    assert (places.exports / "april.csv").exists()
    assert "other@example.com" in refused.read_text()
    assert {k.file: world.opened(k) for k in world.outbox()} == before
    assert world.one(sa.select(t.customer.c.email).where(t.customer.c.id == neighbour)) == "c1@example.com"


def test_nothing_of_her_stands_in_any_table(world, tmp_path):
    her, _ = lived(world)
    shown = in_rows(world)
    assert {"customer", "device", "event", "record", "touch", "support_case", "feedback"} <= set(shown)
    report = erased_one(world, tmp_path)
    assert in_rows(world) == {}
    assert report.left == ()
    row = world.rows(sa.select(t.customer).where(t.customer.c.id == her))[0]
    assert (row.key, row.salt, row.attributes) == (f"erased-{her}", None, {})
    assert row.erased_at == row.left_at == world.now


def test_postgresql_keeps_nothing_in_the_files_of_its_tables(postgres, postgresql_database_url, tmp_path):
    """After VACUUM FULL and a checkpoint: the files of the database's tables and indexes. (The WAL goes its own way,
    which the guide says.)"""
    world = world_of(postgresql_database_url)
    lived(world)
    with world.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE")  # samples of her values are in the statistics now
        assert WHO["email"] in str(conn.exec_driver_sql("SELECT array_agg(histogram_bounds::text) FROM pg_stats "
                                                        "WHERE tablename = 'customer'").scalar_one())  # fmt: skip
    assert erased_one(world, tmp_path).left == ()
    with world.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("CHECKPOINT")
        folder = Path(conn.exec_driver_sql("SHOW data_directory").scalar_one())
        oid = conn.exec_driver_sql("SELECT oid FROM pg_database WHERE datname = current_database()").scalar_one()
        live = conn.exec_driver_sql("SELECT pg_relation_filenode(oid) FROM pg_class").scalars().all()
    names = {str(node) for node in live if node}
    found: dict[str, Any] = {}
    for file in (folder / "base" / str(oid)).iterdir():
        if file.name.split(".")[0] in names:
            found |= told(file)
    world.store.close()
    assert found == {}


# ---- what stays -----------------------------------------------------------------------------------------------------


def test_the_ledgers_stand_and_the_log_says_erased(world, tmp_path):
    her, _ = lived(world)
    before = world.rows(sa.select(t.log).order_by(t.log.c.id))
    erased_one(world, tmp_path)
    after = world.rows(sa.select(t.log).order_by(t.log.c.id))
    assert after[: len(before)] == before
    line = next(row for row in after if row.kind == "operation")
    assert (line.verdict, line.reason) == ("erased", "request")
    body = json.loads(line.body)
    assert (body["customer"], body["by"], body["customers"]) == (her, "dpo", 2)
    lines = world.log()
    hers = {row.id for row in world.rows(sa.select(t.message.c.id).where(t.message.c.customer_id == her))}
    decided = [x for x in lines if x["kind"] == "decision"]
    assert all(x["sealed"] == "erased" and x["detail"] is None for x in decided if x["message_id"] in hers)
    others = [x for x in decided if x["message_id"] not in hers]
    assert others
    assert all(x["detail"] for x in others)


def test_the_log_verifies_and_says_erased(world, tmp_path):
    """Sealed before and after: the tree stands, and every decision about her is told as erased, not as lost."""
    lived(world)
    seal(world.store, world.keys, now=world.now)
    before = verify(world.store, world.keys, now=world.now, examine=examine)
    assert before.ok, before.findings
    erased_one(world, tmp_path)
    seal(world.store, world.keys, now=world.now)
    report = verify(world.store, world.keys, now=world.now, examine=examine)
    assert report.ok, report.findings
    assert report.judged["erased"] == 5, "each decision about her"
    assert before.judged.get("erased", 0) == 0
    assert report.size > before.size
    assert report.entries["erased"] >= 5


def test_her_addresses_are_suppressed_and_nothing_more_goes_out(world, tmp_path):
    her, _ = lived(world)
    world.move()
    report = erased_one(world, tmp_path)
    keys = {(s.medium, s.address_key) for s in world.rows(sa.select(t.suppression)) if s.reason == "erased"}
    for medium, address in (("email", WHO["email"]), ("email", OLD["email"]), ("sms", WHO["phone"]), ("push", TOKEN)):
        assert (medium, world.keys.address_key(medium, address)) in keys
    assert "mail" in {medium for medium, _ in keys}
    assert report.emptied.addresses_suppressed == len(keys)
    out = len(world.outbox())
    world.pass_time(days=60)
    world.tick(4)
    sent = world.rows(sa.select(t.message).where(t.message.c.customer_id == her, t.message.c.settled_at > world.now))
    assert sent == []
    assert all(k.attempt for k in world.outbox()[out:])


def test_what_was_planned_is_cancelled_and_said(world, tmp_path):
    her, _ = lived(world)
    world.pass_time(days=29)
    world.move()  # the second e-mail is planned
    assert world.states()["planned"] == 2
    report = erased_one(world, tmp_path)
    assert report.emptied.messages_cancelled == 1
    last = world.rows(sa.select(t.message).where(t.message.c.customer_id == her).order_by(t.message.c.id.desc()))[0]
    assert (last.state, last.reason) == ("cancelled", "erased")
    run = world.rows(sa.select(t.enrollment).where(t.enrollment.c.customer_id == her))[0]
    assert (run.ended_because, run.run_key, run.memory) == ("erased", f"erased-{run.id}", {})


def test_what_is_heard_of_her_later_names_her_no_more(world, tmp_path):
    """A click that comes in after the erasure: counted, and the address of the link is not kept."""
    lived(world)
    attempt = next(k.attempt for k in world.outbox() if k.medium == "email" and WHO["first_name"] in world.opened(k))
    erased_one(world, tmp_path)
    world.pass_time(hours=1)
    report = world.hear(attempt, EventKind.CLICKED, url=f"https://shop.example/?for={quote(WHO['email'])}")
    assert report.new == {"clicked": 1}
    assert in_rows(world) == {}


def test_what_others_wrote_meanwhile_is_swept_up(world, tmp_path):
    """A run that was just beginning, an event that was just coming in: the erasure waits for neither."""
    her, _ = lived(world)
    places = places_of(world, tmp_path)

    def late(mine: Any) -> int:
        world.event([her], "bought", order_id="order-of-wilhelmina-4711")
        with world.store.write() as conn:
            version = conn.execute(sa.select(t.enrollment.c.version).limit(1)).scalar_one()
            row = {"journey": "hello", "version": version, "unit": "customer", "unit_id": her, "customer_id": her}
            row |= {"run_key": "order-of-wilhelmina-4711", "live_key": "", "entered_at": world.now, "since": world.now}
            conn.execute(t.enrollment.insert().values(**row))
        return 0

    erase(world.store, world.keys, WHO["key"], Places(places.listed, (*places.forget, late), places.exports),
          now=world.now, by="dpo")  # fmt: skip
    assert in_rows(world) == {}
    assert all(run.ended_at for run in world.rows(sa.select(t.enrollment)) if run.customer_id == her)


def test_a_company_keeps_its_totals(world, tmp_path):
    lived(world)
    with world.store.write() as conn:
        row = {"key": "acme", "class": "b2b", "name": "Acme", "attributes": {}}
        account = conn.execute(
            t.account.insert().values(created_at=world.now, updated_at=world.now, **row).returning(t.account.c.id)
        ).scalar_one()
        her = conn.execute(sa.select(t.customer.c.id).where(t.customer.c.key == WHO["key"])).scalar_one()
        conn.execute(t.customer.update().where(t.customer.c.id == her).values(account_id=account))
    world.event([her], "bought", order_id="order-of-wilhelmina-4711", amount=70_00, amount_currency="EUR")
    report = erased_one(world, tmp_path)
    event = world.rows(sa.select(t.event).where(t.event.c.account_id == account))[0]
    assert (event.type, event.customer_id) == ("bought", None)
    assert event.properties == {"amount": 70_00, "amount_currency": "EUR"}
    assert event.key == f"erased-{event.id}"
    assert report.accounts == ("acme",), "told: its only contact is gone, and its name may be hers"


# ---- a message in somebody's hand -----------------------------------------------------------------------------------


def test_erased_while_a_batch_is_being_handed_over_is_not_sent(world, tmp_path):
    """The last look before the next request finds her gone."""
    world.apply(files({"hello": journey("hello", "- email: hello")}))
    world.batch_size = 1
    world.__post_init__()
    world.people(1)
    [her] = world.people(1, **WHO)
    world.event([1, her])
    world.move()
    erased: list[Any] = []

    def act(outbound: Any, number: int) -> Any:
        if not erased:
            erased.append(erased_one(world, tmp_path))
        return sandbox.ACCEPT

    world.behaviour = act
    world.deliver()
    states = {row.customer_id: row.state for row in world.messages()}
    assert states == {1: "sent", her: "cancelled"}
    assert len(world.outbox()) == 1
    assert erased[0].left, "it was under way: to be finished"
    assert finish(world.store, places_of(world, tmp_path)) == []
    with world.store.read() as conn:
        assert rights.left_to_do(conn) == {}
    assert in_rows(world) == {}
    audit(world)


def test_a_message_that_went_out_meanwhile_is_forgotten_by_the_next_finish(world, tmp_path):
    world.apply(files({"hello": journey("hello", "- email: hello")}))
    [her] = world.people(1, **WHO)
    world.event([her])
    world.move()
    reports: list[Any] = []

    def erased_at_the_provider(outbound: Any, number: int) -> Any:
        reports.append(erased_one(world, tmp_path))
        return sandbox.ACCEPT

    world.behaviour = erased_at_the_provider
    world.deliver()
    assert reports[0].left
    assert told(world.folder), "it was in the provider's hand already"
    assert finish(world.store, places_of(world, tmp_path)) == []
    assert told(world.folder) == {}
    assert in_rows(world) == {}


@pytest.mark.parametrize("where", ["forget", "scrub"])
def test_killed_between_the_transaction_and_the_files_it_is_finished_later(
    where, sqlite_database_url, tmp_path, monkeypatch
):
    world = world_of(sqlite_database_url)
    lived(world)
    places = places_of(world, tmp_path)

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    broken = places
    if where == "forget":
        broken = Places(places.listed, (killed,), places.exports, places.folder)
    with monkeypatch.context() as patch:
        if where == "scrub":
            patch.setattr(rights, "scrub", killed)
        with pytest.raises(KeyboardInterrupt):
            erase(world.store, world.keys, WHO["key"], broken, now=world.now, by="dpo")
    with world.store.read() as conn:
        assert rights.left_to_do(conn)
    assert finish(world.store, places) == []
    assert told(tmp_path) == {}
    assert told(world.folder) == {}
    with world.store.read() as conn:
        assert rights.left_to_do(conn) == {}


def test_rolled_back_nothing_is_gone_and_the_list_demands_that_it_be_done(sqlite_database_url, tmp_path, monkeypatch):
    world = world_of(sqlite_database_url)
    lived(world)
    places = places_of(world, tmp_path)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("power cut")

    real = world.store.write
    from contextlib import contextmanager

    @contextmanager
    def cut() -> Iterator[Any]:
        with real() as conn:
            yield conn
            if conn.execute(sa.select(sa.func.count()).select_from(t.erased)).scalar_one():
                broken()

    monkeypatch.setattr(world.store, "write", cut)
    with pytest.raises(RuntimeError):
        erased_one(world, tmp_path)
    monkeypatch.undo()
    assert world.one(sa.select(t.customer.c.email).where(t.customer.c.key == WHO["key"])) == WHO["email"]
    assert "nothing is sent" in unreplayed(world.store, places.listed)
    assert replay(world.store, world.keys, places, now=world.now, by="dpo").people == 1
    assert unreplayed(world.store, places.listed) == ""
    assert told(tmp_path) == {}


# ---- coming back ----------------------------------------------------------------------------------------------------


BACK: tuple[tuple[Mapping[str, str], str], ...] = (
    ({"key": WHO["key"]}, "this key"),
    ({"key": OLD["key"]}, "this key"),
    ({"key": "new-1", "email": "Wilhelmina.B@EXAMPLE.com"}, "this e-mail address"),
    ({"key": "new-2", "phone": "+49 171 39777777"}, "this number"),
    ({"key": "new-3", **{n: WHO[n] for n in ("first_name", "last_name", "street", "city", "postcode")}}, "this name"),
)


def test_a_later_import_of_her_is_put_aside(world, tmp_path):
    lived(world)
    erased_one(world, tmp_path)
    vocabulary = world.apply(files({"hello": journey("hello", STEPS)})).vocabulary
    rows = [{"class": "b2c", **row} for row, _ in BACK] + [{"key": "zoe", "class": "b2c"}]
    report = import_rows(world.store, world.keys, vocabulary, "customers", rows, now=world.now)
    assert (report.inserted, report.quarantined) == (1, len(BACK))
    for (_, told_of), refused in zip(BACK, report.refused, strict=True):
        assert told_of in refused.problem
        assert "was erased on 2027-03-02" in refused.problem
        assert not any(form in refused.problem.encode() for word in SECRETS for form in forms(word))


def test_her_household_and_those_who_are_known_are_not_put_aside(world, tmp_path):
    lived(world)
    world.people(1, key="known", email=WHO["email"])
    erased_one(world, tmp_path)
    vocabulary = world.apply(files({"hello": journey("hello", STEPS)})).vocabulary
    house = {n: WHO[n] for n in ("last_name", "street", "city", "postcode")}
    rows = [{"key": "son", "class": "b2c", "first_name": "Emil", **house}, {"key": "known", "email": WHO["email"]}]
    report = import_rows(world.store, world.keys, vocabulary, "customers", rows, now=world.now)
    assert report.quarantined == 0
    devices = [{"token": TOKEN, "customer": "son", "platform": "web"}]
    report = import_rows(world.store, world.keys, vocabulary, "devices", devices, now=world.now)
    assert "this device" in report.refused[0].problem


def test_a_second_erasure_is_refused_and_an_unknown_key_too(world, tmp_path):
    her, _ = lived(world)
    erased_one(world, tmp_path)
    for key in (WHO["key"], f"erased-{her}", "nobody"):
        with pytest.raises(Refused) as refused:
            erase(world.store, world.keys, key, places_of(world, tmp_path), now=world.now, by="dpo")
        assert WHO["key"] not in str(refused.value)
    with pytest.raises(Refused, match="no reason that is known"):
        erase(world.store, world.keys, "c1", places_of(world, tmp_path), now=world.now, by="dpo", reason="she asked")


# ---- a backup is restored -------------------------------------------------------------------------------------------


def test_a_restored_backup_sends_nothing_until_the_erasures_are_replayed(sqlite_database_url, tmp_path):
    from orchestrator.tick import tick

    world = world_of(sqlite_database_url)
    lived(world)
    places = places_of(world, tmp_path)
    world.store.close()
    backup = tmp_path / "backup.db"
    with world.store.engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    world.store.close()
    shutil.copy(tmp_path / "test.db", backup)
    erased_one(world, tmp_path)
    world.store.close()
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f"test.db{ending}").unlink(missing_ok=True)
    backup.rename(tmp_path / "test.db")
    assert "test.db" in told(tmp_path)

    world.pass_time(days=40)
    out = len(world.outbox())

    def ticked() -> Any:
        return tick(world.store, world.channels, world.keys, clock=lambda: world.now, budget_seconds=20, worker="w",
                    erasures=places.listed)  # fmt: skip

    report = ticked()
    assert "1 person was erased whom this database still knows" in report.problems[0]
    assert "customer erase --replay" in report.problems[0]
    assert len(world.outbox()) == out
    done = replay(world.store, world.keys, places, now=world.now, by="dpo")
    assert (done.entries, done.people, done.left) == (1, 1, ())
    assert told(tmp_path) == {}
    assert ticked().problems == ()
    assert not any(WHO["first_name"] in world.opened(k) for k in world.outbox())
    assert len(world.outbox()) > out, "the neighbour gets the second e-mail"
    with world.store.read() as conn:
        assert missing(conn, places.listed) == []


def test_a_backup_from_before_she_came_learns_of_her(world, tmp_path):
    """Nobody to erase, and still nobody may be imported who was."""
    other = world_of(f"sqlite:///{tmp_path / 'other.db'}")
    lived(other)
    places = places_of(other, tmp_path)
    erase(other.store, other.keys, WHO["key"], places, now=other.now, by="dpo")
    assert unreplayed(world.store, places.listed)
    done = replay(world.store, world.keys, places, now=other.now, by="dpo")
    assert (done.entries, done.people) == (1, 0)
    assert unreplayed(world.store, places.listed) == ""
    assert ("email", world.keys.address_key("email", WHO["email"])) in {
        (s.medium, s.address_key) for s in world.rows(sa.select(t.suppression))
    }


def test_the_list_is_private_and_names_nobody(sqlite_database_url, tmp_path):
    world = world_of(sqlite_database_url)
    lived(world)
    erased_one(world, tmp_path)
    listed = tmp_path / "keys.erased.jsonl"
    assert listed.stat().st_mode & 0o777 == 0o600
    assert told(listed) == {}
    first, second = (json.loads(line) for line in listed.read_text().splitlines())
    assert {kind for kind, _ in first["hashes"]} == {"key", "email", "sms", "mail", "push"}
    assert "done" in second


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_text('{"at": "2027'), ""),
        (lambda path: path.write_text('{"at": "2027\n{}\n'), "damaged in line 1"),
        (lambda path: path.mkdir(), "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_read_stops_everything_but_half_a_line_at_its_end(
    world, tmp_path, spoil: Callable[[Path], Any], says
):
    listed = tmp_path / "list.jsonl"
    spoil(listed)
    assert says in unreplayed(world.store, listed)
    if not says:
        assert unreplayed(world.store, listed) == ""
        assert read_list(listed) == []


def test_the_ids_of_events_are_never_given_out_again(world, tmp_path):
    """Ticks have looked as far as an id: an event that was deleted would give its number to one that nobody sees."""
    lived(world)
    newest = world.one(sa.select(sa.func.max(t.event.c.id)))
    erased_one(world, tmp_path)
    assert world.one(sa.select(sa.func.max(t.event.c.id))) == newest


def _settings(world: World) -> Mapping[str, str]:
    return {row.name: row.value for row in world.rows(sa.select(t.setting))}


def test_what_is_left_to_do_is_remembered_by_numbers(sqlite_database_url, tmp_path):
    world = world_of(sqlite_database_url)
    her, _ = lived(world)
    with world.store.write() as conn:
        rights.note_left(conn, her, [her], ("outbox",))
    assert json.loads(_settings(world)[f"erasing:{her}"]) == {"ids": [her], "left": ["outbox"]}
