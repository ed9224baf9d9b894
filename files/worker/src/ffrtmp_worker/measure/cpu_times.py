"""CPU time since boot: total, idle and stolen."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

import msgspec

_PROC = Path("/proc")
CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""Names of the fields of a CPU that are added. The kernel already includes the time of guests, in
the two fields after them, in user and nice."""

_FIELDS = len(CPU_MODES)

_IDLE, _IOWAIT, _STEAL = 3, 4, 7


class CpuUse(msgspec.Struct, frozen=True, kw_only=True):
    """Total, idle and stolen time of `cpus` CPUs in a period, in seconds.

    `busy_s` is the CPU time of all processes.
    """

    cpus: int
    total_s: float
    idle_s: float
    steal_s: float
    busy_s: float


class CpuTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Times of each CPU that is online, by its number. The kernel's units are ticks."""

    ticks: Mapping[int, tuple[int, ...]]

    @classmethod
    def now(cls, cpus: Collection[int] | None = None, proc: Path = _PROC) -> Self:
        """Read the times of `cpus`, or of all CPUs. CPUs that are offline are left out.

        Raises OSError if the kernel's file cannot be read.
        """
        found: dict[int, tuple[int, ...]] = {}
        with (proc / "stat").open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                name, *fields = line.split()
                number = name.removeprefix("cpu")
                # A CPU is identified by its name: if CPU 1 is offline, CPU 2 is in the second line.
                if name.startswith("cpu") and number.isdecimal():
                    cpu = int(number)
                    if cpus is None or cpu in cpus:
                        found[cpu] = tuple(int(field) for field in fields[:_FIELDS])
        return cls(ticks=found)

    def since(self, before: "CpuTimes") -> CpuUse:
        """Return the times since `before` of all CPUs that were online at both times.

        If the kernel counted backwards, the time is 0.
        """
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        common = self.ticks.keys() & before.ticks.keys()
        total = idle = steal = 0
        for cpu in common:
            spent = [
                max(now - then, 0)
                for now, then in zip(self.ticks[cpu], before.ticks[cpu], strict=True)
            ]
            total += sum(spent)
            idle += spent[_IDLE] + spent[_IOWAIT]
            steal += spent[_STEAL]
        return CpuUse(
            cpus=len(common),
            total_s=total / ticks_per_s,
            idle_s=idle / ticks_per_s,
            steal_s=steal / ticks_per_s,
            busy_s=(total - idle - steal) / ticks_per_s,
        )
