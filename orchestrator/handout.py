"""What is held about one person as two files for her: a page to read, and the same as JSON to take elsewhere."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from email import message_from_bytes, policy
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.store import holdings, rights
from orchestrator.store.keys import Attempt

if TYPE_CHECKING:
    from orchestrator.wiring import Wired

Row = Mapping[str, Any]

_CHAPTERS: tuple[tuple[str, str, str], ...] = (
    ("profile", "Who you are to us", "What we know of you. If two records turned out to be you, both are here."),
    ("choices", "What you chose", "How often, and in what form, you said you want to hear from us."),
    ("declared", "What you told us yourself", "Which of your data you gave us yourself, and when."),
    ("company", "Your company", "The company you are a contact of. Your colleagues are not in this file."),
    ("devices", "Your devices", "Where push messages go."),
    ("consents_in_force", "What you agreed to", "What holds today, by medium and topic. `*` is every topic."),
    ("consents", "Every yes and no", "Everything you said, with the words you were shown and how we know."),
    ("suppressions", "Addresses we do not use", "Addresses of yours that are barred, and why."),
    ("messages", "Messages", "What we sent you, meant to send you, or told somebody here to do about you."),
    ("decisions", "Why each message went out or not", "The record of each decision, and what each rule said."),
    ("feedback", "What came back", "Deliveries, opens and clicks that were reported to us."),
    ("events", "What you did", "Orders, sign-ups and the like, as they were reported to us."),
    ("records", "Contracts, invoices and the like", "What we keep of you besides your profile."),
    ("journeys", "Series of messages you are or were in", "When they began, how far you came, and how they ended."),
    ("tiers", "Your tiers", "When your tier changed."),
    ("segments", "Groups you are in", "Groups that begin a series of messages, and since when you are in them."),
    ("contacts", "Other contacts", "When other departments contacted you."),
    ("cases", "Cases", "Your cases with our support."),
    ("counted", "What counts as contact", "Messages that count towards how often we may write to you."),
)
"""(member of the document, heading, what it is) in the order of the page."""
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin:2.5rem 0 .2rem;border-top:1px solid #ccc;padding-top:1rem}
p.what{color:#555;margin:.2rem 0 .8rem}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #eee}
th{color:#555;font-weight:600}details{margin:.3rem 0}pre{white-space:pre-wrap;background:#f7f7f7;padding:.6rem}
nav a{margin-right:.8rem}
@media print{nav{display:none}details>*{display:block}}
"""


def document(wired: Wired, key: str | int) -> tuple[int, dict[str, Any]] | None:
    """(the customer's number, everything held as one document); None when nobody is called that, or has the number."""
    with wired.store.read() as conn:
        one = rights.by_id(conn, key) if isinstance(key, int) else rights.person(conn, key)
        if one is None or one.rows[0]["erased_at"] is not None:
            return None
        found = holdings.held(conn, one, wired.keys)
    texts = _texts(wired.settings.outbox_path(wired.folder), {m["id"] for m in found["messages"]})
    for message in found["messages"]:
        message["text"] = texts.get(message["id"], [])
    return one.id, {"made_at": wired.clock(), "key": one.rows[0]["key"] if isinstance(key, int) else key, **found}


def write(found: Mapping[str, Any], number: int, folder: Path) -> tuple[Path, Path]:
    """The page and the JSON file, for their owner's eyes only; their names say nothing about the person."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    page, plain = folder / f"customer-{number}.html", folder / f"customer-{number}.json"
    for path, text in ((page, as_page(found)), (plain, as_json(found))):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
    return page, plain


def as_json(found: Mapping[str, Any]) -> str:
    """A document for programs."""
    return json.dumps(found, ensure_ascii=False, indent=2, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


# ---- words that were sent -------------------------------------------------------------------------------------------


def _texts(outbox: Path, messages: set[int]) -> dict[int, list[str]]:
    """By message, the words of each delivery that is still kept here; what a provider took is not."""
    sandbox: Any = importlib.import_module("channels.sandbox")
    found: dict[int, list[str]] = {}
    for one in sandbox.kept(outbox) if outbox.is_dir() else ():
        attempt = Attempt.read(one.attempt)
        if attempt is not None and attempt.message_id in messages:
            try:
                data = (outbox / one.file).read_bytes()
            except OSError:
                continue
            found.setdefault(attempt.message_id, []).append(_words(one.medium, data))
    return found


def _words(medium: str, data: bytes) -> str:
    match str(medium):
        case "email":
            mail = message_from_bytes(data, policy=policy.default)
            body = mail.get_body(("plain", "html"))
            return f"{mail.get('Subject', '')}\n\n{body.get_content() if body is not None else ''}".strip()
        case "push" | "webhook" | "audience":
            said = json.loads(data)
            return "\n".join(str(text) for name, text in said.items() if name not in ("to", "meta") and text)
        case "task":  # to whom it went is not the customer's to know
            return data.decode("utf-8", "replace").partition("\n")[2].strip()
        case _:
            return data.decode("utf-8", "replace").strip()


# ---- the page -------------------------------------------------------------------------------------------------------


def as_page(found: Mapping[str, Any]) -> str:
    """A document to read."""
    chapters = [(name, head, what, found[name]) for name, head, what in _CHAPTERS]
    links = " ".join(f'<a href="#{name}">{escape(head)}</a>' for name, head, _, rows in chapters if rows)
    empty = [head for _, head, _, rows in chapters if not rows]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>What is held about you</title>',
        f"<style>{_STYLE}</style></head><body><h1>What is held about you</h1>",
        f"<p>As of {escape(_cell(found['made_at']))}. All times are UTC. The file beside this one has the same, for "
        "programs.</p>",
        f"<nav>{links}</nav>",
    ]
    for name, head, what, rows in chapters:
        if rows:
            parts.append(f'<h2 id="{name}">{escape(head)}</h2><p class="what">{_marked(what)}</p>')
            parts.append(_profile(rows) if name == "profile" else _table(rows))
    if empty:
        parts.append(f"<h2>Nothing is held</h2><p>{escape('; '.join(empty))}.</p>")
    return "\n".join([*parts, "</body></html>", ""])


def _marked(text: str) -> str:
    before, *rest = escape(text).split("`")
    return before + "".join(f"<code>{part}</code>" if n % 2 == 0 else part for n, part in enumerate(rest))


def _profile(rows: Sequence[Row]) -> str:
    out = []
    for row in rows:
        flat = {**{k: v for k, v in row.items() if k != "attributes"}, **row.get("attributes", {})}
        lines = "".join(f"<tr><th>{escape(_name(k))}</th><td>{_html(v)}</td></tr>" for k, v in flat.items())
        out.append(f"<table>{lines}</table>")
    return "".join(out)


def _table(rows: Sequence[Row]) -> str:
    columns = [name for name in dict.fromkeys(n for row in rows for n in row) if any(_full(r.get(name)) for r in rows)]
    head = "".join(f"<th>{escape(_name(name))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_html(row.get(name))}</td>' for name in columns)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _full(value: Any) -> bool:
    return value not in (None, "", [], {})


def _name(column: str) -> str:
    return column.replace("_", " ")


def _html(value: Any) -> str:
    if isinstance(value, list):
        return f"<details><summary>{len(value)}</summary>{''.join(map(_item, value))}</details>" if value else ""
    if isinstance(value, Mapping):
        return _pairs(value)
    return escape(_cell(value))


def _item(value: Any) -> str:
    return f"<div>{_pairs(value)}</div>" if isinstance(value, Mapping) else f"<pre>{escape(_cell(value))}</pre>"


def _pairs(value: Mapping[str, Any]) -> str:
    said: Iterable[str] = (f"{escape(_name(str(k)))}: {_html(v)}" for k, v in value.items() if _full(v))
    return "<br>".join(said)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case _:
            return str(value)
