"""orchestrator.toml: what is read, what is refused, and that a secret is only ever named."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.base import Medium
from orchestrator.problems import Problems, ProjectError, render
from orchestrator.project import load_settings
from orchestrator.settings import MissingSecret, Reveal, Settings, parse_settings

ROOT = Path(__file__).resolve().parent.parent


def good(text: str, environment: dict[str, str] | None = None) -> Settings:
    problems = Problems()
    found = parse_settings(text, problems, environment)
    assert found is not None, render(problems.sorted(), {"orchestrator.toml": text})
    return found


def no_files(path: str) -> str:
    raise FileNotFoundError(path)


NOTHING = Reveal({}, no_files)


def test_the_shipped_settings_are_the_embedded_default() -> None:
    found = good((ROOT / "orchestrator.toml").read_text(encoding="utf-8"))
    assert {found.channel(m).provider for m in Medium} == {"sandbox"}
    assert found.database_url(Path("/home/x"), NOTHING) == "sqlite:////home/x/.orchestrator/orchestrator.db"
    assert found.outbox_path(Path("/home/x")) == Path("/home/x/.orchestrator/outbox")


def test_no_file_is_the_embedded_default() -> None:
    assert good("") == Settings()


def test_a_folder_is_read(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}) == Settings()
    (tmp_path / "orchestrator.toml").write_text('[web]\npublic_url = "https://go.example.com"\n')
    assert load_settings(tmp_path, {}).web.public_url == "https://go.example.com"
    (tmp_path / "orchestrator.toml").write_bytes(b"[web]\npublic_url = '\xff'\n")
    with pytest.raises(ProjectError) as caught:
        load_settings(tmp_path, {})
    assert [(p.code, p.span.line) for p in caught.value.problems] == [("not-utf-8", 2)]


def test_all_problems_of_a_file_are_told() -> None:
    problems = Problems()
    assert parse_settings('[databse]\nurl = "x"\n[web]\npublic_url = "nowhere"\n', problems) is None
    assert [(p.code, p.span.line) for p in problems.sorted()] == [("unknown-setting", 1), ("bad-setting", 4)]


@pytest.mark.parametrize(
    ("text", "code", "place", "part"),
    [
        ("[database", "settings-syntax", "1:10", "expected ']'"),
        ("[database]\nurl = env:X\n", "settings-syntax", "2:7", "invalid value"),
        ("[databse]\nurl = 'x'\n", "unknown-setting", "1:2", "`databse`"),
        ("[database]\nurk = 'x'\n", "unknown-setting", "2:1", "`database.urk`"),
        ("[database]\nurl = 'mysql://x'\n", "bad-setting", "2:1", "sqlite:///FILE"),
        ("[database]\nurl = 3\n", "bad-setting", "2:1", "text in quotes"),
        ("database = 3\n", "bad-setting", "1:1", "section"),
        ("[channels]\nfax = 'x'\n", "unknown-medium", "2:1", "`fax`"),
        ("[database]\nurl = 'postgresql://a:pw12@h/d'\n", "secret-inline", "2:1", "password"),
        ("[channels.email]\nprovider = 'sendgrid'\napi_key = 'SG.abc'\n", "secret-inline", "1:2", "api_key"),
        ("[channels.sms]\nauth_token = 'env:T'\n", "bad-setting", "1:2", "missing"),
        ("[web]\npublic_url = 'here'\n", "bad-setting", "2:1", "https://"),
        ("[web]\npublic_url = 'https://go.example.com/a b'\n", "bad-setting", "2:1", "https://"),
        ("[web]\npublic_url = 'https://'\n", "bad-setting", "2:1", "https://"),
        ("[database]\nurl = 'sqlite:///'\n", "bad-setting", "2:1", "sqlite:///FILE"),
        ("[outbox]\npath = ''\n", "bad-setting", "2:1", "not empty"),
    ],
)
def test_refused(text: str, code: str, place: str, part: str) -> None:
    problems = Problems()
    assert parse_settings(text, problems) is None
    assert [(p.code, f"{p.span.line}:{p.span.col}") for p in problems.found] == [(code, place)]
    shown = render(problems.sorted(), {})
    assert part in shown and "pw12" not in shown and "SG.abc" not in shown


def test_the_environment_goes_over_the_file() -> None:
    environment = {
        "ORCHESTRATOR_DATABASE__URL": "env:DATABASE_URL",
        "ORCHESTRATOR_CHANNELS__EMAIL__PROVIDER": "smtp",
        "ORCHESTRATOR_WORKSPACE": "/srv/acme",
        "ORCHESTRATOR_DATABASE_URL": "no setting: one underscore",
        "DATABASE_URL": "postgresql://db/acme",
    }
    found = good("[channels]\nemail = 'sandbox'\nsms = 'sandbox'\n", environment)
    assert found.channel(Medium.EMAIL).provider == "smtp" and found.channel(Medium.SMS).provider == "sandbox"
    assert found.database_url(Path("/x"), Reveal(environment, no_files)) == "postgresql+psycopg://db/acme"


def test_references_are_looked_up_when_they_are_needed() -> None:
    files = {"/run/secrets/sg": "SG.file\n"}
    reveal = Reveal({"SG_KEY": "SG.env"}, files.__getitem__)
    text = "[channels.email]\nprovider = 'sendgrid'\nregion = 'eu'\napi_key = '{}'\n"
    for reference, value in (("env:SG_KEY", "SG.env"), ("${SG_KEY}", "SG.env"), ("file:/run/secrets/sg", "SG.file")):
        channel = good(text.replace("{}", reference)).channel(Medium.EMAIL)
        assert channel.options(reveal) == {"region": "eu", "api_key": value}
        assert value not in repr(channel)
    with pytest.raises(MissingSecret, match="the environment variable SG_KEY is not set"):
        good(text.replace("{}", "env:SG_KEY")).channel(Medium.EMAIL).options(NOTHING)
    with pytest.raises(MissingSecret, match="cannot be read"):
        good(text.replace("{}", "file:/nowhere")).channel(Medium.EMAIL).options(NOTHING)


def test_two_keys_while_they_change() -> None:
    text = "[channels.email]\nprovider = 'sendgrid'\nwebhook_keys = ['env:OLD', 'env:NEW']\n"
    reveal = Reveal({"OLD": "one", "NEW": "two"}, no_files)
    assert good(text).channel(Medium.EMAIL).options(reveal) == {"webhook_keys": ["one", "two"]}
    problems = Problems()
    assert parse_settings(text.replace("env:NEW", "MFkw"), problems) is None
    assert [p.code for p in problems.found] == ["secret-inline"]


def test_database_urls() -> None:
    for url, meant in (
        ("sqlite:///data/x.db", "sqlite:////w/data/x.db"),
        ("sqlite:////abs/x.db", "sqlite:////abs/x.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
    ):
        assert good(f"[database]\nurl = '{url}'\n").database_url(Path("/w"), NOTHING) == meant


def test_check_knows_the_providers(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.toml").write_text('[channels]\nsms = "null"\nemail = "pigeon"\n', encoding="utf-8")
    with pytest.raises(ProjectError) as raised:
        load_settings(tmp_path, {})
    assert [(p.code, p.span.line) for p in raised.value.problems] == [("unknown-provider", 3)]
    assert "`sandbox`" in raised.value.problems[0].hint
