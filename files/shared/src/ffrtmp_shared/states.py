"""The states of a job and of a node, and which transitions between them are legal."""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands on its way."""

    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether no transition leads out of this state."""
        return not JOB_TRANSITIONS[self]

    @property
    def holds_lease(self) -> bool:
        """Whether an agent holds the job in this state."""
        return self in (JobState.LEASED, JobState.RUNNING)


class RunState(StrEnum):
    """Where a run stands; derived from the states of its jobs, never stored."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether every job of the run has reached a final state."""
        return self not in (RunState.QUEUED, RunState.RUNNING)


class NodeState(StrEnum):
    """What an operator wants of a node, or what the master found out about it."""

    ACTIVE = "active"
    DRAINING = "draining"
    OFFLINE = "offline"


JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.LEASED, JobState.CANCELED}),
    JobState.LEASED: frozenset(
        {
            JobState.RUNNING,
            JobState.QUEUED,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELED,
        }
    ),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
}
"""For each state, the states that may follow it."""


class IllegalTransitionError(ValueError):
    """A transition that the design does not allow was asked for."""

    def __init__(self, before: JobState, after: JobState) -> None:
        """Keep both ends of the refused transition."""
        super().__init__(f"a job cannot go from {before} to {after}")
        self.before = before
        self.after = after


def check_transition(before: JobState, after: JobState) -> None:
    """Raise IllegalTransitionError unless `before` may be followed by `after`."""
    if after not in JOB_TRANSITIONS[before]:
        raise IllegalTransitionError(before, after)


def run_state(counts: dict[JobState, int], *, more_to_come: bool = False) -> RunState:
    """Derive a run's state from the number of its jobs in each state.

    A run is complete only when all of its jobs are final and it gets no more; it has succeeded
    only when all of them have. A failed job outweighs a canceled one.
    """
    total = sum(counts.values())
    if not total or counts.get(JobState.QUEUED, 0) == total:
        return RunState.QUEUED
    if more_to_come or any(count and not state.is_final for state, count in counts.items()):
        return RunState.RUNNING
    if counts.get(JobState.FAILED, 0):
        return RunState.FAILED
    if counts.get(JobState.CANCELED, 0):
        return RunState.CANCELED
    return RunState.SUCCEEDED
