"""The kernel's energy counters (powercap), made to count on where they wrap around."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

POWERCAP = Path("/sys/class/powercap")

_MICRO = 1e-6


class EnergyReading(msgspec.Struct, frozen=True, kw_only=True):
    """Joules per zone since this program started, or why there are none."""

    joules: dict[str, float]
    reason: str


class EnergyCounters:
    """Reads the package zones and the DRAM zones; parts of a package are not added to it.

    A counter that wrapped around twice between two readings looks as if it had done so once;
    at 200 W the usual range lasts some 20 minutes, so it is to be read more often than that.
    """

    def __init__(self, tree: Path = POWERCAP) -> None:
        """Read the zones below `tree`."""
        self._tree = tree
        self._last: dict[Path, int] = {}
        self._total: dict[str, float] = {}

    def read(self) -> EnergyReading:
        """Count on from the reading before; zones that cannot be read are left out."""
        zones = sorted(set(_zones(self._tree)))
        if not zones:
            return EnergyReading(joules={}, reason="the kernel offers no energy counter")
        seen: dict[str, float] = {}
        for name, zone in zones:
            try:
                now = int((zone / "energy_uj").read_text(encoding="ascii"))
                wrap = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
            except PermissionError:
                return EnergyReading(joules={}, reason="the energy counters may not be read")
            except (OSError, ValueError):
                continue
            used = now - self._last.get(zone, now)
            self._last[zone] = now
            self._total[name] = self._total.get(name, 0.0) + (used % (wrap + 1)) * _MICRO
            seen[name] = self._total[name]
        return EnergyReading(joules=seen, reason="" if seen else "no energy counter can be read")


def _zones(tree: Path) -> Iterator[tuple[str, Path]]:
    """Give name and folder of each package and its DRAM, each real zone once.

    `intel-rapl-mmio` offers the same packages a second time, and `psys` holds the packages.
    """
    for folder in tree.glob("intel-rapl:*"):
        name = _read_name(folder)
        if name.startswith("package-"):
            yield name, folder
        elif name == "dram":
            yield f"{_read_name(folder.parent / folder.name.rpartition(':')[0])}-dram", folder


def _read_name(folder: Path) -> str:
    try:
        return (folder / "name").read_text(encoding="ascii").strip()
    except OSError:
        return ""
