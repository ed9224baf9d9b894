"""Control encodes: the same encode at the start, at intervals and at the end of a run."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from ffrtmp_shared import control_encode
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.requirements import Requirements

from ffrtmp_master.queue.requirement_catalog import RequirementSet, unmet_requirements
from ffrtmp_master.queue.submission import required_set
from ffrtmp_master.store.job_outcomes import JobOutcome

EVERY = timedelta(hours=6)
"""The interval between two control encodes on a node."""

MIN_CONTROLS = 2
"""The minimum number of control encodes on a node: at the start and at the end of a run."""


def nodes_with(nodes: Iterable[Node], participating: Sequence[str]) -> list[str]:
    """Return the names of those nodes of a run that can run control encodes."""
    return [
        node.name
        for node in nodes
        if node.name in participating
        and not unmet_requirements(_required(node.name), node.registration)
    ]


def required_set_for(node: str, *, exclusive: bool) -> RequirementSet:
    """Return the requirement set of a control encode on a node."""
    return required_set(_required(node), control_encode.SCENARIO, exclusive=exclusive)


def is_due(last_at: datetime | None, now: datetime, every: timedelta) -> bool:
    """Return whether the next control encode is due on a node.

    Args:
        last_at: The time of the last control encode, or None for a node that gets none.
        now: The current time.
        every: The interval between two control encodes.

    Returns:
        Whether the control encode is due; False if `last_at` is None.
    """
    return last_at is not None and now - last_at >= every


def is_control(job: JobOutcome) -> bool:
    """Return whether a job is a control encode."""
    return job.scenario == control_encode.SCENARIO.name


def count_controls(jobs: Iterable[JobOutcome]) -> int:
    """Return the number of control encodes among the jobs."""
    return sum(is_control(job) for job in jobs)


def is_missing_at_end(jobs: Sequence[JobOutcome], last_at: datetime | None) -> bool:
    """Return whether a node still needs its final control encode.

    The node needs it if it has had fewer than two control encodes, or if its newest job is not a
    control encode. A node whose `last_at` is None gets no control encodes.
    """
    if last_at is None:
        return False
    newest = max(jobs, key=lambda job: (job.created_at, job.job_id))
    return count_controls(jobs) < MIN_CONTROLS or not is_control(newest)


def is_unconfirmed(jobs: Sequence[JobOutcome], sides: Mapping[UUID, int | None]) -> bool:
    """Return whether a node needs a control encode that confirms the last one.

    It needs one if the last control encode lies outside the usual range, and the one before does
    not. Two that lie outside on different sides show a noise that a third one would not explain.

    Args:
        jobs: The jobs of a run on the node.
        sides: The sides of those control encodes that were compared with the range, by job.
    """
    controls = sorted(filter(is_control, jobs), key=lambda job: (job.created_at, job.job_id))
    last, before = ([sides.get(job.job_id) for job in controls[::-1]] + [None, None])[:2]
    return bool(last) and not before


def _required(node: str) -> Requirements:
    return Requirements(node=node, encoder=control_encode.SCENARIO.encoder)
