"""Take in what other systems hand over by the API: rows as an import takes them, sign-ups, units for a journey."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from orchestrator import fulfil, reward
from orchestrator.apply import Force, in_force
from orchestrator.consenting import ask_confirmation
from orchestrator.enroll import enroll_units
from orchestrator.importing import import_rows
from orchestrator.ingest import register_devices, unregister_devices
from orchestrator.model import Vocabulary
from orchestrator.rows import PLATFORMS, ImportKind, RowReader
from orchestrator.store import Store, access, people
from orchestrator.store.keys import Keys
from orchestrator.store.loyalty import standing
from orchestrator.trigger import ApiTrigger

MOST_ROWS = 1_000
"""Rows of one request."""
SCOPES = (
    "events",
    "customers",
    "accounts",
    "consents",
    "devices",
    "records",
    "enroll",
    "vouchers",
    "rewards",
    "referrals",
)
"""What a key may be allowed to hand in; of `vouchers` to redeem them, of `rewards` to list and to claim them."""


class NotAccepted(Exception):
    """The request makes no sense here. `status` is HTTP's; the message is for who wrote the program that asked;
    `reason`: for that program, where it can do something about it."""

    def __init__(self, status: Literal[404, 409, 422], message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of the rows. `refused`: (number of the row from 1, what is wrong with it); `reasons`: the same as a
    word, for programs, where there is one."""

    rows: int
    counts: Mapping[str, int]
    refused: tuple[tuple[int, str], ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)


def accept_rows(
    store: Store,
    keys: Keys,
    kind: ImportKind,
    rows: Sequence[Mapping[str, Any]],
    *,
    record_type: str = "",
    now: datetime,
) -> Accepted:
    """Store rows of one kind, checked as an import's are. Raises NotAccepted.

    `record_type`: of records, as workspace.yaml declares it. The same row again changes nothing.
    """
    force = _force(store)
    if kind == "records":
        if record_type not in force.project.vocabulary.records:
            raise NotAccepted(404, f"workspace.yaml declares no record `{record_type}`")
        rows = [{**row, "type": record_type} for row in rows]
    if kind in ("events", "consents"):
        rows = [_with_its_id(row, force.project.vocabulary) for row in rows]
    report = import_rows(store, keys, force.project.vocabulary, kind, rows, now=now)
    counts = {"inserted": report.inserted, "updated": report.updated, "unchanged": report.unchanged}
    refused = tuple((found.line, found.problem) for found in report.refused)
    return Accepted(report.rows, counts, refused, tuple(report.warnings))


def _with_its_id(row: Mapping[str, Any], vocabulary: Vocabulary) -> Mapping[str, Any]:
    """An event's own id is `key` here, as everything's is; files of events call it `event_id`, for a `key` may be a
    property of what happened, and then is that."""
    declared = vocabulary.events.get(str(row.get("type")))
    if "key" not in row or row.get("event_id") or (declared is not None and "key" in declared.fields):
        return row
    return {**{name: value for name, value in row.items() if name != "key"}, "event_id": row["key"]}


def accept_sign_ups(
    store: Store, keys: Keys, rows: Sequence[Mapping[str, Any]], *, source: str, now: datetime
) -> Accepted:
    """Ask people to confirm what they signed up for: rows have `customer`, `topic` or `topics`, and of the sign-up's
    evidence what is known (`source_url`, `ip`, `agent`, `wording`, `wording_version`, `language`, `jurisdiction`).

    The consent is recorded as asked for; the message that asks goes to the customer's own e-mail address, once a day.
    """
    force = _force(store)
    topics = force.project.vocabulary.topics
    refused: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    wanted: dict[str, list[tuple[int, tuple[str, ...], dict[str, Any]]]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        said = row.get("topics", row.get("topic"))
        named = (said,) if isinstance(said, str) else tuple(said) if isinstance(said, list | tuple) else ()
        if not isinstance(row.get("customer"), str) or not row["customer"]:
            refused.append((number, "customer is missing: the customer's key"))
        elif row.get("medium", "email") != "email":
            refused.append((number, "only e-mail asks for a confirmation; record a `grant` with its evidence instead"))
        elif not named or any(not isinstance(t, str) or t not in topics for t in named):
            refused.append((number, f"topics: one or several of {', '.join(sorted(topics))}"))
        else:
            evidence = {name: row[name] for name in _EVIDENCE if isinstance(row.get(name), str)}
            wanted[row["customer"]].append((number, named, {"source": source, **evidence}))
    with store.write() as conn:
        known = access.emails_of(conn, wanted)
        for key, asked in wanted.items():
            for number, named, evidence in asked:
                if key not in known:
                    refused.append((number, "this customer is not known; hand in the customer first"))
                    continue
                customer_id, address = known[key]
                told = ask_confirmation(conn, keys, force, customer_id, address, named, evidence=evidence, now=now)
                if told in ("no_template", "no_address"):
                    refused.append((number, _NOT_ASKED[told]))
                else:
                    counts[told] += 1
    return Accepted(len(rows), dict(counts), tuple(sorted(refused)))


def accept_devices(store: Store, keys: Keys, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> Accepted:
    """Devices that say that they are there (`customer`, `token`, `platform`): a token goes with whoever is signed in,
    and one that was retired is good again. With `gone: true` one that signed out is written to no more."""
    _force(store)
    refused: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    here: list[tuple[int, dict[str, Any]]] = []
    with store.write() as conn:
        known = people.find_customers(conn, {str(row.get("customer", "")) for row in rows})
        for number, row in enumerate(rows, 1):
            person, token = known.get(str(row.get("customer", ""))), row.get("token")
            if person is None:
                refused.append((number, "this customer is not known; hand in the customer first"))
            elif not isinstance(token, str) or not token:
                refused.append((number, "token is missing: what the device got from its platform"))
            elif row.get("gone") is True:
                counts["gone"] += unregister_devices(conn, [token], now=now, customer_id=person.id)
            elif not isinstance(row.get("platform"), str):
                refused.append((number, f"platform is one of {', '.join(PLATFORMS)}"))
            else:
                here.append((number, {"customer_id": person.id, "token": token, "platform": row["platform"]}))
        told = register_devices(conn, keys, [row for _, row in here], now=now)
    for (number, _), (became, why) in zip(here, told, strict=True):
        if became == "refused":
            refused.append((number, why))
        else:
            counts[became] += 1
    return Accepted(len(rows), dict(counts), tuple(sorted(refused)))


_EVIDENCE = ("source_url", "ip", "agent", "wording", "wording_version", "language", "jurisdiction", "method")
_NOT_ASKED = {
    "no_template": "workspace.yaml names no message to ask with: `policies.double_opt_in`",
    "no_address": "the customer has no e-mail address",
}


def accept_units(store: Store, journey: str, unit_keys: Sequence[str], run_key: str, *, now: datetime) -> Accepted:
    """Let customers (or accounts, where the journey is about these) into a journey that has the trigger `api`.

    `run_key` says what for (an order's number): the same one again lets nobody in twice. Raises NotAccepted.
    """
    force = _force(store)
    found = force.project.journeys.get(journey)
    if found is None:
        raise NotAccepted(404, f"no journey `{journey}` is in force")
    if not any(isinstance(trigger, ApiTrigger) for trigger in found.triggers):
        raise NotAccepted(409, f"`{journey}` is not entered by the API: it has no trigger `api`")
    if not found.admits:
        what = "a draft; put it live" if found.status == "draft" else "archived: nobody enters it any more"
        raise NotAccepted(409, f"`{journey}` is {what}")
    if force.is_paused(journey):
        raise NotAccepted(409, f"`{journey}` is paused; ask again when it is resumed")
    with store.read() as conn:
        if found.unit == "account":
            ids = people.find_accounts(conn, unit_keys)
        else:
            ids = {key: person.id for key, person in people.find_customers(conn, unit_keys).items()}
    refused = tuple(
        (number, f"this {found.unit} is not known") for number, key in enumerate(unit_keys, 1) if key not in ids
    )
    units = sorted(set(ids.values()))
    entered = enroll_units(store, journey, units, f"api:{run_key}", now=now) if units else 0
    return Accepted(len(unit_keys), {"entered": entered, "not_entered": len(units) - entered}, refused)


# ---- vouchers and rewards -------------------------------------------------------------------------------------------


def accept_redemptions(store: Store, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> Accepted:
    """Redeem codes at a till: rows have `code`, `receipt`, and if wanted `at`, `amount` and `amount_currency`. What is
    redeemed by the same receipt again is told as it was then. `reasons` says why of each refused row that was read."""
    vocabulary = _force(store).project.vocabulary
    reader = RowReader("redemptions", vocabulary, now)
    read = [(number, reader.read(row)) for number, row in enumerate(rows, 1)]
    refused = [(number, found) for number, found in read if isinstance(found, str)]
    told = [(number, fulfil.redemption(found)) for number, found in read if not isinstance(found, str)]
    answers = store.written(lambda conn: reward.redeem(conn, vocabulary, [row for _, row in told], now))
    reasons = {number: answer for (number, _), answer in zip(told, answers, strict=True) if answer.reason}
    refused += [(number, answer.text) for number, answer in reasons.items()]
    return Accepted(
        len(rows),
        {"redeemed": len(told) - len(reasons)},
        tuple(sorted(refused)),
        tuple(reader.warnings),
        {number: answer.reason for number, answer in reasons.items()},
    )


def accept_claim(store: Store, said: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """Claim a reward: `customer`, `reward`, `key` (what for: the same one again is the same claim). What was claimed,
    with its code where it has one. Raises NotAccepted, with a reason where the claim is refused."""
    for name in ("customer", "reward", "key"):
        if not isinstance(said.get(name), str) or not 0 < len(said[name]) <= 200:
            raise NotAccepted(422, f"`{name}` is missing: send customer, reward, and a key that says what for")
    project = _force(store).project

    def work(conn: sa.Connection) -> reward.Claimed | str:
        person = _customer(conn, said["customer"])
        unit = reward.whose(conn, project, person)
        if unit is None:
            return "unknown"
        # Keys of different customers are different ones: nobody is told of another's claim.
        return reward.claim(conn, project, *unit, said["reward"], f"{unit[0]}:{unit[1]}:{said['key']}", person, now)

    made = store.written(work)
    if isinstance(made, str):
        raise NotAccepted(409, f"not claimed: {reward.NOT_CLAIMED[made]}", made)
    answer: dict[str, Any] = {"claim": made.claim.id, "reward": made.claim.reward, "cost": made.claim.cost}
    answer["state"] = made.claim.state
    if made.voucher is not None:
        expires_on = made.voucher.expires_on
        answer["voucher"] = {"code": made.voucher.code, "expires": expires_on and expires_on.isoformat()}
    return answer


def offered(store: Store, customer_key: str, *, now: datetime) -> dict[str, Any]:
    """The rewards of a customer's class as she sees them, the cheapest first. Raises NotAccepted."""
    project = _force(store).project
    with store.read() as conn:
        person = _customer(conn, customer_key)
        unit = reward.whose(conn, project, person)
        found = () if unit is None else reward.offers(conn, project, *unit, now)
        points = None if unit is None else standing(conn, unit[0], [unit[1]]).get(unit[1], {}).get("points")
    rewards = [
        {
            "reward": one.reward.name,
            "title": project.vocabulary.loyalty.title(one.reward.name, project.vocabulary.locale),
            "kind": one.reward.kind,
            "costs": one.reward.costs,
            "left": one.left,
            "taken": one.taken,
            "available": not one.reason,
            "reason": one.reason,
        }
        for one in found
    ]
    return {"customer": customer_key, "points": points or 0, "rewards": rewards}


def _customer(conn: sa.Connection, key: str) -> int:
    found = people.find_customers(conn, [key]).get(key)
    if found is None:
        raise NotAccepted(404, "this customer is not known; hand in the customer first")
    return found.id


def _force(store: Store) -> Force:
    with store.read() as conn:
        force = in_force(conn)
    if force is None:
        raise NotAccepted(409, "no workspace is in force yet: run `orchestrator apply`")
    return force
