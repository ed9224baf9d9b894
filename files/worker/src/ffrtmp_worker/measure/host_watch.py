"""Watch of the host during an encode: its environment and its energy."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec
from ffrtmp_shared.host_environment import Environment
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.measurement import EnergyMeasurement
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.measure.energy_meter import EnergyMeter
from ffrtmp_worker.measure.environment import EnvironmentWatch
from ffrtmp_worker.measure.page_cache import cached_ratio
from ffrtmp_worker.measure.series import Series

_POLL_S = 0.5


class HostMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """The host's figures from the start to the end of a watch."""

    environment: Environment
    energy: EnergyMeasurement | Unavailable
    gpu_energy: EnergyMeasurement | Unavailable


class HostWatch:
    """Watch of the host during an encode; call `settle`, `start` and `finish` in this order.

    It is a context manager, which ends the watch also if an error prevents the call of `finish`.
    """

    def __init__(
        self,
        energy: EnergyMeter,
        gpu_energy: EnergyMeter,
        idle_s: float,
        series: Series,
        loops: LoopRegistry,
    ) -> None:
        """Create a watch that is not started.

        Args:
            energy: The meter for the energy of the processors.
            gpu_energy: The meter for the energy of the GPUs.
            idle_s: The time for which idle power is measured, in seconds.
            series: The series that receives a row for each second of the watch.
            loops: The registry of the agent's loops.
        """
        self._energy, self._gpu_energy = energy, gpu_energy
        self._idle_s = idle_s
        self._series = series
        self._loops = loops
        self._environment: EnvironmentWatch | None = None
        self._source_cached_ratio: float | Unavailable = Unavailable(
            reason="the watch was not started"
        )

    def __enter__(self) -> Self:
        """Return the watch, which is not started."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the watch if it was started and not finished."""
        if self._environment is not None:
            self._environment.cancel()
            self._series.finish()

    def settle(self, check_stop: Callable[[], None], on_begin: Callable[[], None]) -> None:
        """Measure the idle power before the encode, if there are energy counters.

        Args:
            check_stop: A function that is called repeatedly during the wait and may raise an error
                to end it.
            on_begin: A function that is called if there are counters and the wait begins.
        """
        if self._idle_s <= 0:
            return
        meters = [meter for meter in (self._energy, self._gpu_energy) if meter.begin_idle()]
        if meters:
            on_begin()
        deadline = time.monotonic() + self._idle_s
        while meters and (left_s := deadline - time.monotonic()) > 0:
            check_stop()
            time.sleep(min(left_s, _POLL_S))
        for meter in meters:
            meter.end_idle()

    def start(self, source: Path) -> None:
        """Start the watch; call this right before starting the process that reads `source`."""
        self._source_cached_ratio = cached_ratio(source)
        self._series.start(self._energy.read)
        self._environment = EnvironmentWatch(self._series.sample, self._loops)
        for meter in (self._gpu_energy, self._energy):
            meter.start()

    def finish(self) -> HostMeasurement:
        """End the watch; call this right after the process has ended.

        Raises RuntimeError if the watch was not started.
        """
        energy, gpu_energy = self._energy.finish(), self._gpu_energy.finish()
        if self._environment is None:
            raise RuntimeError("the watch cannot be finished before it is started")
        environment = msgspec.structs.replace(
            self._environment.finish(), source_cached_ratio=self._source_cached_ratio
        )
        self._series.finish()
        return HostMeasurement(environment=environment, energy=energy, gpu_energy=gpu_energy)
