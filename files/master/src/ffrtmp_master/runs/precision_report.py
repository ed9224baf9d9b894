"""Precision report of a run: the intervals of the median speeds, and the drift of the nodes."""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence

from ffrtmp_shared.precision import (
    Drift,
    Look,
    MedianSpeed,
    MedianState,
    Precision,
    RunPrecision,
)

from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.confidence_interval import (
    ConfidenceInterval,
    interval_of_median,
    is_out_of_reach,
    is_precise,
)
from ffrtmp_master.store.control_speeds import NodeDrift
from ffrtmp_master.store.job_outcomes import JobOutcome


def precision_report(
    jobs: Sequence[JobOutcome],
    precision: Precision,
    looks: tuple[Look, ...],
    unsettled: Collection[str],
    drifts: Mapping[str, NodeDrift],
) -> RunPrecision:
    """Return the precision of the median speed of each scenario on each node.

    If a scenario has no jobs on a node, this combination is left out.

    Args:
        jobs: The jobs of the run.
        precision: The requested precision.
        looks: The looks of each scenario; empty if the suite requests no precision.
        unsettled: The nodes that may get further jobs.
        drifts: The drifts that the control encodes have confirmed, by node.

    Returns:
        The report.
    """
    groups: dict[tuple[str, str], list[JobOutcome]] = {}
    controls_by_node: dict[str, list[JobOutcome]] = {}
    for job in jobs:
        if control_encodes.is_control(job):
            controls_by_node.setdefault(job.node, []).append(job)
        elif job.can_be_repeated and job.node:
            groups.setdefault((job.node, job.scenario), []).append(job)
    return RunPrecision(
        interval=precision.interval,
        looks=looks,
        medians=tuple(
            _median(node, scenario, members, precision, looks, is_settled=node not in unsettled)
            for (node, scenario), members in sorted(groups.items())
        ),
        drifts=tuple(
            _drift(node, control_jobs, drifts.get(node))
            for node, control_jobs in sorted(controls_by_node.items())
        ),
    )


def _median(
    node: str,
    scenario: str,
    members: Sequence[JobOutcome],
    precision: Precision,
    looks: tuple[Look, ...],
    *,
    is_settled: bool,
) -> MedianSpeed:
    speeds = [job.speed for job in members if job.speed is not None]
    interval = interval_of_median(speeds, looks)
    is_done = is_settled and all(job.state.is_final for job in members)
    return MedianSpeed(
        node=node,
        scenario=scenario,
        n=len(speeds),
        n_invalid=sum(job.has_result for job in members) - len(speeds),
        speed=statistics.median(speeds) if speeds else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        state=_state(
            interval,
            precision.interval,
            is_precise=is_precise(speeds, precision.interval, looks),
            is_out_of_reach=is_out_of_reach(speeds, precision.interval, looks),
            is_done=is_done,
        ),
    )


def _state(
    interval: ConfidenceInterval | None,
    target_ratio: float,
    *,
    is_precise: bool,
    is_out_of_reach: bool,
    is_done: bool,
) -> MedianState:
    if is_precise:
        return MedianState.PRECISE
    if is_out_of_reach:
        return MedianState.UNSTABLE
    if not is_done:
        return MedianState.OPEN
    if interval is None:
        return MedianState.FEW_REPEATS
    # The last repeats are the last look, even if some of them were not valid.
    is_narrow = interval.half_width_ratio <= target_ratio
    return MedianState.PRECISE if is_narrow else MedianState.UNSTABLE


def _drift(node: str, control_jobs: Sequence[JobOutcome], confirmed: NodeDrift | None) -> Drift:
    in_order = sorted(control_jobs, key=lambda job: (job.created_at, job.job_id))
    speeds = [job.speed for job in in_order if job.speed is not None]
    if len(speeds) < 2:  # noqa: PLR2004 - a drift needs two values
        return Drift(node=node, n=len(speeds), first_speed=None, last_speed=None, ratio=None)
    return Drift(
        node=node,
        n=len(speeds),
        first_speed=speeds[0],
        last_speed=speeds[-1],
        ratio=_ratio(speeds[-1], speeds[0]),
        is_unusual=confirmed is not None,
        low=confirmed.low if confirmed else None,
        high=confirmed.high if confirmed else None,
    )


def _ratio(last: float, first: float) -> float | None:
    """Return the quotient, or None if it does not exist or is too large for a number."""
    ratio = last / first if first else math.inf
    return ratio if math.isfinite(ratio) else None
