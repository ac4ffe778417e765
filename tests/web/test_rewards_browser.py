"""The rewards page as people meet it: in a browser, at both widths, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from selenium.webdriver.common.by import By

from orchestrator.store import tables as t
from tests.outgoing import World
from tests.web.browser import WIDTHS, Browser
from tests.web.rewards_world import club, page, somebody
from tests.web.site import served

pytestmark = pytest.mark.slow
LOOKS = [(screen, width, dark) for screen, width in WIDTHS.items() for dark in (False, True)]


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with club(request, tmp_path) as made:
        yield made


def opened(browser: Browser, text: str) -> None:
    [found] = [e for e in browser.driver.find_elements(By.TAG_NAME, "summary") if e.text.startswith(text)]
    found.click()


def test_taking_a_reward(world: World, browser: Browser) -> None:
    with served(world) as url:
        for screen, width, dark in LOOKS:
            german = dark
            ann, message = somebody(world, tier="silver", locale="de" if german else "en")
            shade = "dark" if dark else "light"
            browser.open(f"{url}{page(world, message)}", width, dark)
            browser.look(f"rewards-{screen}-{shade}")
            bar = browser.driver.find_element(By.ID, "way")
            assert 0 < int(bar.get_attribute("value") or 0) < 100
            opened(browser, "Einlösen für 500 Punkte" if german else "Take for 500 points")
            browser.look(f"rewards-sure-{screen}-{shade}")
            browser.press("Ja, einlösen" if german else "Yes, take it")
            assert ("Sie gehört Ihnen." if german else "It is yours.") in browser.text()
            assert "TEN-000" in browser.text()
            browser.press("Meinen Link zeigen" if german else "Show my link")
            browser.press("Auf die Liste" if german else "Join the list")
            opened(browser, "Die neuesten" if german else "Show the newest")
            browser.look(f"rewards-taken-{screen}-{shade}")
            code = world.one(sa.select(t.referral_code.c.code).where(t.referral_code.c.unit_id == ann))
            link = browser.driver.find_element(By.ID, "link").get_attribute("value")
            assert link == f"https://small.example/?ref={code}"
            browser.press("Ihre Einstellungen" if german else "Your settings")
            browser.press(
                "Ihre Punkte, Ihr Status und Ihre Prämien" if german else "Your points, tier and rewards"
            )  # there and back
            assert "TEN-000" in browser.text()
    assert world.one(sa.select(sa.func.count()).select_from(t.claim)) == len(LOOKS)


def test_an_older_link(world: World, browser: Browser) -> None:
    with served(world) as url:
        made = [somebody(world)[1] for _ in LOOKS]
        for days, name in ((8, "far"), (91, "old")):
            world.pass_time(days=days)
            for message, (screen, width, dark) in zip(made, LOOKS, strict=True):
                browser.open(f"{url}{page(world, message)}", width, dark)
                browser.look(f"rewards-{name}-{screen}-{'dark' if dark else 'light'}")
                browser.press("Send me a fresh link")
                assert "A fresh link is on its way to you." in browser.text()
