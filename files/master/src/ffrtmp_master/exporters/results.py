"""The results exporter, which reports the latest result of each scenario on each node."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

from ffrtmp_shared.client import MasterClient, MasterRefusedError
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.models import ResultPage
from ffrtmp_shared.result_pages import readable_page
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters import polling
from ffrtmp_master.exporters.latest_results import LatestResult, PageReader, ResultSummary
from ffrtmp_master.exporters.settings import ApiExporterSettings

_LABELS = ("node", "encoder", "rate_point", "scenario")
_S_PER_DAY = 86_400.0
_UNKNOWN_CURSOR = (HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY)

# For each gauge: its name, its unit, its help text, and the field of the latest result.
_GAUGES = (
    (
        "ffrtmp_result_speed_ratio",
        "ratio",
        "Source duration over wall time of the last encode",
        "speed",
    ),
    (
        "ffrtmp_result_frames_per_second",
        "frames_per_second",
        "Frames over wall time of the last encode",
        "fps",
    ),
    ("ffrtmp_result_vmaf_mean", "", "Mean VMAF of the last encode, if measured", "vmaf_mean"),
    (
        "ffrtmp_result_video_rate_bytes_per_second",
        "bytes_per_second",
        "Bytes of video per second of output of the last encode; multiply by 8 for the bit rate",
        "video_bytes_per_s",
    ),
    (
        "ffrtmp_result_cpu_seconds",
        "seconds",
        "CPU time of the last encode, user and system",
        "cpu_s",
    ),
    (
        "ffrtmp_result_energy_joules",
        "joules",
        "Energy of the CPU packages and memory during the last encode, if measured",
        "energy_j",
    ),
    (
        "ffrtmp_result_timestamp_seconds",
        "seconds",
        "Time at which the last result was measured, by the worker's clock; the time at which it "
        "was stored if its agent did not report the former",
        "measured_at_s",
    ),
)


@dataclass
class _Pass:
    """A pass over all results of one epoch of the master's database."""

    summary: ResultSummary
    reader: PageReader = field(default_factory=PageReader)
    epoch: str | None = None


class LatestResults(Collector):
    """Exports the latest result of each scenario on each node, and the numbers of results."""

    def __init__(
        self,
        *,
        series_max: int,
        keep_days: float,
        recount_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create the collector without results.

        Args:
            series_max: The maximum number of latest results.
            keep_days: The age in days from which a latest result is not exported.
            recount_s: The time in seconds after which all results are read again, because
                retention may have removed some.
            clock: Returns the Unix time in seconds.
        """
        self._series_max = series_max
        self._keep_s = keep_days * _S_PER_DAY
        self._recount_s = recount_s
        self._clock = clock
        self._lock = threading.Lock()
        self._pass = _Pass(ResultSummary(series_max))
        self._begun_at_s = clock()
        self._is_complete = False
        self._must_recount = False

    def is_complete(self) -> bool:
        """Return whether all results have been read once."""
        return self._is_complete

    def refresh(self, page_after: Callable[[str], ResultPage]) -> None:
        """Add all new results; `page_after` returns the page of results after a cursor.

        Until a new pass over all results is complete, the earlier results stay available.
        """
        now_s = self._clock()
        if (
            self._must_recount
            or now_s - self._begun_at_s >= self._recount_s
            or not self._continue(page_after)
        ):
            self._recount(page_after, now_s)
        with self._lock:
            self._pass.summary.forget_before(now_s - self._keep_s)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        with self._lock:
            summary = self._pass.summary
            latest, counts, omitted = summary.latest(), summary.counts(), summary.omitted
        yield from (_gauge(latest, *described) for described in _GAUGES)
        stored = GaugeMetricFamily(
            "ffrtmp_results_stored",
            "Results stored by the master, by node and verdict; none stands for results without a "
            "verdict",
            labels=("node", "verdict"),
        )
        for labels, count in counts.items():
            stored.add_metric(labels, count)
        yield stored
        yield GaugeMetricFamily(
            "ffrtmp_results_omitted",
            "Latest results that are not exported because there are more than results_series_max",
            omitted,
        )

    def _recount(self, page_after: Callable[[str], ResultPage], now_s: float) -> None:
        """Read all results, and replace the present ones when that is complete."""
        self._must_recount = True
        begun = _Pass(ResultSummary(self._series_max))
        if self._read_all(page_after, begun):
            with self._lock:
                self._pass, self._begun_at_s = begun, now_s
            self._must_recount = False
            self._is_complete = True

    def _continue(self, page_after: Callable[[str], ResultPage]) -> bool:
        """Read the new results; return whether their epoch is that of the earlier ones."""
        try:
            is_same_epoch = self._read_all(page_after, self._pass)
        except MasterRefusedError as error:
            self._must_recount = error.problem.status in _UNKNOWN_CURSOR
            raise
        if is_same_epoch:
            self._is_complete = True
        return is_same_epoch

    def _read_all(self, page_after: Callable[[str], ResultPage], into: _Pass) -> bool:
        """Read pages until the last one or until the epoch changes; return whether it was kept."""
        has_more = True
        while has_more:
            cursor = into.reader.cursor
            page = page_after(cursor)
            if into.epoch not in (None, page.epoch):
                return False
            into.epoch = page.epoch
            with self._lock:
                for result in into.reader.new_results(page.items, page.next_cursor):
                    into.summary.add(result)
            # A page that refers to itself would otherwise be read without end.
            has_more = page.next_cursor not in (None, cursor)
        return True


def _gauge(
    latest: dict[tuple[str, str, str, str], LatestResult],
    name: str,
    unit: str,
    documentation: str,
    field: str,
) -> Metric:
    gauge = GaugeMetricFamily(name, documentation, labels=_LABELS, unit=unit)
    for labels, result in latest.items():
        value = getattr(result, field)
        if value is not None:
            gauge.add_metric(labels, value)
    return gauge


def _build(client: MasterClient, settings: ApiExporterSettings, guard: ItemGuard) -> polling.Polled:
    latest = LatestResults(
        series_max=settings.results_series_max,
        keep_days=settings.results_keep_days,
        recount_s=settings.results_recount_s,
    )

    def page_after(cursor: str) -> ResultPage:
        return readable_page(client.raw_result_page(cursor), guard)

    return polling.Polled(latest, lambda: latest.refresh(page_after), latest.is_complete)


def main() -> None:
    """Run the command ffrtmp-exporter-results."""
    polling.serve_polling("results", _build)
