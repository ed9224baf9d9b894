"""Energy of the host's processors while an encode runs, and while nothing does."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from ffrtmp_shared.measurement import EnergyMeasurement, Unavailable

from ffrtmp_worker.energy.reading import Reading, ask

_LOOK_S = 0.5
_SHORTEST_S = 0.05
_NO_IDLE_POWER = Unavailable(reason="idle power was not measured before the encode")


class EnergyMeter:
    """Asks the host's energy reader before and after an encode."""

    def __init__(self, reader: Path | None) -> None:
        """Ask the reader at this unix socket; with None there is no energy."""
        self._reader = reader
        self._idle_w: float | Unavailable = _NO_IDLE_POWER
        self._begin: Reading | None = None

    def watch_idle(self, duration_s: float, check_stop: Callable[[], None]) -> None:
        """Measure the host's power for `duration_s` in which nothing of ours runs.

        Does not wait where there is no energy. `check_stop` is called now and then and may raise.
        """
        if self._reader is None or duration_s <= 0:
            return
        begin = ask(self._reader)
        if not begin.zones:
            return
        until = time.monotonic() + duration_s
        while (left_s := until - time.monotonic()) > 0:
            check_stop()
            time.sleep(min(left_s, _LOOK_S))
        used = _used(begin, ask(self._reader))
        self._idle_w = used if isinstance(used, Unavailable) else used.gross_j / used.duration_s

    def begin(self) -> None:
        """Read the counters at the start of the encode."""
        self._begin = None if self._reader is None else ask(self._reader)

    def finish(self) -> EnergyMeasurement | Unavailable:
        """Read the counters at its end and return what was used in between."""
        if self._reader is None:
            return Unavailable(reason="this node has no energy reader")
        if self._begin is None:
            return Unavailable(reason="no encode was begun")
        used = _used(self._begin, ask(self._reader))
        if isinstance(used, Unavailable):
            return used
        idle_w = self._idle_w
        if isinstance(idle_w, Unavailable):
            return msgspec.structs.replace(used, idle_w=idle_w, net_j=idle_w)
        net_j = used.gross_j - idle_w * used.duration_s
        return msgspec.structs.replace(used, idle_w=idle_w, net_j=net_j)


def _used(begin: Reading, end: Reading) -> EnergyMeasurement | Unavailable:
    """Return what was used between two readings, without anything about idle power."""
    for reading in (begin, end):
        if not reading.zones:
            return Unavailable(reason=reading.reason)
    if begin.zones.keys() != end.zones.keys():
        return Unavailable(reason="the energy zones changed meanwhile")
    if begin.gaps != end.gaps:
        return Unavailable(reason="the energy counters were not read for too long meanwhile")
    duration_s = end.monotonic_s - begin.monotonic_s
    if duration_s < _SHORTEST_S:
        return Unavailable(reason=f"{duration_s:.3f} s are too short for the energy counters")
    zones_j = {name: end.zones[name].joules - zone.joules for name, zone in begin.zones.items()}
    if min(zones_j.values()) < 0:
        return Unavailable(reason="the energy reader began to count anew meanwhile")
    return EnergyMeasurement(
        zones_j=zones_j,
        gross_j=sum(zones_j.values()),
        duration_s=duration_s,
        idle_w=_NO_IDLE_POWER,
        net_j=_NO_IDLE_POWER,
    )
