"""A recipe's texts as files: each said in a few lines for each language, laid out here as the house's texts are."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

ENGLISH: Final = "en"
LAYOUT: Final = ("head", "header", "footer")
_ENDING: Final = {"email": "mjml", "sms": "txt", "push": "yaml"}
_COLOUR: Final = "#1d5f78"
_GREETING: Final = {
    "en": 'Hello {{ customer.first_name | default("there") }},',
    "de": "Guten Tag{% if customer.first_name is defined %} {{ customer.first_name }}{% endif %},",
}


def text_files(
    texts: Mapping[str, Mapping[str, Any]], languages: Sequence[str], *, prefix: str, topic: str, site: str, layout: str
) -> dict[str, str]:
    """`texts`: medium → text → language → what it says; the first of `languages` is the workspace's own.

    `layout`: the start of the snippets' names (`snippets/HEAD.mjml`). A language that the recipe has not is said in
    English where it is the workspace's own, else left out.
    """
    found: dict[str, str] = {}
    for medium, named in texts.items():
        for name, said in named.items():
            for language in languages:
                own = language == languages[0]
                words = said.get(language.partition("-")[0]) or (said[ENGLISH] if own else None)
                if words is None:
                    continue
                ending = _ENDING[medium] if own else f"{language}.{_ENDING[medium]}"
                path = f"templates/{medium}/{prefix}-{name}.{ending}"
                found[path] = _WRITERS[medium](words, topic if own else "", language, site, layout)
    return found


def layout_files(shipped: Mapping[str, str], languages: Sequence[str], *, site: str, layout: str) -> dict[str, str]:
    """The snippets that every e-mail of a recipe takes in. `shipped`: the starter's, by their names."""
    found = {
        f"templates/snippets/{layout}head.mjml": shipped["head.mjml"],
        f"templates/snippets/{layout}header.mjml": _HEADER.replace("SITE", site),
    }
    for language in languages:
        own = language == languages[0]
        short = language.partition("-")[0]
        text = shipped["footer.de.mjml"] if short == "de" else shipped["footer.mjml"]
        if own or short in ("de", ENGLISH):
            found[f"templates/snippets/{layout}footer.mjml" if own else _variant(layout, language)] = text
    return found


def _variant(layout: str, language: str) -> str:
    return f"templates/snippets/{layout}footer.{language}.mjml"


_HEADER: Final = """<mj-section padding="32px 0 22px">
  <mj-column>
    <mj-text css-class="text brand" font-size="20px" line-height="32px" font-weight="700" padding="0 40px">
      <a href="SITE" style="text-decoration:none">{{ workspace.sender.name }}</a>
    </mj-text>
  </mj-column>
</mj-section>
"""


def _email(said: Mapping[str, Any], topic: str, language: str, site: str, layout: str) -> str:
    colour = str(said.get("colour", _COLOUR))
    front = {"subject": said["subject"], "preheader": said["preheader"]}
    head = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()]
    head += [f"topic: {topic}"] if topic else []
    short = language.partition("-")[0]
    greeting = _GREETING.get(short, _GREETING[ENGLISH])
    paragraphs = "\n".join(f'        <mj-text css-class="text">{text}</mj-text>' for text in said["text"])
    button = ""
    if "button" in said:
        say, to = html.escape(said["button"], quote=False), _address(said["to"], site)
        button = f'\n        <mj-button css-class="button" background-color="{colour}" href="{to}">{say}</mj-button>'
    return "\n".join(["---", *head, "---", ""]) + _PAGE.format(
        language=language if short in _GREETING else ENGLISH,
        layout=layout,
        colour=colour,
        eyebrow=said["eyebrow"],
        title=said["title"],
        greeting=greeting,
        paragraphs=paragraphs,
        button=button,
    )


_PAGE: Final = """<mjml lang="{language}">
  {{% include "snippets/{layout}head.mjml" %}}
  <mj-body css-class="canvas" background-color="#f3f1ec">
    {{% include "snippets/{layout}header.mjml" %}}
    <mj-section mj-class="hero" background-color="{colour}">
      <mj-column>
        <mj-text mj-class="eyebrow" css-class="eyebrow">{eyebrow}</mj-text>
        <mj-text mj-class="title" css-class="title">{title}</mj-text>
      </mj-column>
    </mj-section>
    <mj-section mj-class="card" css-class="card">
      <mj-column>
        <mj-text mj-class="lead" css-class="text">{greeting}</mj-text>
{paragraphs}{button}
      </mj-column>
    </mj-section>
    {{% include "snippets/{layout}footer.mjml" %}}
  </mj-body>
</mjml>
"""


def _sms(said: str, topic: str, language: str, site: str, layout: str) -> str:
    del language, layout
    front = f"topic: {topic}\n" if topic else ""
    return f"---\n{front}---\n{said.replace('SITE', site)}\n"


def _push(said: Mapping[str, Any], topic: str, language: str, site: str, layout: str) -> str:
    del language, layout
    lines = [f"topic: {topic}"] if topic else []
    lines += [f"{key}: {json.dumps(said[key], ensure_ascii=False)}" for key in ("title", "body")]
    lines += [f"url: {_address(said['to'], site)}"] if topic else []
    return "\n".join(lines) + "\n"


def _address(to: str, site: str) -> str:
    """`/new` is a page of the workspace's own site."""
    return f"{site}{to}" if to.startswith("/") else to


_WRITERS: Final[Mapping[str, Callable[[Any, str, str, str, str], str]]] = {"email": _email, "sms": _sms, "push": _push}
