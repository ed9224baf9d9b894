"""How long tasks of the host waited for what they needed (the kernel's pressure stalls)."""

from pathlib import Path

PRESSURE = Path("/proc/pressure")


def stalled_us(resource: str, folder: Path = PRESSURE) -> int | None:
    """Return the microseconds since boot in which some task waited for `resource`.

    `resource` is cpu, memory or io. None means that the kernel does not say.
    """
    try:
        lines = (folder / resource).read_text(encoding="ascii").splitlines()
    except OSError:
        # A kernel may have the files and refuse to read them (psi=0).
        return None
    for line in lines:
        kind, *fields = line.split()
        totals = [field.removeprefix("total=") for field in fields if field.startswith("total=")]
        if kind == "some" and totals:
            return int(totals[0])
    return None
