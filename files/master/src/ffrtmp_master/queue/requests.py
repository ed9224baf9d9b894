"""The frequent requests of agents and submitters as data, applied in batches by the writer."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ffrtmp_shared.models import FailureReport, Heartbeat, JobRequest, ResultReport
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
    """The leased job, or the conditions under which a parked claim may get one later.

    `open_to` are the ids of the requirement sets whose jobs could be leased to the node now.
    `is_idle` is True when the node holds no job and is active. `is_contended` is True when another
    master had locked such a job, so that a further attempt soon may succeed.
    """

    job: JobRow | None
    open_to: frozenset[int] = frozenset()
    is_idle: bool = False
    is_contended: bool = False


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """The new state of a job whose attempt is over, and the outcome of the claim sent with it."""

    state: JobState
    repeated: bool = False
    claimed: ClaimOutcome | None = None


@dataclass(frozen=True, slots=True)
class SubmitJob(Request[SubmitOutcome]):
    """Request to queue a job outside of any run."""

    request: JobRequest
    created_by: str
    key: str | None


@dataclass(frozen=True, slots=True)
class ClaimJob(Request[ClaimOutcome]):
    """Request of a slot of a node for a job."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class RenewLease(Request[bool]):
    """Heartbeat of an attempt; the response is whether the agent should cancel it."""

    job_id: UUID
    node: str
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class RecordResult(Request[ReportOutcome]):
    """Report of a result, which may include a claim for the next job.

    `measurement` is the measurement of the report as JSON text, as it was received.
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
"""A report of an agent on the attempt that it holds."""

AnyRequest = SubmitJob | ClaimJob | Report
"""Any request that the writer applies in a batch."""

Requests = Sequence[AnyRequest]
"""The requests of a batch."""
