"""Quantiles of Student's t distribution."""

from __future__ import annotations

import math

_DEGREES_MAX = 1000
"""Degrees of freedom above which the quantile no longer changes by more than 0.3 %."""

_HALVINGS = 60


def two_sided_quantile(confidence: float, degrees: float) -> float:
    """Return the bound that the absolute value of t does not exceed with a probability.

    Args:
        confidence: The probability, between 0 and 1.
        degrees: Degrees of freedom, at least 1. Fractions are rounded down, which yields a bound
            that is slightly too large.

    Raises:
        ValueError: An argument is out of range.
    """
    if not 0 < confidence < 1 or not degrees >= 1:
        raise ValueError("confidence must be between 0 and 1, and degrees at least 1")
    count = int(min(degrees, _DEGREES_MAX))
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _probability(middle, count) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(count) * math.tan((low + high) / 2)


def _probability(angle: float, degrees: int) -> float:
    """Return the probability that |t| is at most sqrt(degrees) * tan(angle).

    The finite series is that of Abramowitz and Stegun, "Handbook of Mathematical Functions",
    equations 26.7.3 and 26.7.4.
    """
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2
    term = cosine if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for factor in range(3 if is_odd else 2, degrees - 1, 2):
        term *= cosine**2 * (factor - 1) / factor
        total += term
    if is_odd:
        return (angle + sine * total) * 2 / math.pi
    return sine * total
