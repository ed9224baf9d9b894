"""Data of a run from which its report is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Document = Mapping[str, Any]
"""A JSON object of the API, such as a result."""

CONTROL = "control"
"""The source of control encodes, which measure the node and not an encode."""


@dataclass(frozen=True)
class TimeSeries:
    """Values over the time of one encode.

    Attributes:
        title: The encode.
        samples: The values of `series.parquet` by column, one value for each second.
        scores: The scores of `scores.parquet` by column, one value for each frame.
        frame_rate: Frames per second of the source, or None if it is unknown.
        reason: Why values are missing, or an empty text.
    """

    title: str = ""
    samples: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    scores: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    frame_rate: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class RateTables:
    """Rate-distortion figures of a run as rows of tables.

    Each row has the keys source, node and ffmpeg, and the reason if a figure is unavailable.

    Attributes:
        quality: The name of the quality.
        differences: The differences of pairs of encodes at equal quality, in percent: of the bit
            rate (`rate`, and `check` with Akima's interpolation), the time (`time_ratio`), the CPU
            time (`cpu_s`), the energy (`energy_gross_j`) and the cost (`cost_per_video_hour`). The
            difference of the quality at equal bit rate (`quality`) is in points.
        targets: The bit rates in kbit/s at the qualities 80, 90 and 95 (`at_80`, `at_90`, `at_95`).
        hulls: The convex hulls over sizes.
    """

    quality: str = "VMAF"
    differences: Sequence[Document] = ()
    targets: Sequence[Document] = ()
    hulls: Sequence[Document] = ()


@dataclass(frozen=True)
class RunData:
    """A run with its results.

    Attributes:
        run: The run as the API returns it.
        farm_name: The name of the farm, or an empty text.
        results: The results as the API returns them.
        rows: The medians over repeats, as the table of the results has them.
        precision: The precision of the medians, as the API returns it.
        statements: The findings as sentences.
        remarks: Remarks on rate points and on the cache as sentences.
        failures: The jobs that failed, as in failures.json.
        figure_reasons: The nodes by the reason why a figure is unavailable, by the figure's name.
        rates: Rate-distortion figures.
        series: The time series of one encode.
    """

    run: Document
    results: Sequence[Document]
    rows: Sequence[Document]
    precision: Document
    farm_name: str = ""
    statements: Sequence[str] = ()
    remarks: Sequence[str] = ()
    failures: Sequence[Document] = ()
    figure_reasons: Mapping[str, Mapping[str, Iterable[str]]] = field(default_factory=dict)
    rates: RateTables = field(default_factory=RateTables)
    series: TimeSeries = field(default_factory=TimeSeries)

    @property
    def measured_rows(self) -> list[Document]:
        """The rows with at least one repeat that counts, without control encodes."""
        return [row for row in self.rows if row["source"] != CONTROL and row["n"] > 0]

    @property
    def scenario_results(self) -> list[Document]:
        """The results without those of control encodes."""
        return [
            result for result in self.results if result["scenario"]["source"]["name"] != CONTROL
        ]

    @property
    def empty_reason(self) -> str:
        """The reason for a run without values, or an empty text if the run has values."""
        if self.measured_rows:
            return ""
        if self.scenario_results:
            return "All results are invalid, so that none of their values counts."
        if self.failures:
            return "No job of the run has succeeded; the section on conditions lists the failures."
        return "The run has no results."


@dataclass(frozen=True)
class Place:
    """The source, node and FFmpeg build that rows must share so that one chart shows them."""

    source: str
    node: str
    ffmpeg: str
    ffmpeg_sha256: str


def rows_by_place(rows: Iterable[Document]) -> dict[Place, list[Document]]:
    """Return rows by source, node and FFmpeg build, because these are never pooled."""
    found: dict[Place, list[Document]] = {}
    for row in rows:
        build = str(row["ffmpeg"] or row["ffmpeg_version"])
        place = Place(row["source"], row["node"], build, row["ffmpeg_sha256"])
        found.setdefault(place, []).append(row)
    return found


def place_text(place: Place, places: Iterable[Place]) -> str:
    """Return the source of a place, and its node and FFmpeg build if they vary."""
    known = list(places)
    parts = [f"source {place.source}"]
    if len({other.node for other in known}) > 1:
        parts.append(f"node {place.node}")
    builds = {(other.ffmpeg, other.ffmpeg_sha256) for other in known}
    if len(builds) > 1:
        is_ambiguous = sum(name == place.ffmpeg for name, _ in builds) > 1
        digest = f" ({place.ffmpeg_sha256[:8]})" if is_ambiguous else ""
        parts.append(f"FFmpeg {place.ffmpeg}{digest}")
    return ", ".join(parts)


def encode_labels(rows: Iterable[Document]) -> dict[str, str]:
    """Return encoder and preset for each encode, or its name if these do not distinguish it.

    Args:
        rows: The rows of the run.
    """
    labels: dict[str, str] = {}
    for row in rows:
        parts = (str(row["encoder"] or "").removeprefix("lib"), row["preset"])
        if row["rendition"] is None:
            label = " ".join(str(part) for part in parts if part)
            labels[row["encode"]] = label if row["encoder"] else row["encode"]
    known = list(labels.values())
    return {encode: encode if known.count(label) > 1 else label for encode, label in labels.items()}


def series_label(row: Document, labels: Mapping[str, str]) -> str:
    """Return the name of the series to which a row belongs in a chart."""
    return labels.get(row["encode"], str(row["encode"]))


def point_label(row: Document) -> str:
    """Return the rate point of a row, or its rendition."""
    return str(row["rendition"] or row["rate_point"])


def quality_name(rows: Sequence[Document]) -> tuple[str, str]:
    """Return the name of the quality in rows, and its name in texts.

    VMAF NEG, which does not reward enhancement, compares encoders.
    """
    encoders = {row["encoder"] for row in rows if row["encoder"]}
    has_neg = any(row["vmaf_neg_mean"] is not None for row in rows)
    if len(encoders) > 1 and has_neg:
        return "vmaf_neg_mean", "VMAF NEG"
    return "vmaf_mean", "VMAF"


def measured(value: Any) -> Any:
    """Return a value of a measurement, or None if it is unavailable."""
    return None if isinstance(value, Mapping) and "reason" in value else value


def verdict_of(result: Document) -> tuple[str, list[Document]]:
    """Return the verdict on a result, and its reasons."""
    verdict = result["measurement"].get("verdict") or {}
    return str(verdict.get("state", "valid")), list(verdict.get("reasons", ()))
