"""Wire types of the API between the master, its agents and other clients."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import (
    Address,
    Amount,
    Attempt,
    Count,
    FileName,
    Labels,
    Moment,
    Name,
    Port,
    Real,
    Sha256,
    Text,
    UnitName,
    Word,
)
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import FfmpegBuild, Measurement
from ffrtmp_shared.requirements import Priority, Requirements
from ffrtmp_shared.scenario import KINDS_OF_EVERY_NODE, Scenario
from ffrtmp_shared.states import JobState, NodeState, PendingReason, RunState

Slot = Annotated[int, Meta(ge=1, le=1024)]
WaitSeconds = Annotated[float, Meta(ge=0, le=60)]


class Role(StrEnum):
    """Roles of tokens. Each role except agent includes the permissions of the roles before it."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    ADMIN = "admin"
    AGENT = "agent"


# --- nodes ---------------------------------------------------------------------------------


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hardware and operating system of a worker host, as its agent detected them."""

    hostname: Text
    os: Text
    kernel: Text
    architecture: Text
    cpu_model: Text
    cpu_count: Count
    memory_bytes: Count
    gpus: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()


NODE_EXPORTERS = ("cpu", "gpu", "ffmpeg", "docker_stats", "node")
"""The exporters that a node may run, by the names under which it registers their ports."""


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Description of a node that its agent sends at startup.

    `encoders` lists the encoders that passed a short test encode on the node. `address` is the
    address of the node's exporters, and `exporters` contains their ports by name. `kinds` lists the
    kinds of scenarios that the agent supports. `ffmpeg_under_test` indicates whether the node may
    run an FFmpeg that a suite provides.
    """

    name: Name
    facts: NodeFacts
    encoders: Annotated[tuple[Word, ...], Meta(max_length=256)]
    ffmpeg: FfmpegBuild
    quality_ffmpeg: FfmpegBuild
    agent_version: Text
    address: Address
    exporters: Annotated[dict[Name, Port], Meta(max_length=64)]
    labels: Labels = {}
    kinds: Annotated[tuple[Word, ...], Meta(max_length=64)] = KINDS_OF_EVERY_NODE
    ffmpeg_under_test: bool = False


MAX_UNITS = 32
"""The maximum number of failed units that a heartbeat names."""


class ClockOffset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The time by which a node's clock is ahead of the master's, in seconds.

    The true offset is between `offset_s - uncertainty_s` and `offset_s + uncertainty_s`.
    """

    offset_s: Real
    uncertainty_s: Amount


class NodeHeartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The condition of a node's host, which one agent of the node sends periodically.

    `clock` is null until it has been measured. `failed_unit_count` is the number of units of
    systemd that have failed, and `failed_units` contains the names of the first of them. The number
    is null if systemd cannot be queried.
    """

    clock: ClockOffset | None = None
    failed_unit_count: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    failed_units: Annotated[tuple[UnitName, ...], Meta(max_length=MAX_UNITS)] = ()


class NodeHeartbeatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The master's time between the arrival of a heartbeat and the response to it."""

    time: Moment


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A registered worker host.

    `is_draining` states whether an operator drains the node; unlike `state`, it does not change
    when the node is offline.

    `heartbeat` is the last heartbeat of the node, which the master received at `heartbeat_at`. Both
    are null if there is none, for example because the agent is that of an earlier release.
    """

    id: UUID
    name: str
    state: NodeState
    registration: Registration
    registered_at: Moment
    last_seen_at: Moment
    is_draining: bool = False
    heartbeat: NodeHeartbeat | None = None
    heartbeat_at: Moment | None = None

    @property
    def was_stopped(self) -> bool:
        """Whether the node is offline after an operator drained it, which is not a failure."""
        return self.is_draining and self.state is NodeState.OFFLINE


class NodeUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a node's state. A draining node finishes its jobs but claims no more."""

    state: NodeState


# --- runs and jobs -------------------------------------------------------------------------


class RunRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for a run of the suite whose YAML text is `suite`.

    `seed` determines the order of the jobs. If it is null, the master chooses a random seed.
    `when_unmet` replaces the setting of the suite with this name, unless it is null.
    """

    suite: Annotated[str, Meta(max_length=1_000_000)]
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    when_unmet: Literal["wait", "refuse"] | None = None


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


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reason why an attempt failed. `log_tail` contains the last lines of FFmpeg's log, if any."""

    failure_class: FailureClass
    message: Annotated[str, Meta(max_length=4096)]
    log_tail: Annotated[str, Meta(max_length=16384)] = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Progress of an attempt. `stage` is usually a value of `stages.Stage`.

    `ratio` is the completed part of the stage, from 0 to 1; it is 0 if it is unknown.
    `bitrate_bps` is the current output bit rate per second of video. `duplicated_frames` and
    `dropped_frames` are FFmpeg's counts since the start of the encode. `lag_s` is the time by which
    the encoder of a stream lags behind. These fields are null if they are unknown.
    """

    stage: Annotated[str, Meta(max_length=32)]
    frames: Count = 0
    fps: Amount = 0.0
    speed: Amount = 0.0
    ratio: Amount = 0.0
    bitrate_bps: Amount | None = None
    duplicated_frames: Count | None = None
    dropped_frames: Count | None = None
    lag_s: Real | None = None


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


# --- an agent's calls ----------------------------------------------------------------------


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent's request for a job. If there is none, the master waits up to `wait_s` seconds."""

    node: Name
    slot: Slot
    wait_s: WaitSeconds = 0.0


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A leased job. The lease expires after `lease_s` seconds unless a heartbeat renews it.

    The agent should send a heartbeat every `heartbeat_s` seconds. `attempt` is the fencing token,
    which the agent sends with every request about this job. The master accepts artifacts of at most
    `artifact_bytes_max` bytes; an older master does not state the limit.
    """

    job: Job
    attempt: int
    lease_s: float
    heartbeat_s: float
    artifact_bytes_max: int | None = None


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A renewal of the lease, with the current progress. The first one makes the job `running`."""

    attempt: Attempt
    progress: Progress


class HeartbeatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The new duration of the lease, and whether the agent must cancel the job."""

    lease_s: float
    cancel: bool


class Artifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that belongs to an attempt, such as FFmpeg's log."""

    name: FileName
    sha256: Sha256
    size_bytes: Count


Artifacts = Annotated[tuple[Artifact, ...], Meta(max_length=256)]


class NextClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim for the next job of the slot, sent together with a result."""

    slot: Slot
    wait_s: WaitSeconds = 0.0


class ResultReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Report of the measurement of an attempt. Its artifacts must already be uploaded.

    With `next`, the same request claims the next job of the slot after the result is stored.
    """

    attempt: Attempt
    measurement: Measurement
    artifacts: Artifacts = ()
    next: NextClaim | None = None


class FailureReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Report of an attempt that ended without a measurement."""

    attempt: Attempt
    failure: Failure
    artifacts: Artifacts = ()


class ReportStored(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that a report is stored. `repeated` means that it was stored before.

    `next` is the job that was claimed with the result. It is null if no job was requested or
    available.
    """

    job_id: UUID
    state: JobState
    repeated: bool
    next: Claim | None = None


class LogStored(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that a piece of a log is stored, with the current size of the log."""

    size_bytes: int
    repeated: bool


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
    """The stored measurement of an attempt. It never changes."""

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


# --- lists, errors, discovery --------------------------------------------------------------


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
    backup since then, so that results of earlier pages may no longer exist.
    """

    items: tuple[Result, ...]
    next_cursor: str | None
    epoch: str = ""


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


class NodeList(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes, sorted by name."""

    items: tuple[Node, ...]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457). `errors` lists the individual errors of a request body."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[str, ...] = ()


class TargetGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Scrape targets in the format of Prometheus' HTTP service discovery."""

    targets: tuple[str, ...]
    labels: dict[str, str]
