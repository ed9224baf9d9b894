"""Mean difference over several contents (clips), and its interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from ..student_t import two_sided_quantile
from .difference import CurveDifference
from .uncertainty import CONFIDENCE

CONTENTS_MIN = 4
"""Least number of contents for an interval."""


@dataclass(frozen=True)
class MeanCurveDifference:
    """A mean over contents, in the unit of the differences.

    Attributes:
        value: The mean, or None if no content has a difference.
        low: The lower bound of the 95 % interval, or None if there are too few contents.
        high: The upper bound.
        contents: The contents in the mean.
        rejected: The contents without a difference, with the reason.
        reason: Why the mean or its interval is unavailable.
    """

    value: float | None
    low: float | None
    high: float | None
    contents: tuple[str, ...]
    rejected: Mapping[str, str]
    reason: str | None = None


def mean_over_contents(differences: Mapping[str, CurveDifference]) -> MeanCurveDifference:
    """Return the mean of differences over contents.

    It is the geometric mean of the ratios of costs, or the arithmetic mean of differences of
    quality. The interval is that of Student's t on the logarithms or differences. It covers the
    choice of the contents and, as these were measured independently, the repeats.

    Args:
        differences: The difference for each content by its name, all of the same kind.

    Raises:
        ValueError: The differences are of different kinds.
    """
    if len({difference.is_ratio for difference in differences.values()}) > 1:
        raise ValueError("differences of cost and of quality have no common mean")
    known = {
        name: math.log1p(found.value) if found.is_ratio else found.value
        for name, found in differences.items()
        if found.value is not None
    }
    rejected = {
        name: found.reason or "unavailable"
        for name, found in differences.items()
        if found.value is None
    }
    names = tuple(known)
    if not known:
        return MeanCurveDifference(None, None, None, names, rejected, "no content has a difference")
    is_ratio = next(iter(differences.values())).is_ratio

    def shown(value: float) -> float:
        return math.expm1(value) if is_ratio else value

    mean = statistics.fmean(known.values())
    if len(known) < CONTENTS_MIN:
        reason = f"an interval over contents requires {CONTENTS_MIN} of them, not {len(known)}"
        return MeanCurveDifference(shown(mean), None, None, names, rejected, reason)
    error = statistics.stdev(known.values()) / math.sqrt(len(known))
    half = two_sided_quantile(CONFIDENCE, len(known) - 1) * error
    return MeanCurveDifference(shown(mean), shown(mean - half), shown(mean + half), names, rejected)
