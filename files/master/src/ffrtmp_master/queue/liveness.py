"""Liveness of nodes: how often last-seen times are written, and when a node counts as offline."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from ffrtmp_master.store.unit_of_work import UnitOfWork

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
# The maximum age of a stored last-seen time, as a fraction of the time after which a node counts as
# offline.
_THROTTLE_RATIO = 0.25


class Liveness:
    """Decides how recently a node must have been seen to count as online.

    A node cannot be seen while the master is stopped, its database is unreachable or its clock is
    wrong. After such an interruption, the nodes that were online before it have the usual time to
    contact the master before they count as offline. Nodes that were already offline stay offline.
    """

    def __init__(self, offline_s: float) -> None:
        """Create an object that regards nodes as offline if not seen for `offline_s` seconds."""
        self._offline_after = timedelta(seconds=offline_s)
        # The end of the last interruption, and the time at which any node was last seen before it.
        # Both are in one attribute, because several threads read them and must get a matching pair.
        self._interruption = (_LONG_AGO, _LONG_AGO)

    def resume(self, now: datetime, last_seen: datetime | None) -> None:
        """Record that an interruption has ended.

        Args:
            now: The end of the interruption.
            last_seen: The latest time at which any node was seen; None if there are no nodes.
        """
        self._interruption = (now, now if last_seen is None else min(now, last_seen))

    def heard_since(self, now: datetime) -> datetime:
        """Return the earliest last-seen time with which a node counts as online at `now`."""
        resumed_at, last_seen = self._interruption
        is_recent = now - resumed_at <= self._offline_after
        return (last_seen if is_recent else now) - self._offline_after


class LastSeenThrottle:
    """Writes the last-seen times of nodes, but not at every request.

    It caches the times that it wrote, and writes a new time only if the cached time is too old.
    """

    def __init__(self, offline_s: float) -> None:
        """Create a throttle for nodes that count as offline after `offline_s` seconds."""
        self._max_age_s = offline_s * _THROTTLE_RATIO
        self._written: dict[str, datetime] = {}

    def record_seen(self, work: UnitOfWork, names: Iterable[str]) -> None:
        """Record that nodes were seen now. Nodes whose stored times are recent are skipped."""
        max_age = timedelta(seconds=self._max_age_s)
        now, written = work.now, self._written
        # A time in the future was written before the clock was set back, and counts as too old.
        outdated = [
            name for name in names if not now - max_age < written.get(name, now - max_age) <= now
        ]
        if outdated:
            work.statements.record_seen(sorted(outdated), now, self._max_age_s)
            written.update(dict.fromkeys(outdated, now))

    def invalidate(self) -> None:
        """Clear the cache. This is necessary after a rollback, which may have undone writes."""
        self._written.clear()
