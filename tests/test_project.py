"""A workspace as a whole: what is read, what names what, and that everything wrong is told at once."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

from orchestrator.problems import Problem, ProjectError, render
from orchestrator.project import Project, load, load_files, load_journey, read_files, schemas, shipped_ruleset
from tests.golden.workspace import GOOD

ROOT = Path(__file__).resolve().parent.parent


def codes(files: dict[str, str]) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        load_files(files)
    return [p.code for p in caught.value.problems]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def sources(folder: Path, problems: tuple[Problem, ...]) -> dict[str, str]:
    names = {p.span.file for p in problems}
    return {name: (folder / name).read_text(encoding="utf-8", errors="replace") for name in names}


def project(**changed: str) -> Project:
    return load_files(GOOD | changed)


def test_the_shipped_workspace_is_sound() -> None:
    try:
        found = load(ROOT)
    except ProjectError as error:
        raise AssertionError(render(error.problems, sources(ROOT, error.problems))) from None
    files = {p for p in (ROOT / "journeys").glob("*/*.yaml") if not p.name.endswith(".test.yaml")}
    assert len(found.journeys) == len(files) and found.warnings == ()


def test_a_folder_and_its_texts_give_the_same_project(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD | {"journeys/b2c/notes.md": "# how we do it", "journeys/x.test.yaml": "test: {"})
    found = load(folder)
    assert found.files == {**GOOD, **shipped_ruleset()} and found.hash == load_files(read_files(folder)).hash
    assert {n: j.version for n, j in found.journeys.items()} == {n: j.version for n, j in project().journeys.items()}


def test_a_stray_file_is_a_warning(tmp_path: Path) -> None:
    found = load(write(tmp_path, GOOD | {"journeys/new.yml": "journey: new"}))
    assert [(p.code, p.severity, p.hint) for p in found.warnings] == [
        ("stray-file", "warning", "rename it to `new.yaml`")
    ]


def test_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        load(tmp_path)
    assert [p.code for p in caught.value.problems] == ["no-workspace"]


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD)
    (folder / "journeys" / "welcome.yaml").write_bytes(b"journey: caf\xe9\n")
    with pytest.raises(ProjectError) as caught:
        load(folder)
    assert [(p.code, str(p.span)) for p in caught.value.problems] == [("not-utf-8", "journeys/welcome.yaml:1:13")]
    assert "caf" in render(caught.value.problems, sources(folder, caught.value.problems))
    with pytest.raises(ProjectError):
        read_files(folder)


def test_mistakes_in_several_files_are_told_together() -> None:
    found = codes(
        GOOD
        | {
            "journeys/segments.yaml": "regulars: tiers >= gold\n",
            "journeys/welcome.yaml": GOOD["journeys/welcome.yaml"].replace("reentry", "reentri"),
            "journeys/renewal.yaml": GOOD["journeys/renewal.yaml"].replace("email: renewal", "email: renewl"),
            "journeys/third.yaml": "journey: 'third\n",
        }
    )
    assert len(found) == 4, found


def test_a_broken_declaration_is_not_told_again_where_it_is_used() -> None:
    assert (
        len(codes(GOOD | {"journeys/workspace.yaml": GOOD["journeys/workspace.yaml"].replace("order_placed", "Order")}))
        == 1
    )
    assert (
        len(codes(GOOD | {"journeys/workspace.yaml": GOOD["journeys/workspace.yaml"].replace("events:", "evnts:")}))
        == 1
    )


def test_a_broken_journey_is_not_missing_where_it_is_entered() -> None:
    entering = GOOD["journeys/welcome.yaml"] + "  - enter: second\n"
    second = "journey: second\ntrigger: api\nsteps:\n  - email: welcome\n"
    good = load_files(GOOD | {"journeys/welcome.yaml": entering, "journeys/second.yaml": second})
    assert set(good.journeys) == {"welcome", "renewal", "second"}
    for broken in (second + "    form: x\n", second + "  bad\n"):
        assert len(codes(GOOD | {"journeys/welcome.yaml": entering, "journeys/second.yaml": broken})) == 1
    assert codes(GOOD | {"journeys/welcome.yaml": entering}) == ["unknown-journey"]


# ---- versions -------------------------------------------------------------------------------------------------------


def version(welcome: str | None = None, segments: str | None = None) -> str:
    changed = {"journeys/welcome.yaml": welcome, "journeys/segments.yaml": segments}
    return load_files(GOOD | {k: v for k, v in changed.items() if v is not None}).journeys["welcome"].version


WELCOME = GOOD["journeys/welcome.yaml"]
SEGMENTS = GOOD["journeys/segments.yaml"]


def test_comments_and_spacing_do_not_make_a_version() -> None:
    assert version(WELCOME.replace("\n", "   # why\n", 1) + "\n\n# the end\n") == version()
    assert version(WELCOME.replace("- wait: 3 days", "- wait:   '3 days'")) == version()


def test_content_makes_a_version() -> None:
    assert version(WELCOME.replace("3 days", "4 days")) != version()


def test_the_segments_it_hangs_on_make_a_version() -> None:
    assert "regulars" in load_files(GOOD).journeys["welcome"].segments
    assert version(segments=SEGMENTS.replace("> 100 EUR", "> 200 EUR")) != version()  # one that another one names
    assert version(segments=SEGMENTS.replace("never(order_placed)", "never(signed_up)")) == version()  # not named
    assert version(segments=SEGMENTS + "\n# more\n") == version()


def test_a_pinned_version_is_read_again_as_it_was() -> None:
    found = load_files(GOOD)
    journey = found.journeys["welcome"]
    pinned = {n: {"of": found.segments[n].unit, "when": found.segments[n].text} for n in journey.segments}
    later = load_files(GOOD | {"journeys/segments.yaml": SEGMENTS.replace("> 100 EUR", "> 900 EUR")})
    again, segments = load_journey(found.files[journey.path], journey.path, later.vocabulary, pinned)
    assert again == journey and again.version == journey.version
    assert {n: c.text for n, c in segments.items()} == {n: found.segments[n].text for n in journey.segments}


def test_a_pinned_version_needs_its_names() -> None:
    found = load_files(GOOD)
    text = found.files["journeys/welcome.yaml"].replace("order_placed", "order_lost")
    with pytest.raises(ProjectError):
        load_journey(text, "journeys/welcome.yaml", found.vocabulary, {"regulars": "tier >= gold"})


# ---- texts ----------------------------------------------------------------------------------------------------------


def test_a_text_may_name_only_what_its_journey_has_in_scope() -> None:
    naming = GOOD["templates/email/welcome.mjml"].replace("Hello", "Hello {{ contract.ends }}")
    assert codes(GOOD | {"templates/email/welcome.mjml": naming}) == ["text-out-of-scope"]
    for later in ("points.balance", "links.survey", "links.view"):
        text = GOOD["templates/email/welcome.mjml"].replace("</mj-text>", "{{ " + later + " }}</mj-text>", 1)
        assert codes(GOOD | {"templates/email/welcome.mjml": text}) == ["text-out-of-scope"], later
    asking = naming.replace("{{ contract.ends }}", "{% if contract is defined %}{{ contract.ends }}{% endif %}")
    load_files(GOOD | {"templates/email/welcome.mjml": asking})


def test_a_broken_text_is_told_once() -> None:
    broken = GOOD["templates/email/welcome.mjml"].replace("{{ customer.first_name", "{{ customer.frist_name")
    assert len(codes(GOOD | {"templates/email/welcome.mjml": broken})) == 1


# ---- schemas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_committed_schema_is_current(name: str) -> None:
    path = ROOT / "docs" / "schema" / name
    text = json.dumps(schemas()[name], indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("REGEN_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "run the tests once with REGEN_GOLDEN=1, and look at the change"


def test_every_reference_in_a_schema_leads_somewhere() -> None:
    for name, found in schemas().items():
        for reference in references(found):
            assert reference.removeprefix("#/definitions/") in found["definitions"], (name, reference)


def references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [r for inner in value.values() for r in references(inner)]
    return [r for inner in value for r in references(inner)] if isinstance(value, list) else []


def test_the_shipped_files_satisfy_their_schemas() -> None:
    jsonschema = importlib.import_module("jsonschema")  # it comes with Prefect
    from orchestrator.problems import Problems
    from orchestrator.source import parse

    kinds = {"journeys/workspace.yaml": "workspace", "journeys/segments.yaml": "segments"}
    for files in (read_files(ROOT), GOOD):
        for path, text in files.items():
            if path.startswith("journeys/"):
                node = parse(text, path, Problems())
                assert node is not None
                jsonschema.validate(node.plain(), schemas()[f"{kinds.get(path, 'journey')}.schema.json"])


def test_a_line_of_a_megabyte_is_not_printed_whole() -> None:
    line = "journey: x\nsteps: [ { email: " + "a" * 900_000 + " } ]\n"
    with pytest.raises(ProjectError) as caught:
        load_files(GOOD | {"journeys/x.yaml": line})
    told = render(caught.value.problems, {"journeys/x.yaml": line})
    assert len(told) < 5_000 and "^^^^" in told and "…" in told
    marked = next(part for part in told.split("\n\n") if "unknown-template" in part).splitlines()
    assert marked[3][marked[4].index("^") :].startswith("aaaa")
