"""Judgement of the memory and of the power supply."""

from pathlib import Path

from ffrtmp_worker.kernel_files import find_int, find_text

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.finding import Finding, Status

_BYTES_PER_KIB = 1024
_GIB = 1024**3
MIN_MEMORY_BYTES = _GIB
"""An encode of 1080 lines with its quality pass needs about 1 GiB."""

GOOD_MEMORY_BYTES = 3 * _GIB
"""An encode of 2160 lines needs 2 to 3 GiB."""


def check_memory(host: DiagnosedHost) -> Finding:
    """Check the memory that is available to programs without swapping."""
    values = memory_info(host.files.proc / "meminfo")
    available = values.get("MemAvailable")
    if available is None:
        return Finding(
            id="memory",
            status=Status.UNAVAILABLE,
            found="the kernel does not report the available memory",
        )
    text = f"{available / _GIB:.1f} of {values.get('MemTotal', 0) / _GIB:.1f} GiB are available"
    if available >= GOOD_MEMORY_BYTES:
        return Finding(id="memory", status=Status.OK, found=text)
    return Finding(
        id="memory",
        status=Status.WARNING if available >= MIN_MEMORY_BYTES else Status.FAULT,
        found=text,
        remedy="end other programs, or encode small clips: 2160 lines need 2 to 3 GiB, 1080 lines "
        "about 1 GiB",
    )


def check_power(host: DiagnosedHost) -> list[Finding]:
    """Check the power supply and the power profile of the firmware."""
    return [_supply(host.files.sys / "class/power_supply"), _profile(host.files.sys)]


def memory_info(file: Path) -> dict[str, int]:
    """Return the values of /proc/meminfo in bytes."""
    found = {}
    for line in (find_text(file) or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdecimal():
            found[name] = int(words[0]) * _BYTES_PER_KIB
    return found


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
