"""What follows an attempt that ended without a result: another one, or the end."""

from datetime import timedelta

import msgspec
from ffrtmp_shared.models import Failure
from ffrtmp_shared.states import JobState

from ffrtmp_master.queue import transitions
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.unit_of_work import UnitOfWork

_LONGEST_BACKOFF_S = 3600.0


def backoff_s(attempt: int, first_s: float) -> float:
    """Return how long to wait after failed attempt `attempt`, in seconds."""
    return float(min(first_s * 2.0 ** (attempt - 1), _LONGEST_BACKOFF_S))


def end_attempt(work: UnitOfWork, job: JobRow, failure: Failure, retry_after_s: float) -> JobState:
    """End the current attempt of a job that holds a lease; return the job's new state.

    A job that somebody canceled is canceled. One whose failure is worth another try, and that
    has attempts left, is queued again for `retry_after_s` seconds from now. Any other failed.
    """
    kind = failure.failure_class
    # PostgreSQL's text holds no NUL; the failure itself is kept as JSON, which can.
    reason = f"{kind}: {failure.message}".replace("\0", "\ufffd")
    if job.started_at is not None:
        work.effects.run_times_s.append((work.now - job.started_at).total_seconds())
    job.failure = msgspec.json.encode(failure).decode()
    job.lease_expires_at = job.slot = None
    if job.cancel_requested:
        state = JobState.CANCELED
        reason = f"canceled; {reason}"
    elif kind.is_retryable and job.attempt < job.max_attempts:
        state = JobState.QUEUED
        job.not_before = work.now + timedelta(seconds=retry_after_s) if retry_after_s else None
        job.started_at = job.progress = None
    else:
        state = JobState.FAILED
        if kind.is_retryable:
            reason += f" (the last of {job.max_attempts} attempts)"
    transitions.transition(work, job, state, reason)
    work.effects.ended.append((kind, state))
    return state
