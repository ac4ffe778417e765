"""Chance that is none: drawn from a seed and names, the same for ever, in whatever order it is asked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def draw(seed: int, *names: object) -> float:
    """[0, 1)."""
    text = "\x1f".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


def pick(options: Sequence[T], seed: int, *names: object) -> T:
    """One of them, each as likely."""
    return options[int(draw(seed, *names) * len(options))]


def whole(low: int, high: int, seed: int, *names: object) -> int:
    """A whole number of [low, high]."""
    return low + int(draw(seed, *names) * (high - low + 1))


def how_many(mean: float, seed: int, *names: object) -> int:
    """How often something happens that happens `mean` times in the long run: Poisson's, by inversion. Above 30 the
    rounded mean itself."""
    if mean <= 0:
        return 0
    if mean > 30:
        return round(mean)
    left, n, term = draw(seed, *names), 0, math.exp(-mean)
    while left >= term and n < 200:
        left -= term
        n += 1
        term *= mean / n
    return n


def after(mean: float, longest: float, seed: int, *names: object) -> float:
    """A time until something happens, exponential with this mean and cut at `longest`, in the same unit."""
    return min(longest, -math.log(1 - draw(seed, *names)) * mean)
