"""Places at which the kernel describes the host and this process."""

import os
from pathlib import Path

import msgspec


class HostFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's file systems, and the CPUs that this process may use according to the kernel.

    Tests use the files of simulated hosts.
    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    affinity: frozenset[int] = msgspec.field(
        default_factory=lambda: frozenset(os.sched_getaffinity(0))
    )

    @property
    def own_cgroup(self) -> Path:
        """The file that names the control groups of this process."""
        return self.proc / "self/cgroup"

    @property
    def cgroups(self) -> Path:
        """The folder of the control groups."""
        return self.sys / "fs/cgroup"
