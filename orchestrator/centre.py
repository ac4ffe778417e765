"""What people are offered to choose and to answer, as workspace.yaml declares it: `preferences` and `surveys`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from orchestrator import words
from orchestrator.model import EventType, Field, Kind, Preferences, Question, QuestionKind, Survey
from orchestrator.problems import Problems, Span
from orchestrator.reading import described, option, unknown
from orchestrator.slips import SOURCES
from orchestrator.source import Entry, Node
from orchestrator.words import names_a_field

ANSWERED: Final = "survey_answered"
"""The event that an answered survey becomes."""
ASKED: Final = "survey_asked"
"""The event that a `survey` step records when its question has gone out."""
OPEN_COLUMNS: Final = (
    "first_name", "last_name", "company", "street", "postcode", "city", "region", "country",
)  # fmt: skip
"""Standard fields that a person may change by a link that was mailed to her. Addresses that messages go to are not
among them: whoever holds a forwarded mail must not turn the next one to himself."""
_OPEN_KINDS: Final = (Kind.TEXT, Kind.NUMBER, Kind.YES_NO, Kind.DATE, Kind.CHOICE)
LOCALE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
_KINDS: Final[Mapping[str, Kind]] = {"nps": Kind.NUMBER, "scale": Kind.NUMBER, "choice": Kind.TEXT, "text": Kind.TEXT}

Words = str | Mapping[str, str]
"""A text, or one for each language."""


# ---- what it looks like ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencesEntry:
    """The preference centre: what people may tell and choose there beside their topics."""

    fields: tuple[str, ...] = option("own data that a person may correct: standard fields and attributes", default=())
    labels: Mapping[str, Words] = option(
        "what attributes are called there: text, or one for each language", factory=dict
    )
    languages: tuple[str, ...] = option("languages to choose from, such as `[en, de]`", default=())
    call_me: str = option(
        "who calls back: `account_manager`, or a team's name; without it nobody is offered", default=""
    )
    overwrite: str = option(
        "when an import may overwrite what people said themselves: `never`, `after 12 months` or `always`",
        default="never",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionEntry:
    """One question of a survey."""

    ask: Words = option("the question: text, or one for each language")
    kind: Literal["nps", "scale", "choice", "text"] = option("`nps` is 0 to 10; `scale` 1 to `up_to`")
    up_to: int = option("the scale's end", default=5, low=3, high=10)
    choices: Mapping[str, Words] = option("of a choice: a word for the answer, and what people read", factory=dict)
    needed: Literal["yes", "no"] = option("whether it must be answered", default="no")


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyEntry:
    """Some short questions on a page of their own."""

    title: Words = option("the page's title: text, or one for each language")
    questions: Mapping[str, QuestionEntry] = option("one to five, by the name their answer has in the event")
    anonymous: Literal["yes", "no"] = option("the answer is kept apart from whoever gave it", default="no")
    thanks: Words = option("what is said afterwards: text, or one for each language", default="")
    closes: date | None = option("the last day on which it can be answered", default=None)


# ---- preferences ----------------------------------------------------------------------------------------------------


def read_preferences(
    node: Node | None, entry: PreferencesEntry | None, customer: Mapping[str, Field], locale: str, problems: Problems
) -> Preferences:
    """Of all that could be read. `customer`: standard fields and attributes; `locale`: the workspace's."""
    if node is None or entry is None:
        return Preferences()
    fields = tuple(name for name in entry.fields if _open(name, node, customer, problems))
    labels = {}
    for named in _entries(node.get("labels")):
        if named.key not in customer:
            unknown(problems, "attribute", named.key, named.key_span, customer)
        else:
            labels[named.key] = read_words(named.value, entry.labels.get(named.key, ""), locale, problems)
    languages = []
    listed = node.get("languages")
    for name in entry.languages:
        if LOCALE.fullmatch(name):
            languages.append(name)
        else:
            problems.error(
                "bad-locale", f"`{name}` is no language", _place(listed, name), "such as `en`, `de` or `fr-CA`"
            )
    if (to := node.get("call_me")) is not None and names_a_field(entry.call_me.strip()):
        hint = "write `account_manager`, a team or an internal e-mail address"
        problems.error("wrong-type", f"`{entry.call_me.strip()}` is no team", to.span, hint)
    return Preferences(fields, labels, tuple(languages), entry.call_me.strip(), _overwrite(node, problems))


def _entries(node: Node | None) -> tuple[Entry, ...]:
    return node.entries if node is not None and node.kind == "map" else ()


def _place(node: Node | None, text: str) -> Span:
    """Where a word of a list stands."""
    assert node is not None
    items = node.items if node.kind == "list" else (node,)
    return next((item.span for item in items if item.kind == "scalar" and item.text == text), node.span)


def _open(name: str, node: Node, customer: Mapping[str, Field], problems: Problems) -> bool:
    at = _place(node.get("fields"), name)
    found = customer.get(name)
    if found is None:
        unknown(problems, "attribute", name, at, [*OPEN_COLUMNS, *(n for n, f in customer.items() if f.column is None)])
        return False
    if name in OPEN_COLUMNS or (found.column is None and found.kind in _OPEN_KINDS):
        return True
    if found.column is None:
        hint = "text, numbers, yes_no, dates and choices can be"
        problems.error("closed-field", f"`{name}` is {found.kind.value}, which nobody can fill in on a page", at, hint)
        return False
    hint = f"these standard fields can be: {', '.join(f'`{n}`' for n in OPEN_COLUMNS)}"
    if name == "locale":
        hint = "name the languages to choose from: `languages: [en, de]`"
    problems.error("closed-field", f"`{name}` cannot be changed by a link in a message", at, hint)
    return False


def _overwrite(node: Node, problems: Problems) -> timedelta | None:
    """None: never; zero: always. A month counts as its share of a year, never less."""
    said = node.get("overwrite")
    text = " ".join(said.text.split()) if said is not None and said.kind == "scalar" else "never"
    if text in ("never", "always"):
        return None if text == "never" else timedelta(0)
    match = re.fullmatch(r"after (.+)", text)
    span = words.duration(match[1]) if match else None
    if said is not None and (span is None or span.business or span.seconds or not (span.months or span.days)):
        message = f"{described(said)} does not say when an import may overwrite what people said themselves"
        problems.error("bad-overwrite", message, said.span, "`never`, `after 12 months` or `always`")
    if span is None:
        return None
    return timedelta(days=span.days - (-span.months * 36_525 // 1_200))


# ---- texts in languages ---------------------------------------------------------------------------------------------


def read_words(node: Node | None, said: Words, locale: str, problems: Problems) -> dict[str, str]:
    """A text by language; one that stands alone is in the workspace's."""
    if isinstance(said, str):
        return {locale: said.strip()} if said.strip() else {}
    found = {}
    for entry in _entries(node):
        if LOCALE.fullmatch(entry.key):
            found[entry.key] = str(said.get(entry.key, "")).strip()
        else:
            hint = "such as `en`, `de` or `fr-CA`"
            problems.error("bad-locale", f"`{entry.key}` is no language", entry.key_span, hint)
    return found


def spoken(texts: Mapping[str, str], locale: str | None, fallback: str) -> str:
    """The text for a reader: her locale, its language, any variant of it, the workspace's, else the first there is."""
    language = (locale or "").partition("-")[0]
    near = next((name for name in texts if language and name.partition("-")[0] == language), "")
    for name in (locale or "", language, near, fallback, fallback.partition("-")[0]):
        if texts.get(name):
            return texts[name]
    return next((text for text in texts.values() if text), "")


# ---- surveys --------------------------------------------------------------------------------------------------------

_TITLE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_TAKEN: Final = frozenset({"survey", "score", "source"})
CheckName = Callable[[str, str, Span, Problems], bool]
"""Tells of a name that cannot be one: name, what of, where."""


def read_surveys(
    node: Node | None, locale: str, problems: Problems, read_ones: Mapping[str, object], names: CheckName
) -> dict[str, Survey]:
    """The surveys that could be read. `read_ones`: what `reading` made of each."""
    found = {}
    kinds: dict[str, tuple[str, Span]] = {}
    for named in _entries(node):
        if not _TITLE.fullmatch(named.key):
            hint = "small letters, digits and dashes: it stands in an address, such as `nps`"
            problems.error("bad-name", f"`{named.key[:60]}` cannot be the name of a survey", named.key_span, hint)
        entry = read_ones.get(named.key)
        if isinstance(entry, SurveyEntry):
            found[named.key] = _survey(named.key, named.value, entry, locale, kinds, problems, names)
    return found


def _survey(
    name: str,
    node: Node,
    entry: SurveyEntry,
    locale: str,
    kinds: dict[str, tuple[str, Span]],
    problems: Problems,
    names: CheckName,
) -> Survey:
    asked = node.get("questions")
    questions = []
    for named in _entries(asked):
        question = entry.questions[named.key]
        if named.key in _TAKEN:
            message = f"`{named.key}` is in every answer already"
            problems.error("name-taken", message, named.key_span, "give the question another name")
        else:
            names(named.key, "question", named.key_span, problems)
        kind = _KINDS[question.kind].value
        other = kinds.setdefault(named.key, (kind, named.key_span))
        if other[0] != kind:
            message = f"`{named.key}` is {kind} here and {other[0]} in another survey (line {other[1].line})"
            problems.error("name-taken", message, named.key_span, "give one of the two another name")
        if (question.kind == "choice") != (len(question.choices) > 1):
            what = "needs two choices or more" if question.kind == "choice" else f"is no choice but {question.kind}"
            hint = "such as `choices: { store: In the shop, web: On the web }`"
            problems.error("bad-survey", f"`{named.key}` {what}", named.key_span, hint)
        questions.append(_question(named.key, named.value, question, locale, problems))
    if not 1 <= len(questions) <= 5 and asked is not None:
        message = f"a survey has one to five questions, and this one {len(questions)}"
        problems.error("bad-survey", message, asked.key_span or asked.span, "people answer what is short")
    return Survey(
        name,
        read_words(node.get("title"), entry.title, locale, problems),
        tuple(questions),
        entry.anonymous == "yes",
        read_words(node.get("thanks"), entry.thanks, locale, problems),
        entry.closes,
    )


def _question(name: str, node: Node, entry: QuestionEntry, locale: str, problems: Problems) -> Question:
    listed = node.get("choices")
    choices = {
        named.key: read_words(named.value, entry.choices[named.key], locale, problems) for named in _entries(listed)
    }
    low, high = {"nps": (0, 10), "scale": (1, entry.up_to)}.get(entry.kind, (0, 0))
    kind: QuestionKind = entry.kind
    return Question(
        name, kind, read_words(node.get("ask"), entry.ask, locale, problems), choices, low, high, entry.needed == "yes"
    )


def answered_event(surveys: Mapping[str, Survey]) -> EventType:
    """The event that answers become: which survey, the first number given, how it came where that was not the page, and
    each question's answer. Of anonymous surveys no event tells."""
    named = {name: survey for name, survey in surveys.items() if not survey.anonymous}
    fields = {
        "survey": Field("survey", Kind.CHOICE, tuple(named)),
        "score": Field("score", Kind.NUMBER),
        "source": Field("source", Kind.CHOICE, SOURCES),
    }
    for survey in named.values():
        for question in survey.questions:
            fields.setdefault(question.name, Field(question.name, _KINDS[question.kind]))
    return EventType(ANSWERED, fields)


def asked_event(surveys: Mapping[str, Survey]) -> EventType:
    """The event of having been asked, of every survey: that somebody was asked says nothing of an answer."""
    return EventType(ASKED, {"survey": Field("survey", Kind.CHOICE, tuple(surveys))})
