"""Queries for results, which never change after they are stored.

The verdict of a result also depends on the control encodes of its node in its run, which may follow
it. It is added here, so that all readers get the same verdict.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Result, ResultPage
from ffrtmp_shared.verdict import Verdict, VerdictReason, VerdictState
from sqlalchemy import Connection, Row, select, tuple_

from ffrtmp_master.store import control_speeds
from ffrtmp_master.store.control_speeds import NodeDrift
from ffrtmp_master.store.epochs import Mark, read_history
from ffrtmp_master.store.positions import Position, below_horizon, position_columns
from ffrtmp_master.store.schema import results

_PLACE = position_columns(results)
_MAX_REASONS = 64

NODE_DRIFT = "node-drift"
"""The reason of the verdict on the results of a node that changed before or during their run."""


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
        items=tuple(_results_of(connection, rows[:limit])),
        next_cursor=None
        if last is None
        else history.cursor_at(Position(last.transaction_id, last.sequence)),
        epoch=history.current,
        drifts=control_speeds.count_drifts(connection),
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
    return _results_of(connection, rows), end


def _results_of(connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> list[Result]:
    """Convert rows to the wire type, with the drifts of their nodes in their verdicts."""
    run_ids = {row.run_id for row in rows if row.run_id is not None}
    drifts = control_speeds.drifts_of_runs(connection, run_ids) if run_ids else {}
    return [_result_of(row, drifts) for row in rows]


def _result_of(
    row: Row[tuple[object, ...]], drifts: Mapping[tuple[UUID, str], NodeDrift]
) -> Result:
    drift = drifts.get((row.run_id, row.node))
    return Result(
        id=row.id,
        run_id=row.run_id,
        job_id=row.job_id,
        attempt=row.attempt,
        node=row.node,
        repeat=row.repeat,
        scenario=row.scenario,
        measurement=row.measurement if drift is None else _degraded(row.measurement, drift),
        artifacts=row.artifacts,
        stored_at=row.stored_at,
    )


def _degraded(measurement: Measurement, drift: NodeDrift) -> Measurement:
    """Return a measurement with the verdict of a node that drifted. An invalid one stays so."""
    verdict = measurement.verdict or Verdict(state=VerdictState.VALID)
    is_invalid = verdict.state is VerdictState.INVALID
    reason = VerdictReason(
        code=NODE_DRIFT,
        detail=(
            f"control encodes of the node ran at {drift.speed:.3g} x real time in this run, "
            f"outside the usual {drift.low:.3g} to {drift.high:.3g} x"
        ),
    )
    return msgspec.structs.replace(
        measurement,
        verdict=Verdict(
            state=VerdictState.INVALID if is_invalid else VerdictState.DEGRADED,
            reasons=(*verdict.reasons[: _MAX_REASONS - 1], reason),
        ),
    )
