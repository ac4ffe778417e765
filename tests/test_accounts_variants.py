"""Texts by industry: which of them somebody gets, and what is wrong with one that nobody ever would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium
from orchestrator.importing import import_rows
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.store import tables as t
from orchestrator.store.keys import Attempt
from tests.outgoing import WORKSPACE, World, audit, email, files, journey, world_of

FIRMS = WORKSPACE.replace(
    "attributes:\n", "attributes:\n  account: { industry: { one_of: [health, retail, software] } }\n"
)
BY = FIRMS.replace("topics:", "templates: { variant_by: account.industry }\ntopics:")
STEPS = "- email: notice\n- sms: hint"
TEXTS = {
    "templates/email/notice.mjml": email("Your contract", "For everybody.", "service"),
    "templates/email/notice.de.mjml": email("Ihr Vertrag", "Für alle.", "service"),
    "templates/email/notice@health.mjml": email("Your clinic's contract", "For clinics.", "service"),
    "templates/email/notice@retail.mjml": email("Your shop's contract", "For shops.", "service"),
    "templates/email/notice@retail.de.mjml": email("Ihr Laden", "Für {{ account.name }} und Läden.", "service"),
    "templates/sms/hint.txt": "---\ntopic: service\n---\nLook into your mail\n",
    "templates/sms/hint@health.txt": "---\ntopic: service\n---\nA word to clinics\n",
}


def workspace(declared: str = BY, **texts: str) -> dict[str, str]:
    made = files({"tell": journey("tell", STEPS, "{ event: signed_up }")})
    own = {path.replace("__", "/").replace("_dot_", "."): text for path, text in texts.items()}
    head = made["journeys/workspace.yaml"].replace(WORKSPACE, declared)
    return {**made, **TEXTS, **own, "journeys/workspace.yaml": head}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def test_each_gets_the_text_of_their_industry_and_of_their_language_first(world: World) -> None:
    vocabulary = world.apply(workspace()).vocabulary
    firms = [("clinic", "health"), ("shop", "retail"), ("lab", "software"), ("other", None)]
    accounts = [{"key": key, "class": "b2b", "name": key, "industry": industry} for key, industry in firms]
    people: list[dict[str, Any]] = [
        {"key": f"{firm}-{language}", "class": "b2b", "account": firm, "locale": language,
         "email": f"{firm}-{language}@example.com", "country": "DE", "timezone": "Europe/Berlin"}
        for firm, _ in firms
        for language in ("en", "de-AT")
    ]  # fmt: skip
    people.append({"key": "alone", "class": "b2c", "email": "alone@example.com", "country": "DE"})
    for kind, rows in (("accounts", accounts), ("customers", people)):
        found = import_rows(world.store, world.keys, vocabulary, kind, rows, now=world.now)  # type: ignore[arg-type]
        assert not found.refused
    world.event(range(1, len(people) + 1))
    world.tick(1)
    to = sa.select(t.message.c.id, t.customer.c.key).join(t.customer, t.customer.c.id == t.message.c.customer_id)
    keys = {row.id: row.key for row in world.rows(to)}
    said = {}
    for mail in world.outbox():
        if mail.medium is Medium.EMAIL:
            text = world.opened(mail)
            words = ("For everybody", "For clinics", "For shops", "Für alle", "Für shop und Läden", "F=C3=BCr alle")
            said[keys[(Attempt.read(mail.attempt) or Attempt(0, 0)).message_id]] = next(
                (w for w in words if w in text), text
            )
    assert said == {
        "clinic-en": "For clinics",
        "clinic-de-AT": "Für alle",  # rather her language than her industry
        "shop-en": "For shops",
        "shop-de-AT": "Für shop und Läden",
        "lab-en": "For everybody",
        "lab-de-AT": "Für alle",
        "other-en": "For everybody",
        "other-de-AT": "Für alle",
        "alone": "For everybody",
    }


def test_a_variant_may_name_what_the_text_itself_does_not() -> None:
    project = load_files(workspace())
    assert [text.name for text in project.templates.every("email", "notice")] == [
        "notice",
        "notice@health",
        "notice@retail",
    ]
    assert project.vocabulary.variant_by == "account.industry"


SERVICE = "---\ntopic: service\n---\n"
WRONG: list[tuple[str, str, dict[str, str], str, str]] = [
    ("no such value", BY, {"templates__sms__hint@helth_dot_txt": SERVICE + "Hello\n"}, "bad-variant", "`health`"),
    ("of no text", BY, {"templates__sms__other@health_dot_txt": SERVICE + "Hello\n"}, "bad-variant", "add `other.txt`"),
    ("of another topic", BY,
     {"templates__sms__hint@retail_dot_txt": "---\ntopic: offers\n---\nHello. Reply STOP to opt out\n"},
     "topic-differs", "one topic"),
    ("no choice", BY.replace("account.industry", "customer.first_name"), {}, "bad-variant", "did you mean"),
]  # fmt: skip


@pytest.mark.parametrize(("title", "declared", "texts", "code", "hint"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_told(title: str, declared: str, texts: dict[str, str], code: str, hint: str) -> None:
    with pytest.raises(ProjectError) as refused:
        load_files(workspace(declared, **texts))
    found = [(p.code, p.hint) for p in refused.value.problems if p.severity == "error"]
    assert [found[0][0]] == [code] and hint in found[0][1] and len(found) == 1, found


def test_variants_without_a_word_in_the_workspace_are_told_each() -> None:
    with pytest.raises(ProjectError) as refused:
        load_files(workspace(FIRMS))
    told = [p for p in refused.value.problems if p.code == "bad-variant"]
    assert len(told) == 3 and all("variant_by" in p.hint for p in told)
