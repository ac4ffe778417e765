"""What is posted to `v3/mail/send`: as few requests as the vendor's limits allow, and never a broken one.

Messages of one text share a request: the text once, with a tag where a slot is, and for each recipient what stands in
its place. The vendor does not say in which order it replaces, or whether it looks into what it has put in, so tags
are chosen by which neither matters (`_mark`). What cannot go that way goes with its text filled in, alone.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.header import Header
from email.utils import parseaddr
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from channels.base import Outbound, Reason, Receipt, Skeleton

ATTEMPT: Final = "attempt_id"  # `_Arguments`
"""The custom argument that names the attempt. Not `attempt`: events about a deferral have a field of that name."""
MOST = 1000  # personalizations, and recipients, of one request
SUBSTITUTIONS = 10_000
"""Bytes a recipient's substitutions may have: the published schema's figure (2024); newer pages say 50,000."""
BODY = 30_000_000
CATEGORIES = 10
CATEGORY = 255
_LATER = 300.0  # seconds until a message that nobody may sign yet is tried again
_NAMES = 1000  # characters of an attempt; custom arguments may have 10,000 bytes

_ENCODE = msgspec.json.Encoder().encode
_BREAKS = "\r\n\0\x0b\x0c\x85\u2028\u2029"
_NOT_IN_ADDRESSES = ' <>,;"\t\\'
_ADDRESS = re.compile(r"[^\s\x00-\x1f\x7f@<>,;\"\\]+@[^\s\x00-\x1f\x7f@<>,;\"\\]+")
_HEADER = re.compile(r"[!-9;-~]+")  # RFC 5322, 2.2: printable ASCII without the colon
_RESERVED = frozenset(
    [
        "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding",
        "to", "from", "subject", "reply-to", "cc", "bcc",
    ]
)  # fmt: skip
_BETWEEN = "\x1f"  # between texts that are looked through together
_OFF: Mapping[str, Any] = {"enable": False}


@dataclass(frozen=True, slots=True)
class Form:
    """What is the same for every request of an installation."""

    categories: tuple[str, ...] = ()
    ip_pool_name: str = ""
    sandbox_mode: bool = False
    most: int = MOST


@dataclass(frozen=True, slots=True)
class Packed:
    """One request's body, and the messages in it in the order of its personalizations."""

    messages: Sequence[Outbound]
    body: bytes


def pack(batch: Sequence[Outbound], form: Form) -> Iterator[Packed | Receipt]:
    """Requests for a batch, and refusals of what cannot be sent."""
    for group in _groups(batch):
        skeleton = group[0].skeleton
        refusal = _unfit(group[0], skeleton)
        if refusal is not None:
            # What is ours to mend waits for that: nobody loses a message to a missing setting.
            ours = refusal[0] is Reason.CONFIGURATION
            status: Literal["retry", "rejected"] = "retry" if ours else "rejected"
            later = _LATER if ours else None
            yield from (Receipt(o.attempt, status, "", *refusal, later) for o in group)
            continue
        fit, told = group, _told(group)
        if _suspicious(group, skeleton, told):
            fit = []
            for outbound in group:
                fault = _fault(outbound, skeleton)
                if fault is None:
                    fit.append(outbound)
                else:
                    yield Receipt(outbound.attempt, "rejected", "", *fault)
        if any(a.part for a in group[0].attachments):
            for outbound in fit:
                yield _alone(outbound, form)
            continue
        for chunk in _apart(fit, form.most):
            yield from halves(chunk, form, told if len(chunk) == len(group) else None)


def halves(chunk: Sequence[Outbound], form: Form, told: str | None = None) -> Iterator[Packed | Receipt]:
    """One request if it can be, else several: messages of one text, no address twice, none unfit. `told`: what `_told`
    says of them, where it is known."""
    if len(chunk) == 1:
        yield _alone(chunk[0], form)
    elif chunk:
        try:
            body, large = _together(chunk, form, _told(chunk) if told is None else told)
        except UnicodeEncodeError:
            body, large = None, frozenset()
        if body is not None and len(body) <= BODY:
            yield Packed(chunk, body)
        elif large:
            yield from (_alone(chunk[n], form) for n in large)
            yield from halves([o for n, o in enumerate(chunk) if n not in large], form)
        else:
            yield from halves(chunk[: len(chunk) // 2], form)
            yield from halves(chunk[len(chunk) // 2 :], form)


# ---- which go together ----------------------------------------------------------------------------------------------


def _groups(batch: Sequence[Outbound]) -> list[list[Outbound]]:
    """Those that share text, sender, attachments and what else stands once in a request."""
    groups: dict[tuple[Any, ...], list[Outbound]] = {}
    group: list[Outbound] = []
    last: Outbound | None = None
    for o in batch:
        if (
            last is None
            # By identity: the same objects serve most of a batch.
            or o.skeleton is not last.skeleton
            or o.sender is not last.sender
            or o.meta is not last.meta
            or o.attachments is not last.attachments
            or o.template != last.template
        ):
            sender = tuple(sorted(o.sender.items()))
            key = (id(o.skeleton), sender, id(o.attachments), o.template, o.meta.get("track"))
            group, last = groups.setdefault(key, []), o
        group.append(o)
    return list(groups.values())


def _apart(group: list[Outbound], most: int) -> Iterator[list[Outbound]]:
    """Chunks in which no address is twice, whatever its case: the vendor refuses a whole request for one that is."""
    addresses = [o.to["address"].casefold() for o in group]
    if len(set(addresses)) == len(addresses):
        layers = [group]
    else:
        layers, count = [], dict.fromkeys(addresses, 0)
        for outbound, address in zip(group, addresses, strict=True):
            nth = count[address]
            count[address] += 1
            if nth == len(layers):
                layers.append([])
            layers[nth].append(outbound)
    for layer in layers:
        for start in range(0, len(layer), most):
            yield layer[start : start + most]


# ---- what cannot be sent --------------------------------------------------------------------------------------------


def _unfit(first: Outbound, skeleton: Skeleton) -> tuple[Reason, str] | None:
    """Why no message of this text and sender can go; None where they can."""
    sender, reply = first.sender, parseaddr(first.sender.get("reply_to", ""))[1]
    if not _ADDRESS.fullmatch(sender.get("address", "")):
        return Reason.CONFIGURATION, "the sender has no e-mail address"
    if sender.get("reply_to") and not _ADDRESS.fullmatch(reply):
        return Reason.CONFIGURATION, "the sender's reply_to is no e-mail address"
    named = [a.name + a.type for a in first.attachments]
    if _broken("".join((sender.get("name", ""), sender.get("reply_to", ""), *named))):
        return Reason.CONTENT, "a line break in the sender, or in the name of an attachment"
    subject = _subject(skeleton)
    if subject is None or not any(_says(skeleton, part) for part in _content(skeleton) if part):
        return Reason.CONTENT, "an e-mail needs a subject and a text"
    if _broken("".join(skeleton.parts[subject])):
        return Reason.CONTENT, "a line break in the subject"
    if any(not a.name or not a.type or (not a.part and not a.content) for a in first.attachments):
        return Reason.CONTENT, "an attachment without a name, a type or content"
    return None


def _says(skeleton: Skeleton, part: str) -> bool:
    return bool(skeleton.slots[part]) or any(skeleton.parts[part])


def _broken(text: str) -> bool:
    return any(c in text for c in _BREAKS)


def _told(group: Sequence[Outbound]) -> str:
    """What stands in requests beside the texts: addresses, names, headers, attempts."""
    told = [o.to.get("address", "") for o in group]
    told += [o.to.get("name", "") for o in group]
    told += [o.attempt for o in group]
    told += [_BETWEEN.join(o.headers.values()) for o in group]
    return _BETWEEN.join(told)


def _suspicious(group: Sequence[Outbound], skeleton: Skeleton, told: str) -> bool:
    """Whether any of a group may be unfit. A few searches through all of it at once, instead of some for each."""
    subject, names = _subject(skeleton), set[str]().union(*[o.headers for o in group])
    assert subject is not None
    said = [o.values[slot] for slot in set(skeleton.slots[subject]) for o in group]
    if _broken(told) or _broken("".join(said)):
        return True
    addresses = [o.to.get("address", "") for o in group]
    joined = "\n".join(("", *addresses, ""))
    return (
        any(c in joined for c in _NOT_IN_ADDRESSES)
        or joined.count("@") != len(group)
        or bool([a for a in addresses if "@" not in a])
        or "\n@" in joined
        or "@\n" in joined
        or any(not _HEADER.fullmatch(name) or name.lower() in _RESERVED for name in names)
        or not "".join(skeleton.parts[subject]).strip()
        or max([len(o.attempt) for o in group]) > _NAMES
    )


def _fault(outbound: Outbound, skeleton: Skeleton) -> tuple[Reason, str] | None:
    """Why one message cannot go."""
    address, subject = outbound.to.get("address", ""), _subject(skeleton)
    assert subject is not None
    if not _ADDRESS.fullmatch(address) or _broken(address):
        return Reason.INVALID_ADDRESS, "there is no e-mail address"
    if _broken(outbound.to.get("name", "")):
        return Reason.CONTENT, "a line break in the recipient's name"
    said = skeleton.fill(subject, outbound.values)
    if _broken(said):
        return Reason.CONTENT, "a line break in the subject"
    if not said.strip():
        return Reason.CONTENT, "the subject is empty"
    for name, value in outbound.headers.items():
        if not _HEADER.fullmatch(name) or _broken(value):
            return Reason.CONTENT, "a header with a line break, or with a name that headers cannot have"
        if name.lower() in _RESERVED:
            return Reason.CONFIGURATION, "a header that the provider makes itself"
    if len(outbound.attempt) > _NAMES:
        return Reason.CONFIGURATION, "the attempt's name is too long"
    return None


# ---- one request for many -------------------------------------------------------------------------------------------


def _together(chunk: Sequence[Outbound], form: Form, told: str) -> tuple[bytes | None, frozenset[int]]:
    """(body, which are too large to go with others); no body where the messages cannot share one."""
    skeleton = chunk[0].skeleton
    texts = [_BETWEEN.join(o.values) for o in chunk]
    slots = sorted({slot for part in _parts(skeleton) for slot in skeleton.slots[part]})
    mark = _mark(chunk[0], texts, told)
    if mark is None:
        return None, frozenset()
    width = len(f"{max(slots, default=0):x}")
    tags = [f"{mark}{slot:0{width}x}_" for slot in range(slots[-1] + 1 if slots else 0)]
    room = SUBSTITUTIONS - sum(map(len, tags))
    if max(map(len, texts)) * 4 > room:
        large = frozenset(n for n, text in enumerate(texts) if len(text.encode()) > room)
        if large:
            return None, large
    shape, plain = _shape(tuple(tags[slot] for slot in slots)), told.isascii()
    if len(slots) == len(tags) and not [o for o in chunk if len(o.values) != len(tags)]:
        people = [_person(o, shape(*o.values), plain) for o in chunk]
    else:
        people = [_person(o, shape(*[o.values[slot] for slot in slots]), plain) for o in chunk]
    parts = {part: _tagged(skeleton, part, tags) for part in _parts(skeleton)}
    return _ENCODE(_request(chunk[0], people, parts, form)), frozenset()


def _tagged(skeleton: Skeleton, part: str, tags: Sequence[str]) -> str:
    return skeleton.fill(part, tags) if tags else "".join(skeleton.parts[part])


_FIRST = "~!QXZ=@;:-"
_REST = "s7q"


def _mark(first: Outbound, texts: Sequence[str], told: str) -> str | None:
    """What a tag begins with: of such a kind that nothing but a tag ever begins so, whatever has been replaced by then.

    A tag is the mark, a number of fixed width, and an end. The mark's first character is nowhere else in a tag, so no
    mark begins within one, nor ends in one that follows. The mark is in no text and no value; and none of them ends as
    a mark begins, so that none arises where two meet. Hence every mark in a text, at any stage, is that of a tag that
    was there from the start, and tags can be replaced in any order, and again in what was put in.
    """
    pieces = [piece for part in first.skeleton.parts.values() for piece in part]
    text = _BETWEEN.join((*texts, told, *pieces, *first.sender.values(), ""))
    for begins in _FIRST:
        mark = begins + _REST
        # Nowhere at all is soonest seen, and proves the rest.
        if begins not in text or (
            mark not in text and not any(mark[:n] + _BETWEEN in text for n in range(1, len(mark)))
        ):
            return mark
    return None


# ---- one request for one --------------------------------------------------------------------------------------------


def _alone(outbound: Outbound, form: Form) -> Packed | Receipt:
    parts = {part: outbound.part(part) for part in _parts(outbound.skeleton)}
    if not any(parts[part] for part in _content(outbound.skeleton) if part):
        return Receipt(outbound.attempt, "rejected", "", Reason.CONTENT, "the text is empty")
    if any(a.part and not outbound.part(a.part) for a in outbound.attachments):
        return Receipt(outbound.attempt, "rejected", "", Reason.CONTENT, "an attachment of this recipient's is empty")
    try:
        body = _ENCODE(_request(outbound, [_person(outbound)], parts, form))
    except UnicodeEncodeError:
        return Receipt(outbound.attempt, "rejected", "", Reason.CONTENT, "the text has half a character in it")
    if len(body) > BODY:
        return Receipt(outbound.attempt, "rejected", "", Reason.TOO_LARGE, "larger than the provider's 30 MB")
    return Packed((outbound,), body)


# ---- the parts of a request -----------------------------------------------------------------------------------------


class _Who(msgspec.Struct, omit_defaults=True, gc=False):
    email: str
    name: str = ""


class _Arguments(msgspec.Struct, gc=False):
    attempt_id: str


class _Person(msgspec.Struct, omit_defaults=True, gc=False):
    to: tuple[_Who]
    custom_args: _Arguments
    # All of them here, also what all have alike: headers of one recipient replace those of the request.
    headers: Mapping[str, str] | None = None
    substitutions: msgspec.Struct | None = None


@lru_cache(maxsize=256)
def _shape(tags: tuple[str, ...]) -> Callable[..., msgspec.Struct | None]:
    """Makes substitutions of their values: a structure is made and encoded in half the time of a dict."""
    if not tags:
        return lambda: None
    fields = {f"v{n}": tag for n, tag in enumerate(tags)}
    return msgspec.defstruct("Substitutions", [(field, str) for field in fields], rename=fields, gc=False)


def _person(o: Outbound, substitutions: msgspec.Struct | None = None, plain: bool = False) -> _Person:
    """`plain`: there is nothing but ASCII in any of the headers."""
    headers: Mapping[str, str] | None = o.headers or None
    if headers and not (type(headers) is dict and (plain or "".join(headers.values()).isascii())):
        headers = _encoded(headers)
    return _Person((_Who(o.to["address"], o.to.get("name", "")),), _Arguments(o.attempt), headers, substitutions)


def _encoded(headers: Mapping[str, str]) -> dict[str, str]:
    return {n: v if v.isascii() else Header(v, "utf-8", maxlinelen=10_000).encode() for n, v in headers.items()}


def _request(first: Outbound, people: list[_Person], parts: Mapping[str, str], form: Form) -> dict[str, Any]:
    skeleton, sender = first.skeleton, first.sender
    subject = _subject(skeleton)
    assert subject is not None
    request: dict[str, Any] = {
        "personalizations": people,
        "from": _who(sender.get("name", ""), sender["address"]),
        "subject": parts[subject],
        "content": [
            {"type": kind, "value": parts[part]}
            for part, kind in zip(_content(skeleton), ("text/plain", "text/html"), strict=True)
            if part and parts[part]
        ],
        # Our own List-Unsubscribe stands alone, and the text goes out as it was approved: whatever the account has
        # switched on for the rest of its mail.
        "mail_settings": {"footer": _OFF, "sandbox_mode": {"enable": form.sandbox_mode}},
        "tracking_settings": _tracking(first.meta.get("track", "").split()),
    }
    if sender.get("reply_to"):
        request["reply_to"] = _who(*parseaddr(sender["reply_to"]))
    if first.attachments:
        request["attachments"] = [
            {
                "content": b64encode(first.part(a.part).encode() if a.part else a.content).decode(),
                "type": a.type,
                "filename": a.name,
                "disposition": "attachment",
            }
            for a in first.attachments
        ]
    if categories := _categories(first.template, form):
        request["categories"] = categories
    if form.ip_pool_name:
        request["ip_pool_name"] = form.ip_pool_name
    return request


def _who(name: str, address: str) -> dict[str, str]:
    return {"email": address, "name": name} if name else {"email": address}


def _tracking(track: Sequence[str]) -> dict[str, Any]:
    return {
        "click_tracking": {"enable": "clicks" in track, "enable_text": False},
        "open_tracking": {"enable": "opens" in track},
        "subscription_tracking": _OFF,
        "ganalytics": _OFF,
    }


def _categories(template: str, form: Form) -> list[str]:
    own = [template] if template and template.isascii() and len(template) <= CATEGORY else []
    return list(dict.fromkeys([*form.categories, *own]))[:CATEGORIES]


def _subject(skeleton: Skeleton) -> str | None:
    return next((part for part in ("subject", "title") if part in skeleton.parts), None)


def _content(skeleton: Skeleton) -> tuple[str, str]:
    """The names of the plain part and of the HTML; "" for one that is not there."""
    plain = next((part for part in ("text", "body") if part in skeleton.parts), "")
    return plain, "html" if "html" in skeleton.parts else ""


def _parts(skeleton: Skeleton) -> list[str]:
    subject = _subject(skeleton)
    return [part for part in (subject, *_content(skeleton)) if part]
