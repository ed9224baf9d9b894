"""Watch of the CPUs that a slot may use, and of the time for which its own tasks were stalled."""

import time
from collections.abc import Callable

from ffrtmp_shared.host_environment import SlotEnvironment
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.measure.cgroup import quota_cpus, unified_group
from ffrtmp_worker.measure.cpu_times import CpuTimes
from ffrtmp_worker.measure.host_files import HostFiles
from ffrtmp_worker.measure.psi import group_stalled_us

_RESOURCES = ("cpu", "memory", "io")
_NO_QUOTA = Unavailable(reason="the slot has no CPU quota")
_NO_PRESSURE = Unavailable(reason="the kernel does not count pressure stalls of control groups")


class SlotWatch:
    """A watch of the slot from its creation until `finish`."""

    def __init__(
        self, host: HostFiles | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the watch.

        Args:
            host: The files of the host, by default those of the kernel.
            clock: A function that returns the time in seconds.
        """
        self._host = HostFiles() if host is None else host
        self._clock = clock
        self._group = unified_group(self._host.own_cgroup, self._host.cgroups)
        self._stalled_us = self._read_stalls()
        self._times = self._read_times()
        self._started_s = clock()

    def finish(self) -> SlotEnvironment | Unavailable:
        """Return the figures since the start."""
        duration_s = self._clock() - self._started_s
        use = self._read_times().since(self._times)
        if not use.cpus or duration_s <= 0:
            return Unavailable(reason="none of the CPUs that the slot may use was online")
        quota = quota_cpus(self._host.own_cgroup, self._host.cgroups)
        entitled_s = duration_s * (use.cpus if quota is None else min(use.cpus, quota))
        # CPU time can be stolen only while a CPU has work. An encode that keeps two of 64 CPUs
        # busy is slowed down by what is stolen from those two.
        wanted_s = min(entitled_s, use.busy_s + use.steal_s)
        stalls = self._read_stalls()
        pressure = {
            resource: self._pressure(self._stalled_us[resource], stalls[resource], duration_s)
            for resource in _RESOURCES
        }
        return SlotEnvironment(
            cpus=use.cpus,
            quota_cpus=_NO_QUOTA if quota is None else quota,
            duration_s=duration_s,
            busy_s=use.busy_s,
            steal_ratio=min(use.steal_s / wanted_s, 1.0) if wanted_s > 0 else 0.0,
            cpu_pressure_ratio=pressure["cpu"],
            memory_pressure_ratio=pressure["memory"],
            io_pressure_ratio=pressure["io"],
        )

    def _read_times(self) -> CpuTimes:
        return CpuTimes.now(self._host.affinity, self._host.proc)

    def _read_stalls(self) -> dict[str, int | None]:
        return {resource: group_stalled_us(resource, self._group) for resource in _RESOURCES}

    @staticmethod
    def _pressure(
        before_us: int | None, now_us: int | None, duration_s: float
    ) -> float | Unavailable:
        if before_us is None or now_us is None:
            return _NO_PRESSURE
        return max(now_us - before_us, 0) / 1e6 / duration_s
