"""The import format of VictoriaMetrics, with one line of JSON for each column with values."""

import io
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from ffrtmp_shared.loop_registry import LoopReading
from ffrtmp_shared.models import Result

METRICS = {
    "fps": ("ffrtmp_sample_frames_per_second", 1.0),
    "output_bitrate_kbps": ("ffrtmp_sample_output_bits_per_second", 1e3),
    "lag_s": ("ffrtmp_sample_lag_seconds", 1.0),
    "host_cpu_ratio": ("ffrtmp_sample_host_cpu_ratio", 1.0),
    "frequency_mean_mhz": ("ffrtmp_sample_cpu_frequency_hertz", 1e6),
    "temperature_celsius": ("ffrtmp_sample_temperature_celsius", 1.0),
    "power_w": ("ffrtmp_sample_power_watts", 1.0),
}
"""The metric for each column of a series, and the factor that converts to the metric's unit."""


class UnreadableSeriesError(ValueError):
    """Raised if a file is not a valid series."""


def labels_of(result: Result) -> dict[str, str]:
    """Return the labels of the samples of a result.

    The labels do not include the job or the run, to limit the number of time series.
    """
    scenario = result.scenario
    return {
        "node": result.node,
        "scenario": scenario.name,
        "kind": scenario.kind,
        "encoder": scenario.encoder or "",
    }


def import_lines(content: bytes, labels: dict[str, str]) -> Iterator[bytes]:
    """Yield the import lines for the Parquet file `content`, each ending with a line feed.

    Missing values are omitted. Raises UnreadableSeriesError if `content` is not a valid series.
    """
    # Imported here, because the library takes about 60 MB that the master does not need.
    import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        table: dict[str, list[Any]] = parquet.read_table(io.BytesIO(content)).to_pydict()
        times_ms = [round(time.timestamp() * 1000) for time in table["time"]]
    except (pyarrow.ArrowException, OSError, KeyError, AttributeError) as error:
        raise UnreadableSeriesError(str(error)) from error
    for column, (metric, factor) in METRICS.items():
        samples = [
            (at_ms, value * factor)
            for at_ms, value in zip(times_ms, table.get(column, ()), strict=False)
            if value is not None
        ]
        if samples:
            line = {
                "metric": {"__name__": metric, **labels},
                "values": [value for _, value in samples],
                "timestamps": [at_ms for at_ms, _ in samples],
            }
            yield msgspec.json.encode(line) + b"\n"


def loop_lines(readings: Iterable[LoopReading]) -> Iterator[bytes]:
    """Yield the import lines for the metrics of the importer's loops.

    The importer has no HTTP server that could be scraped, so the label that a scrape would add is
    part of the metrics.
    """
    now_ms = round(time.time() * 1000)
    for reading in readings:
        for name, value in (
            ("last_success_timestamp_seconds", reading.last_success_unix_s),
            ("stale_after_seconds", reading.stale_after_s),
            ("failures_total", float(reading.failures)),
            ("items_set_aside", float(reading.items_set_aside)),
        ):
            metric = {
                "__name__": f"ffrtmp_importer_loop_{name}",
                "job": "series_importer",
                "loop": reading.name,
            }
            line = {"metric": metric, "values": [value], "timestamps": [now_ms]}
            yield msgspec.json.encode(line) + b"\n"
