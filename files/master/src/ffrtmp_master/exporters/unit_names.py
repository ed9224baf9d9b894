"""Bounds on the names of failed units that the metrics of a node contain."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from ffrtmp_shared.node_models import Node

OTHER_UNITS = "other"
"""The value of the label for all units whose names are not shown."""

NAMES_MAX = 32
"""The maximum number of names of a node within a day."""

# VictoriaMetrics counts the series of a target within a day (series_limit). A worker that reports
# other names all the time must not use up the series of the other nodes.
_REMEMBERED_S = 24 * 3600.0


class UnitNames:
    """The names of failed units that are shown for each node. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember no names; `clock` returns the time in seconds."""
        self._clock = clock
        self._last_shown: dict[str, dict[str, float]] = {}

    def update(self, nodes: Iterable[Node]) -> Mapping[str, Sequence[str]]:
        """Return the names to show for each node, which end with `other` if some are not shown.

        A node that is not among `nodes` is forgotten.
        """
        now = self._clock()
        shown: dict[str, Sequence[str]] = {}
        last_shown: dict[str, dict[str, float]] = {}
        for node in nodes:
            reported = () if node.heartbeat is None else node.heartbeat.failed_units
            known = {
                name: shown_at
                for name, shown_at in self._last_shown.get(node.name, {}).items()
                if now - shown_at < _REMEMBERED_S
            }
            named = [name for name in dict.fromkeys(reported) if _admit(name, known, now)]
            has_others = len(named) < len(set(reported))
            shown[node.name] = (*named, OTHER_UNITS) if has_others else tuple(named)
            last_shown[node.name] = known
        self._last_shown = last_shown
        return shown


def _admit(name: str, known: dict[str, float], now: float) -> bool:
    """Record in `known` that a name is shown now, if it may be; return whether it may."""
    if name == OTHER_UNITS or (name not in known and len(known) >= NAMES_MAX):
        return False
    known[name] = now
    return True
