"""Environment of an attempt: properties of the host, and possible disturbances."""

import os
import platform
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import psutil
from ffrtmp_shared.host_environment import Environment
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.kernel_files import find_text
from ffrtmp_worker.measure.cgroup import cgroup_counts
from ffrtmp_worker.measure.cpu_times import CpuTimes
from ffrtmp_worker.measure.psi import stalled_us
from ffrtmp_worker.measure.sampling import HostSample, HostSampler, unavailable_sample
from ffrtmp_worker.measure.slot_watch import SlotWatch
from ffrtmp_worker.measure.throttling import CPU_TREE, throttle_counts
from ffrtmp_worker.tuning.cpus import TURBO_OFF
from ffrtmp_worker.tuning.state import host_tuning

_CPU_INFO = Path("/proc/cpuinfo")
_RESOURCES = ("cpu", "memory", "io")


def cpu_model() -> str:
    """Return the processor's model name, or the architecture if the kernel reports no name."""
    for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def cpu_governor(tree: Path = CPU_TREE) -> str | Unavailable:
    """Return the frequency governor of the CPUs, or several of them joined with commas."""
    files = tree.glob("cpu[0-9]*/cpufreq/scaling_governor")
    # The governor of a CPU that is offline cannot be read.
    names = {name for name in map(find_text, files) if name is not None}
    if not names:
        return Unavailable(reason="the kernel offers no frequency control (no cpufreq in /sys)")
    return ",".join(sorted(names))


def cpu_turbo(tree: Path = CPU_TREE) -> str | Unavailable:
    """Return `on` if CPUs may exceed their nominal frequency, or `off` if they may not."""
    for file, off in TURBO_OFF:
        value = find_text(tree / file)
        if value is not None:
            return "off" if value == off else "on"
    return Unavailable(reason="the kernel does not report whether turbo is enabled")


def numa_nodes(cpus: Iterable[int], tree: Path = CPU_TREE) -> str | Unavailable:
    """Return the numbers of the NUMA nodes of these CPUs, joined with commas."""
    found = {
        int(node.name.removeprefix("node"))
        for cpu in cpus
        for node in tree.glob(f"cpu{cpu}/node[0-9]*")
    }
    if not found:
        return Unavailable(reason="the kernel does not report the NUMA nodes of CPUs")
    return ",".join(str(node) for node in sorted(found))


def _reported(file: Path, what: str) -> str | Unavailable:
    value = find_text(file)
    return Unavailable(reason=f"the kernel does not report {what}") if value is None else value


def _microcode() -> str | Unavailable:
    for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "microcode":
            return value.strip()
    return Unavailable(reason="the kernel does not report the microcode version")


class EnvironmentWatch:
    """A watch that reads the host's state before, during and after an encode."""

    def __init__(
        self,
        on_sample: Callable[[HostSample], None] = unavailable_sample,
        loops: LoopRegistry | None = None,
    ) -> None:
        """Start the watch.

        Args:
            on_sample: A function that receives a sample of the processors once a second.
            loops: The registry of the agent's loops, if the watch belongs to one.
        """
        self._load_before = os.getloadavg()[0]
        self._memory_available = psutil.virtual_memory().available
        self._start_s = time.monotonic()
        self._started_at = datetime.now(UTC)
        self._cpus = os.sched_getaffinity(0)
        self._throttles = throttle_counts(cpus=self._cpus)
        self._cgroup = cgroup_counts()
        self._stalled = {resource: stalled_us(resource) for resource in _RESOURCES}
        self._host_tuning = host_tuning()
        self._times_before = CpuTimes.now()
        self._slot = SlotWatch()
        self._sampler = HostSampler(on_sample, loops)

    def finish(self) -> Environment:
        """End the watch and return the environment since its creation."""
        slot = self._slot.finish()
        times = CpuTimes.now().since(self._times_before)
        elapsed_s = time.monotonic() - self._start_s
        sampled = self._sampler.finish()
        throttled = cgroup_counts().throttled_periods
        affinity = sorted(os.sched_getaffinity(0))
        return Environment(
            kernel=platform.release(),
            cpu_model=cpu_model(),
            cpu_governor=cpu_governor(),
            cpu_frequency_mhz=sampled.frequency_mean_mhz,
            load_before=self._load_before,
            steal_ratio=times.steal_s / times.total_s if times.total_s > 0 else 0.0,
            memory_available_bytes=self._memory_available,
            cpu_count=os.cpu_count() or len(os.sched_getaffinity(0)),
            cpu_busy_s=times.busy_s,
            cpu_frequency_min_mhz=sampled.frequency_min_mhz,
            temperature_start_celsius=sampled.temperature_start_celsius,
            temperature_max_celsius=sampled.temperature_max_celsius,
            throttle_events=self._throttle_events(),
            throttled_periods=_difference(
                throttled, self._cgroup.throttled_periods, "the slot's CPU quota"
            ),
            cpu_pressure_ratio=self._pressure("cpu", elapsed_s),
            memory_pressure_ratio=self._pressure("memory", elapsed_s),
            io_pressure_ratio=self._pressure("io", elapsed_s),
            turbo=cpu_turbo(),
            smt=_reported(CPU_TREE / "smt/control", "whether SMT is enabled"),
            cpu_affinity=",".join(str(cpu) for cpu in affinity),
            microcode=_microcode(),
            numa_nodes=numa_nodes(affinity),
            host_tuning=_if_unchanged(self._host_tuning, host_tuning()),
            slot=slot,
            measured_at=self._started_at,
        )

    def cancel(self) -> None:
        """End the watch without a result. Do nothing if it has ended."""
        self._sampler.finish()

    def _throttle_events(self) -> int | Unavailable:
        now = throttle_counts(cpus=self._cpus)
        if not now or now.keys() != self._throttles.keys():
            return Unavailable(reason="the kernel does not count thermal throttling")
        return sum(now.values()) - sum(self._throttles.values())

    def _pressure(self, resource: str, elapsed_s: float) -> float | Unavailable:
        stalled = _difference(stalled_us(resource), self._stalled[resource], "pressure stalls")
        return stalled if isinstance(stalled, Unavailable) else max(stalled, 0) / 1e6 / elapsed_s


def _if_unchanged(before: str | Unavailable, now: str | Unavailable) -> str | Unavailable:
    if before == now:
        return now
    return Unavailable(reason="the tuning of the host changed during the encode")


def _difference(now: int | None, before: int | None, what: str) -> int | Unavailable:
    if now is None or before is None:
        return Unavailable(reason=f"the kernel does not count {what}")
    return now - before
