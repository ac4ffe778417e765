"""What the providers' channels cost, beside the least that could post the same: T8, and throughput to local sinks.

The sink is a process of its own that reads a request and answers as the vendor would, at once or after 50 ms. The
floor posts bodies that were made before, with the same client and as many at once, and reads no answer.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from benchmarks.campaign import WORKSPACE, Line, timed
from channels.base import Channel, Medium, Outbound, Site, Skeleton
from channels.sendgrid import connect as connect_sendgrid
from channels.sendgrid.body import Form, Packed, pack
from channels.twilio import connect as connect_twilio
from orchestrator import project
from orchestrator.store.database import uncollected

NOW = datetime(2027, 4, 1, 10, tzinfo=UTC)
SITE = Site(Path(), lambda: NOW, b"secret", "https://crm.example.com/hooks/sms")
EMAILS, TEXTS = 20_000, 2_000
DELAYS = (0, 50)
"""Milliseconds that a vendor takes to answer."""
TOGETHER = {Medium.EMAIL: 16, Medium.SMS: 50}
"""Requests under way at once, for channel and floor alike."""
SENDGRID = {"api_key": "SG.a-key-of-the-benchmark"}
TWILIO = {"account_sid": "AC" + "0" * 32, "auth_token": "token", "from": "+4915123456789", "concurrency": 50}


def stages() -> Iterator[Line]:
    yield from bodies()
    for delay in DELAYS:
        with sink(delay) as url:
            made = connect_sendgrid(Medium.EMAIL, {**SENDGRID, "base_url": url}, SITE)
            yield from throughput(made, emails(EMAILS), delay, 1000, theirs)
            yield from throughput(connect_twilio(Medium.SMS, {**TWILIO, "base_url": url}, SITE), texts(TEXTS), delay, 1)


# ---- what goes out --------------------------------------------------------------------------------------------------


def emails(count: int) -> list[Outbound]:
    """The campaign's e-mail to so many people."""
    loaded = project.load(WORKSPACE)
    template = loaded.templates.get(Medium.EMAIL, "offer")
    assert template is not None
    compiled = template.compiled("en")
    base = {"workspace": {"name": loaded.vocabulary.workspace, "sender": dict(loaded.vocabulary.sender)}}
    token = "v1.a.0123456789abcdefghijkl.0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
    links = {"unsubscribe": f"https://go.example/u/{token}", "preferences": f"https://go.example/p/{token}"}
    contexts = [
        {
            "customer": {"first_name": f"First{n % 997}", "last_name": f"Last{n % 1009}", "city": f"City{n % 101}",
                         "tier": "gold", "joined": "2025-01-01"},
            "tier": "gold", "links": links, **base,
        }
        for n in range(count)
    ]  # fmt: skip
    sender = {"name": "Acme", "address": "hello@acme.example"}
    meta: dict[str, str] = {}  # one for all, as `outbound.Writer` makes it
    headers = {"List-Unsubscribe": f"<{links['unsubscribe']}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    return [
        Outbound(f"m{n}a1", Medium.EMAIL, {"address": f"p{n}@example.com", "name": f"First{n % 997} Last{n % 1009}"},
                 compiled.skeleton, values, sender, dict(headers), "offer", "en", None, meta)
        for n, values in enumerate(compiled.slots(context) for context in contexts)
    ]  # fmt: skip


def texts(count: int) -> list[Outbound]:
    skeleton = Skeleton("text", {"text": ("Hello ", ", your offer is here. Reply STOP to opt out")}, {"text": (0,)})
    return [
        Outbound(f"m{n}a1", Medium.SMS, {"number": f"+49151{23_000_000 + n}"}, skeleton, (f"First{n}",))
        for n in range(count)
    ]


# ---- T8 -------------------------------------------------------------------------------------------------------------


def bodies() -> Iterator[Line]:
    """Bodies of a thousand messages each; the floor makes the very same bytes, and looks at nothing."""
    batch = emails(1000)
    (packed,) = pack(batch, Form())
    assert isinstance(packed, Packed)
    whole = msgspec.json.decode(packed.body)
    tags = list(whole["personalizations"][0].get("substitutions", {}))
    assert direct(batch, whole, tags) == packed.body
    ours, floor = _best(lambda: list(pack(batch, Form())), lambda: direct(batch, whole, tags))
    yield Line("SendGrid body (T8)", len(batch), ours, floor)
    [helper] = _best(lambda: helped(batch, whole), times=5)
    yield Line("SendGrid body, by the vendor's helper", len(batch), helper, floor)


def direct(batch: Sequence[Outbound], whole: dict[str, Any], tags: Sequence[str]) -> bytes:
    people = [
        {
            "to": [{"email": o.to["address"], "name": o.to["name"]}],
            "custom_args": {"attempt_id": o.attempt},
            "headers": o.headers,
            "substitutions": dict(zip(tags, o.values, strict=True)),
        }
        for o in batch
    ]
    return msgspec.json.encode({**whole, "personalizations": people})


def helped(batch: Sequence[Outbound], whole: dict[str, Any]) -> bytes:
    """The same through `sendgrid.helpers.mail`, without what all of them share."""
    import json

    from sendgrid.helpers import mail

    made = mail.Mail(mail.From("hello@acme.example", "Acme"), None, whole["subject"])
    for content in whole["content"]:
        made.add_content(mail.Content(content["type"], content["value"]))
    for o, there in zip(batch, whole["personalizations"], strict=True):
        person = mail.Personalization()
        person.add_to(mail.To(o.to["address"], o.to["name"]))
        for name, value in o.headers.items():
            person.add_header(mail.Header(name, value))
        for tag, value in there["substitutions"].items():
            person.add_substitution(mail.Substitution(tag, value))
        person.add_custom_arg(mail.CustomArg("attempt_id", o.attempt))
        made.add_personalization(person)
    return json.dumps(made.get()).encode()


def _best(*works: Callable[[], object], times: int = 40) -> list[float]:
    """The best of each, taken in turns: what else the machine does then falls on all alike."""
    with uncollected():  # as in `deliver`
        rounds = [[timed(work) for work in works] for _ in range(times)]
    return [min(spent) for spent in zip(*rounds, strict=True)]


# ---- throughput -----------------------------------------------------------------------------------------------------


@contextmanager
def sink(delay: int) -> Iterator[str]:
    """A vendor in a process of its own, which ends when we do, or after ten minutes."""
    command = [sys.executable, "-m", "benchmarks.sink", str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def throughput(
    channel: Channel,
    batch: Sequence[Outbound],
    delay: int,
    each: int,
    theirs: Callable[[Sequence[Any]], object] | None = None,
) -> Iterator[Line]:
    """`each`: messages in a request. The floor's bodies are the channel's own. `theirs`: the same requests through the
    vendor's own client."""
    recorded = _recorded(channel, batch)
    bare = timed(lambda: asyncio.run(_bare(recorded, TOGETHER[channel.medium])))
    # As much at once as there are requests under way together; `deliver` hands over a thousand at most.
    size = max(channel.batch_size, each * TOGETHER[channel.medium])
    receipts = 0

    def work() -> None:
        nonlocal receipts
        for start in range(0, len(batch), size):
            receipts += sum(r.status == "accepted" for r in channel.send(batch[start : start + size]))

    with uncollected():  # as in `deliver`
        spent = timed(work)
    assert receipts == len(batch), f"{receipts} of {len(batch)} were accepted"
    yield Line(f"{channel.name}, answers after {delay} ms", len(batch), spent, bare)
    if theirs is not None:
        yield Line(
            f"{channel.name}, the vendor's client, {delay} ms", len(batch), timed(lambda: theirs(recorded)), bare
        )


def theirs(requests: Sequence[Any]) -> None:
    """SendGrid's package: it takes the body as a dict, and one request after the other."""
    from sendgrid import SendGridAPIClient

    bodies = [msgspec.json.decode(request.body) for request in requests]
    client = SendGridAPIClient("SG.a-key-of-the-benchmark", host=requests[0].url.removesuffix("/v3/mail/send"))
    for body in bodies:
        assert client.client.mail.send.post(request_body=body).status_code == 202


def _recorded(channel: Channel, batch: Sequence[Outbound]) -> list[Any]:
    """The requests that a batch makes, as the channel hands them to its client."""
    made: list[Any] = []
    http: Any = channel._http  # type: ignore[attr-defined]
    sending = http.all

    def record(requests: Sequence[Any]) -> Iterator[Any]:
        made.extend(requests)
        yield from sending(requests)

    http.all = record
    try:
        for start in range(0, len(batch), channel.batch_size):
            list(channel.send(batch[start : start + channel.batch_size]))
    finally:
        del http.all
    return made


async def _bare(requests: Sequence[Any], together: int) -> None:
    waiting = iter(requests)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=together)) as session:

        async def work() -> None:
            for request in waiting:
                async with session.request(
                    request.method, request.url, headers=request.headers, data=request.body
                ) as response:
                    await response.read()

        await asyncio.gather(*(work() for _ in range(together)))
