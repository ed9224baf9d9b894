"""Control encodes: the same on a node first, last and now and then in a run."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from ffrtmp_shared import control_encode
from ffrtmp_shared.models import Node
from ffrtmp_shared.requirements import Requirements

from ffrtmp_master.queue.requirement_catalog import RequirementSet, unmet_requirements
from ffrtmp_master.queue.submission import required_set
from ffrtmp_master.store.job_outcomes import JobOutcome

EVERY = timedelta(hours=6)
"""How long a node works on a run without one."""

_LEAST = 2


def nodes_with(nodes: Iterable[Node], taking_part: Sequence[str]) -> list[str]:
    """Return the nodes of a run that can make control encodes."""
    return [
        node.name
        for node in nodes
        if node.name in taking_part
        and not unmet_requirements(_required(node.name), node.registration)
    ]


def required_set_for(node: str, *, exclusive: bool) -> RequirementSet:
    """Return what a control encode on a node asks for."""
    return required_set(_required(node), control_encode.SCENARIO, exclusive=exclusive)


def is_due(last_at: datetime | None, now: datetime, every: timedelta) -> bool:
    """Whether a node that had one at `last_at` is to have another; None is never to."""
    return last_at is not None and now - last_at >= every


def is_control(job: JobOutcome) -> bool:
    """Whether a job is a control encode."""
    return job.scenario == control_encode.SCENARIO.name


def count_controls(jobs: Iterable[JobOutcome]) -> int:
    """Return how many of the jobs are control encodes."""
    return sum(is_control(job) for job in jobs)


def is_missing_at_end(jobs: Sequence[JobOutcome], last_at: datetime | None) -> bool:
    """Whether a node that had one at `last_at` has done something since, or has but one."""
    if last_at is None:
        return False
    newest = max(jobs, key=lambda job: (job.created_at, job.job_id))
    return count_controls(jobs) < _LEAST or not is_control(newest)


def _required(node: str) -> Requirements:
    return Requirements(node=node, encoder=control_encode.SCENARIO.encoder)
