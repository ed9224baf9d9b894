"""Readings of the energy counters of a host while it is idle, partly busy and fully busy."""

from pathlib import Path

import msgspec
from ffrtmp_worker.energy.counter import Counts, EnergyCounter
from ffrtmp_worker.energy.zones import Zone
from ffrtmp_worker.kernel_files import KernelFileError, find_int, find_text
from ffrtmp_worker.measure.cpu_times import CpuTimes

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost

PHASE_S = 2.0
"""Duration of each phase, in seconds. Counters are updated every millisecond, so a reading is
uncertain by 0.05 % of it."""

_SETTLE_S = 0.3
"""Time for the processes of the load to start, and for the power to follow."""

_CONTROL_TYPES = ("intel-rapl", "intel-rapl-mmio")
_MAX_POWER_W = 1000.0
_UW_PER_W = 1e6
_UNLIMITED_W = 4000.0
"""Firmware sets a limit of about 4095 W to express that there is no limit."""
_LIMITING_CONSTRAINTS = (0, 1)
"""The long-term and the short-term limit; the third is that of peaks of less than 10 ms."""


class ZoneUse(msgspec.Struct, frozen=True, kw_only=True):
    """Power of a zone in each phase.

    Attributes:
        folder: The name of the zone's folder, such as intel-rapl:0:2.
        label: The kernel's name of the zone, such as package-0, core, dram or psys.
        is_counted: Whether the energy of results contains this zone.
        range_uj: The value at which the counter restarts, in microjoules.
        limit_w: The power limit that the processor enforces, in watts, or None if it is unknown.
        watts: The mean power in each phase, in watts.
    """

    folder: str
    label: str
    is_counted: bool
    range_uj: int
    limit_w: float | None
    watts: tuple[float, ...]

    @property
    def is_dead(self) -> bool:
        """Return whether the counter did not advance in any phase."""
        return not any(self.watts)

    @property
    def is_package(self) -> bool:
        """Return whether the zone covers a whole processor package."""
        return self.label.startswith("package-")

    @property
    def is_top(self) -> bool:
        """Return whether the zone has no parent zone."""
        return self.folder.count(":") == 1


class EnergyTrial(msgspec.Struct, frozen=True, kw_only=True):
    """Power of all zones while no CPU, a part of the CPUs and all CPUs were kept busy.

    `busy_cpus` contains the mean number of busy CPUs in each phase, including those that other
    programs used, and `loaded_cpus` is the number of CPUs that the load used in the last phase.
    """

    zones: tuple[ZoneUse, ...]
    busy_cpus: tuple[float, ...]
    loaded_cpus: int

    @property
    def counted_packages(self) -> tuple[ZoneUse, ...]:
        """The zones of processors that results contain."""
        return tuple(zone for zone in self.zones if zone.is_counted and zone.is_package)


def list_folders(powercap: Path) -> list[Path]:
    """Return the folders of all zones of processors."""
    return sorted(folder for control in _CONTROL_TYPES for folder in powercap.glob(f"{control}:*"))


def run_trial(host: DiagnosedHost, counted: list[Zone]) -> EnergyTrial:
    """Read all counters that can be read, in three phases of increasing load.

    In the second phase, only the CPUs of the first processor are busy, or half of them if there is
    only one. The power of processors differs then, so that counters of the same processor can be
    distinguished from those of different processors.

    Args:
        host: The host.
        counted: The zones whose sum is the energy of results.

    Returns:
        The power of all zones in each phase. Zones without a range are left out.

    Raises:
        KernelFileError: A counter cannot be read any more.
        OSError: The load cannot be started.
    """
    zones = _readable_zones(host.powercap)
    counter = EnergyCounter(zones, Counts(boot_id=""), max_power_w=_MAX_POWER_W, clock=host.clock)
    cpus = sorted(host.files.affinity)
    watts: list[dict[str, float]] = []
    busy: list[float] = []
    for loaded in ([], _first_part(host.cpu_tree, cpus), cpus):
        with host.busy(loaded):
            host.pause(_SETTLE_S)
            times, begin, begin_s = (
                CpuTimes.now(proc=host.files.proc),
                _joules(counter),
                host.clock(),
            )
            host.pause(PHASE_S)
            end, end_s = _joules(counter), host.clock()
            used = CpuTimes.now(proc=host.files.proc).since(times)
        watts.append({name: (end[name] - begin[name]) / (end_s - begin_s) for name in end})
        busy.append(used.busy_s / used.total_s * used.cpus if used.total_s else 0.0)
    is_counted = {zone.folder for zone in counted}
    return EnergyTrial(
        zones=tuple(
            ZoneUse(
                folder=zone.name,
                label=find_text(zone.folder / "name") or "",
                is_counted=zone.folder in is_counted,
                range_uj=zone.range_uj,
                limit_w=power_limit_w(zone.folder),
                watts=tuple(phase[zone.name] for phase in watts),
            )
            for zone in zones
        ),
        busy_cpus=tuple(busy),
        loaded_cpus=len(cpus),
    )


def power_limit_w(folder: Path) -> float | None:
    """Return the highest mean power over seconds that the processor allows itself, in watts.

    This is the larger of the long-term and the short-term limit. If the firmware disables the
    limits, it is three times the thermal design power (constraint_0_max_power_uw): processors of
    desktop computers without limits use up to about 2.5 times as much. The value is None if the
    kernel reports neither.
    """
    is_enforced = find_int(folder / "enabled") != 0
    limits_w = [
        value / _UW_PER_W
        for number in _LIMITING_CONSTRAINTS
        if (value := find_int(folder / f"constraint_{number}_power_limit_uw"))
    ]
    if is_enforced and limits_w and max(limits_w) < _UNLIMITED_W:
        return max(limits_w)
    design_uw = find_int(folder / "constraint_0_max_power_uw")
    return 3 * design_uw / _UW_PER_W if design_uw else None


def _first_part(tree: Path, cpus: list[int]) -> list[int]:
    """Return the CPUs of the first processor, or half of the CPUs if there is only one."""
    packages = {cpu: find_int(tree / f"cpu{cpu}/topology/physical_package_id") for cpu in cpus}
    first = [cpu for cpu in cpus if packages[cpu] == packages[cpus[0]]]
    return first if len(first) < len(cpus) else cpus[: max(len(cpus) // 2, 1)]


def _joules(counter: EnergyCounter) -> dict[str, float]:
    return {name: zone.joules for name, zone in counter.read(0.0).zones.items()}


def _readable_zones(powercap: Path) -> list[Zone]:
    found = []
    for folder in list_folders(powercap):
        range_uj = find_int(folder / "max_energy_range_uj") or 0
        zone = Zone(name=folder.name, folder=folder, range_uj=range_uj)
        try:
            zone.read_uj()
        except KernelFileError:
            continue
        if range_uj > 0:
            found.append(zone)
    return found
