"""Time for which tasks were stalled on a resource (pressure stall information)."""

from pathlib import Path

from ffrtmp_worker.kernel_files import find_text

PRESSURE = Path("/proc/pressure")


def stalled_us(resource: str, folder: Path = PRESSURE) -> int | None:
    """Return for how many microseconds since boot some task of the host was stalled.

    `resource` is cpu, memory or io. The value is None if the kernel does not report it.
    """
    return _some_total_us(folder / resource)


def group_stalled_us(resource: str, group: Path | None) -> int | None:
    """Return for how many microseconds some task of a control group was stalled.

    Args:
        resource: The resource: cpu, memory or io.
        group: The folder of the control group, or None if it is unknown.

    Returns:
        The time since the group was created, or None if the kernel does not report it; only
        control groups of version 2 have it.
    """
    return None if group is None else _some_total_us(group / f"{resource}.pressure")


def _some_total_us(file: Path) -> int | None:
    # If the kernel was booted with psi=0, the files may exist, but reading them fails.
    for line in (find_text(file) or "").splitlines():
        kind, *fields = line.split()
        totals = [field.removeprefix("total=") for field in fields if field.startswith("total=")]
        if kind == "some" and totals and totals[0].isdecimal():
            return int(totals[0])
    return None
