"""The host that is checked."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from ffrtmp_worker.energy.client import EnergyReading
from ffrtmp_worker.measure.host_files import HostFiles
from ffrtmp_worker.measure.nvml import Nvml

from ffrtmp_cli.diagnosis.busy_load import busy_cpus
from ffrtmp_cli.diagnosis.clock_state import is_synchronized


class DiagnosedHost(msgspec.Struct, frozen=True, kw_only=True):
    """The host to check: its files and its functions. Tests use simulated hosts.

    Attributes:
        files: The kernel's files, and the CPUs that this process may use.
        dev: The folder of the devices.
        busy: A function that keeps each of the given CPUs busy until its context ends.
        clock: A function that returns the time in seconds.
        pause: A function that waits for a number of seconds.
        is_synchronized: A function that returns whether the clock is synchronized, or None if this
            is unknown.
        read_gpu_energy: A function that reads the energy counters of the GPUs.
    """

    files: HostFiles
    dev: Path = Path("/dev")
    busy: Callable[[Sequence[int]], AbstractContextManager[None]] = busy_cpus
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    is_synchronized: Callable[[], bool | None] = is_synchronized
    read_gpu_energy: Callable[[], EnergyReading] = msgspec.field(
        default_factory=lambda: Nvml().read_energy
    )

    @property
    def cpu_tree(self) -> Path:
        """The kernel's folder of CPUs."""
        return self.files.sys / "devices/system/cpu"

    @property
    def powercap(self) -> Path:
        """The kernel's folder of energy zones."""
        return self.files.sys / "class/powercap"
