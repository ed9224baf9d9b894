"""Results: stored once, then only read."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Artifact, Result, ResultPage
from sqlalchemy import Connection, func, insert, select

from ffrtmp_master.store.jobs import JobRow
from ffrtmp_master.store.schema import results


def keep(
    connection: Connection,
    job: JobRow,
    measurement: Measurement,
    artifacts: Sequence[Artifact],
    now: datetime,
) -> None:
    """Store what the current attempt of `job` measured."""
    connection.execute(
        insert(results).values(
            id=new_id(),
            run_id=job.run_id,
            job_id=job.id,
            attempt=job.attempt,
            node=job.leased_to,
            repeat=job.repeat,
            scenario=job.scenario,
            measurement=measurement,
            artifacts=artifacts,
            stored_at=now,
        )
    )


def page(connection: Connection, run_id: UUID | None, after: int, limit: int) -> ResultPage:
    """Return up to `limit` results (of one run) stored after the one with sequence `after`."""
    query = (
        select(results)
        .where(results.c.sequence > after)
        .order_by(results.c.sequence)
        .limit(limit + 1)
    )
    if run_id is not None:
        query = query.where(results.c.run_id == run_id)
    rows = connection.execute(query).all()
    items = tuple(
        Result(
            id=row.id,
            run_id=row.run_id,
            job_id=row.job_id,
            attempt=row.attempt,
            node=row.node,
            repeat=row.repeat,
            scenario=row.scenario,
            measurement=row.measurement,
            artifacts=row.artifacts,
            stored_at=row.stored_at,
        )
        for row in rows[:limit]
    )
    more = len(rows) > limit
    return ResultPage(items=items, next_cursor=str(rows[limit - 1].sequence) if more else None)


def count(connection: Connection) -> int:
    """Count all results."""
    return connection.execute(select(func.count()).select_from(results)).scalar_one()
