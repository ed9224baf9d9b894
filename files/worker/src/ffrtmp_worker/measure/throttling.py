"""Counts of thermal throttling of the processor."""

from pathlib import Path

CPU_TREE = Path("/sys/devices/system/cpu")


def throttle_counts(tree: Path = CPU_TREE) -> dict[str, int]:
    """Return the kernel's counts of throttling since boot, by core and by package.

    The CPUs of a core and the cores of a package share a counter, which is returned once. The
    result is empty if the kernel does not count throttling.
    """
    found: dict[str, int] = {}
    for cpu in sorted(tree.glob("cpu[0-9]*")):
        package = _number(cpu / "topology/physical_package_id")
        core = _number(cpu / "topology/core_id")
        counts = {
            f"package{package}": _number(cpu / "thermal_throttle/package_throttle_count"),
            f"package{package}-core{core}": _number(cpu / "thermal_throttle/core_throttle_count"),
        }
        found.update({name: count for name, count in counts.items() if count is not None})
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
