"""Time series of one encode: quality over its frames, and samples of its host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..chart import Axis, draw_curves
from ..document import Block, Paragraph, Plot, Section, Table, TableColumn
from ..run_data import Document, RunData, TimeSeries, verdict_of

_PARTS_MAX = 60
_PARTS_MIN = 12
_ROWS_MIN = 3
_ROWS_MAX = 300


@dataclass(frozen=True)
class _Sample:
    """A column of the samples, the heading of its axis, and the factor to the shown unit.

    `is_rate` states that a value is a rate since the previous sample.
    """

    name: str
    text: str
    heading: str
    factor: float = 1.0
    is_rate: bool = False


_SAMPLES = (
    _Sample("fps", "Frame rate", "Frame rate (frames/s)", is_rate=True),
    _Sample("lag_s", "Lag of the encoder", "Lag (s)"),
    _Sample("host_cpu_ratio", "CPU use of the host", "CPU use (%)", factor=100.0),
    _Sample("frequency_mean_mhz", "Clock of the CPUs", "Mean clock (MHz)"),
    _Sample("temperature_celsius", "Temperature", "Temperature (degrees Celsius)"),
    _Sample("power_w", "Power of the packages", "Power (W)"),
)
_INTERVAL_MIN_S = 0.5
"""The shortest time between two samples from which a rate is shown, because the last sample of a
measurement may follow shortly after the one before it."""

_TIME = TableColumn("time", "Time (s)", digits=3)


def select_result(results: Sequence[Document]) -> Document | None:
    """Return the result whose time series the report shows: that of the longest measurement.

    Transcodes precede live streams, and these precede other kinds; valid results precede degraded
    ones, and invalid results have none.

    Args:
        results: The results of the run without control encodes.
    """
    order = {"valid": 1, "degraded": 0}
    kinds = {"transcode": 2, "live": 1}
    counted = [result for result in results if verdict_of(result)[0] in order]
    return max(
        counted,
        key=lambda result: (
            kinds.get(result["scenario"]["kind"], 0),
            order[verdict_of(result)[0]],
            result["measurement"]["encode"]["wall_s"],
            result["id"],
        ),
        default=None,
    )


def time_series_section(data: RunData) -> Section:
    """Return the section with the time series of one encode."""
    series = data.series
    blocks: list[Block] = []
    plot = _score_plot(series)
    if plot is not None:
        blocks.append(plot)
    few: list[str] = []
    for sample in _SAMPLES:
        rows = _sample_rows(series, sample)
        if len(rows) >= _ROWS_MIN:
            blocks.append(_sample_plot(sample, rows))
        elif series.samples:
            few.append(sample.text[0].lower() + sample.text[1:])
    if blocks and few:
        blocks.append(Paragraph(f"Without samples, or with too few for a plot: {', '.join(few)}."))
    if series.reason:
        blocks.append(Paragraph(series.reason))
    if not blocks:
        blocks.append(Paragraph(data.empty_reason or "The run has no time series."))
    elif series.title:
        blocks.insert(
            0,
            Paragraph(
                f"The encode is {series.title}. It is the longest one of its kind that is valid, "
                "or degraded if none is valid."
            ),
        )
    return Section("time-series", "Time series of one encode", blocks)


def _score_plot(series: TimeSeries) -> Plot | None:
    """Return the plot of VMAF over the video, as means over parts of equal length."""
    scores = [
        (number, value)
        for number, value in enumerate(series.scores.get("vmaf", ()))
        if value is not None and math.isfinite(value)
    ]
    if not scores or not series.frame_rate:
        return None
    frames = scores[-1][0] + 1
    length = _part_frames(frames, series.frame_rate)
    parts: dict[int, list[float]] = {}
    for number, value in scores:
        parts.setdefault(number // length, []).append(value)
    mean = TableColumn("mean", "VMAF (mean)", decimals=2)
    lowest = TableColumn("lowest", "Lowest", decimals=2)
    highest = TableColumn("highest", "Highest", decimals=2)
    rows = [
        {
            "time": part * length / series.frame_rate,
            "mean": fmean(values),
            "lowest": min(values),
            "highest": max(values),
            "series": "VMAF",
        }
        for part, values in sorted(parts.items())
    ]
    if len(rows) < _ROWS_MIN:
        return None
    duration = length / series.frame_rate
    caption = (
        f"VMAF over the video, as means over {duration:.3g} s ({length} frames). Vertical lines "
        "extend from the lowest to the highest frame."
    )
    table = Table("VMAF over the video", (_TIME, mean, lowest, highest), rows)
    axis = Axis(mean, low="lowest", high="highest")
    return draw_curves(caption, table, Axis(_TIME), axis, TableColumn("series", ""))


def _part_frames(frames: int, frame_rate: float) -> int:
    """Return the length of a part, in frames: a second, unless there are too many or too few."""
    length = max(round(frame_rate), math.ceil(frames / _PARTS_MAX))
    if frames / length < _PARTS_MIN:
        length = max(frames // (2 * _PARTS_MIN), 1)
    return length


def _sample_rows(series: TimeSeries, sample: _Sample) -> list[dict[str, Any]]:
    times, values = series.samples.get("elapsed_s", ()), series.samples.get(sample.name, ())
    rows = []
    previous_s = -math.inf
    for time_s, value in zip(times, values, strict=False):
        if time_s is None:
            continue
        is_short = sample.is_rate and time_s - previous_s < _INTERVAL_MIN_S
        if value is not None and not is_short:
            rows.append({"time": time_s, "value": value * sample.factor, "series": sample.text})
        previous_s = time_s
    return rows


def _sample_plot(sample: _Sample, rows: list[dict[str, Any]]) -> Plot:
    value = TableColumn("value", sample.heading, digits=4)
    # Of a long measurement, every nth sample is shown.
    step = math.ceil(len(rows) / _ROWS_MAX)
    part = f" Every {step}th sample is shown." if step > 1 else ""
    table = Table(f"{sample.text} over time", (_TIME, value), rows[::step])
    return draw_curves(
        f"{sample.text} over the time of the encode.{part}",
        table,
        Axis(_TIME, has_zero=True),
        Axis(value, has_zero=True),
        TableColumn("series", ""),
    )
