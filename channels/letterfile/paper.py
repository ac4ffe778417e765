"""Letters as PDF, by typst: PDF/A-2b, the same bytes for the same letter, and never a box where a glyph is missing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files
from typing import Any

from channels.base import Misconfigured, Outbound, Reason
from channels.letterfile.content import Block, Letter, of_html, of_text
from channels.letterfile.job import Piece, file_name, part_of
from channels.letterfile.layout import Unfit
from channels.letterfile.options import Options

_STANDARD = "a-2b"  # refuses a letter with a character that no font has; and opens in twenty years
_SCREEN = 110.0  # points an inch
_LONG = "Maximiliane von Musterhausen-Beispiel "
_NOT_LATIN = "Ελένη Παπαδοπούλου Şükrü Łukasz Żółć محمد علي "


def check(options: Options) -> None:
    """Raises Misconfigured where PDF cannot be made here."""
    try:
        import segno
        import typst  # noqa: F401
    except ImportError:
        raise Misconfigured(
            "letterfile makes PDF with typst and segno: pip install 'campaign-orchestrator[pdf]'; "
            'or leave that to the print house: print = "records", proofs = false'
        ) from None
    del segno
    families = _fonts(options).families()
    if options.font not in families:
        raise Misconfigured(
            f"letterfile finds no font `{options.font[:60]}`; there are {', '.join(families[:12])}. "
            "`fonts` names a folder with more"
        )


def _fonts(options: Options) -> Any:
    import typst

    # Fonts of the machine would make other pages of the same letter elsewhere.
    folders: list[Any] = [options.fonts] if options.fonts else []
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=folders)


@dataclass(slots=True)
class Press:
    """Prints the letters of one job. `at` is the job's: the same letter is the same bytes."""

    options: Options
    at: datetime
    _compiler: Any = None
    _source: bytes = b""
    _others: tuple[str, ...] = ()

    def pdf(self, one: Piece) -> bytes:
        """Raises Unfit: CONTENT where no font has a character, TOO_LARGE where the address is wider than the window."""
        data: bytes = self._set(one, "pdf", pdf_standards=[_STANDARD])
        return data

    def pages(self, one: Piece) -> list[bytes]:
        """Its pages as PNG, for a screen. Raises Unfit."""
        found = self._set(one, "png", ppi=_SCREEN)
        return found if isinstance(found, list) else [found]

    def _set(self, one: Piece, form: str, **more: Any) -> Any:
        import typst

        if self._compiler is None:
            fonts = _fonts(self.options)
            self._source = files("channels.letterfile").joinpath("letter.typ").read_bytes()
            self._compiler = typst.Compiler(self._source, font_paths=fonts, ignore_system_fonts=True)
            self._others = tuple(f for f in fonts.families() if f != self.options.font)
        try:
            return self._compiler.compile(
                self._source,
                format=form,
                sys_inputs={"data": json.dumps(self._data(one))},
                timestamp=int(self.at.timestamp()),
                **more,
            )
        except typst.TypstError as error:
            raise _unfit(str(getattr(error, "message", ""))) from None

    def _data(self, one: Piece) -> dict[str, Any]:
        part = part_of(one.outbound)
        words = one.outbound.part(part)
        letter = of_html(words) if part == "html" else of_text(words)
        for block in letter.body:
            if block["t"] == "qr":
                block["svg"] = _qr(block)
        return letter.data() | {
            "lines": one.address.lines,
            "return_line": self.options.return_line or letter.return_line or one.outbound.sender.get("name", ""),
            "code": one.return_code,
            "of-many": False,
            "format": one.format,
            "title": letter.title or _first(letter),
            "lang": (one.outbound.locale or "en").partition("-")[0].lower()[:3],
            # One after the other, until one has the character.
            "font": [self.options.font, *self._others],
        }

    def proofs(self, pieces: Sequence[Piece]) -> Iterator[tuple[str, bytes]]:
        """Of each template its shortest, its longest and other scripts. They are passed around to be signed off, so
        nobody's data is in them: fillers, as long as the job's own."""
        groups: dict[tuple[str, str, str], list[Piece]] = {}
        for one in pieces:
            groups.setdefault(one.template, []).append(one)
        for key, group in sorted(groups.items()):
            for kind, piece in _fillers(group):
                yield f"{file_name(key)}.{kind}.pdf", self.pdf(piece)


def _fillers(group: Sequence[Piece]) -> Iterable[tuple[str, Piece]]:
    first = group[0]
    own = [{p.outbound.values[i] for p in group} for i in range(len(first.outbound.values))]
    for kind, pick, text in (("shortest", min, _LONG), ("longest", max, _LONG), ("non-latin", max, _NOT_LATIN)):
        values = tuple(_filler(text, pick(map(len, said))) for said in own)
        lines = tuple(
            _filler(text, pick(len(p.address.lines[n]) for p in group if n < len(p.address.lines)))
            for n in range(pick(len(p.address.lines) for p in group))
        )
        address = replace(first.address, lines=lines)
        outbound: Outbound = replace(first.outbound, values=values)
        yield kind, replace(first, outbound=outbound, address=address, return_code="PROOF")


def _filler(text: str, length: int) -> str:
    return (text * (length // len(text) + 1))[:length].strip()


def _first(letter: Letter) -> str:
    words = (run["x"] for block in letter.body[:1] for run in block["c"] if isinstance(run, dict) and "x" in run)
    return "".join(words)[:80] or "Letter"


def _qr(block: Block) -> str:
    import segno

    href = str(block.get("href", ""))
    if not href.startswith(("https://", "http://")) or len(href) > 1000:
        raise Unfit(Reason.CONTENT, "a QR code leads to no address of the web")
    out = io.BytesIO()
    segno.make(href, error="m", micro=False).save(out, kind="svg", border=2, xmldecl=False, svgns=True)
    return out.getvalue().decode()


def _unfit(message: str) -> Unfit:
    """Without what the letter says: a name may be in the message."""
    if "address-too-wide" in message:
        return Unfit(Reason.TOO_LARGE, "a line of the address is wider than the window")
    if "could not be displayed" in message:
        told = message.partition('`"')[2][:1]
        code = f"U+{ord(told):04X}" if told else "of it"
        return Unfit(Reason.CONTENT, f"no font has the character {code}; `fonts` may name a folder of more")
    return Unfit(Reason.CONTENT, "the letter could not be set")
