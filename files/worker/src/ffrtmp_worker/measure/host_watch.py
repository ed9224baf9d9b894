"""The host while an encode runs: what disturbed it, and what it used."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from ffrtmp_shared.measurement import EnergyMeasurement, Environment, Unavailable

from ffrtmp_worker.measure.energy import EnergyMeter
from ffrtmp_worker.measure.environment import EnvironmentWatch
from ffrtmp_worker.measure.page_cache import cached_ratio
from ffrtmp_worker.measure.series import Series

_LOOK_S = 0.5


class HostMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the host from the beginning to the end of a watch."""

    environment: Environment
    energy: EnergyMeasurement | Unavailable
    gpu_energy: EnergyMeasurement | Unavailable


class HostWatch:
    """Watches one encode: `settle`, `begin`, then `finish`."""

    def __init__(
        self, energy: EnergyMeter, gpu_energy: EnergyMeter, idle_s: float, series: Series
    ) -> None:
        """Take energy from the meters, and idle power in a window of `idle_s` seconds.

        Every second of what is watched is a row of `series`.
        """
        self._energy, self._gpu_energy = energy, gpu_energy
        self._idle_s = idle_s
        self._series = series
        self._environment: EnvironmentWatch | None = None
        self._source_cached_ratio: float | Unavailable = Unavailable(reason="nothing was begun")

    def settle(self, check_stop: Callable[[], None]) -> None:
        """See what the host uses while nothing of ours runs; does not wait where nobody can tell.

        `check_stop` is called now and then and may raise.
        """
        if self._idle_s <= 0:
            return
        meters = [meter for meter in (self._energy, self._gpu_energy) if meter.begin_idle()]
        until = time.monotonic() + self._idle_s
        while meters and (left_s := until - time.monotonic()) > 0:
            check_stop()
            time.sleep(min(left_s, _LOOK_S))
        for meter in meters:
            meter.end_idle()

    def start(self, source: Path) -> None:
        """Begin right before the process that is measured is started, which reads `source`."""
        self._source_cached_ratio = cached_ratio(source)
        self._series.start(self._energy.read)
        self._environment = EnvironmentWatch(self._series.sample)
        for meter in (self._gpu_energy, self._energy):
            meter.start()

    def finish(self) -> HostMeasurement:
        """End right after it; raises RuntimeError when the watch was never begun."""
        energy, gpu_energy = self._energy.finish(), self._gpu_energy.finish()
        if self._environment is None:
            raise RuntimeError("a watch that was not begun cannot be finished")
        environment = msgspec.structs.replace(
            self._environment.finish(), source_cached_ratio=self._source_cached_ratio
        )
        self._series.finish()
        return HostMeasurement(environment=environment, energy=energy, gpu_energy=gpu_energy)
