"""Queries for jobs and their transitions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ffrtmp_shared.models import Job, JobPage, Transition
from ffrtmp_shared.requirements import Priority
from ffrtmp_shared.states import JobState
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Row,
    literal_column,
    or_,
    select,
    type_coerce,
)

from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.priorities import priority_of
from ffrtmp_master.store.schema import jobs, requirements, transitions

JobRow = Row[tuple[object, ...]]

_JOBS = select(
    jobs, requirements.c.requirements.label("requirements"), requirements.c.exclusive
).join_from(jobs, requirements)


def get_job_row(connection: Connection, job_id: UUID) -> JobRow:
    """Return the row of a job. Raises NotFoundError."""
    row = connection.execute(_JOBS.where(jobs.c.id == job_id)).first()
    if row is None:
        raise NotFoundError(f"there is no job {job_id}")
    return row


def get_job(connection: Connection, job_id: UUID) -> Job:
    """Return a job. Raises NotFoundError."""
    return job_of(get_job_row(connection, job_id))


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """A filter for jobs. Fields that are None are ignored.

    `node` is the node to which a job is bound or leased. `scenario` is the name of its scenario.
    """

    run_id: UUID | None = None
    state: JobState | None = None
    node: str | None = None
    scenario: str | None = None
    priority: Priority | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield the SQL conditions that the row of a job has to meet."""
        if self.run_id is not None:
            yield jobs.c.run_id == self.run_id
        if self.state is not None:
            # The state is a literal, because databases cannot use a partial index with a parameter.
            yield jobs.c.state == literal_column(f"'{self.state}'")
        if self.node is not None:
            yield or_(jobs.c.node == self.node, jobs.c.leased_to == self.node)
        if self.scenario is not None:
            yield type_coerce(jobs.c.scenario, JSON)["name"].as_string() == self.scenario
        if self.priority is not None:
            yield jobs.c.priority == self.priority.steps
        if self.created_after is not None:
            yield jobs.c.created_at > self.created_after
        if self.created_before is not None:
            yield jobs.c.created_at < self.created_before


def page_of_jobs(
    connection: Connection, wanted: JobFilter, after: UUID | None, limit: int
) -> JobPage:
    """Return a page of jobs in order of id.

    Args:
        connection: A connection to the database.
        wanted: The filter.
        after: The id after which the page begins; None for the first page.
        limit: The maximum number of jobs.

    Returns:
        The page.
    """
    query = _JOBS.where(*wanted.conditions()).order_by(jobs.c.id).limit(limit + 1)
    if after is not None:
        query = query.where(jobs.c.id > after)
    rows = connection.execute(query).all()
    items = tuple(job_of(row) for row in rows[:limit])
    return JobPage(items=items, next_cursor=str(items[-1].id) if len(rows) > limit else None)


def history(connection: Connection, job_id: UUID) -> Sequence[Transition]:
    """Return the transitions of a job, oldest first. Raises NotFoundError."""
    get_job_row(connection, job_id)
    rows = connection.execute(
        select(transitions).where(transitions.c.job_id == job_id).order_by(transitions.c.id)
    )
    return [
        Transition(
            before=None if row.before is None else JobState(row.before),
            after=JobState(row.after),
            attempt=row.attempt,
            at=row.at,
            reason=row.reason,
        )
        for row in rows
    ]


def job_of(row: JobRow) -> Job:
    """Convert a row to the wire type."""
    return Job(
        id=row.id,
        run_id=row.run_id,
        scenario=row.scenario,
        repeat=row.repeat,
        position=row.position,
        state=JobState(row.state),
        node=row.node,
        leased_to=row.leased_to,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        lease_expires_at=row.lease_expires_at,
        not_before=row.not_before,
        progress=row.progress,
        failure=row.failure,
        priority=priority_of(row.priority),
        exclusive=row.exclusive,
        requirements=row.requirements,
        deadline_s=row.deadline_s,
        retry_of=row.retry_of,
        superseded_by=row.superseded_by,
    )
