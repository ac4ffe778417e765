"""Names to play under: drawn from words that say nothing of anybody, or chosen and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

SHORTEST, LONGEST = 3, 24
FIRST: Final = (
    "amber", "arctic", "autumn", "blue", "bold", "brave", "bright", "calm", "clever", "copper", "coral", "crimson",
    "curious", "daring", "eager", "early", "emerald", "fair", "fleet", "gentle", "golden", "grand", "green", "happy",
    "honest", "humble", "indigo", "ivory", "jade", "jolly", "keen", "kind", "lively", "lucky", "lunar", "merry",
    "mellow", "nimble", "noble", "northern", "olive", "patient", "pearly", "polar", "proud", "quick", "quiet", "rapid",
    "rosy", "royal", "ruby", "scarlet", "silver", "smart", "solar", "southern", "spry", "steady", "sunny", "swift",
    "violet", "warm", "wise", "witty",
)  # fmt: skip
SECOND: Final = (
    "badger", "beaver", "bison", "cedar", "comet", "condor", "crane", "cypress", "dolphin", "eagle", "falcon", "fern",
    "finch", "fox", "gazelle", "gecko", "glacier", "harbour", "hare", "hawk", "hedgehog", "heron", "ibex", "island",
    "jackdaw", "kestrel", "koala", "lark", "lemur", "lynx", "maple", "marten", "meadow", "meteor", "mole", "moose",
    "nightingale", "oak", "orca", "osprey", "otter", "owl", "panda", "pebble", "pelican", "penguin", "puffin", "quail",
    "raven", "river", "robin", "salmon", "seal", "sparrow", "spruce", "stork", "swallow", "swan", "tern", "tiger",
    "walrus", "willow", "wolf", "wren",
)  # fmt: skip
SPACE: Final = len(FIRST) * len(SECOND) * 900
"""How many names can be drawn."""
_PLAIN: Final = re.compile(r"[^\W_](?:[^\W_]|[ .'\-](?=[^\W_]))*")


def drawn(number: int) -> str:
    """The name of a number below SPACE: `Amber-Otter-417`."""
    rest, tail = divmod(number, 900)
    first, second = divmod(rest, len(SECOND))
    return f"{FIRST[first].capitalize()}-{SECOND[second].capitalize()}-{tail + 100}"


def problem(name: str, own: Iterable[str]) -> str:
    """Why a chosen name cannot stand on a list for everybody to see; "" when it can. `own`: the person's real names
    and addresses, which must not be recognised by it. The text names nobody."""
    if not SHORTEST <= len(name) <= LONGEST:
        return f"a name has {SHORTEST} to {LONGEST} characters"
    if not _PLAIN.fullmatch(name):
        return "a name is of letters and figures, with single spaces, dots, dashes or apostrophes between them"
    if sum(letter.isdigit() for letter in name) > 4:
        return "a name has at most four figures: more could be a telephone number"
    told = _folded(name)
    for one in own:
        for part in (one, *re.split(r"[\s@._\-]+", one)):
            if len(folded := _folded(part)) >= SHORTEST and folded in told:
                return "this could be recognised as a real name or address: choose another one"
    return ""


def _folded(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
