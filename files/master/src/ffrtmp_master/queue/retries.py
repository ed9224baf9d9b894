"""Handling of attempts without a result: the job is retried after a backoff, or it ends."""

from datetime import timedelta

import msgspec
from ffrtmp_shared.attempt_models import Failure
from ffrtmp_shared.states import JobState

from ffrtmp_master.queue import transitions
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.unit_of_work import UnitOfWork

_LONGEST_BACKOFF_S = 3600.0
# Beyond this number of doublings, the delay is limited anyway; the power would overflow at 1024.
_MAX_DOUBLINGS = 64


def backoff_s(attempt: int, first_s: float) -> float:
    """Return the delay in seconds between the failure of an attempt and the next attempt.

    The delay is `first_s` after the first attempt and doubles after each further attempt, up to one
    hour.
    """
    return float(min(first_s * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS), _LONGEST_BACKOFF_S))


def end_attempt(work: UnitOfWork, job: JobRow, failure: Failure, retry_after_s: float) -> JobState:
    """End the current attempt of a leased or running job without a result.

    If cancellation was requested, the job becomes canceled. Otherwise, if the failure is retryable
    and the job has attempts left, the job is queued again. In all other cases, the job fails.

    Args:
        work: The transaction.
        job: The locked job.
        failure: The failure of the attempt.
        retry_after_s: The delay before the next attempt in seconds.

    Returns:
        The new state of the job.
    """
    kind = failure.failure_class
    # PostgreSQL's type text cannot store NUL characters. The failure itself is stored as JSON, in
    # which they are escaped.
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
