"""Counts of thermal throttling of the processor."""

from collections.abc import Collection
from pathlib import Path

from ffrtmp_worker.kernel_files import find_int

CPU_TREE = Path("/sys/devices/system/cpu")


def throttle_counts(tree: Path = CPU_TREE, cpus: Collection[int] | None = None) -> dict[str, int]:
    """Return the kernel's counts of throttling since boot, by core and by package.

    The CPUs of a core and the cores of a package share a counter, which is returned once.

    Args:
        tree: The kernel's folder of CPUs.
        cpus: The CPUs whose cores and packages are counted, or None for all.

    Returns:
        The counts by name. They are empty if the kernel does not count throttling.
    """
    found: dict[str, int] = {}
    for cpu in sorted(tree.glob("cpu[0-9]*")):
        if cpus is not None and int(cpu.name.removeprefix("cpu")) not in cpus:
            continue
        package = find_int(cpu / "topology/physical_package_id")
        core = find_int(cpu / "topology/core_id")
        counts = {
            f"package{package}": find_int(cpu / "thermal_throttle/package_throttle_count"),
            f"package{package}-core{core}": find_int(cpu / "thermal_throttle/core_throttle_count"),
        }
        found.update({name: count for name, count in counts.items() if count is not None})
    return found
