"""What every answer has in common: headers, sizes, languages, and no word to those who guess."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.web.words import LANGUAGES, SHELL, language_of
from tests.outgoing import World, files, world_of
from tests.web.site import Asked


@pytest.fixture
def world(sqlite_database_url: str) -> Iterator[World]:
    world = world_of(sqlite_database_url)
    world.apply(files({}))
    yield world
    world.store.close()


@pytest.fixture
def asked(world: World) -> Asked:
    return Asked(world)


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/docs", "/openapi.json", "/redoc", "/u/", "/u/a/b", "/static/x", "/guess"]
)
def test_what_is_no_page_is_refused_without_a_word_on_why(asked: Asked, path: str) -> None:
    answer = asked.get(path)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text and "guess" not in answer.text


def test_every_answer_has_the_headers(asked: Asked) -> None:
    for path in ("/health", "/nothing", "/style.css", "/icon.svg"):
        headers = asked.get(path).headers
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "script" not in policy
        assert "noindex" in headers["x-robots-tag"]
        assert "server" not in headers or "uvicorn" not in headers["server"]
    assert asked.get("/nothing").headers["cache-control"] == "no-store"
    assert "immutable" in asked.get("/style.css").headers["cache-control"]


def test_health_says_ok_and_nothing_else(asked: Asked) -> None:
    assert asked.get("/health").text == "ok\n"


def test_a_page_names_the_house_and_speaks_the_readers_language(asked: Asked) -> None:
    german = asked.get("/nothing", headers={"Accept-Language": "fr;q=0.9, de-AT;q=0.8, en;q=0.1"})
    assert '<html lang="de">' in german.text and "Hier ist nichts" in german.text
    assert german.headers["content-language"] == "de"
    assert "Small GmbH, Hauptstr. 1, 10115 Berlin, DE" in german.text


@pytest.mark.parametrize(
    ("locale", "accepted", "house", "spoken"),
    [
        ("de-CH", "en", "en", "de"),
        (None, "de", "en", "de"),
        ("fr", "de;q=0, en", "de", "en"),
        ("fr", "fr", "de", "de"),
        ("", "", "", "en"),
        (None, "x;q=nan;;,,,de;q=0.1", "", "de"),
    ],
)
def test_which_language(locale: str | None, accepted: str, house: str, spoken: str) -> None:
    assert language_of(locale, accepted, house) == spoken


def test_every_text_is_there_in_every_language() -> None:
    for key, texts in SHELL.items():
        assert len(texts) == len(LANGUAGES) and all(texts), key


def test_more_than_a_page_takes_is_not_read(asked: Asked) -> None:
    assert asked.post("/nothing", content=b"x" * 70_000).status_code == 413

    async def drip():  # no length announced: counted as it comes
        for _ in range(80):
            yield b"x" * 1000

    answer = asked.post("/u/x", content=drip())
    assert answer.status_code in (404, 405, 413)


def test_a_place_that_guesses_is_put_off(asked: Asked) -> None:
    statuses = {asked.get(f"/u/guess{n}", client="198.51.100.7").status_code for n in range(70)}
    assert statuses == {404, 429}
    assert asked.get("/u/guess", client="198.51.100.8").status_code == 404


def test_a_fault_tells_nothing_of_itself(asked: Asked, world: World, caplog: pytest.LogCaptureFixture) -> None:
    from orchestrator.web import pages

    def breaks(*_: object, **__: object) -> None:
        raise ValueError("ann@example.com")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages.Pages, "missed", breaks)
        answer = asked.get("/nothing")
    assert answer.status_code == 500 and "The fault is ours" in answer.text
    assert "ann@example.com" not in answer.text and "ann@example.com" not in caplog.text
    assert "ValueError" in caplog.text


def test_doctor_says_when_links_lead_nowhere(tmp_path: Path) -> None:
    from orchestrator.cli._doctor import _settings

    live = '[channels.email]\nprovider = "smtp"\nhost = "127.0.0.1"\n[safety]\nenvironment = "production"\n'
    for url, told in ((None, True), ("http://mail.acme.example", True), ("https://mail.acme.example", False)):
        text = live + (f'[web]\npublic_url = "{url}"\n' if url else "")
        (tmp_path / "orchestrator.toml").write_text(text)
        assert any(f.what == "links" for f in _settings(tmp_path)) == told


@pytest.mark.parametrize(
    "options, said",
    [
        ('provider = "smtp"\nhost = "127.0.0.1"\nsecurty = "tls"', "no setting `securty`"),
        ('provider = "sendgrid"\napi_key = "env:NOT_SET_ANYWHERE"', "NOT_SET_ANYWHERE is not set"),
        ('provider = "smtp"\nhost = "127.0.0.1"', ""),
    ],
)
def test_doctor_looks_at_channels_before_there_is_a_database(tmp_path: Path, options: str, said: str) -> None:
    from orchestrator.cli._doctor import examine

    text = f'[channels.email]\n{options}\n[safety]\nenvironment = "production"\n'
    (tmp_path / "orchestrator.toml").write_text(text)
    found = {f.what: f for f in examine(tmp_path, prefect=False)}
    assert found["database"].state == "bad" and said in found["channels"].text
    assert found["channels"].state == ("bad" if said else "ok")
    assert [path.name for path in tmp_path.iterdir()] == ["orchestrator.toml"]  # looking changes nothing


def test_a_rehearsed_print_house_is_not_called_live_by_doctor(tmp_path: Path) -> None:
    from orchestrator.cli._doctor import _settings

    (tmp_path / "orchestrator.toml").write_text(
        '[channels.mail]\nprovider = "letterfile"\nrehearsal = true\nzone = "Europe/Berlin"\n'
    )
    found = {f.what: f for f in _settings(tmp_path)}
    assert (found["sending"].state, "links" in found) == ("ok", False)


def test_doctor_misses_the_address_that_mail_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator import apply
    from orchestrator.cli._doctor import _sender

    def told(sender: dict[str, str], live: dict[str, str]) -> str:
        force = SimpleNamespace(project=SimpleNamespace(vocabulary=SimpleNamespace(sender=sender)))
        monkeypatch.setattr(apply, "in_force", lambda conn: force)
        wired: Any = SimpleNamespace(settings=SimpleNamespace(live=lambda: live))
        return _sender(None, wired).state  # type: ignore[arg-type]

    assert told({"name": "Acme"}, {"email": "smtp"}) == "bad"
    assert told({"name": "Acme", "email": "hello@example.com"}, {"email": "smtp"}) == "ok"
    assert told({"name": "Acme"}, {"sms": "twilio"}) == "ok"
