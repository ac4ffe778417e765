"""A workspace, loaded and checked: the one noun that reads files (and the database's copies of them, alike)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from channels.base import Medium
from orchestrator import recall
from orchestrator.attached import FOLDER, MOST, packed
from orchestrator.condition import Condition
from orchestrator.journey import Journey, JourneyForm, check_entries, read_journey
from orchestrator.listening import check_complaints
from orchestrator.model import Unit, Vocabulary
from orchestrator.problems import Problem, Problems, ProjectError, Span, suggest
from orchestrator.program import ClassRule, Program
from orchestrator.reading import Context, Outlined, outline, schema
from orchestrator.recall import Recall
from orchestrator.ruleset import CONSENT, HOURS, check_house_hours, read_ruleset
from orchestrator.scheme import conditions, read_program
from orchestrator.source import Node, decode, digest, parse
from orchestrator.steps import kinds
from orchestrator.steps.sending import TemplateStep
from orchestrator.steps.survey import Survey
from orchestrator.template import Template, Templates, load_templates, proofread
from orchestrator.workspace import (
    check_name,
    check_segment_units,
    nothing_declared,
    read_class_rules,
    read_segment,
    read_segments,
    read_workspace,
    segments_schema,
    workspace_schema,
)

if TYPE_CHECKING:
    from orchestrator.settings import Settings

WORKSPACE: Final = "journeys/workspace.yaml"
SEGMENTS: Final = "journeys/segments.yaml"
MAX_FILES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Project:
    """`files`: every source text by its workspace-relative path; enough to load the project again anywhere.

    `segments` are checked conditions by name; `warnings` are problems that do not stop an apply; `hash` is over all
    files' texts: two projects with the same hash are the same to the letter.
    """

    files: Mapping[str, str]
    vocabulary: Vocabulary
    segments: Mapping[str, Condition]
    journeys: Mapping[str, Journey]
    templates: Templates
    warnings: tuple[Problem, ...]
    hash: str
    program: Program = field(default_factory=Program)
    class_rules: Mapping[str, ClassRule] = field(default_factory=dict)


# ---- from a folder --------------------------------------------------------------------------------------------------


def read_files(folder: Path) -> dict[str, str]:
    """The workspace's texts: journeys/**/*.yaml (not tests), templates/**, and the two of the shipped ruleset.

    Raises ProjectError when one is no text.
    """
    problems = Problems()
    files = _read(folder, problems)
    if problems.errors:
        raise ProjectError(problems.sorted())
    return files


def load(folder: Path, *, lint: bool = False, recall: Recall | None = None) -> Project:
    """Loads and checks a folder. Raises ProjectError with all problems.

    `lint` adds the warnings that need all of it; with `recall` only what has changed since is looked at again.
    """
    problems = Problems()
    return _load(_read(folder, problems), problems, lint, recall)


def load_files(files: Mapping[str, str], *, lint: bool = False) -> Project:
    """The same from texts, as `apply` stored them."""
    return _load(files, Problems(), lint)


def load_settings(folder: Path, environment: Mapping[str, str]) -> Settings:
    """The folder's orchestrator.toml, or the embedded default without one. Raises ProjectError with all problems."""
    from orchestrator import settings  # pydantic is a third of the time it takes to import this module

    problems = Problems()
    path = folder / settings.FILE
    text: str | None = ""
    if path.is_file():
        text = _text(path, settings.FILE, problems)
    found = settings.parse_settings(text, problems, environment) if text is not None else None
    if found is not None:
        for medium in found.channels:
            settings.check_provider(found, medium, text or "", problems)
        settings.check_safety(found, text or "", problems)
    if found is None or problems.errors:
        raise ProjectError(problems.sorted())
    return found


_IGNORED_ENDINGS: Final = (".md", ".test.yaml", "~", ".swp", ".bak", ".orig")


def _read(folder: Path, problems: Problems) -> dict[str, str]:
    files: dict[str, str] = {}
    for root in ("journeys", "templates"):
        paths = (folder / root).rglob("*") if (folder / root).is_dir() else ()
        for path in sorted(paths):
            name = path.relative_to(folder).as_posix()
            if any(part.startswith(".") for part in Path(name).parts) or not path.is_file():
                continue
            if name.endswith(_IGNORED_ENDINGS):
                continue
            if root == "journeys" and path.suffix != ".yaml":
                _stray(name, path.suffix, problems)
                continue
            if len(files) == MAX_FILES:
                hint = "is this the right folder?"
                problems.error("too-many-files", f"more than {MAX_FILES:,} files", Span.whole(name), hint)
                return files
            text = _packed(path, name, problems) if name.startswith(FOLDER) else _text(path, name, problems)
            if text is not None:
                files[name] = text
    return {**files, **shipped_ruleset()}


@cache
def shipped_ruleset() -> Mapping[str, str]:
    """The texts of the ruleset that this version of the product brings, by the paths they have among a project's."""
    folder = Path(__file__).parent
    return MappingProxyType({name: (folder / name).read_text(encoding="utf-8") for name in (HOURS, CONSENT)})


def _stray(name: str, suffix: str, problems: Problems) -> None:
    if suffix in (".yml", ".YAML", ".YML"):
        hint = f"rename it to `{Path(name).with_suffix('.yaml').name}`"
    else:
        hint = "journeys/ holds `.yaml` files: move it elsewhere"
    problems.warning("stray-file", "this file is not read", Span.whole(name), hint)


def _packed(path: Path, name: str, problems: Problems) -> str | None:
    """A file that is no text."""
    try:
        if path.stat().st_size <= MOST:
            return packed(path.read_bytes())
        message = f"this file is larger than {MOST / 1e6:.0f} MB, and relays refuse large e-mails"
        problems.error("bad-attachment", message, Span.whole(name), "link to a page instead")
    except OSError as error:
        _unreadable(error, name, problems)
    return None


def _unreadable(error: OSError, name: str, problems: Problems) -> None:
    reason = error.strerror or type(error).__name__
    problems.error("unreadable-file", f"the file cannot be read: {reason}", Span.whole(name), "check its rights")


def _text(path: Path, name: str, problems: Problems) -> str | None:
    try:
        return decode(path.read_bytes(), name, problems)
    except OSError as error:
        _unreadable(error, name, problems)
        return None


# ---- from texts -----------------------------------------------------------------------------------------------------


def _load(files: Mapping[str, str], problems: Problems, lint: bool = False, recall: Recall | None = None) -> Project:
    found = _Loading(files, problems, lint, recall).project()
    if problems.errors or found is None:
        raise ProjectError(problems.sorted())
    return found


def load_journey(
    text: str, path: str, vocabulary: Vocabulary, segments: Mapping[str, Any]
) -> tuple[Journey, dict[str, Condition]]:
    """One stored journey version and the segments it was pinned with, read against a vocabulary.

    `segments`: name → condition text, or → {"of": unit, "when": text}. Raises ProjectError.
    """
    problems = Problems()
    node = parse(text, path, problems)
    pinned: dict[str, Condition] = {}
    names = frozenset(segments) | vocabulary.segments
    widened = _with_segments(vocabulary, names)
    for name, said in segments.items():
        unit: Unit = "account" if not isinstance(said, str) and said["of"] == "account" else "customer"
        when = said if isinstance(said, str) else str(said["when"])
        condition = read_segment(name, unit, when, widened, problems)
        if condition is not None:
            pinned[name] = condition
    journey = read_journey(node, path, widened, pinned, problems) if node is not None else None
    if journey is None or problems.errors:
        raise ProjectError(problems.sorted())
    return journey, pinned


def _with_segments(vocabulary: Vocabulary, names: frozenset[str]) -> Vocabulary:
    return vocabulary if names == vocabulary.segments else replace(vocabulary, segments=names)


@dataclass(slots=True)
class _Loading:
    """A project under way: what was read so far, and what is wrong with it."""

    files: Mapping[str, str]
    problems: Problems
    lint: bool = False
    recall: Recall | None = None
    nodes: dict[str, Node] = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=nothing_declared)
    segments: dict[str, Condition] = field(default_factory=dict)
    program: Program = field(default_factory=Program)
    class_rules: dict[str, ClassRule] = field(default_factory=dict)
    journeys: dict[str, Journey] = field(default_factory=dict)
    names: dict[str, Span] = field(default_factory=dict)  # of journeys, also of those that could not be read
    unreadable: bool = False  # a journey's file that could not be parsed: its name is not known
    steps: dict[str, tuple[Outlined, ...]] = field(default_factory=dict)  # by path
    told: set[tuple[str, str]] = field(default_factory=set)  # journeys and texts that do not fit

    def project(self) -> Project | None:
        if WORKSPACE not in self.files:
            self._no_workspace()
            return None
        self._parse()
        if not self._declared():
            return None
        templates = self._templates()
        for path, node in self.nodes.items():
            if path not in (WORKSPACE, SEGMENTS):
                self._journey(path, node)
        self._check_entries()
        self._check_texts(templates)
        self._check_opt_in(templates)
        if self.lint and not self.problems.errors:
            from orchestrator.lint import Checked, lint  # a worker that reads what is in force has no use for it

            checked = Checked(self.files, self.vocabulary, self.segments, self.journeys, templates)
            self.problems.found.extend(lint(checked, self.recall))
        warnings = tuple(p for p in self.problems.sorted() if p.severity == "warning")
        parts = [part for path in sorted(self.files) for part in (path, self.files[path])]
        hashed = digest("project", *parts)
        found = (self.vocabulary, self.segments, self.journeys, templates, warnings, hashed)
        return Project(dict(self.files), *found, self.program, self.class_rules)

    def _no_workspace(self) -> None:
        if any(p.span.file == WORKSPACE for p in self.problems.errors):
            return
        hint = "give the workspace's folder, or make one: `orchestrator init DIR`"
        self.problems.error("no-workspace", f"there is no {WORKSPACE} here", Span.whole(WORKSPACE), hint)

    def _parse(self) -> None:
        for path in sorted(self.files):
            if not path.startswith("journeys/") or not path.endswith(".yaml") or path.endswith(".test.yaml"):
                continue
            node = parse(self.files[path], path, self.problems)
            if node is not None:
                self.nodes[path] = node
            elif path not in (WORKSPACE, SEGMENTS):
                self.unreadable = True

    def _declared(self) -> bool:
        """Whether what the workspace declares is known well enough to check the rest by it."""
        root, segments = self.nodes.get(WORKSPACE), self.nodes.get(SEGMENTS)
        if root is None:
            return False
        self.vocabulary, sound = read_workspace(root, segments, self.problems)
        self._ruleset(root)
        if not sound or (segments is None and SEGMENTS in self.files):
            return False
        if segments is not None:
            self.segments = read_segments(segments, self.vocabulary, self.problems)
        self.program = read_program(root.get("program"), self.vocabulary, self.problems)
        self.class_rules = read_class_rules(root.get("classes"), self.vocabulary, self.problems)
        check_complaints(root.get("complaints"), self.vocabulary, self.problems)
        for rule in self.class_rules.values():
            check_segment_units(rule.customers, self.segments, self.problems)
        for condition in conditions(self.program):
            check_segment_units(condition, self.segments, self.problems)
        return True

    def _ruleset(self, root: Node) -> None:
        """Law as it was applied with the workspace; texts stored before there was any go by the shipped one."""
        shipped = shipped_ruleset()
        hours, consent = (self.files.get(name, shipped[name]) for name in (HOURS, CONSENT))
        ruleset = read_ruleset(hours, consent, self.problems)
        if ruleset is not None:
            policies = replace(self.vocabulary.policies, ruleset=ruleset)
            self.vocabulary = replace(self.vocabulary, policies=policies)
            said = root.get("policies")
            house = said.get("quiet_hours") if said is not None else None
            check_house_hours(ruleset, policies.hours, house, self.problems)

    def _templates(self) -> Templates:
        texts = {path: text for path, text in self.files.items() if path.startswith("templates/")}
        if self.recall is None:
            return load_templates(texts, self.vocabulary, self.problems, looked_at=self.lint)
        # All that texts may name is declared in these two, and by the program itself.
        self.recall.about = digest(self.recall.about, self.files[WORKSPACE], self.files.get(SEGMENTS, ""))
        return recall.load_templates(texts, self.vocabulary, self.problems, self.recall, looked_at=self.lint)

    # ---- journeys -------------------------------------------------------------------------------------------------

    def _journey(self, path: str, node: Node) -> None:
        name = node.get("journey")
        if node.kind == "map" and name is not None and name.kind == "scalar" and not name.empty:
            check_name(name.text, "journey", name.span, self.problems, dashes=True)
            if name.text in self.names:
                first = self.names[name.text]
                hint = "give one of them another name"
                message = f"`{name.text}` is the name of another journey, too: {first.file}"
                self.problems.error("duplicate-journey", message, name.span, hint)
            self.names.setdefault(name.text, name.span)
        else:
            self.unreadable = True
        self.steps[path] = outline(node.get("steps"), Context(Problems(), self.vocabulary, kinds=kinds()))
        mine = Problems()
        journey = read_journey(node, path, self.vocabulary, self.segments, mine)
        self.problems.found.extend(_causes(mine.found, node.get("trigger")))
        if journey is not None:
            self.journeys.setdefault(journey.name, journey)

    def _check_entries(self) -> None:
        """`enter` names a journey there is; one that could not be read is not said to be missing."""
        mine = Problems()
        check_entries(self.journeys, mine)
        broken = self.names.keys() - self.journeys.keys()
        for problem in mine.found:
            missing = problem.code == "unknown-journey"
            if not missing or not (self.unreadable or any(f"`{name}`" in problem.message for name in broken)):
                self.problems.found.append(problem)

    # ---- texts ----------------------------------------------------------------------------------------------------

    def _check_texts(self, templates: Templates) -> None:
        written = _written(self.files)
        by_path = {j.path: j for j in self.journeys.values()}
        for path, steps in self.steps.items():
            for step in steps:
                if step.head is None or step.head.kind != "scalar":
                    continue
                if issubclass(step.kind, TemplateStep):
                    self._template(step, step.head, step.head.text, by_path.get(path), templates, written)
                elif issubclass(step.kind, Survey):
                    self._survey(step, step.head, by_path.get(path), templates, written)
                elif getattr(step.kind, "medium", None) is not None:
                    self._own_text(step)

    def _template(
        self,
        step: Outlined,
        head: Node,
        name: str,
        journey: Journey | None,
        templates: Templates,
        written: Mapping[Medium, set[str]],
    ) -> bool:
        """Whether there is such a text, and it could be read."""
        medium = cast("Medium", step.kind.medium)
        template = templates.get(medium, name)
        if template is None:
            if name not in written[medium]:
                near = suggest(name, templates.names(medium))
                hint = near if near.startswith("did") else f"add `{_PLACE[medium].format(name)}`"
                message = f"there is no {medium} text `{name}`"
                self.problems.error("unknown-template", message, head.span, hint)
            return False
        if journey is not None:
            for text in templates.every(medium, name):
                self._text_in_scope(head, journey, text)
        return True

    def _survey(
        self,
        step: Outlined,
        head: Node,
        journey: Journey | None,
        templates: Templates,
        written: Mapping[Medium, set[str]],
    ) -> None:
        """The text of a survey that is asked, which leads to that very survey in every language."""
        survey = head.text
        own = step.node.get("text") if step.node.kind == "map" else None
        at, name = (own, own.text) if own is not None and own.kind == "scalar" else (head, f"survey-{survey}")
        known = survey in self.vocabulary.surveys
        if not known or not self._template(step, at, name, journey, templates, written):
            return
        link = re.compile(rf"links\s*\.\s*survey\s*\(\s*(['\"]){re.escape(survey)}\1\s*\)")
        for text in templates.every(Medium.EMAIL, name):
            shared = any(link.search(self.files.get(path, "")) for path in text.files if "/snippets/" in path)
            for path in text.files:
                if "/snippets/" not in path and not shared and not link.search(self.files.get(path, "")):
                    message = f"the text `{name}` has no link to the survey `{survey}`: {path}"
                    hint = f'put `{{{{ links.survey("{survey}") }}}}` into it'
                    self.problems.error("survey-without-link", message, at.span, hint)
                    return

    def _text_in_scope(self, head: Node, journey: Journey, template: Template) -> None:
        if (journey.path, template.files[0]) in self.told:
            return
        for name in sorted(template.names):
            wrong = _out_of_scope(name, journey, self.vocabulary)
            if wrong and not self._guarded(template.files, name):
                message = f"the text names `{name}`, and {wrong}"
                hint = f"take it out of {template.files[0]}, or ask there whether it `is defined`"
                self.problems.error("text-out-of-scope", message, head.span, hint)
                self.told.add((journey.path, template.files[0]))
                return

    def _check_opt_in(self, templates: Templates) -> None:
        """What asks for a confirmation goes to somebody who has said no yes yet: it may be no advertising."""
        asked = self.vocabulary.policies.double_opt_in
        node = self.nodes[WORKSPACE].get("policies")
        for name in ("double_opt_in", "template"):
            node = node.get(name) if node is not None else None
        if asked is None or node is None:
            return
        template = templates.get(Medium.EMAIL, asked.template)
        if template is None:
            if asked.template not in _written(self.files)[Medium.EMAIL]:
                hint = suggest(asked.template, templates.names(Medium.EMAIL))
                hint = hint if hint.startswith("did") else f"add `{_PLACE[Medium.EMAIL].format(asked.template)}`"
                self.problems.error("unknown-template", f"there is no email text `{asked.template}`", node.span, hint)
            return
        topic = self.vocabulary.topics.get(template.topic)
        if "links.confirm" not in template.names:
            message, hint = "has no link to confirm with", "put `{{ links.confirm }}` into it"
        elif topic is not None and topic.purpose != "transactional":
            message = f"is of the topic `{topic.name}`, which is marketing"
            hint = "nobody has said yes yet: give it a transactional topic"
        else:
            return
        self.problems.error("bad-double-opt-in", f"the text `{asked.template}` {message}", node.span, hint)

    def _guarded(self, paths: Iterable[str], name: str) -> bool:
        """Whether a text asks first if the name, or what it belongs to, is there."""
        root = re.escape(name.partition(".")[0])
        asked = re.compile(rf"\b{root}(\.\w+)*\s+is\s+(not\s+)?defined\b")
        return any(asked.search(self.files.get(path, "")) for path in paths)

    def _own_text(self, step: Outlined) -> None:
        """A text written in the journey itself, such as a task's message."""
        for key in ("message", "title"):
            node = step.node.get(key) if step.node.kind == "map" else None
            if node is not None and node.kind == "scalar" and "{" in node.text:
                proofread(node.text, node.span, self.vocabulary, self.problems)


def _causes(found: list[Problem], trigger: Node | None) -> list[Problem]:
    """Without what only follows from another mistake: a trigger that is wrong brings no record into scope, and of two
    steps with one id the second is not found."""
    if trigger is not None and any(p.severity == "error" and _within(p.span, trigger.span) for p in found):
        found = [p for p in found if p.code != "not-in-scope"]
    if any(p.code == "duplicate-step" for p in found):
        found = [p for p in found if p.code not in ("unreachable-step", "loop-without-wait")]
    return found


def _within(span: Span, outer: Span) -> bool:
    return (outer.line, outer.col) <= (span.line, span.col) <= (outer.end_line, outer.end_col)


_PROGRAM: Final = frozenset({"points", "membership", "progress", "value", "benefits", "voucher"})
_MADE: Final = frozenset({"unsubscribe", "preferences", "referral", "rewards"})
"""The links that `deliver` makes; the others wait for the pages they lead to."""
_PLACE: Final = {
    Medium.EMAIL: "templates/email/{}.mjml",
    Medium.SMS: "templates/sms/{}.txt",
    Medium.PUSH: "templates/push/{}.yaml",
    Medium.MAIL: "templates/mail/{}.html",
}


def _written(files: Mapping[str, str]) -> dict[Medium, set[str]]:
    """Names of texts by their files, sound or not; with a locale in the name, both readings of it."""
    found: dict[Medium, set[str]] = {m: set() for m in Medium}
    for path in files:
        match = re.fullmatch(r"templates/(email|sms|push|mail)/(.+)\.\w+", path)
        if match:
            found[Medium(match[1])] |= {match[2], match[2].rpartition(".")[0]}
    return found


def _out_of_scope(name: str, journey: Journey, vocabulary: Vocabulary) -> str:
    """Why a journey's texts cannot name this, or nothing."""
    root, _, member = name.partition(".")
    if root == "event":
        if journey.event is None:
            return "no single event starts this journey"
        known = vocabulary.events[journey.event].fields
        bare = member.removesuffix("_currency")
        return "" if not member or member in known or bare in known else f"`{journey.event}` has no `{member}`"
    if root in vocabulary.records and root != journey.record:
        return f"no date of a {root} starts this journey"
    if name == "links.survey":
        return "" if vocabulary.surveys else "workspace.yaml declares no survey"
    if name == "links.data":
        return "only the message that somebody asked for on the preference centre leads to her data"
    if name == "links.confirm":
        return "a journey asks for nothing that could be confirmed: only the text of `double_opt_in` does"
    if (root in _PROGRAM or name in ("links.referral", "links.rewards")) and not (
        vocabulary.loyalty.declared or root in vocabulary.records
    ):
        return "workspace.yaml declares no `program`"
    if root == "links" and member not in _MADE:
        return "this version has no value for it yet, so that nobody could be sent the text"
    return ""


# ---- JSON Schema ----------------------------------------------------------------------------------------------------


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schemas of a workspace's files, by file name; docs/schema/ holds them for editors."""
    journey = {**schema(JourneyForm, kinds()), "title": "a journey"}
    return {
        "workspace.schema.json": workspace_schema(),
        "segments.schema.json": segments_schema(),
        "journey.schema.json": journey,
    }
