"""Rows about vouchers, claims, points and referrals: codes for a pool, what tills redeemed, what became of what was
handed over, opening balances, who was brought by whose code; what was spent on winning and keeping people; and answers
to surveys that came by phone, fax or mail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from orchestrator.cells import Parse, day, key, name, number, one_of, slug, yes_no
from orchestrator.model import Vocabulary

SOURCES: Final = ("phone", "fax", "mail")
"""How an answer came that was not given on the page."""
COSTS: Final = ("acquisition", "retention")
FULFILMENTS: Final = ("fulfilled", "failed")
"""What a warehouse says of a claim."""
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "vouchers": ("code",),
    "redemptions": ("code", "receipt"),
    "claims": ("claim", "outcome"),
    "points": ("key", "points"),
    "referrals": ("code",),
    "costs": ("kind", "since", "until", "amount"),
    "answers": ("survey", "source"),
}
"""By kind of row, the columns that must be there."""

_CODE = re.compile(r"[!-~]{4,100}")
_MANGLED = re.compile(r"[\d.,]+E\+\d+", re.ASCII)
_CLAIM = re.compile(r"[1-9]\d{0,17}", re.ASCII)


def code(raw: Any) -> str:
    """A voucher code: 4 to 100 visible ASCII characters without a space. Raises ValueError, which does not quote it."""
    try:
        found = key(raw if raw is not None else "")
    except ValueError:
        found = " "
    if not found:
        raise ValueError("is missing")
    if _MANGLED.fullmatch(found):
        raise ValueError("was made a number by a spreadsheet; export the column as text")
    if not _CODE.fullmatch(found):
        raise ValueError("is no voucher code: 4 to 100 visible characters of ASCII, without a space")
    return found


MOST_POINTS: Final = 1_000_000_000


def amount_of_points(raw: Any) -> int:
    """A whole number of points, negative to take some. Raises ValueError."""
    found = number(raw)
    if not isinstance(found, int) or not 1 <= abs(found) <= MOST_POINTS:
        raise ValueError(f"is no whole number of points from 1 to {MOST_POINTS:,} (with a minus, to take some)")
    return found


def columns(kind: str, moment: Parse, vocabulary: Vocabulary) -> dict[str, tuple[str, Parse | None]]:
    """The columns of a kind of NEEDED: where its value goes, and how it is read."""
    if kind == "answers":
        return _answer_columns(moment, vocabulary)
    special: tuple[str, Parse | None] = ("special", None)
    at: tuple[str, Parse | None] = ("values", moment)
    if kind == "vouchers":
        return {"code": special}
    if kind == "points":
        owner: tuple[str, Parse | None] = ("refs", key)
        last: tuple[str, Parse | None] = ("values", day)
        return {
            "key": special,
            "customer": owner,
            "account": owner,
            "points": ("values", amount_of_points),
            "at": at,
            "expires_on": last,
            "counts": ("values", yes_no),
            "reason": ("values", slug),
        }
    if kind == "referrals":
        whom: tuple[str, Parse | None] = ("refs", key)
        return {"code": special, "customer": whom, "account": whom, "at": at}
    if kind == "costs":
        return {
            "key": special,
            "kind": ("values", one_of(COSTS, "a kind of cost")),
            "class": ("values", one_of(vocabulary.classes, "a declared class")),
            "since": ("values", day),
            "until": ("values", day),
            "amount": ("values", None),
            "amount_currency": special,
        }
    if kind == "redemptions":
        receipt: tuple[str, Parse | None] = ("values", key)
        return {"code": special, "receipt": receipt, "at": at, "amount": ("values", None), "amount_currency": special}
    return {
        "claim": special,
        "outcome": ("values", one_of(FULFILMENTS, "an outcome")),
        "note": ("values", name),
        "at": at,
    }


def read(kind: str, row: Mapping[str, Any], values: dict[str, Any], now: datetime, problems: list[str]) -> str:
    """The row's key: the code, or the number of the claim; problems are added. Without `at`, it was now."""
    if kind == "costs":
        return _cost(row, values, problems)
    if kind != "vouchers" and values.get("at") is None and not _told("at", problems):
        values["at"] = now
    for column in NEEDED[kind][1:]:
        if values.get(column) in (None, "") and not _told(column, problems):
            problems.append(f"{column} is missing")
    if kind == "points":
        return _grant(row, problems)
    if kind == "answers":
        return _form(row, problems)
    if kind == "referrals" and bool(row.get("customer")) == bool(row.get("account")):
        problems.append("customer or account is missing, or both are named: who was referred?")
    if kind != "claims":
        try:
            return code(row.get("code"))
        except ValueError as error:
            problems.append(f"code {error}")
            return ""
    number = str(row.get("claim") if row.get("claim") is not None else "").strip()
    if not _CLAIM.fullmatch(number):
        problems.append("claim is no number of a claim" if number else "claim is missing")
    return number


def _answer_columns(moment: Parse, vocabulary: Vocabulary) -> dict[str, tuple[str, Parse | None]]:
    """Its questions' answers as they were written: `answering` reads them, as it does a page's."""
    asked = {question.name for survey in vocabulary.surveys.values() for question in survey.questions}
    written: tuple[str, Parse | None] = ("members", _written)
    return dict.fromkeys(asked, written) | {
        "answer_id": ("special", None),
        "survey": ("values", one_of(vocabulary.surveys, "a declared survey")),
        "customer": ("refs", key),
        "source": ("values", one_of(SOURCES, "a source")),
        "at": ("values", moment),
    }


def _written(raw: Any) -> str:
    whole = isinstance(raw, float) and raw.is_integer()
    return str(int(raw) if whole else raw).strip()


def _form(row: Mapping[str, Any], problems: list[str]) -> str:
    """The number of the form, or of the call; "" where there is none."""
    try:
        found = key(row.get("answer_id") if row.get("answer_id") is not None else "")
    except ValueError as error:
        problems.append(f"answer_id {error}")
        return ""
    if not found and not row.get("at"):
        problems.append("answer_id or at is missing: by one of them the same answer is known again")
    return found


def _grant(row: Mapping[str, Any], problems: list[str]) -> str:
    if bool(row.get("customer")) == bool(row.get("account")):
        problems.append("customer or account is missing, or both are named: whose points are they?")
    try:
        found = key(row.get("key") if row.get("key") is not None else "")
    except ValueError as error:
        problems.append(f"key {error}")
        return ""
    if not found:
        problems.append("key is missing: what for? The same key again is the same points")
    return found or ""


def _cost(row: Mapping[str, Any], values: Mapping[str, Any], problems: list[str]) -> str:
    """A cost's own key; without one, what it is of: the kind, the class and the days."""
    for column in NEEDED["costs"]:
        if values.get(column) in (None, "") and not _told(column, problems):
            problems.append(f"{column} is missing")
    if problems:
        return ""
    if values["until"] < values["since"]:
        problems.append("until is before since")
    if values["amount"] < 0:
        problems.append("amount is below zero")
    own = str(row.get("key") if row.get("key") is not None else "").strip()
    return own or ":".join((values["kind"], values.get("class") or "", str(values["since"]), str(values["until"])))


def _told(column: str, problems: list[str]) -> bool:
    return any(problem.startswith(f"{column} ") for problem in problems)
