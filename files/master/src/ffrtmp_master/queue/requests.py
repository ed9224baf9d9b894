"""The frequent requests of agents and submitters, as data that the writer applies in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ffrtmp_shared.agent_models import FailureReport, Heartbeat, ResultReport
from ffrtmp_shared.models import JobRequest
from ffrtmp_shared.states import JobState

from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.writer import Request


@dataclass(frozen=True, slots=True)
class SubmitOutcome:
    """A submitted job, and whether it already existed under the same idempotency key."""

    job: JobRow
    existed: bool


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """The outcome of a claim: the leased job, or the jobs that the claim may wait for.

    Attributes:
        job: The leased job, or None.
        open_to: The ids of the requirement sets whose jobs could be leased to the node now.
        is_idle: Whether the node is active and holds no job.
        is_contended: Whether another master may have locked such a job, so that the claim may
            succeed if it is soon tried again.
    """

    job: JobRow | None
    open_to: frozenset[int] = frozenset()
    is_idle: bool = False
    is_contended: bool = False


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """The outcome of a report that ends an attempt.

    Attributes:
        state: The new state of the job.
        repeated: Whether the same report had already been stored.
        claimed: The outcome of the claim that was sent with the report, if there was one.
    """

    state: JobState
    repeated: bool = False
    claimed: ClaimOutcome | None = None


@dataclass(frozen=True, slots=True)
class SubmitJob(Request[SubmitOutcome]):
    """Request to queue a job that does not belong to a run."""

    request: JobRequest
    created_by: str
    key: str | None


@dataclass(frozen=True, slots=True)
class ClaimJob(Request[ClaimOutcome]):
    """Request for a job for one slot of a node."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class RenewLease(Request[bool]):
    """Heartbeat of an attempt. The response is True if the agent should cancel the attempt."""

    job_id: UUID
    node: str
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class RecordResult(Request[ReportOutcome]):
    """Report of a result, which may include a claim for the next job.

    `measurement` is the measurement in the report as JSON text, exactly as it was received.
    """

    job_id: UUID
    node: str
    report: ResultReport
    measurement: str


@dataclass(frozen=True, slots=True)
class RecordFailure(Request[ReportOutcome]):
    """Report of an attempt that ended without a measurement."""

    job_id: UUID
    node: str
    report: FailureReport


Report = RenewLease | RecordResult | RecordFailure
"""A report from an agent about an attempt that it holds."""

AnyRequest = SubmitJob | ClaimJob | Report
"""Any request that the writer applies in a batch."""

Requests = Sequence[AnyRequest]
"""The requests of a batch."""
