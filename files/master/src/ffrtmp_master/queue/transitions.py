"""The one place where a job's state changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ffrtmp_shared.states import JobState, check_transition
from sqlalchemy import Connection, bindparam, exists, insert, select, update

from ffrtmp_master.store.jobs import JobRow
from ffrtmp_master.store.schema import jobs, runs, transitions


class LostJobError(RuntimeError):
    """A job was no longer in the state that it was read in: two transactions wrote at once."""


@dataclass(frozen=True)
class JobAt:
    """A job as it was read: what a transition starts from."""

    id: UUID
    run_id: UUID
    state: JobState
    attempt: int


def at(row: JobRow) -> JobAt:
    """Take from a row what a transition needs."""
    return JobAt(id=row.id, run_id=row.run_id, state=JobState(row.state), attempt=row.attempt)


def move(
    connection: Connection,
    moved: Sequence[JobAt],
    after: JobState,
    reason: str,
    now: datetime,
    *,
    attempt: int | None = None,
    **values: Any,
) -> None:
    """Bring jobs into the state `after`, with `values` for their other columns, and write it down.

    Raises IllegalTransitionError when the design does not allow it, LostJobError when a job is
    not as it was read. `attempt` is the new attempt's number where one begins. A run whose last
    job becomes final is finished.
    """
    if not moved:
        return
    for job in moved:
        check_transition(job.state, after)
    if attempt is not None:
        values["attempt"] = attempt
    if after.is_final:
        values["finished_at"] = now
    changed = connection.execute(
        update(jobs)
        .where(jobs.c.id == bindparam("job_id"), jobs.c.state == bindparam("state_before"))
        .values(state=after, **values),
        [{"job_id": job.id, "state_before": job.state} for job in moved],
    )
    if changed.rowcount != len(moved):
        raise LostJobError(f"{len(moved)} jobs should become {after}, {changed.rowcount} did")
    _write_down(connection, moved, after, reason, now=now, attempt=attempt)
    if after.is_final:
        _finish_runs(connection, {job.run_id for job in moved}, now)


def begin(connection: Connection, job_ids: Iterable[UUID], reason: str, now: datetime) -> None:
    """Write down that new jobs are queued."""
    connection.execute(
        insert(transitions),
        [
            {
                "job_id": job_id,
                "before": None,
                "after": JobState.QUEUED,
                "attempt": 0,
                "at": now,
                "reason": reason,
            }
            for job_id in job_ids
        ],
    )


def _write_down(
    connection: Connection,
    moved: Sequence[JobAt],
    after: JobState,
    reason: str,
    *,
    now: datetime,
    attempt: int | None,
) -> None:
    connection.execute(
        insert(transitions),
        [
            {
                "job_id": job.id,
                "before": job.state,
                "after": after,
                "attempt": job.attempt if attempt is None else attempt,
                "at": now,
                "reason": reason,
            }
            for job in moved
        ],
    )


def _finish_runs(connection: Connection, run_ids: set[UUID], now: datetime) -> None:
    unfinished = [state for state in JobState if not state.is_final]
    has_more = exists(
        select(jobs.c.id).where(jobs.c.run_id == runs.c.id, jobs.c.state.in_(unfinished))
    )
    for run_id in run_ids:
        connection.execute(
            update(runs).where(runs.c.id == run_id, ~has_more).values(finished_at=now)
        )
