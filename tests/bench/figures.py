"""Results of benchmark cases: figures with their rounds and requirements."""

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
    """A median over rounds; `limit` is required, `goal` is only a target."""

    label: str
    unit: str
    samples: tuple[float, ...]
    limit: Limit | None = None
    goal: Limit | None = None

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.samples)

    @property
    def holds(self) -> bool | None:
        """Whether the median is within the limit; None without a limit."""
        return None if self.limit is None else self.limit.admits(self.value)

    @property
    def shown(self) -> str:
        """The median for a table."""
        return number(self.value)

    @property
    def shown_range(self) -> str:
        """The lowest and the highest round for a table."""
        if len(self.samples) == 1:
            return ""
        return f"{number(min(self.samples))} to {number(max(self.samples))}"

    @property
    def shown_limit(self) -> str:
        """The limit and the goal for a table."""
        if self.limit is None:
            return ""
        limit = f"{self.limit.sense} {number(self.limit.value)}"
        return limit if self.goal is None else f"{limit} (aim: {number(self.goal.value)})"

    @property
    def shown_verdict(self) -> str:
        """Whether the limit is met, for a table."""
        return {None: "", True: "holds", False: "does not hold"}[self.holds]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a benchmark case: its conditions and figures."""

    key: str
    title: str
    conditions: tuple[str, ...]
    figures: tuple[Figure, ...]

    @property
    def holds(self) -> bool:
        """Whether every figure is within its limit."""
        return all(figure.holds is not False for figure in self.figures)


def number(value: float) -> str:
    """Format a number with three significant digits, or as an integer."""
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def quantile(values: Iterable[float], part: float) -> float:
    """Return the value that `part` of all values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(part * len(ranked)) - 1)]


def ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Divide per round, because a disturbance of a round affects both values."""
    return tuple(a / b for a, b in zip(above, below, strict=True))
