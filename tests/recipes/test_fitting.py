"""Twenty recipes: short, without a word of warning in any workspace, in its own words, and nothing overwritten."""

from __future__ import annotations

import re

import pytest

from orchestrator.project import load_files
from orchestrator.recipes import BLANK, LINES, CannotMake, Wish
from orchestrator.rehearsal import rehearsals
from tests.recipes.fitting import MINIMAL, NAMES, all_in, fitted, in_minimal, starter, workspace

FIELD = {
    "welcome-series", "abandoned-cart", "browse-abandonment", "post-purchase", "replenishment", "price-drop",
    "back-in-stock", "birthday", "anniversary", "win-back", "sunset", "tier-upgrade", "points-expiry", "referral",
    "nps-rescue", "renewal-committee", "trial-onboarding", "event-invitation", "product-launch", "re-permission",
}  # fmt: skip


def test_the_twenty_of_the_field_are_there() -> None:
    assert set(NAMES) == FIELD


@pytest.mark.parametrize("name", [*NAMES, BLANK])
def test_a_recipe_is_short_and_checks_in_the_smallest_workspace(name: str) -> None:
    found = in_minimal(name)
    assert found.warnings == ()
    assert found.files[found.path].count("\n") <= LINES
    assert found.files[found.path].startswith("# ")  # what it is for, before anything else
    assert found.journey in found.project.journeys


@pytest.mark.parametrize("name", NAMES)
def test_every_text_is_there_in_both_languages_and_says_what_it_is_about(name: str) -> None:
    both = workspace(MINIMAL + "preferences: { languages: [en, de] }\n")
    found = fitted(name, both)
    texts = [path for path in found.files if path.startswith("templates/") and "/snippets/" not in path]
    english = [path for path in texts if not re.search(r"\.de\.\w+$", path)]
    german = [re.sub(r"\.de(\.\w+)$", r"\1", path) for path in texts if path not in english]
    assert sorted(english) == sorted(german)
    assert english
    for path in english:
        assert f"topic: {found.topic}\n" in found.files[path]
        other = found.files[re.sub(r"(\.\w+)$", r".de\1", path)]
        assert other != found.files[path]
    assert not [text for text in found.files.values() if re.search(r"\$[a-z]", text)]


@pytest.mark.slow
def test_all_twenty_stand_beside_the_starters_journeys() -> None:
    before = starter()
    there = ("docs/schema/journey.schema.json", "journeys/b2c/welcome.yaml", "journeys/b2b/renewal.yaml")
    after, tests = all_in(NAMES, before, there)
    assert len(after.journeys) == len(before.journeys) + len(NAMES)
    assert {p.code for p in after.warnings} <= {p.code for p in before.warnings}
    assert len(after.warnings) == len(before.warnings)
    assert len(rehearsals(tests, after)) >= 2 * len(NAMES) - 1
    assert all(text.startswith("# yaml-language-server: $schema=../../docs/schema/") for text in tests.values())


# ---- the workspace's own words --------------------------------------------------------------------------------------

SHOP = """workspace: shop
timezone: America/New_York
currency: USD
sender:
  name: Shop   # as on the sign
  postal_address: "Shop Inc., 1 Road, New York, NY 10001, US"
  website: https://shop.example/

# what happens
events:
  purchase: { total: money }
  order_placed: { order_id: key }   # from the till

classes:
  club: { tiers: [member, friend] }
  firms: { tiers: [member], unit: account }
topics:
  letters: { purpose: marketing, title: Our letters }
  bills: { purpose: transactional, title: Bills, reviewed: { by: legal, on: 2026-01-01 } }
"""


def test_class_topic_currency_and_site_are_the_workspaces_own() -> None:
    found = fitted("abandoned-cart", workspace(SHOP))
    assert (found.class_name, found.topic) == ("club", "letters")
    journey = found.files[found.path]
    assert "class == club" in journey
    assert "50 USD" in journey
    text = next(t for path, t in found.files.items() if path.endswith("-kept.mjml"))
    assert 'href="https://shop.example/cart"' in text
    _, after = found.edited["journeys/workspace.yaml"]
    assert "  order_placed: { order_id: key, amount: money }   # from the till\n" in after
    assert "  name: Shop   # as on the sign\n" in after
    assert "classes:\n  club: { tiers: [member, friend] }\n  firms:" in after
    assert fitted("renewal-committee", workspace(SHOP)).class_name == "firms"


def test_a_yes_to_something_else_is_none_to_offers() -> None:
    research = MINIMAL + "topics: { research: { purpose: marketing, title: Questions } }\n"
    found = fitted("win-back", workspace(research))
    assert found.topic == "offers"
    assert "offers: { purpose: marketing, title: Offers and news }" in found.edited["journeys/workspace.yaml"][1]
    assert fitted("nps-rescue", workspace(research)).topic == "research"


def test_what_is_declared_in_another_way_is_left_as_it_is() -> None:
    nps = 'surveys:\n  nps: { title: Yours?, questions: { q: { ask: "How likely?", kind: nps } } }\n'
    found = fitted("nps-rescue", workspace(MINIMAL + nps))
    _, after = found.edited["journeys/workspace.yaml"]
    assert nps in after
    assert "recommend" not in after


def test_a_german_workspace_gets_german_texts_and_no_others() -> None:
    found = fitted("birthday", workspace(MINIMAL + "locale: de\n"))
    texts = [path for path in found.files if path.startswith("templates/email/")]
    assert not [path for path in texts if ".en." in path or ".de." in path]
    assert all('<mjml lang="de">' in found.files[path] for path in texts)
    assert "Ein Geburtstagsgeschenk" in found.edited["journeys/workspace.yaml"][1]
    assert "A birthday present" not in found.edited["journeys/workspace.yaml"][1]


def test_a_language_that_no_recipe_has_is_written_in_english() -> None:
    found = fitted("win-back", workspace(MINIMAL + "locale: fr\n"))
    assert [path for path in found.files if path.endswith("-news.mjml")]
    assert not [path for path in found.files if ".en." in path]
    assert [note.partition(": ")[0] for note in found.notes] == [
        "its links lead to https://acme.example",
        "its texts are in English",
    ]
    assert fitted("win-back", workspace(SHOP)).notes == ()


def test_another_journey_that_begins_with_the_same_segment_is_named() -> None:
    first = in_minimal("win-back")
    (told,) = [note for note in fitted("win-back", first.project).notes if "same segment" in note]
    assert told.startswith(
        "`win-back` begins with the same segment, `lapsed-buyers`: whoever comes into it enters both"
    )
    ended = first.files[first.path].replace("\ntrigger:", "\nstatus: archived\ntrigger:")
    others = first.files[first.path].replace("audience: class == ", "audience: class != ")
    for text in (ended, others):
        before = load_files({**first.project.files, first.path: text})
        assert not [note for note in fitted("win-back", before).notes if "same segment" in note]


def test_snippets_of_another_make_are_not_used() -> None:
    footer = {"templates/snippets/footer.mjml": "<mj-section><mj-column><mj-text>{{ event.title }}</mj-text>"
              "</mj-column></mj-section>\n"}  # fmt: skip
    found = fitted("win-back", workspace(MINIMAL + "events: { announced: { title: text } }\n", **footer))
    assert "templates/snippets/recipe-footer.mjml" in found.files
    text = next(t for path, t in found.files.items() if path.endswith("-news.mjml"))
    assert '{% include "snippets/recipe-footer.mjml" %}' in text


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish("win-bak"), "did you mean `win-back`"),
        (Wish(BLANK), "name the journey"),
        (Wish("win-back", "Win Back"), "is no journey's name"),
        (Wish("win-back", class_name="clubb"), "did you mean `club`"),
        (Wish("renewal-committee", class_name="club"), "a class with `unit: account`: `firms`"),
        (Wish("win-back", topic="bills"), "is a transactional topic"),
        (Wish("win-back", topic="letter"), "did you mean `letters`"),
    ],
)
def test_a_wish_that_cannot_be_met_says_why(wish: Wish, words: str) -> None:
    with pytest.raises(CannotMake) as said:
        fitted(wish.recipe, workspace(SHOP), wish)
    assert words in str(said.value)


def test_nothing_is_overwritten_and_a_free_name_is_found() -> None:
    first = in_minimal("win-back")
    files = dict(first.project.files)
    again = fitted("win-back", load_files(files), there=tuple(first.files))
    assert again.journey == "win-back-2"
    assert not again.files.keys() & {path for path in files if not path.startswith("templates/snippets/")}
    with pytest.raises(CannotMake, match=r"a journey `win-back` \(journeys/win-back.yaml\) is there already"):
        fitted("win-back", load_files(files), Wish("win-back", "win-back"))
    with pytest.raises(CannotMake, match=r"templates/email/win-back-news.mjml is there already"):
        fitted("win-back", workspace(), Wish("win-back", "win-back"), there=("templates/email/win-back-news.mjml",))


def test_what_does_not_fit_is_told_with_what_to_declare() -> None:
    odd = MINIMAL + "events: { order_placed: { amount: text } }\n"
    with pytest.raises(CannotMake) as said:
        fitted("win-back", workspace(odd))
    assert "nothing was written" in str(said.value)
    assert said.value.problems
    assert "complaint_opened" in said.value.by_hand
    assert "lapsed-buyers" in said.value.by_hand
