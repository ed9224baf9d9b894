"""Column types: moments in UTC, and msgspec types as JSON."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import JSON, DateTime, Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. Goes in and comes out aware and in UTC, whatever the database knows of zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time; hand over UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value}")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say that what comes out is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Typed(TypeDecorator[Any]):
    """A value of a msgspec type, kept as JSON. None is NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, kept_type: Any = Any) -> None:
        """Make a column that gives values of `kept_type`."""
        super().__init__()
        self.kept_type = kept_type

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Build the typed value from what JSON gave."""
        return None if value is None else msgspec.convert(value, self.kept_type)


def to_json(value: Any) -> str:
    """Write `value` as JSON text; the engines use it for JSON columns."""
    return msgspec.json.encode(value).decode()


def from_json(text: str | bytes) -> Any:
    """Read JSON text; the engines use it for JSON columns."""
    return msgspec.json.decode(text)
