"""Effects of resource limits on this slot, read from the counters of its control group."""

import math
import os
from pathlib import Path

import msgspec

from ffrtmp_worker.kernel_files import find_int, find_text

_OWN = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


class CgroupCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start of the slot's service.

    A count that the host does not provide is None.

    Attributes:
        throttled_periods: The number of scheduler periods in which the slot exhausted its CPU
            quota.
        oom_kills: The number of processes that the kernel killed because memory was exhausted.
        limit_hits: How often the memory limit of the slot, not the memory of the host, was
            exhausted.
    """

    throttled_periods: int | None
    oom_kills: int | None
    limit_hits: int | None


class MemoryLimit:
    """The memory limit of the slot.

    `was_hit` tells whether a process has been killed at the limit since this object was created.
    """

    def __init__(self, own: Path = _OWN, cgroups: Path = _CGROUPS) -> None:
        """Record the current counts, for comparison."""
        self._own, self._cgroups = own, cgroups
        self._before = cgroup_counts(own, cgroups)

    def __str__(self) -> str:
        """Return a description of the size of the limit."""
        folder = _places(self._own, self._cgroups).get("memory")
        limits = (_text(folder, name) for name in ("memory.max", "memory.limit_in_bytes"))
        limit = next((text for text in limits if text.isdigit()), None)
        return "of unknown size" if limit is None else f"of {limit} bytes"

    def was_hit(self) -> bool:
        """Return whether a process was killed at the slot's limit, not because of host memory."""
        now = cgroup_counts(self._own, self._cgroups)
        return all(
            before is not None and after is not None and after > before
            for before, after in (
                (self._before.oom_kills, now.oom_kills),
                (self._before.limit_hits, now.limit_hits),
            )
        )


def cgroup_counts(own: Path = _OWN, cgroups: Path = _CGROUPS) -> CgroupCounts:
    """Read the counts of the control group that this process is in.

    Both the unified hierarchy (version 2) and the older one, which has a tree for each controller,
    are supported.
    """
    places = _places(own, cgroups)
    return CgroupCounts(
        throttled_periods=_count(places.get("cpu"), "cpu.stat", "nr_throttled"),
        oom_kills=_first(
            _count(places.get("memory"), "memory.events", "oom_kill"),
            _count(places.get("memory"), "memory.oom_control", "oom_kill"),
        ),
        limit_hits=_first(
            _count(places.get("memory"), "memory.events", "oom"),
            # The older hierarchy also counts hits that were resolved by dropping page cache.
            _number(places.get("memory"), "memory.failcnt"),
        ),
    )


def quota_cpus(own: Path = _OWN, cgroups: Path = _CGROUPS) -> float | None:
    """Return the number of CPUs whose time this process may use, or None if it has no CPU quota.

    The quota of a group also limits the groups below it, so the smallest one applies.
    """
    folder = _places(own, cgroups).get("cpu")
    if folder is None:
        return None
    # In a container, the root of the hierarchy is the group of the container.
    groups = [folder, *(parent for parent in folder.parents if parent.is_relative_to(cgroups))]
    return min((quota for quota in map(_quota, groups) if quota is not None), default=None)


def usable_cpus(own: Path = _OWN, cgroups: Path = _CGROUPS) -> int:
    """Return the number of CPUs that this process can keep busy: its affinity, within its quota.

    The affinity includes the CPUs that the slot's service allows.
    """
    cpus = len(os.sched_getaffinity(0))
    quota = quota_cpus(own, cgroups)
    return cpus if quota is None else max(min(cpus, math.ceil(quota)), 1)


def unified_group(own: Path = _OWN, cgroups: Path = _CGROUPS) -> Path | None:
    """Return the folder of this process's control group of version 2, or None if it has none."""
    for line in (find_text(own) or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            root = cgroups if (cgroups / "cgroup.controllers").exists() else cgroups / "unified"
            return root / path.lstrip("/")
    return None


def _quota(folder: Path) -> float | None:
    """Return the quota of a control group, in CPUs, or None if it has none."""
    # Version 2 has both numbers in one file: "200000 100000", or "max 100000" without a quota.
    words = _text(folder, "cpu.max").split() or [
        _text(folder, "cpu.cfs_quota_us"),
        _text(folder, "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not all(word.isdecimal() for word in words):  # noqa: PLR2004
        return None
    quota_us, period_us = int(words[0]), int(words[1])
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _places(own: Path, cgroups: Path) -> dict[str, Path]:
    """Return the folders of the controllers `cpu` and `memory`."""
    found: dict[str, Path] = {}
    unified = unified_group(own, cgroups)
    for line in (find_text(own) or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            if name in ("cpu", "memory"):
                found[name] = cgroups / controllers / path.lstrip("/")
    if unified is not None:
        for name in ("cpu", "memory"):
            found.setdefault(name, unified)
    return found


def _count(folder: Path | None, file: str, key: str) -> int | None:
    lines = _text(folder, file).splitlines()
    values = (line.split()[1] for line in lines if line.split()[:1] == [key])
    return next((int(value) for value in values), None)


def _number(folder: Path | None, file: str) -> int | None:
    return None if folder is None else find_int(folder / file)


def _text(folder: Path | None, file: str) -> str:
    """Return the content of a file, or "" if it cannot be read."""
    return "" if folder is None else find_text(folder / file) or ""


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
