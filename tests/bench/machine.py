"""Description of the computer that ran the benchmark."""

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.reference import syncs_per_s

_DIRTY = "-dirty"
_IN_MEMORY = {"tmpfs", "ramfs"}


class NotADiskError(Exception):
    """Raised if the folder of the benchmark is in memory, where nothing is durable."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Description of the computer, its disk, and the measured commit."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    system: str
    python: str
    sqlite: str
    filesystem: str
    syncs_per_s: float
    load_before: float
    commit: str
    at: str

    @property
    def is_dirty(self) -> bool:
        """Return whether the measured files differ from those of the commit."""
        return self.commit.endswith(_DIRTY)


def describe(folder: Path, root: Path) -> Machine:
    """Describe this computer and the disk of `folder`.

    Raises:
        NotADiskError: The folder is in memory.
    """
    filesystem = _filesystem(folder)
    if filesystem in _IN_MEMORY:
        raise NotADiskError(f"{folder} is on {filesystem}: name a folder on a disk")
    # The load is read before the benchmark starts, so that only other programs contribute to it.
    load_before = os.getloadavg()[0]
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        kernel=platform.release(),
        system=platform.freedesktop_os_release()["PRETTY_NAME"],
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        filesystem=filesystem,
        syncs_per_s=syncs_per_s(folder),
        load_before=load_before,
        commit=_commit(root),
        at=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """Return the type of the file system that contains a folder.

    If several mount points are parents of the folder, the longest one belongs to its file system.
    """
    path = folder.resolve()
    mounts = (line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    holding = [(point, kind) for point, kind in mounts if path.is_relative_to(point)]
    return max(holding, key=lambda mount: len(mount[0]))[1]


def _commit(root: Path) -> str:
    """Return the current commit, with a suffix if there are uncommitted changes.

    Changes in docs do not count, because the benchmark itself writes its records there.
    """
    commit = _git(root, "rev-parse", "--short=12", "HEAD").stdout.strip()
    if not commit:
        return "unknown"
    changed = _git(root, "diff", "--quiet", "HEAD", "--", ".", ":(exclude)docs").returncode
    return commit + (_DIRTY if changed else "")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments],  # noqa: S607 - found in PATH
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
