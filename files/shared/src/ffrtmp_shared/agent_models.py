"""Wire types of the API for the work of agents: claims, leases, and reports of attempts."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from ffrtmp_shared.attempt_models import Artifacts, Failure, Progress
from ffrtmp_shared.constrained_types import Attempt, Name
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Job
from ffrtmp_shared.states import JobState

Slot = Annotated[int, Meta(ge=1, le=1024)]
WaitSeconds = Annotated[float, Meta(ge=0, le=60)]


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
