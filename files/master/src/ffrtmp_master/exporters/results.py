"""The results exporter, which reports the latest result of each scenario on each node."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from uuid import UUID

from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.measurement import QualityMeasurement, Unavailable, VerdictState
from ffrtmp_shared.models import Result, ResultPage
from ffrtmp_shared.result_pages import readable_page
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters import polling

_LABELS = ("node", "encoder", "rate_point", "scenario")
_UNITS = ("seconds", "joules")
_BYTES_PER_KBIT = 125

_Labels = tuple[str, str, str, str]


def _vmaf_mean(result: Result) -> float | None:
    quality = result.measurement.quality
    return quality.vmaf_mean if isinstance(quality, QualityMeasurement) else None


def _energy_j(result: Result) -> float | None:
    energy = result.measurement.energy
    return None if isinstance(energy, Unavailable) else energy.gross_j


def _video_rate(result: Result) -> float | None:
    output = result.measurement.output
    return None if output is None else output.video_bitrate_kbps * _BYTES_PER_KBIT


# For each gauge: its name, its help text, and a function that returns the value for a result, or
# None if the value is unavailable.
_GAUGES: tuple[tuple[str, str, Callable[[Result], float | None]], ...] = (
    (
        "ffrtmp_result_speed_ratio",
        "Source duration over wall time of the last encode",
        lambda result: result.measurement.encode.speed,
    ),
    (
        "ffrtmp_result_frames_per_second",
        "Frames over wall time of the last encode",
        lambda result: result.measurement.encode.fps,
    ),
    ("ffrtmp_result_vmaf_mean", "Mean VMAF of the last encode, if measured", _vmaf_mean),
    (
        "ffrtmp_result_video_rate_bytes_per_second",
        "Bytes of video per second of output of the last encode; multiply by 8 for the bit rate",
        _video_rate,
    ),
    (
        "ffrtmp_result_cpu_seconds",
        "CPU time of the last encode, user and system",
        lambda result: result.measurement.encode.cpu_s,
    ),
    (
        "ffrtmp_result_energy_joules",
        "Energy of the CPU packages and memory during the last encode, if measured",
        _energy_j,
    ),
    (
        "ffrtmp_result_timestamp_seconds",
        "Time at which the last result was stored",
        lambda result: result.stored_at.timestamp(),
    ),
)


class LatestResults(Collector):
    """Exports the latest result of each scenario on each node, and counts all results.

    Results with the verdict invalid are counted, but not exported as latest results.
    """

    def __init__(self) -> None:
        """Create the collector without results."""
        self._lock = threading.Lock()
        self._last: dict[_Labels, Result] = {}
        self._counts: dict[_Labels, int] = {}
        self._verdicts: Counter[tuple[str, str]] = Counter()
        self._cursor = ""
        # The ids of the results on the last page, which is fetched again because it may have grown.
        self._seen: frozenset[UUID] = frozenset()

    def refresh(self, page_after: Callable[[str], ResultPage]) -> None:
        """Add all new results; `page_after` returns the page of results after a cursor."""
        has_more = True
        while has_more:
            page = page_after(self._cursor)
            self._add(page.items)
            # A page that refers to itself would otherwise be read without end.
            has_more = page.next_cursor not in (None, self._cursor)
            if page.next_cursor is not None and has_more:
                self._cursor = page.next_cursor
                self._seen = frozenset()

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        with self._lock:
            last, counts, verdicts = dict(self._last), dict(self._counts), dict(self._verdicts)
        for name, documentation, value_of in _GAUGES:
            unit = next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")
            gauge = GaugeMetricFamily(name, documentation, labels=_LABELS, unit=unit)
            for labels, result in last.items():
                value = value_of(result)
                if value is not None:
                    gauge.add_metric(labels, value)
            yield gauge
        counter = CounterMetricFamily("ffrtmp_results", "Stored results", labels=_LABELS)
        for labels, count in counts.items():
            counter.add_metric(labels, count)
        yield counter
        verdict_counter = CounterMetricFamily(
            "ffrtmp_result_verdicts", "Stored results by verdict", labels=("node", "verdict")
        )
        for (node, verdict), count in verdicts.items():
            verdict_counter.add_metric((node, verdict), count)
        yield verdict_counter

    def _add(self, results: Iterable[Result]) -> None:
        with self._lock:
            for result in results:
                if result.id in self._seen:
                    continue
                self._seen |= {result.id}
                labels = _labels(result)
                self._counts[labels] = self._counts.get(labels, 0) + 1
                verdict = result.measurement.verdict
                if verdict is not None:
                    self._verdicts[result.node, verdict.state] += 1
                if verdict is None or verdict.state is not VerdictState.INVALID:
                    self._last[labels] = result


def _labels(result: Result) -> _Labels:
    scenario = result.scenario
    rate = "" if scenario.encode is None else scenario.encode.rate.label
    return (result.node, scenario.encoder or "", rate, scenario.name)


def _build(client: MasterClient, guard: ItemGuard) -> tuple[Collector, Callable[[], None]]:
    latest = LatestResults()

    def page_after(cursor: str) -> ResultPage:
        return readable_page(client.raw_result_page(cursor), guard)

    return latest, lambda: latest.refresh(page_after)


def main() -> None:
    """Run the command ffrtmp-exporter-results."""
    polling.serve_polling("results", _build)
