"""Values that could not be measured, with the reason."""

from enum import StrEnum

import msgspec

from ffrtmp_shared.constrained_types import LongText


class Cause(StrEnum):
    """The causes of unavailable values that affect the verdict."""

    PAIRING = "pairing"
    """Frames of the output could not be assigned to frames of the source."""


class Unavailable(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag="unavailable",
    tag_field="status",
):
    """A value that could not be measured on this host.

    Attributes:
        reason: The reason.
        cause: The cause, if it affects the verdict.
    """

    reason: LongText
    cause: Cause | None = None


UNKNOWN = Unavailable(reason="this release of the agent did not measure it")
