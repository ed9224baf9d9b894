"""Energy of the host's processors or GPUs during an encode, and their idle power."""

from collections.abc import Callable, Mapping

import msgspec
from ffrtmp_shared.measurement import EnergyMeasurement
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.energy.client import EnergyReading

_SHORTEST_S = 0.05
_NO_IDLE_POWER = Unavailable(reason="idle power was not measured before the encode")


class EnergyMeter:
    """A meter that reads energy counters before and after an encode."""

    def __init__(self, read: Callable[[], EnergyReading] | None) -> None:
        """Read the counters with `read`. If it is None, the energy is unavailable."""
        self.read = read
        self._idle_w: float | Unavailable = _NO_IDLE_POWER
        self._idle_begin: EnergyReading | None = None
        self._begin: EnergyReading | None = None

    def begin_idle(self) -> bool:
        """Start the idle window, in which no encode runs. Return False if there are no counters."""
        self._idle_begin = None if self.read is None else self.read()
        return self._idle_begin is not None and bool(self._idle_begin.zones)

    def end_idle(self) -> None:
        """End the idle window and store its mean power as the idle power."""
        if self.read is not None and self._idle_begin is not None:
            used = _used(self._idle_begin, self.read())
            self._idle_w = used if isinstance(used, Unavailable) else used.gross_j / used.duration_s

    def start(self) -> None:
        """Read the counters at the start of the encode."""
        self._begin = None if self.read is None else self.read()

    def finish(self) -> EnergyMeasurement | Unavailable:
        """Read the counters at the end of the encode and return the energy used since `start`."""
        if self.read is None:
            return Unavailable(reason="this node has no energy reader")
        if self._begin is None:
            return Unavailable(reason="the energy meter was not started")
        used = _used(self._begin, self.read())
        if isinstance(used, Unavailable):
            return used
        idle_w = self._idle_w
        if isinstance(idle_w, Unavailable):
            return msgspec.structs.replace(used, idle_w=idle_w, net_j=idle_w)
        net_j = used.gross_j - idle_w * used.duration_s
        return msgspec.structs.replace(used, idle_w=idle_w, net_j=net_j)


def _used(begin: EnergyReading, end: EnergyReading) -> EnergyMeasurement | Unavailable:
    """Return the energy used between two readings; its idle power is not set yet."""
    for reading in (begin, end):
        if not reading.zones:
            return Unavailable(reason=reading.reason)
    if begin.zones.keys() != end.zones.keys():
        return Unavailable(reason="the energy zones changed during the measurement")
    if begin.gaps != end.gaps:
        return Unavailable(reason="the energy reader missed readings during the measurement")
    duration_s = end.monotonic_s - begin.monotonic_s
    if duration_s < _SHORTEST_S:
        return Unavailable(reason=f"{duration_s:.3f} s is too short for the energy counters")
    zones_j = {name: end.zones[name].joules - zone.joules for name, zone in begin.zones.items()}
    problem = _problem(zones_j, duration_s)
    if problem:
        return Unavailable(reason=problem)
    return EnergyMeasurement(
        zones_j=zones_j,
        gross_j=sum(zones_j.values()),
        duration_s=duration_s,
        idle_w=_NO_IDLE_POWER,
        net_j=_NO_IDLE_POWER,
    )


def _problem(zones_j: Mapping[str, float], duration_s: float) -> str:
    """Return why the energy of these zones is not that of the processors, or "" if it is."""
    if min(zones_j.values()) < 0:
        return "the energy counters were reset during the measurement"
    # Hypervisors may show counters that never change. A processor always uses energy; of memory,
    # some processors count nothing. One of several GPUs may be suspended, but not all of them.
    expected_j = {name: joules for name, joules in zones_j.items() if "dram" not in name}
    are_all_still = not any(expected_j.values())
    still = [
        name
        for name, joules in expected_j.items()
        if not joules and (are_all_still or name.startswith("package-"))
    ]
    return (
        f"the energy counter of {', '.join(still)} did not change in {duration_s:.1f} s"
        if still
        else ""
    )
