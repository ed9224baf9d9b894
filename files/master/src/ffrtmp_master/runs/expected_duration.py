"""Expected duration of a run, from the durations that its jobs had in earlier runs."""

from collections import Counter, defaultdict
from collections.abc import Collection

import msgspec
from ffrtmp_shared import control_encode
from ffrtmp_shared.run_plan import ExpectedDuration
from ffrtmp_shared.suite import Suite
from sqlalchemy import Connection

from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.placement import Placement
from ffrtmp_master.store import job_durations


def expected_duration(
    connection: Connection, suite: Suite, placement: Placement, with_controls: Collection[str]
) -> ExpectedDuration:
    """Return how long a run is expected to take if no other jobs run at the same time.

    Only durations of succeeded jobs with the same settings, clip and node are used, so that no
    speed is guessed.

    Args:
        connection: A connection to the database.
        suite: The suite of the run.
        placement: The placement of the suite.
        with_controls: The nodes that run control encodes.

    Returns:
        The duration, or the reason why it cannot be derived.
    """
    if placement.waiting:
        return ExpectedDuration(reason="some scenarios wait for a node")
    if not suite.exclusive:
        return ExpectedDuration(reason="the jobs may share a node (exclusive: false)")
    if suite.placement == "any" and len(placement.nodes) > 1:
        return ExpectedDuration(reason="any free node may run a job (placement: any)")
    repeats: Counter[tuple[str, str]] = Counter()
    for item in placement.items:
        node = item.wanted.requirements.node or placement.nodes[0]
        repeats[node, _encoded(item.scenario)] += suite.repeats
    for node in with_controls:
        repeats[node, _encoded(control_encode.SCENARIO)] += control_encodes.MIN_CONTROLS
    means_s = job_durations.mean_durations(connection, suite.name)
    unknown = Counter(node for node, scenario in repeats if (node, scenario) not in means_s)
    if unknown:
        node, count = unknown.most_common(1)[0]
        scenarios = "1 scenario was" if count == 1 else f"{count} scenarios were"
        return ExpectedDuration(
            reason=f"{scenarios} not measured on {node} in the last runs of {suite.name}"
        )
    totals_s: defaultdict[str, float] = defaultdict(float)
    for (node, scenario), count in repeats.items():
        totals_s[node] += count * means_s[node, scenario]
    return ExpectedDuration(
        duration_s=max(totals_s.values()), is_minimum=suite.precision is not None
    )


def _encoded(scenario: object) -> str:
    """Return a scenario as the database stores it."""
    return msgspec.json.encode(scenario).decode()
