"""Structured logs: one JSON object a line on standard error, for the journal."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

# What is being done now, as it stands in every line: one dictionary a request or job, shared by
# the tasks and threads that work for it.
_context: ContextVar[dict[str, object] | None] = ContextVar("log_context", default=None)


def begin_context(**fields: object) -> None:
    """Put `fields` into every line that this context, and those copied from it, log from now on.

    What an earlier call had put there is gone.
    """
    _context.set(fields)


def add_context(**fields: object) -> None:
    """Add to the fields of every further line of what was begun; nothing where nothing was."""
    known = _context.get()
    if known is not None:
        known.update(fields)


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object.

    Beside the message stand the fields of what is being done and those given as `extra`; neither
    can take the place of time, level, logger or message.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of JSON without its line end."""
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
            # A lone surrogate, or a key that is no text: a line that is odd, but not lost.
            return json.dumps(entry, default=str, skipkeys=True)


def configure(level: str) -> None:
    """Send all log records of at least `level` to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line for each HTTP request would drown what an operator looks for.
    logging.getLogger("httpx").setLevel(logging.WARNING)
