"""Last-seen times of nodes: how often they are written, and when a silent node is offline."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from ffrtmp_master.store.unit_of_work import UnitOfWork

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
# How old a stored last-seen time may become: a part of the time after which a node is offline.
_THROTTLE_PART = 0.25


class Liveness:
    """Tells which silence of a node counts.

    While nobody listened (the master was stopped, its database away, its clock wrong) no node
    could be heard. Afterwards all that were online before have the usual time to speak up; a node
    that had been silent for too long by then stays offline.
    """

    def __init__(self, offline_s: float) -> None:
        """Count a node as offline after `offline_s` seconds of silence."""
        self._silence = timedelta(seconds=offline_s)
        # One value, for several threads: when listening began again, and what was heard last
        # before that.
        self._interruption = (_LONG_AGO, _LONG_AGO)

    def resume(self, now: datetime, last_heard: datetime | None) -> None:
        """Listen again from `now` on; the last that any node was heard was at `last_heard`."""
        self._interruption = (now, now if last_heard is None else min(now, last_heard))

    def heard_since(self, now: datetime) -> datetime:
        """Return the moment since which a node that is not offline at `now` was heard of."""
        resumed, last_heard = self._interruption
        return (last_heard if now - resumed <= self._silence else now) - self._silence


class LastSeenThrottle:
    """Remembers which notes are young, so that a call seldom costs a statement."""

    def __init__(self, offline_s: float) -> None:
        """Write notes for nodes that are offline after `offline_s` seconds of silence."""
        self._coarse_s = offline_s * _THROTTLE_PART
        self._noted: dict[str, datetime] = {}

    def record_seen(self, work: UnitOfWork, names: Iterable[str]) -> None:
        """Write down for nodes that they were heard now, where the last note has become old."""
        young = timedelta(seconds=self._coarse_s)
        now, noted = work.now, self._noted
        # What was noted for later than now was told by a clock that has been put back.
        old = [name for name in names if not now - young < noted.get(name, now - young) <= now]
        if old:
            work.statements.record_seen(sorted(old), now, self._coarse_s)
            noted.update(dict.fromkeys(old, now))

    def invalidate(self) -> None:
        """Trust no note: a transaction was undone that may have written some."""
        self._noted.clear()
