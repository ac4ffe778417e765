"""A preview as one file to open in a browser: no script, nothing fetched, every message in a frame of its own. Pure."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from channels.base import Attachment, Medium, Outbound
from orchestrator.outbound import price_text
from orchestrator.preview import Preview, Rendering, Text
from orchestrator.preview.remarks import PUSH, Remark, looked_at, remarks

_VALUES: Final[Mapping[str, str]] = {"usual": "As it is", "longest": "Longest", "emptiest": "Emptiest"}
_LOOKS: Final = {"light": "Light", "dark": "Dark", "turned": "Colours turned"}
_WIDTHS: Final = {"both": "Both", "desktop": "Desktop", "phone": "Phone"}
_WEIGHTS: Final = {"bad": "✗", "doubt": "!", "note": "·"}
_WINDOWS: Final = {  # of letter.typ: the sheet, and the window in it (left, top, width, height), in mm
    "A4": (210.0, 297.0, 25.0, 57.7, 78.0, 33.8),
    "A5": (148.0, 210.0, 25.0, 45.0, 78.0, 33.3),
    "letter": (215.9, 279.4, 25.4, 45.0, 86.0, 34.3),
}
_AROUND: Final = 3.0
"""Millimetres by which the window's frame stands off what is printed in it, so that it runs through no letter."""
_MOST_ATTACHED: Final = 400_000
"""Bytes of an attachment that is put into the page to be opened; of a larger one name and size are told."""


def page(found: Preview, *, images: bool = False) -> str:
    """The whole file. `images`: those that messages fetch from elsewhere are shown; otherwise nothing is fetched, as a
    look must not count as an opening anywhere."""
    by_text: dict[int, list[Rendering]] = defaultdict(list)
    texts: dict[int, Text] = {}
    for rendering in found.renderings:
        by_text[id(rendering.text)].append(rendering)
        texts[id(rendering.text)] = rendering.text
    locales = tuple(dict.fromkeys(r.locale for r in found.renderings if r.locale))
    own = next((r.locale for r in found.renderings if r.own), locales[0] if locales else "")
    articles = [_article(texts[key], renderings, locales, n) for n, (key, renderings) in enumerate(by_text.items(), 1)]
    said = remarks(found)
    if not images and (n := sum(looked_at(r.outbound.part("html")).images for r in found.renderings if r.outbound)):
        said.append(
            Remark("note", f"{n:,} images are fetched from elsewhere, and not shown here: `--images` shows them")
        )
    media = {text.medium for text in texts.values()}
    switches = [_switch("v", "Values", _VALUES, "usual")]
    if len(locales) > 1:
        switches.append(_switch("l", "Language", {_slug(name): name for name in locales}, _slug(own)))
    if Medium.EMAIL in media:
        switches += [_switch("t", "Look", _LOOKS, "light"), _switch("w", "Width", _WIDTHS, "both")]
    head = (
        f"<header><h1>{escape(found.name)}</h1>\n<p>For {escape(found.who)} · as of "
        f"{found.at:%Y-%m-%d %H:%M} UTC · nothing was sent, and its links lead nowhere</p></header>"
    )
    body = [head, _remarks(said), f"<nav>{''.join(switches)}</nav>", *articles]
    printed = any(r.sheet is not None and r.sheet.pdf for r in found.renderings)
    return _document(found.name, "\n".join(body), _states(locales), images, printed)


def _document(title: str, body: str, states: str, images: bool, printed: bool) -> str:
    style = files("orchestrator").joinpath("pages", "preview.css").read_text(encoding="utf-8")
    # What a message carries must not run, and must not fetch: a frame has no right at all, and what it is a copy of is
    # bound by this page's policy, too.
    fetched, framed = "data: https:" if images else "data:", "data:" if printed else "'none'"  # a PDF is shown in one
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src {fetched}; frame-src {framed}; object-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n'
        f"<title>{escape(title)} · preview</title>\n<style>{style}{states}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _switch(group: str, title: str, choices: Mapping[str, str], chosen: str) -> str:
    parts = [
        f'<input type="radio" name="{group}" id="{group}-{value}"{" checked" if value == chosen else ""}>'
        f'<label for="{group}-{value}">{escape(text)}</label>'
        for value, text in choices.items()
    ]
    return f"<fieldset><legend>{title}</legend>{''.join(parts)}</fieldset>"


def _states(locales: Sequence[str]) -> str:
    """What each choice hides."""
    groups = {"v": list(_VALUES), "l": [_slug(name) for name in locales] if len(locales) > 1 else []}
    rules = [
        f"body:has(#{group}-{value}:checked) .r:not(.{group}-{value}) {{ display: none }}"
        for group, values in groups.items()
        for value in values
    ]
    return "\n".join(rules)


def _slug(locale: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in locale).lower()


def _remarks(said: Iterable[Remark]) -> str:
    rows = [
        f'<li class="{one.weight}"><b>{_WEIGHTS[one.weight]}</b><span>{escape(one.text)}'
        f"{f' <small>{escape(one.where)}</small>' if one.where else ''}</span></li>"
        for one in said
    ]
    if not rows:
        rows = ['<li class="good"><b>✓</b><span>Nothing is missing, and nothing is doubtful.</span></li>']
    return f'<ul class="said">{"".join(rows)}</ul>'


# ---- one text -------------------------------------------------------------------------------------------------------


def _article(text: Text, renderings: Sequence[Rendering], locales: Sequence[str], number: int) -> str:
    about = [text.topic or "no topic", text.purpose]
    if text.journey is not None:
        about.insert(0, f"{text.journey.name} / {text.step}")
    if text.addressee != "customer":
        about.append(f"to {text.addressee}")
    mine = list(dict.fromkeys(r.locale for r in renderings))
    parts = [
        f'<article id="text-{number}" class="{text.medium}"><h2><span class="badge">{text.medium}</span> '
        f"{escape(text.name)}</h2><p class=about>{escape(' · '.join(about))}</p>"
    ]
    for one in renderings:
        values: list[str] = [one.values]
        if one.values == "usual":
            there: set[str] = {r.values for r in renderings if r.locale == one.locale}
            values += (how for how in _VALUES if how not in there)
        spoken = [one.locale]
        if one.locale == mine[0]:  # a language that this text does not have gets what is there
            spoken += [name for name in locales if name not in mine]
        classes = [*(f"v-{how}" for how in values), *(f"l-{_slug(name)}" for name in spoken)]
        parts.append(f'<section class="r {" ".join(classes)}">{_rendering(one)}</section>')
    return "\n".join([*parts, "</article>"])


def _rendering(one: Rendering) -> str:
    told = ""
    if one.gaps:
        names = "".join(f"<li><code>{escape(n)}</code> {escape(_plain(v))}</li>" for n, v in one.gaps.items())
        told = f'<div class="gaps">Not known, and filled in here by hand:<ul>{names}</ul></div>'
    if one.outbound is None:
        return f'{told}<p class="refused">It cannot be written: {escape(one.refused)}</p>'
    return told + _SHOWN[one.text.medium](one, one.outbound)


def _plain(value: object) -> str:
    return str(value)


def _email(one: Rendering, out: Outbound) -> str:
    sender, html, text = out.sender, out.part("html"), out.part("text")
    inbox = (
        f'<div class="inbox"><b>{escape(sender.get("name", ""))}</b><span><strong>{escape(out.part("subject"))}'
        "</strong> "
        f"<em>{escape(out.part('preheader') or _first_words(text))}</em></span></div>"
    )
    if html:
        source = escape('<base target="_blank">' + html)  # and no frame may open a window: links do nothing
        frames = "".join(
            f'<figure class="{kind}"><figcaption>{title}</figcaption><iframe class="mail" sandbox="" loading="lazy" '
            f'title="{escape(out.part("subject"))}, {title}" srcdoc="{source}"></iframe></figure>'
            for kind, title in (("desktop", "Desktop, 640 px"), ("phone", "Phone, 375 px"))
        )
        shown = f'<div class="frames">{frames}</div>'
        size = f" · {len(html.encode('utf-8', 'replace')) / 1024:.1f} KB"
    else:
        shown, size = "", " · text alone"
    rows = {
        "From": f"{sender.get('name', '')} <{sender.get('address', '')}>"
        if sender.get("address")
        else sender.get("name", ""),
        "Reply-To": sender.get("reply_to", ""),
        "To": f"{out.to.get('name', '')} <{out.to.get('address', '')}>",
        "Subject": out.part("subject"),
        "Preheader": out.part("preheader"),
        **out.headers,
    }
    return (
        inbox
        + shown
        + _folded(f"Text part · {len(text):,} characters", f"<pre>{escape(text)}</pre>", opened=not html)
        + _folded(f"Headers{size}", _rows(rows))
        + "".join(_attachment(one_, out) for one_ in out.attachments)
    )


def _first_words(text: str) -> str:
    return " ".join(text.split())[:120]


def _attachment(one: Attachment, out: Outbound) -> str:
    content = out.part(one.part).encode() if one.part else one.content
    what = f"{escape(one.name)} · {escape(one.type)} · {len(content) / 1024:.1f} KB"
    if one.type.startswith("text/"):
        return _folded(what, f"<pre>{escape(content.decode('utf-8', 'replace'))}</pre>")
    if len(content) > _MOST_ATTACHED:
        return f'<p class="attached">{what}</p>'
    data = base64.b64encode(content).decode()
    kind = escape(one.type.partition(";")[0])
    return f'<p class="attached">{what} <a download="{escape(one.name)}" href="data:{kind};base64,{data}">save</a></p>'


def _sms(one: Rendering, out: Outbound) -> str:
    text, carried = out.part("text") or out.part("body"), one.carried
    meter = [f"{len(text)} characters"]
    if carried is not None:
        meter = [f"{carried.segments} segment{'' if carried.segments == 1 else 's'}", carried.encoding, *meter]
    if one.cost:
        meter.append(f"{price_text(one.cost)} {one.currency}")
    ends = f"{out.sender.get('name', '')} → {out.to.get('number', '')}"
    return (
        f'<div class="handset"><p class="from">{escape(ends)}</p><p class="bubble">{escape(text)}</p>'
        f'<p class="meter">{escape(" · ".join(meter))}</p></div>'
    )


def _push(one: Rendering, out: Outbound) -> str:
    title, body = out.part("title"), out.part("body") or out.part("text")
    cards = []
    for phone, (of_title, of_body) in PUSH.items():
        cut = [
            f"{part} cut at about {most}" for part, text, most in (("title", title, of_title), ("body", body, of_body))
            if len(text) > most
        ]  # fmt: skip
        cards.append(
            f'<figure class="push"><figcaption>{escape(" · ".join([phone, *cut]))}</figcaption>'
            f'<div class="note"><small>{escape(out.sender.get("name", "") or "your app")} · now</small>'
            f"<b>{escape(_cut(title, of_title))}</b><span>{escape(_cut(body, of_body))}</span></div></figure>"
        )
    rows = {"Opens": out.part("url"), "Image": out.meta.get("image", ""), "Replaces": out.meta.get("collapse_key", "")}
    whole = {"Title": title, "Body": body} if max(len(title) - 50, len(body) - 178) > 0 else {}
    return f'<div class="frames">{"".join(cards)}</div>{_rows({**whole, **rows})}'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _letter(one: Rendering, out: Outbound) -> str:
    address = "<br>".join(escape(line) for line in (one.sheet.lines if one.sheet else ()) or _address(out.to))
    window = f'<div class="window"><small>Address window</small>{address}</div>'
    sheet = one.sheet
    if sheet is None or sheet.refused:
        why = sheet.refused if sheet else "there is no press here: pip install 'campaign-orchestrator[pdf]'"
        source = escape('<base target="_blank">' + out.part("html"))
        frame = f'<iframe class="paper" sandbox="" loading="lazy" title="The letter" srcdoc="{source}"></iframe>'
        return f'{window}<p class="refused">No PDF: {escape(why)}. Its words:</p>{frame}'
    wide, high, left, top, w, h = _WINDOWS.get(sheet.format, _WINDOWS["A4"])
    left, top, w, h = left - _AROUND, top - _AROUND, w + 2 * _AROUND, h + _AROUND
    frame = (
        f'<i style="left:{left / wide:.2%};top:{top / high:.2%};width:{w / wide:.2%};height:{h / high:.2%}" '
        'title="what shows in the window"></i>'
    )
    shown = "".join(
        f'<div class="sheet"><img alt="Page {n} of the letter" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}">{frame if n == 1 else ""}</div>'
        for n, png in enumerate(sheet.pages, 1)
    )
    data = f"data:application/pdf;base64,{base64.b64encode(sheet.pdf).decode()}"
    pdf = (
        f'<p class="attached">PDF · {escape(sheet.format)} · {len(sheet.pages)} '
        f"page{'' if len(sheet.pages) == 1 else 's'} · {len(sheet.pdf) / 1024:.0f} KB "
        f'<a download="{escape(out.template or "letter")}.pdf" href="{data}">save</a></p>'
    )
    whole = _folded(
        "The PDF itself", f'<object type="application/pdf" data="{data}">Your browser shows no PDF here.</object>'
    )
    return f'{window}<div class="sheets">{shown}</div>{pdf}{whole}'


def _address(to: Mapping[str, str]) -> list[str]:
    town = " ".join(to[part] for part in ("postcode", "city") if to.get(part))
    return [line for line in (to.get("company"), to.get("name"), to.get("street"), town, to.get("country")) if line]


def _task(one: Rendering, out: Outbound) -> str:
    title, text = out.part("title") or out.part("subject"), out.part("text") or out.part("body")
    rows = {"For": out.to.get("name") or out.to.get("address", ""), "Due": out.meta.get("due", "")}
    rows |= {name.capitalize(): out.meta.get(name, "") for name in ("account", "customer", "phone")}
    return f'<div class="card"><b>{escape(title)}</b><p>{escape(text)}</p>{_rows(rows)}</div>'


def _call(one: Rendering, out: Outbound) -> str:
    said = {"journey": out.part("journey"), "step": out.template, "data": json.loads(out.part("fields") or "{}")}
    words = json.dumps(said, indent=2, ensure_ascii=False)
    return f"<p class=about>to {escape(out.to.get('name', ''))}</p><pre>{escape(words)}</pre>"


_SHOWN = {
    Medium.EMAIL: _email,
    Medium.SMS: _sms,
    Medium.PUSH: _push,
    Medium.MAIL: _letter,
    Medium.TASK: _task,
    Medium.WEBHOOK: _call,
    Medium.AUDIENCE: _call,
}


def _folded(title: str, inner: str, *, opened: bool = False) -> str:
    return f"<details{' open' if opened else ''}><summary>{escape(title, quote=False)}</summary>{inner}</details>"


def _rows(rows: Mapping[str, str]) -> str:
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items() if value)
    return f"<dl>{cells}</dl>" if cells else ""
