"""A job's row as it travels."""

import msgspec
from ffrtmp_shared.models import Failure, Job, Progress
from ffrtmp_shared.scenario import Scenario

from ffrtmp_master.queue.matching import Catalog
from ffrtmp_master.store.priorities import priority_of
from ffrtmp_master.store.rows import JobRow

_SCENARIO = msgspec.json.Decoder(Scenario)
_PROGRESS = msgspec.json.Decoder(Progress)
_FAILURE = msgspec.json.Decoder(Failure)


def job_as_sent(job: JobRow, catalog: Catalog) -> Job:
    """Turn a row that the queue worked on into what travels."""
    wanted = catalog.set_of(job.requirement_id)
    return Job(
        id=job.id,
        run_id=job.run_id,
        scenario=_SCENARIO.decode(job.scenario),
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
        progress=None if job.progress is None else _PROGRESS.decode(job.progress),
        failure=None if job.failure is None else _FAILURE.decode(job.failure),
        priority=priority_of(job.priority),
        exclusive=wanted.exclusive,
        requirements=wanted.requirements,
        deadline_s=job.deadline_s,
        retry_of=job.retry_of,
        superseded_by=job.superseded_by,
    )
