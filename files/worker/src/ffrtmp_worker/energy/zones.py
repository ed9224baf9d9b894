"""Selection of the kernel's energy zones, so that each physical zone is counted once.

    intel-rapl:0            package-0   counted
    intel-rapl:0:0          core        part of the package, ignored
    intel-rapl:0:1          uncore      part of the package, ignored
    intel-rapl:0:2          dram        not part of the package, counted
    intel-rapl:1            psys        the whole platform, including the packages, ignored
    intel-rapl:2            dram        memory beside the packages, counted
    intel-rapl-mmio:0       package-0   the same package through another interface, ignored

AMD processors have the same tree. If a package has several dies, the kernel may provide one zone
for each die, although all of these zones read the single counter of the package.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from ffrtmp_worker.kernel_files import KernelFileError, read_int, read_text

POWERCAP = Path("/sys/class/powercap")

_CONTROL_TYPES = ("intel-rapl", "intel-rapl-mmio")
_MIRROR_CHECKS = 3
_MIRROR_CHECK_INTERVAL_S = 0.1


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone, whose counter runs from 0 to `range_uj` microjoules and then restarts at 0."""

    name: str
    folder: Path
    range_uj: int

    def read_uj(self) -> int:
        """Return the value of the counter, in microjoules. Raises KernelFileError if that fails."""
        return read_int(self.folder / "energy_uj")


def find_zones(tree: Path, pause: Callable[[float], None] = time.sleep) -> list[Zone]:
    """Return the zones below `tree` whose sum is the energy of the host's processors.

    Args:
        tree: the kernel's tree of energy zones.
        pause: a function that waits for a number of seconds.

    Returns:
        The zones, each of which is counted once.

    Raises:
        KernelFileError: there are no zones, or a zone cannot be read, in which case the sum of the
            other zones would be mistaken for the total.
    """
    zones: dict[str, Zone] = {}
    for control in _CONTROL_TYPES:
        for folder in sorted(tree.glob(f"{control}:*")):
            name = _name(folder)
            # If several interfaces have the same zone, the first one is used.
            if name and name not in zones:
                range_uj = read_int(folder / "max_energy_range_uj")
                if range_uj <= 0:
                    raise KernelFileError(f"{folder / 'max_energy_range_uj'} is {range_uj}")
                zones[name] = Zone(name=name, folder=folder, range_uj=range_uj)
    if not zones:
        raise KernelFileError("the kernel offers no energy counter")
    return _without_mirrors(list(zones.values()), pause)


def _name(folder: Path) -> str:
    """Return the name of a zone, or an empty string if the zone is not counted."""
    name = read_text(folder / "name")
    if name.startswith("package-"):
        return name
    if name == "dram":
        control, _, number = folder.name.rpartition(":")
        if ":" not in control:
            # The memory has a zone of its own beside the packages.
            return f"dram-{number}"
        return f"{read_text(folder.parent / control / 'name')}-dram"
    return ""


def _without_mirrors(zones: Sequence[Zone], pause: Callable[[float], None]) -> list[Zone]:
    """Return the zones without those that read the same counter as an earlier zone.

    Each pair is read in the order first, second, first. If the second value is always between the
    other two, both zones read the same counter: two different counters do not remain within a few
    microjoules of each other while both advance.
    """
    readings_of: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for check in range(_MIRROR_CHECKS):
        if check:
            pause(_MIRROR_CHECK_INTERVAL_S)
        for first, second in _pairs(zones):
            readings = (first.read_uj(), second.read_uj(), first.read_uj())
            readings_of.setdefault((first.name, second.name), []).append(readings)
    mirrored = {
        second
        for (_, second), checks in readings_of.items()
        if all(before <= between <= after for before, between, after in checks)
        and len({between for _, between, _ in checks}) == len(checks)
    }
    return [zone for zone in zones if zone.name not in mirrored]


def _pairs(zones: Sequence[Zone]) -> Iterable[tuple[Zone, Zone]]:
    for position, first in enumerate(zones):
        for second in zones[position + 1 :]:
            if first.range_uj == second.range_uj:
                yield first, second
