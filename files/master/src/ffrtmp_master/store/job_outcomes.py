"""Outcomes of the jobs of a run, from which the number of repeats is derived."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ffrtmp_shared.states import JobState
from ffrtmp_shared.verdict import VerdictState
from sqlalchemy import JSON, ColumnElement, Connection, exists, select, type_coerce

from ffrtmp_master.store.schema import jobs, results

# Repeats do not make the speed of other kinds more precise: a density scenario is a search, and a
# live scenario always runs at the speed of its source.
_REPEATABLE = ("transcode", "ladder", "decode")


class JobOutcome(NamedTuple):
    """A job and the speed that it measured. The speed of an invalid result is None.

    `is_stored` is False if retention of an earlier release removed the job and kept its result.
    """

    job_id: UUID
    node: str
    scenario: str
    kind: str
    state: JobState
    position: int
    repeat: int
    created_at: datetime
    duration_s: float
    has_result: bool
    speed: float | None
    is_stored: bool = True

    @property
    def can_be_repeated(self) -> bool:
        """Return whether further repeats of the job make its median speed more precise."""
        return self.kind in _REPEATABLE


def outcomes_of_node(connection: Connection, run_id: UUID, node: str) -> Sequence[JobOutcome]:
    """Return the jobs of a run that are bound to a node, in order of position.

    Args:
        connection: A connection to the database.
        run_id: The run.
        node: The name of the node.

    Returns:
        The outcomes.
    """
    return [
        *_removed_outcomes(connection, results.c.run_id == run_id, results.c.node == node),
        *_outcomes(connection, jobs.c.run_id == run_id, jobs.c.node == node),
    ]


def outcomes_of_run(connection: Connection, run_id: UUID) -> Sequence[JobOutcome]:
    """Return all jobs of a run in order of position."""
    return [
        *_removed_outcomes(connection, results.c.run_id == run_id),
        *_outcomes(connection, jobs.c.run_id == run_id),
    ]


def _removed_outcomes(
    connection: Connection, *conditions: ColumnElement[bool]
) -> Sequence[JobOutcome]:
    """Return the outcomes of jobs that were removed and whose results were kept."""
    scenario = type_coerce(results.c.scenario, JSON)
    measurement = type_coerce(results.c.measurement, JSON)
    rows = connection.execute(
        select(
            results.c.job_id,
            results.c.node,
            scenario["name"].as_string().label("scenario"),
            scenario["kind"].as_string().label("kind"),
            results.c.repeat,
            results.c.stored_at,
            measurement["encode"]["wall_s"].as_float().label("wall_s"),
            measurement["encode"]["speed"].as_float().label("speed"),
            measurement["verdict"]["state"].as_string().label("verdict"),
        )
        .where(*conditions, ~exists(select(1).where(jobs.c.id == results.c.job_id)))
        .order_by(results.c.stored_at, results.c.sequence)
    )
    return [
        JobOutcome(
            job_id=row.job_id,
            node=row.node,
            scenario=row.scenario,
            kind=row.kind,
            state=JobState.SUCCEEDED,
            position=-1,
            repeat=row.repeat,
            created_at=row.stored_at,
            duration_s=row.wall_s or 0.0,
            has_result=True,
            speed=None if row.verdict == VerdictState.INVALID else row.speed,
            is_stored=False,
        )
        for row in rows
    ]


def _outcomes(connection: Connection, *conditions: ColumnElement[bool]) -> Sequence[JobOutcome]:
    scenario = type_coerce(jobs.c.scenario, JSON)
    measurement = type_coerce(results.c.measurement, JSON)
    rows = connection.execute(
        select(
            jobs.c.id,
            jobs.c.node,
            jobs.c.leased_to,
            scenario["name"].as_string().label("scenario"),
            scenario["kind"].as_string().label("kind"),
            jobs.c.state,
            jobs.c.position,
            jobs.c.repeat,
            jobs.c.created_at,
            jobs.c.started_at,
            jobs.c.finished_at,
            results.c.id.label("result_id"),
            results.c.node.label("result_node"),
            measurement["encode"]["speed"].as_float().label("speed"),
            measurement["verdict"]["state"].as_string().label("verdict"),
        )
        .outerjoin_from(
            jobs,
            results,
            (results.c.job_id == jobs.c.id) & (results.c.attempt == jobs.c.attempt),
        )
        .where(*conditions, jobs.c.superseded_by.is_(None))
        .order_by(jobs.c.position, jobs.c.id)
    )
    return [
        JobOutcome(
            job_id=row.id,
            node=row.result_node or row.node or "",
            scenario=row.scenario,
            kind=row.kind,
            state=JobState(row.state),
            position=row.position,
            repeat=row.repeat,
            created_at=row.created_at,
            duration_s=_duration_s(row.started_at, row.finished_at),
            has_result=row.result_id is not None,
            speed=None if row.verdict == VerdictState.INVALID else row.speed,
        )
        for row in rows
    ]


def _duration_s(started_at: datetime | None, finished_at: datetime | None) -> float:
    if started_at is None or finished_at is None:
        return 0.0
    return (finished_at - started_at).total_seconds()
