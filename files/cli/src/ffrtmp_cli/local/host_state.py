"""State of this computer that affects measurements: energy counters, battery and clock."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ffrtmp_worker.kernel_files import find_text

_POWER_SUPPLIES = Path("/sys/class/power_supply")
_POWERCAP = Path("/sys/class/powercap")
_CPUS = Path("/sys/devices/system/cpu")

_REASONS = {
    "throttled": "the processor was throttled because of heat or a power limit. Let the computer "
    "cool down, and connect its power supply",
    "other-load": "other programs used the processor. Close them, or start the command when the "
    "computer is idle",
    "steal": "other virtual machines used the processor. Repeat the run at another time",
    "quota": "the CPU quota of this session was exhausted. Run the command outside of the limit",
    "memory-pressure": "memory was short. Close other programs",
    "io-pressure": "the disk was busy. Close other programs, or set XDG_STATE_HOME to a directory "
    "on a faster disk",
    "short": "encodes took less than a second. Use a longer clip or slower settings",
}
"""Explanations and remedies for the reasons of verdicts on a personal computer."""


def _zones(tree: Path) -> list[Path]:
    return sorted(tree.glob("intel-rapl:*/energy_uj"))


def has_readable_energy(tree: Path = _POWERCAP) -> bool:
    """Return whether this user can read all energy counters, of which there is at least one."""
    zones = _zones(tree)
    return bool(zones) and all(os.access(zone, os.R_OK) for zone in zones)


def energy_remark(tree: Path = _POWERCAP) -> str | None:
    """Return why energy is unavailable, with the command that enables it, or None."""
    zones = _zones(tree)
    if not zones:
        return "Energy is unavailable: the kernel offers no energy counter on this computer."
    if has_readable_energy(tree):
        return None
    return (
        "Energy is unavailable, because only root may read its counters. To permit all users to "
        f"read them until the next start: sudo chmod a+r {tree}/intel-rapl:*/energy_uj"
    )


def power_remarks(supplies: Path = _POWER_SUPPLIES, cpus: Path = _CPUS) -> Iterator[str]:
    """Yield what limits the clock of the processor: a battery as the supply, or its governor.

    Args:
        supplies: The kernel's directory of power supplies.
        cpus: The kernel's directory of CPUs.
    """
    if _is_on_battery(supplies):
        yield (
            "This computer runs on its battery, so its processor may be slower and may be "
            "throttled. Connect the power supply for comparable speeds."
        )
    governors = {find_text(file) for file in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    preferences = {
        find_text(file) for file in cpus.glob("cpu[0-9]*/cpufreq/energy_performance_preference")
    }
    # Where the driver has preferences, the governor powersave adapts the clock to the load.
    known = preferences - {None}
    if "power" in known or (not known and "powersave" in governors):
        yield (
            "The processor is set to save power. For comparable speeds, select the power profile "
            "for performance: powerprofilesctl set performance"
        )


def _is_on_battery(supplies: Path) -> bool:
    """Return whether there is a battery that discharges, and no other supply that is online."""
    found = {folder: find_text(folder / "type") for folder in sorted(supplies.glob("*"))}
    if any(
        kind in ("Mains", "USB") and find_text(folder / "online") == "1"
        for folder, kind in found.items()
    ):
        return False
    return any(
        kind == "Battery"
        and find_text(folder / "scope") != "Device"
        and find_text(folder / "status") == "Discharging"
        for folder, kind in found.items()
    )


def disturbance_remarks(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what disturbed a run, for each reason of its verdicts, and what to do.

    Args:
        rows: The rows of the table of results.
    """
    codes: dict[str, None] = {}
    for row in rows:
        codes.update(dict.fromkeys([*row["invalid_reasons"], *row["degraded_reasons"]]))
    return [f"{code}: {_REASONS[code]}." for code in codes if code in _REASONS]
