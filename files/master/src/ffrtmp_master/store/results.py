"""Results: stored once, then only read."""

from typing import NamedTuple
from uuid import UUID

from ffrtmp_shared.models import Result, ResultPage
from sqlalchemy import Connection, Row, select, tuple_

from ffrtmp_master.store.read_horizon import below_horizon
from ffrtmp_master.store.schema import results


class Position(NamedTuple):
    """A place in the order in which results were stored: transaction, then sequence."""

    transaction_id: int
    sequence: int


START = Position(-1, -1)
"""The place before all results."""


def page_of_results(
    connection: Connection, run_id: UUID | None, after: Position, limit: int
) -> ResultPage:
    """Return up to `limit` results (of one run) that were stored after a place."""
    query = (
        select(results)
        .where(
            tuple_(results.c.transaction_id, results.c.sequence) > tuple_(*after),
            *below_horizon(connection, results),
        )
        .order_by(results.c.transaction_id, results.c.sequence)
        .limit(limit + 1)
    )
    if run_id is not None:
        query = query.where(results.c.run_id == run_id)
    rows = connection.execute(query).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return ResultPage(
        items=tuple(result_of(row) for row in rows[:limit]),
        next_cursor=None if last is None else f"{last.transaction_id}.{last.sequence}",
    )


def latest_position(connection: Connection) -> Position:
    """Return the place of the newest result that nothing can come before any more."""
    row = connection.execute(
        select(results.c.transaction_id, results.c.sequence)
        .where(*below_horizon(connection, results))
        .order_by(results.c.transaction_id.desc(), results.c.sequence.desc())
        .limit(1)
    ).first()
    return START if row is None else Position(*row)


def between_positions(
    connection: Connection, run_id: UUID | None, after: Position, until: Position, limit: int
) -> tuple[list[Result], Position]:
    """Return up to `limit` results (of one run) after a place and up to another.

    With them comes the place to go on from; when fewer than `limit` come, there are no more.
    """
    place = tuple_(results.c.transaction_id, results.c.sequence)
    query = (
        select(results)
        .where(place > tuple_(*after), place <= tuple_(*until))
        .order_by(results.c.transaction_id, results.c.sequence)
        .limit(limit)
    )
    if run_id is not None:
        query = query.where(results.c.run_id == run_id)
    rows = connection.execute(query).all()
    end = Position(rows[-1].transaction_id, rows[-1].sequence) if rows else after
    return [result_of(row) for row in rows], end


def result_of(row: Row[tuple[object, ...]]) -> Result:
    """Turn a row into what travels."""
    return Result(
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
