"""The host while an encode runs: what disturbed it, and what it used."""

from collections.abc import Callable

import msgspec
from ffrtmp_shared.measurement import EnergyMeasurement, Environment, Unavailable

from ffrtmp_worker.measure.energy import EnergyMeter
from ffrtmp_worker.measure.environment import EnvironmentWatch


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the host from the beginning to the end of a watch."""

    environment: Environment
    energy: EnergyMeasurement | Unavailable


class HostWatch:
    """Watches one encode: `settle`, `begin`, then `finish`."""

    def __init__(self, energy: EnergyMeter, idle_s: float) -> None:
        """Take energy from `energy`, and idle power in a window of `idle_s` seconds."""
        self._energy = energy
        self._idle_s = idle_s
        self._environment: EnvironmentWatch | None = None

    def settle(self, check_stop: Callable[[], None]) -> None:
        """See what the host uses while nothing of ours runs; `check_stop` may raise."""
        self._energy.watch_idle(self._idle_s, check_stop)

    def begin(self) -> None:
        """Begin right before the process that is measured is started."""
        self._environment = EnvironmentWatch()
        self._energy.begin()

    def finish(self) -> Seen:
        """End right after it; raises RuntimeError when the watch was never begun."""
        energy = self._energy.finish()
        if self._environment is None:
            raise RuntimeError("a watch that was not begun cannot be finished")
        return Seen(environment=self._environment.finish(), energy=energy)
