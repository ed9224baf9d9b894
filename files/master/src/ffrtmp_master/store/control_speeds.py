"""Queries for the speeds of control encodes, and for the drifts of nodes that they show."""

from collections.abc import Collection, Mapping
from statistics import median
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, func, select, text

from ffrtmp_master.store.schema import control_speeds

_MAX_DURATIONS = 20
# Written as in the index. SQLite cannot use the index with a comparison.
_IS_DRIFT = text("is_drift")


class NodeDrift(NamedTuple):
    """A drift of a node in a run: a speed in multiples of real time, and its usual range."""

    speed: float
    low: float
    usual: float
    high: float

    @property
    def ratio(self) -> float:
        """The speed, divided by the usual one."""
        return self.speed / self.usual


def sides_of_run(connection: Connection, run_id: UUID, node: str) -> Mapping[UUID, int | None]:
    """Return the side of each control encode of a node in a run, by its job, in their order."""
    rows = connection.execute(
        select(control_speeds.c.job_id, control_speeds.c.side)
        .where(control_speeds.c.node == node, control_speeds.c.run_id == run_id)
        .order_by(control_speeds.c.id)
    )
    return {row.job_id: row.side for row in rows}


def drifts_of_runs(
    connection: Connection, run_ids: Collection[UUID]
) -> Mapping[tuple[UUID, str], NodeDrift]:
    """Return the drifts of the nodes in some runs, by run and node.

    If several control encodes confirm the same drift, the last one is returned.
    """
    rows = connection.execute(
        select(
            control_speeds.c.run_id,
            control_speeds.c.node,
            control_speeds.c.speed,
            control_speeds.c.low,
            control_speeds.c.usual,
            control_speeds.c.high,
        )
        .where(control_speeds.c.run_id.in_(run_ids), _IS_DRIFT)
        .order_by(control_speeds.c.id)
    )
    return {
        (row.run_id, row.node): NodeDrift(row.speed, row.low, row.usual, row.high) for row in rows
    }


def count_drifts(connection: Connection) -> int:
    """Return the number of drifts, each of a node in a run."""
    found = select(control_speeds.c.run_id, control_speeds.c.node).where(_IS_DRIFT).distinct()
    count: int = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
    return count


def median_duration_s(connection: Connection, node: str) -> float | None:
    """Return the median duration of the last control encodes of a node; None if there are none.

    The duration lasts until the result is received. It is too long if the master was unreachable,
    which affects the median less than the mean.
    """
    durations_s = connection.execute(
        select(control_speeds.c.duration_s)
        .where(control_speeds.c.node == node, control_speeds.c.duration_s.is_not(None))
        .order_by(control_speeds.c.id.desc())
        .limit(_MAX_DURATIONS)
    ).scalars()
    known_s = list(durations_s)
    return median(known_s) if known_s else None
