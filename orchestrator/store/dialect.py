"""Expressions that mean the same on SQLite and PostgreSQL: members of Json columns, typed, and NULL when malformed.

A member of another type than asked for, or a text that is no such date, is NULL and not an error: one odd row must not
stop a segment over a million. Names come from the declared vocabulary; they are bound all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import in_op

from orchestrator.store.tables import UtcDateTime

# Days that exist, so that PostgreSQL's cast cannot fail; pg_input_is_valid came only with version 16.
_YEAR = r"(?!0000)\d{4}"
_LEAP = r"(?:(?!0000)(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00))"
_DAY = (
    rf"(?:{_YEAR}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])"
    rf"|{_YEAR}-(?:0[13-9]|1[0-2])-(?:29|30)|{_YEAR}-(?:0[13578]|1[02])-31|{_LEAP}-02-29)"
)
DAY = rf"^{_DAY}$"
INSTANT = rf"^{_DAY}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{{6}}Z$"


class _Member(FunctionElement[Any]):
    """Arguments: the column, the member's name (PostgreSQL), the member's path (SQLite)."""

    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        super().__init__(column, sa.literal(name, sa.Text()), sa.literal(f'$."{escaped}"', sa.Text()))


class _Text(_Member):
    name = "json_text"
    type = sa.Text()
    inherit_cache = True


class _Number(_Member):
    name = "json_number"
    type = sa.Double()
    inherit_cache = True


class _Bool(_Member):
    name = "json_bool"
    type = sa.Boolean()
    inherit_cache = True


class _Date(_Member):
    name = "json_date"
    type = sa.Date()
    inherit_cache = True


class _Instant(_Member):
    name = "json_instant"
    type = UtcDateTime()
    inherit_cache = True


def json_text(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[str]:
    """A member that is a text."""
    return _Text(column, name)


def json_number(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[float]:
    """A member that is a number, as a double on both (exact for whole numbers up to 2**53)."""
    return _Number(column, name)


def json_bool(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """A member that is true or false."""
    return _Bool(column, name)


def json_date(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[date]:
    """A member that is the text of an existing day, YYYY-MM-DD."""
    return _Date(column, name)


def json_instant(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[datetime]:
    """A member that is an instant as the store writes it, YYYY-MM-DDTHH:MM:SS.ffffffZ."""
    return _Instant(column, name)


def listed(column: sa.ColumnElement[Any], values: Iterable[Any]) -> sa.ColumnElement[bool]:
    """`IN` of values that a kept statement has for good; `in_` of plain ones has its text written anew at each
    execution. At least one value."""
    kind: Any = column.type
    return column.in_([sa.literal(value, kind.coerce_compared_value(in_op, value)) for value in values])


def _parts(element: _Member, compiler: SQLCompiler, kw: dict[str, Any]) -> tuple[str, str]:
    column, name, path = element.clauses
    chosen = path if compiler.dialect.name == "sqlite" else name
    return compiler.process(column, **kw), compiler.process(chosen, **kw)


@compiles(_Text, "sqlite")
def _(element: _Text, compiler: SQLCompiler, **kw: Any) -> str:
    c, p = _parts(element, compiler, kw)
    return f"CASE WHEN json_type({c}, {p}) = 'text' THEN json_extract({c}, {p}) END"


@compiles(_Number, "sqlite")
def _(element: _Number, compiler: SQLCompiler, **kw: Any) -> str:
    c, p = _parts(element, compiler, kw)
    value = f"json_extract({c}, {p})"
    return f"CASE WHEN json_type({c}, {p}) IN ('integer', 'real') AND abs({value}) <= 1e308 THEN {value} END"


@compiles(_Bool, "sqlite")
def _(element: _Bool, compiler: SQLCompiler, **kw: Any) -> str:
    c, p = _parts(element, compiler, kw)
    return f"CASE json_type({c}, {p}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"


@compiles(_Date, "sqlite")
def _(element: _Date, compiler: SQLCompiler, **kw: Any) -> str:
    c, p = _parts(element, compiler, kw)
    value = f"json_extract({c}, {p})"
    # date() takes more than days, and moves 31 April to 1 May (only if it has to calculate, hence '+0 days'): what
    # comes back unchanged is a day. Python and PostgreSQL have no year 0.
    is_day = f"date({value}, '+0 days') = {value} AND {value} >= '0001'"
    return f"CASE WHEN json_type({c}, {p}) = 'text' AND {is_day} THEN {value} END"


@compiles(_Instant, "sqlite")
def _(element: _Instant, compiler: SQLCompiler, **kw: Any) -> str:
    c, p = _parts(element, compiler, kw)
    v = f"json_extract({c}, {p})"
    seconds = f"strftime('%s', substr({v}, 1, 19))"
    well_formed = (
        f"{v} GLOB '????-??-??T??:??:??.[0-9][0-9][0-9][0-9][0-9][0-9]Z' "
        f"AND strftime('%Y-%m-%dT%H:%M:%S', substr({v}, 1, 19), '+0 days') = substr({v}, 1, 19) AND {v} >= '0001'"
    )
    value = f"CAST({seconds} AS INTEGER) * 1000000 + CAST(substr({v}, 21, 6) AS INTEGER)"
    return f"CASE WHEN json_type({c}, {p}) = 'text' AND {well_formed} THEN {value} END"


@compiles(_Text, "postgresql")
def _(element: _Text, compiler: SQLCompiler, **kw: Any) -> str:
    c, n = _parts(element, compiler, kw)
    return f"CASE WHEN jsonb_typeof({c} -> {n}) = 'string' THEN {c} ->> {n} END"


@compiles(_Number, "postgresql")
def _(element: _Number, compiler: SQLCompiler, **kw: Any) -> str:
    c, n = _parts(element, compiler, kw)
    number = f"({c} ->> {n})::numeric"
    # Tiny numbers make the cast to double fail as huge ones do.
    return (
        f"CASE WHEN jsonb_typeof({c} -> {n}) = 'number' THEN CASE WHEN {number} = 0 "
        f"OR abs({number}) BETWEEN 1e-307 AND 1e308 THEN ({c} ->> {n})::double precision END END"
    )


@compiles(_Bool, "postgresql")
def _(element: _Bool, compiler: SQLCompiler, **kw: Any) -> str:
    c, n = _parts(element, compiler, kw)
    return f"CASE WHEN jsonb_typeof({c} -> {n}) = 'boolean' THEN ({c} ->> {n})::boolean END"


@compiles(_Date, "postgresql")
def _(element: _Date, compiler: SQLCompiler, **kw: Any) -> str:
    return _dated(element, compiler, DAY, "date", kw)


@compiles(_Instant, "postgresql")
def _(element: _Instant, compiler: SQLCompiler, **kw: Any) -> str:
    return _dated(element, compiler, INSTANT, "timestamptz", kw)


def _dated(element: _Member, compiler: SQLCompiler, pattern: str, kind: str, kw: dict[str, Any]) -> str:
    c, n = _parts(element, compiler, kw)
    text = compiler.process(sa.literal(pattern, sa.Text()), literal_binds=True)
    return f"CASE WHEN jsonb_typeof({c} -> {n}) = 'string' AND ({c} ->> {n}) ~ {text} THEN ({c} ->> {n})::{kind} END"
