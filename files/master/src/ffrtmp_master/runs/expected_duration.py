"""Expected duration of a run, from the durations that its jobs had in earlier runs."""

from collections import Counter, defaultdict
from collections.abc import Collection
from functools import cached_property

import msgspec
from ffrtmp_shared.run_plan import ExpectedDuration
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.suite import Suite
from sqlalchemy import Connection

from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.placement import Placement
from ffrtmp_master.store import control_speeds, job_durations

UNKNOWN_JOB_S = 30.0
"""The duration in seconds that is assumed for a job that was not measured yet.

It is that of a short clip, with the preparation, the encode and the quality pass.
"""


class PlannedDurations:
    """The durations of the jobs of a run that is being planned."""

    def __init__(self, connection: Connection, suite: Suite, placement: Placement) -> None:
        """Create the durations for a run; they are read when they are needed.

        Args:
            connection: A connection to the database.
            suite: The suite of the run.
            placement: The placement of the suite.
        """
        self._connection = connection
        self._suite = suite
        self._placement = placement

    def planned_s(self) -> float:
        """Return the duration of the run in seconds, for the node that takes longest.

        Unlike the expected duration, it is always known: a job that was not measured yet counts as
        `UNKNOWN_JOB_S`, or as the time for which its scenario runs by its settings. With a
        precision, each scenario counts with the maximum number of repeats, as far as the budget
        permits. Control encodes are not included.
        """
        totals_s: defaultdict[str, float] = defaultdict(float)
        for (node, scenario), (count, stated_s) in self._repeats.items():
            mean_s = self._means_s.get((node, scenario))
            totals_s[node] += count * (stated_s if mean_s is None else mean_s)
        return max(map(self._with_more_repeats_s, totals_s.values()), default=0.0)

    def control_s(self, with_controls: Collection[str]) -> float | None:
        """Return the time that the first and the last control encode of a node take together.

        It is that of the node on which they take longest, in seconds, or None if no node has run
        control encodes.

        Args:
            with_controls: The nodes that run control encodes.
        """
        known = [mean_s for name in with_controls if (mean_s := self._control_s(name)) is not None]
        return control_encodes.MIN_CONTROLS * max(known) if known else None

    def expected(self, with_controls: Collection[str]) -> ExpectedDuration:
        """Return how long the run is expected to take if no other jobs run at the same time.

        Only durations of succeeded jobs with the same settings, clip and node are used, so that no
        speed is guessed.

        Args:
            with_controls: The nodes that run control encodes.

        Returns:
            The duration, or the reason why it cannot be derived.
        """
        suite, placement = self._suite, self._placement
        if placement.waiting:
            return ExpectedDuration(reason="some scenarios wait for a node")
        if not suite.exclusive:
            return ExpectedDuration(reason="the jobs may share a node (exclusive: false)")
        if suite.placement == "any" and len(placement.nodes) > 1:
            return ExpectedDuration(reason="any free node may run a job (placement: any)")
        means_s = self._means_s
        unknown = Counter(
            node for node, scenario in self._repeats if (node, scenario) not in means_s
        )
        if unknown:
            node, count = unknown.most_common(1)[0]
            scenarios = "1 scenario was" if count == 1 else f"{count} scenarios were"
            return ExpectedDuration(
                reason=f"{scenarios} not measured on {node} in the last runs of {suite.name}"
            )
        totals_s: defaultdict[str, float] = defaultdict(float)
        for (node, scenario), (count, _) in self._repeats.items():
            totals_s[node] += count * means_s[node, scenario]
        control_s = {name: self._control_s(name) for name in with_controls}
        for name, mean_s in control_s.items():
            totals_s[name] += control_encodes.MIN_CONTROLS * (mean_s or 0.0)
        return ExpectedDuration(
            duration_s=max(totals_s.values()),
            is_minimum=suite.precision is not None or None in control_s.values(),
        )

    @cached_property
    def _repeats(self) -> dict[tuple[str, str], tuple[int, float]]:
        """The number of jobs by node and scenario, and the assumed duration of each in seconds."""
        found: dict[tuple[str, str], tuple[int, float]] = {}
        for item in self._placement.items:
            node = item.wanted.requirements.node or next(iter(self._placement.nodes), "")
            key = node, msgspec.json.encode(item.scenario).decode()
            count, _ = found.get(key, (0, 0.0))
            found[key] = count + self._suite.repeats, _stated_s(item.scenario)
        return found

    @cached_property
    def _means_s(self) -> dict[tuple[str, str], float]:
        return dict(job_durations.mean_durations(self._connection, self._suite.name))

    def _with_more_repeats_s(self, first_s: float) -> float:
        """Return the duration with the most repeats, from that of the repeats queued first."""
        precision = self._suite.precision
        if precision is None:
            return first_s
        most_s = first_s * max(1.0, precision.max_repeats / self._suite.repeats)
        if precision.budget_s is None:
            return most_s
        # The repeats that are queued first do not depend on the budget.
        return max(first_s, min(most_s, precision.budget_s))

    def _control_s(self, node: str) -> float | None:
        return control_speeds.median_duration_s(self._connection, node)


def _stated_s(scenario: Scenario) -> float:
    """Return the assumed duration of a job that was not measured, in seconds."""
    if scenario.live is not None:
        return max(UNKNOWN_JOB_S, scenario.live.duration_s)
    if scenario.density is not None:
        return max(UNKNOWN_JOB_S, scenario.density.window_s + scenario.density.verify_s)
    return UNKNOWN_JOB_S
