"""What changes while an encode runs and has no counter: looked at once a second."""

import math
import threading
import weakref
from collections.abc import Callable
from statistics import fmean

import msgspec
import psutil
from ffrtmp_shared.measurement import Unavailable

from ffrtmp_worker.measure.throttling import CPU_TREE

_EVERY_S = 1.0
_KHZ_PER_MHZ = 1000
# Disks and network cards have sensors as well.
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


class HostSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen over all looks: frequencies of all CPUs in MHz, temperatures in Celsius."""

    frequency_mean_mhz: float | Unavailable
    frequency_min_mhz: float | Unavailable
    temperature_start_celsius: float | Unavailable
    temperature_max_celsius: float | Unavailable


class HostSample(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen at one moment: the mean frequency of all CPUs, the hottest of their sensors."""

    frequency_mean_mhz: float | Unavailable
    temperature_celsius: float | Unavailable


_NO_FREQUENCY = Unavailable(reason="the kernel does not say at which frequency CPUs run")
_NO_SENSOR = Unavailable(reason="the host has no sensor of its processors' temperature")


def unavailable_sample(look: HostSample) -> None:
    """Do nothing with a look."""


class HostSampler:
    """Looks at the host in a thread of its own, from its making to `finish`.

    The thread also ends with this object, so that an encode that fails leaves none behind.
    """

    def __init__(self, heard: Callable[[HostSample], None] = unavailable_sample) -> None:
        """Begin; `heard` gets each look, in that thread."""
        self._looks = _SampleLoop(heard)
        self._looks.sample()
        self._over = threading.Event()
        weakref.finalize(self, self._over.set)
        self._thread = threading.Thread(
            target=_keep_looking, args=(self._looks, self._over), name="sampler", daemon=True
        )
        self._thread.start()

    def finish(self) -> HostSummary:
        """Look no more and say what was seen."""
        self._over.set()
        self._thread.join()
        frequencies, temperatures = self._looks.frequencies_mhz, self._looks.temperatures
        return HostSummary(
            frequency_mean_mhz=frequencies.mean if frequencies.count else _NO_FREQUENCY,
            frequency_min_mhz=frequencies.least if frequencies.count else _NO_FREQUENCY,
            temperature_start_celsius=temperatures.first if temperatures.count else _NO_SENSOR,
            temperature_max_celsius=temperatures.most if temperatures.count else _NO_SENSOR,
        )


class _RunningStats:
    """What is kept of values, however many there are."""

    def __init__(self) -> None:
        self.count = 0
        self.first = 0.0
        self.least = math.inf
        self.most = -math.inf
        self._sum = 0.0

    @property
    def mean(self) -> float:
        return self._sum / self.count

    def add(self, value: float) -> None:
        if not self.count:
            self.first = value
        self.count += 1
        self._sum += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)


class _SampleLoop:
    """What was seen so far."""

    def __init__(self, heard: Callable[[HostSample], None]) -> None:
        self._heard = heard
        # Not of /proc/cpuinfo: what that says on a virtual machine is no measurement.
        self._files = sorted(CPU_TREE.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self.frequencies_mhz = _RunningStats()
        self.temperatures = _RunningStats()

    def sample(self) -> None:
        frequencies_mhz = []
        for file in self._files:
            try:
                frequencies_mhz.append(int(file.read_text(encoding="ascii")) / _KHZ_PER_MHZ)
            except (OSError, ValueError):
                continue  # a CPU that was taken offline
        for frequency_mhz in frequencies_mhz:
            self.frequencies_mhz.add(frequency_mhz)
        chips = psutil.sensors_temperatures()
        sensors = [one for chip in _CPU_CHIPS for one in chips.get(chip, [])]
        # The hottest is the one that throttles.
        hottest = max((float(one.current) for one in sensors), default=None)
        if hottest is not None:
            self.temperatures.add(hottest)
        self._heard(
            HostSample(
                frequency_mean_mhz=fmean(frequencies_mhz) if frequencies_mhz else _NO_FREQUENCY,
                temperature_celsius=_NO_SENSOR if hottest is None else hottest,
            )
        )


def _keep_looking(looks: _SampleLoop, over: threading.Event) -> None:
    while not over.wait(_EVERY_S):
        looks.sample()
