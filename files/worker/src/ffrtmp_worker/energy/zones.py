"""Which of the kernel's energy zones are to be added up, each real one once.

    intel-rapl:0            package-0   counts
    intel-rapl:0:0          core        is part of the package
    intel-rapl:0:1          uncore      is part of the package
    intel-rapl:0:2          dram        stands beside the package and counts
    intel-rapl:1            psys        holds packages and more besides
    intel-rapl-mmio:0       package-0   the same package over another interface

AMD's processors have the same tree. Where a package has several dies, the kernel may offer one
zone for each that all read the package's one counter.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

POWERCAP = Path("/sys/class/powercap")

_CONTROL_TYPES = ("intel-rapl", "intel-rapl-mmio")
_LOOKS = 3
_LOOK_APART_S = 0.1


class UnreadableZoneError(Exception):
    """A zone's counter cannot be read."""


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """One counter. It runs from 0 to `range_uj` microjoules and then begins anew."""

    name: str
    folder: Path
    range_uj: int

    def read_uj(self) -> int:
        """Read the counter, in microjoules; raises UnreadableZoneError."""
        return _number(self.folder / "energy_uj")


def find_zones(tree: Path, pause: Callable[[float], None] = time.sleep) -> list[Zone]:
    """Return the zones below `tree` whose energy adds up to that of the host's processors.

    `pause` waits for so many seconds. Raises UnreadableZoneError with the reason when there are
    none, or when one of them may not be read: a part would pass for the whole.
    """
    zones: dict[str, Zone] = {}
    for control in _CONTROL_TYPES:
        for folder in sorted(tree.glob(f"{control}:*")):
            name = _name(folder)
            # The first interface that has a zone is the one that is read.
            if name and name not in zones:
                range_uj = _number(folder / "max_energy_range_uj")
                zones[name] = Zone(name=name, folder=folder, range_uj=range_uj)
    if not zones:
        raise UnreadableZoneError("the kernel offers no energy counter")
    return _without_mirrors(list(zones.values()), pause)


def _name(folder: Path) -> str:
    """Return what a zone that counts is called, or nothing for the others."""
    name = _text(folder / "name")
    if name.startswith("package-"):
        return name
    if name == "dram":
        return f"{_text(folder.parent / folder.name.rpartition(':')[0] / 'name')}-dram"
    return ""


def _without_mirrors(zones: Sequence[Zone], pause: Callable[[float], None]) -> list[Zone]:
    """Leave out zones that read the same counter as one before them.

    A counter that is read between two readings of another, and always has a value between
    theirs, is the other: two that merely stand close do not stay within a few microjoules of each
    other while both move on.
    """
    seen: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for look in range(_LOOKS):
        if look:
            pause(_LOOK_APART_S)
        for first, second in _pairs(zones):
            readings = (first.read_uj(), second.read_uj(), first.read_uj())
            seen.setdefault((first.name, second.name), []).append(readings)
    mirrored = {
        second
        for (_, second), looks in seen.items()
        if all(before <= between <= after for before, between, after in looks)
        and len({between for _, between, _ in looks}) == len(looks)
    }
    return [zone for zone in zones if zone.name not in mirrored]


def _pairs(zones: Sequence[Zone]) -> Iterable[tuple[Zone, Zone]]:
    for place, first in enumerate(zones):
        for second in zones[place + 1 :]:
            if first.range_uj == second.range_uj:
                yield first, second


def _number(file: Path) -> int:
    try:
        return int(_text(file))
    except ValueError as error:
        raise UnreadableZoneError(f"{file} holds no number") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise UnreadableZoneError(f"{file} may not be read") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableZoneError(f"{file} cannot be read: {error}") from error
