"""The confidence intervals of median speeds in recent runs, from the API."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from uuid import UUID

from ffrtmp_analysis.interval_width import half_width_ratio
from ffrtmp_shared.client import MasterRefusedError
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.precision import RunPrecision

# The master reads all jobs of a run for its precision, so the precision of a long run in progress
# must not be requested at each refresh.
_PAUSE_S = 60.0

PrecisionOf = Callable[[UUID], RunPrecision]
"""Returns the precision of a run."""


@dataclass(frozen=True)
class _RunIntervals:
    """The half-widths of a run by node and scenario, read when it had `results` results."""

    results: int
    read_at_s: float
    ratios: Mapping[tuple[str, str], float] = field(default_factory=dict)


class SpeedIntervals:
    """Half-widths of the confidence intervals of median speeds, by run, node and scenario."""

    def __init__(self, guard: ItemGuard, clock: Callable[[], float] = time.monotonic) -> None:
        """Create the record without intervals.

        Args:
            guard: The guard that sets aside runs whose precision cannot be read. It must pass on
                the errors of an unreachable master.
            clock: Returns a monotonic time in seconds.
        """
        self._guard = guard
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[UUID, _RunIntervals] = {}

    def refresh(self, run_results: Mapping[UUID, int], precision_of: PrecisionOf) -> bool:
        """Read the intervals of runs that have new results, and forget those of other runs.

        Args:
            run_results: The numbers of results of the runs.
            precision_of: Returns the precision of a run. Errors other than those that the guard
                passes on affect only this run.

        Returns:
            Whether all runs were read. If not, the master was busy, and the next call continues.
        """
        with self._lock:
            for run_id in self._runs.keys() - run_results.keys():
                del self._runs[run_id]
        is_busy = False

        def read(run_id: UUID, results: int) -> None:
            nonlocal is_busy
            try:
                found = _RunIntervals(results, self._clock(), _ratios(run_id, precision_of))
            except MasterRefusedError as error:
                if error.problem.status != HTTPStatus.TOO_MANY_REQUESTS:
                    raise
                is_busy = True
            else:
                with self._lock:
                    self._runs[run_id] = found

        for run_id, results in run_results.items():
            if self._must_read(run_id, results):
                self._guard.run(f"precision of run {run_id}", partial(read, run_id, results))
            if is_busy:
                return False
        return True

    def _must_read(self, run_id: UUID, results: int) -> bool:
        known = self._runs.get(run_id)
        return known is None or (
            known.results != results and self._clock() - known.read_at_s >= _PAUSE_S
        )

    def half_width_ratio(self, run_id: UUID | None, node: str, scenario: str) -> float | None:
        """Return half the width of the interval of a scenario's speed, divided by the median.

        The value is None if the run has too few repeats of the scenario on the node.
        """
        with self._lock:
            known = None if run_id is None else self._runs.get(run_id)
        return None if known is None else known.ratios.get((node, scenario))


def _ratios(run_id: UUID, precision_of: PrecisionOf) -> Mapping[tuple[str, str], float]:
    try:
        medians = precision_of(run_id).medians
    except MasterRefusedError as error:
        # Retention may have removed the run since its results were read.
        if error.problem.status == HTTPStatus.NOT_FOUND:
            return {}
        raise
    found = {
        (median.node, median.scenario): half_width_ratio(median.low, median.high, median.speed)
        for median in medians
        if median.low is not None and median.high is not None and median.speed is not None
    }
    return {place: ratio for place, ratio in found.items() if math.isfinite(ratio)}
