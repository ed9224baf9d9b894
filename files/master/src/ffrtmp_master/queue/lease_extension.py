"""Extension of leases after a period in which no master could receive heartbeats.

Without it, an outage of a few seconds could end encodes that have been running for an hour. Masters
share one row with the time until which any of them was listening. The period since then is added
to each lease, but only once for each heartbeat, so that the job of a dead agent is queued again
even if masters are restarted repeatedly.
"""

from datetime import datetime, timedelta

from sqlalchemy import bindparam, insert, select, update

from ffrtmp_master.queue.leases import is_held
from ffrtmp_master.store.schema import jobs, lease_times
from ffrtmp_master.store.unit_of_work import UnitOfWork

# An extended lease ends earlier than a lease that is granted or renewed at the same time.
_TICK = timedelta(microseconds=1)
# If a master was listening later than this from now, the clock was set back since then. Smaller
# differences are those of the clocks of several masters.
_CLOCK_DIFFERENCE_MAX = timedelta(seconds=5)


def record_listening(work: UnitOfWork, until: datetime) -> None:
    """Record that a master could receive heartbeats until a time.

    A master must not call this after a period in which it could not receive heartbeats, before it
    has called `extend_leases`. The period would be unknown then.
    """
    work.connection.execute(
        update(lease_times)
        .where(lease_times.c.listening_until < until)
        .values(listening_until=until)
    )


def extend_leases(work: UnitOfWork, lease_s: float, *, is_clock_set: bool = False) -> None:
    """Extend leases by the time since a master was last listening.

    A lease that was extended since its last heartbeat, or that had expired before this period, is
    not extended.

    Args:
        work: The transaction.
        lease_s: The duration of a lease in seconds. No lease is extended beyond this from now.
        is_clock_set: Whether the clock was set, so that the end of each lease is unknown. Every
            lease then begins again.
    """
    now, latest = work.now, work.now + timedelta(seconds=lease_s) - _TICK
    times = work.connection.execute(select(lease_times).with_for_update()).first()
    held = work.connection.execute(
        select(jobs.c.id, jobs.c.lease_expires_at)
        .where(is_held())
        .order_by(jobs.c.id)
        .with_for_update()
    ).all()
    listening_until = now
    if times is None or is_clock_set or times.listening_until > now + _CLOCK_DIFFERENCE_MAX:
        ends = {row.id: latest for row in held}
    else:
        listening_until = max(now, times.listening_until)
        silence = listening_until - times.listening_until
        ends = {
            row.id: min(row.lease_expires_at + silence, latest)
            for row in held
            if silence
            and row.lease_expires_at >= times.listening_until
            and row.lease_expires_at > times.extended_until
        }
    _set_ends(work, ends)
    if times is None:
        until = latest if ends else now
        work.connection.execute(
            insert(lease_times).values(id=1, listening_until=now, extended_until=until)
        )
        return
    until = latest if ends else times.extended_until
    work.connection.execute(
        update(lease_times).values(listening_until=listening_until, extended_until=until)
    )


def _set_ends(work: UnitOfWork, ends: dict[object, datetime]) -> None:
    if ends:
        work.connection.execute(
            update(jobs)
            .where(jobs.c.id == bindparam("job"))
            .values(lease_expires_at=bindparam("end")),
            [{"job": job_id, "end": end} for job_id, end in ends.items()],
        )
