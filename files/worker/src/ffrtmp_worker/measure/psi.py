"""Time for which tasks of the host were stalled on a resource (pressure stall information)."""

from pathlib import Path

from ffrtmp_worker.kernel_files import find_text

PRESSURE = Path("/proc/pressure")


def stalled_us(resource: str, folder: Path = PRESSURE) -> int | None:
    """Return for how many microseconds since boot some task was stalled on `resource`.

    `resource` is cpu, memory or io. The value is None if the kernel does not report it.
    """
    # If the kernel was booted with psi=0, the files may exist, but reading them fails.
    for line in (find_text(folder / resource) or "").splitlines():
        kind, *fields = line.split()
        totals = [field.removeprefix("total=") for field in fields if field.startswith("total=")]
        if kind == "some" and totals:
            return int(totals[0])
    return None
