"""A job's files: records, manifest, counts of what was left out, the house's templates. The same letters, the same
bytes."""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import html
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from channels.base import Outbound, Reason
from channels.letterfile.layout import Address, Unfit, household, laid_out
from channels.letterfile.options import FIELDS, Options

SCHEMA = 1
_HEAD = ("piece_id", "household_id", *FIELDS, "template", "template_version", "language", "format", "sort_key")
_TAIL = ("return_code", "pdf")
_FORMULA = re.compile(r"\s*(?:[=@]|[+-](?![\d\s.,\u00a0\u202f()/%\u20a0-\u20bf$£¥A-Z-]*$))")
"""A phone number, an amount or a dash begins with a sign, too, and runs nothing."""
FORMATS = ("A4", "A5", "letter")


@dataclass(frozen=True, slots=True)
class Piece:
    """One letter of a job."""

    id: str
    outbound: Outbound = field(repr=False)
    address: Address = field(repr=False)
    household: str
    return_code: str
    sort_key: str = field(repr=False)
    seed: bool = False

    @property
    def format(self) -> str:
        found = self.outbound.meta.get("format", "A4")
        return found if found in FORMATS else "A4"

    @property
    def template(self) -> tuple[str, str, str]:
        """Name, language and version: letters that are alike but for their variables."""
        return self.outbound.template, self.outbound.locale, version(self.outbound)

    def variables(self) -> list[str]:
        """What is the recipient's own, in the order in which the text first has it, as it is printed."""
        slots = dict.fromkeys(self.outbound.skeleton.slots[part_of(self.outbound)])
        plain = html.unescape if part_of(self.outbound) == "html" else str
        return [plain(self.outbound.values[slot]) for slot in slots]


def part_of(outbound: Outbound) -> str:
    """The part that is the letter."""
    return next((part for part in ("html", "text", "body") if part in outbound.skeleton.parts), "")


def version(outbound: Outbound) -> str:
    return outbound.skeleton.hash[:16]


def piece(outbound: Outbound, options: Options, secret: bytes, seed: bool = False) -> Piece:
    """Raises Unfit."""
    if not part_of(outbound):
        raise Unfit(Reason.CONTENT, "there is no text to print")
    address = laid_out(outbound.to, options)
    columns = address.columns
    own = Piece(outbound.attempt, outbound, address, "", "", "").variables()
    if any(_FORMULA.match(value) for value in own):
        raise Unfit(Reason.CONTENT, "a value begins as what a spreadsheet takes for a formula")
    place = [columns[name].casefold() for name in ("country", "postcode", "city", "addr1", "name")]
    code = base64.b32encode(hmac.digest(secret, b"return\0" + outbound.attempt.encode(), "sha256"))[:10].decode()
    return Piece(outbound.attempt, outbound, address, household(secret, address), code, "|".join(place), seed)


def seeds(pieces: Sequence[Piece], options: Options, secret: bytes, job: str) -> list[Piece]:
    """One letter of each template to each address of our own. Its variables are its own: what all letters share stays,
    the rest is the seed's name, so that nobody's data goes to somebody else."""
    found = []
    by_template: dict[tuple[str, str, str], list[Piece]] = {}
    for one in pieces:
        by_template.setdefault(one.template, []).append(one)
    for key, group in sorted(by_template.items()):
        for n, to in enumerate(options.seeds):
            digest = hmac.digest(secret, "\0".join(("seed", job, *key, str(n))).encode(), "sha256")
            # As long as an attempt may be, and never one: so many messages there are not.
            attempt = f"m{10**17 + int.from_bytes(digest[:7], 'big')}a1"
            first = group[0].outbound
            name = to.get("name") or to.get("company", "")
            shared = [
                len(group) > 1 and len({p.outbound.values[i] for p in group}) == 1 for i in range(len(first.values))
            ]
            values = tuple(v if same else html.escape(name) for v, same in zip(first.values, shared, strict=True))
            found.append(piece(replace(first, attempt=attempt, to=dict(to), values=values), options, secret, True))
    return found


def row_hash(one: Piece) -> str:
    """What a piece says and where it goes: handed over again, it must be the same."""
    text = json.dumps([one.address.columns, one.template, one.variables(), one.format], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def job_id(house: str, cutoff: datetime, attempts: Iterable[str]) -> str:
    """HOUSE-20270302T1300Z-1a2b3c4d: the same pieces at the same cut-off are the same job."""
    digest = hashlib.sha256("\n".join(sorted(attempts)).encode()).hexdigest()[:8]
    return f"{house}-{cutoff:%Y%m%dT%H%MZ}-{digest}"


# ---- files ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Files:
    """Yields a job's files in the order in which they are written, the manifest last.

    `print_` gives a piece's PDF, or raises Unfit: then the piece is left out, and in `unfit`. `left_out`: counts by
    reason of what was decided not to be sent.
    """

    job: str
    cutoff: datetime
    options: Options
    pieces: Sequence[Piece]
    left_out: Mapping[str, int] = field(default_factory=dict)
    print_: Callable[[Piece], bytes] | None = None
    proofs: Callable[[Sequence[Piece]], Iterable[tuple[str, bytes]]] | None = None
    unfit: dict[str, Unfit] = field(default_factory=dict)
    records: str = ""
    manifest: str = ""

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        hashes: dict[str, str] = {}
        for name, data in self._parts():
            hashes[name] = hashlib.sha256(data).hexdigest()
            yield name, data
        self.records = hashes[f"{self.job}_records.csv"]
        manifest = json.dumps(self._manifest(hashes), ensure_ascii=False, indent=2).encode() + b"\n"
        self.manifest = hashlib.sha256(manifest).hexdigest()
        yield f"{self.job}_manifest.json", manifest

    @property
    def kept(self) -> list[Piece]:
        return [one for one in self.pieces if one.id not in self.unfit]

    def _parts(self) -> Iterator[tuple[str, bytes]]:
        if self.print_ is not None:
            for one in self.pieces:
                try:
                    data = self.print_(one)
                except Unfit as unfit:
                    self.unfit[one.id] = unfit
                else:
                    yield self._pdf(one), data
        kept = self.kept
        if self.proofs is not None and kept:
            for name, data in self.proofs(kept):
                yield f"{self.job}_proofs/{name}", data
        if self.print_ is None:
            yield from self._templates(kept)
        yield f"{self.job}_records.csv", self._table(_rows(kept, self._pdf if self.print_ else None))
        counts = sorted(self.left_out.items())
        rows = [("reason", "pieces"), *((reason, str(count)) for reason, count in counts)]
        yield f"{self.job}_suppressed.csv", self._table(rows)

    def _pdf(self, one: Piece) -> str:
        return f"{self.job}_letters/{one.id}.pdf"

    def _templates(self, kept: Iterable[Piece]) -> Iterator[tuple[str, bytes]]:
        """The letters' texts with numbered places, for a house that sets them itself."""
        seen: dict[tuple[str, str, str], Outbound] = {}
        for one in kept:
            seen.setdefault(one.template, one.outbound)
        for key, outbound in sorted(seen.items()):
            part = part_of(outbound)
            number = {slot: n for n, slot in enumerate(dict.fromkeys(outbound.skeleton.slots[part]), 1)}
            places = tuple(f"[[var_{number[n]}]]" if n in number else "" for n in range(len(outbound.values)))
            ending = "html" if part == "html" else "txt"
            yield f"{self.job}_templates/{file_name(key)}.{ending}", outbound.skeleton.fill(part, places).encode()

    def _table(self, rows: Iterable[Sequence[str]]) -> bytes:
        out = io.StringIO(newline="")
        ending = "\r\n" if self.options.newline == "CRLF" else "\n"
        csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=ending).writerows(rows)
        return out.getvalue().encode()

    def _manifest(self, hashes: Mapping[str, str]) -> dict[str, Any]:
        kept, options = self.kept, self.options
        until = self.cutoff.astimezone(options.zone).date() + timedelta(days=options.mail_within_days)
        rows = _rows(kept, self._pdf if self.print_ else None)
        head, *body = rows
        return {
            "job": self.job,
            "schema": SCHEMA,
            # The cut-off and not the hour of writing: the same job is the same bytes.
            "created": self.cutoff.isoformat(),
            "house": options.house,
            "rehearsal": options.rehearsal,
            "contact": options.contact,
            "mail_dates": {"from": f"{self.cutoff.astimezone(options.zone):%Y-%m-%d}", "until": until.isoformat()},
            "rows": len(kept),
            "seeds": sum(one.seed for one in kept),
            "by_class": _tally(one.outbound.meta.get("purpose", "") or "not said" for one in kept),
            "by_template": _tally(" ".join(filter(None, one.template)) for one in kept),
            "by_country": _tally(one.address.columns["country"] for one in kept),
            "by_sort_group": _tally(_group(one) for one in kept),
            "by_format": _tally(one.format for one in kept),
            "encoding": "utf-8",
            "newline": options.newline,
            "quoting": "all",
            "delimiter": ",",
            "sort": ["country", "postcode", "city", "addr1", "name", "piece_id"],
            "widths": {name: max((len(row[n]) for row in body), default=0) for n, name in enumerate(head)},
            "widths_allowed": dict(sorted(options.widths.items())),
            "sha256": dict(sorted(hashes.items())),
        }


def in_order(pieces: Iterable[Piece]) -> list[Piece]:
    """As the post sorts, so that the file comes out the same each time."""
    return sorted(pieces, key=lambda one: (one.sort_key, one.id))


def file_name(template: tuple[str, str, str]) -> str:
    """A template as a file's name."""
    text = ".".join(part for part in template if part)
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text).lstrip(".") or "letter"


def _rows(pieces: Sequence[Piece], pdf: Callable[[Piece], str] | None) -> list[tuple[str, ...]]:
    variables = [one.variables() for one in pieces]
    most = max(map(len, variables), default=0)
    head = (*_HEAD, *_TAIL, *(f"var_{n}" for n in range(1, most + 1)))
    rows = [head]
    for one, values in zip(pieces, variables, strict=True):
        columns = [one.address.columns[name] for name in FIELDS]
        of = (one.outbound.template, version(one.outbound), one.outbound.locale, one.format, one.sort_key)
        tail = (one.return_code, pdf(one) if pdf else "")
        row = (one.id, one.household, *columns, *of, *tail, *values, *[""] * (most - len(values)))
        rows.append(tuple(_printable(value) for value in row))
    return rows


def _printable(value: str) -> str:
    """A row is one line, whatever a text of the sender's has in it."""
    return " ".join(value.split()) if any(c in value for c in "\r\n\0\u2028\u2029\v\f") else value


def _group(one: Piece) -> str:
    columns = one.address.columns
    return f"{columns['country']} {columns['postcode'][:2]}".strip()


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
