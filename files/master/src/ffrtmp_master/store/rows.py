"""Rows as the queue's rules see them: read once, changed in memory, written back together."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from ffrtmp_shared.models import Artifact
from ffrtmp_shared.states import JobState, NodeState


@dataclass(slots=True)
class JobRow:
    """A job as it is stored; the fields are the columns of its table, in their order there.

    `scenario`, `progress` and `failure` are JSON text.
    """

    id: UUID
    run_id: UUID | None
    position: int
    repeat: int
    state: JobState
    priority: int
    rank: int
    requirement_id: int
    node: str | None
    leased_to: str | None
    slot: int | None
    attempt: int
    max_attempts: int
    not_before: datetime | None
    lease_expires_at: datetime | None
    cancel_requested: bool
    deadline_s: float | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    finished_at: datetime | None
    key: str | None
    retry_of: UUID | None
    superseded_by: UUID | None
    scenario: str
    progress: str | None
    failure: str | None


COLUMNS = tuple(JobRow.__dataclass_fields__)
"""The columns of the table `jobs`."""

CHANGEABLE = (
    "state",
    "priority",
    "rank",
    "leased_to",
    "slot",
    "attempt",
    "not_before",
    "lease_expires_at",
    "cancel_requested",
    "started_at",
    "finished_at",
    "superseded_by",
    "progress",
    "failure",
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


class Held(NamedTuple):
    """What a claim needs to know of a job that is worked on."""

    id: UUID
    leased_to: str
    slot: int
    requirement_id: int


class Claimants(NamedTuple):
    """What a claim begins with: the nodes that ask, what they work on, sets that are new."""

    nodes: dict[str, NodeRow]
    held: list[Held]
    requirements: list[tuple[int, str]]


class Candidate(NamedTuple):
    """A queued job that a claim may take; the lowest `rank` and then `id` goes first."""

    rank: int
    id: UUID
    requirement_id: int
