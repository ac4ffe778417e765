"""Journeys of the field to begin with: each a folder of this package, fitted into a workspace by its own words.

A recipe has `journey.yaml`, `journey.test.yaml` and `recipe.yaml` (what it is for, what it needs declared, its texts).
In them `$name`, `$class`, `$topic` and the like stand for what the workspace calls it. Reads its own package's files,
and nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from orchestrator.model import Unit, Vocabulary
from orchestrator.possible import Known, Possible
from orchestrator.problems import Problem, Problems, ProjectError, suggest
from orchestrator.project import SEGMENTS, WORKSPACE, Project, load_files
from orchestrator.recipes.inserting import CannotInsert, block, inserted, lacking
from orchestrator.recipes.texts import LAYOUT, layout_files, text_files
from orchestrator.source import parse
from orchestrator.trigger import SegmentTrigger

BLANK: Final = "blank"
LINES: Final = 60
"""A recipe's journey is no longer: it is to be read before it is used."""
_SITE: Final = "https://acme.example"
_TITLED: Final = {"en", "de"}
_STARTS: Final = ("signed_up", "registered", "account_created")
_ENDS: Final = ("order_placed", "purchase", "purchased", "order_completed")


@dataclass(frozen=True, slots=True)
class Recipe:
    """`topics`: what its messages are about, best word first; `asks`: sections of workspace.yaml as they must be."""

    name: str
    group: str
    title: str
    about: str
    unit: Unit
    topics: tuple[str, ...]
    journey: str = field(repr=False)
    test: str = field(repr=False)
    asks: str = field(repr=False)

    @property
    def lines(self) -> int:
        return self.journey.count("\n")


@dataclass(frozen=True, slots=True)
class Made:
    """What is to be written. `files`: new ones by their path; `edited`: path → (before, after); `warnings`: new ones
    that `check` will have; `notes`: what is left to people; `project`: the workspace with all of it."""

    journey: str
    path: str
    class_name: str
    topic: str
    files: Mapping[str, str]
    edited: Mapping[str, tuple[str, str]]
    warnings: tuple[Problem, ...]
    notes: tuple[str, ...]
    project: Project = field(repr=False)


class CannotMake(Exception):
    """The recipe does not fit; nothing was written. `problems` that it would have, `by_hand` what to declare first."""

    def __init__(self, message: str, problems: Sequence[Problem] = (), by_hand: str = "") -> None:
        super().__init__(message)
        self.problems, self.by_hand = tuple(problems), by_hand


# ---- the collection -------------------------------------------------------------------------------------------------


@cache
def recipes() -> Mapping[str, Recipe]:
    """All of them by name, in the order in which they are listed; the blank one is last."""
    folder = Path(__file__).parent
    found = [_read(path) for path in sorted(folder.iterdir()) if (path / "recipe.yaml").is_file()]
    found.sort(key=lambda r: (r.name == BLANK, GROUPS.index(r.group), _place(r.name)))
    return MappingProxyType({recipe.name: recipe for recipe in found})


GROUPS: Final = ("Begin", "Sell", "Look after", "Thank", "Keep", "Companies", "Announce", "")
_ORDER: Final = ("welcome-series", "trial-onboarding", "abandoned-cart", "browse-abandonment", "price-drop")


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _read(folder: Path) -> Recipe:
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    said = _plain(text, f"{folder.name}/recipe.yaml")
    return Recipe(
        name=folder.name,
        group=said["group"],
        title=said["title"],
        about=said["about"],
        unit=said.get("unit", "customer"),
        topics=tuple(said["topics"]),
        journey=(folder / "journey.yaml").read_text(encoding="utf-8"),
        test=(folder / "journey.test.yaml").read_text(encoding="utf-8"),
        asks=text,
    )


def _plain(text: str, path: str) -> dict[str, Any]:
    problems = Problems()
    node = parse(text, path, problems)
    if node is None or problems.errors:
        raise ProjectError(problems.sorted())
    found = node.plain()
    assert isinstance(found, dict)
    return found


# ---- into a workspace -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants; what is empty is chosen by the workspace's own words."""

    recipe: str = BLANK
    name: str = ""
    class_name: str = ""
    topic: str = ""


def made(wish: Wish, before: Project, there: Collection[str], shipped: Mapping[str, str], today: date) -> Made:
    """A recipe as files of a workspace, checked with all that is there already.

    `before`: the workspace as it is; `there`: paths that exist beside its files (tests, schemas); `shipped`: the
    starter's snippets by name. Raises CannotMake.
    """
    recipe = recipes().get(wish.recipe)
    if recipe is None:
        near = suggest(wish.recipe, recipes())
        raise CannotMake(f"there is no recipe `{wish.recipe}`" + (f": {near}" if near else ""))
    fitting = _Fitting(recipe, wish, before, {*before.files, *there}, shipped, today)
    try:
        return fitting.made("")
    except CannotMake as first:
        # The workspace's own snippets may be of another make than these texts need.
        if not first.problems or not any(f"templates/snippets/{part}.mjml" in before.files for part in LAYOUT):
            raise
        try:
            return fitting.made("recipe-")
        except CannotMake:
            raise first from None


@dataclass(slots=True)
class _Fitting:
    recipe: Recipe
    wish: Wish
    before: Project
    taken: set[str]
    shipped: Mapping[str, str]
    today: date
    languages: tuple[str, ...] = ()
    words: dict[str, str] = field(default_factory=dict)
    by_hand: dict[str, str] = field(default_factory=dict)

    @property
    def vocabulary(self) -> Vocabulary:
        return self.before.vocabulary

    def made(self, layout: str) -> Made:
        return self._checked(*self.parts(layout))

    def parts(self, layout: str) -> tuple[dict[str, str], dict[str, tuple[str, str]], str, str, str, str]:
        """What is to be written, not checked: new files, edited ones, name, file, class, topic."""
        self.languages = _languages(self.before)
        class_name, topic = self._class(), self._topic()
        self.words = self._words(class_name, topic)
        name, path = self._name(class_name)
        self.words["name"] = name
        texts = _plain(self._said(self.recipe.asks), "recipe.yaml")
        new = self._new(name, path, texts.get("texts", {}), topic, layout)
        edited = self._edited(texts.get("needs", {}), class_name, topic)
        return new, edited, name, path, class_name, topic

    # ---- words ----------------------------------------------------------------------------------------------------

    def _said(self, text: str) -> str:
        """The recipe's text in the workspace's words."""
        return re.sub(r"\$([a-z_]+)", lambda m: self.words[m[1]], text)

    def _words(self, class_name: str, topic: str) -> dict[str, str]:
        sender = self.vocabulary.sender
        launch = self.today + timedelta(days=28)
        launch += timedelta(days=(1 - launch.weekday()) % 7)
        owners = Counter(
            j.owner for j in self.before.journeys.values() if j.owner and f"/{class_name}/" in f"/{j.path}"
        ) or Counter(j.owner for j in self.before.journeys.values() if j.owner)
        start = next((e for e in _STARTS if e in self.vocabulary.events), _STARTS[0])
        end = next((e for e in _ENDS if e in self.vocabulary.events), _ENDS[0])
        klass = self.vocabulary.classes.get(class_name)
        tiers = klass.tiers if klass is not None else ("bronze", "silver", "gold")
        return {
            "name": self.recipe.name,
            "class": class_name,
            "topic": topic,
            "owner": owners.most_common(1)[0][0] if owners else sender.get("email") or "marketing",
            "site": (sender.get("website") or _SITE).rstrip("/"),
            "currency": self.vocabulary.currency,
            "launch": launch.isoformat(),
            "eve": (launch - timedelta(days=1)).isoformat(),
            "start": start,
            "done": end,
            "low": tiers[0],
            "high": tiers[min(1, len(tiers) - 1)],
            **self._of_points(class_name),
        }

    def _of_points(self, class_name: str) -> dict[str, str]:
        """`ago`: how long ago points were earned that expire in a month; `reward`: what can be had for a few."""
        programme = self.before.program.classes.get(class_name)
        expire = programme.expire if programme is not None else None
        days = expire.days + round(expire.months * 30.4) if expire is not None else 548
        rewards = programme.rewards.values() if programme is not None else ()
        cheap = [r for r in rewards if r.costs <= 100 and not r.tiers and r.only_if is None and not r.voucher]
        return {"ago": str(max(days - 35, 1)), "reward": cheap[0].name if cheap else "free-delivery"}

    def _class(self) -> str:
        classes = self.vocabulary.classes
        wanted, unit = self.wish.class_name, self.recipe.unit
        fitting = [name for name, one in classes.items() if one.unit == unit]
        if wanted:
            if wanted not in classes and classes:
                raise CannotMake(f"there is no class `{wanted}`: {suggest(wanted, classes)}")
            if unit == "account" and classes and wanted not in fitting:
                said = ", ".join(f"`{name}`" for name in fitting) or "none here has"
                raise CannotMake(f"this recipe is about accounts, for a class with `unit: account`: {said}")
            return wanted
        usual = "b2b" if unit == "account" else "b2c"
        return usual if usual in fitting or not fitting else fitting[0]

    def _topic(self) -> str:
        topics = {name for name, one in self.vocabulary.topics.items() if one.purpose == "marketing"}
        if self.wish.topic:
            if self.wish.topic in self.vocabulary.topics and self.wish.topic not in topics:
                raise CannotMake(f"`{self.wish.topic}` is a transactional topic, and these messages are marketing")
            if self.wish.topic not in topics and topics:
                raise CannotMake(f"there is no topic `{self.wish.topic}`: {suggest(self.wish.topic, topics)}")
            return self.wish.topic
        chosen = next((name for name in self.recipe.topics if name in topics), "")
        if chosen or not topics:
            return chosen or self.recipe.topics[0]
        # A yes to questions is none to offers: one that is plainly about something else is not taken.
        others = {name for one in recipes().values() for name in one.topics} - set(self.recipe.topics)
        return next((name for name in self.vocabulary.topics if name in topics - others), self.recipe.topics[0])

    def _name(self, class_name: str) -> tuple[str, str]:
        """The journey's name and file; where it was not given, one that is free."""
        wanted = self.wish.name or (self.recipe.name if self.recipe.name != BLANK else "")
        if not wanted:
            raise CannotMake("name the journey: `orchestrator new journey NAME`, or take a recipe with `--recipe`")
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", wanted):
            raise CannotMake(
                f"`{wanted}` is no journey's name: small letters, digits and dashes, such as `spring-sale`"
            )
        folder = "journeys/"
        if any(path.startswith(f"journeys/{class_name}/") for path in self.taken):
            folder += f"{class_name}/"
        number = 1
        while True:
            name = wanted if number == 1 else f"{wanted}-{number}"
            path = f"{folder}{name}.yaml"
            clash = self._clash(name, path)
            if not clash:
                return name, path
            if self.wish.name:
                raise CannotMake(f"{clash} is there already, and nothing is overwritten: give another name")
            number += 1

    def _clash(self, name: str, path: str) -> str:
        if name in self.before.journeys:
            return f"a journey `{name}` ({self.before.journeys[name].path})"
        mine = {path, path.replace(".yaml", ".test.yaml")}
        said = _plain(self._said(self.recipe.asks), "recipe.yaml").get("texts", {})
        site, topic = self.words["site"], self.words["topic"]
        mine |= text_files(said, self.languages, prefix=name, topic=topic, site=site, layout="").keys()
        return next(iter(sorted(mine & self.taken)), "")

    # ---- files ----------------------------------------------------------------------------------------------------

    def _new(self, name: str, path: str, texts: Mapping[str, Any], topic: str, layout: str) -> dict[str, str]:
        site = self.words["site"]
        found = {
            path: self._headed("journey", path) + self._said(self.recipe.journey),
            path.replace(".yaml", ".test.yaml"): self._headed("test", path) + self._said(self.recipe.test),
        }
        found |= text_files(texts, self.languages, prefix=name, topic=topic, site=site, layout=layout)
        if "email" in texts:
            own = layout_files(self.shipped, self.languages, site=site, layout=layout)
            missing = {part for part in LAYOUT if f"templates/snippets/{layout}{part}.mjml" not in self.taken}
            found |= {p: t for p, t in own.items() if _part(p, layout) in missing and p not in self.taken}
        return found

    def _headed(self, kind: str, path: str) -> str:
        """Where the workspace has the schemas, an editor is told which."""
        if not any(p.startswith("docs/schema/") for p in self.taken):
            return ""
        return f"# yaml-language-server: $schema={'../' * path.count('/')}docs/schema/{kind}.schema.json\n"

    def _edited(self, needs: Mapping[str, Any], class_name: str, topic: str) -> dict[str, tuple[str, str]]:
        wanted = {key: value for key, value in needs.items() if key != "segments"}
        if class_name not in self.vocabulary.classes and "classes" not in wanted:
            extra = {"unit": "account"} if self.recipe.unit == "account" else {}
            wanted["classes"] = {class_name: {"tiers": ["bronze", "silver", "gold"], **extra}}
        elif class_name in self.vocabulary.classes:
            wanted.pop("classes", None)
        if topic not in self.vocabulary.topics:
            wanted["topics"] = {topic: {"purpose": "marketing", "title": _TITLES.get(topic, topic.capitalize())}}
        wanted = _whole(self._spoken(wanted), self.before.files[WORKSPACE])
        found = {}
        for path, more in ((WORKSPACE, wanted), (SEGMENTS, needs.get("segments", {}))):
            text = self.before.files.get(path, "")
            self.by_hand[path] = block(lacking(text, more))
            try:
                after = inserted(text, more) if more else text
            except CannotInsert as error:
                message = f"{path} cannot be added to: {error}; nothing was written"
                raise CannotMake(message, (), self._yourself()) from None
            if after != text:
                found[path] = (text, after)
        return found

    def _yourself(self) -> str:
        return "\n".join(f"# {path}\n{text}" for path, text in self.by_hand.items() if text.strip())

    def _spoken(self, value: Any) -> Any:
        """Words in several languages, in those of the workspace."""
        if isinstance(value, list):
            return [self._spoken(item) for item in value]
        if not isinstance(value, dict):
            return value
        if not value or not value.keys() <= _TITLED:
            return {key: self._spoken(item) for key, item in value.items()}
        said = {one: value.get(one.partition("-")[0]) for one in self.languages}
        own = said[self.languages[0]] or value["en"]
        more = {one: text for one, text in said.items() if text and one != self.languages[0]}
        return {self.languages[0]: own, **more} if more else own

    def _checked(
        self,
        new: dict[str, str],
        edited: dict[str, tuple[str, str]],
        name: str,
        path: str,
        class_name: str,
        topic: str,
    ) -> Made:
        files = dict(self.before.files)
        files |= {p: text for p, text in new.items() if not p.endswith(".test.yaml")}
        files |= {p: after for p, (_, after) in edited.items()}
        try:
            after = load_files(files)
        except ProjectError as error:
            message = f"the recipe does not fit this workspace as it is, and nothing was written: {error}"
            raise CannotMake(message, error.problems, self._yourself()) from None
        known = {(p.code, p.message, p.span.file) for p in self.before.warnings}
        warnings = tuple(p for p in after.warnings if (p.code, p.message, p.span.file) not in known)
        return Made(name, path, class_name, topic, new, edited, warnings, self._notes(new, name, after), after)

    def _notes(self, new: Mapping[str, str], name: str, after: Project) -> tuple[str, ...]:
        found = _together(after, name)
        if not self.vocabulary.sender.get("website") and any(_SITE in text for text in new.values()):
            found.append(f"its links lead to {_SITE}: workspace.yaml names no `website` of the sender, so put in yours")
        if self.languages[0].partition("-")[0] not in _TITLED:
            found.append(f"its texts are in English: translate them into `{self.languages[0]}`")
        return tuple(found)


def _together(project: Project, name: str) -> list[str]:
    """Journeys that let in the same people at the same moment as this one."""
    mine, found = project.journeys[name], []
    began = {(t.segment, t.direction) for t in mine.triggers if isinstance(t, SegmentTrigger)}
    roots = {n: (c.unit, c.root) for n, c in project.segments.items() if c.unit == mine.unit}
    can = Possible(project.vocabulary, roots)
    for other in project.journeys.values():
        same = [t for t in other.triggers if isinstance(t, SegmentTrigger) and (t.segment, t.direction) in began]
        if other.name == name or other.unit != mine.unit or not other.admits or not same:
            continue
        known: Known | None = Known()
        for audience in (mine.audience, other.audience):
            if audience is not None and known is not None:
                known = can.after(known, audience.root)
        if known is not None:
            turn = "comes into" if same[0].direction == "entry" else "leaves"
            message = f"`{other.name}` begins with the same segment, `{same[0].segment}`: whoever {turn} it enters both"
            found.append(f"{message}; change the segment or audience of one, or end one with `status: archived`")
    return found


def _whole(wanted: dict[str, Any], text: str) -> dict[str, Any]:
    """Without what is declared in another way already: properties are added to an event, nothing to a survey."""
    have = _plain(text, WORKSPACE)
    for section, depth in (("surveys", 1), ("vouchers", 1), ("topics", 1), ("program", 2)):
        if section in wanted:
            wanted[section] = _new_ones(wanted[section], have.get(section), depth)
    return {key: value for key, value in wanted.items() if value or key not in have}


def _new_ones(wanted: Any, have: Any, depth: int) -> Any:
    if not isinstance(have, dict):
        return wanted
    if depth == 1:
        return {key: value for key, value in wanted.items() if key not in have}
    return {key: _new_ones(value, have.get(key), depth - 1) for key, value in wanted.items()}


def _part(path: str, layout: str) -> str:
    return path.removeprefix(f"templates/snippets/{layout}").partition(".")[0]


def _languages(project: Project) -> tuple[str, ...]:
    """The workspace's own language, then those its texts and its preference centre have besides."""
    own = project.vocabulary.locale
    said = set(project.vocabulary.preferences.languages)
    for path in project.files:
        found = re.fullmatch(r"templates/[a-z]+/.+\.([a-z]{2}(?:-[A-Z]{2})?)\.(?:mjml|txt|yaml|html)", path)
        said |= {found[1]} if found else set()
    return own, *sorted(said - {own})


_TITLES: Final[Mapping[str, Any]] = {
    "offers": {"en": "Offers and news", "de": "Angebote und Neues"},
    "loyalty": {"en": "Your membership", "de": "Ihre Mitgliedschaft"},
    "research": {"en": "Surveys and questions", "de": "Umfragen und Fragen"},
    "invitations": {"en": "Events and invitations", "de": "Veranstaltungen und Einladungen"},
    "training": {"en": "Training and advice", "de": "Schulung und Beratung"},
}
