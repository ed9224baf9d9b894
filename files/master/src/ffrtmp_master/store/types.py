"""Column types: times in UTC, and msgspec types as JSON."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import JSON, DateTime, Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Column type for timezone-aware times in UTC. It works without database support for zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a time to UTC. Raises ValueError for a naive time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a timezone cannot be stored: {value}")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a timezone-aware time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Typed(TypeDecorator[Any]):
    """Column type for values of a msgspec type. They are stored as JSON, and None as NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, kept_type: Any = Any) -> None:
        """Create a column type for values of `kept_type`."""
        super().__init__()
        self.kept_type = kept_type

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Convert decoded JSON to the typed value."""
        return None if value is None else msgspec.convert(value, self.kept_type)


def to_json(value: Any) -> str:
    """Encode a value as JSON text. The engines use this function for JSON columns."""
    return msgspec.json.encode(value).decode()


def from_json(text: str | bytes) -> Any:
    """Decode JSON text. The engines use this function for JSON columns."""
    return msgspec.json.decode(text)
