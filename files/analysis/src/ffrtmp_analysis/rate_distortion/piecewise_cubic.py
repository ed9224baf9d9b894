"""Interpolation by piecewise cubic polynomials, and exact integrals of these."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

POINTS_MIN = 3
"""Least number of points of an interpolation."""

_EQUAL_SLOPES = 1e-9
"""Sum of the changes of slope, relative to the largest one, up to which Akima's weights are taken
to be zero."""


@dataclass(frozen=True)
class PiecewiseCubic:
    """A curve through points with given slopes, which is a cubic polynomial between each two.

    `x` ascends strictly. `y` and `slopes` are the values and the derivatives at `x`.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    slopes: tuple[float, ...]

    def at(self, position: float) -> float:
        """Return the value at a position, which must be within the range of the points."""
        piece = self._piece(position)
        c0, c1, c2, c3 = self._coefficients(piece)
        t = position - self.x[piece]
        return c0 + t * (c1 + t * (c2 + t * c3))

    def integral(self, low: float, high: float) -> float:
        """Return the exact integral from `low` to `high`.

        Args:
            low: The lower limit, not below the first point.
            high: The upper limit, not below `low` and not above the last point.
        """
        total = 0.0
        for piece in range(self._piece(low), self._piece(high) + 1):
            begin, end = max(low, self.x[piece]), min(high, self.x[piece + 1])
            total += self._primitive(piece, end) - self._primitive(piece, begin)
        return total

    def _piece(self, position: float) -> int:
        if not self.x[0] <= position <= self.x[-1]:
            raise ValueError(f"{position} is outside of {self.x[0]} to {self.x[-1]}")
        return min(bisect_right(self.x, position), len(self.x) - 1) - 1

    def _primitive(self, piece: int, position: float) -> float:
        c0, c1, c2, c3 = self._coefficients(piece)
        t = position - self.x[piece]
        return t * (c0 + t * (c1 / 2 + t * (c2 / 3 + t * c3 / 4)))

    def _coefficients(self, piece: int) -> tuple[float, float, float, float]:
        """Return the coefficients of a piece by powers of the distance from its first point."""
        width = self.x[piece + 1] - self.x[piece]
        secant = (self.y[piece + 1] - self.y[piece]) / width
        first, last = self.slopes[piece], self.slopes[piece + 1]
        square = (3 * secant - 2 * first - last) / width
        cube = (first + last - 2 * secant) / width**2
        return self.y[piece], first, square, cube


Interpolation = Callable[[Sequence[float], Sequence[float]], PiecewiseCubic]
"""A function that returns the curve through the points with the given `x` and `y`."""


def pchip(x: Sequence[float], y: Sequence[float]) -> PiecewiseCubic:
    """Interpolate without overshoot: the curve is monotone wherever the points are.

    The slopes are those of Fritsch and Butland, "A method for constructing local monotone piecewise
    cubic interpolants", SIAM J. Sci. Stat. Comput. 5 (1984), and at the ends the formula of three
    points that Moler describes in "Numerical Computing with MATLAB", section 3.6. SciPy's
    PchipInterpolator, and with it the package bjontegaard, does the same.

    Args:
        x: Positions, which ascend strictly; at least three.
        y: Values at the positions.

    Raises:
        ValueError: The positions do not ascend, or there are too few.
    """
    widths, secants = _steps(x, y)
    slopes = [_end_slope(widths[0], widths[1], secants[0], secants[1])]
    for (h0, h1), (m0, m1) in zip(pairwise(widths), pairwise(secants), strict=True):
        if m0 * m1 <= 0:
            slopes.append(0.0)
            continue
        w0, w1 = 2 * h1 + h0, h1 + 2 * h0
        slopes.append((w0 + w1) / (w0 / m0 + w1 / m1))
    slopes.append(_end_slope(widths[-1], widths[-2], secants[-1], secants[-2]))
    return PiecewiseCubic(tuple(x), tuple(y), tuple(slopes))


def akima(x: Sequence[float], y: Sequence[float]) -> PiecewiseCubic:
    """Interpolate by the method of Akima, "A New Method of Interpolation", J. ACM 17 (1970).

    Unlike `pchip`, it may overshoot. The difference between the two indicates how much a result
    depends on the interpolation.

    Args:
        x: Positions, which ascend strictly; at least three.
        y: Values at the positions.

    Raises:
        ValueError: The positions do not ascend, or there are too few.
    """
    _, m = _steps(x, y)
    before, after = 2 * m[0] - m[1], 2 * m[-1] - m[-2]
    m = [2 * before - m[0], before, *m, after, 2 * after - m[-1]]
    changes = [abs(right - left) for left, right in pairwise(m)]
    sums = [changes[at] + changes[at + 2] for at in range(len(x))]
    slopes = []
    for at, total in enumerate(sums):
        if total > _EQUAL_SLOPES * max(sums):
            slopes.append((changes[at + 2] * m[at + 1] + changes[at] * m[at + 2]) / total)
        else:
            slopes.append((m[at] + m[at + 3]) / 2)
    return PiecewiseCubic(tuple(x), tuple(y), tuple(slopes))


def _steps(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the widths of the pieces, and their mean slopes."""
    if len(x) < POINTS_MIN or len(x) != len(y):
        raise ValueError(f"{POINTS_MIN} points with a value each are required")
    widths = [right - left for left, right in pairwise(x)]
    if not all(width > 0 for width in widths):
        raise ValueError("the positions do not ascend")
    return widths, [
        (right - left) / width for (left, right), width in zip(pairwise(y), widths, strict=True)
    ]


def _end_slope(h0: float, h1: float, m0: float, m1: float) -> float:
    """Return the slope at an end, from the widths and mean slopes of the two pieces next to it."""
    slope = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    if slope * m0 <= 0:
        return 0.0
    if m0 * m1 <= 0 and abs(slope) > 3 * abs(m0):
        return 3 * m0
    return slope
