"""Texts of messages: files with front matter, checked against what the workspace declares, compiled per locale.

    templates/email/NAME[.LOCALE].mjml   subject, preheader, html, text (or a sibling NAME[.LOCALE].txt)
    templates/sms/NAME[.LOCALE].txt      text
    templates/push/NAME[.LOCALE].yaml    title, body, url
    templates/mail/NAME[.LOCALE].html    html, text
    templates/email/NAME@VARIANT[.LOCALE].mjml   the same, for whom `templates.variant_by` says so
    templates/snippets/…                 for {% include "snippets/…" %}, with locale variants of their own

No file is read here: texts come in by their workspace-relative paths.
"""

from __future__ import annotations

import bisect
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from channels.base import Attachment, Medium
from orchestrator import attached, links, looks, mjml, source, tracking
from orchestrator.gsm import outside, simplified, sms_segments
from orchestrator.jinja import MissingValue, Sandbox, babel_locale, stored_names
from orchestrator.model import Vocabulary
from orchestrator.problems import Problem, Problems, Span, suggest
from orchestrator.proof import Names, Proof, tags
from orchestrator.skeleton import Compiled, Part, RenderFailed, compile_parts

__all__ = [
    "Compiled",
    "MissingValue",
    "RenderFailed",
    "Template",
    "Templates",
    "compile_text",
    "context_names",
    "load_templates",
    "proofread",
    "sms_segments",
]

_SUFFIX = {Medium.EMAIL: ".mjml", Medium.SMS: ".txt", Medium.PUSH: ".yaml", Medium.MAIL: ".html"}
_COMMON = frozenset(["topic", "description", "missing_variable"])
_OPTIONS = {
    Medium.EMAIL: _COMMON | {"utm", "subject", "preheader", "from", "reply_to", "attachments", "invitation"},
    Medium.SMS: _COMMON | {"utm", "from"},
    Medium.PUSH: _COMMON | {"utm", "title", "body", "url", "image", "collapse_key"},
    Medium.MAIL: _COMMON | {"format"},
}
_TEXTS = {Medium.EMAIL: ("subject", "preheader"), Medium.PUSH: ("title", "body", "url")}
_REQUIRED = {Medium.EMAIL: ("subject",), Medium.PUSH: ("title", "body")}
_UTM = ("campaign", "content", "medium", "source", "term")
_ONE_OF = {"missing_variable": ("skip_recipient", "default"), "format": ("A4", "A5", "letter")}
_CAPS = {
    "subject": 500,
    "preheader": 1_000,
    "title": 250,
    "body": 1_000,
    "url": 2_000,
    "text": 200_000,
    "html": 500_000,
}  # up to 1,600 in characters, above in bytes
VARIANT = "@"
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?")
_INCLUDE = re.compile(r"\{%[-+]?\s*include\s+([\"'])(?P<path>.+?)\1\s*[-+]?%\}\s*")
_UTM_VALUE = re.compile("[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,100}")
_LINE_BREAK = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Template:
    """A text in all its locales. `options` is the front matter of the default variant, as plain values."""

    medium: Medium
    name: str
    topic: str
    span: Span
    default: str
    options: Mapping[str, Any]
    files: tuple[str, ...]
    hash: str
    names: frozenset[str]
    _variants: Mapping[str, Compiled] = field(repr=False)
    _options: Mapping[str, Mapping[str, Any]] = field(repr=False)
    _attached: Mapping[str, tuple[Attachment, ...]] = field(repr=False, default_factory=dict)
    _counted: Mapping[str, Compiled] = field(repr=False, default_factory=dict)
    links: frozenset[str] = frozenset()
    """What its counted links lead to; none where nobody counts them."""
    _chosen: dict[tuple[str, bool], Compiled] = field(repr=False, default_factory=dict)

    @property
    def locales(self) -> tuple[str, ...]:
        return tuple(self._variants)

    def compiled(self, locale: str | None, counted: bool = False) -> Compiled:
        """The variant for a locale such as `fr-CA`: its own, its language's, else the workspace's. `counted`: with
        addresses of ours for its links, so that clicks are told.

        `Compiled.locale` says which. Numbers and dates follow the asked locale where the language is the same. All
        locales that get one variant share its skeleton object.
        """
        asked = locale or "", counted
        found = self._chosen.get(asked)
        if found is None:
            found = self._choose(asked[0].replace("_", "-"), {**self._variants, **(self._counted if counted else {})})
            if len(self._chosen) < 500:
                self._chosen[asked] = found
        return found

    def options_for(self, locale: str | None) -> Mapping[str, Any]:
        """Front matter for a locale: the variant's own over the default's."""
        return self._options[self.compiled(locale).locale]

    def attachments_for(self, locale: str | None) -> tuple[Attachment, ...]:
        """The files that go with it, the same object for all locales that get one variant."""
        return self._attached.get(self.compiled(locale).locale, ())

    def _choose(self, asked: str, variants: Mapping[str, Compiled]) -> Compiled:
        variant = next((variants[name] for name in _chain(asked) if name in variants), None)
        if variant is None:
            return variants[self.default]
        written = babel_locale(asked)
        return variant.for_locale(written) if written else variant


class Templates:
    """All texts of a workspace, by medium and name."""

    def __init__(self, templates: Sequence[Template] = ()) -> None:
        self._all = {(t.medium, t.name): t for t in templates}

    def get(self, medium: Medium | str, name: str) -> Template | None:
        return self._all.get((Medium(medium), name))

    def names(self, medium: Medium | str) -> tuple[str, ...]:
        return tuple(sorted(name for kind, name in self._all if kind == medium))

    def every(self, medium: Medium | str, name: str) -> tuple[Template, ...]:
        """A text with its variants; none when there is no such text."""
        own = self.get(medium, name)
        beside = f"{name}{VARIANT}"
        others = (t for t in self if t.medium == medium and t.name.startswith(beside)) if own is not None else ()
        return () if own is None else (own, *others)

    def chosen(self, medium: Medium | str, name: str, variant: str, locale: str | None) -> Template | None:
        """The text for somebody: the variant, unless only the text itself is there in their language."""
        own = self.get(medium, name)
        other = self.get(medium, f"{name}{VARIANT}{variant}") if variant else None
        if own is None or other is None:
            return own
        mine = locale is not None and not _speaks(other, locale) and _speaks(own, locale)
        return own if mine else other

    def __iter__(self) -> Iterator[Template]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)


def load_templates(
    files: Mapping[str, str],
    vocabulary: Vocabulary,
    problems: Problems,
    *,
    looked_at: bool = False,
) -> Templates:
    """Every text under templates/, checked and compiled; one with an error is left out. `files`: path → text.

    `looked_at`: warns of e-mails that are hard to read, too."""
    own = Problems()
    loaded = Loader(files, vocabulary, own, looked_at).load()
    # A mistake in a snippet is one mistake, however many texts include it.
    problems.found.extend(dict.fromkeys(own.found))
    return loaded


def proofread(text: str, span: Span, vocabulary: Vocabulary, problems: Problems) -> None:
    """Tells what is wrong with a text written in a journey."""

    def locate(offset: int, length: int) -> Span:
        inset = (span.end_col - span.col - len(text)) // 2
        if span.line != span.end_line or inset not in (0, 1):
            return span
        return Span(span.file, span.line, span.col + inset + offset, span.line, span.col + inset + offset + length)

    Proof(Names(vocabulary), problems).text(text, locate)


def compile_text(
    text: str, span: Span, vocabulary: Vocabulary, problems: Problems, medium: Medium = Medium.TASK
) -> Compiled:
    """A text written in a journey, such as a task's message: one part, `text`. Empty when it has problems."""
    before = len(problems.errors)
    proofread(text, span, vocabulary, problems)
    good = len(problems.errors) == before
    cap = 1_600 if medium == Medium.SMS else 20_000
    return compile_parts(_sandbox(vocabulary), [Part("text", text.strip() if good else "", cap=cap)], vocabulary.locale)


def context_names(template: Template | Compiled) -> frozenset[str]:
    """The dotted names a context must hold, a money value's currency among them; `workspace` is built in."""
    return frozenset(name for name in template.names if name.partition(".")[0] != "workspace")


# ---------------------------------------------------------------------------------------------------------- files


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    text: str
    head: source.Node | None
    body: int  # where the body begins in `text`
    lines: tuple[int, ...]

    def locate(self, offset: int, length: int) -> Span:
        """The place of a stretch of the body."""
        first, last = self._at(self.body + offset), self._at(self.body + offset + max(1, length) - 1)
        return Span(self.path, first[0], first[1], last[0], last[1] + 1)

    def _at(self, offset: int) -> tuple[int, int]:
        line = bisect.bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1


def _read(path: str, text: str, problems: Problems, headed: bool) -> _File:
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = (0, *(m.end() for m in re.finditer("\n", text)))
    head, body = None, 0
    if headed and text.startswith("---\n"):
        end = re.compile(r"^---[ \t]*(\n|\Z)", re.MULTILINE).search(text, 4)
        if end is None:
            problems.error("front-matter", "the front matter is not closed", Span(path, 1, 1, 1, 4), "add a line `---`")
        else:
            body = end.end()
            head = source.parse(text[: end.start()], path, problems)
    return _File(path, text, head, body, lines)


def _chain(locale: str) -> Iterator[str]:
    """`fr-CA`, `fr`."""
    while locale:
        yield locale
        locale = locale.rpartition("-")[0]


def _speaks(template: Template, locale: str) -> bool:
    """Whether it is there in somebody's language."""
    return any(name in template.locales for name in _chain(locale.replace("_", "-")))


def _sandbox(vocabulary: Vocabulary, blank: bool = False) -> Sandbox:
    sender = {"name": vocabulary.workspace, "postal_address": "", **vocabulary.sender}
    workspace = {
        "name": vocabulary.workspace,
        "sender": sender,
        "currency": vocabulary.currency,
        "timezone": vocabulary.timezone,
        "locale": vocabulary.locale,
    }
    return Sandbox(
        {"workspace": workspace},
        locale=vocabulary.locale,
        currency=vocabulary.currency,
        timezone=vocabulary.timezone,
        blank=blank,
    )


class Loader:
    """All texts of a workspace, being read."""

    def __init__(
        self, files: Mapping[str, str], vocabulary: Vocabulary, problems: Problems, looked_at: bool = False
    ) -> None:
        self.texts = files
        self.looked_at = looked_at
        self.known: set[str] = set()  # files of texts that need not be read
        self.vocabulary = vocabulary
        self.problems = problems
        self.proof = Proof(Names(vocabulary), problems)
        self.sandboxes = {blank: _sandbox(vocabulary, blank) for blank in (False, True)}
        self.files: dict[str, _File] = {}
        self.proofed: dict[tuple[str, frozenset[str]], tuple[nodes.Template | None, list[Problem]]] = {}
        self.used: set[str] = set()

    def load(self) -> Templates:
        found: dict[tuple[Medium, str], dict[str, str]] = {}
        for path in sorted(self.texts):
            medium, name, locale = self._classify(path)
            if medium is None:
                continue
            variants = found.setdefault((medium, name), {})
            if locale in variants:
                other = variants[locale]
                message = f"`{path.rpartition('/')[2]}` and `{other.rpartition('/')[2]}` are both the text for {locale}"
                self.problems.error("two-variants", message, Span.whole(path), "keep one of them")
            else:
                variants[locale] = path
        loaded = [self.template(medium, name, variants) for (medium, name), variants in found.items()]
        self._check_variants({key: min(paths.values()) for key, paths in found.items()}, loaded)
        for path in sorted(self.texts):
            if (
                path.startswith("templates/snippets/")
                and path not in self.files.keys() | self.known
                and not _hidden(path)
            ):
                file = self._file(path, headed=False)
                self._checked(file)
        return Templates([template for template in loaded if template is not None])

    def _classify(self, path: str) -> tuple[Medium | None, str, str]:
        """Medium, name and locale of a template; no medium for a snippet, a plain-text sibling, or what is neither."""
        nothing = (None, "", "")
        _, _, rest = path.partition("templates/")
        folder, _, name = rest.partition("/")
        if _hidden(path) or folder in ("snippets", "attachments") or not path.startswith("templates/"):
            return nothing
        if not name or folder not in {str(m) for m in _SUFFIX}:
            hint = suggest(folder, ["snippets", "attachments", *(str(m) for m in _SUFFIX)])
            self.problems.error("misplaced-file", f"there is no medium `{folder}`", Span.whole(path), hint)
            return nothing
        medium = Medium(folder)
        stem, dot, suffix = name.rpartition(".")
        if medium == Medium.EMAIL and suffix == "txt":
            if f"templates/email/{stem}.mjml" not in self.texts:
                message = f"this is the text part of `{stem}.mjml`, which does not exist"
                self.problems.error("misplaced-file", message, Span.whole(path), "rename it, or add the e-mail")
            return nothing
        if dot + suffix != _SUFFIX[medium]:
            message = f"{folder} templates end in `{_SUFFIX[medium]}`"
            self.problems.error("misplaced-file", message, Span.whole(path), f"rename it to `{stem}{_SUFFIX[medium]}`")
            return nothing
        base, _, locale = stem.rpartition(".")
        if base and _LOCALE.fullmatch(locale):
            return medium, base, locale
        return medium, stem, self.vocabulary.locale

    def _check_variants(self, written: Mapping[tuple[Medium, str], str], loaded: Sequence[Template | None]) -> None:
        """`NAME@health` is a variant of `NAME`, of the same topic, for a value there is."""
        by = self.vocabulary.variant_by
        unit, _, name = by.partition(".")
        fields = self.vocabulary.customer if unit == "customer" else self.vocabulary.account
        choices = fields[name].choices if name in fields else ()
        topics = {(t.medium, t.name): t.topic for t in loaded if t is not None}
        for (medium, full), path in written.items():
            base, sign, value = full.partition(VARIANT)
            if not sign or by == "?":  # what is wrong with the choice is told where it stands
                continue
            span = Span.whole(path)
            if not by:
                hint = "say by what: `templates: { variant_by: account.industry }` in workspace.yaml"
                self.problems.error("bad-variant", f"`{full}` is a variant, and texts have none", span, hint)
            elif value not in choices:
                self.problems.error("bad-variant", f"`{by}` is never `{value}`", span, suggest(value, choices))
            elif (medium, base) not in written:
                hint = f"add `{base}{_SUFFIX[medium]}`, for everybody else"
                self.problems.error("bad-variant", f"`{full}` is a variant of no text", span, hint)
            elif (own := topics.get((medium, full))) and own != topics.get((medium, base), own):
                message = f"the topic differs from that of `{base}`, `{topics[medium, base]}`"
                self.problems.error("topic-differs", message, span, "one template has one topic in all its variants")

    def _file(self, path: str, headed: bool = True) -> _File:
        if path not in self.files:
            self.files[path] = _read(path, self.texts[path], self.problems, headed)
        return self.files[path]

    # ------------------------------------------------------------------------------------------ one template

    def template(self, medium: Medium, name: str, variants: Mapping[str, str]) -> Template | None:
        """One text in all its languages (locale → path), checked and compiled; None when it has an error."""
        before = len(self.problems.errors)
        self.used = set()
        default = self.vocabulary.locale
        if default not in variants:
            path = variants[min(variants)]
            hint = f"add `{name}{_SUFFIX[medium]}`, or `{name}.{default}{_SUFFIX[medium]}`"
            self.problems.error("no-default-locale", f"`{name}` has no text for `{default}`", Span.whole(path), hint)
            default = min(variants)
        order = [default, *sorted(set(variants) - {default})]
        options: dict[str, dict[str, Any]] = {}
        compiled: dict[str, Compiled] = {}
        counted: dict[str, tuple[Compiled, frozenset[str]]] = {}
        files_of: dict[str, tuple[Attachment, ...]] = {}
        for locale in order:
            head = self._head(medium, variants[locale], locale == default)
            files_of[locale] = self._files(head) or files_of.get(default, ())
            own = {e.key: e.value.plain() for e in head.entries} if head else {}
            options[locale] = {**options.get(default, {}), **own}
            self._same_topic(head, options[default].get("topic"))
            try:
                made = self._variant(medium, variants[locale], head, locale, options[locale])
            except TemplateSyntaxError as error:
                made = None
                if len(self.problems.errors) == before:
                    message = f"the tags of this text do not match once it is put together: {error.message}"
                    span, hint = Span.whole(variants[locale]), "open and close a tag in the same file and element"
                    self.problems.error("text-syntax", message, span, hint)
            except (RecursionError, SyntaxError):  # snippets in snippets; Python has bounds of its own
                made = None
                message = "this text is nested too deeply once it is put together"
                hint = "take a snippet out, or a loop"
                self.problems.error("text-syntax", message, Span.whole(variants[locale]), hint)
            if made is not None:
                compiled[locale] = made
                if (links := self._with_clicks(medium, made, str(options[default].get("topic")))) is not None:
                    counted[locale] = links
        if len(self.problems.errors) > before or not compiled:
            return None
        files = tuple(sorted(self.used))
        fixed = source.digest(*(part for path in files for part in (path, self.texts[path])), repr(self._constants()))
        return Template(
            medium=medium,
            name=name,
            topic=str(options[default]["topic"]),
            span=Span.whole(variants[default]),
            default=default,
            options=options[default],
            files=files,
            hash=fixed,
            names=frozenset().union(*(c.names for c in compiled.values())),
            _variants=compiled,
            _options=options,
            _attached=files_of,
            _counted={locale: made for locale, (made, _) in counted.items()},
            links=frozenset().union(*(links for _, links in counted.values())),
        )

    def _with_clicks(self, medium: Medium, made: Compiled, topic: str) -> tuple[Compiled, frozenset[str]] | None:
        """The same text with counted links, and what they lead to; None where it has none, or nobody counts them."""
        declared = self.vocabulary.topics.get(topic)
        if medium is Medium.MAIL or not self.vocabulary.policies.tracking.clicks or not (declared and declared.tracked):
            return None
        parts, links = tracking.with_clicks(made.parts, medium)
        return (made.again(parts), links) if links else None

    def _constants(self) -> Mapping[str, Any]:
        return self.sandboxes[False].constants

    def _head(self, medium: Medium, path: str, default: bool) -> source.Node | None:
        """The front matter's node, its keys and plain options checked."""
        file = self._file(path, headed=medium != Medium.PUSH)
        before = len(self.problems.errors)
        head = source.parse(file.text, path, self.problems) if medium == Medium.PUSH else file.head
        if head is None or head.kind != "map":
            if len(self.problems.errors) == before and not any(p.span.file == path for p in self.problems.errors):
                what = "this file" if medium == Medium.PUSH else "a template"
                hint = "write `---`, `topic: …`, `---`" if medium != Medium.PUSH else "write `topic: …`, `title: …`"
                self.problems.error("front-matter", f"{what} begins with its keys", Span.whole(path), hint)
            return None
        allowed = _OPTIONS[medium]
        for entry in head.entries:
            if entry.key not in allowed:
                message = f"`{entry.key}` is not a key of {medium} templates"
                self.problems.error("unknown-key", message, entry.key_span, suggest(entry.key, allowed))
            elif entry.key == "utm":
                self._utm(entry.value)
            elif entry.key == "invitation":
                continue  # read with the files
            elif entry.value.kind != ("list" if entry.key == "attachments" else "scalar"):
                what = "a list of files" if entry.key == "attachments" else "one value"
                self.problems.error("bad-value", f"`{entry.key}` takes {what}", entry.value.span, "")
            elif entry.key in _ONE_OF and entry.value.text not in _ONE_OF[entry.key]:
                message, hint = f"`{entry.key}` cannot be `{entry.value.text}`", suggest("", _ONE_OF[entry.key])
                self.problems.error("bad-value", message, entry.value.span, hint)
            elif entry.key in ("from", "reply_to", "collapse_key") and _LINE_BREAK.search(entry.value.text):
                message = f"`{entry.key}` must stay on one line"
                self.problems.error("line-break", message, entry.value.span, "remove the line break")
        needed = [*(("topic",) if default else ()), *_REQUIRED.get(medium, ())]
        for key in needed:
            node = head.get(key)
            if node is None or node.empty or (node.kind == "scalar" and not node.text.strip()):
                span = node.span if node else Span.whole(path)
                self.problems.error(f"missing-{key}", f"this text has no {key}", span, f"add `{key}: …`")
        return head

    def _files(self, head: source.Node | None) -> tuple[Attachment, ...]:
        """What an e-mail's front matter attaches."""
        listed, invited = (head.get(key) if head else None for key in ("attachments", "invitation"))
        found: tuple[Attachment, ...] = ()
        if listed is not None and listed.kind == "list":
            found, paths = attached.attachments(listed, self.texts, self.problems)
            self.used.update(paths)
        if invited is not None:
            made = attached.invitation(invited, self.vocabulary.timezone, self.vocabulary.sender, self.problems)
            found = (*found, made) if made else found
        return found

    def _utm(self, node: source.Node) -> None:
        if node.kind != "map":
            hint = "write `utm: { campaign: spring }`"
            self.problems.error("bad-value", "`utm` takes names and values", node.span, hint)
        for entry in node.entries:
            said = entry.value
            if entry.key not in _UTM:
                message = f"`{entry.key}` is not a utm parameter"
                self.problems.error("unknown-key", message, entry.key_span, suggest(entry.key, _UTM))
            elif said.kind != "scalar" or not _UTM_VALUE.fullmatch(said.text.strip()) or "{" in said.text:
                hint = "such as `spring-sale`: the same for everybody, on one line, at most 100 characters"
                self.problems.error("bad-value", f"`{entry.key}` takes a fixed text", said.span, hint)

    def _same_topic(self, head: source.Node | None, wanted: Any) -> None:
        node = head.get("topic") if head else None
        if node is None or node.empty:
            return
        if node.text not in self.vocabulary.topics:
            hint = suggest(node.text, self.vocabulary.topics)
            self.problems.error("unknown-topic", f"there is no topic `{node.text}`", node.span, hint)
        elif node.text != wanted and wanted in self.vocabulary.topics:
            message = f"the topic differs from the default text's, `{wanted}`"
            self.problems.error("topic-differs", message, node.span, "one template has one topic in all languages")

    def _variant(
        self, medium: Medium, path: str, head: source.Node | None, locale: str, options: Mapping[str, Any]
    ) -> Compiled | None:
        before = len(self.problems.errors)
        self.used.add(path)
        parts = [self._line(key, head) for key in _TEXTS.get(medium, ())]
        texts = {part.name: part.source for part in parts}
        if medium != Medium.PUSH:
            file = self._file(path)
            page = mjml.Masked()
            self._expand(file, page, locale, (), medium != Medium.EMAIL)
            if len(self.problems.errors) == before and not page.text.strip():
                self.problems.error("missing-text", "this text is empty", Span.whole(path), "write it below the `---`")
            elif len(self.problems.errors) == before:
                if medium != Medium.SMS:
                    mjml.guard(page, self.problems)
                parts += self._body(medium, page, texts, locale, path)
        if len(self.problems.errors) > before or head is None:
            return None
        sandbox = self.sandboxes[options.get("missing_variable") == "default"]
        if medium is not Medium.MAIL:  # nobody types parameters that are printed
            utm = {name: str(value).strip() for name, value in (options.get("utm") or {}).items()}
            parts = tracking.with_utm([part for part in parts if part.source], utm)
        compiled = compile_parts(sandbox, [part for part in parts if part.source], locale)
        if medium == Medium.SMS:
            self._size(file, compiled)
        return compiled

    def _size(self, file: _File, compiled: Compiled) -> None:
        """Tells of a text message that takes several segments for everybody: each is charged as one."""
        fixed = "".join(compiled.skeleton.parts["text"])
        smart = self.vocabulary.policies.texts == "smart"
        found = sms_segments(simplified(fixed) if smart else fixed)
        if found.segments < 2:
            return
        odd = outside(simplified(fixed) if smart else fixed)
        body = file.text[file.body :]
        at = next((n for n, c in enumerate(body) if (c in odd if odd else not c.isspace())), 0)
        message = f"this text goes out as {found.segments} segments at least, and each is charged as a text"
        hint = "one segment has 160 characters, each of several 153: can it be said in fewer words?"
        if odd:
            without = sms_segments("".join(c for c in fixed if c not in odd)).segments
            named = " ".join(f"`{c}`" for c in odd[:5]) + (" …" if len(odd) > 5 else "")
            hint = f"because of {named} a segment has 70 characters and not 160: without, it would be {without}"
        self.problems.warning("long-text", message, file.locate(at, 1), hint)

    def _line(self, key: str, head: source.Node | None) -> Part:
        """A part written in the front matter."""
        node = head.get(key) if head else None
        if node is None or node.empty:
            return Part(key, "")
        if node.kind != "scalar":
            return Part(key, "")  # told with its key
        text = node.text.strip()
        inset = len(node.text) - len(node.text.lstrip())
        self.proof.text(text, lambda offset, length: node.at(offset + inset, length))
        one_line = key != "body"
        if one_line and _LINE_BREAK.search(text):
            self.problems.error("line-break", f"`{key}` must stay on one line", node.span, "remove the line break")
        text = mjml.as_address(text) if key == "url" else text
        return Part(key, text, line=one_line, cap=_CAPS[key])

    def _body(
        self, medium: Medium, page: mjml.Masked, texts: Mapping[str, str], locale: str, path: str
    ) -> Sequence[Part]:
        if medium == Medium.SMS:
            return [Part("text", page.restore(page.text).strip(), cap=1_600)]
        if medium == Medium.MAIL:
            written = page.restore(page.text).rstrip("\n")
            return [Part("html", written, escape=True), Part("text", mjml.page_text(page), cap=_CAPS["text"])]
        title, preview = (_escaped(page, texts.get(key, "")) for key in ("subject", "preheader"))
        made = mjml.compile_page(page, self.problems, lang=locale, title=title, preview=preview)
        if made is None:
            return []
        if self.looked_at:
            looks.look(page, self.problems)
            links.check_links(page, self.problems)
        text = made.text
        sibling = path.removesuffix(".mjml") + ".txt"
        if sibling in self.texts:
            own = mjml.Masked()
            self.used.add(sibling)
            self._expand(self._file(sibling, headed=False), own, locale, (), True)
            text = own.restore(own.text).strip()
        return [Part("html", made.html, escape=True, cap=_CAPS["html"]), Part("text", text, cap=_CAPS["text"])]

    # ---------------------------------------------------------------------------------------------- includes

    def _checked(self, file: _File, local: frozenset[str] = frozenset()) -> nodes.Template | None:
        """The file's tree. What is wrong in it is told again for each text that includes it; load_templates takes
        the repetitions out."""
        key = file.path, local
        if key not in self.proofed:
            before = len(self.problems.found)
            tree = self.proof.text(file.text[file.body :], file.locate, local)
            self.proofed[key] = tree, self.problems.found[before:]
            return tree
        tree, told = self.proofed[key]
        self.problems.found.extend(told)
        return tree

    def _expand(
        self,
        file: _File,
        page: mjml.Masked,
        locale: str,
        stack: tuple[str, ...],
        comments: bool,
        local: frozenset[str] = frozenset(),
    ) -> None:
        """Adds a file's body with its includes in place, as Jinja would include them."""
        self.used.add(file.path)
        tree = self._checked(file, local)
        if tree is None:
            return
        local |= stored_names(tree)
        body = file.text[file.body :].removesuffix("\n")
        skip = False
        for kind, start, end, note in tags(body):
            text = body[start:end]
            if skip:  # Jinja takes the line break behind an include away
                start, text, skip = start + text.startswith("\n"), text.removeprefix("\n"), False
            include = _INCLUDE.fullmatch(text) if kind == "control" else None
            if include:
                span = file.locate(start + include.start("path") - 1, len(include["path"]) + 2)
                found = self._snippet(include["path"], locale, span, (*stack, file.path))
                if found is not None:
                    self._expand(found, page, locale, (*stack, file.path), comments, local)
                skip = True
            elif note == "comment" and not comments:
                continue
            else:
                page.add(text, file.locate, start, kind)

    def _snippet(self, name: str, locale: str, span: Span, stack: tuple[str, ...]) -> _File | None:
        stem, _, suffix = name.rpartition(".")
        candidates = [f"templates/{stem}.{part}.{suffix}" for part in _chain(locale)] + [f"templates/{name}"]
        path = next((c for c in candidates if c in self.texts), None)
        if path is None or not name.startswith("snippets/"):
            snippets = [p.removeprefix("templates/") for p in self.texts if p.startswith("templates/snippets/")]
            self.proof.tell("no-such-snippet", f"there is no snippet `{name}`", span, suggest(name, snippets))
            return None
        if path in stack:
            names = [p.rpartition("/")[2] for p in stack[stack.index(path) :]]
            message = f"these include each other: {' → '.join([*names, path.rpartition('/')[2]])}"
            self.proof.tell("include-loop", message, span, "take this include out")
            return None
        return self._file(path, headed=False)


def _hidden(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith(".") or name.endswith(".md")


def _escaped(page: mjml.Masked, text: str) -> str:
    """A one-line Jinja text masked for the inside of an HTML element or attribute."""
    try:
        parts = [
            html.escape(text[start:end]) if kind is None else page.mask(text[start:end], kind)
            for kind, start, end, _ in tags(text)
        ]
    except TemplateSyntaxError:
        return ""
    return "".join(parts)
