"""State of the host and of the slot during a measurement."""

import msgspec

from ffrtmp_shared.constrained_types import Amount, Count, Moment, Real, Text
from ffrtmp_shared.unavailable import UNKNOWN, Unavailable

NODE_EXCLUSIVE = "exclusive"
"""The use of a node by a job, while no other job can run on it."""


NODE_SHARED = "shared"
"""The use of a node by a job, while other jobs can run on it."""


class SlotEnvironment(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="measured",
    tag_field="status",
):
    """State of the CPUs that the slot may use, and of the slot's own tasks, during the encode.

    `cpus` is the number of CPUs that were online and on which the slot may run. `quota_cpus` is the
    CPU time that the slot may use per second. `busy_s` is the CPU time of all processes on these
    CPUs in `duration_s` seconds, including the encode itself.

    `steal_ratio` is the time that the hypervisor took from these CPUs, divided by the time in which
    they had work. If the quota is lower than the latter, it is divided by the quota. The pressure
    ratios are the fractions of time in which at least one task of the slot waited for CPU, memory
    or disk.
    """

    cpus: Count
    quota_cpus: Amount | Unavailable
    duration_s: Amount
    busy_s: Amount
    steal_ratio: Amount
    cpu_pressure_ratio: Amount | Unavailable
    memory_pressure_ratio: Amount | Unavailable
    io_pressure_ratio: Amount | Unavailable

    @property
    def entitled_s(self) -> float:
        """The CPU time that the slot may use in `duration_s` seconds."""
        if isinstance(self.quota_cpus, Unavailable):
            return self.cpus * self.duration_s
        return min(self.cpus, self.quota_cpus) * self.duration_s


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State of the host before and during the encode.

    `load_before` is the 1-minute load average at the start of the encode. `steal_ratio` is the
    fraction of all CPU time during the encode that the hypervisor used for other purposes.
    `cpu_busy_s` is the CPU time of all processes of the host during the encode, including the
    encode itself, on all `cpu_count` CPUs. `throttle_events` is the number of thermal throttling
    events of the slot's cores and packages. `throttled_periods` is the number of scheduler periods
    in which the slot had used up its CPU quota.

    The pressure ratios are the fractions of time in which at least one task of the host waited for
    CPU, memory or disk. Frequencies and temperatures are sampled once a second. `cpu_affinity`
    lists the CPUs that the encode was allowed to use, and `numa_nodes` lists the NUMA nodes of
    these CPUs. `host_tuning` is `on` if the farm's tuning of the host was active during the whole
    encode. `source_cached_ratio` is the fraction of the source that was in the page cache at the
    start. `slot` describes only the part of the host that the encode was allowed to use.
    `node_use` is `exclusive` if no other job could run on the node at the same time, and otherwise
    `shared`. `measured_at` is the time of the start, according to the clock of the host.
    """

    kernel: Text
    cpu_model: Text
    cpu_governor: Text | Unavailable
    cpu_frequency_mhz: Amount | Unavailable
    load_before: Amount
    steal_ratio: Amount
    memory_available_bytes: Count
    cpu_count: Count | Unavailable = UNKNOWN
    cpu_busy_s: Amount | Unavailable = UNKNOWN
    cpu_frequency_min_mhz: Amount | Unavailable = UNKNOWN
    temperature_start_celsius: Real | Unavailable = UNKNOWN
    temperature_max_celsius: Real | Unavailable = UNKNOWN
    throttle_events: Count | Unavailable = UNKNOWN
    throttled_periods: Count | Unavailable = UNKNOWN
    cpu_pressure_ratio: Amount | Unavailable = UNKNOWN
    memory_pressure_ratio: Amount | Unavailable = UNKNOWN
    io_pressure_ratio: Amount | Unavailable = UNKNOWN
    turbo: Text | Unavailable = UNKNOWN
    smt: Text | Unavailable = UNKNOWN
    cpu_affinity: Text | Unavailable = UNKNOWN
    microcode: Text | Unavailable = UNKNOWN
    numa_nodes: Text | Unavailable = UNKNOWN
    host_tuning: Text | Unavailable = UNKNOWN
    source_cached_ratio: Amount | Unavailable = UNKNOWN
    slot: SlotEnvironment | Unavailable = UNKNOWN
    measured_at: Moment | Unavailable = UNKNOWN
    node_use: Text | Unavailable = UNKNOWN
