"""What is missing or doubtful in a text as somebody would get it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final, Literal

from channels.base import Medium
from orchestrator.gsm import outside
from orchestrator.outbound import REASONS
from orchestrator.preview import Preview, Rendering
from orchestrator.store.sampling import Extreme

CLIPPED: Final = 102 * 1024
"""Bytes of a page behind which Gmail shows "[Message clipped]" (2026-11)."""
SUBJECT: Final = 60
"""Characters of a subject that a phone's inbox shows, about."""
PUSH: Final[Mapping[str, tuple[int, int]]] = {"iPhone": (50, 178), "Android": (65, 240)}
"""Characters of a notification's title and body that a locked phone shows, about (2026-11): both cut by width."""
_SEGMENT: Final = {"GSM-7": (160, 153), "UCS-2": (70, 67)}

_FOR: Final = {"longest": "the longest values", "emptiest": "somebody of whom least is known"}

Weight = Literal["bad", "doubt", "note"]


@dataclass(frozen=True, slots=True)
class Remark:
    """`bad`: it would not be sent like this; `doubt`: somebody should look; `note`: good to know."""

    weight: Weight
    text: str
    where: str = ""  # the text's name and language


def remarks(found: Preview) -> list[Remark]:
    """Everything there is to say, the worst first, each once."""
    said: dict[tuple[str, str], Remark] = {}
    for rendering in found.renderings:
        where = f"{rendering.text.name} · {rendering.locale}" if rendering.locale else rendering.text.name
        where += {"usual": "", "longest": ", longest", "emptiest": ", emptiest"}[rendering.values]
        for weight, text in _of(rendering, found):
            said.setdefault((rendering.text.name, text), Remark(weight, text, where))
    for text in found.notes:
        said[("", text)] = Remark("note", text)
    order = ("bad", "doubt", "note")
    return sorted(said.values(), key=lambda remark: order.index(remark.weight))


def _of(one: Rendering, found: Preview) -> Iterator[tuple[Weight, str]]:
    yield from _missing(one, found)
    if one.outbound is None:
        return
    if one.refused == "no_address":
        weight: Weight = "bad" if one.values == "usual" else "doubt"
        yield weight, f"no_address: {one.text.medium} has nowhere to go, for want of an address or a name"
    asked = str(one.due.payload.get("locale") or "") if one.due is not None else ""
    if one.locale and asked.partition("-")[0] not in ("", one.locale.partition("-")[0]):
        yield "note", f"there is no text in {asked}: who reads that gets {one.locale}"
    if one.made_up:
        yield "note", f"made up, because she has none: {', '.join(one.made_up)}"
    match one.text.medium:
        case Medium.EMAIL:
            yield from _email(one)
        case Medium.SMS:
            yield from _sms(one)
        case Medium.PUSH:
            yield from _push(one)
        case Medium.MAIL:
            yield from _letter(one)


def _missing(one: Rendering, found: Preview) -> Iterator[tuple[Weight, str]]:
    if one.outbound is None:
        reason, _, detail = one.refused.partition(": ")
        yield "bad", f"{one.refused}. {REASONS.get(reason, '')}" if detail else one.refused
    for name in one.gaps:
        if one.values == "usual":
            whom = "to this customer" if found.is_real else "to whom this is not known of"
            yield "bad", f"missing_value: {name} is not known, and the text prints it: not sent {whom}"
        elif one.values == "emptiest":
            yield "doubt", f"missing_value: {_how_many(name, found.extremes)} without {name} get no message"


def _how_many(name: str, extremes: Mapping[str, Extreme]) -> str:
    known = extremes.get(name)
    return f"{known.missing:,} of {known.of:,}" if known is not None and known.missing else "those"


def _email(one: Rendering) -> Iterator[tuple[Weight, str]]:
    assert one.outbound is not None
    html, subject = one.outbound.part("html"), one.outbound.part("subject")
    size = len(html.encode("utf-8", "replace"))
    if size > CLIPPED:
        yield "doubt", f"Gmail clips it: the page has {size / 1024:.0f} KB, and shows {CLIPPED // 1024} KB of it"
    if len(subject) > SUBJECT:
        yield "doubt", f"the subject has {len(subject)} characters: a phone shows about {SUBJECT}"
    if not one.outbound.part("preheader"):
        yield "doubt", "there is no preheader: inboxes show the page's first words beside the subject"
    seen = looked_at(html)
    if seen.without_alt:
        yield "doubt", f"{_counted(seen.without_alt, 'image')} without alt: who sees no images reads nothing there"
    if seen.insecure:
        yield "doubt", f"{_counted(seen.insecure, 'address', 'addresses')} without https"
    if not one.outbound.part("text"):
        yield "doubt", "there is no text part"


def _sms(one: Rendering) -> Iterator[tuple[Weight, str]]:
    if one.carried is None or one.outbound is None or one.carried.segments < 2:
        return
    odd = outside(one.outbound.part("text"))
    because = f", because of {' '.join(odd[:6])}" if odd else ""
    single, several = _SEGMENT[one.carried.encoding]
    yield (
        "doubt",
        (
            f"it goes out as {one.carried.segments} segments ({one.carried.encoding}{because}): one has {single} "
            f"characters, each of several {several}, and each is charged"
        ),
    )


def _push(one: Rendering) -> Iterator[tuple[Weight, str]]:
    assert one.outbound is not None
    for part, place in (("title", 0), ("body", 1)):
        size = len(one.outbound.part(part))
        cut = [f"{name} {most[place]}" for name, most in PUSH.items() if size > most[place]]
        if cut:
            yield "doubt", f"the {part} has {size} characters, and is cut on a locked phone: {', '.join(cut)}, about"


def _letter(one: Rendering) -> Iterator[tuple[Weight, str]]:
    if one.sheet is None:
        return
    if one.sheet.refused and one.values == "usual":
        yield "bad", f"the letter cannot be printed: {one.sheet.refused}"
    elif one.sheet.refused:
        yield "doubt", f"it would not be printed for {_FOR[one.values]}: {one.sheet.refused}"
    elif len(one.sheet.pages) > 2:
        yield "doubt", f"the letter has {len(one.sheet.pages)} pages: two sheets, which may cost more postage"


# ---- a page, looked at ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """`images`: how many are fetched from elsewhere."""

    images: int = 0
    without_alt: int = 0
    insecure: int = 0


def looked_at(html: str) -> Seen:
    """What a page's tags tell."""
    looking = _Looking()
    looking.feed(html)
    looking.close()
    return looking.seen


class _Looking(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.seen.without_alt += "alt" not in given
            self.seen.images += not (given.get("src") or "").startswith(("data:", "cid:"))
        address = given.get("href") if tag in ("a", "area") else given.get("src") if tag == "img" else None
        plain = (address or "").strip().lower().startswith("http://")
        # The embedded default's own links lead to this machine.
        self.seen.insecure += plain and not (address or "").startswith("http://localhost")


def _counted(n: int, what: str, many: str = "") -> str:
    return f"{n:,} {what if n == 1 else many or what + 's'}"
