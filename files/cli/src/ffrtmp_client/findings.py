"""Findings of a run: statements that the intervals of its medians support."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .table_columns import Row, shares_rate_points

Interval = tuple[float, float]


@dataclass(frozen=True)
class _Metric:
    """A figure by which rows are compared.

    `title` begins the statement about the best row. `of` returns the interval of the median of a
    row, or None if there is none. `is_high_best` states whether a high figure is better.
    `control` is the rate control that the comparison requires, if any. If `at_no_higher_rate` is
    true, the best row must not have a higher bit rate than the others, because a higher quality at
    a higher bit rate says nothing about an encoder.
    """

    name: str
    title: str
    of: Callable[[Row], Interval | None]
    is_high_best: bool
    is_ratio: bool = True
    control: str | None = None
    at_no_higher_rate: bool = False
    remark: str = ""


@dataclass(frozen=True)
class _Statement:
    """A statement, and whether some of the repeats that support it were degraded."""

    text: str
    is_degraded: bool


@dataclass(frozen=True)
class _Comparison:
    """The best of some rows, its name, and the least difference from the others.

    The difference is a ratio, or the difference of the figures if the metric is not a ratio.
    """

    name: str
    margin: float
    is_degraded: bool


def _range(name: str) -> Callable[[Row], Interval | None]:
    def of(row: Row) -> Interval | None:
        found = row["ranges"][name]
        return None if found is None else (found[0], found[1])

    return of


def _speed(row: Row) -> Interval | None:
    if row["speed_low"] is None or row["kind"] in ("density", "live"):
        return None
    return row["speed_low"], row["speed_high"]


_METRICS = (
    _Metric("speed", "Fastest", _speed, is_high_best=True),
    _Metric(
        "vmaf_neg_mean",
        "Highest VMAF NEG",
        _range("vmaf_neg_mean"),
        is_high_best=True,
        is_ratio=False,
        control="bitrate_kbps",
        at_no_higher_rate=True,
        remark=", at no higher bit rate",
    ),
    _Metric(
        "video_bitrate_kbps",
        "Lowest bit rate for the requested VMAF",
        _range("video_bitrate_kbps"),
        is_high_best=False,
        control="vmaf",
    ),
    _Metric("energy_gross_j", "Least energy", _range("energy_gross_j"), is_high_best=False),
    _Metric(
        "cost_per_video_hour", "Lowest cost", _range("cost_per_video_hour"), is_high_best=False
    ),
)


def find_statements(rows: Sequence[Row], names: Mapping[str, Sequence[str]]) -> list[str]:
    """Return statements about the encode, the FFmpeg build and the node that are the best.

    A statement requires that the interval of the best row does not overlap that of any other row of
    the same comparison, and that the same one is the best in all comparisons of the run.

    Args:
        rows: The rows of the table.
        names: For each dimension (encode, FFmpeg, node), the name of each row in it.
    """
    found: list[_Statement] = []
    for dimension, labels in names.items():
        if len(set(labels)) < 2:  # noqa: PLR2004 - a comparison needs two
            continue
        others = [labels for name, labels in names.items() if name != dimension]
        groups: dict[tuple[Any, ...], list[tuple[str, Row]]] = {}
        for number, row in enumerate(rows):
            if row["rendition"] is None and row["n"] > 0:
                key = (row["source"], row["kind"], row["rate_point"])
                key += tuple(other[number] for other in others)
                groups.setdefault(key, []).append((labels[number], row))
        compared = [group for group in groups.values() if _can_be_compared(group)]
        found += [
            statement
            for metric in _METRICS
            if (statement := _statement(metric, compared)) is not None
        ]
    if not found:
        return []
    closing = "The 95 % intervals do not overlap"
    if any(statement.is_degraded for statement in found):
        closing += "; some of the repeats were degraded"
    return [*(statement.text for statement in found), f"{closing}."]


def _can_be_compared(group: Sequence[tuple[str, Row]]) -> bool:
    """Return whether rows with the same rate point measured the same task."""
    return len(group) > 1 and shares_rate_points([row for _, row in group])


def _statement(metric: _Metric, groups: Sequence[Sequence[tuple[str, Row]]]) -> _Statement | None:
    comparisons = [_compare(metric, group) for group in groups]
    best = [comparison for comparison in comparisons if comparison is not None]
    if not best or len(best) < len(groups) or len({comparison.name for comparison in best}) > 1:
        return None
    margin = min(comparison.margin for comparison in best)
    amount = f"{margin * 100:.0f} %" if metric.is_ratio else f"{margin:.2f}"
    count = f" in all {len(best)} comparisons" if len(best) > 1 else ""
    return _Statement(
        text=f"{metric.title}: {best[0].name}, by at least {amount}{count}{metric.remark}.",
        is_degraded=any(comparison.is_degraded for comparison in best),
    )


def _compare(metric: _Metric, group: Sequence[tuple[str, Row]]) -> _Comparison | None:
    """Return the best row of a group, or None if the intervals do not show which one it is."""
    intervals = [metric.of(row) for _, row in group]
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(group) or min(low for low, _ in known) <= 0:
        return None
    if metric.name.startswith("cost_") and len({row["currency"] for _, row in group}) > 1:
        return None
    number = (
        max(range(len(known)), key=lambda at: known[at][0])
        if metric.is_high_best
        else min(range(len(known)), key=lambda at: known[at][1])
    )
    name, best = group[number]
    if metric.control not in (None, best["rate_control"]):
        return None
    margins = []
    for at, (_, row) in enumerate(group):
        if at == number:
            continue
        if metric.at_no_higher_rate and row["video_bitrate_kbps"] < best["video_bitrate_kbps"]:
            return None
        if metric.is_high_best:
            low, other_high = known[number][0], known[at][1]
            margins.append(low / other_high - 1 if metric.is_ratio else low - other_high)
        else:
            margins.append(1 - known[number][1] / known[at][0])
    if min(margins) <= 0:
        return None
    return _Comparison(name, min(margins), any(row["n_degraded"] for _, row in group))
