"""Means of differences over clips. Results of different clips are never pooled."""

import math
from collections.abc import Iterable, Sequence

from ffrtmp_analysis.comparison.differences import Difference, MeanDifference
from ffrtmp_analysis.statistics.mean import estimate_mean


def mean_differences(differences: Iterable[Difference]) -> tuple[MeanDifference, ...]:
    """Return the mean over clips of each quantity, configuration and node with enough clips.

    Args:
        differences: The differences of the scenarios.
    """
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    for found in differences:
        key = found.node, found.configuration, found.quantity.value
        groups.setdefault(key, []).append(found)
    means = (_mean(group) for group in groups.values())
    return tuple(mean for mean in means if mean is not None)


def _mean(group: Sequence[Difference]) -> MeanDifference | None:
    first = group[0]
    changes = [found.change for found in group if found.change is not None]
    estimate = estimate_mean([math.log1p(c) if first.is_relative else c for c in changes])
    if estimate is None:
        return None
    mean, low, high = (
        math.expm1(value) if first.is_relative else value
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    return MeanDifference(
        node=first.node,
        configuration=first.configuration,
        quantity=first.quantity,
        is_relative=first.is_relative,
        change=mean,
        low=low,
        high=high,
        clips=estimate.n,
        left_out=tuple(found.source for found in group if found.change is None),
    )
