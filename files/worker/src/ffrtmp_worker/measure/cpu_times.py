"""CPU time since boot: total, idle and stolen."""

from collections.abc import Collection
from typing import Self

import msgspec
import psutil


class CpuTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Total, idle and stolen time, summed over several CPUs, in seconds."""

    total_s: float
    idle_s: float
    steal_s: float

    @classmethod
    def now(cls, cpus: Collection[int] | None = None) -> Self:
        """Read the times of `cpus`, or of all CPUs."""
        total_s = idle_s = steal_s = 0.0
        for cpu, times in enumerate(psutil.cpu_times(percpu=True)):
            if cpus is not None and cpu not in cpus:
                continue
            fields = times._asdict()
            # The kernel already includes the time of guests in user and nice.
            total_s += sum(v for name, v in fields.items() if not name.startswith("guest"))
            idle_s += fields["idle"] + fields.get("iowait", 0.0)
            steal_s += fields.get("steal", 0.0)
        return cls(total_s=total_s, idle_s=idle_s, steal_s=steal_s)

    def since(self, before: "CpuTimes") -> "CpuTimes":
        """Return the times spent since `before`, or 0 if the kernel counted backwards."""
        return CpuTimes(
            total_s=max(self.total_s - before.total_s, 0.0),
            idle_s=max(self.idle_s - before.idle_s, 0.0),
            steal_s=max(self.steal_s - before.steal_s, 0.0),
        )
