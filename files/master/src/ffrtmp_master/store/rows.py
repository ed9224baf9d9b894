"""Rows as the queue's rules see them: read once, changed in memory, written back together."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from ffrtmp_shared.models import Artifact
from ffrtmp_shared.states import JobState, NodeState


class JobRow(msgspec.Struct, omit_defaults=True, gc=False):
    """A job as it is stored; the fields are columns of its table, what may be NULL at the end.

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
    # From here on what a job that was just made does not have.
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
"""The columns of a job that was just made; the others are NULL."""

CHANGEABLE = (
    "state",
    "priority",
    "rank",
    "attempt",
    "cancel_requested",
    *COLUMNS[len(NEW) :],
)
"""The columns of a job that change after it was queued."""


@dataclass(slots=True)
class NodeRow:
    """What a claim needs to know of a node."""

    name: str
    state: NodeState
    revision: int
    last_seen_at: datetime


class NewTransition(msgspec.Struct, frozen=True):
    """A change of a job's state that is to be written down."""

    job_id: UUID
    before: JobState | None
    after: JobState
    attempt: int
    at: datetime
    reason: str


class NewResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result that is to be stored; `measurement` is JSON text, as its agent sent it."""

    id: UUID
    job: JobRow
    node: str
    measurement: str
    artifacts: tuple[Artifact, ...]
    stored_at: datetime


class HeldJob(NamedTuple):
    """What a claim needs to know of a job that is worked on."""

    id: UUID
    leased_to: str
    slot: int
    requirement_id: int


class Claimants(NamedTuple):
    """What a claim begins with: the nodes that ask, what they work on, sets that are new."""

    nodes: dict[str, NodeRow]
    held: list[HeldJob]
    requirements: list[tuple[int, str]]


class Candidate(NamedTuple):
    """A queued job that a claim may take; the lowest `rank` and then `id` goes first."""

    rank: int
    id: UUID
    requirement_id: int
