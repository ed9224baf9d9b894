"""A simulated host: the kernel's files, and energy counters that follow the load."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_worker.energy.client import EnergyReading
from ffrtmp_worker.measure.host_files import HostFiles
from powercap import RANGE_UJ, Powercap

_STEP_S = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")
_LIMITS_W = {"constraint_0_power_limit_uw": 65, "constraint_1_power_limit_uw": 90}

Watts = Callable[[Sequence[int]], float]
"""The power of a zone, by the CPUs that are busy, in watts."""


def package_w(busy: Sequence[int]) -> float:
    """Return the power of a processor of a desktop computer."""
    return 10.0 + 8.0 * len(busy)


def part_of(factor: float, base_w: float = 0.0) -> Watts:
    """Return the power of a zone that depends on that of the processor."""
    return lambda busy: base_w + factor * package_w(busy)


ZONES: Mapping[str, tuple[str, Watts]] = {
    "intel-rapl:0": ("package-0", package_w),
    "intel-rapl:0:0": ("core", part_of(0.8)),
    "intel-rapl:0:1": ("uncore", part_of(0.0)),
    "intel-rapl:0:2": ("dram", part_of(0.05, 2.0)),
    "intel-rapl:1": ("psys", part_of(1.1, 15.0)),
    "intel-rapl-mmio:0": ("package-0", package_w),
}
"""The zones of a healthy host: their folders, names and power."""


class SimulatedHost:
    """A host whose time passes only in `pause` and `follow`."""

    def __init__(
        self,
        root: Path,
        *,
        zones: Mapping[str, tuple[str, Watts]] = ZONES,
        governor: str = "performance",
        driver: str = "acpi-cpufreq",
        has_limits: bool = True,
        cpus: int = 8,
        packages: int = 1,
        other_load: float = 0.01,
        first_uj: int = RANGE_UJ - 20_000_000,
    ) -> None:
        """Create the files of the host.

        Args:
            root: An empty folder.
            zones: The energy zones.
            governor: The governor of all CPUs.
            driver: The driver of frequency control.
            has_limits: Whether packages report their power limits.
            cpus: The number of CPUs.
            packages: The number of processors; their CPUs have alternating numbers.
            other_load: The part of each CPU that other programs use.
            first_uj: The first value of each counter; by default, counters soon wrap around.
        """
        self.root = root
        self._cpus = cpus
        self._zones = zones
        self._other_load = other_load
        self._now_s = 1000.0
        self._busy: Sequence[int] = ()
        self._busy_s = dict.fromkeys(range(cpus), 100.0)
        (root / "sys/class").mkdir(parents=True)
        (root / "dev").mkdir()
        self._powercap = Powercap(root / "sys/class/powercap")
        for number, (folder, (name, _)) in enumerate(zones.items()):
            self._powercap.add(folder, name, first_uj + number)
            if has_limits and name.startswith("package"):
                for file, watts in _LIMITS_W.items():
                    self._write(f"sys/class/powercap/{folder}/{file}", str(watts * 1_000_000))
        for cpu in range(cpus):
            folder = f"sys/devices/system/cpu/cpu{cpu}"
            self._write(f"{folder}/cpufreq/scaling_governor", governor)
            self._write(f"{folder}/cpufreq/scaling_driver", driver)
            self._write(f"{folder}/cpufreq/scaling_max_freq", "4500000")
            self._write(f"{folder}/cpufreq/cpuinfo_max_freq", "4500000")
            self._write(f"{folder}/topology/physical_package_id", str(cpu % packages))
            self._write(f"{folder}/topology/core_id", str(cpu))
            self._write(f"{folder}/thermal_throttle/core_throttle_count", "0")
        self._write("sys/devices/system/cpu/cpufreq/boost", "1")
        clock = "sys/devices/system/clocksource/clocksource0"
        self._write(f"{clock}/current_clocksource", "tsc")
        self._write(f"{clock}/available_clocksource", "tsc hpet acpi_pm")
        for resource in ("cpu", "memory", "io"):
            self._write(f"proc/pressure/{resource}", "some avg10=0.00 total=5\n")
        self._write("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\n")
        self._write_times()

    @property
    def host(self) -> DiagnosedHost:
        """The host as the diagnosis sees it."""
        return DiagnosedHost(
            files=HostFiles(
                proc=self.root / "proc",
                sys=self.root / "sys",
                affinity=frozenset(range(self._cpus)),
            ),
            dev=self.root / "dev",
            busy=self._keep_busy,
            clock=lambda: self._now_s,
            pause=self.pause,
            is_synchronized=lambda: True,
            read_gpu_energy=lambda: EnergyReading(
                monotonic_s=self._now_s, zones={}, gaps=0, reason="no GPU"
            ),
        )

    def pause(self, duration_s: float) -> None:
        """Let time pass: CPUs are busy, and counters advance."""
        self._now_s += duration_s
        for cpu in self._busy_s:
            self._busy_s[cpu] += duration_s * (1.0 if cpu in self._busy else self._other_load)
        self._write_times()
        for folder, (_, watts) in self._zones.items():
            self._powercap.use(folder, round(watts(self._busy) * duration_s * 1e6))

    def follow(self, program: subprocess.Popen[str]) -> None:
        """Let time pass until a program ends; each of its processes keeps a CPU busy."""
        process = psutil.Process(program.pid)
        before_s = time.monotonic()
        while program.poll() is None:
            with suppress(psutil.NoSuchProcess):
                self._busy = range(len(process.children()))
            # This is the resolution of the simulation, not a wait for a condition.
            time.sleep(_STEP_S)
            now_s = time.monotonic()
            self.pause(now_s - before_s)
            before_s = now_s

    @contextmanager
    def _keep_busy(self, cpus: Sequence[int]) -> Iterator[None]:
        self._busy = cpus
        yield
        self._busy = ()

    def _write_times(self) -> None:
        lines = []
        for cpu, busy_s in self._busy_s.items():
            idle_s = self._now_s - busy_s
            lines.append(f"cpu{cpu} {busy_s * _TICKS:.0f} 0 0 {idle_s * _TICKS:.0f} 0 0 0 0")
        self._write("proc/stat", "\n".join(lines))

    def _write(self, name: str, content: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        # A program may read the file at any time.
        new = file.with_name("new")
        new.write_text(f"{content}\n", encoding="ascii")
        new.replace(file)
