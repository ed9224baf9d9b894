"""Judgement of the power supply and the power profile."""

from pathlib import Path

from ffrtmp_worker.kernel_files import find_int, find_text

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.findings import Finding, Status


def check_power(host: DiagnosedHost) -> list[Finding]:
    """Check the power supply and the power profile of the firmware."""
    return [_supply(host.files.sys / "class/power_supply"), _profile(host.files.sys)]


def _supply(tree: Path) -> Finding:
    supplies = {folder: find_text(folder / "type") for folder in sorted(tree.glob("*"))}
    # Mice and keyboards also have batteries, with the scope Device.
    batteries = [
        folder
        for folder, kind in supplies.items()
        if kind == "Battery" and find_text(folder / "scope") != "Device"
    ]
    if not batteries:
        return Finding(id="power-supply", status=Status.OK, found="the host has no battery")
    is_connected = any(
        find_int(folder / "online") == 1 for folder, kind in supplies.items() if kind != "Battery"
    )
    is_discharging = any(find_text(folder / "status") == "Discharging" for folder in batteries)
    if is_connected and not is_discharging:
        return Finding(id="power-supply", status=Status.OK, found="the power supply is connected")
    return Finding(
        id="power-supply",
        status=Status.WARNING,
        found="the host runs on battery" if is_discharging else "no power supply is connected",
        remedy="connect the power supply: on battery, firmware lowers the frequency",
    )


def _profile(sys: Path) -> Finding:
    profile = find_text(sys / "firmware/acpi/platform_profile")
    if profile is None:
        return Finding(
            id="power-profile",
            status=Status.UNAVAILABLE,
            found="the firmware has no power profile",
        )
    if profile in ("low-power", "quiet", "cool"):
        return Finding(
            id="power-profile",
            status=Status.WARNING,
            found=f"the firmware's power profile is {profile}",
            remedy="powerprofilesctl set performance",
        )
    return Finding(
        id="power-profile", status=Status.OK, found=f"the firmware's power profile is {profile}"
    )
