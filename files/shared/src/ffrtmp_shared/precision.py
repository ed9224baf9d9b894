"""How well a run knows what it measured: what a suite asks for, and what came of it."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

MAX_REPEATS = 1000
"""The most often that a scenario is measured on a node."""


class Precision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long repeats go on beyond those that a suite has at least.

    A scenario is repeated on its node until half of the 95 % interval of its median speed is at
    most `interval` of that median, but no more than `max_repeats` times in all, and no more once
    its node has worked on the run for `budget_s`, if that is given.
    """

    interval: Annotated[float, Meta(gt=0, le=1)] = 0.01
    max_repeats: Annotated[int, Meta(ge=1, le=MAX_REPEATS)] = 30
    budget_s: Annotated[float, Meta(gt=0)] | None = None


class MedianState(StrEnum):
    """What is to be said of a median."""

    OPEN = "open"
    """More repeats are to come."""
    PRECISE = "precise"
    """Its interval is as narrow as was asked for."""
    UNSTABLE = "unstable"
    """Its interval stayed wider."""
    FEW_REPEATS = "few_repeats"
    """It has too few valid repeats for an interval."""


class MedianSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """The median speed of a scenario on a node, in multiples of real time.

    `n` repeats are in it, which leaves the `n_invalid` out. With 95 % confidence it lies between
    `low` and `high`; both are null where there are too few repeats.
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
    """The control encodes of a node in a run: `n` of them, with the speeds of first and last.

    `ratio` is the last over the first: below 1 the node got slower meanwhile. All three are null
    while there are fewer than two valid ones.
    """

    node: str
    n: int
    first_speed: float | None
    last_speed: float | None
    ratio: float | None


class RunPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """How well the results of a run are known; `interval` is what the suite asks for."""

    interval: float
    medians: tuple[MedianSpeed, ...]
    drifts: tuple[Drift, ...]
