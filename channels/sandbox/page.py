"""A sandbox read back: what it holds, for tests and for a person with a browser."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email import policy
from email.parser import BytesParser
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote, unquote

from channels.base import Medium
from channels.sandbox.files import SUFFIX


@dataclass(frozen=True, slots=True)
class Kept:
    """One delivery found in a sandbox. `duplicate`: its attempt had been handed over before."""

    attempt: str
    medium: Medium
    template: str
    locale: str
    at: str  # ISO 8601; empty when the writer died before it could index the file
    file: str  # below the folder
    sha256: str
    duplicate: bool = False


def kept(folder: str | os.PathLike[str]) -> list[Kept]:
    """Every delivery in the order of the index, then the files of writers that died before indexing them."""
    root = Path(folder)
    found: list[Kept] = []
    index = root / "index.jsonl"
    for line in index.read_bytes().splitlines() if index.exists() else ():
        try:
            entry = json.loads(line)
            found.append(Kept(**{**entry, "medium": Medium(entry["medium"])}))
        except (ValueError, KeyError, TypeError):
            continue  # half a line, from a writer that was killed
    seen = {delivery.file for delivery in found}
    for medium in Medium:
        pattern = "letters-*/letters/*.html" if medium is Medium.MAIL else f"*{SUFFIX.get(medium, '.txt')}"
        for path in sorted((root / medium.value).glob(pattern)):
            file = path.relative_to(root).as_posix()
            if file not in seen:
                name, _, copy = path.stem.partition("~")
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found.append(Kept(unquote(name), medium, "", "", "", file, digest, bool(copy)))
    return found


# ---- the page -------------------------------------------------------------------------------------------------------


_DEVICE = re.compile(r"a[0-9]+d([0-9]+)$")
"""The end of an attempt at one of several devices."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a page tells of a delivery. `html` is shown in a frame that runs nothing and loads nothing."""

    title: str
    to: str
    text: str
    html: str = ""


def browse(folder: str | os.PathLike[str], newest: int = 500) -> Path:
    """Writes `index.html` and a page for each of the newest deliveries; returns the path to open in a browser."""
    root = Path(folder)
    everything = kept(root)
    pages = root / "pages"
    pages.mkdir(mode=0o700, parents=True, exist_ok=True)
    entries = []
    for number, delivery in enumerate(reversed(everything[-newest:] if newest else [])):
        shown = _SHOW[delivery.medium]((root / delivery.file).read_bytes())
        name = f"{len(everything) - number:07}.html"
        _put(pages / name, _page(delivery, shown))
        entries.append(_entry(delivery, shown, f"pages/{name}"))
    _put(root / "index.html", _index(everything, entries))
    return root / "index.html"


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")
    path.chmod(0o600)


def _show_email(data: bytes) -> _Shown:
    message = BytesParser(policy=policy.default).parsebytes(data)
    bodies = {
        kind: str(part.get_content()) for kind in ("plain", "html") if (part := message.get_body((kind,))) is not None
    }
    return _Shown(
        str(message.get("Subject", "")), str(message.get("To", "")), bodies.get("plain", ""), bodies.get("html", "")
    )


def _show_text(data: bytes) -> _Shown:
    head, _, body = data.decode("utf-8", "replace").partition("\n\n")
    first = head.partition("\n")[0]
    body = body.strip()
    return _Shown(_short(body), first.partition(": ")[2], body)


def _show_task(data: bytes) -> _Shown:
    """Its title, what is to be done, and by when; what it is about stands on its page."""
    head, _, body = data.decode("utf-8", "replace").partition("\n\n")
    first, *rest = head.split("\n")
    title = rest.pop(0) if rest else ""
    body = body.strip()
    due = "".join(f" ({line})" for line in rest if line.startswith("due: "))
    told = ": ".join(part for part in (title, " ".join(body.split())) if part)
    return _Shown(_short(told, 160 - len(due)) + due, first.partition(": ")[2], "\n".join([body, "", *rest]).strip())


def _show_json(data: bytes) -> _Shown:
    try:
        body = json.loads(data)
    except ValueError:
        return _Shown("(unreadable)", "", data.decode("utf-8", "replace"))
    to = next(iter(body.get("to", {}).values()), "")
    return _Shown(_short(str(body.get("title") or body.get("body", ""))), _short(str(to)), data.decode("utf-8"))


def _show_letter(data: bytes) -> _Shown:
    html = data.decode("utf-8", "replace")
    title = re.search(r"<title>(.*?)</title>", html, re.S | re.I)
    return _Shown(_short(unescape(title.group(1))) if title else "Letter", "", "", html)


def _short(text: str, most: int = 90) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


_SHOW = {
    Medium.EMAIL: _show_email,
    Medium.SMS: _show_text,
    Medium.PUSH: _show_json,
    Medium.MAIL: _show_letter,
    Medium.TASK: _show_task,
    Medium.WEBHOOK: _show_json,
    Medium.AUDIENCE: _show_json,
}

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5c6675; --line: #dde2ea; --paper: #f5f7fa; --card: #fff;
  --email: #2458c5; --sms: #0c7a4d; --push: #a3480a; --mail: #7d3aa8; --task: #9a1f4b; --webhook: #48566a;
  --audience: #5b5b12; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf2; --soft: #9aa6b8; --line: #2c3542; --paper: #12161d;
  --card: #1a2029; --email: #86aefc; --sms: #5fd3a0; --push: #f3a56b; --mail: #cf9bf0; --task: #f391b3;
  --webhook: #a9b6c9;
  --audience: #cfcf7a; } }
* { box-sizing: border-box } body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem;
  background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; overflow-wrap: anywhere }
p, dd { margin: 0; color: var(--soft) } a { color: inherit }
nav { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1.25rem 0 } nav input { position: absolute; opacity: 0 }
nav label { border: 1px solid var(--line); border-radius: 2rem; padding: .25rem .85rem; background: var(--card);
  cursor: pointer } nav input:checked + label { border-color: currentColor; font-weight: 600 }
nav input:focus-visible + label { outline: 2px solid currentColor; outline-offset: 2px }
ul { list-style: none; margin: 0; padding: 0 } li a { display: grid; grid-template-columns: 5.5rem 1fr auto;
  gap: .1rem 1rem; padding: .7rem 1rem; background: var(--card); border: 1px solid var(--line); margin-top: -1px;
  text-decoration: none } li a:hover strong, li a:focus-visible strong { text-decoration: underline }
li strong { font-weight: 600; overflow-wrap: anywhere } li small { color: var(--soft); overflow-wrap: anywhere }
li small:last-child { grid-column: 2 / -1 } .badge { font-size: .8rem; font-weight: 600; text-transform: uppercase;
  letter-spacing: .04em } .twice { color: var(--task); font-weight: 600 }
.email { --it: var(--email) } .sms { --it: var(--sms) } .push { --it: var(--push) } .mail { --it: var(--mail) }
.task { --it: var(--task) } .webhook { --it: var(--webhook) } .badge, nav label { color: var(--it, inherit) }
dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem 1rem; margin: 1rem 0; font-size: .93rem }
dt { color: var(--soft) } dd { color: var(--ink); overflow-wrap: anywhere } iframe { width: 100%; height: 75vh;
  border: 1px solid var(--line); border-radius: .5rem; background: #fff } pre { white-space: pre-wrap;
  overflow-wrap: anywhere; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem;
  font: 15px/1.5 ui-monospace, monospace }
@media (max-width: 40rem) { li a { grid-template-columns: 1fr auto } li strong { grid-column: 1 / -1; order: 1 }
  li small:last-child { grid-column: 1 / -1; order: 2 } }
"""
# Nothing is fetched: a look at a message here must not count as opened anywhere.
_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'"


def _frame(title: str, body: str, style: str = "") -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _index(everything: Sequence[Kept], entries: Sequence[str]) -> str:
    counts = {medium.value: sum(d.medium is medium for d in everything) for medium in Medium}
    present = {name: count for name, count in counts.items() if count}
    doubled = sum(d.duplicate for d in everything)
    chips = [f'<input type="radio" name="m" id="m-all" checked><label for="m-all">All {len(everything):,}</label>']
    chips += [
        f'<input type="radio" name="m" id="m-{name}"><label class="{name}" for="m-{name}">{name} {count:,}</label>'
        for name, count in present.items()
    ]
    style = "".join(f"body:has(#m-{name}:checked) li:not(.{name}) {{ display: none }}\n" for name in present)
    told = "Nothing was sent: these are the messages as they would have gone out, newest first."
    if len(entries) < len(everything):
        told += f" The newest {len(entries):,} of {len(everything):,} are listed."
    if any(_DEVICE.search(d.attempt) for d in everything):
        told += " A push to several devices lies here once for each."
    if doubled:
        told += f' <span class="twice">{doubled:,} handed over twice.</span>'
    if not everything:
        told = "There are no messages yet."
    body = (
        f"<h1>Sandbox outbox</h1>\n<p>{told}</p>\n<nav>{''.join(chips)}</nav>\n<ul>\n" + "\n".join(entries) + "\n</ul>"
    )
    return _frame("Sandbox outbox", body, style)


def _entry(delivery: Kept, shown: _Shown, href: str) -> str:
    medium = delivery.medium.value
    device = f"device {found[1]}" if (found := _DEVICE.search(delivery.attempt)) else ""
    about = " · ".join(escape(part) for part in (shown.to, device, delivery.template, delivery.locale) if part)
    twice = ' <span class="twice">twice</span>' if delivery.duplicate else ""
    return (
        f'<li class="{medium}"><a href="{quote(href)}"><span class="badge">{medium}</span>'
        f"<strong>{escape(shown.title) or '(no title)'}{twice}</strong><small>{escape(_when(delivery))}</small>"
        f"<small>{about}</small></a></li>"
    )


def _when(delivery: Kept) -> str:
    return delivery.at[:16].replace("T", " ") + " UTC" if delivery.at else "not indexed"


def _page(delivery: Kept, shown: _Shown) -> str:
    facts = {
        "To": shown.to,
        "When": _when(delivery),
        "Template": " · ".join(part for part in (delivery.template, delivery.locale) if part),
        "Attempt": delivery.attempt + (" (handed over twice)" if delivery.duplicate else ""),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value)
    file = f'<dt>File</dt><dd><a href="../{quote(delivery.file)}">{escape(delivery.file)}</a></dd>'
    parts = [
        f'<p><a href="../index.html">← All messages</a></p>\n<h1 class="{delivery.medium.value}">'
        f'<span class="badge">{delivery.medium.value}</span> {escape(shown.title)}</h1>\n<dl>{rows}{file}</dl>'
    ]
    if shown.html:
        source = escape('<base target="_blank">' + shown.html)
        frame = "allow-popups allow-popups-to-escape-sandbox"
        parts.append(f'<iframe sandbox="{frame}" title="The message" srcdoc="{source}"></iframe>')
    if shown.text:
        parts.append(f"<pre>{escape(shown.text)}</pre>")
    return _frame(shown.title or delivery.attempt, "\n".join(parts))
