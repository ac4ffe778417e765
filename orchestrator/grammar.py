"""The grammar of conditions: a text becomes a tree with places, or one mistake told in a marketer's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

Parsed = Tree[Token] | Token
Stretch = tuple[int, int]
"""From and to, as offsets into the condition's text."""

_GRAMMAR = r"""
?start: or_
?or_: and_ (_OR and_)*
?and_: not_ (_AND not_)*
?not_: _NOT not_ -> negation
     | comparison
?comparison: sum
     | sum COMPARE sum -> compare
     | sum _IN list -> one_of
     | sum _NOT _IN list -> none_of
     | sum _IS test -> is_
     | sum _IS _NOT test -> is_not
list: "[" [sum ("," sum)*] "]"
test: SET
    | _IN PAST
    | _IN FUTURE
    | _WITHIN NEXT span
    | _WITHIN LAST span
    | MORE _THAN span _AGO
    | LESS _THAN span _AGO
span: NUMBER NAME
?sum: product
    | sum PLUS product -> arithmetic
    | sum MINUS product -> arithmetic
?product: sign
    | product STAR sign -> arithmetic
    | product SLASH sign -> arithmetic
?sign: MINUS sign -> negative
    | atom
?atom: NAME
    | NUMBER
    | DATE
    | STRING
    | STEP
    | NUMBER NAME -> quantity
    | NAME "(" [argument ("," argument)*] ")" -> call
    | NAME _CONTACT "(" or_ ")" -> of_contacts
    | _IN SEGMENT "(" argument ")" -> in_segment
    | "(" or_ ")" -> group
argument: or_ [_WHERE or_]

_OR.1: /or(?![\w.])/
_AND.1: /and(?![\w.])/
_NOT.1: /not(?![\w.])/
_IN.1: /in(?![\w.])/
_IS.1: /is(?![\w.])/
_WHERE.1: /where(?![\w.])/
_WITHIN.1: /within(?![\w.])/
_THAN.1: /than(?![\w.])/
_AGO.1: /ago(?![\w.])/
SET.1: /set(?![\w.])/
PAST.1: /past(?![\w.])/
FUTURE.1: /future(?![\w.])/
NEXT.1: /next(?![\w.])/
LAST.1: /last(?![\w.])/
MORE.1: /more(?![\w.])/
LESS.1: /less(?![\w.])/
SEGMENT.1: /segment(?![\w.])/
_CONTACT.1: /contact(?![\w.])/
COMPARE: /==|!=|<=|>=|<(?!>)|>/
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
NAME: /[^\W\d]\w*(?:\.[^\W\d]\w*)*/
STEP.2: /[^\W\d]\w*:[\w.#\/-]+/
DATE.3: /\d{4}-\d{2}-\d{2}(?![\w-])/
NUMBER: /\d+(?:\.\d+)?/
STRING: /"[^"\n]*"|'[^'\n]*'/
%ignore /\s+/
"""

MAX_CHARACTERS = 10_000
MAX_DEPTH = 40
MAX_PARTS = 200

_VALUE = frozenset({"NAME", "NUMBER", "STRING", "DATE"})
_SAYINGS = {
    "COMPARE": "a comparison such as `==`", "_IS": "`is`", "_IN": "`in`",
    "RPAR": "`)`", "LPAR": "`(`", "RSQB": "`]`", "LSQB": "`[`", "COMMA": "`,`", "SET": "`set`", "PAST": "`past`",
    "FUTURE": "`future`", "_WITHIN": "`within`", "NEXT": "`next`", "LAST": "`last`", "MORE": "`more than`",
    "LESS": "`less than`", "_THAN": "`than`", "_AGO": "`ago`", "SEGMENT": "`segment`", "_WHERE": "`where`",
    "_NOT": "`not`", "$END": "the end",
}  # fmt: skip
_WRONG_WORDS = {
    "AND": "write it small: `and`", "OR": "write it small: `or`", "NOT": "write it small: `not`",
    "IN": "write it small: `in`", "IS": "write it small: `is`", "equals": "compare with `==`",
    "contains": "a text can be compared whole, with `==` or `in [A, B]`, not searched",
    "like": "a text can be compared whole, with `==` or `in [A, B]`, not searched",
    "between": "write two comparisons: `X >= 1 and X <= 5`", "null": "write `is not set`",
    "empty": "write `is not set`", "missing": "write `is not set`", "unknown": "write `is not set`",
    "true": "write the field alone, or `== yes`", "false": "write `not` before the field, or `== no`",
    "exactly": "write the comparison with `==`", "if": "a condition needs no `if`: begin with what is compared",
    "when": "a condition needs no `when`: begin with what is compared", "then": "a condition ends before `then`",
    "greater": "compare with `>`", "older": "write `is more than 3 days ago`",
}  # fmt: skip
_MISLEADING = frozenset({"AND", "OR", "NOT", "IN", "IS", "if", "when"})
_WRONG_SIGNS = (
    ("<>", "compare with `!=`"), ("=", "compare with `==`"), ("&&", "write `and`"), ("||", "write `or`"),
    ("&", "write `and`"), ("|", "write `or`"), ("!", "write `not`"),
    ("{{", "conditions know no template syntax: name the field plainly"),
    ("{", "lists stand in square brackets: `in [A, B]`"), ('"', "the closing quotation mark is missing"),
    ("'", "the closing quotation mark is missing"), ("%", "write a share as a number: 0.05"),
    ("€", "write the currency behind the number: `500 EUR`"), ("$", "write the currency behind the number: `500 USD`"),
    ("£", "write the currency behind the number: `500 GBP`"),
    ("“", 'use straight quotation marks: "…"'), ("”", 'use straight quotation marks: "…"'),
    ("„", 'use straight quotation marks: "…"'), ("’", "use straight quotation marks: '…'"),
    ("≥", "write `>=`"), ("≤", "write `<=`"), ("≠", "write `!=`"), ("#", "a comment ends the line: begin a new line"),
)  # fmt: skip


class Unreadable(Exception):
    """The text is no condition. `stretch` is the place, `hint` what to do; the message says what is wrong."""

    def __init__(self, message: str, stretch: Stretch, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.stretch, self.hint = message, stretch, hint


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual", propagate_positions=True, maybe_placeholders=True)


@lru_cache(maxsize=4_000)  # the same few questions are asked in many journeys; nobody changes a tree
def read(text: str) -> Parsed:
    """The tree of a condition or expression. Raises Unreadable."""
    if not text.strip():
        raise Unreadable("the condition is empty", (0, len(text)), "say what has to be true, or leave the key out")
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(
            f"the condition is longer than {MAX_CHARACTERS:,} characters",
            (0, len(text)),
            "give parts of it a name in segments.yaml and ask: in segment(…)",
        )
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _explained(error, text) from None
    _check_size(tree, text)
    return tree


def stretch(tree: Parsed) -> Stretch:
    """Where a tree stands in its text."""
    if isinstance(tree, Token):
        return tree.start_pos or 0, tree.end_pos or 0
    if tree.meta.empty:
        return 0, 0
    return tree.meta.start_pos, tree.meta.end_pos


def _check_size(tree: Parsed, text: str) -> None:
    """Bounds what recursion (ours, and the databases' parsers) has to bear."""
    stack: list[tuple[object, int]] = [(tree, 0)]
    parts = 0
    while stack:
        here, depth = stack.pop()
        if not isinstance(here, Tree):
            continue
        if here.data != "list":
            parts += 1
        wide = here.data in ("or_", "and_") and len(here.children) > MAX_PARTS
        if wide or depth > MAX_DEPTH or parts > 4 * MAX_PARTS:
            raise Unreadable(
                "the condition is nested too deeply or has too many parts",
                (0, len(text)),
                "give parts of it a name in segments.yaml and ask: in segment(…)",
            )
        stack += [(child, depth + 1) for child in here.children]


def _explained(error: UnexpectedInput, text: str) -> Unreadable:
    if isinstance(error, UnexpectedToken):
        token: Token = error.token
        wanted = frozenset(error.accepts or error.expected)
        if token.type == "$END":
            return _ended(wanted, text)
        start = token.start_pos or 0
        # `5 AND vip` reads as an amount of something up to here: the word before is the mistake.
        before = re.search(r"(\w+)\s*$", text[:start])
        if before and before[1] in _MISLEADING:
            return Unreadable(f"`{before[1]}` is not expected here", before.span(1), _WRONG_WORDS[before[1]])
        found = (start, start + max(1, len(token)))
        return Unreadable(f"`{token}` is not expected here", found, _token_hint(token, wanted, text))
    if isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0  # type: ignore[redundant-expr]  # its stub says None
        for sign, hint in _WRONG_SIGNS:
            if text.startswith(sign, at):
                end = len(text) if sign in "\"'" else at + len(sign)
                return Unreadable(f"`{sign}` is not expected here", (at, end), hint)
        wanted = frozenset(error.allowed or ())
        # What reads as a word or number elsewhere is shown whole.
        word = re.compile(r"\w+|.", re.DOTALL).match(text, at)
        piece = word[0] if word else text[at : at + 1]
        hint = _WRONG_WORDS.get(piece) or _expected(wanted)
        return Unreadable(f"`{piece}` is not expected here", (at, at + len(piece)), hint)
    if isinstance(error, UnexpectedEOF):
        return _ended(frozenset(error.expected), text)
    return Unreadable("this cannot be read as a condition", (0, len(text)))


def _ended(wanted: frozenset[str], text: str) -> Unreadable:
    end = len(text.rstrip())
    return Unreadable("the condition breaks off", (max(0, end - 1), end), _expected(wanted))


def _token_hint(token: Token, wanted: frozenset[str], text: str) -> str:
    word = str(token)
    if hint := _WRONG_WORDS.get(word):
        return hint
    if token.type == "COMPARE" and "COMPARE" not in wanted and "_AND" in wanted:
        return "comparisons do not chain: join two with `and`"
    if token.type == "NAME" and wanted and "NAME" not in wanted and "SET" in wanted:
        return "write `==` to compare, or `is set`, `is in past`, `is within next 30 days`, `is more than 30 days ago`"
    if "LSQB" in wanted and len(wanted) == 1:
        return f"a list stands in square brackets: `in [{word}]`"
    if token.type == "RPAR" and "RPAR" not in wanted and text.count(")") > text.count("("):
        return "there is one `)` too many"
    return _expected(wanted)


def _expected(wanted: Iterable[str]) -> str:
    """What could stand here, in words; never a token's name."""
    rest = set(wanted)
    said: list[str] = []
    if rest >= _VALUE or "STRING" in rest:
        said.append("a field or value")
        rest -= _VALUE | {"STEP", "LPAR", "MINUS", "_NOT", "_IN"}
    elif {"NUMBER", "NAME"} & rest:
        said.append("a number" if "NUMBER" in rest else "a word")
        rest -= _VALUE
    if "COMPARE" in rest:
        rest -= {"LPAR", "_NOT"}
    if {"_AND", "_OR"} & rest:
        said.append("`and` or `or`")
    said += [_SAYINGS[name] for name in _SAYINGS if name in rest]
    if not said:
        return ""
    shown = said[:5]
    listed = shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " or " + shown[-1]
    return f"expected {listed}"
