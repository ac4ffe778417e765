"""What is handed over together: never more than can begin at once behind one last look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from channels.base import Attachment, Medium
from orchestrator.outcome import Delivery, chunks_of
from tests.channels.kit import outbound

SHARED = (Attachment("terms.pdf", "application/pdf", b"%PDF"),)
OWN = (Attachment("invite.ics", "text/calendar", part="invite"),)


def deliveries(*kinds: Any, devices: int = 1) -> list[Delivery]:
    made = [replace(outbound(Medium.EMAIL, n), attachments=kind) for n, kind in enumerate(kinds)]
    return [Delivery(None, 1, (o,) * devices, ("k",) * devices) for o in made]  # type: ignore[arg-type]


def sizes(found: list[Delivery], size: int) -> list[int]:
    return [len(chunk) for chunk in chunks_of(found, size)]


def test_those_with_files_of_their_own_go_sixteen_at_a_time() -> None:
    assert sizes(deliveries(*[()] * 2500), 1000) == [1000, 1000, 500]
    assert sizes(deliveries(*[SHARED] * 1500), 1000) == [1000, 500]
    assert sizes(deliveries(*[OWN] * 40), 1000) == [16, 16, 8]
    assert sizes(deliveries(*[OWN] * 10), 4) == [4, 4, 2]
    assert sizes(deliveries(*[()] * 20, *[OWN] * 3, *[()] * 20), 1000) == [20, 16, 7]


def test_nothing_is_lost_and_devices_stay_together() -> None:
    found = deliveries(*[OWN, (), (), SHARED] * 30, devices=3)
    chunks = list(chunks_of(found, 10))
    assert [d for chunk in chunks for d in chunk] == found
    assert all(sum(len(d.outbounds) for d in chunk) <= 10 for chunk in chunks)
