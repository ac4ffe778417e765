"""Texts as networks carry them: their alphabet, how many segments they take, and plain characters for typographic ones.

A text whose characters all stand in GSM 7-bit has 160 of them in one segment, any other one 70 (3GPP TS 23.038), and
every segment is charged as a text. One curly quote that a word processor put in can double what a text costs.
"""

from __future__ import annotations

import unicodedata
from typing import Final, NamedTuple

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("^{}\\[~]|€\f")  # two septets each
_ALPHABET: Final = _BASIC | _EXTENDED
_PLAIN: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′‵‹›ʼʹ`´", "'"),
        **dict.fromkeys("“”„‟″‶«»〝〞", '"'),
        **dict.fromkeys("‐‑‒–—―−⁃﹘﹣", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\ufe0e\ufe0f", ""),
        **dict.fromkeys("\u2028\u2029\u0085", "\n"),
        **dict.fromkeys("•‣◦·∙", "-"),
        "…": "...",
        "⁄": "/",
        "×": "x",
        "™": "(TM)",
        "©": "(C)",
        "®": "(R)",
        "№": "No.",
    }
)
"""What nobody misses: each as one plain character, or as the shortest that it is read as. Letters are not touched: a
name is spelled as its owner spells it."""


class Carried(NamedTuple):
    """How a text goes out: `encoding` GSM-7 or UCS-2, in so many `segments`."""

    encoding: str
    segments: int


def sms_segments(text: str) -> Carried:
    """How a text goes out, by 3GPP TS 23.038.

    160 septets or 70 UTF-16 units in one, 153 or 67 in each of several; no pair is split between two segments.
    """
    if _ALPHABET.issuperset(text):
        name, single, several = "GSM-7", 160, 153
        if len(text) <= 80 or len(text) + sum(map(text.count, _EXTENDED)) <= single:
            return Carried(name, 1)
        sizes = [2 if c in _EXTENDED else 1 for c in text]
    else:
        name, single, several = "UCS-2", 70, 67
        sizes = [2 if ord(c) > 0xFFFF else 1 for c in text]
    if sum(sizes) <= single:
        return Carried(name, 1)
    count, room = 1, several
    for size in sizes:
        if size > room:
            count, room = count + 1, several
        room -= size
    return Carried(name, count)


def outside(text: str) -> str:
    """The characters of a text that are not in GSM 7-bit, each once, in order: what makes it UCS-2."""
    return "".join(dict.fromkeys(c for c in text if c not in _ALPHABET))


def simplified(text: str) -> str:
    """The same with plain characters for typographic ones. What has no plain one stays, and so does the encoding."""
    if _ALPHABET.issuperset(text):
        return text
    return unicodedata.normalize("NFC", text).translate(_PLAIN)
