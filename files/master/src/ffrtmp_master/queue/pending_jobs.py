"""Pending jobs of runs, counted by the reason why they are not leased."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from ffrtmp_shared.models import PendingJobs, Run
from ffrtmp_shared.states import PendingReason
from sqlalchemy import Connection, select

from ffrtmp_master.queue.pending_reasons import (
    Explanation,
    NodeOccupancy,
    explain,
    read_occupancy,
)
from ffrtmp_master.queue.requirement_catalog import RequirementSet
from ffrtmp_master.store import queue_stats
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.queue_stats import QueuedGroup
from ffrtmp_master.store.schema import requirements

MAX_MESSAGES = 16
"""The maximum number of different messages that a run contains for jobs that no node can run."""

_IDS_AT_ONCE = 1000

_GENERAL = {
    PendingReason.READY: "nodes claim them after the jobs that come first",
    PendingReason.BUSY: "the suitable nodes run other jobs",
}
_ORDER = (
    PendingReason.NO_NODE, PendingReason.BACKOFF, PendingReason.BUSY, PendingReason.READY
)  # fmt: skip


def explain_runs(
    connection: Connection, listed_runs: Sequence[Run], now: datetime, seen_since: datetime
) -> tuple[Run, ...]:
    """Add explanations to those of the runs that have queued jobs. Nodes are read at most once.

    Args:
        connection: A connection to the database, in a transaction that reads one snapshot.
        listed_runs: Runs in any state.
        now: The current time.
        seen_since: The earliest last-seen time with which a node counts as online.

    Returns:
        The runs in the same order, with `pending` set for those that have queued jobs.
    """
    with_queued = [run.id for run in listed_runs if run.counts["queued"]]
    if not with_queued:
        return tuple(listed_runs)
    groups = queue_stats.count_queued_of_runs(connection, with_queued, now)
    # Runs often share requirement sets, so explanations are reused.
    wanted = _requirement_sets(
        connection, {group.requirement_id for group in groups if group.not_before is None}
    )
    occupancy = read_occupancy(connection, seen_since)
    known = {key: _explanation(wanted[key], occupancy) for key in wanted}
    counts: dict[UUID, Counter[Explanation]] = {run_id: Counter() for run_id in with_queued}
    first_ends = _first_ends_of_backoff(groups)
    for group in groups:
        if group.not_before is None:
            explanation = known[group.requirement_id]
        else:
            end = f"{first_ends[group.run_id]:%Y-%m-%dT%H:%M:%SZ}"
            message = f"after a failed attempt, not before {end}"
            explanation = Explanation(PendingReason.BACKOFF, message)
        counts[group.run_id][explanation] += group.jobs
    return tuple(
        msgspec.structs.replace(run, pending=_pending(counts[run.id])) if run.id in counts else run
        for run in listed_runs
    )


def _requirement_sets(
    connection: Connection, requirement_ids: set[int]
) -> Mapping[int, RequirementSet]:
    """Read requirement sets, in chunks because the number of parameters of a query is limited."""
    found = {}
    for chunk in chunks(sorted(requirement_ids), _IDS_AT_ONCE):
        rows = connection.execute(select(requirements).where(requirements.c.id.in_(chunk)))
        for row in rows:
            found[row.id] = RequirementSet(requirements=row.requirements, exclusive=row.exclusive)
    return found


def _first_ends_of_backoff(groups: Sequence[QueuedGroup]) -> Mapping[UUID, datetime]:
    """Return the time at which the first backoff ends, for each run with jobs in backoff."""
    found: dict[UUID, datetime] = {}
    for group in groups:
        if group.not_before is not None:
            found[group.run_id] = min(found.get(group.run_id, group.not_before), group.not_before)
    return found


def _explanation(wanted: RequirementSet, occupancy: NodeOccupancy) -> Explanation:
    """Explain why jobs that are not in backoff wait.

    The message names nodes only if the jobs cannot start until nodes change, because otherwise
    each node of a large farm would have its own message.
    """
    found = explain(wanted, occupancy)
    return Explanation(found.reason, _GENERAL.get(found.reason, found.message))


def _pending(counts: Counter[Explanation]) -> tuple[PendingJobs, ...]:
    """Return the counts in the order of importance; rare messages are combined."""
    found = []
    for reason in _ORDER:
        in_order = sorted(
            ((explanation.message, jobs) for explanation, jobs in counts.items()
             if explanation.reason is reason),
            key=lambda item: (-item[1], item[0]),
        )  # fmt: skip
        for message, jobs in in_order[:MAX_MESSAGES]:
            found.append(PendingJobs(reason=reason, message=message, jobs=jobs))
        others = sum(jobs for _, jobs in in_order[MAX_MESSAGES:])
        if others:
            message = "other reasons, which the jobs state"
            found.append(PendingJobs(reason=reason, message=message, jobs=others))
    return tuple(found)
