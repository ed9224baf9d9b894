"""Samples of the processors' frequency and temperature, once a second during an encode."""

import math
import threading
import weakref
from collections.abc import Callable
from statistics import fmean

import msgspec
import psutil
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing, ThreadLoop
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.kernel_files import find_int
from ffrtmp_worker.measure.throttling import CPU_TREE

_EVERY_S = 1.0
_STALE_AFTER_S = 60.0
_KHZ_PER_MHZ = 1000
# The sensors of processors. Disks and network cards have temperature sensors as well.
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


class HostSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of all samples: frequencies of all CPUs in MHz, temperatures in Celsius."""

    frequency_mean_mhz: float | Unavailable
    frequency_min_mhz: float | Unavailable
    temperature_start_celsius: float | Unavailable
    temperature_max_celsius: float | Unavailable


class HostSample(msgspec.Struct, frozen=True, kw_only=True):
    """A sample: the mean frequency of all CPUs in MHz, and the highest temperature in Celsius."""

    frequency_mean_mhz: float | Unavailable
    temperature_celsius: float | Unavailable


_NO_FREQUENCY = Unavailable(reason="the kernel does not report the frequency of CPUs")
_NO_SENSOR = Unavailable(reason="the host has no temperature sensor of its processors")


def unavailable_sample(sample: HostSample) -> None:
    """Ignore a sample."""


class HostSampler:
    """Samples the host in a separate thread, from its creation until `finish`.

    The thread also ends when this object is deleted, so that a failed encode leaves no thread.
    """

    def __init__(
        self,
        on_sample: Callable[[HostSample], None] = unavailable_sample,
        loops: LoopRegistry | None = None,
    ) -> None:
        """Start the thread.

        Args:
            on_sample: A function that receives each sample, in that thread.
            loops: The registry of the agent's loops, if the sampler belongs to one.
        """
        self._loop = _SampleLoop(on_sample)
        self._loop.sample()
        stopped = threading.Event()
        weakref.finalize(self, stopped.set)
        # The thread must not refer to this object.
        self._thread = ThreadLoop(
            (loops or LoopRegistry()).add("host_samples", stale_after_s=_STALE_AFTER_S),
            self._loop.sample,
            Pacing(interval_s=_EVERY_S, is_first_delayed=True),
            stopped=stopped,
        )
        self._thread.start()

    def finish(self) -> HostSummary:
        """Stop the thread and return the summary."""
        self._thread.stop()
        frequencies, temperatures = self._loop.frequencies_mhz, self._loop.temperatures
        return HostSummary(
            frequency_mean_mhz=frequencies.mean if frequencies.count else _NO_FREQUENCY,
            frequency_min_mhz=frequencies.least if frequencies.count else _NO_FREQUENCY,
            temperature_start_celsius=temperatures.first if temperatures.count else _NO_SENSOR,
            temperature_max_celsius=temperatures.most if temperatures.count else _NO_SENSOR,
        )


class _RunningStats:
    """Statistics of a sequence of values, in constant memory."""

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
    """The sensors of the host, and statistics of their samples so far."""

    def __init__(self, on_sample: Callable[[HostSample], None]) -> None:
        self._on_sample = on_sample
        # The frequency in /proc/cpuinfo is not measured on a virtual machine.
        self._files = sorted(CPU_TREE.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self.frequencies_mhz = _RunningStats()
        self.temperatures = _RunningStats()

    def sample(self) -> None:
        # The frequency of a CPU that is offline cannot be read.
        frequencies_khz = [value for value in map(find_int, self._files) if value is not None]
        frequencies_mhz = [value / _KHZ_PER_MHZ for value in frequencies_khz]
        for frequency_mhz in frequencies_mhz:
            self.frequencies_mhz.add(frequency_mhz)
        chips = psutil.sensors_temperatures()
        sensors = [sensor for chip in _CPU_CHIPS for sensor in chips.get(chip, [])]
        # The hottest sensor is the one that causes throttling.
        hottest = max((float(sensor.current) for sensor in sensors), default=None)
        if hottest is not None:
            self.temperatures.add(hottest)
        self._on_sample(
            HostSample(
                frequency_mean_mhz=fmean(frequencies_mhz) if frequencies_mhz else _NO_FREQUENCY,
                temperature_celsius=_NO_SENSOR if hottest is None else hottest,
            )
        )
