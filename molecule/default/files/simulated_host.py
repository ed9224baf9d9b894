#!/usr/bin/python3
"""Imitate the files of a physical host's kernel, for metrics that a test machine does not have.

The files below the directory in the first argument imitate /sys: energy counters (powercap), a
sensor of the temperature (thermal), the frequencies and the throttling of CPUs (cpu), and the
control group of an agent (cgroup). Those that the kernel provides itself are left out, except the
energy counters. The power and the temperature follow the load of the host.
"""

import sys
import time
from pathlib import Path

# An encode of a test can be shorter than a tenth of a second.
ENERGY_INTERVAL_S = 0.02
LOAD_INTERVAL_S = 0.2
IDLE_W, BUSY_W, MEMORY_W = 10.0, 40.0, 3.0
IDLE_CELSIUS, BUSY_CELSIUS = 40.0, 25.0
PACKAGE_RANGE_UJ, MEMORY_RANGE_UJ = 262_143_328_850, 65_532_610_987
CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")


def write(file: Path, content: object) -> None:
    """Replace a file atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.write_text(f"{content}\n", encoding="ascii")
    new.replace(file)


def copy_cpus(target: Path) -> None:
    """Copy the kernel's files of CPUs, and add the frequencies and the throttling of each."""
    folders = [CPUS, CPUS / "smt", *CPUS.glob("cpu[0-9]*"), *CPUS.glob("cpu[0-9]*/topology")]
    for folder in folders:
        copied = target / folder.relative_to(CPUS)
        copied.mkdir(parents=True, exist_ok=True)
        for item in folder.iterdir():
            if item.name.startswith("node"):
                (copied / item.name).mkdir(exist_ok=True)
            elif item.is_file():
                try:
                    content = item.read_bytes()
                except OSError:
                    # The file is only for writing.
                    continue
                (copied / item.name).write_bytes(content)
    for cpu in target.glob("cpu[0-9]*"):
        for name, khz in (("min", 800_000), ("cur", 2_500_000), ("max", 3_600_000)):
            write(cpu / f"cpufreq/scaling_{name}_freq", khz)
        write(cpu / "cpufreq/scaling_governor", "performance")
        for place in ("package", "core"):
            write(cpu / f"thermal_throttle/{place}_throttle_count", 0)


def read_cpu_times() -> tuple[float, float]:
    """Return the busy and the total time of all CPUs since the host booted, in ticks."""
    first, _, _ = Path("/proc/stat").read_text(encoding="ascii").partition("\n")
    times = [float(value) for value in first.split()[1:9]]
    idle = times[3] + times[4]
    return sum(times) - idle, sum(times)


def main(root: Path) -> None:
    """Write the files that do not change, and then update the others."""
    package, memory = root / "powercap/intel-rapl:0", root / "powercap/intel-rapl:0:0"
    for zone, name, range_uj in (
        (package, "package-0", PACKAGE_RANGE_UJ),
        (memory, "dram", MEMORY_RANGE_UJ),
    ):
        write(zone / "name", name)
        write(zone / "max_energy_range_uj", range_uj)
    has_sensor = any(Path("/sys/class/hwmon").glob("hwmon*/temp*_input"))
    has_cgroups = (CGROUPS / "cgroup.controllers").exists()
    if not (CPUS / "cpu0/cpufreq").exists():
        copy_cpus(root / "cpu")
    package_uj = memory_uj = slot_us = ratio = 0.0
    at_s = load_at_s = time.monotonic()
    busy, total = read_cpu_times()
    while True:
        write(package / "energy_uj", int(package_uj) % PACKAGE_RANGE_UJ)
        write(memory / "energy_uj", int(memory_uj) % MEMORY_RANGE_UJ)
        time.sleep(ENERGY_INTERVAL_S)
        now_s = time.monotonic()
        elapsed_us = (now_s - at_s) * 1e6
        at_s = now_s
        package_uj += elapsed_us * (IDLE_W + BUSY_W * ratio)
        memory_uj += elapsed_us * MEMORY_W
        slot_us += elapsed_us * ratio
        if now_s - load_at_s < LOAD_INTERVAL_S:
            continue
        load_at_s = now_s
        now_busy, now_total = read_cpu_times()
        ratio = (now_busy - busy) / max(now_total - total, 1.0)
        busy, total = now_busy, now_total
        if not has_sensor:
            zone = root / "thermal/thermal_zone0"
            write(zone / "type", "x86_pkg_temp")
            write(zone / "temp", int(1000 * (IDLE_CELSIUS + BUSY_CELSIUS * ratio)))
        if not has_cgroups:
            group = root / "cgroup/system.slice/ffrtmp-agent@1.service"
            write(group / "cpu.stat", f"user_usec {int(slot_us)}\nsystem_usec 0")
            write(group / "memory.current", 2**28)
            write(group / "memory.peak", 2**29)


main(Path(sys.argv[1]))
