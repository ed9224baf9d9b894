"""Numbers as texts with a fixed number of significant digits."""

from __future__ import annotations

import math

NONE = "n/a"
"""The text of a value that is unavailable."""


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number in decimal notation, rounded to a number of significant digits.

    All digits before the decimal point are kept, so that 81234 stays `81234`.

    Args:
        value: The number, or None if it is unavailable.
        digits: The number of significant digits, at least 1.
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{decimals}f}"


def fixed(value: float | None, decimals: int) -> str:
    """Return a number with a number of decimals.

    Args:
        value: The number, or None if it is unavailable.
        decimals: The number of decimals.
    """
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:.{decimals}f}"
