"""Rows from outside: what the importer stores and what it refuses.

An absent column says nothing; an empty cell (or null) clears the value. Problems name no person's data, except where
the value is a choice from a list.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from channels.base import Medium
from orchestrator import slips
from orchestrator.cells import (
    Parse,
    address_region,
    address_warning,
    country,
    day,
    device_token,
    email,
    key,
    legal_form,
    locale,
    moment,
    money,
    name,
    number,
    one_of,
    slug,
    text,
    yes_no,
)
from orchestrator.model import CONSENT_BASES, LOYALTY_EVENTS, Field, Kind, Unit, Vocabulary
from orchestrator.phone import numbered
from orchestrator.places import phone_places
from orchestrator.problems import suggest
from orchestrator.zones import zone

ImportKind = Literal[
    "customers", "accounts", "records", "events", "consents", "devices", "touches", "cases", "suppressions", "outcomes",
    "vouchers", "redemptions", "claims", "points", "referrals", "costs", "answers",
]  # fmt: skip
KINDS: tuple[ImportKind, ...] = (
    "customers",
    "accounts",
    "records",
    "events",
    "consents",
    "devices",
    "touches",
    "cases",
    "suppressions",
    "outcomes",
    "vouchers",
    "redemptions",
    "claims",
    "points",
    "referrals",
    "costs",
    "answers",
)

AHEAD = timedelta(days=1)
"""How far in the future something may have happened: senders' clocks and zones are wrong by hours, not by days."""
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
"""Nothing happened before: a hundred years back of it, and a zone's hours, are still within the calendar."""
SKEW = timedelta(seconds=2)
"""The same of a yes: so far apart the clocks of two machines may be, and no further."""
_YES = ("grant", "confirm", "import")

CONSENT_ACTIONS = ("request", "confirm", "grant", "withdraw", "expire", "import")
CONSENT_EVIDENCE = ("source", "source_url", "ip", "agent", "evidence", "third_parties")
SUPPRESSED_MEDIA = (Medium.EMAIL, Medium.SMS, "voice", Medium.MAIL)
CONSENT_MEDIA = (Medium.EMAIL, Medium.SMS, Medium.PUSH, Medium.MAIL, Medium.AUDIENCE)
PLATFORMS = ("ios", "android", "web")
TOUCH_MEDIA = (Medium.EMAIL, Medium.SMS, Medium.PUSH, Medium.MAIL, "call")
"""How a department may have spoken to somebody. A call counts as a task does."""


TASK_OUTCOMES = ("reached", "not_reached", "wants_call", "wants_none", "done", "declined")
"""What one of our own people may say of a task."""
_TASK = re.compile(r"m[1-9]\d{0,18}a[1-9]\d{0,8}", re.ASCII)


@dataclass(slots=True)
class ReadRow:
    """One row that may be stored. `refs` are keys of others, still to be found: account, customer, parent."""

    key: str
    type: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)  # of the row's Json column; None: take it out
    refs: dict[str, str | None] = field(default_factory=dict)


_NEW = object()
_REMEMBER = 10_000
"""Values of a column are kept with what they mean: countries, days, first names repeat, and reading costs 1–10 µs."""


_PLANS = 500
"""Rows of JSON Lines may leave out any of their members: plans of rows with the same columns, each with its values."""
_STRANGERS = 100
"""Columns that are not declared are named in warnings up to this many: a search for a near name costs milliseconds."""


class _Cell(NamedTuple):
    """How one column is read: where its value goes, and how (None: money, which has two columns)."""

    column: str
    target: str
    parse: Parse | None
    known: dict[str, Any]


# ---- whole rows -----------------------------------------------------------------------------------------------------


class RowReader:
    """Reads rows of one kind against one vocabulary; counts `warnings` (what was odd and not refused) as it goes."""

    def __init__(self, kind: ImportKind, vocabulary: Vocabulary, now: datetime) -> None:
        self.kind = kind
        self.vocabulary = vocabulary
        self.now = now
        self.warnings: Counter[str] = Counter()
        self._plans: dict[tuple[str, tuple[str, ...]], list[_Cell]] = {}
        self._strangers: set[str] = set()
        self._standard = self._standard_columns()

    # -- which columns there are

    def _standard_columns(self) -> dict[str, tuple[str, Parse | None]]:
        """Column → (where its value goes, how it is read). `special` ones are read by the kind's own method."""
        moment_ = self._moment
        if self.kind == "customers":
            names = ("first_name", "last_name", "company", "street", "city", "postcode", "region", "role")
            found: dict[str, tuple[str, Parse | None]] = dict.fromkeys(names, ("values", name))
            return found | {
                "key": ("special", None),
                "class": ("values", one_of(self.vocabulary.classes, "a declared class")),
                "tier": ("values", one_of(self.vocabulary.tiers(), "a declared tier")),
                "account": ("refs", key),
                "partner": ("refs", key),
                "email": ("values", email),
                "phone": ("special", None),
                "country": ("values", country),
                "locale": ("values", locale),
                "timezone": ("values", name),
                "legal_form": ("values", legal_form),
                "joined": ("values", day),
                "left_at": ("values", moment_),
            }
        if self.kind == "accounts":
            return {
                "key": ("special", None),
                "class": ("values", one_of(self.vocabulary.classes, "a declared class")),
                "tier": ("values", one_of(self.vocabulary.tiers(), "a declared tier")),
                "name": ("values", name),
                "parent": ("refs", key),
                "partner": ("refs", key),
                "allows_contact": ("values", yes_no),
                "country": ("values", country),
                "timezone": ("values", name),
                "annual_value": ("values", None),
                "annual_value_currency": ("special", None),
                "manager_name": ("values", name),
                "manager_email": ("values", email),
                "joined": ("values", day),
            }
        if self.kind == "devices":
            return {
                "token": ("special", None),
                "customer": ("refs", key),
                "platform": ("values", one_of(PLATFORMS, "a platform")),
                "retired_at": ("values", moment_),
            }
        if self.kind == "touches":
            return {
                "event_id": ("special", None),
                "customer": ("refs", key),
                "department": ("values", name),
                "medium": ("values", one_of(TOUCH_MEDIA, "a medium")),
                "at": ("values", moment_),
            }
        if self.kind == "cases":
            return {
                "key": ("special", None),
                "customer": ("refs", key),
                "opened_at": ("values", moment_),
                "closed_at": ("values", moment_),
            }
        if self.kind == "outcomes":
            said = ("values", one_of(TASK_OUTCOMES, "an outcome"))
            return {"task": ("special", None), "outcome": said, "note": ("values", text), "at": ("values", moment_)}
        if self.kind in slips.NEEDED:
            return slips.columns(self.kind, moment_, self.vocabulary)
        if self.kind == "suppressions":
            named = dict.fromkeys(("name", "street", "postcode", "city"), ("values", name))
            return named | {
                "medium": ("values", one_of(SUPPRESSED_MEDIA, "a medium")),
                "address": ("values", email),
                "number": ("special", None),
                "country": ("values", country),
                "reason": ("values", slug),
                "until": ("values", moment_),
            }
        owners: dict[str, tuple[str, Parse | None]] = {"customer": ("refs", key), "account": ("refs", key)}
        if self.kind == "events":
            special = ("type", "event_id", "properties")
            return owners | dict.fromkeys(special, ("special", None)) | {"occurred_at": ("values", moment_)}
        if self.kind == "records":
            return owners | {"type": ("special", None), "of": ("special", None)}
        return {
            "event_id": ("special", None),
            "customer": ("refs", key),
            "medium": ("values", one_of(CONSENT_MEDIA, "a medium one can consent to")),
            "topic": ("values", one_of((*self.vocabulary.topics, "*"), "a declared topic")),
            "action": ("values", one_of(CONSENT_ACTIONS, "an action")),
            "occurred_at": ("values", moment_),
            "basis": ("values", one_of(CONSENT_BASES, "a ground")),
            "method": ("values", text),
            "expires_at": ("values", moment_),
            "jurisdiction": ("values", text),
            "wording": ("values", text),
            "wording_version": ("values", text),
            "language": ("values", locale),
            **dict.fromkeys(CONSENT_EVIDENCE, ("values", text)),
            "answers": ("values", key),
        }

    def identity(self) -> str:
        """The column that tells rows apart; "" where it depends on the row."""
        return {"customers": "key", "accounts": "key", "devices": "token", "cases": "key"}.get(self.kind, "")

    def missing_columns(self, columns: Iterable[str]) -> str | None:
        """Why a sheet with these columns cannot be imported at all; None when it can."""
        there = set(columns)
        needed = {
            "events": ("occurred_at",),
            "consents": ("customer", "medium", "topic", "action", "occurred_at"),
            "devices": ("token", "customer"),
            "touches": ("customer", "department", "medium", "at"),
            "outcomes": ("task", "outcome"),
            **slips.NEEDED,
        }.get(self.kind, ("key",) if self.identity() else ())
        absent = [column for column in needed if column not in there]
        if absent:
            listed = ", ".join(f"`{c}`" for c in absent)
            near = suggest(absent[0], there)
            found = ", ".join(f"`{c}`" for c in sorted(there)[:12])
            return f"there is no column {listed}; " + (near if near.startswith("did you mean") else f"found: {found}")
        if self.kind in ("events", "records") and not there & {"customer", "account", "of"}:
            return "there is no column `customer` or `account` to say whose they are"
        if self.kind == "suppressions" and not there & {"address", "number", "street"}:
            return "there is no column `address`, `number` or `street` to say what must not be used"
        return None

    def _plan(self, type_name: str, columns: tuple[str, ...]) -> list[_Cell]:
        """(column, where to, name there, how) for each column that is known; a warning for each that is not."""
        declared = self._declared(type_name)
        plan: list[_Cell] = []
        strangers: list[str] = []
        for column in columns:
            if column in self._standard:
                target, parse = self._standard[column]
                if target != "special":
                    plan.append(_Cell(column, target, parse, {}))
            elif column in declared:
                found = declared[column]
                if found.kind is Kind.MONEY:
                    plan.append(_Cell(column, "members", None, {}))
                else:
                    plan.append(_Cell(column, "members", self._parser(found), {}))
            elif self._is_currency(column, declared) or column.startswith("_"):
                continue
            else:
                strangers.append(column)
        self._warn_of(strangers, declared, type_name)
        return plan

    def _warn_of(self, strangers: list[str], declared: Mapping[str, Field], type_name: str) -> None:
        where = f" of `{type_name}`" if type_name else ""
        for column in strangers:
            if column not in self._strangers and len(self._strangers) == _STRANGERS:
                self.warnings["a column that is not declared, besides those named here: left out"] += 1
                continue
            self._strangers.add(column)
            hint = suggest(column[:80], {*self._standard, *declared})
            hint = f"; {hint}" if hint.startswith("did you mean") else ""
            self.warnings[f"column `{column[:80]}`{where} is not declared: left out{hint}"] += 1

    def _declared(self, type_name: str) -> Mapping[str, Field]:
        v = self.vocabulary
        if self.kind == "customers":
            return {n: f for n, f in v.customer.items() if f.column is None}
        if self.kind == "accounts":
            return {n: f for n, f in v.account.items() if f.column is None}
        if self.kind == "records":
            record = v.records[type_name]
            return {**record.fields, record.key: Field(record.key, Kind.KEY)}
        return v.events[type_name].fields if self.kind == "events" else {}

    def _is_currency(self, column: str, declared: Mapping[str, Field]) -> bool:
        amount = declared.get(column.removesuffix("_currency"))
        return column.endswith("_currency") and amount is not None and amount.kind is Kind.MONEY

    def _parser(self, found: Field) -> Parse:
        simple: dict[Kind, Parse] = {
            Kind.TEXT: text,
            Kind.KEY: key,
            Kind.NUMBER: number,
            Kind.YES_NO: yes_no,
            Kind.DATE: lambda raw: day(raw).isoformat(),
            Kind.INSTANT: lambda raw: self._moment(raw).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0"),
            Kind.TIER: one_of(self.vocabulary.tiers(), "a declared tier"),
        }
        return simple.get(found.kind) or one_of(found.choices)

    def _moment(self, raw: Any) -> datetime:
        return moment(raw, self.vocabulary.timezone)

    # -- one row

    def read(self, row: Mapping[str, Any], country_hint: str | None = None) -> ReadRow | str:
        """The row ready to be stored, or what is wrong with it: every mistake, separated by semicolons.

        `country_hint` is the country already known of this customer, for a phone number without one in the row.
        """
        problems: list[str] = []
        out = ReadRow("")
        type_name = self._type(row, problems)
        if problems:
            return "; ".join(problems)
        if self.kind == "events" and row.get("properties"):
            flat = _unfolded(row, problems)
            if flat is None:
                return "; ".join(problems)
            row = flat
        self._cells(row, type_name, out, problems)
        getattr(self, f"_{self.kind}")(row, type_name, out, problems, country_hint)
        return "; ".join(problems) if problems else out

    def _cells(self, row: Mapping[str, Any], type_name: str, out: ReadRow, problems: list[str]) -> None:
        columns = tuple(row)
        plan = self._plans.get((type_name, columns))
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            plan = self._plans[type_name, columns] = self._plan(type_name, columns)
        into: dict[str, dict[str, Any]] = {"values": out.values, "members": out.members, "refs": out.refs}
        for column, target, parse, known in plan:
            raw = row[column]
            if type(raw) is str and (value := known.get(raw, _NEW)) is not _NEW:
                into[target][column] = value
                continue
            try:
                if parse is None:
                    self._money(row, column, into[target])
                    continue
                value = None if raw is None or raw == "" else parse(raw)
            except ValueError as exc:
                problems.append(f"{column} {exc}")
                continue
            into[target][column] = value = None if value == "" else value
            if type(raw) is str and len(known) < _REMEMBER:
                known[raw] = value

    def _money(self, row: Mapping[str, Any], column: str, into: dict[str, Any]) -> None:
        raw = row[column]
        amount, currency = None, None
        if raw is not None and raw != "":
            amount, currency = money(raw, row.get(f"{column}_currency"), self.vocabulary.currency)
        into[column], into[f"{column}_currency"] = amount, currency

    def _type(self, row: Mapping[str, Any], problems: list[str]) -> str:
        """The declared type of an event or a record; a record without one is known by its key's column."""
        if self.kind not in ("events", "records"):
            return ""
        known: Mapping[str, Any] = self.vocabulary.events if self.kind == "events" else self.vocabulary.records
        said = row.get("type")
        if not said and self.kind == "records":
            fitting = [r.name for r in self.vocabulary.records.values() if row.get(r.key)]
            if len(fitting) == 1:
                return fitting[0]
        if not said:
            problems.append("type is missing")
        elif not isinstance(said, str) or said.strip() not in known:
            hint = suggest(str(said).strip(), known)
            what = "event" if self.kind == "events" else "record"
            problems.append(f"type `{str(said)[:40]}` is no declared {what}" + (f"; {hint}" if hint else ""))
        elif self.kind == "events" and said.strip() in LOYALTY_EVENTS and self.vocabulary.loyalty.declared:
            problems.append(f"type `{said.strip()}` is an event that the programme itself records")
        else:
            return said.strip()
        return ""

    def _own_key(self, row: Mapping[str, Any], column: str, problems: list[str]) -> str:
        try:
            found = key(row.get(column) or "") if row.get(column) != 0 else "0"
        except ValueError as exc:
            problems.append(f"{column} {exc}")
            return ""
        if not found:
            problems.append(f"{column} is missing")
        return found

    def _customers(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], hint: str | None) -> None:
        out.key = self._own_key(row, "key", problems)
        values = out.values
        self._stated_class(values, problems)
        if "phone" in row:
            raw = row["phone"]
            try:
                near = values.get("country", hint)
                number, zones, plan = numbered(raw, near) if raw not in (None, "") else (None, None, None)
                values["phone"], values["phone_zones"] = number, zones
                values["phone_places"] = " ".join(phone_places(number, plan)) if number else None
            except ValueError as exc:
                problems.append(f"phone {exc}")
        self._see_zone(values)
        region = values.get("region")
        if region and values.get("country"):
            values["region"] = address_region(values["country"], region)
        if values.get("street") and (odd := address_warning(values)):
            self.warnings[odd] += 1

    def _see_zone(self, values: Mapping[str, Any]) -> None:
        if values.get("timezone") and zone(values["timezone"]) is None:
            # Kept as it is, so that a person sees it; no window is ever open there.
            self.warnings["a time zone that is not known: no text will be sent there"] += 1

    def shared_tier(self, values: dict[str, Any], class_name: str) -> None:
        """Contacts share their account's tier: a second truth in the customer's own row is left out."""
        found = self.vocabulary.classes.get(class_name)
        if found is not None and found.unit == "account" and values.pop("tier", None) is not None:
            self.warnings[f"the tier of a {found.name} customer is its account's: left out"] += 1

    def classed(self, row: ReadRow, known: dict[str, Known], unit: Unit) -> str | None:
        """Bring class and tier of a row together with what is `known` by key, and note them there; what is wrong with
        them, if anything is."""
        values, before = row.values, known.get(row.key, Known(""))
        class_name = values.get("class") or before.class_name
        if not class_name and (class_name := default_class(self.vocabulary, unit) or ""):
            values |= {"class": class_name, "class_by_rule": True}  # until the rules have been asked
        if not class_name:
            return "class is missing; a new " + unit + " needs one"
        if unit == "customer":
            self.shared_tier(values, class_name)
        problem = tier_problem(self.vocabulary, class_name, values.get("tier"))
        if problem:
            return problem
        if before.class_name not in ("", class_name):
            before = Known(class_name)
            values.setdefault("tier", None)  # the old class's tier says nothing in the new one
        elif "tier" in values and values["tier"] == before.stated and before.tier is not None:
            del values["tier"]  # a file that repeats itself says nothing of what has been reached since
        if "tier" in values:
            values["tier_stated"] = values["tier"]
        tier, stated = values.get("tier", before.tier), values.get("tier_stated", before.stated)
        known[row.key] = Known(class_name, tier, stated)
        return None

    def _accounts(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], __: str | None) -> None:
        out.key = self._own_key(row, "key", problems)
        self._stated_class(out.values, problems)
        self._see_zone(out.values)
        if "name" in out.values:
            out.values["name"] = out.values["name"] or ""
        if out.key and out.refs.get("parent") == out.key:
            problems.append("parent is the account itself")
        if out.key and out.refs.get("partner") == out.key:
            problems.append("partner is the account itself: only who buys through it names it")

    def _stated_class(self, values: dict[str, Any], problems: list[str]) -> None:
        """An empty class is a mistake, but where classes have rules: one of them finds it then."""
        if not any(c.by_rule for c in self.vocabulary.classes.values()):
            self._not_empty(values, ("class",), problems)
        elif "class" in values:
            values["class_by_rule"] = True if values["class"] is None else None
            if values["class"] is None:
                del values["class"]

    def _not_empty(self, values: Mapping[str, Any], columns: Iterable[str], problems: list[str]) -> None:
        for column in columns:
            if column in values and values[column] is None:
                problems.append(f"{column} must not be empty")

    def _owner(self, refs: dict[str, str | None], problems: list[str], at_most_one: bool) -> None:
        given = [n for n in ("customer", "account") if refs.get(n)]
        if not given:
            problems.append("customer or account is missing: whose is it?")
        elif len(given) == 2 and at_most_one:
            problems.append("both a customer and an account are named; a record belongs to one")

    def _records(
        self, row: Mapping[str, Any], type_name: str, out: ReadRow, problems: list[str], _: str | None
    ) -> None:
        record = self.vocabulary.records[type_name]
        out.type = type_name
        out.key = self._own_key(row, record.key, problems)
        out.members[record.key] = out.key
        for other in ("customer", "account"):
            if other != record.of and out.refs.get(other):
                problems.append(f"{other}: a {type_name} belongs to a record of {record.of}; name the {record.of}")
        if row.get("of") and not out.refs.get(record.of):
            try:
                out.refs[record.of] = key(row["of"])
            except ValueError as exc:
                problems.append(f"of {exc}")
        if {"customer", "account", "of"} & set(row) and not out.refs.get(record.of):
            problems.append(f"{record.of} is missing: whose is it?")

    def _events(self, row: Mapping[str, Any], type_name: str, out: ReadRow, problems: list[str], _: str | None) -> None:
        out.type = type_name
        self._owner(out.refs, problems, at_most_one=False)
        at = self._occurred(out.values, problems)
        out.members = {k: v for k, v in out.members.items() if v is not None}
        if row.get("event_id"):
            out.key = self._own_key(row, "event_id", problems)
        elif at is not None:
            out.key = fingerprint(type_name, out.refs.get("customer"), out.refs.get("account"), at, out.members)

    def _consents(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], __: str | None) -> None:
        for column in ("medium", "topic", "action"):
            if out.values.get(column) is None and not any(p.startswith(f"{column} ") for p in problems):
                problems.append(f"{column} is missing")
        if not out.refs.get("customer"):
            problems.append("customer is missing")
        # What is sent on a yes must be later than it, for an auditor, too. A no is believed whatever its date.
        action = out.values.get("action")
        at = self._occurred(
            out.values, problems, ahead=None if action == "withdraw" else SKEW if action in _YES else AHEAD
        )
        if row.get("event_id"):
            out.key = self._own_key(row, "event_id", problems)
        elif at is not None:
            said = {k: v for k, v in out.values.items() if k != "occurred_at"}
            out.key = fingerprint("consent", out.refs.get("customer"), None, at, said)

    def _suppressions(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], __: str | None) -> None:
        values = out.values
        if row.get("number") not in (None, ""):
            try:
                values["number"] = numbered(row["number"], values.get("country"))[0]
            except ValueError as exc:
                problems.append(f"number {exc}")
        if values.get("street") and not (values.get("postcode") and values.get("country")):
            problems.append("postcode or country is missing: a street alone is everywhere")
        given = {"address": (Medium.EMAIL,), "number": (Medium.SMS, "voice"), "street": (Medium.MAIL,)}
        known = [part for part in given if values.get(part)]
        if not known and not problems:
            problems.append("address, number or street is missing: what must not be used?")
        medium = values.get("medium")
        if medium and known and not any(medium in given[part] for part in known):
            problems.append(f"medium `{medium}` does not go with what the row names")

    def _outcomes(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], __: str | None) -> None:
        """`task` as the list has it: the number of the attempt. Without `at`, it was now."""
        out.key = str(row.get("task") or "").strip()
        if not _TASK.fullmatch(out.key):
            problems.append("task is no number of a task: it looks like `m120a1`" if out.key else "task is missing")
        if out.values.get("outcome") is None and not any(p.startswith("outcome ") for p in problems):
            problems.append("outcome is missing")
        if out.values.get("at") is None:
            out.values["at"] = self.now
        self._occurred(out.values, problems, "at")

    def _slips(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], __: str | None) -> None:
        out.key = slips.read(self.kind, row, out.values, self.now, problems)
        if "at" in out.values:
            self._occurred(out.values, problems, "at")

    _vouchers = _redemptions = _claims = _points = _referrals = _costs = _answers = _slips

    def _devices(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], __: str | None) -> None:
        raw = row.get("token")
        token = device_token(raw)
        if not token:
            given = isinstance(raw, str) and raw.strip()
            problems.append("token is no device's token" if given else "token is missing")
        out.key = token
        if not out.refs.get("customer"):
            problems.append("customer is missing")
        self._not_empty(out.values, ("platform",), problems)

    def _touches(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], __: str | None) -> None:
        for column in ("department", "medium"):
            if out.values.get(column) is None and not any(p.startswith(f"{column} ") for p in problems):
                problems.append(f"{column} is missing")
        if not out.refs.get("customer"):
            problems.append("customer is missing")
        department = out.values.get("department")
        if department:
            out.values["department"] = department = str(department).casefold()
            if department not in self.vocabulary.policies.counting:
                self.warnings["a department that `policies.counting` does not name: kept, and no cap counts it"] += 1
        at = self._occurred(out.values, problems, "at")
        if row.get("event_id"):
            out.key = self._own_key(row, "event_id", problems)
        elif at is not None:
            said = {k: v for k, v in out.values.items() if k != "at"}
            out.key = fingerprint("touch", out.refs.get("customer"), None, at, said)
        if out.values.get("medium") == "call":
            out.values["medium"] = Medium.TASK.value

    def _cases(self, row: Mapping[str, Any], _: str, out: ReadRow, problems: list[str], __: str | None) -> None:
        out.key = self._own_key(row, "key", problems)
        self._not_empty(out.values, ("opened_at",), problems)
        if "customer" in out.refs and not out.refs["customer"]:
            problems.append("customer is missing")
        opened_at, closed_at = out.values.get("opened_at"), out.values.get("closed_at")
        if opened_at is not None:
            self._occurred(out.values, problems, "opened_at")
        if opened_at is not None and closed_at is not None and closed_at < opened_at:
            problems.append("closed_at is before opened_at")

    def _occurred(
        self,
        values: Mapping[str, Any],
        problems: list[str],
        column: str = "occurred_at",
        ahead: timedelta | None = AHEAD,
    ) -> datetime | None:
        at = values.get(column)
        if at is None:
            if not any(p.startswith(f"{column} ") for p in problems):
                problems.append(f"{column} is missing")
            return None
        if ahead is not None and at > self.now + ahead:
            problems.append(f"{column} is in the future")
        assert isinstance(at, datetime)
        if at < EARLIEST:
            problems.append(f"{column} is before {EARLIEST.year}")
        return at


def _unfolded(row: Mapping[str, Any], problems: list[str]) -> dict[str, Any] | None:
    """An event's row with its `properties` (an object, or one as JSON text) beside the other columns."""
    found = row["properties"]
    if isinstance(found, str):
        try:
            found = msgspec.json.decode(found)
        except msgspec.DecodeError:
            found = None
    if not isinstance(found, Mapping):
        problems.append("properties is no JSON object")
        return None
    # What is said beside them wins; a property must not pose as the event's type or time.
    return {**found, **{k: v for k, v in row.items() if k != "properties"}}


def fingerprint(kind: str, customer: str | None, account: str | None, at: datetime, rest: Mapping[str, Any]) -> str:
    """The key of something that brought none: the same content is the same thing."""
    content = msgspec.json.encode([kind, customer, account, at, rest], order="deterministic")
    return "h:" + hashlib.sha256(content).hexdigest()[:40]


class Known(NamedTuple):
    """What is stored of whoever a row is about. `stated`: the tier as a row stated it last, in this class."""

    class_name: str
    tier: str | None = None
    stated: str | None = None


def tier_problem(vocabulary: Vocabulary, class_name: str | None, tier: str | None) -> str | None:
    """Why this tier cannot stand beside this class; None when it can."""
    found = vocabulary.classes.get(class_name or "")
    if tier is None or found is None or tier in found.tiers:
        return None
    hint = suggest(tier, found.tiers)
    return f"tier `{tier}` is no tier of {found.name}" + (f"; {hint}" if hint else "")


def default_class(vocabulary: Vocabulary, unit: Unit) -> str | None:
    """The class of whoever no rule is true of: the first without a rule; for an account among those of accounts, of
    which the first does where all have rules. None where no class has a rule: then every row states its class."""
    declared = vocabulary.classes.values()
    if not any(c.by_rule for c in declared):
        return None
    fitting = [c for c in declared if unit == "customer" or c.unit == "account"]
    return next((c.name for c in sorted(fitting, key=lambda c: c.by_rule)), None)


def direction(vocabulary: Vocabulary, class_name: str, before: str | None, after: str | None) -> str:
    """up, down, or set where the two cannot be compared."""
    found = vocabulary.classes.get(class_name)
    if found is None or before not in found.tiers or after not in found.tiers:
        return "set"
    return "up" if found.tiers.index(after or "") > found.tiers.index(before or "") else "down"
