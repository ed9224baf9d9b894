"""What follows an attempt that ended without a result: another one, or the end."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.models import Failure
from ffrtmp_shared.states import JobState
from sqlalchemy import Connection

from ffrtmp_master.queue import transitions
from ffrtmp_master.store.jobs import JobRow

_LONGEST_BACKOFF_S = 3600.0

NO_LEASE = {"lease_expires_at": None, "slot": None}
"""Column values of a job that nobody holds."""


@dataclass(frozen=True)
class Ended:
    """What became of a job whose attempt ended: its new state, and what it asks of a claimant."""

    state: JobState
    failure_class: FailureClass
    worked_on: str
    node: str | None
    encoder: str
    not_before: datetime | None


def backoff_s(attempt: int, first_s: float) -> float:
    """Return how long to wait after failed attempt `attempt`, in seconds."""
    return float(min(first_s * 2.0 ** (attempt - 1), _LONGEST_BACKOFF_S))


def end_attempt(
    connection: Connection,
    job: JobRow,
    failure: Failure,
    now: datetime,
    retry_after_s: float,
) -> Ended:
    """End the current attempt of a job that holds a lease.

    A job that somebody canceled is canceled. One whose failure is worth another try, and that
    has attempts left, is queued again for `retry_after_s` seconds from now. Any other failed.
    """
    kind = failure.failure_class
    reason = f"{kind}: {failure.message}"
    not_before = None
    moved = [transitions.at(job)]
    values: dict[str, Any] = {**NO_LEASE, "failure": failure}
    if job.cancel_requested:
        state = JobState.CANCELED
        transitions.move(connection, moved, state, f"canceled; {reason}", now, **values)
    elif kind.is_retryable and job.attempt < job.max_attempts:
        state = JobState.QUEUED
        not_before = now + timedelta(seconds=retry_after_s) if retry_after_s else None
        values |= {
            "not_before": not_before,
            "leased_to": None,
            "started_at": None,
            "progress": None,
        }
        transitions.move(connection, moved, state, reason, now, **values)
    else:
        state = JobState.FAILED
        if kind.is_retryable:
            reason += f" (the last of {job.max_attempts} attempts)"
        transitions.move(connection, moved, state, reason, now, **values)
    return Ended(
        state=state,
        failure_class=kind,
        worked_on=job.leased_to,
        node=job.node,
        encoder=job.encoder,
        not_before=not_before,
    )
