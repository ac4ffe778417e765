"""What every table is made with: types, names, the metadata that all of them are in.

Invariants live here as constraints. Instants are aware UTC (`UtcDateTime`), never the database's clock. Internal ids
are integers in order of arrival; what the outside calls a thing is its `key`, and that is personal data.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Integer, MetaData
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware UTC instant: timestamptz on PostgreSQL, integer microseconds since 1970 on SQLite (small, sortable)."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("an instant without a zone cannot be stored")
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return micros(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, int):
            return from_micros(value)
        return value.astimezone(UTC)  # type: ignore[no-any-return]


def micros(value: datetime) -> int:
    """Microseconds since 1970, exactly."""
    delta = value - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


@lru_cache(maxsize=4096)  # the rows of a batch share most of their instants
def from_micros(value: int) -> datetime:
    return _EPOCH + timedelta(0, 0, value)


BigId = sa.BigInteger().with_variant(Integer(), "sqlite")  # SQLite autoincrements only INTEGER PRIMARY KEY
Json = sa.JSON().with_variant(JSONB(), "postgresql")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def new_id() -> Column[int]:
    return Column("id", BigId, primary_key=True, autoincrement=True)


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{v}'" for v in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
