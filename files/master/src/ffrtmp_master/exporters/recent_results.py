"""The latest values of scenarios in the most recent runs, in bounded memory."""

import bisect
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from ffrtmp_analysis.measurement_time import measurement_time_s
from ffrtmp_shared.models import Result
from ffrtmp_shared.verdict import VerdictState

from ffrtmp_master.exporters.scenario_labels import ScenarioLabels
from ffrtmp_master.exporters.settings import ApiExporterSettings

_S_PER_DAY = 86_400.0
_NO_VERDICTS = (0, 0, 0, 0)

OMITTED_MAX = 20_000
"""The maximum number of omitted sets of labels that are remembered, so that each counts once."""

OMITTED_TEXT = (
    "Latest results that are not exported because there are more than results_series_max, up to "
    f"{OMITTED_MAX}"
)
"""The meaning of the metrics of omitted results."""

NO_VERDICT = "none"
"""The verdict of results without one, which earlier releases of the agent have reported."""

VERDICTS = (*VerdictState, NO_VERDICT)
"""The verdicts in the order of the counts in `RecentScenario`."""

V = TypeVar("V")

ValueReader = Callable[[Result], Iterable[tuple[ScenarioLabels, V]]]
"""Returns the values of a result by their labels: first the scenario, then its renditions."""


class RecentLimits(NamedTuple):
    """Limits of the results that an exporter keeps.

    `series_max` is the maximum number of sets of labels, and `runs_max` that of runs with results.
    Results that were measured more than `keep_days` days ago are not kept. After `recount_s`
    seconds, all results are read again, because retention may have removed some.
    """

    series_max: int
    runs_max: int
    keep_days: float
    recount_s: float

    @classmethod
    def of_settings(cls, settings: ApiExporterSettings) -> "RecentLimits":
        """Return the limits that the settings of an exporter state."""
        return cls(
            series_max=settings.results_series_max,
            runs_max=settings.results_runs_max,
            keep_days=settings.results_keep_days,
            recount_s=settings.results_recount_s,
        )


class RecentScenario(NamedTuple, Generic[V]):
    """The results of a scenario on a node in its most recent run.

    `measured_at_s` is the Unix time at which `values` were measured; they are those of the latest
    result that is not invalid. They are None while there is none. `run_id` is None for a job
    without a run. `verdicts` are the numbers of results in the order of `VERDICTS`. A rendition has
    none, because its results are those of its ladder.
    """

    origin: UUID
    run_id: UUID | None
    measured_at_s: float
    values: V | None
    verdicts: tuple[int, ...]


_Scenarios = OrderedDict[ScenarioLabels, RecentScenario[V]]


class RecentResults(Generic[V]):
    """The latest values by labels, of results that are added in any order.

    Each set of labels has the values of the most recent run with results for it, so that all its
    values belong together. A job without a run counts as a run of its own, but not towards the
    limit of runs. The ids of runs and jobs are ordered by the time of their creation.
    """

    def __init__(self, read_values: ValueReader[V], limits: RecentLimits) -> None:
        """Create an empty record.

        Args:
            read_values: Returns the values of a result.
            limits: The limits of what is kept.
        """
        self._read_values = read_values
        self._limits = limits
        self._scenarios: _Scenarios[V] = OrderedDict()
        # Without their values; a set of labels that gets another result returns from here.
        self._omitted: _Scenarios[V] = OrderedDict()
        self._before_s = -math.inf
        self._runs: list[UUID] = []
        self._run_results: Counter[UUID] = Counter()

    @property
    def omitted(self) -> int:
        """The number of sets of labels that are not kept because there are too many.

        It is at most `OMITTED_MAX`.
        """
        return len(self._omitted)

    def add(self, result: Result) -> None:
        """Add a result, unless it belongs to a run that is not recent."""
        if result.run_id is not None:
            if not self._is_recent(result.run_id):
                return
            self._run_results[result.run_id] += 1
        for number, (labels, values) in enumerate(self._read_values(result)):
            self._add_values(labels, result, values, counts=number == 0)
        while len(self._scenarios) > self._limits.series_max:
            labels, found = self._scenarios.popitem(last=False)
            # A new pass also reads results that are too old to be shown.
            if found.measured_at_s >= self._before_s:
                self._omitted[labels] = found._replace(values=None)
        while len(self._omitted) > OMITTED_MAX:
            self._omitted.popitem(last=False)

    def forget_old(self, now_s: float) -> None:
        """Remove what was measured too long before the Unix time `now_s`."""
        self._before_s = before_s = now_s - self._limits.keep_days * _S_PER_DAY
        self._remove(lambda found: found.measured_at_s < before_s)

    def latest(self) -> dict[ScenarioLabels, RecentScenario[V]]:
        """Return the results by labels."""
        return dict(self._scenarios)

    def run_results(self) -> dict[UUID, int]:
        """Return the number of results of each run to which the values belong."""
        runs = {found.run_id for found in self._scenarios.values() if found.run_id is not None}
        return {run_id: self._run_results[run_id] for run_id in runs}

    def _add_values(
        self, labels: ScenarioLabels, result: Result, values: V, *, counts: bool
    ) -> None:
        """Add values; `counts` is whether the verdict of the result is counted with them."""
        origin = result.run_id or result.job_id
        known = self._scenarios.get(labels) or self._omitted.get(labels)
        if known is not None and known.origin > origin:
            return
        self._omitted.pop(labels, None)
        measured_at_s, verdict = measurement_time_s(result), verdict_of(result)
        if known is None or known.origin < origin:
            known = RecentScenario(origin, result.run_id, measured_at_s, None, _NO_VERDICTS)
        if counts:
            verdicts = tuple(
                count + (name == verdict)
                for name, count in zip(VERDICTS, known.verdicts, strict=True)
            )
            known = known._replace(verdicts=verdicts)
        # A node that was disconnected sends its results late, after later ones.
        is_latest = known.values is None or measured_at_s >= known.measured_at_s
        if verdict != VerdictState.INVALID and is_latest:
            known = known._replace(measured_at_s=measured_at_s, values=values)
        self._scenarios[labels] = known
        self._scenarios.move_to_end(labels)

    def _is_recent(self, run_id: UUID) -> bool:
        """Return whether the run is among the most recent ones, and remove those that are not."""
        place = bisect.bisect_left(self._runs, run_id)
        if place < len(self._runs) and self._runs[place] == run_id:
            return True
        if place == 0 and len(self._runs) >= self._limits.runs_max:
            return False
        self._runs.insert(place, run_id)
        if len(self._runs) > self._limits.runs_max:
            oldest = self._runs.pop(0)
            del self._run_results[oldest]
            self._remove(lambda found: found.run_id == oldest)
        return True

    def _remove(self, is_obsolete: Callable[[RecentScenario[V]], bool]) -> None:
        for scenarios in (self._scenarios, self._omitted):
            obsolete = [labels for labels, found in scenarios.items() if is_obsolete(found)]
            for labels in obsolete:
                del scenarios[labels]


def verdict_of(result: Result) -> str:
    """Return the verdict of a result, one of `VERDICTS`."""
    verdict = result.measurement.verdict
    return NO_VERDICT if verdict is None else verdict.state.value
