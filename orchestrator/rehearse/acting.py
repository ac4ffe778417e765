"""What people do in a test beside causing events: done by the verbs that do it in earnest."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator import answering, refer, reward
from orchestrator.centre import ANSWERED
from orchestrator.enroll import enroll_units
from orchestrator.ingest import record_events
from orchestrator.rehearsal import Deed
from orchestrator.rehearse.scene import Scene
from orchestrator.store import referrals
from orchestrator.store.tables import voucher


def act(scene: Scene, deed: Deed, number: int) -> str:
    """Do it; why it cannot be done, "" when it was."""
    match deed.verb:
        case "enters":
            return _enters(scene, deed, number)
        case "claims":
            return _claims(scene, deed, number)
        case "redeems":
            return _redeems(scene, deed, number)
        case "refers":
            return _refers(scene, deed)
        case "answers":
            return _answers(scene, deed, number)
    return "this cannot be played"


def _enters(scene: Scene, deed: Deed, number: int) -> str:
    name = str(deed.details["journey"])
    if name not in scene.project.journeys:
        return f"the journey `{name}` does not run in this test; name it under `journey`"
    unit_ids = [scene.ids[deed.who]]
    enroll_units(scene.store, name, unit_ids, f"test:{number}:{deed.who}", now=scene.now)
    return ""


def _claims(scene: Scene, deed: Deed, number: int) -> str:
    unit, unit_id = scene.owner(deed.who)
    name, own = str(deed.details["reward"]), scene.ids[deed.who]
    with scene.store.write() as conn:
        key = f"test:{number}:{deed.who}:{name}"
        done = reward.claim(conn, scene.project, unit, unit_id, name, key, own, scene.now)
    return f"refused because {done}: {reward.NOT_CLAIMED.get(done, '')}" if isinstance(done, str) else ""


def _redeems(scene: Scene, deed: Deed, number: int) -> str:
    """The first code of the pool that was given to her and is not redeemed."""
    unit, unit_id = scene.owner(deed.who)
    pool = str(deed.details["voucher"])
    mine = sa.or_(
        sa.and_(voucher.c.unit == unit, voucher.c.unit_id == unit_id), voucher.c.customer_id == scene.ids[deed.who]
    )
    query = sa.select(voucher.c.code).where(voucher.c.pool == pool, mine, voucher.c.redeemed_at.is_(None))
    with scene.store.write() as conn:
        code = conn.execute(query.order_by(voucher.c.id).limit(1)).scalar()
        if code is None:
            return f"no code of `{pool}` was given to {deed.who}"
        told = reward.Redemption(code, f"till-{number}-{deed.who}", scene.now)
        answer = reward.redeem(conn, scene.project.vocabulary, [told], scene.now)[0]
    return f"refused because {answer.reason}: {answer.text}" if answer.reason else ""


def _refers(scene: Scene, deed: Deed) -> str:
    """She hands on her code, and who is referred tells it."""
    unit, unit_id = scene.owner(deed.who)
    customer_id = scene.ids[deed.who] if scene.test.given.people[deed.who].unit == "customer" else None
    referred = str(deed.details["customer"])
    person = scene.test.given.people[referred]
    with scene.store.write() as conn:
        whose = (unit, unit_id, customer_id)
        code = referrals.codes(conn, scene.project, [whose], scene.now).get(whose)
        if code is None:
            return "her class has no referral programme"
        whom = scene.ids[referred]
        customer, account = (whom, None) if person.unit == "customer" else (None, whom)
        answer = refer.record(conn, scene.project, [refer.Claim(code, customer, account, scene.now)], scene.now)[0]
    if answer.state == "refused":
        return f"refused because {answer.reason}: {refer.REASONS.get(answer.reason, '')}"
    return ""


def _answers(scene: Scene, deed: Deed, number: int) -> str:
    """What the form would send; the answer comes in as the event that a survey's answer is."""
    survey = scene.project.vocabulary.surveys[str(deed.details["survey"])]
    said: dict[str, Any] = {k: v for k, v in deed.details.items() if k != "survey"}
    first = next((q.name for q in survey.questions if q.kind in ("nps", "scale")), "")
    if "score" in said and first and "score" not in {q.name for q in survey.questions}:
        said[first] = said.pop("score")
    read = answering.read(survey, {name: str(value) for name, value in said.items()})
    if read.wrong:
        return f"these questions are not answered: {', '.join(read.wrong)}"
    score = next((read.answers[q.name] for q in survey.questions if q.name == first and first in read.answers), None)
    told = {"survey": survey.name, **({} if score is None else {"score": score}), **read.answers}
    row = {"type": ANSWERED, "key": f"test:{number}:{deed.who}", "occurred_at": scene.now, "properties": told}
    unit = scene.test.given.people[deed.who].unit
    row |= {"customer_id": None, "account_id": None, f"{unit}_id": scene.ids[deed.who]}
    with scene.store.write() as conn:
        record_events(conn, [row], now=scene.now)
    return ""
