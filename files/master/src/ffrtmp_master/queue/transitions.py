"""The one place where a job's state changes."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.states import JobState, check_transition

from ffrtmp_master.store.rows import JobRow, NewTransition
from ffrtmp_master.store.work import Work


def move(work: Work, job: JobRow, after: JobState, reason: str, **values: Any) -> None:
    """Bring a job into the state `after`, with `values` for its other columns, and write it down.

    Raises IllegalTransitionError when the design does not allow it. A run whose last job becomes
    final is finished. Who waits for the job or its node hears of it after the commit.
    """
    before = job.state
    check_transition(before, after)
    was_held_by = job.leased_to if before.holds_lease else None
    for name, value in values.items():
        setattr(job, name, value)
    job.state = after
    if after.is_final:
        job.finished_at = work.now
        work.effects.end_to_end_s.append((work.now - job.created_at).total_seconds())
        work.effects.finished[after] += 1
        if job.run_id is not None:
            work.job_ended(job.run_id)
    work.change(job)
    work.write_down(NewTransition(job.id, before, after, job.attempt, work.now, reason))
    if was_held_by is not None and not after.holds_lease:
        work.effects.freed.add(was_held_by)
    if after is JobState.QUEUED:
        announce(work, job)


def begin(work: Work, jobs: Iterable[JobRow], reason: str) -> None:
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


def anew(job: JobRow, now: datetime, priority_step_s: float) -> JobRow:
    """Return a job that is to do what `job` did, queued at this moment and begun by nobody."""
    return replace(
        job,
        id=new_id(),
        state=JobState.QUEUED,
        rank=rank(now, job.priority, priority_step_s),
        leased_to=None,
        slot=None,
        attempt=0,
        not_before=None,
        lease_expires_at=None,
        cancel_requested=False,
        created_at=now,
        started_at=None,
        finished_at=None,
        key=None,
        retry_of=None,
        superseded_by=None,
        progress=None,
        failure=None,
    )


def announce(work: Work, job: JobRow) -> None:
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
