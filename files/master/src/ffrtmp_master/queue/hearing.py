"""When nodes were heard, noted no oftener than it matters."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from ffrtmp_master.store.work import Work

# How old the note of a node's last call may become: a part of the time after which it is offline.
_COARSE_PART = 0.25


class Hearing:
    """Remembers which notes are young, so that a call seldom costs a statement."""

    def __init__(self, offline_s: float) -> None:
        """Write notes for nodes that are offline after `offline_s` seconds of silence."""
        self._coarse_s = offline_s * _COARSE_PART
        self._noted: dict[str, datetime] = {}

    def note(self, work: Work, names: Iterable[str]) -> None:
        """Write down for nodes that they were heard now, where the last note has become old."""
        young = timedelta(seconds=self._coarse_s)
        now, noted = work.now, self._noted
        # What was noted for later than now was told by a clock that has been put back.
        old = [name for name in names if not now - young < noted.get(name, now - young) <= now]
        if old:
            work.statements.saw(sorted(old), now, self._coarse_s)
            noted.update(dict.fromkeys(old, now))

    def forget(self) -> None:
        """Trust no note: a transaction was undone that may have written some."""
        self._noted.clear()
