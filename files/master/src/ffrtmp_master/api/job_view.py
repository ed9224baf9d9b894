"""The representation of a job in the API."""

from typing import Any

import msgspec
from ffrtmp_shared.models import Job

from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.store.priorities import priority_of
from ffrtmp_master.store.rows import JobRow


def render_job(job: JobRow, catalog: RequirementCatalog) -> Job:
    """Convert a row to a job that is suitable for encoding only.

    Fields that are stored as JSON remain raw JSON, so that they are not decoded and encoded again.
    """
    required = catalog.set_of(job.requirement_id)
    return Job(
        id=job.id,
        run_id=job.run_id,
        scenario=_raw(job.scenario),
        repeat=job.repeat,
        position=job.position,
        state=job.state,
        node=job.node,
        leased_to=job.leased_to,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        lease_expires_at=job.lease_expires_at,
        not_before=job.not_before,
        progress=None if job.progress is None else _raw(job.progress),
        failure=None if job.failure is None else _raw(job.failure),
        priority=priority_of(job.priority),
        exclusive=required.exclusive,
        requirements=required.requirements,
        deadline_s=job.deadline_s,
        retry_of=job.retry_of,
        superseded_by=job.superseded_by,
    )


def _raw(text: str) -> Any:
    return msgspec.Raw(text.encode())
