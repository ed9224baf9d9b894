"""Rows of the hot path: read once, changed in memory, and written back together."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.states import JobState, NodeState

USE_RECORDED_EVERY = timedelta(minutes=1)
"""The interval at which the use of a source is recorded, which limits the number of writes."""


class JobRow(msgspec.Struct, omit_defaults=True, gc=False):
    """A row of the table `jobs`. The fields are the columns; those that may be NULL come last.

    `scenario`, `progress` and `failure` are JSON text.
    """

    id: UUID
    position: int
    repeat: int
    state: JobState
    priority: int
    rank: int
    requirement_id: int
    attempt: int
    max_attempts: int
    cancel_requested: bool
    created_at: datetime
    created_by: str
    scenario: str
    run_id: UUID | None = None
    node: str | None = None
    deadline_s: float | None = None
    key: str | None = None
    retry_of: UUID | None = None
    # The following columns are NULL in a new job.
    leased_to: str | None = None
    slot: int | None = None
    not_before: datetime | None = None
    lease_expires_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    superseded_by: UUID | None = None
    progress: str | None = None
    failure: str | None = None


COLUMNS = JobRow.__struct_fields__
"""The columns of the table `jobs`."""

NEW = COLUMNS[: COLUMNS.index("leased_to")]
"""The columns of a new job; the others are NULL."""

CHANGEABLE = (
    "state",
    "priority",
    "rank",
    "attempt",
    "cancel_requested",
    *COLUMNS[len(NEW) :],
)
"""The columns of a job that may change after it was queued."""


@dataclass(slots=True)
class NodeRow:
    """The columns of a node that a claim needs."""

    id: UUID
    name: str
    state: NodeState
    revision: int
    last_seen_at: datetime

    @property
    def registration(self) -> tuple[UUID, int]:
        """A value that changes with each registration, also after the node has been removed."""
        return self.id, self.revision


class NewTransition(msgspec.Struct, frozen=True):
    """A transition that is to be stored."""

    job_id: UUID
    before: JobState | None
    after: JobState
    attempt: int
    at: datetime
    reason: str


class NewResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result that is to be stored. `measurement` is the JSON text that the agent sent."""

    id: UUID
    job: JobRow
    node: str
    measurement: str
    artifacts: tuple[Artifact, ...]
    stored_at: datetime


class ControlSpeed(NamedTuple):
    """The columns of a stored speed that the next control encode of the node is compared with."""

    run_id: UUID
    version: int
    ffmpeg_sha256: str
    speed: float
    side: int | None
    suspect_since: datetime | None
    suspect_run_id: UUID | None


class NewControlSpeed(NamedTuple):
    """A row of the table `control_speeds` that is to be stored."""

    run_id: UUID
    node: str
    job_id: UUID
    version: int
    ffmpeg_sha256: str
    speed: float
    duration_s: float | None
    stored_at: datetime
    low: float | None = None
    usual: float | None = None
    high: float | None = None
    side: int | None = None
    is_drift: bool = False
    suspect_since: datetime | None = None
    suspect_run_id: UUID | None = None


class HeldJob(NamedTuple):
    """The columns of a leased or running job that a claim needs."""

    id: UUID
    leased_to: str
    slot: int
    requirement_id: int


class Claimants(NamedTuple):
    """The data that claims need: the claiming nodes, their held jobs, and new requirement sets."""

    nodes: dict[str, NodeRow]
    held: list[HeldJob]
    requirements: list[tuple[int, str]]


class Candidate(NamedTuple):
    """A queued job that may be leased. Candidates are ordered by `rank` and then by `id`."""

    rank: int
    id: UUID
    requirement_id: int
