"""The preference centre and a survey as people meet them: in a browser, at both widths, light and dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from orchestrator.store import tables as t
from tests.outgoing import World, world_of
from tests.web.browser import WIDTHS, Browser
from tests.web.choosing_world import page, texts, written_to
from tests.web.site import served

LOOKS = [(screen, width, dark) for screen, width in WIDTHS.items() for dark in (False, True)]


@pytest.fixture
def world(sqlite_database_url: str) -> Iterator[World]:
    made = world_of(sqlite_database_url)
    made.apply(texts())
    yield made
    made.store.close()


def named(what: str, screen: str, dark: bool) -> str:
    return f"{what}-{screen}-{'dark' if dark else 'light'}"


def field(browser: Browser, selector: str):
    return browser.driver.find_element(By.CSS_SELECTOR, selector)


def test_choosing(world: World, browser: Browser) -> None:
    with served(world) as url:
        for screen, width, dark in LOOKS:
            customer_id, message = written_to(world)
            browser.open(f"{url}{page(world, message)}", width, dark)
            browser.look(named("preferences", screen, dark))
            switch = field(browser, 'input.switch[value="offers:sms"]')
            assert switch.is_selected()
            switch.send_keys(Keys.SPACE)  # by the keyboard alone
            assert not switch.is_selected()
            Select(field(browser, "#often")).select_by_value("2 month")
            field(browser, "#format-text").click()
            browser.press("Save")
            assert "Saved." in browser.text()
            browser.look(named("preferences-saved", screen, dark))
            assert not field(browser, 'input.switch[value="offers:sms"]').is_selected()
            browser.press("Pause for 30 days")
            assert "you get no advertising" in browser.text()
            Select(field(browser, "#language")).select_by_value("de")
            browser.press("Save")
            assert browser.heading() == "Ihre Einstellungen"
            browser.look(named("preferences-german", screen, dark))
            browser.press("Pause beenden")
            browser.press("Keine Werbung mehr")
            assert not field(browser, 'input.switch[value="offers:email"]').is_selected()
            with world.store.read() as conn:
                row = conn.execute(sa.select(t.preference).where(t.preference.c.customer_id == customer_id)).one()
            assert (row.at_most, row.per, row.format, row.paused_until) == (2, "month", "text", None)


def test_own_data_a_call_and_a_file(world: World, browser: Browser) -> None:
    with served(world) as url:
        for screen, width, dark in LOOKS:
            _, message = written_to(world, locale="de" if dark else "en")
            browser.open(f"{url}{page(world, message)}", width, dark)
            name = field(browser, "#own-first_name")
            name.clear()
            name.send_keys("=Anna")
            browser.press("Angaben speichern" if dark else "Save your details")
            browser.driver.get_log("browser")  # the browser tells of the status 422
            browser.look(named("own-data-wrong", screen, dark))
            name = field(browser, "#own-first_name")
            assert name.get_attribute("aria-invalid") == "true"
            name.clear()
            name.send_keys("Anna")
            browser.press("Angaben speichern" if dark else "Save your details")
            browser.look(named("own-data", screen, dark))
            browser.press("Rufen Sie mich an" if dark else "Call me")
            browser.press("Link schicken" if dark else "Send me the link")
            world.deliver()
            loan = [m for m in world.messages() if m.origin == "data_link"][-1]
            browser.open(f"{url}{page(world, loan.id, 'd')}", width, dark)
            browser.look(named("my-data", screen, dark))
    assert {row[0] for row in world.rows(sa.select(t.customer.c.first_name))} == {"Anna"}
    assert sum(m.origin == "call_me" for m in world.messages()) == len(LOOKS)


def test_answering(world: World, browser: Browser) -> None:
    with served(world) as url:
        for screen, width, dark in LOOKS:
            _, message = written_to(world, locale="de" if dark else "en")
            browser.open(f"{url}{page(world, message, 's')}/nps?score=9", width, dark)
            assert field(browser, 'input[name="recommend"]:checked').get_attribute("value") == "9"
            browser.look(named("survey", screen, dark))
            field(browser, 'input[name="recommend"]:checked').send_keys(Keys.ARROW_LEFT)
            field(browser, 'input[name="bought"][value="web"]').click()
            field(browser, "textarea").send_keys("It works")
            browser.press("Absenden" if dark else "Send")
            browser.look(named("survey-thanks", screen, dark))
            browser.open(f"{url}{page(world, message, 's')}/secret", width, dark)
            browser.press("Absenden" if dark else "Send")
            browser.driver.get_log("browser")
            browser.look(named("survey-wrong", screen, dark))
    told = world.rows(sa.select(t.event.c.properties).where(t.event.c.type == "survey_answered"))
    expected = {"survey": "nps", "score": 8, "recommend": 8, "bought": "web", "why": "It works"}
    assert [row.properties for row in told] == [expected] * len(LOOKS)
