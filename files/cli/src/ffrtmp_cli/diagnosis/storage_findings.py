"""Judgement of the disk that stores sources and outputs."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from ffrtmp_worker.kernel_files import find_int

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.findings import Finding, Status

MIN_FREE_BYTES = 1_073_741_824
"""Free space below which a worker starts no job (worker_min_free_bytes)."""

GOOD_FREE_BYTES = 10 * MIN_FREE_BYTES
"""Space for the sources of a suite, which are cached, and for the output of an encode."""

MIN_BYTES_PER_S = 50_000_000
"""Twice the rate of a lossless encode of 1080 lines in real time."""

_GIB = 1024**3
_MIB = 1024**2
_CHUNK = bytes(_MIB)
_WRITE_S = 1.0
_WRITE_CHUNKS = 64


def check_storage(host: DiagnosedHost, directory: Path) -> list[Finding]:
    """Check free space, type and speed of the disk with `directory`.

    A temporary file of up to 64 MiB is written, for about a second. Raises OSError if the directory
    does not exist.
    """
    return [_space(directory), _type(host.files.sys, directory), _speed(directory)]


def _space(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    text = f"{free / _GIB:.1f} GiB are free in {directory}"
    if free >= GOOD_FREE_BYTES:
        return Finding(id="disk-space", status=Status.OK, found=text)
    return Finding(
        id="disk-space",
        status=Status.WARNING if free >= MIN_FREE_BYTES else Status.FAULT,
        found=text,
        remedy="free space, or choose another directory; below 1 GiB, no job is started",
    )


def _type(sys: Path, directory: Path) -> Finding:
    device = directory.stat().st_dev
    folder = sys / f"dev/block/{os.major(device)}:{os.minor(device)}"
    # A partition has no queue, but its parent has.
    candidates = (folder / "queue/rotational", folder.resolve().parent / "queue/rotational")
    # Virtual disks report any type.
    is_virtual = "/virtio" in str(folder.resolve())
    rotational = next((value for file in candidates if (value := find_int(file)) is not None), None)
    if rotational is None or is_virtual:
        return Finding(
            id="disk-type",
            status=Status.UNAVAILABLE,
            found=f"{directory} is not on a physical disk (network, virtual disk, overlay or RAM)",
        )
    if rotational:
        return Finding(
            id="disk-type",
            status=Status.WARNING,
            found=f"{directory} is on a rotating disk, whose speed varies",
            remedy="choose a directory on a solid-state disk",
        )
    return Finding(id="disk-type", status=Status.OK, found=f"{directory} is on a solid-state disk")


def _speed(directory: Path) -> Finding:
    try:
        bytes_per_s = _write_rate(directory)
    except OSError as error:
        return Finding(
            id="disk-speed",
            status=Status.FAULT,
            found=f"{directory} cannot be written: {error.strerror}",
            remedy="choose another directory with --directory",
        )
    text = f"writes {bytes_per_s / 1e6:.0f} MB/s"
    if bytes_per_s >= MIN_BYTES_PER_S:
        return Finding(id="disk-speed", status=Status.OK, found=text)
    return Finding(
        id="disk-speed",
        status=Status.WARNING,
        found=text,
        remedy="end programs that use the disk, or choose a faster one: encodes of large outputs "
        "wait for it",
    )


def _write_rate(directory: Path) -> float:
    """Write a temporary file for about a second, and return the rate in bytes per second."""
    with tempfile.TemporaryFile(dir=directory, prefix="ffrtmp-doctor-") as file:
        begin_s = time.monotonic()
        written = 0
        for _ in range(_WRITE_CHUNKS):
            written += file.write(_CHUNK)
            # Otherwise the rate would be that of the page cache.
            file.flush()
            os.fdatasync(file.fileno())
            if time.monotonic() - begin_s > _WRITE_S:
                break
        return written / (time.monotonic() - begin_s)
