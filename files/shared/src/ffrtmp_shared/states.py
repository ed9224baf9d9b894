"""States of jobs, runs and nodes, and the legal transitions between states of a job."""

from enum import StrEnum


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Return whether there is no transition from this state."""
        return not JOB_TRANSITIONS[self]

    @property
    def holds_lease(self) -> bool:
        """Return whether an agent holds the job in this state."""
        return self in (JobState.LEASED, JobState.RUNNING)


class RunState(StrEnum):
    """State of a run. It is derived from the states of its jobs and never stored."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Return whether every job of the run has reached a final state."""
        return self not in (RunState.QUEUED, RunState.RUNNING)


class NodeState(StrEnum):
    """State of a node. An operator sets it to active or draining; the master detects offline."""

    ACTIVE = "active"
    DRAINING = "draining"
    OFFLINE = "offline"


class PendingReason(StrEnum):
    """Reason why a queued job is not leased."""

    READY = "ready"
    """A node may claim the job: it is about to be claimed, or waits for jobs with a lower rank."""
    BACKOFF = "backoff"
    """The job waits after a failed attempt."""
    NO_NODE = "no_node"
    """No active node can run the job. This does not change until the nodes do."""
    BUSY = "busy"
    """The nodes that can run the job hold other jobs."""


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
"""The states to which a job may change, for each state."""


class IllegalTransitionError(ValueError):
    """A requested transition is not legal."""

    def __init__(self, before: JobState, after: JobState) -> None:
        """Store both states of the rejected transition."""
        super().__init__(f"a job cannot go from {before} to {after}")
        self.before = before
        self.after = after


def check_transition(before: JobState, after: JobState) -> None:
    """Raise IllegalTransitionError unless `after` is a legal next state of `before`."""
    if after not in JOB_TRANSITIONS[before]:
        raise IllegalTransitionError(before, after)


def run_state(counts: dict[JobState, int], *, more_to_come: bool = False) -> RunState:
    """Derive a run's state from the number of its jobs in each state.

    A run is final when all of its jobs are final and no more jobs will be added. It has then failed
    if any job has failed. Otherwise it is canceled if any job was canceled, and has succeeded if
    all jobs have succeeded.

    Args:
        counts: Number of jobs by state. States without jobs may be omitted.
        more_to_come: Whether more jobs will be added to the run.

    Returns:
        The state of the run.
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
