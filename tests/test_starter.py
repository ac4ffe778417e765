"""The shipped starter set, as content: both languages, every text used, lengths, links, and what a topic demands."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from mjml import mjml2html

from orchestrator.project import load

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
SUFFIX = {"email": ".mjml", "sms": ".txt", "push": ".yaml", "mail": ".html"}
JOURNEYS = sorted(p for p in (ROOT / "journeys").glob("*/*.yaml") if not p.name.endswith(".test.yaml"))
TEXTS = sorted(p for medium in SUFFIX for p in (TEMPLATES / medium).iterdir())
GSM_7 = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
LONGEST = {
    "tier | capitalize": "Platinum",
    "contract.contract_id": "contract-100-1",
    "contract.ends | date": "30. September 2027",
}


def sends(node: object) -> set[tuple[str, str]]:
    """(medium, template) of every send step below."""
    if isinstance(node, list):
        return {found for item in node for found in sends(item)}
    if isinstance(node, dict):
        own = {(key, value) for key, value in node.items() if key in SUFFIX and isinstance(value, str)}
        if isinstance(survey := node.get("survey"), str):
            own.add(("email", str(node.get("text", f"survey-{survey}"))))
        return own | {found for value in node.values() for found in sends(value)}
    return set()


def parts(path: Path) -> tuple[dict, str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        return yaml.safe_load(text), text
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def expanded(body: str) -> str:
    return re.sub(r'{% include "(.+?)" %}', lambda m: expanded((TEMPLATES / m[1]).read_text(encoding="utf-8")), body)


def test_every_send_has_its_text_in_both_languages_and_every_text_is_sent():
    sent = {found for path in JOURNEYS for found in sends(yaml.safe_load(path.read_text(encoding="utf-8"))["steps"])}
    sent.add(("email", "confirm-subscription"))  # by the double opt-in of workspace.yaml
    wanted = {TEMPLATES / medium / f"{name}{de}{SUFFIX[medium]}" for medium, name in sent for de in ("", ".de")}
    assert wanted == set(TEXTS)


def test_the_journeys_serve_every_class_and_use_every_medium():
    assert {path.parent.name for path in JOURNEYS} == {"b2c", "b2b", "partner"}
    steps = [yaml.safe_load(path.read_text(encoding="utf-8"))["steps"] for path in JOURNEYS]
    assert {medium for step in steps for medium, _ in sends(step)} == set(SUFFIX)
    assert "'task'" in str(steps)


def test_every_file_names_its_schema_and_is_short():
    for path in [*JOURNEYS, ROOT / "journeys/workspace.yaml", ROOT / "journeys/segments.yaml"]:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+/(\w+)\.schema\.json)", lines[0])
        assert found, path
        kind = "journey" if path in JOURNEYS else path.stem
        assert (path.parent / found[1]).resolve() == ROOT / f"docs/schema/{kind}.schema.json"
        assert max(map(len, lines)) <= 120 and (path.name == "workspace.yaml" or len(lines) <= 60), path


@cache
def marketed() -> set[str]:
    """The topics that one can say no to."""
    topics = load(ROOT).vocabulary.topics
    return {name for name, topic in topics.items() if topic.purpose == "marketing"}


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_text_says_what_its_topic_demands(path: Path):
    head, body = parts(path)
    marketing = head["topic"] in marketed()
    german = ".de." in path.name
    whole = expanded(body)
    if path.parent.name == "email":
        assert head["subject"] and head["preheader"]
        assert "workspace.sender.postal_address" in whole
        assert ("links.unsubscribe" in whole) == ("links.preferences" in whole) == marketing
    elif path.parent.name == "sms":
        text = re.sub(r"{{ (.+?) }}", lambda m: LONGEST[m[1]], body).strip()
        assert len(text) <= 160 and set(text) <= GSM_7, (len(text), set(text) - GSM_7)
        assert text.endswith("Abmelden: STOP" if german else "Reply STOP to opt out") == marketing
    elif path.parent.name == "push":
        assert list(head) == ["topic", "title", "body", "url", "collapse_key"]
        assert len(re.sub("{{.+?}}", "Maximiliane", head["title"])) <= 50 and len(head["body"]) <= 110
    else:
        assert head["format"] == "A4" and ("privacy@acme.example" in whole) == marketing
    assert not re.search(r"https?://(?![\w.]*acme\.example)", body), "a template loads nothing from elsewhere"


@pytest.mark.parametrize("path", [p for p in TEXTS if p.suffix == ".mjml"], ids=lambda p: p.name)
def test_an_email_compiles_with_its_placeholders_inside(path: Path):
    source = expanded(parts(path)[1])
    html = mjml2html(source)
    tags = re.compile(r"{[{%].+?[%}]}")
    assert sorted(tags.findall(html)) == sorted(tags.findall(source))
    assert "fonts.googleapis.com" not in html
