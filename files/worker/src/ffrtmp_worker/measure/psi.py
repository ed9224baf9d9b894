"""Time in which tasks of the host were stalled on a resource (pressure stall information)."""

from pathlib import Path

PRESSURE = Path("/proc/pressure")


def stalled_us(resource: str, folder: Path = PRESSURE) -> int | None:
    """Return the microseconds since boot in which some task was stalled on `resource`.

    `resource` is cpu, memory or io. The value is None if the kernel does not report it.
    """
    try:
        lines = (folder / resource).read_text(encoding="ascii").splitlines()
    except OSError:
        # With psi=0 a kernel may have the files and refuse to read them.
        return None
    for line in lines:
        kind, *fields = line.split()
        totals = [field.removeprefix("total=") for field in fields if field.startswith("total=")]
        if kind == "some" and totals:
            return int(totals[0])
    return None
