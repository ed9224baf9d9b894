"""An imitation of the kernel's powercap files, with counters that tests advance."""

from pathlib import Path

RANGE_UJ = 262_143_328_850
"""The usual range of the counter of an Intel package, about 262 kJ."""


class Powercap:
    """A folder with a subfolder for each zone."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        tree.mkdir(exist_ok=True)

    def add(self, folder: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> None:
        """Add a zone."""
        zone = self.tree / folder
        zone.mkdir()
        (zone / "name").write_text(f"{name}\n", encoding="ascii")
        (zone / "max_energy_range_uj").write_text(f"{range_uj}\n", encoding="ascii")
        self.set(folder, energy_uj)

    def set(self, folder: str, energy_uj: int) -> None:
        """Set the counter of a zone atomically."""
        new = self.tree / folder / "new"
        new.write_text(f"{energy_uj}\n", encoding="ascii")
        new.replace(self.tree / folder / "energy_uj")

    def use(self, folder: str, energy_uj: int) -> None:
        """Advance the counter of a zone, which wraps around at the end of its range."""
        zone = self.tree / folder
        range_uj = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
        before = int((zone / "energy_uj").read_text(encoding="ascii"))
        self.set(folder, (before + energy_uj) % range_uj)

    @property
    def folders(self) -> list[str]:
        """The names of all zones' folders."""
        return sorted(folder.name for folder in self.tree.iterdir())


def two_sockets(tree: Path) -> Powercap:
    """Create the zones of a host with two sockets.

    Each package has zones for its parts and its memory, and a second zone over MMIO. There is also
    a zone psys for the whole host.
    """
    cap = Powercap(tree)
    for socket in (0, 1):
        cap.add(f"intel-rapl:{socket}", f"package-{socket}", RANGE_UJ - 5_000_000 - socket)
        cap.add(f"intel-rapl:{socket}:0", "core", 111 + socket)
        cap.add(f"intel-rapl:{socket}:1", "uncore", 222 + socket)
        cap.add(f"intel-rapl:{socket}:2", "dram", 333 + socket, 65_532_610_987)
        cap.add(f"intel-rapl-mmio:{socket}", f"package-{socket}", 444 + socket)
    cap.add("intel-rapl:2", "psys", 555)
    return cap
