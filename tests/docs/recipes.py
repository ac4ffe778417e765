"""The table of recipes on their page: what each does, whom it lets in, what it needs declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.journey import Journey
from orchestrator.recipes import BLANK, recipes
from orchestrator.source import parse
from tests.recipes.fitting import in_minimal


def all_recipes() -> str:
    """A chapter for each group, a row for each recipe."""
    found = [one for one in recipes().values() if one.name != BLANK]
    parts = []
    for group in dict.fromkeys(one.group for one in found):
        parts += [f"### {group}\n", "| Recipe | What it does | Begins with | Needs |", "| --- | --- | --- | --- |"]
        for one in found:
            if one.group == group:
                made = in_minimal(one.name)
                node = parse(one.journey.replace("$", ""), one.name, _problems())
                assert node is not None
                trigger = node.plain()["trigger"]
                begins, needs = _begins(trigger), _needs(made.edited, made.project.journeys[made.journey])
                parts.append(f"| `{one.name}` | {one.about} | {begins} | {needs} |")
        parts.append("")
    return "\n".join(parts).strip() + "\n"


def _problems() -> Any:
    from orchestrator.problems import Problems

    return Problems()


def _begins(trigger: Mapping[str, Any]) -> str:
    word, value = next(iter(trigger.items()))
    if word == "at":
        return "`at`: a day and time of your own"
    said = value if isinstance(value, str) else ", ".join(f"{key} {what}" for key, what in value.items())
    return f"`{word}: {said}`"


def _needs(edited: Mapping[str, tuple[str, str]], journey: Journey) -> str:
    """What was added to a workspace that declares nothing; without what every workspace has."""
    parts = []
    for path, (_, after) in edited.items():
        node = parse(after, path, _problems())
        assert node is not None
        said = node.plain()
        if path.endswith("segments.yaml"):
            parts += [f"segment `{name}`" for name in said]
            continue
        for section, of in (("events", "event"), ("records", "record"), ("surveys", "survey"), ("vouchers", "pool")):
            parts += [f"{of} `{name}`" for name in said.get(section, {})]
        for owner, fields in said.get("attributes", {}).items():
            parts += [f"{owner}'s `{name}`" for name in fields]
        for rules in said.get("program", {}).values():
            parts += [f"programme's `{name}`" for name in rules]
    if journey.unit == "account":
        parts.append("accounts with contacts by role")
    return ", ".join(parts)
