"""Order of the rows of the table of results: what is compared stands together, the best first."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from .table_columns import Row, shares_rate_points

_KINDS = ("transcode", "ladder", "decode", "density", "live")


def in_table_order(rows: Sequence[Row]) -> list[Row]:
    """Return the rows in the order of the table.

    Rows of the same source, kind and rate point stand together if their rate points can be
    compared. Among these, the encode with the best figure is first: of a bit rate, the highest
    VMAF NEG; of a VMAF, the lowest bit rate; of a density, the most streams; of a live, the lowest
    lag; and otherwise the highest speed. If the rate points of encoders cannot be compared, the
    fastest encode is first, and its rate points stand together. The nodes of an encode are in the
    order of their speeds. Renditions stay below their ladder.

    Args:
        rows: The rows, as `median_rows` returns them.
    """
    blocks: list[list[Row]] = []
    for row in rows:
        if row["rendition"] is None:
            blocks.append([row])
        else:
            blocks[-1].append(row)
    is_by_rate = shares_rate_points(rows)
    best: dict[tuple[Any, ...], float] = {}
    for first, *_ in blocks:
        key = _compared(first, is_by_rate=is_by_rate)
        best[key] = max(best.get(key, -math.inf), _rank(first, is_by_rate=is_by_rate))

    def order(block: list[Row]) -> tuple[Any, ...]:
        row = block[0]
        kind = _KINDS.index(row["kind"]) if row["kind"] in _KINDS else len(_KINDS)
        encode = (-best[_compared(row, is_by_rate=is_by_rate)], row["encode"])
        rate = _rate_order(row["rate_point"])
        build = (row["ffmpeg"] or "", row["ffmpeg_sha256"])
        node = (-_or_least(row["speed"]), row["node"])
        middle = (*rate, *encode) if is_by_rate else (*encode, *rate)
        return (row["source"], kind, *middle, *build, *node)

    return [row for block in sorted(blocks, key=order) for row in block]


def _compared(row: Row, *, is_by_rate: bool) -> tuple[Any, ...]:
    """Return what identifies an encode among those with which it is compared."""
    rate = row["rate_point"] if is_by_rate else ""
    return row["source"], row["kind"], rate, row["encode"]


def _rank(row: Row, *, is_by_rate: bool) -> float:
    """Return a number that is higher for a better row."""
    if row["kind"] == "density":
        return _or_least(row["streams"])
    if row["kind"] == "live":
        return -math.inf if row["lag_p95_s"] is None else -float(row["lag_p95_s"])
    if is_by_rate and row["rate_control"] == "bitrate_kbps":
        neg = row["vmaf_neg_mean"]
        return _or_least(row["vmaf_mean"] if neg is None else neg)
    if is_by_rate and row["rate_control"] == "vmaf":
        rate = row["video_bitrate_kbps"]
        return -math.inf if rate is None else -float(rate)
    return _or_least(row["speed"])


def _rate_order(rate_point: str) -> tuple[float, str]:
    """Return a sort key that orders rate points by number, so that 800k precedes 2000k."""
    number = re.search(r"[\d.]+", rate_point)
    return float(number.group()) if number else 0.0, rate_point


def _or_least(value: Any) -> float:
    return -math.inf if value is None else float(value)
