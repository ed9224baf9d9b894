"""The one place where a job's state changes."""

from collections.abc import Iterable
from datetime import datetime

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.states import JobState, check_transition

from ffrtmp_master.store.rows import JobRow, NewTransition
from ffrtmp_master.store.unit_of_work import UnitOfWork


def transition(work: UnitOfWork, job: JobRow, after: JobState, reason: str) -> None:
    """Bring a job into the state `after`, and write it down with what else was changed of it.

    Other columns are the caller's to change, before; but `leased_to` still has to name the holder.
    Raises IllegalTransitionError when the design does not allow it. A run whose last job becomes
    final is finished; what is queued again belongs to no node. Who waits for the job or its node
    hears of it after the commit.
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
    """Store new jobs, queued. They may be many: none is kept in memory."""
    queued = work.effects.queued

    def counted() -> Iterable[JobRow]:
        for job in jobs:
            queued[job.requirement_id] += 1
            yield job

    # Two passes over the jobs would need them all at once; pieces need a piece at once.
    for piece in _pieces(counted()):
        work.statements.insert_jobs(piece, reason)
        work.effects.submitted += len(piece)


def clone_queued(job: JobRow, now: datetime, priority_step_s: float) -> JobRow:
    """Return a job that is to do what `job` did, queued at this moment and begun by nobody."""
    return JobRow(
        id=new_id(),
        position=job.position,
        repeat=job.repeat,
        state=JobState.QUEUED,
        priority=job.priority,
        rank=rank(now, job.priority, priority_step_s),
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
    """Have those hear of a queued job who could take it, now or when its time has come."""
    if job.not_before is None:
        work.effects.queued[job.requirement_id] += 1
    else:
        work.effects.delayed.append((job.not_before, job.requirement_id))


def rank(created_at: datetime, priority_steps: int, step_s: float) -> int:
    """Return a job's place in the queue: the lowest goes first, in microseconds.

    It is the moment of its birth, earlier by `step_s` for each step of priority: a job goes
    before all of lower priority until one of them has waited that much longer, so that nothing
    starves. Being fixed at birth, an index can hold it.
    """
    return int((created_at.timestamp() - priority_steps * step_s) * 1_000_000)


_PIECE = 2000


def _pieces(jobs: Iterable[JobRow]) -> Iterable[list[JobRow]]:
    piece: list[JobRow] = []
    for job in jobs:
        piece.append(job)
        if len(piece) == _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece
