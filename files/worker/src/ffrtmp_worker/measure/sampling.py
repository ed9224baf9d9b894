"""What changes while an encode runs and has no counter: looked at once a second."""

import statistics
import threading

import msgspec
import psutil
from ffrtmp_shared.measurement import Unavailable

_EVERY_S = 1.0


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen over all looks: frequencies of all CPUs in MHz, temperatures in Celsius."""

    frequency_mean_mhz: float | Unavailable
    frequency_min_mhz: float | Unavailable
    temperature_start_celsius: float | Unavailable
    temperature_max_celsius: float | Unavailable


class HostSampler:
    """Looks at the host in a thread of its own, from its making to `finish`."""

    def __init__(self) -> None:
        self._frequencies_mhz: list[float] = []
        self._temperatures: list[float] = []
        self._over = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._keep_looking, name="sampler", daemon=True)
        self._thread.start()

    def finish(self) -> Sampled:
        """Look no more and say what was seen."""
        self._over.set()
        self._thread.join()
        no_frequency = Unavailable(reason="the kernel does not say at which frequency CPUs run")
        no_sensor = Unavailable(reason="the host has no temperature sensor")
        frequencies, temperatures = self._frequencies_mhz, self._temperatures
        return Sampled(
            frequency_mean_mhz=statistics.fmean(frequencies) if frequencies else no_frequency,
            frequency_min_mhz=min(frequencies) if frequencies else no_frequency,
            temperature_start_celsius=temperatures[0] if temperatures else no_sensor,
            temperature_max_celsius=max(temperatures) if temperatures else no_sensor,
        )

    def _keep_looking(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        cpus = psutil.cpu_freq(percpu=True) or []
        self._frequencies_mhz += [cpu.current for cpu in cpus if cpu.current]
        sensors = [one for chip in psutil.sensors_temperatures().values() for one in chip]
        if sensors:
            # The hottest is the one that throttles.
            self._temperatures.append(max(one.current for one in sensors))
