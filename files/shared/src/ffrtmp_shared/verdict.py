"""Verdict on the validity of a measurement."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Text, Word


class VerdictState(StrEnum):
    """The extent to which the figures of a result can be relied on."""

    VALID = "valid"
    DEGRADED = "degraded"
    INVALID = "invalid"


class VerdictReason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reason for a verdict other than valid: a documented code and the relevant figures."""

    code: Word
    detail: Text


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Assessment of whether the figures of a result can be relied on.

    `degraded` figures come from a disturbed host and are marked as such. `invalid` figures are
    excluded from medians.
    """

    state: VerdictState
    reasons: Annotated[tuple[VerdictReason, ...], Meta(max_length=64)] = ()
