"""Simulations: the same messages as real ticks at the same instants, the same again by seed, real people sampled."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from channels.base import EventKind, Medium
from channels.null import Null
from orchestrator.model import Window
from orchestrator.project import Project, load_files
from orchestrator.rehearse.behaving import USUAL, Behaving, Sent, learned, read_behaviour
from orchestrator.rehearse.closing import Closings
from orchestrator.rehearse.cohort import KEYS, MadeUp, made_up
from orchestrator.rehearse.sampling import sampled
from orchestrator.rehearse.simulating import simulate
from orchestrator.rehearse.sketching import Sketching
from orchestrator.simulation import Behaviour, Chances, Simulation
from orchestrator.store import Store
from orchestrator.store import tables as t
from orchestrator.tick import tick
from tests.outgoing import POLICIES, files, journey, world_of

BEGIN = datetime(2027, 3, 26, 23, tzinfo=UTC)  # the night before the clock is put forward in Europe
CHANNELS = {medium: Null(medium) for medium in Medium}
EAGER = Behaviour({(m, ""): Chances(0.05, 0.6, 0.5, 0.3, 0.02, 0.03) for m in (Medium.EMAIL, Medium.SMS, Medium.PUSH)})
JOURNEYS = {
    "welcome": journey(
        "welcome",
        "- email: hello\n- wait: 1 day\n- branch:\n    - if: opened(email:hello)\n      steps: [ { push: ping } ]\n"
        "    - else: [ { sms: short } ]\n",
        more="reentry: always\ngoal: { event: bought, within: 20 days }",
    ),
    "buyers": journey(
        "buyers",
        "- wait_until: { time: 10:00 }\n- first_of: [ { email: second }, { sms: short } ]\n  within: 1 day",
        "{ segment_entry: regulars }",
        "reentry: always",
    ),
    "weekly": journey(
        "weekly",
        "- email: second",
        '{ schedule: "0 10 * * 0,1", timezone: recipient }',
        "reentry: always\nholdout: 10%",
    ),
    "orders": journey("orders", "- email: receipt", "{ event: bought, key: order_id }", "reentry: once per order_id"),
}
SEGMENTS = "regulars: count(bought, 10 days) >= 1 and tier != gold\n"


@pytest.fixture(scope="module")
def project() -> Project:
    return load_files(files(JOURNEYS, POLICIES + "  caps:\n    - 2 per day across email, sms, push\n") | _segments())


def _segments() -> dict[str, str]:
    return {"journeys/segments.yaml": SEGMENTS}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as found:
        yield Path(found)


def _people(project: Project) -> MadeUp:
    return made_up(project, 60, 5, rates={"bought": 100.0, "signed_up": 60.0})


def _played(project: Project, folder: Path, seed: int = 1, days: float = 3, **more: object) -> Simulation:
    cohort = more.pop("cohort", None) or _people(project)
    options = {"begin": BEGIN, "until": BEGIN + timedelta(days=days), "behaviour": EAGER, "channels": CHANNELS}
    folder.mkdir(exist_ok=True)
    return simulate(project, cohort, seed=seed, folder=folder, **(options | more))  # type: ignore[arg-type]


# ---- as real ticks --------------------------------------------------------------------------------------------------


def test_a_simulation_and_real_ticks_send_the_same(project: Project, folder: Path) -> None:
    """Ticks at every hour and before hours close, whether there is anything to do or not: no message is missed, and
    none comes otherwise."""
    cohort = _people(project)
    looks: list[datetime] = []
    _played(project, folder / "played", days=2, cohort=cohort, progress=looks.append)
    played = _messages(folder / "played" / "simulation.db")
    assert len(played) > 60 and {"delivered", "bounced", "denied"} <= {line[6] for line in played}
    ticked = _ticked(project, folder / "ticked.db")
    assert played == ticked


def _ticked(project: Project, path: Path) -> list[tuple[object, ...]]:
    """The same people, behaviour and seed, by ticks as `orchestrator run` does them."""
    from orchestrator.rehearse.simulating import _Run

    (path.parent / "by-hand").mkdir()
    cohort = _people(project)
    run = _Run(project, cohort, BEGIN, BEGIN + timedelta(days=2), EAGER, 1, path.parent / "by-hand", CHANNELS,
               timedelta(hours=1), ())  # fmt: skip
    run._begin()
    store, reports = run.store, _Reporting()
    while run.now < run.until:
        run._take_in()
        run._hear()
        for _ in range(20):
            tick(store, reports.channels, KEYS, clock=lambda: run.now, budget_seconds=60, worker="test")
            if not run._gone_out():
                break
        soon, hour = run.now + timedelta(microseconds=1), run._grid(run.now + timedelta(microseconds=1))
        run.now = run.closings.before(soon, hour) or hour
    store.close()
    return _messages(path.parent / "by-hand" / "simulation.db")


class _Reporting:
    """Channels that keep nothing and, as providers do, tell what became of what they took."""

    def __init__(self) -> None:
        from orchestrator.rehearse.playing import REPORTS

        self.channels = {medium: Null(medium) for medium in Medium}
        for medium, channel in self.channels.items():
            channel.reports = REPORTS.get(medium, frozenset())


def _messages(path: Path) -> list[tuple[object, ...]]:
    """Journey, step, addressee, medium, template, instant, fate of every message."""
    store = Store.open(f"sqlite:///{path}")
    m = t.message.c
    query = sa.select(
        m.journey, m.step, t.customer.c.key, m.medium, m.template, m.decided_at, m.state, m.reason, m.due_at
    ).join(t.customer, t.customer.c.id == m.customer_id)
    with store.read() as conn:
        found = sorted((tuple(row) for row in conn.execute(query)), key=str)
    store.close()
    return found


@pytest.mark.parametrize("hop", [1, 6])
def test_what_is_due_shortly_before_hours_close_goes_out_before(folder: Path, hop: int) -> None:
    """At 19:32, and texts rest from 20:00 on: a tick every minute sends it, and so does a simulation by hours."""
    daily = journey("daily", "- sms: short", '{ schedule: "32 19 * * *", timezone: Europe/Berlin }', "reentry: always")
    project = load_files(files({"daily": daily}))
    cohort = made_up(project, 30, 5, rates={})
    _played(project, folder / "played", days=5, cohort=cohort, hop=timedelta(hours=hop))
    texts = [line for line in _messages(folder / "played" / "simulation.db") if line[6] != "denied"]
    assert len(texts) > 20
    home = [at.astimezone(ZoneInfo("Europe/Berlin")) for line in texts if isinstance(at := line[5], datetime)]
    assert any(f"{at:%H:%M}" == "19:59" for at in home) and not any("20:00" <= f"{at:%H:%M}" < "24" for at in home)


def test_the_minute_before_hours_close(project: Project) -> None:
    at = datetime(2027, 3, 28, 12, tzinfo=UTC)  # the clock has been put forward this night
    house = (Window(time(8), time(20)),)
    found = Closings([((house, "Europe/Berlin"),), ((house, "America/New_York"),), ()])
    berlin, new_york = datetime(2027, 3, 28, 17, 59, tzinfo=UTC), datetime(2027, 3, 28, 23, 59, tzinfo=UTC)
    assert found.before(at, at + timedelta(hours=6)) == berlin
    assert found.before(at, at + timedelta(hours=5)) is None
    assert found.before(berlin, at + timedelta(hours=6)) == berlin
    assert found.before(berlin + timedelta(seconds=1), at + timedelta(hours=6)) is None, "too late for another look"
    assert found.before(berlin + timedelta(hours=1), at + timedelta(hours=12)) == new_york
    assert found.before(at - timedelta(hours=7), at - timedelta(hours=1)) is None, "closed in New York, open in Berlin"


# ---- the same again -------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_messages_and_another_seed_others(project: Project, folder: Path) -> None:
    one = _played(project, folder / "one", days=2)
    two = _played(project, folder / "two", days=2)
    other = _played(project, folder / "three", days=2, seed=2)
    assert one == two
    assert one.messages != other.messages
    assert sum(v.count for v in one.volumes) > 50
    assert {r.kind for r in one.replies} >= {"delivered", "opened", "converted", "bounced"}
    assert one.traffic["welcome"].entered and one.traffic["buyers"].entered and one.traffic["weekly"].held_out


def test_what_people_do_hangs_on_the_message_and_not_on_the_order() -> None:
    sent = [Sent(n, f"m{n}a1", f"j/s/0/email/c{n}", "j", "s", Medium.EMAIL, "", n, True) for n in range(300)]
    one, two = Behaving(EAGER, 1), Behaving(EAGER, 1)
    forward = {s.name: one.takes(s, BEGIN) for s in sent}
    backward = {s.name: two.takes(s, BEGIN) for s in reversed(sent)}
    assert forward == backward
    kinds = [back.told for backs in forward.values() for back in backs]
    assert 150 < kinds.count("opened") < 210 and 5 <= kinds.count("bounced") <= 30
    assert not any(EventKind.OPENED in (b.kind for b in backs) for backs in forward.values() if len(backs) == 1)


def test_a_message_that_is_sent_in_another_version_has_the_same_fate() -> None:
    """Draws are by name: `--compare` compares journeys, and not luck."""
    sent = Sent(7, "m7a1", "j/s/0/email/c7", "j", "s", Medium.EMAIL, "", 1, True)
    again = sent._replace(id=9, attempt="m9a1")
    kinds = [b.told for b in Behaving(EAGER, 3).takes(sent, BEGIN)]
    assert kinds == [b.told for b in Behaving(EAGER, 3).takes(again, BEGIN)]


# ---- a sample -------------------------------------------------------------------------------------------------------


def test_a_sample_of_real_people_goes_on_where_they_are(project: Project, folder: Path) -> None:
    (folder / "real").mkdir()
    _played(project, folder / "real", days=2)
    store = Store.open(f"sqlite:///{folder / 'real' / 'simulation.db'}")
    now = BEGIN + timedelta(days=2)
    before = _whole(folder / "real" / "simulation.db")
    cohort = sampled(store, KEYS, 20, 3, project)
    assert 10 <= cohort.customers <= 30 and cohort.scale == pytest.approx(60 / cohort.customers, rel=0.2)
    assert cohort.ids == sampled(store, KEYS, 20, 3, project).ids
    inside = _inside(store, cohort.ids)
    played = _played(project, folder / "sample", cohort=cohort, begin=now, until=now + timedelta(days=2))
    assert inside, "somebody waits"
    with Store.open(f"sqlite:///{folder / 'sample' / 'simulation.db'}").read() as conn:
        e = t.enrollment.c
        ids = [key[0] for key in inside]
        moved = conn.execute(sa.select(e.id, e.step, e.ended_at).where(e.id.in_(ids))).all()
        people = set(conn.execute(sa.select(t.customer.c.id)).scalars())
        assert not conn.execute(sa.select(sa.func.count()).select_from(t.log_detail).where(
            t.log_detail.c.customer_id.not_in(people))).scalar_one()  # fmt: skip
    assert people == cohort.ids
    assert {row.id for row in moved} == set(ids), "nobody is lost"
    assert any(row.ended_at is not None or (row.id, row.step) not in inside for row in moved), "and they go on"
    assert sum(v.count for v in played.volumes) > 0
    store.close()
    assert _whole(folder / "real" / "simulation.db") == before, "the real one is only read"


def _whole(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


def _inside(store: Store, ids: frozenset[int]) -> set[tuple[int, str]]:
    e = t.enrollment.c
    with store.read() as conn:
        rows = conn.execute(sa.select(e.id, e.step).where(e.ended_at.is_(None), e.customer_id.in_(ids))).tuples()
        return set(rows)


# ---- behaviour ------------------------------------------------------------------------------------------------------


def test_behaviour_is_read_from_a_file() -> None:
    text = "email: { opened: 40%, bands: { top: { opened: 0.6 } } }\nsms: { unsubscribed: 0 }\n"
    found = read_behaviour(text, "behaviour.yaml")
    assert found.of(Medium.EMAIL).opened == 0.4 and found.of(Medium.EMAIL, "top").opened == 0.6
    assert found.of(Medium.EMAIL, "small") == found.of(Medium.EMAIL)
    assert found.of(Medium.SMS).unsubscribed == 0 and found.of(Medium.MAIL) == USUAL.of(Medium.MAIL)


def test_what_people_did_is_learned_from_the_history(project: Project, folder: Path, monkeypatch) -> None:
    """Of a simulation's own history come its own shares, within chance."""
    monkeypatch.setattr("orchestrator.rehearse.behaving.FEW", 30)
    (folder / "real").mkdir()
    _played(project, folder / "real", days=3)
    store = Store.open(f"sqlite:///{folder / 'real' / 'simulation.db'}")
    with store.read() as conn:
        found = learned(conn).of(Medium.EMAIL)
    store.close()
    assert found.opened == pytest.approx(0.6, abs=0.2) and found.clicked == pytest.approx(0.5, abs=0.25)
    assert 0 < found.bounced < 0.15 and found.converted > 0


def test_samples_of_words_go_to_nobody(project: Project, tmp_path: Path) -> None:
    """Only what throws words away may get those of somebody else."""
    world = world_of(f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(ValueError, match="throw them away"):
        world.deliver(writer=Sketching)
    world.store.close()
