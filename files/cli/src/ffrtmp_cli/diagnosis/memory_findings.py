"""Judgement of the memory."""

from pathlib import Path

from ffrtmp_worker.kernel_files import find_text

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.findings import Finding, Status

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


def memory_info(file: Path) -> dict[str, int]:
    """Return the values of /proc/meminfo in bytes."""
    found = {}
    for line in (find_text(file) or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdecimal():
            found[name] = int(words[0]) * _BYTES_PER_KIB
    return found
