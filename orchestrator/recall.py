"""What an earlier `check` found out, so that only what has changed is looked at again.

Nothing here decides what is right: an entry counts as long as the key it was put down under is the same, and the key
holds all that it hangs on. What is kept is plain JSON and only ever of things without an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cache
from typing import Any, TypeVar

from channels.base import Medium
from orchestrator import attached
from orchestrator.model import Vocabulary
from orchestrator.problems import Problem, Problems, Span
from orchestrator.source import digest
from orchestrator.template import Loader, Template, Templates

Entry = dict[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class Recall:
    """`about`: what everything hangs on (the program, what the workspace declares). `before` is what was read, `after`
    what is to be kept: entries that nothing asked for are forgotten."""

    about: str
    before: Mapping[str, Entry] = field(default_factory=dict)
    after: dict[str, Entry] = field(default_factory=dict)

    def key(self, *texts: str) -> str:
        return digest(self.about, *texts)

    def found(self, place: str, key: str) -> Entry | None:
        """What was found out of a place, when nothing of the key has changed since."""
        entry = self.before.get(place)
        if entry is None or entry.get("key") != key:
            return None
        self.after[place] = entry
        return entry

    def keep(self, place: str, key: str, **said: Any) -> Entry:
        """Puts down what was found out of a place."""
        entry = self.after[place] = {"key": key, **said}
        return entry

    @property
    def changed(self) -> bool:
        return self.before.keys() != self.after.keys() or any(self.before[k] is not v for k, v in self.after.items())


class Later(Mapping[str, T]):
    """Some values by name, made all at once when the first of them is asked for."""

    def __init__(self, names: Iterable[str], make: Callable[[], Mapping[str, T]]) -> None:
        self._names = tuple(names)
        self._make = make
        self._made: Mapping[str, T] | None = None

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        if self._made is None:
            self._made = self._make()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


def packed(problems: Iterable[Problem]) -> list[Any]:
    """Problems as plain JSON."""
    return [[p.code, p.message, list(astuple(p.span)), p.hint, p.severity] for p in problems]


def unpacked(listed: Iterable[Any]) -> list[Problem]:
    return [Problem(code, message, Span(*span), hint, severity) for code, message, span, hint, severity in listed]


# ---- texts ----------------------------------------------------------------------------------------------------------


def load_templates(
    files: Mapping[str, str], vocabulary: Vocabulary, problems: Problems, recall: Recall, *, looked_at: bool = False
) -> Templates:
    """As `template.load_templates`; texts that have not changed are compiled only when somebody asks for words."""
    own = Problems()
    loaded = _Recalling(files, vocabulary, own, recall, looked_at).load()
    problems.found.extend(dict.fromkeys(own.found))
    return loaded


class _Recalling(Loader):
    def __init__(
        self, files: Mapping[str, str], vocabulary: Vocabulary, problems: Problems, recall: Recall, looked_at: bool
    ) -> None:
        super().__init__(files, vocabulary, problems, looked_at)
        self.recall = recall
        self.shared = _shared(files, looked_at)

    def template(self, medium: Medium, name: str, variants: Mapping[str, str]) -> Template | None:
        beside = [path.removesuffix(".mjml") + ".txt" for path in variants.values()]
        paths = [*sorted(variants.values()), *(path for path in beside if path in self.texts)]
        key = self.recall.key(self.shared, *(part for path in paths for part in (path, self.texts[path])))
        entry = self.recall.found(place(medium, name), key)
        if entry is None:
            before = len(self.problems.found)
            made = super().template(medium, name, variants)
            if made is not None:
                warned = packed(self.problems.found[before:])
                self.recall.keep(place(medium, name), key, warned=warned, **_put_down(made))
            return made
        self.problems.found.extend(unpacked(entry["warned"]))
        self.known.update(entry["files"])

        @cache
        def whole() -> Template:
            again = Loader(self.texts, self.vocabulary, Problems()).template(medium, name, variants)
            assert again is not None, "it was sound before"
            return again

        return _taken_up(medium, name, entry, whole)


def place(medium: Medium, name: str) -> str:
    """Under which name a text's entry is kept."""
    return f"{medium}/{name}"


def _shared(files: Mapping[str, str], looked_at: bool) -> str:
    """What any text may hang on beside its own files."""
    beside = [path for path in sorted(files) if path.startswith(("templates/snippets/", attached.FOLDER))]
    return digest(str(looked_at), *(part for path in beside for part in (path, files[path])))


def _put_down(made: Template) -> dict[str, Any]:
    """What is known of a text without compiling it, as plain JSON."""
    return {
        "topic": made.topic,
        "span": list(astuple(made.span)),
        "default": made.default,
        "options": {locale: dict(said) for locale, said in made._options.items()},
        "files": list(made.files),
        "hash": made.hash,
        "names": {locale: sorted(compiled.names) for locale, compiled in made._variants.items()},
        "counted": list(made._counted),
        "links": sorted(made.links),
        "attached": list(made._attached),
    }


def _taken_up(medium: Medium, name: str, entry: Mapping[str, Any], whole: Callable[[], Template]) -> Template:
    """The text that an entry is of; `whole` compiles it."""
    names: Mapping[str, Sequence[str]] = entry["names"]
    return Template(
        medium=medium,
        name=name,
        topic=entry["topic"],
        span=Span(*entry["span"]),
        default=entry["default"],
        options=entry["options"][entry["default"]],
        files=tuple(entry["files"]),
        hash=entry["hash"],
        names=frozenset().union(*names.values()),
        _variants=Later(names, lambda: whole()._variants),
        _options=entry["options"],
        _attached=Later(entry["attached"], lambda: whole()._attached),
        _counted=Later(entry["counted"], lambda: whole()._counted),
        links=frozenset(entry["links"]),
    )
