"""How often the processor slowed itself down because it was too hot."""

from pathlib import Path

CPU_TREE = Path("/sys/devices/system/cpu")


def throttle_counts(tree: Path = CPU_TREE) -> dict[str, int]:
    """Return the kernel's counts of throttling since boot, by core and by package.

    CPUs of one core, and cores of one package, show the same counter: each is in the answer
    once. An empty answer means that the host does not count.
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
