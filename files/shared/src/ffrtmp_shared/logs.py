"""Structured logs: one JSON object per line on standard error, for the journal."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

# The fields of the current request or job, which are added to every log line. All tasks and threads
# of the request or job share one dictionary.
_context: ContextVar[dict[str, object] | None] = ContextVar("log_context", default=None)


def begin_context(**fields: object) -> None:
    """Add `fields` to all further log lines of this context and of contexts copied from it.

    They replace the fields of an earlier call.
    """
    _context.set(fields)


def add_context(**fields: object) -> None:
    """Add fields to those of `begin_context`. If it was not called before, this has no effect."""
    known = _context.get()
    if known is not None:
        known.update(fields)


class JsonFormatter(logging.Formatter):
    """A formatter that writes each record as one JSON object.

    The object contains the fields of the context and of `extra`. They cannot replace time, level,
    logger or message.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON without a line feed."""
        own: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        fields = {**(_context.get() or {}), **extra}
        entry = own | {k: v for k, v in fields.items() if v is not None and k not in own}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        try:
            return msgspec.json.encode(entry, enc_hook=str).decode()
        except (TypeError, ValueError):
            # The entry contains a lone surrogate, which is escaped here, or a key that is not a
            # string, which is skipped here. The rest of the line is kept.
            return json.dumps(entry, default=str, skipkeys=True)


def configure(level: str) -> None:
    """Send all log records of at least `level` to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # By default, httpx logs a line for each HTTP request, which would obscure the relevant lines.
    logging.getLogger("httpx").setLevel(logging.WARNING)
