"""Findings about a host."""

from enum import StrEnum

import msgspec


class Status(StrEnum):
    """The state of one aspect of a host."""

    OK = "ok"
    WARNING = "warning"
    """Measurements are correct, but vary more or describe a slower host."""
    FAULT = "fault"
    """Measurements are wrong or impossible."""
    UNAVAILABLE = "unavailable"
    """The host does not provide the value, or this user may not read it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one aspect of a host.

    Attributes:
        id: The aspect, such as `clock-source`.
        status: `ok`, `warning`, `fault` or `unavailable`.
        found: The observation.
        remedy: The action that improves the state, or empty if there is nothing to do.
    """

    id: str
    status: Status
    found: str
    remedy: str = ""
