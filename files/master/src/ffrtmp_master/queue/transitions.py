"""Transitions: all changes of the state of a job, and the creation of jobs."""

from collections.abc import Iterable
from datetime import datetime

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.states import JobState, check_transition

from ffrtmp_master.queue.priority import queue_rank
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.rows import JobRow, NewTransition
from ffrtmp_master.store.unit_of_work import UnitOfWork

_JOBS_PER_STATEMENT = 2000


def transition(work: UnitOfWork, job: JobRow, after: JobState, reason: str) -> None:
    """Change the state of a job and record the transition.

    The caller changes other columns before the call, but leaves `leased_to` at the holder of the
    lease. A run whose last job becomes final is finished. A job that is queued again is leased to
    no node. Parked claims for the job or its node are woken after the commit.

    Args:
        work: The transaction.
        job: The locked job.
        after: The new state.
        reason: The reason that the history of the job shows.

    Raises:
        IllegalTransitionError: The state of the job cannot change to `after`.
    """
    before = job.state
    check_transition(before, after)
    was_held_by = job.leased_to if before.holds_lease else None
    job.state = after
    if after.is_final:
        job.finished_at = work.now
        work.effects.end_to_end_s.append((work.now - job.created_at).total_seconds())
        work.effects.finished[after] += 1
        if job.run_id is not None:
            work.job_ended(job.run_id)
    work.mark_changed(job)
    work.add_transition(NewTransition(job.id, before, after, job.attempt, work.now, reason))
    if was_held_by is not None and not after.holds_lease:
        work.effects.freed.add(was_held_by)
    if after is JobState.QUEUED:
        job.leased_to = None
        note_queued(work, job)


def enqueue(work: UnitOfWork, jobs: Iterable[JobRow], reason: str) -> None:
    """Store new jobs in state queued, in batches, so that not all of them are in memory.

    Args:
        work: The transaction.
        jobs: The new jobs, which may be generated lazily.
        reason: The reason that the history of each job shows.
    """
    queued = work.effects.queued

    def count_and_yield() -> Iterable[JobRow]:
        for job in jobs:
            queued[job.requirement_id] += 1
            yield job

    # The jobs are counted while they are stored, because a second pass would need all in memory.
    for batch in chunks(count_and_yield(), _JOBS_PER_STATEMENT):
        work.statements.insert_jobs(batch, reason)
        work.effects.submitted += len(batch)


def clone_queued(job: JobRow, now: datetime, priority_step_s: float) -> JobRow:
    """Return a new queued job with the scenario and requirements of another job.

    Args:
        job: The job to copy.
        now: The creation time of the new job.
        priority_step_s: The waiting time in seconds that one priority step is worth.

    Returns:
        The new job, which has no attempts yet and is not stored.
    """
    return JobRow(
        id=new_id(),
        position=job.position,
        repeat=job.repeat,
        state=JobState.QUEUED,
        priority=job.priority,
        rank=queue_rank(now, job.priority, priority_step_s),
        requirement_id=job.requirement_id,
        attempt=0,
        max_attempts=job.max_attempts,
        cancel_requested=False,
        created_at=now,
        created_by=job.created_by,
        scenario=job.scenario,
        run_id=job.run_id,
        node=job.node,
        deadline_s=job.deadline_s,
    )


def note_queued(work: UnitOfWork, job: JobRow) -> None:
    """Wake parked claims for a queued job after the commit, or when its backoff ends."""
    if job.not_before is None:
        work.effects.queued[job.requirement_id] += 1
    else:
        work.effects.delayed.append((job.not_before, job.requirement_id))
