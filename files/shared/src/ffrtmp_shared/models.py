"""The wire's types: what travels between the master, its agents and everybody else."""

from enum import StrEnum
from typing import Annotated
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
    Sha256,
    Text,
    Word,
)
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.measurement import FfmpegBuild, Measurement
from ffrtmp_shared.requirements import Priority, Requirements
from ffrtmp_shared.scenario import KINDS_OF_EVERY_NODE, Scenario
from ffrtmp_shared.states import JobState, NodeState, RunState

Slot = Annotated[int, Meta(ge=1, le=1024)]
WaitSeconds = Annotated[float, Meta(ge=0, le=60)]


class Role(StrEnum):
    """What the holder of a token may do; each includes what stands before it, but for agent."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    ADMIN = "admin"
    AGENT = "agent"


# --- nodes ---------------------------------------------------------------------------------


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker host is made of, as its agent found it."""

    hostname: Text
    os: Text
    kernel: Text
    architecture: Text
    cpu_model: Text
    cpu_count: Count
    memory_bytes: Count
    gpus: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent says of its node when it starts.

    `encoders` are those that the agent proved with a short encode. `address` is where the
    node's exporters are reached, `exporters` their ports by name. `kinds` are those of the kinds
    of job that the agent can do. `ffmpeg_under_test` says whether it may run an FFmpeg that a suite
    gives.
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


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A worker host as the master knows it."""

    id: UUID
    name: str
    state: NodeState
    registration: Registration
    registered_at: Moment
    last_seen_at: Moment


class NodeUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may change of a node: let it work, or let it finish and claim no more."""

    state: NodeState


# --- runs and jobs -------------------------------------------------------------------------


class RunRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A suite to execute: the text of its YAML file. `seed` fixes the order of the jobs."""

    suite: Annotated[str, Meta(max_length=1_000_000)]
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a suite. `counts` has every state, with 0 where there is no job.

    While there are `unsettled_nodes`, more repeats or a control encode may follow on these.
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


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a suite would queue: the answer to a run that is only asked about."""

    suite_name: str
    jobs: int
    scenarios: tuple[str, ...]
    nodes: tuple[str, ...]


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job of its own, outside of any run.

    `exclusive` jobs share their node with no other. `max_attempts` is the farm's when null. An
    attempt that takes longer than `deadline_s` is ended, and the job with it.
    """

    scenario: Scenario
    requirements: Requirements = Requirements()
    priority: Priority = Priority.MEDIUM
    exclusive: bool = True
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | None = None
    deadline_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None


class JobUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be changed of a job that is not final."""

    priority: Priority


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an attempt failed. `log_tail` has FFmpeg's last lines where it said any."""

    failure_class: FailureClass
    message: Annotated[str, Meta(max_length=4096)]
    log_tail: Annotated[str, Meta(max_length=16384)] = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far an attempt is. `stage` is fetch, encode, quality or report.

    `bitrate_bps` is the bits that were written for each second of video just now,
    `duplicated_frames` and `dropped_frames` are FFmpeg's counts since the encode began, and `lag_s`
    is how late the encoder of a stream is. Of these, null is what is not known.
    """

    stage: Annotated[str, Meta(max_length=32)]
    frames: Count = 0
    fps: Amount = 0.0
    speed: Amount = 0.0
    ratio: Amount = 0.0
    bitrate_bps: Amount | None = None
    duplicated_frames: Count | None = None
    dropped_frames: Count | None = None
    lag_s: float | None = None


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a job's state, when and why; `before` is null for the first."""

    before: JobState | None
    after: JobState
    attempt: int
    at: Moment
    reason: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario, one repeat, for one node or for any that fits.

    `node` is the node that must do it (null for any), `leased_to` the one that does or did.
    `repeat` counts from 1. `position` is its place in the run's random order. `run_id` is null
    for a job that was submitted by itself. `waiting` says why a queued job is not handed out
    now. `retry_of` is the job that this one does over, `superseded_by` the one that does this
    one over.
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
    """An agent asks for work and waits for it up to `wait_s` seconds."""

    node: Name
    slot: Slot
    wait_s: WaitSeconds = 0.0


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A leased job. The lease lasts `lease_s` from now; a heartbeat renews it.

    `attempt` is the fencing token: it goes with everything that the agent says of this job.
    """

    job: Job
    attempt: int
    lease_s: float
    heartbeat_s: float


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent still works on the attempt. The first heartbeat makes the job `running`."""

    attempt: Attempt
    progress: Progress


class HeartbeatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The renewed lease, and whether somebody wants the job stopped."""

    lease_s: float
    cancel: bool


class Artifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that belongs to an attempt, such as FFmpeg's log."""

    name: FileName
    sha256: Sha256
    size_bytes: Count


Artifacts = Annotated[tuple[Artifact, ...], Meta(max_length=256)]


class NextClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim that comes with a result: the slot is free and wants its next job."""

    slot: Slot
    wait_s: WaitSeconds = 0.0


class ResultReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an attempt measured; its artifacts were uploaded before.

    With `next` the same call claims the slot's next job, after the result is stored.
    """

    attempt: Attempt
    measurement: Measurement
    artifacts: Artifacts = ()
    next: NextClaim | None = None


class FailureReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attempt that ended without a measurement."""

    attempt: Attempt
    failure: Failure
    artifacts: Artifacts = ()


class ReportStored(msgspec.Struct, frozen=True, kw_only=True):
    """The master has it on disk. `repeated` says that it had it before.

    `next` is the job that was claimed with the result, null when none was asked for or found.
    """

    job_id: UUID
    state: JobState
    repeated: bool
    next: Claim | None = None


class LogStored(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of an attempt's log is stored, or was before; how large the log is now."""

    size_bytes: int
    repeated: bool


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a job's state as it is sent to who follows events; `before` is null at first."""

    job_id: UUID
    run_id: UUID | None
    before: JobState | None
    after: JobState
    attempt: int
    at: Moment
    reason: str


class RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A run became final; `counts` has every state of its jobs, with 0 where there is no job."""

    run_id: UUID
    state: RunState
    counts: dict[str, int]
    finished_at: Moment


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt measured, as the master keeps it; never changed once stored."""

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
    """Runs, newest first; `next_cursor` asks for those after."""

    items: tuple[Run, ...]
    next_cursor: str | None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs in the order of their ids."""

    items: tuple[Job, ...]
    next_cursor: str | None


class ResultPage(msgspec.Struct, frozen=True, kw_only=True):
    """Results in the order in which they were stored."""

    items: tuple[Result, ...]
    next_cursor: str | None


class NodeList(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes, by name."""

    items: tuple[Node, ...]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 describes it. `errors` lists each thing that is wrong with a body."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[str, ...] = ()


class TargetGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Scrape targets in the form of Prometheus' HTTP service discovery."""

    targets: tuple[str, ...]
    labels: dict[str, str]
