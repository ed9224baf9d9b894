"""Results of benchmark cases: figures with the values of their rounds and their limits.

A figure holds only if all of its interval is within its limit, because a noisy median proves
nothing. The interval is the 95 % confidence interval of the median. Fewer than six rounds have no
such interval; then it extends from the lowest to the highest round.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from ffrtmp_master.runs.confidence_interval import interval_of_median

Verdict = Literal["", "holds", "undecided", "does not hold"]


class Limit(msgspec.Struct, frozen=True):
    """A requirement on the value of a figure."""

    sense: Literal["at least", "at most", "above", "under"]
    value: float

    def admits(self, value: float) -> bool:
        """Return whether a value is within the limit."""
        match self.sense:
            case "at least":
                return value >= self.value
            case "at most":
                return value <= self.value
            case "above":
                return value > self.value
            case "under":
                return value < self.value


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value with a sample for each round.

    The interval of the median must be within `limit`. `goal` is only a target.
    """

    label: str
    unit: str
    samples: tuple[float, ...]
    limit: Limit | None = None
    goal: Limit | None = None

    @property
    def value(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def verdict(self) -> Verdict:
        """The position of the interval of the median to the limit; empty if there is no limit."""
        if self.limit is None:
            return ""
        interval = interval_of_median(self.samples)
        bounds = self.samples if interval is None else (interval.low, interval.high)
        admitted = {self.limit.admits(bound) for bound in (min(bounds), max(bounds))}
        if len(admitted) > 1:
            return "undecided"
        return "holds" if admitted == {True} else "does not hold"

    @property
    def shown(self) -> str:
        """The median as text for a table."""
        return number(self.value)

    @property
    def shown_interval(self) -> str:
        """The 95 % confidence interval of the median as text for a table."""
        interval = interval_of_median(self.samples)
        return "" if interval is None else f"{number(interval.low)} to {number(interval.high)}"

    @property
    def shown_range(self) -> str:
        """The lowest and the highest sample as text for a table."""
        if len(self.samples) == 1:
            return ""
        return f"{number(min(self.samples))} to {number(max(self.samples))}"

    @property
    def shown_limit(self) -> str:
        """The limit and the goal as text for a table."""
        if self.limit is None:
            return ""
        limit = f"{self.limit.sense} {number(self.limit.value)}"
        return limit if self.goal is None else f"{limit} (aim: {number(self.goal.value)})"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a benchmark case: its conditions and figures."""

    key: str
    title: str
    conditions: tuple[str, ...]
    figures: tuple[Figure, ...]


def number(value: float) -> str:
    """Format a number with three significant digits, or as an integer."""
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def quantile(values: Iterable[float], part: float) -> float:
    """Return the smallest value that at least the fraction `part` of all values does not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(part * len(ranked)) - 1)]


def ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Divide the two values of each round.

    A disturbance during a round affects both of its values, so it affects their ratio less.
    """
    return tuple(a / b for a, b in zip(above, below, strict=True))
