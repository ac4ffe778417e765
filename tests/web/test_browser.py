"""The pages as people meet them: driven in a browser at both widths, light and dark, in both languages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from orchestrator.store import tables as t
from tests.outgoing import World, world_of
from tests.web.browser import WIDTHS, Browser
from tests.web.site import served
from tests.web.test_confirm import TEXTS, actions, sign_up


@pytest.fixture
def world(sqlite_database_url: str) -> Iterator[World]:
    world = world_of(sqlite_database_url)
    world.apply(TEXTS)
    yield world
    world.store.close()


LOOKS = [(screen, width, dark) for screen, width in WIDTHS.items() for dark in (False, True)]


def names(*parts: object) -> str:
    return "-".join(str(part) for part in parts)


def test_unsubscribing(world: World, browser: Browser) -> None:
    people = world.people(4)
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id.in_(people[2:])).values(locale="de-DE"))
    world.event(people)
    world.tick()
    messages = {m.customer_id: m.id for m in world.messages()}
    with served(world) as url:
        for person, (screen, width, dark) in zip(people, LOOKS, strict=True):
            german = person in people[2:]
            browser.open(f"{url}/u/{world.keys.link_token(messages[person])}", width, dark)
            browser.look(names("unsubscribe", screen, "dark" if dark else "light"))
            assert browser.heading() == ("Abmelden" if german else "Unsubscribe")
            browser.press("Von „Offers“ abmelden" if german else "Unsubscribe from “Offers”")
            browser.look(names("unsubscribed", screen, "dark" if dark else "light"))
            browser.driver.refresh()  # posts once more
            browser.press("Keine Werbung mehr" if german else "Stop all advertising")
            browser.look(names("no-advertising", screen, "dark" if dark else "light"))
    noes = sa.select(sa.func.count()).where(t.consent_event.c.action == "withdraw")
    # one to the topic by e-mail; then all media that reach her, and lists for advertising platforms
    assert world.one(noes) == len(people) * (1 + 5)


def test_signing_up(world: World, browser: Browser) -> None:
    people = world.people(4, consents=None)
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id.in_(people[:2])).values(locale="de"))
    for person in people:
        assert sign_up(world, person, "offers", "news") == "asked"
    world.deliver()
    messages = {m.customer_id: m.id for m in world.messages()}
    with served(world) as url:
        for person, (screen, width, dark) in zip(people, LOOKS, strict=True):
            german = person in people[:2]
            browser.open(f"{url}/c/{world.keys.link_token(messages[person], 'c')}", width, dark)
            browser.look(names("confirm", screen, "dark" if dark else "light"))
            browser.press("Ja, ich bestätige" if german else "Yes, I confirm")
            browser.look(names("confirmed", screen, "dark" if dark else "light"))
    assert [action for action, _ in actions(world)].count("confirm") == 8


def test_what_went_wrong(world: World, browser: Browser) -> None:
    with served(world) as url:
        for screen, width, dark in LOOKS:
            browser.open(f"{url}/u/{world.keys.link_token(4711)}", width, dark, "de")
            browser.look(names("nobody", screen, "dark" if dark else "light"))
            browser.open(f"{url}/nothing/here", width, dark)
            browser.driver.get_log("browser")  # the browser tells that the page itself is a 404
            browser.look(names("sorry", screen, "dark" if dark else "light"))
            assert browser.heading() == "There is nothing here"
