"""What agents and submitters ask for most, as data: the writer applies many of them together."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ffrtmp_shared.models import FailureReport, Heartbeat, JobRequest, ResultReport
from ffrtmp_shared.states import JobState

from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.writer import Request


@dataclass(frozen=True, slots=True)
class SubmitOutcome:
    """A job that was submitted, and whether it was there before under the same key."""

    job: JobRow
    existed: bool


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """The outcome of a claim: the job, or what could be handed to this slot later.

    `open_to` are the sets of requirements whose jobs the node could take now, `is_idle` whether
    it could take any. `is_contended` says that another master held such a job at this moment, so
    that asking again soon is worth it.
    """

    job: JobRow | None
    open_to: frozenset[int] = frozenset()
    is_idle: bool = False
    is_contended: bool = False


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """What became of a job whose attempt is over, and the claim that came with it."""

    state: JobState
    repeated: bool = False
    claimed: ClaimOutcome | None = None


@dataclass(frozen=True, slots=True)
class SubmitJob(Request[SubmitOutcome]):
    """A job of its own is to be queued."""

    request: JobRequest
    created_by: str
    key: str | None


@dataclass(frozen=True, slots=True)
class ClaimJob(Request[ClaimOutcome]):
    """A slot of a node wants a job."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class RenewLease(Request[bool]):
    """An agent still works on an attempt; the answer says whether it should stop."""

    job_id: UUID
    node: str
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class RecordResult(Request[ReportOutcome]):
    """An agent hands in what it measured, and may claim its next job with it.

    `measurement` is that of the report as JSON text, as it came.
    """

    job_id: UUID
    node: str
    report: ResultReport
    measurement: str


@dataclass(frozen=True, slots=True)
class RecordFailure(Request[ReportOutcome]):
    """An agent says that an attempt ended without a measurement."""

    job_id: UUID
    node: str
    report: FailureReport


Report = RenewLease | RecordResult | RecordFailure
"""What an agent says of the attempt that it holds."""

AnyRequest = SubmitJob | ClaimJob | Report
"""Everything that the writer applies together."""

Requests = Sequence[AnyRequest]
"""A batch."""
