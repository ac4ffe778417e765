"""Histories told to a real store, and what the rule says of what the store makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from channels.base import Medium
from orchestrator.rules import Consent, Place, Verdict, rules
from orchestrator.store import Store, consents
from orchestrator.store.keys import Keys
from orchestrator.store.tables import customer
from tests.rules.cases import POLICIES, standing, subject
from tests.rules.histories import NOW, History

KEYS = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)


def tell(store: Store, histories: Sequence[History]) -> list[tuple[Consent, ...]]:
    """One customer each, all that was said recorded in the order it was heard; what holds for each on its medium."""
    with store.write() as conn:
        for n, _ in enumerate(histories, 1):
            row = {"id": n, "key": f"k{n}", "class": "b2c", "attributes": {}, "created_at": NOW, "updated_at": NOW}
            conn.execute(customer.insert().values(row))
        for received in sorted({s.heard or s.at for h in histories for s in h.said}):
            consents.record_consents(conn, KEYS, list(_rows(histories, received)))
    with store.read() as conn:
        ids = range(1, len(histories) + 1)
        held = {medium: consents.current(conn, ids, Medium(medium)) for medium in {h.medium for h in histories}}
    return [held[h.medium].get(n, ()) for n, h in enumerate(histories, 1)]


def _rows(histories: Sequence[History], received: Any) -> Iterable[dict[str, Any]]:
    for n, history in enumerate(histories, 1):
        for place, said in enumerate(history.said):
            if (said.heard or said.at) == received:
                yield {
                    "key": f"{n}:{said.id or place}",
                    "customer_id": n,
                    "medium": said.medium or history.medium,
                    "topic": said.topic,
                    "action": said.action,
                    "occurred_at": said.at,
                    "received_at": received,
                    "basis": said.basis,
                    "expires_at": said.until,
                    "answers": f"{n}:{said.answers}" if said.answers else None,
                }


def judged(history: History, held: tuple[Consent, ...]) -> Verdict:
    places = tuple(Place(country, None, "address") for country in history.countries)
    there = standing(consents=held, country=None, places=places, legal_form=history.form)
    message: dict[str, Any] = {"purpose": history.purpose, "topic": history.topic}
    return rules()["consent"](subject(medium=Medium(history.medium), **message), there, POLICIES, NOW)
