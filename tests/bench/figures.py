"""Results of benchmark cases: figures with the values of their rounds and their limits."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec


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

    The median must be within `limit`. `goal` is only a target.
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
    def holds(self) -> bool | None:
        """Return whether the median is within the limit, or None if there is no limit."""
        return None if self.limit is None else self.limit.admits(self.value)

    @property
    def shown(self) -> str:
        """The median as text for a table."""
        return number(self.value)

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

    @property
    def shown_verdict(self) -> str:
        """Text for a table that says whether the median is within the limit."""
        return {None: "", True: "holds", False: "does not hold"}[self.holds]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a benchmark case: its conditions and figures."""

    key: str
    title: str
    conditions: tuple[str, ...]
    figures: tuple[Figure, ...]

    @property
    def holds(self) -> bool:
        """Return whether every figure that has a limit is within it."""
        return all(figure.holds is not False for figure in self.figures)


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
