"""Queries for results, which never change after they are stored."""

from collections.abc import Sequence
from uuid import UUID

from ffrtmp_shared.models import Result, ResultPage
from sqlalchemy import Connection, Row, select, tuple_

from ffrtmp_master.store.epochs import Mark, read_history
from ffrtmp_master.store.positions import Position, below_horizon, position_columns
from ffrtmp_master.store.schema import results

_PLACE = position_columns(results)


def page_of_results(
    connection: Connection, run_id: UUID | None, cursor: Sequence[Mark], limit: int
) -> ResultPage:
    """Return a page of results in the order in which they were stored.

    Args:
        connection: A connection to the database.
        run_id: The run, or None for the results of all jobs.
        cursor: The cursor at which the page begins; empty for the first page.
        limit: The maximum number of results.

    Returns:
        The page.
    """
    history = read_history(connection, results)
    after = history.position_of(cursor)
    query = (
        select(results)
        .where(tuple_(*_PLACE) > tuple_(*after), *below_horizon(connection, results))
        .order_by(*_PLACE)
        .limit(limit + 1)
    )
    if run_id is not None:
        query = query.where(results.c.run_id == run_id)
    rows = connection.execute(query).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return ResultPage(
        items=tuple(result_of(row) for row in rows[:limit]),
        next_cursor=None
        if last is None
        else history.cursor_at(Position(last.transaction_id, last.sequence)),
        epoch=history.current,
    )


def between_positions(
    connection: Connection, run_id: UUID | None, after: Position, until: Position, limit: int
) -> tuple[list[Result], Position]:
    """Return the results after one position, up to and including another.

    Args:
        connection: A connection to the database.
        run_id: The run, or None for the results of all jobs.
        after: The position after which the results begin.
        until: The position of the last result to return.
        limit: The maximum number of results.

    Returns:
        The results, and the position after which to continue. If these are fewer than `limit`
        results, there are no more.
    """
    position = tuple_(*_PLACE)
    query = (
        select(results)
        .where(position > tuple_(*after), position <= tuple_(*until))
        .order_by(*_PLACE)
        .limit(limit)
    )
    if run_id is not None:
        query = query.where(results.c.run_id == run_id)
    rows = connection.execute(query).all()
    end = Position(rows[-1].transaction_id, rows[-1].sequence) if rows else after
    return [result_of(row) for row in rows], end


def result_of(row: Row[tuple[object, ...]]) -> Result:
    """Convert a row to the wire type."""
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
