"""A real browser on loopback: Debian's Chromium, headless, offline, at two widths, light and dark.

Use the fixtures `browser` (one for the session) with `served(world)` of tests.web.site. `look` drives every check that
can be made by a machine and leaves a picture in the folder that WEB_SHOTS names (else in a temporary one), for eyes.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
WIDTHS = {"desktop": 1280, "phone": 390}
MISSING = "Chromium is not installed: apt-get install chromium chromium-driver"
SHOTS = "WEB_SHOTS"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication",
    "--disable-dev-shm-usage",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    # Whatever it would look up, it finds nobody: pages that ask for another host fail, and are seen in the log.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@dataclass
class Browser:
    """One window. `open` and `press` wait until the page is there."""

    driver: webdriver.Chrome
    shots: Path
    origin: str = ""
    seen: list[str] = field(default_factory=list)

    def open(self, url: str, width: int = 1280, dark: bool = False, language: str = "en-GB") -> None:
        if self.origin:  # what the page before asked since it was looked at is held against its own site
            strangers = self._strangers()
            assert not strangers, f"asked another host: {strangers}"
        self.origin = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Accept-Language": language}})
        self.driver.get(url)

    def press(self, text: str) -> None:
        """The button or link of this text, pressed; waits for the next page."""
        [found] = [
            e for e in self.driver.find_elements(By.CSS_SELECTOR, "button, a") if e.text.strip() == text
        ] or pytest.fail(f"nothing to press is called {text!r}: {self.text()}")
        page = self.driver.find_element(By.TAG_NAME, "html")
        found.click()
        WebDriverWait(self.driver, 10).until(lambda driver: _gone(page) and _complete(driver))

    def heading(self) -> str:
        return str(self.driver.find_element(By.TAG_NAME, "h1").text)

    def text(self) -> str:
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def look(self, name: str) -> None:
        """A picture of the whole page, and no problem a machine can see. Raises AssertionError."""
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        width = self.driver.execute_script("return innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": max(height, 400), "scale": 1}
        told = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        (self.shots / f"{name}.png").write_bytes(base64.b64decode(told["data"]))
        problems = self.driver.execute_script(_CHECKS)
        problems += [f"the console says: {entry['message']}" for entry in self._console()]
        problems += [f"asks another host: {url}" for url in self._strangers()]
        assert not problems, f"{name}: {problems}"

    def _console(self) -> list[dict[str, Any]]:
        return [dict(entry) for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def _strangers(self) -> list[str]:
        found = []
        for entry in self.driver.get_log("performance"):
            told = json.loads(entry["message"])["message"]
            if told["method"] == "Network.requestWillBeSent":
                url = told["params"]["request"]["url"]
                # The browser's own pages (chrome:) are no requests of ours, nor of anybody on a network.
                if url.startswith(("http:", "https:", "ws:", "wss:")) and not url.startswith(self.origin + "/"):
                    found.append(url)
        return found


def _gone(page: Any) -> bool:
    from selenium.common.exceptions import StaleElementReferenceException, WebDriverException

    try:
        page.is_enabled()
    except (StaleElementReferenceException, WebDriverException):
        return True
    return False


def _complete(driver: Any) -> bool:
    return bool(driver.execute_script("return document.readyState") == "complete")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Skips aloud where there is no Chromium."""
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip(MISSING)
    home = tmp_path_factory.mktemp("chromium")
    shots = Path(os.environ.get(SHOTS) or tmp_path_factory.mktemp("shots"))
    shots.mkdir(parents=True, exist_ok=True)
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*_FLAGS, f"--user-data-dir={home}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        service = webdriver.ChromeService(str(DRIVER))
        driver = webdriver.Chrome(options, service)
        driver.set_page_load_timeout(30)
        try:
            yield Browser(driver, shots)
        finally:
            driver.quit()
            service.stop()
            shutil.rmtree(home, ignore_errors=True)


# WCAG 2.2, what of it a script can see: 1.1.1, 1.3.1, 1.4.3, 1.4.10, 1.4.11, 2.4.2, 2.4.6, 2.4.7, 2.5.8, 3.1.1, 4.1.2.
_CHECKS = r"""
const wrong = [], root = document.documentElement;
const seen = e => e.getClientRects().length && getComputedStyle(e).visibility !== 'hidden';
const named = e => `<${e.tagName.toLowerCase()} ${e.name || e.className || ''}> ${e.textContent.trim().slice(0, 40)}`;
if (!/^[a-z]{2}/.test(root.lang)) wrong.push('the page has no language');
if (!document.title.trim()) wrong.push('the page has no title');
for (const one of ['h1', 'main']) {
  const n = document.querySelectorAll(one).length;
  if (n !== 1) wrong.push(`${n} times <${one}>`);
}
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
for (const id of new Set(ids)) if (ids.filter(i => i === id).length > 1) wrong.push(`two elements are #${id}`);
let level = 0;
for (const h of document.querySelectorAll('h1, h2, h3, h4')) {
  const now = +h.tagName[1];
  if (now > level + 1) wrong.push(`${named(h)} follows a heading of level ${level}`);
  level = now;
}
for (const e of document.querySelectorAll('img')) if (!e.hasAttribute('alt')) wrong.push(`no alt: ${named(e)}`);
for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
  const label = [...(e.labels || [])].some(l => l.textContent.trim());
  if (!label && !e.hasAttribute('aria-label') && !e.hasAttribute('aria-labelledby')) wrong.push(
    `no label: ${named(e)}`);
}
for (const group of new Set([...document.querySelectorAll('input[type=radio]')].map(e => e.name))) {
  const e = document.querySelector(`input[type=radio][name="${CSS.escape(group)}"]`);
  const set = e.closest('fieldset');
  if (!e.closest('[role=radiogroup]') && !(set && set.querySelector('legend'))) wrong.push(`no group: ${group}`);
}
if (root.scrollWidth > innerWidth) wrong.push(`wider than the window: ${root.scrollWidth} > ${innerWidth}`);
for (const e of document.querySelectorAll('button, input:not([type=hidden]), select, textarea, a')) {
  if (!seen(e)) continue;
  const box = e.getBoundingClientRect();
  if (e.tagName !== 'A' && (box.width < 20 || box.height < 20)) wrong.push(`too small to hit: ${named(e)}`);
  if (['A', 'BUTTON'].includes(e.tagName) && !e.textContent.trim()) wrong.push(`no name: ${named(e)}`);
  e.focus({focusVisible: true});
  const s = getComputedStyle(e);
  if (document.activeElement === e && (s.outlineStyle === 'none' || parseFloat(s.outlineWidth) < 2))
    wrong.push(`focus is not to be seen: ${named(e)}`);
  e.blur();
}
const rgb = text => {
  const n = text.match(/[\d.]+/g).map(Number);
  return {c: n.slice(0, 3), a: n.length > 3 ? n[3] : 1};
};
const light = c => {
  const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ratio = (a, b) => {
  const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
};
const behind = e => {
  for (; e; e = e.parentElement) {
    const found = rgb(getComputedStyle(e).backgroundColor);
    if (found.a === 1) return found.c;
  }
  return [255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; node = walker.nextNode();) {
  const e = node.parentElement;
  if (!node.textContent.trim() || !seen(e) || e.classList.contains('skip')) continue;
  const s = getComputedStyle(e), size = parseFloat(s.fontSize);
  const least = size >= 24 || (size >= 18.66 && +s.fontWeight >= 700) ? 3 : 4.5;
  const found = ratio(rgb(s.color).c, behind(e));
  if (found < least) wrong.push(`contrast ${found.toFixed(2)} of ${named(e)}`);
}
for (const e of document.querySelectorAll('input[type=text], input[type=email], input[type=tel], select, textarea')) {
  if (!seen(e)) continue;
  const found = ratio(rgb(getComputedStyle(e).borderTopColor).c, behind(e.parentElement));
  if (found < 3) wrong.push(`edge contrast ${found.toFixed(2)} of ${named(e)}`);
}
return wrong;
"""
