"""The latest results of scenarios on nodes, and the numbers of results, in bounded memory."""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from ffrtmp_shared.measurement import QualityMeasurement, Unavailable, VerdictState
from ffrtmp_shared.models import Result

_BYTES_PER_KBIT = 125
_NO_VERDICT = "none"
_OTHER = "other"
# A farm has far fewer nodes; the bound protects the exporter from names that change all the time.
_COUNTED_NODES_MAX = 2000

Labels = tuple[str, str, str, str]
"""Node, encoder, rate point and scenario of a result."""


class LatestResult(NamedTuple):
    """The values of a result that are exported. An unknown value is None."""

    measured_at_s: float
    speed: float
    fps: float
    cpu_s: float
    vmaf_mean: float | None
    video_bytes_per_s: float | None
    energy_j: float | None


class ResultSummary:
    """Summary of results that are added in the order in which they were stored.

    If there are too many different scenarios, those without a recent result are omitted. Results
    with the verdict invalid are counted, but never the latest result.
    """

    def __init__(self, series_max: int) -> None:
        """Create a summary without results, of at most `series_max` latest results."""
        self._series_max = series_max
        self._latest: OrderedDict[Labels, LatestResult] = OrderedDict()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._nodes: set[str] = set()
        self._omitted = 0

    @property
    def omitted(self) -> int:
        """The number of latest results that were omitted because there were too many."""
        return self._omitted

    def add(self, result: Result) -> None:
        """Add a result."""
        verdict = result.measurement.verdict
        state = _NO_VERDICT if verdict is None else verdict.state.value
        self._counts[self._counted_node(result.node), state] += 1
        if state == VerdictState.INVALID:
            return
        labels, latest = _labels(result), _latest(result)
        known = self._latest.get(labels)
        # A node that was disconnected sends its results late, after those of other nodes.
        if known is None or latest.measured_at_s >= known.measured_at_s:
            self._latest[labels] = latest
            self._latest.move_to_end(labels)
        while len(self._latest) > self._series_max:
            self._latest.popitem(last=False)
            self._omitted += 1

    def forget_before(self, time_s: float) -> None:
        """Remove latest results that were measured before the Unix time `time_s`."""
        old = [labels for labels, found in self._latest.items() if found.measured_at_s < time_s]
        for labels in old:
            del self._latest[labels]

    def latest(self) -> dict[Labels, LatestResult]:
        """Return the latest results."""
        return dict(self._latest)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of results by node and verdict."""
        return dict(self._counts)

    def _counted_node(self, node: str) -> str:
        if node not in self._nodes:
            if len(self._nodes) >= _COUNTED_NODES_MAX:
                return _OTHER
            self._nodes.add(node)
        return node


class PageReader:
    """Selects the results of a page that were not on the same page when it was fetched before.

    The last page is fetched again and again, because it may have grown.
    """

    def __init__(self) -> None:
        """Begin with the first page."""
        self.cursor = ""
        self._seen: set[UUID] = set()

    def new_results(self, items: Iterable[Result], next_cursor: str | None) -> Iterable[Result]:
        """Yield the new results of the page at `cursor`, and continue at `next_cursor`."""
        for result in items:
            if result.id not in self._seen:
                self._seen.add(result.id)
                yield result
        if next_cursor not in (None, self.cursor):
            self.cursor = next_cursor
            self._seen.clear()


def _labels(result: Result) -> Labels:
    scenario = result.scenario
    rate = "" if scenario.encode is None else scenario.encode.rate.label
    return (result.node, scenario.encoder or "", rate, scenario.name)


def _latest(result: Result) -> LatestResult:
    measured = result.measurement
    measured_at = measured.environment.measured_at
    quality, energy, output = measured.quality, measured.energy, measured.output
    return LatestResult(
        # Earlier releases of the agent did not report the time of the measurement. If it is after
        # the time of storage, the clock of the worker is wrong.
        measured_at_s=(
            result.stored_at
            if isinstance(measured_at, Unavailable)
            else min(measured_at, result.stored_at)
        ).timestamp(),
        speed=measured.encode.speed,
        fps=measured.encode.fps,
        cpu_s=measured.encode.cpu_s,
        vmaf_mean=quality.vmaf_mean if isinstance(quality, QualityMeasurement) else None,
        video_bytes_per_s=(None if output is None else output.video_bitrate_kbps * _BYTES_PER_KBIT),
        energy_j=None if isinstance(energy, Unavailable) else energy.gross_j,
    )
