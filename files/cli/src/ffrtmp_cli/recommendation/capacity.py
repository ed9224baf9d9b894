"""Capacity of a host: CPUs, memory, disk and frequency control."""

import shutil
from pathlib import Path

import msgspec
from ffrtmp_client.cpu_assignment import Host, read_host
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.kernel_files import find_int, find_text
from ffrtmp_worker.measure.environment import cpu_governor
from ffrtmp_worker.measure.host_files import HostFiles

from ffrtmp_cli.diagnosis.memory_findings import memory_info


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Resources of a host that its slots share.

    Attributes:
        host: The CPUs, cores and memory nodes.
        fast_cpus: The CPUs of the fastest type, or all CPUs if there is only one type.
        memory_bytes: The memory of the host, or None if it is unknown.
        free_bytes: The free space on the disk of the worker's data.
        has_frequency_control: Whether the governor of the CPUs can be set.
        has_cgroup_v2: Whether the control groups have version 2.
    """

    host: Host
    fast_cpus: frozenset[int]
    memory_bytes: int | None
    free_bytes: int
    has_frequency_control: bool
    has_cgroup_v2: bool

    @property
    def is_hybrid(self) -> bool:
        """Return whether the host has a hybrid CPU, with cores of different types."""
        return self.fast_cpus != self.host.online

    @property
    def fast_host(self) -> Host:
        """The host with only the CPUs of the fastest type."""
        cores = tuple(core for core in self.host.cores if core.cpu in self.fast_cpus)
        return Host(self.fast_cpus, cores, self.host.memory_nodes)


def read_capacity(files: HostFiles, data_dir: Path) -> Capacity:
    """Read the capacity of a host.

    Args:
        files: The kernel's files.
        data_dir: The directory of the worker's data, which need not exist yet.

    Raises:
        PinningError: The kernel's description of the CPUs cannot be read.
        OSError: The disk cannot be read.
    """
    host = read_host(files.sys / "devices/system")
    tree = files.sys / "devices/system/cpu"
    existing = next(path for path in (data_dir, *data_dir.absolute().parents) if path.exists())
    return Capacity(
        host=host,
        fast_cpus=_fast_cpus(files.sys, host),
        memory_bytes=memory_info(files.proc / "meminfo").get("MemTotal"),
        free_bytes=shutil.disk_usage(existing).free,
        has_frequency_control=not isinstance(cpu_governor(tree), Unavailable),
        has_cgroup_v2=(files.cgroups / "cgroup.controllers").exists(),
    )


def _fast_cpus(sys: Path, host: Host) -> frozenset[int]:
    """Return the CPUs of the fastest type according to the kernel.

    Arm kernels report the relative capacity of each CPU, and Intel's list the performance cores.
    """
    capacities = {
        cpu: capacity
        for cpu in host.online
        if (capacity := find_int(sys / f"devices/system/cpu/cpu{cpu}/cpu_capacity")) is not None
    }
    if capacities.keys() == host.online:
        highest = max(capacities.values())
        return frozenset(cpu for cpu, capacity in capacities.items() if capacity == highest)
    listed = find_text(sys / "devices/cpu_core/cpus")
    if listed:
        return _cpu_numbers(listed) & host.online or host.online
    return host.online


def _cpu_numbers(text: str) -> frozenset[int]:
    """Return the numbers in the kernel's notation, such as 0-3,8. Other texts have none."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
