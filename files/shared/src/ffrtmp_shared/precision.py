"""Precision of a run: the precision that its suite requests, and the precision it has reached."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

MAX_REPEATS = 1000
"""The maximum number of repeats of a scenario on a node."""

MIN_INTERVAL = 1e-4
"""The narrowest interval that a suite may request, as a fraction of the median.

No benchmark is that steady, and the number of repeats grows with the square of its reciprocal.
"""

MAX_BUDGET_S = 31_536_000.0
"""The longest time for repeats, in seconds: one year."""


class Precision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The precision that a suite requests, and the limits of the repeats that are to reach it.

    A scenario is repeated on its node until half the width of the 95 % confidence interval of its
    median speed, as a fraction of the median, is at most `interval`. This is checked at a few
    numbers of repeats that are planned from `max_repeats`. It also gets no further repeats after
    `max_repeats` in total. If `budget_s` is set, all repeats end when the node has
    worked on the run for `budget_s` seconds.
    """

    interval: Annotated[float, Meta(ge=MIN_INTERVAL, le=1)] = 0.01
    max_repeats: Annotated[int, Meta(ge=1, le=MAX_REPEATS)] = 30
    budget_s: Annotated[float, Meta(gt=0, le=MAX_BUDGET_S)] | None = None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A number of repeats at which a median may count as precise.

    At `n` repeats, the confidence interval of the median extends from the value with the rank
    `rank` to the value with the same rank from above.
    """

    n: int
    rank: int


class MedianState(StrEnum):
    """State of the median speed of a scenario on a node."""

    OPEN = "open"
    """More repeats will follow."""
    PRECISE = "precise"
    """The confidence interval is as narrow as requested."""
    UNSTABLE = "unstable"
    """The confidence interval is wider than requested, and no more repeats will follow."""
    FEW_REPEATS = "few_repeats"
    """There are too few valid repeats for a confidence interval, and no more will follow."""


class MedianSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """The median speed of a scenario on a node, in multiples of real time.

    `speed` is the median of `n` repeats. The `n_invalid` repeats with an invalid verdict are not
    among them. `low` and `high` are the bounds of the 95 % confidence interval of the median. Both
    are null if there are too few repeats. If the suite requests a precision, the intervals of all
    looks up to `n` together cover the median with at least 95 %.
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

    `ratio` is the last speed divided by the first. If it is below 1, the node has become slower.
    The speeds and the ratio are null while there are fewer than two valid control encodes.

    If `is_unusual`, two control encodes in succession lay outside the usual range of the node, so
    that its results of the run are degraded. `low` and `high` are the limits of this range.
    """

    node: str
    n: int
    first_speed: float | None
    last_speed: float | None
    ratio: float | None
    is_unusual: bool = False
    low: float | None = None
    high: float | None = None


class RunPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """Precision of the results of a run.

    `interval` is the value that the suite requests. `looks` are the numbers of repeats at which a
    median may count as precise, which were planned before the run. There are none if the suite
    requests no precision.
    """

    interval: float
    medians: tuple[MedianSpeed, ...]
    drifts: tuple[Drift, ...]
    looks: tuple[Look, ...] = ()
