"""Wire types of the API for runs, jobs and results.

Those for nodes, for the work of agents and for attempts have modules of their own.
"""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from ffrtmp_shared.attempt_models import Artifact, Failure, Progress
from ffrtmp_shared.constrained_types import Moment
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.requirements import Priority, Requirements, WhenUnmet
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.states import JobState, NodeState, PendingReason, RunState


class Role(StrEnum):
    """Roles of tokens. Each role except agent includes the permissions of the roles before it."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    ADMIN = "admin"
    AGENT = "agent"


class RunRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for a run of the suite whose YAML text is `suite`.

    `seed` determines the order of the jobs. If it is null, the master chooses a random seed.
    `when_unmet` replaces the setting of the suite with this name, unless it is null.
    """

    suite: Annotated[str, Meta(max_length=1_000_000)]
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    when_unmet: WhenUnmet | None = None


class OmittedNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node that gets no jobs of a run because it was not active when the run was created."""

    node: str
    state: NodeState


class PendingJobs(msgspec.Struct, frozen=True, kw_only=True):
    """The number of queued jobs of a run that wait for the same reason.

    `message` explains the reason to people. It names nodes if no active node can run the jobs.
    """

    reason: PendingReason
    message: str
    jobs: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a suite.

    `counts` contains the number of jobs in every state, even if it is 0. `unsettled_nodes` are the
    nodes on which more repeats or a control encode may still be added. `omitted_nodes` are the
    nodes that could run some of the jobs, but were draining or offline when the run was created.
    `pending` explains why jobs are queued, first those that no active node can run.
    """

    id: UUID
    suite_name: str
    state: RunState
    seed: int
    counts: dict[str, int]
    nodes: tuple[str, ...]
    created_at: Moment
    created_by: str
    finished_at: Moment | None
    key: str | None
    priority: Priority = Priority.MEDIUM
    unsettled_nodes: tuple[str, ...] = ()
    omitted_nodes: tuple[OmittedNode, ...] = ()
    pending: tuple[PendingJobs, ...] = ()


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A single job that does not belong to a run.

    An `exclusive` job does not share its node with other jobs. If `max_attempts` is null, the
    default of the farm applies. If an attempt takes longer than `deadline_s` seconds, the job
    fails.
    """

    scenario: Scenario
    requirements: Requirements = Requirements()
    priority: Priority = Priority.MEDIUM
    exclusive: bool = True
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | None = None
    deadline_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None


class JobUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a job that is not yet in a final state."""

    priority: Priority


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a job's state, with its time and reason. `before` is null for a new job."""

    before: JobState | None
    after: JobState
    attempt: int
    at: Moment
    reason: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One repeat of a scenario, for a particular node or for any suitable node.

    `node` is the node that must execute the job; it is null if any suitable node may. `leased_to`
    is the node that executes the job or last executed it. `repeat` counts from 1. `position` is the
    position of the job in the random order of the run. `run_id` is null for a job that does not
    belong to a run. `waiting` is the reason why a queued job is not being executed yet. `retry_of`
    is the job that this job retries, and `superseded_by` is the job that retries this job.
    """

    id: UUID
    run_id: UUID | None
    scenario: Scenario
    repeat: int
    position: int
    state: JobState
    node: str | None
    leased_to: str | None
    attempt: int
    max_attempts: int
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    lease_expires_at: Moment | None
    not_before: Moment | None
    progress: Progress | None
    failure: Failure | None
    priority: Priority = Priority.MEDIUM
    exclusive: bool = True
    requirements: Requirements = Requirements()
    deadline_s: float | None = None
    retry_of: UUID | None = None
    superseded_by: UUID | None = None
    waiting: str | None = None


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a job's state in the event stream. `before` is null for a new job."""

    job_id: UUID
    run_id: UUID | None
    before: JobState | None
    after: JobState
    attempt: int
    at: Moment
    reason: str


class RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a run. `counts` contains the number of jobs in every state, even if it is 0."""

    run_id: UUID
    state: RunState
    counts: dict[str, int]
    finished_at: Moment


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The stored measurement of an attempt.

    It never changes, except that its verdict gets the reason `node-drift` if the control encodes of
    its run show that its node has changed.
    """

    id: UUID
    run_id: UUID | None
    job_id: UUID
    attempt: int
    node: str
    repeat: int
    scenario: Scenario
    measurement: Measurement
    artifacts: tuple[Artifact, ...]
    stored_at: Moment


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs, newest first. `next_cursor` requests the next page."""

    items: tuple[Run, ...]
    next_cursor: str | None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs in the order of their ids."""

    items: tuple[Job, ...]
    next_cursor: str | None


class ResultPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of results in the order in which they were stored.

    `epoch` differs from that of an earlier page if the database may have been restored from a
    backup since then, so that results of earlier pages may no longer exist. `drifts` is the number
    of drifts that have been found, each of a node in a run. If it differs from that of an earlier
    page, results of earlier pages may have another verdict now.
    """

    items: tuple[Result, ...]
    next_cursor: str | None
    epoch: str = ""
    drifts: int = 0


class StoredSource(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded source. `uploaded_by` is the token of its first upload, if it is known.

    `used_at` is the time at which the source was last uploaded or named by a submission, with a
    resolution of one minute.
    """

    sha256: str
    size_bytes: int
    uploaded_by: str | None
    used_at: Moment


class SourcePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of uploaded sources, sorted by digest."""

    items: tuple[StoredSource, ...]
    next_cursor: str | None


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457). `errors` lists the individual errors of a request body."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[str, ...] = ()
