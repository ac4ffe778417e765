"""What advertising has to say of itself, where everybody sees it: who sends it from where, and how to have no more.

Law: CAN-SPAM 15 U.S.C. 7704(a)(3) and (5) want a way out and a postal address in every e-mail; Directive 2002/58/EC
art. 13(4) wants an address to which the wish to stop may be sent, in every message.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import Final, Literal

from jinja2 import Environment, nodes

from orchestrator.jinja import dotted
from orchestrator.keywords import shows_how_to_stop
from orchestrator.skeleton import Compiled

WAYS_OUT: Final = frozenset(["links.unsubscribe", "links.preferences"])
_HIDDEN: Final = re.compile(r"<(style|script|title)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")
_CHOSEN: Final = re.compile(r"\{%[-+]?\s*(?:if|for)\b|\bif\b[^{}]*\}\}")

WayOut = Literal["there", "sometimes", "not there"]


def way_out(made: Compiled) -> WayOut:
    """Whether an e-mail's page leads out for everybody, only for some, or for nobody."""
    if not made.names & WAYS_OUT:
        return "not there"
    page = next((part.source for part in made.parts if part.name == "html"), "")
    if any(name in page for name in WAYS_OUT) and not _CHOSEN.search(page):
        return "there"
    tree = _plain().parse(page)
    if _leads_out(tree.body):
        return "there"
    # The plain text beside the page may have it: few see that. Two conditions may make up a whole (X, not X).
    shown = sum(dotted(node) in WAYS_OUT for node in tree.find_all((nodes.Getattr, nodes.Getitem)))
    return "not there" if not shown else "sometimes" if shown == 1 else "there"


def says_how_to_stop(made: Compiled) -> bool:
    """Whether a text message leads out, or says with which word to answer."""
    if made.names & WAYS_OUT:
        return True
    return any(shows_how_to_stop(part.source) for part in made.parts if part.name == "text")


def has_address(made: Compiled, address: str) -> bool:
    """Whether an e-mail's page says a postal address, however it is set: what counts of it are the street and the
    place, the parts with a number, not how the firm or the country is written. True where there is none to be said."""
    shown = html.unescape(_TAG.sub(" ", _HIDDEN.sub(" ", " ".join(made.skeleton.parts.get("html", ())))))
    said = f" {_folded(shown)} "
    lines = [folded for line in address.split(",") if (folded := _folded(line))]
    counting = [line for line in lines if re.search(r"\d", line)] or lines
    return all(f" {line} " in said for line in counting)


def _folded(text: str) -> str:
    """Words alone: how they are parted and marked does not matter, nor whether it is a Straße or a Str."""
    words = re.sub(r"[\W_]+", " ", text.replace("\N{SOFT HYPHEN}", "").casefold()).split()
    return " ".join(re.sub(r"strasse$", "str", word) for word in words)


@cache
def _plain() -> Environment:
    return Environment(trim_blocks=True, lstrip_blocks=True, autoescape=True)


def _leads_out(body: Sequence[nodes.Node]) -> bool:
    return any(_has_way(node) for node in body)


def _has_way(node: nodes.Node) -> bool:
    """Whether a way out stands in this whatever is true of the reader."""
    match node:
        case nodes.If():
            ways = [node.body, *(other.body for other in node.elif_), node.else_]
            return all(map(_leads_out, ways)) or (_is_always(node.test) and _leads_out(node.body))
        case nodes.CondExpr():
            return _has_way(node.expr1) and node.expr2 is not None and _has_way(node.expr2)
        case nodes.For():
            return False
    return dotted(node) in WAYS_OUT or any(map(_has_way, node.iter_child_nodes()))


def _is_always(test: nodes.Node) -> bool:
    """Whether a condition asks only for what every message has: our links, the workspace's own values."""
    paths = [path for node in (test, *test.find_all((nodes.Getattr, nodes.Name))) if (path := dotted(node))]
    return bool(paths) and all(path.partition(".")[0] in ("links", "workspace") for path in paths)
