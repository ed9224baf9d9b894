"""Since when a node must have been heard of, not to count as offline."""

from datetime import UTC, datetime, timedelta

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


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
