"""Precision of a run: the precision that a suite requests, and the precision reached."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

MAX_REPEATS = 1000
"""The maximum number of repeats of a scenario on a node."""


class Precision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The condition for ending repeats after the minimum number of repeats of the suite.

    A scenario is repeated on its node until half the width of the 95 % interval of its median
    speed, as a fraction of the median, is at most `interval`. Repeats also end after
    `max_repeats` in total, or when the node has worked on the run for `budget_s`, if set.
    """

    interval: Annotated[float, Meta(gt=0, le=1)] = 0.01
    max_repeats: Annotated[int, Meta(ge=1, le=MAX_REPEATS)] = 30
    budget_s: Annotated[float, Meta(gt=0)] | None = None


class MedianState(StrEnum):
    """State of a median."""

    OPEN = "open"
    """More repeats will follow."""
    PRECISE = "precise"
    """Its interval is as narrow as requested."""
    UNSTABLE = "unstable"
    """Its interval is wider than requested, and no repeats will follow."""
    FEW_REPEATS = "few_repeats"
    """It has too few valid repeats for an interval."""


class MedianSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """The median speed of a scenario on a node, in multiples of real time.

    It is the median of `n` repeats; the `n_invalid` repeats with an invalid verdict are excluded.
    `low` and `high` are the bounds of its 95 % confidence interval; both are null if there are too
    few repeats.
    """

    node: str
    scenario: str
    n: int
    n_invalid: int
    speed: float | None
    low: float | None
    high: float | None
    state: MedianState


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Change of speed between the first and the last of the `n` control encodes of a node.

    `ratio` is the last speed divided by the first; below 1, the node has become slower. Speeds
    and ratio are null while there are fewer than two valid control encodes.
    """

    node: str
    n: int
    first_speed: float | None
    last_speed: float | None
    ratio: float | None


class RunPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """Precision of the results of a run. `interval` is the value that the suite requests."""

    interval: float
    medians: tuple[MedianSpeed, ...]
    drifts: tuple[Drift, ...]
