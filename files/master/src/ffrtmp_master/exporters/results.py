"""The results exporter, which reports the latest result of each scenario on each node."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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


@dataclass
class _Summary:
    """The summary of the results that were read in one epoch of the master's database."""

    epoch: str
    last: dict[_Labels, Result] = field(default_factory=dict)
    counts: Counter[_Labels] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    cursor: str = ""
    # The ids of the results on the last page, which is fetched again because it may have grown.
    seen: set[UUID] = field(default_factory=set)

    def add(self, page: ResultPage) -> None:
        """Add the new results of the page at `cursor`, and continue with the next page."""
        for result in page.items:
            if result.id in self.seen:
                continue
            self.seen.add(result.id)
            labels = _labels(result)
            self.counts[labels] += 1
            verdict = result.measurement.verdict
            if verdict is not None:
                self.verdicts[result.node, verdict.state] += 1
            if verdict is None or verdict.state is not VerdictState.INVALID:
                self.last[labels] = result
        if page.next_cursor not in (None, self.cursor):
            self.cursor, self.seen = page.next_cursor, set()


class LatestResults(Collector):
    """Exports the latest result of each scenario on each node, and counts all results.

    Results with the verdict invalid are counted, but not exported as latest results.
    """

    def __init__(self) -> None:
        """Create the collector without results."""
        self._lock = threading.Lock()
        self._summary = _Summary("")

    def refresh(self, page_after: Callable[[str], ResultPage]) -> None:
        """Add all new results; `page_after` returns the page of results after a cursor.

        If the database of the master may have been restored from a backup, all results are read
        again. The former metrics are exported until this is finished.
        """
        page = page_after(self._summary.cursor)
        if page.epoch == self._summary.epoch:
            self._add_pages(self._summary, page, page_after)
            return
        summary = _Summary(page.epoch)
        self._add_pages(summary, page_after(""), page_after)
        with self._lock:
            self._summary = summary

    def _add_pages(
        self, summary: _Summary, page: ResultPage, page_after: Callable[[str], ResultPage]
    ) -> None:
        while page.epoch == summary.epoch:
            # A page that refers to itself would otherwise be read without end.
            has_more = page.next_cursor not in (None, summary.cursor)
            with self._lock:
                summary.add(page)
            if not has_more:
                return
            page = page_after(summary.cursor)
        # The next refresh reads the results of the new epoch.

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        with self._lock:
            summary = self._summary
            last, counts = dict(summary.last), dict(summary.counts)
            verdicts = dict(summary.verdicts)
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
