"""The host around an attempt: what it is, and what may have disturbed it."""

import os
import platform
from pathlib import Path
from typing import Self

import psutil
from ffrtmp_shared.measurement import Environment, Unavailable

_CPU_TREE = Path("/sys/devices/system/cpu")
_CPU_INFO = Path("/proc/cpuinfo")


def cpu_model() -> str:
    """Return the processor's name; on processors that give none, the architecture."""
    for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def cpu_governor(tree: Path = _CPU_TREE) -> str | Unavailable:
    """Return the frequency governor of all CPUs; several are joined with commas."""
    names = {
        file.read_text(encoding="ascii").strip()
        for file in tree.glob("cpu[0-9]*/cpufreq/scaling_governor")
    }
    if not names:
        return Unavailable(reason="the kernel offers no frequency control (no cpufreq in /sys)")
    return ",".join(sorted(names))


def cpu_frequency_mhz() -> float | Unavailable:
    """Return the mean frequency of all CPUs at this moment, in MHz."""
    frequency = psutil.cpu_freq()
    if frequency is None or not frequency.current:
        return Unavailable(reason="the kernel does not say at which frequency the CPUs run")
    return float(frequency.current)


class EnvironmentWatch:
    """Reads the host before and after an encode."""

    def __init__(self) -> None:
        self._load_before = os.getloadavg()[0]
        self._memory_available = psutil.virtual_memory().available
        self._times_before = _CpuTimes.now()

    def finish(self) -> Environment:
        """Return the state of the host from the making of this watch until now."""
        return Environment(
            kernel=platform.release(),
            cpu_model=cpu_model(),
            cpu_governor=cpu_governor(),
            cpu_frequency_mhz=cpu_frequency_mhz(),
            load_before=self._load_before,
            steal_ratio=_CpuTimes.now().steal_ratio_since(self._times_before),
            memory_available_bytes=self._memory_available,
        )


class _CpuTimes:
    """The host's CPU seconds since it booted: all of them, and those that were stolen."""

    def __init__(self, total: float, steal: float) -> None:
        self._total = total
        self._steal = steal

    @classmethod
    def now(cls) -> Self:
        times = psutil.cpu_times()._asdict()
        # The kernel counts guests' time in user and nice already.
        total = sum(value for name, value in times.items() if not name.startswith("guest"))
        return cls(total, times.get("steal", 0.0))

    def steal_ratio_since(self, before: "_CpuTimes") -> float:
        elapsed = self._total - before._total
        return max(self._steal - before._steal, 0.0) / elapsed if elapsed > 0 else 0.0
