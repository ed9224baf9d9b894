"""Choosing a job for an agent and leasing it, in one transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.models import Failure, Job
from ffrtmp_shared.states import JobState, NodeState
from sqlalchemy import Connection, literal_column, or_, select, union_all

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.failures import Ended, end_attempt
from ffrtmp_master.queue.leases import is_held
from ffrtmp_master.store import jobs as stored_jobs
from ffrtmp_master.store import nodes
from ffrtmp_master.store.refusals import ConflictError, NotFoundError
from ffrtmp_master.store.schema import jobs


@dataclass(frozen=True)
class Claimed:
    """The outcome of a claim: the job or None, what the claim ended, and what the node can do."""

    job: Job | None
    ended: Sequence[Ended]
    encoders: frozenset[str]


def claim(connection: Connection, name: str, slot: int, now: datetime, lease_s: float) -> Claimed:
    """Lease the oldest job that this node can do to one of its slots.

    A benchmark job owns its node: nothing is handed out while another job is worked on there.
    A slot that claims while it holds a job has started anew and lost it: that attempt is ended
    here, so that a killed agent costs no waiting for its lease. Raises ConflictError when the
    node is not registered.
    """
    try:
        node = nodes.row_of(connection, name)
    except NotFoundError as error:
        raise ConflictError(f"node {name} is not registered; register it first") from error
    nodes.seen(connection, name, now)
    # Jobs ask for known encoders alone, so the number of index seeks has a bound.
    encoders = ENCODERS.keys() & frozenset(node.registration.encoders)
    working = connection.execute(select(jobs).where(is_held(), jobs.c.leased_to == name)).all()
    ended = [
        end_attempt(connection, job, _started_anew(name, slot), now, retry_after_s=0)
        for job in working
        if job.slot == slot
    ]
    is_free = len(ended) == len(working)
    job_id = None
    if is_free and node.state == NodeState.ACTIVE:
        job_id = _oldest(connection, name, encoders, now)
    if job_id is None:
        return Claimed(None, ended, frozenset(encoders))
    row = stored_jobs.row_of(connection, job_id)
    transitions.move(
        connection,
        [transitions.at(row)],
        JobState.LEASED,
        f"claimed by {name}, slot {slot}",
        now,
        attempt=row.attempt + 1,
        leased_to=name,
        slot=slot,
        lease_expires_at=now + timedelta(seconds=lease_s),
        started_at=now,
        not_before=None,
        progress=None,
    )
    return Claimed(stored_jobs.find(connection, job_id), ended, frozenset(encoders))


def _started_anew(name: str, slot: int) -> Failure:
    return Failure(
        failure_class=FailureClass.LEASE_EXPIRED,
        message=f"agent started anew on {name}, slot {slot}",
    )


def _oldest(
    connection: Connection, name: str, encoders: Iterable[str], now: datetime
) -> UUID | None:
    """Find the first queued job for this node.

    One index seek for each encoder, once among the jobs for this node alone and once among those
    for any: what waits for other nodes is never read.
    """
    seeks = [
        select(jobs.c.id, jobs.c.run_id, jobs.c.position)
        .where(
            jobs.c.state == literal_column(f"'{JobState.QUEUED}'"),
            jobs.c.node == name if is_bound else jobs.c.node.is_(None),
            jobs.c.encoder == encoder,
            or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now),
        )
        .order_by(jobs.c.run_id, jobs.c.position)
        .limit(1)
        .subquery()
        for encoder in sorted(encoders)
        for is_bound in (True, False)
    ]
    if not seeks:
        return None
    found = union_all(*(select(seek) for seek in seeks)).subquery()
    return connection.execute(
        select(found.c.id).order_by(found.c.run_id, found.c.position).limit(1)
    ).scalar()
