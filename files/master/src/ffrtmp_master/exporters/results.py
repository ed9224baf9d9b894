"""The results exporter, which reports the latest result of each scenario on each node."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from ffrtmp_analysis import efficiency
from ffrtmp_analysis.bit_rate import bytes_per_s, output_bits_per_s, video_bits_per_s
from ffrtmp_analysis.encode_energy import encode_energy
from ffrtmp_analysis.node_use import may_have_shared
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_runner import AfterPass
from ffrtmp_shared.measurement import EncodeMeasurement, QualityMeasurement
from ffrtmp_shared.models import Result
from ffrtmp_shared.result_pages import UnreadableResult
from ffrtmp_shared.unavailable import Unavailable
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters import polling
from ffrtmp_master.exporters.recent_results import (
    NO_VERDICT,
    OMITTED_TEXT,
    VERDICTS,
    RecentLimits,
    RecentResults,
    RecentScenario,
    verdict_of,
)
from ffrtmp_master.exporters.result_history import PageAfter, ResultHistory, pages_of
from ffrtmp_master.exporters.scenario_labels import (
    LabeledScenarios,
    ScenarioGauge,
    ScenarioLabels,
)
from ffrtmp_master.exporters.settings import ApiExporterSettings
from ffrtmp_master.exporters.speed_intervals import PrecisionOf, SpeedIntervals

_OTHER = "other"
# The verdict of results that cannot be decoded.
_UNDECODABLE = "undecodable"
_UNDECODABLE_TEXT = (
    "Results stored by the master that the exporter cannot decode, for example those of a newer "
    "release; its log names them"
)
# A farm has far fewer nodes; the bound protects the exporter from names that change all the time.
_COUNTED_NODES_MAX = 2000


class ResultValues(NamedTuple):
    """The values of a result, or of a rendition, that are exported. An unknown value is None."""

    is_rendition: bool
    speed: float | None = None
    fps: float | None = None
    vmaf_mean: float | None = None
    video_bytes_per_s: float | None = None
    cpu_s: float | None = None
    cpu_s_per_frame: float | None = None
    energy_j: float | None = None
    gpu_energy_j: float | None = None
    energy_per_frame_j: float | None = None
    energy_per_video_minute_j: float | None = None
    energy_estimated: float | None = None
    density_streams: float | None = None


_VALUE_GAUGES = {
    "speed": ScenarioGauge(
        "ffrtmp_result_speed_ratio", "ratio", "Source duration over wall time of the last encode"
    ),
    "fps": ScenarioGauge(
        "ffrtmp_result_frames_per_second",
        "frames_per_second",
        "Frames over wall time of the last encode",
    ),
    "vmaf_mean": ScenarioGauge(
        "ffrtmp_result_vmaf_mean", "", "Mean VMAF of the last encode, if measured"
    ),
    "video_bytes_per_s": ScenarioGauge(
        "ffrtmp_result_video_rate_bytes_per_second",
        "bytes_per_second",
        "Bytes of video per second of output of the last encode, or of a live stream at the "
        "player; multiply by 8 for the bit rate",
    ),
    "cpu_s": ScenarioGauge(
        "ffrtmp_result_cpu_seconds", "seconds", "CPU time of the last encode, user and system"
    ),
    "cpu_s_per_frame": ScenarioGauge(
        "ffrtmp_result_cpu_seconds_per_frame",
        "seconds_per_frame",
        "CPU time of the last encode, user and system, per frame",
    ),
    "energy_j": ScenarioGauge(
        "ffrtmp_result_energy_joules",
        "joules",
        "Energy of the CPU packages and memory during the last encode, if measured",
    ),
    "gpu_energy_j": ScenarioGauge(
        "ffrtmp_result_gpu_energy_joules",
        "joules",
        "Energy of the NVIDIA GPUs of the host during the last encode, if measured",
    ),
    "energy_per_frame_j": ScenarioGauge(
        "ffrtmp_result_energy_joules_per_frame",
        "joules_per_frame",
        "Energy of the CPU packages, memory and NVIDIA GPUs during the last encode per frame, if "
        "measured",
    ),
    "energy_per_video_minute_j": ScenarioGauge(
        "ffrtmp_result_energy_joules_per_video_minute",
        "joules_per_video_minute",
        "Energy of the CPU packages, memory and NVIDIA GPUs during the last encode per minute of "
        "encoded video, if measured; the streams of a density are added up, and the renditions of "
        "a ladder count once",
    ),
    "energy_estimated": ScenarioGauge(
        "ffrtmp_result_energy_estimated",
        "",
        "1 if other jobs could run on the node during the last encode, so that its energy contains "
        "that of these jobs and is an estimate; absent otherwise",
    ),
    "density_streams": ScenarioGauge(
        "ffrtmp_result_density_streams",
        "",
        "Streams that the node encoded together in real time in the last measurement of a density",
    ),
}
_TIME = ScenarioGauge(
    "ffrtmp_result_timestamp_seconds",
    "seconds",
    "Time at which the last result was measured, by the worker's clock; the time at which it was "
    "stored if its agent did not report the former",
)
_VERDICTS = ScenarioGauge(
    "ffrtmp_result_verdicts",
    "",
    "Results of the scenario on the node in its most recent run, by verdict; none stands for "
    "results without a verdict; absent for renditions, whose results are those of their ladder",
)
_HALF_WIDTH = ScenarioGauge(
    "ffrtmp_result_speed_interval_halfwidth_ratio",
    "ratio",
    "Half the width of the 95 % confidence interval of the median speed in the most recent run, "
    "divided by the median; absent if there are too few repeats",
)


class FarmResults:
    """The latest results of recent runs, and the numbers of all results by node and verdict."""

    def __init__(self, limits: RecentLimits) -> None:
        """Create a summary without results."""
        self.recent = RecentResults(values_of, limits)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.undecodable = 0
        self._nodes: set[str] = set()

    def add(self, result: Result) -> None:
        """Add a result."""
        self.counts[self._counted_node(result.node), verdict_of(result)] += 1
        self.recent.add(result)

    def add_unreadable(self, result: UnreadableResult) -> None:
        """Count a result that cannot be decoded."""
        node = self._counted_node(result.node) if result.node else _OTHER
        self.counts[node, _UNDECODABLE] += 1
        self.undecodable += 1

    def forget_old(self, now_s: float) -> None:
        """Remove latest results that are too old at the Unix time `now_s`."""
        self.recent.forget_old(now_s)

    def _counted_node(self, node: str) -> str:
        if node not in self._nodes:
            if len(self._nodes) >= _COUNTED_NODES_MAX:
                return _OTHER
            self._nodes.add(node)
        return node


class LatestResults(Collector):
    """Exports the latest result of each scenario on each node, and the numbers of results."""

    def __init__(
        self, limits: RecentLimits, guard: ItemGuard, clock: Callable[[], float] = time.time
    ) -> None:
        """Create the collector without results.

        Args:
            limits: The limits of the latest results.
            guard: The guard that sets aside results and runs that cannot be read. It must pass on
                the errors of an unreachable master.
            clock: Returns the Unix time in seconds.
        """
        self._history = ResultHistory(
            lambda: FarmResults(limits), guard, limits.recount_s, clock, FarmResults.add_unreadable
        )
        self._intervals = SpeedIntervals(guard)
        self._is_complete = False

    def is_complete(self) -> bool:
        """Return whether all results and intervals have been read once."""
        return self._is_complete

    def refresh(self, page_after: PageAfter, precision_of: PrecisionOf) -> AfterPass:
        """Read what is new, and return whether there is more to read immediately.

        Raises the errors of an unreachable master.

        Args:
            page_after: Returns the page of results after a cursor.
            precision_of: Returns the precision of a run.
        """
        after = self._history.refresh(page_after)
        if after is AfterPass.REPEAT:
            return after
        with self._history.locked_summary() as summary:
            run_results = summary.recent.run_results()
        if self._intervals.refresh(run_results, precision_of):
            self._is_complete = self._history.is_complete()
        return after

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        with self._history.locked_summary() as summary:
            found = LabeledScenarios(summary.recent.latest())
            counts, omitted = dict(summary.counts), summary.recent.omitted
            undecodable = summary.undecodable
        for field, described in _VALUE_GAUGES.items():
            yield found.gauge(described, partial(_value, field))
        yield found.gauge(_TIME, _time)
        yield found.gauge_by(_VERDICTS, "verdict", _verdict_counts)
        yield found.gauge(_HALF_WIDTH, self._half_width)
        stored = GaugeMetricFamily(
            "ffrtmp_results_stored",
            "Results stored by the master, by node and verdict; none stands for results without a "
            "verdict, and undecodable for those that the exporter cannot decode",
            labels=("node", "verdict"),
        )
        for labels, count in counts.items():
            stored.add_metric(labels, count)
        yield stored
        yield GaugeMetricFamily("ffrtmp_results_undecodable", _UNDECODABLE_TEXT, undecodable)
        yield GaugeMetricFamily(
            "ffrtmp_results_omitted",
            OMITTED_TEXT,
            omitted,
        )

    def _half_width(
        self, labels: ScenarioLabels, found: RecentScenario[ResultValues]
    ) -> float | None:
        if found.values is None or found.values.is_rendition:
            return None
        return self._intervals.half_width_ratio(found.run_id, labels.node, labels.scenario)


def values_of(result: Result) -> Iterator[tuple[ScenarioLabels, ResultValues]]:
    """Yield the values of a result, and those of its renditions."""
    measured = result.measurement
    encode, energy = measured.encode, encode_energy(result)
    yield (
        ScenarioLabels.of_scenario(result),
        _values(encode, video_bits_per_s(measured), measured.quality, is_rendition=False)._replace(
            energy_j=energy.cpu_j,
            gpu_energy_j=energy.gpu_j,
            energy_per_frame_j=efficiency.energy_per_frame_j(energy.total_j, encode.frames),
            energy_per_video_minute_j=efficiency.energy_per_video_minute_j(
                energy.total_j, efficiency.video_duration_s(encode.speed, encode.wall_s)
            ),
            energy_estimated=1.0 if may_have_shared(result) else None,
            density_streams=None if measured.density is None else measured.density.streams,
        ),
    )
    for rendition in measured.renditions:
        yield (
            ScenarioLabels.of_rendition(result, rendition.name),
            _values(
                rendition.encode,
                output_bits_per_s(rendition.output),
                rendition.quality,
                is_rendition=True,
            ),
        )


def _values(
    encode: EncodeMeasurement | None,
    bits_per_s: float | None,
    quality: QualityMeasurement | Unavailable,
    *,
    is_rendition: bool,
) -> ResultValues:
    values = ResultValues(
        is_rendition=is_rendition,
        vmaf_mean=quality.vmaf_mean if isinstance(quality, QualityMeasurement) else None,
        video_bytes_per_s=bytes_per_s(bits_per_s),
    )
    if encode is None:
        return values
    return values._replace(
        speed=encode.speed,
        fps=encode.fps,
        cpu_s=encode.cpu_s,
        cpu_s_per_frame=efficiency.cpu_seconds_per_frame(encode.cpu_s, encode.frames),
    )


def _value(field: str, _: ScenarioLabels, found: RecentScenario[ResultValues]) -> float | None:
    value: float | None = getattr(found.values, field, None)
    return value


def _time(_: ScenarioLabels, found: RecentScenario[ResultValues]) -> float | None:
    return None if found.values is None else found.measured_at_s


def _verdict_counts(
    _: ScenarioLabels, found: RecentScenario[ResultValues]
) -> Iterator[tuple[str, float]]:
    if not any(found.verdicts):
        return
    for verdict, count in zip(VERDICTS, found.verdicts, strict=True):
        # Only results of earlier releases of the agent have no verdict.
        if count or verdict != NO_VERDICT:
            yield verdict, count


def _build(client: MasterClient, settings: ApiExporterSettings, guard: ItemGuard) -> polling.Polled:
    latest = LatestResults(RecentLimits.of_settings(settings), guard)
    pages = pages_of(client, guard)
    return polling.Polled(
        latest, lambda: latest.refresh(pages, client.precision), latest.is_complete
    )


def main() -> None:
    """Run the command ffrtmp-exporter-results."""
    polling.serve_polling("results", _build)
