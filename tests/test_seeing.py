"""What a simulation leaves out: what nobody comes to see of its people, and looks at which nothing would be found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from channels.base import Medium
from channels.null import Null
from orchestrator.model import Complaints
from orchestrator.project import Project, load_files
from orchestrator.rehearse import cohort as cohorts
from orchestrator.rehearse.behaving import USUAL
from orchestrator.rehearse.cohort import made_up
from orchestrator.rehearse.seeing import Seen, classes, listened, seen_by
from orchestrator.rehearse.simulating import part, simulate
from orchestrator.simulation import Simulation, usual_hop
from orchestrator.store import Store
from orchestrator.store import tables as t
from orchestrator.words import duration
from tests.outgoing import WORKSPACE, email, files, journey

BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
MORE = files({})["journeys/workspace.yaml"].replace("{ town: text }", "{ town: text, shoe: number, joined_by: text }")


B2C = "  b2c: { tier_by: count(bought), thresholds: { silver: 0, gold: 9 } }\n"


def _project(steps: str, more: str = "", segments: str = "") -> Project:
    texts = files({"one": journey("one", steps, more=more)}) | {"journeys/workspace.yaml": MORE}
    return load_files(texts | ({"journeys/segments.yaml": segments} if segments else {}))


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ("- email: hello", set()),
        ("- email: hello\n- wait_for: { message: email:hello, is: delivered, timeout: 1 day }", {"email:hello"}),
        ("- email: hello\n- wait_for: { message: email:hello, is: bounced, timeout: 1 day }", set()),
        ("- email: hello\n- email: second\n- branch:\n    - if: clicked(email:hello)\n      steps: [ { push: ping } ]",
         {"email:hello"}),
        # Of an e-mail it is told that it arrived, of a push only that it was opened.
        ("- first_of: [ { email: hello }, { push: ping }, { sms: short } ]\n  within: 1 day", {"push:ping"}),
        ("- first_of: [ { email: hello }, { sms: short } ]\n  until: opened\n  within: 1 day",
         {"email:hello", "sms:short"}),
    ],
)  # fmt: skip
def test_what_a_journey_listens_for(steps: str, found: set[str]) -> None:
    assert listened(_project(steps).journeys["one"]) == found


@pytest.mark.parametrize(
    ("audience", "found"),
    [
        ("class == b2c", {"b2c"}),
        ("class in [b2c, b2b] and town is set", {"b2c", "b2b"}),
        ("class in [b2c, b2b] and class == b2b", {"b2b"}),
        ('town is set and in segment("private")', {"b2c"}),
        ("class == b2c or town is set", None),
        ("not class == b2c", None),
        ("account.class == b2b", None),
        ("town is set", None),
    ],
)
def test_of_which_classes_somebody_can_enter(audience: str, found: set[str] | None) -> None:
    assert classes(_project("- email: hello", f"audience: {audience}", "private: class == b2c\n")) == found


def test_what_is_seen_of_people() -> None:
    found = seen_by(_project("- email: town\n- sms: short"))
    assert found.media == {"email", "sms"} and found.classes is None
    assert list(found.of(_project("- email: town").vocabulary.customer)).count("town") == 1
    assert found.names("town") and not found.names("shoe") and not found.names("joined_by")
    assert seen_by(_project("- push: ping", "audience: shoe > 3")).names("shoe")


def test_fields_that_mean_something_by_their_name_are_seen() -> None:
    """How long a contract makes a member, and at which stage a deal is: triggers and programmes do not name them."""
    more = (
        "records:\n  contract: { of: account, key: number, ends: date, auto_renew: yes_no, note: text }\n"
        "  deal: { of: account, key: number, stage: { one_of: [open, won] }, memo: text }\n"
        "program:\n  b2b: { membership: { joins: contract } }\n"
    )
    texts = files({"one": journey("one", "- email: hello", "{ stage_change: deal, to: won }", "unit: account")})
    text = WORKSPACE.removesuffix("policies:\n") + more
    project = load_files(texts | {"journeys/workspace.yaml": text})
    found = {name: set(seen_by(project).of(one.fields)) for name, one in project.vocabulary.records.items()}
    assert found == {"contract": {"number", "ends", "auto_renew"}, "deal": {"number", "stage"}}


def _played(project: Project, folder: Path, names: tuple[str, ...] = ()) -> Simulation:
    folder.mkdir()
    return simulate(
        project, made_up(part(project, names), 90, 3, rates={"signed_up": 60.0, "bought": 90.0}), begin=BEGIN,
        until=BEGIN + timedelta(days=4), behaviour=USUAL, seed=2, folder=folder, journeys=names,
        channels={medium: Null(medium) for medium in Medium}, hop=timedelta(hours=3),
    )  # fmt: skip


def test_the_same_messages_whether_all_is_made_up_or_what_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = "reentry: always\nholdout: 30%\naudience: class == b2c\ngoal: { event: bought, within: 9 days }"
    steps = "- email: hello\n- wait: 1 day\n- first_of: [ { push: ping }, { email: second } ]\n  within: 6 hours"
    project = _project(steps, held)
    less = _played(project, tmp_path / "less")
    monkeypatch.setattr(cohorts, "seen_by", lambda played: Seen(None, frozenset(Medium), None))
    whole = _played(project, tmp_path / "whole")
    assert less == whole and sum(v.count for v in less.volumes) > 10
    (people, consents), (everybody, every) = (_rows(tmp_path / name / "simulation.db") for name in ("less", "whole"))
    assert people == everybody and consents < every


def _rows(path: Path) -> list[int]:
    store = Store.open(f"sqlite:///{path}")
    with store.read() as conn:
        tables = (t.customer, t.consent_event)
        found = [conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables]
    store.close()
    return found


def test_whoever_complains_is_seen() -> None:
    project = _project("- email: hello", "audience: class == b2c")
    assert seen_by(project).classes == frozenset({"b2c"})
    soon = duration("1 day")
    assert soon is not None
    complaining = replace(project.vocabulary, complaints=Complaints("left", "", soon, "", "", "", ""))
    assert seen_by(replace(project, vocabulary=complaining)).classes is None


def _with_programme(program: str, more: str) -> Project:
    text = WORKSPACE.removesuffix("policies:\n").replace("  left:", "  returned: { order_id: key }\n  left:") + program
    return load_files(files({"one": journey("one", "- email: hello", more=more)}) | {"journeys/workspace.yaml": text})


def test_programmes_of_classes_of_which_nobody_enters_are_left_out() -> None:
    program = (
        "program:\n  b2c: { tier_by: count(bought), thresholds: { silver: 0, gold: 9 } }\n"
        "  b2b: { tier_by: count(bought), thresholds: { std: 0, big: 9 } }\n"
    )
    found = _with_programme(program, "audience: class == b2c and tier == gold")
    assert set(part(found, ("one",)).program.classes) == {"b2c"}
    assert set(part(found, ()).program.classes) == {"b2c", "b2b"}
    theirs = _with_programme(program, "audience: class == b2c and account.tier == big")
    assert set(part(theirs, ("one",)).program.classes) == {"b2c", "b2b"}


def test_what_a_programme_takes_back_of_whoever_it_is_stays() -> None:
    program = (
        "program:\n  b2c: { tier_by: count(bought), thresholds: { silver: 0, gold: 9 } }\n"
        "  b2b:\n    tier_by: count(bought)\n    thresholds: { std: 0, big: 9 }\n"
        "    points: [ 1 per 1 EUR of bought.amount ]\n    refunds: [ returned takes back bought by order_id ]\n"
    )
    found = part(_with_programme(program, "audience: class == b2c and tier == gold"), ("one",)).program.classes
    assert set(found) == {"b2c", "b2b"} and found["b2b"].refunds and not found["b2b"].points


def test_bands_are_found_where_only_a_text_names_them(tmp_path: Path) -> None:
    text = WORKSPACE.removesuffix("policies:\n") + "program:\n  value: { orders: bought.amount }\n"
    texts = files({"one": journey("one", "- email: hello", more="audience: class == b2c\nreentry: always")})
    texts |= {"templates/email/hello.mjml": email("Hello", "You: {{ value.band }}.")}
    played = _played(load_files(texts | {"journeys/workspace.yaml": text + B2C}), tmp_path / "one", ("one",))
    assert sum(v.count for v in played.volumes) > 10  # none would be told "You: ."


def test_bands_are_found_where_a_cap_is_for_one(tmp_path: Path) -> None:
    text = WORKSPACE + "  caps:\n    - for band top: 9 per week across email\n"
    texts = files({"one": journey("one", "- email: hello")})
    rest = "program:\n  value: { orders: bought.amount }\n" + B2C
    _played(load_files(texts | {"journeys/workspace.yaml": text + rest}), tmp_path / "one", ("one",))
    store = Store.open(f"sqlite:///{tmp_path / 'one' / 'simulation.db'}")
    with store.read() as conn:
        assert conn.execute(sa.select(t.loyalty.c.unit_id).where(t.loyalty.c.band.is_not(None))).all()
    store.close()


def test_how_often_a_simulation_looks() -> None:
    hours = [usual_hop(timedelta(days=days)) / timedelta(hours=1) for days in (1, 45, 46, 120, 121, 365)]
    assert hours == [1, 1, 3, 3, 6, 6]
