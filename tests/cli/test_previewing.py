"""`preview` at the command line: a page without a database, for a customer with one, and a test send to its author."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from channels.sandbox import kept
from orchestrator import wiring
from orchestrator.store import tables as t
from tests.cli.conftest import MONDAY, World


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def texts(small: World) -> World:
    """A text, sent by a journey of the same name that sends another one, too."""
    mail = "<mjml><mj-body><mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section></mj-body></mjml>"
    foot = "{{ links.unsubscribe }} {{ workspace.sender.postal_address }}"
    (small.folder / "templates/email/hail.mjml").write_text(
        "---\nsubject: Hail {{ customer.first_name }}\ntopic: news\n---\n"
        + mail.format(f"Well met, {{{{ customer.first_name }}}}. {foot}")
    )
    (small.folder / "journeys/hail.yaml").write_text(
        "journey: hail\nowner: me@small.example\ntrigger: { event: signed_up }\n"
        "steps:\n  - email: hail\n  - task: sales\n    message: Ring {{ customer.first_name }}\n"
    )
    return small


def test_a_page_without_a_database(texts: World) -> None:
    said = texts("preview", "hail")
    assert said.code == 0, said
    assert "hail: 1 text" in said.out and "for nobody: made up" in said.out and "--journey" in said.out
    page = texts.folder / ".orchestrator/preview/hail.html"
    assert (mode(page), mode(page.parent)) == (0o600, 0o700)
    assert "Well met, Freya" in page.read_text()
    assert not (texts.folder / ".orchestrator/orchestrator.db").exists()
    own = texts.folder / "mine.html"
    found = texts.json("preview", "hail", "--journey", "--out", str(own))
    assert (found["file"], found["real"], mode(own)) == (str(own), False, 0o600)
    assert [one["medium"] for one in found["renderings"] if one["values"] == "usual"] == ["email", "task"]
    slip = texts("preview", "hial")
    assert slip.code == 2 and "did you mean `hail`?" in slip.err
    assert texts("preview", "hail", "--customer", "x").code == 3
    assert texts("preview", "hail", "--sample", "--made-up").code == 2
    old = page.with_name("old.html")
    old.write_text("x")
    os.utime(old, (1_000_000_000, 1_000_000_000))
    assert texts("preview", "hail").code == 0 and not old.exists() and page.exists()


def test_for_a_customer_and_a_test_send(texts: World) -> None:
    assert texts("apply", "-m", "x", "--yes").code == 0
    rows = [{"key": "ann", "class": "b2c", "tier": "bronze", "first_name": "Ann", "email": "ann@example.com"}]
    assert texts("import", "customers", str(texts.write("c.csv", rows))).code == 0
    assert texts.json("preview", "hail")["who"] == "customer ann, drawn by seed 0"
    assert texts("preview", "hail", "--customer", "bob").code == 2
    refused = texts("preview", "hail", "--customer", "ann", "--send-to", "stranger@example.com")
    assert refused.code == 3 and "[preview]" in refused.err and "authors" in refused.err
    (texts.folder / "orchestrator.toml").write_text('[preview]\nauthors = ["ana@small.example"]\n')
    found = texts.json("preview", "hail", "--customer", "ann", "--send-to", "ana@small.example", "--author", "ana")
    assert found["who"] == "customer ann" and found["tests"] == [1]
    assert texts("preview", "hail", "--send-to", "ana@small.example", "--now", "2027-03-01T10:00+01:00").code == 2
    texts.tick()
    [sent] = kept(texts.folder / ".orchestrator/outbox")
    text = (texts.folder / ".orchestrator/outbox" / sent.file).read_text()
    assert "Subject: [Test] Hail Ann" in text and "ana@small.example" in text and "ann@example.com" not in text
    with wiring.connected(texts.folder) as wired, wired.store.read() as conn:
        body = conn.execute(sa.select(t.log.c.body).where(t.log.c.verdict == "test_asked")).scalar_one()
    assert json.loads(body) == {"by": "ana", "messages": [1], "texts": ["hail en"]}
    page = texts.folder / ".orchestrator/preview/hail.html"
    assert "Hail Ann" in page.read_text()
    assert texts("customer", "erase", "ann", "--yes").code in (0, 1) and not page.exists()
    assert MONDAY.year == 2027
