"""Transitions: every change of the state of a job, and the creation of jobs."""

from collections.abc import Iterable
from datetime import datetime

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.states import JobState, check_transition

from ffrtmp_master.queue.claim_order import queue_rank
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.rows import JobRow, NewTransition
from ffrtmp_master.store.unit_of_work import UnitOfWork

_JOBS_PER_STATEMENT = 2000


def transition(work: UnitOfWork, job: JobRow, after: JobState, reason: str) -> None:
    """Change the state of a job and record the transition.

    The caller must change any other columns before the call. `leased_to` must name the node that
    gets the lease or that held it; this function clears `leased_to` if the job is queued again. If
    the last job of a run becomes final, the run is finished. After the commit, parked claims are
    woken that could lease a job that is queued again, or whose node is now free.

    Args:
        work: The transaction.
        job: The locked job.
        after: The new state.
        reason: The reason to show in the history of the job.

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
    """Store new jobs in the state queued. They are stored in batches and need not fit in memory.

    Args:
        work: The transaction.
        jobs: The new jobs, which may be generated lazily.
        reason: The reason to show in the history of each job.
    """
    queued = work.effects.queued

    def count_and_yield() -> Iterable[JobRow]:
        for job in jobs:
            queued[job.requirement_id] += 1
            yield job

    # The jobs are counted while they are stored, because counting them in a second pass would
    # require all of them to be in memory.
    for batch in chunks(count_and_yield(), _JOBS_PER_STATEMENT):
        work.statements.insert_jobs(batch, reason)
        work.effects.submitted += len(batch)


def clone_queued(job: JobRow, now: datetime, priority_step_s: float) -> JobRow:
    """Return a new queued job with the scenario and requirements of another job.

    Args:
        job: The job to copy.
        now: The creation time of the new job.
        priority_step_s: The waiting time in seconds that is equivalent to one priority step.

    Returns:
        The new job. It has no attempts and is not stored yet.
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
    """Have parked claims woken for a queued job, after the commit or when its backoff ends."""
    if job.not_before is None:
        work.effects.queued[job.requirement_id] += 1
    else:
        work.effects.delayed.append((job.not_before, job.requirement_id))
