"""What changes while an encode runs and has no counter: looked at once a second."""

import statistics
import threading
import weakref

import msgspec
import psutil
from ffrtmp_shared.measurement import Unavailable

_EVERY_S = 1.0
# Disks and network cards have sensors as well.
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen over all looks: frequencies of all CPUs in MHz, temperatures in Celsius."""

    frequency_mean_mhz: float | Unavailable
    frequency_min_mhz: float | Unavailable
    temperature_start_celsius: float | Unavailable
    temperature_max_celsius: float | Unavailable


class HostSampler:
    """Looks at the host in a thread of its own, from its making to `finish`.

    The thread also ends with this object, so that an encode that fails leaves none behind.
    """

    def __init__(self) -> None:
        self._looks = _Looks()
        self._looks.look()
        self._over = threading.Event()
        weakref.finalize(self, self._over.set)
        self._thread = threading.Thread(
            target=_keep_looking, args=(self._looks, self._over), name="sampler", daemon=True
        )
        self._thread.start()

    def finish(self) -> Sampled:
        """Look no more and say what was seen."""
        self._over.set()
        self._thread.join()
        no_frequency = Unavailable(reason="the kernel does not say at which frequency CPUs run")
        no_sensor = Unavailable(reason="the host has no sensor of its processors' temperature")
        frequencies, temperatures = self._looks.frequencies_mhz, self._looks.temperatures
        return Sampled(
            frequency_mean_mhz=statistics.fmean(frequencies) if frequencies else no_frequency,
            frequency_min_mhz=min(frequencies) if frequencies else no_frequency,
            temperature_start_celsius=temperatures[0] if temperatures else no_sensor,
            temperature_max_celsius=max(temperatures) if temperatures else no_sensor,
        )


class _Looks:
    """What was seen so far."""

    def __init__(self) -> None:
        self.frequencies_mhz: list[float] = []
        self.temperatures: list[float] = []

    def look(self) -> None:
        cpus = psutil.cpu_freq(percpu=True) or []
        self.frequencies_mhz += [cpu.current for cpu in cpus if cpu.current]
        chips = psutil.sensors_temperatures()
        sensors = [one for chip in _CPU_CHIPS for one in chips.get(chip, [])]
        if sensors:
            # The hottest is the one that throttles.
            self.temperatures.append(max(one.current for one in sensors))


def _keep_looking(looks: _Looks, over: threading.Event) -> None:
    while not over.wait(_EVERY_S):
        looks.look()
