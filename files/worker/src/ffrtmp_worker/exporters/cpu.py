"""The command `ffrtmp-exporter-cpu`: metrics of the processors and of each slot's use of them."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import psutil
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from ffrtmp_shared.loop_file import read_loop_file
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.value_rules import clean_text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_worker.energy.client import EnergyReading, loop_file, request_reading
from ffrtmp_worker.exporters.availability import Availability
from ffrtmp_worker.exporters.slots import SlotUseCollector
from ffrtmp_worker.kernel_files import find_int, find_text
from ffrtmp_worker.measure.cpu_times import CPU_MODES, CpuTimes
from ffrtmp_worker.measure.throttling import CPU_TREE, throttle_counts
from ffrtmp_worker.service_settings import read_settings

_log = logging.getLogger(__name__)

_HERTZ_PER_MHZ = 1e6
_HERTZ_PER_KHZ = 1e3
_PROC = Path("/proc")


class CpuExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exporter's settings file. `energy_socket` is the energy reader's socket."""

    exporter: ExporterSettings
    energy_socket: Path
    log_level: str = "info"


class CpuCollector(Collector):
    """Reads the host at each scrape. A value that the host does not provide has no sample."""

    def __init__(self, cpu_tree: Path = CPU_TREE, proc: Path = _PROC) -> None:
        """Read throttling counts and frequencies from `cpu_tree`, and other values from `proc`."""
        self._cpu_tree = cpu_tree
        self._proc = proc

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics."""
        yield _seconds(self._proc)
        yield _load()
        yield _frequencies(self._cpu_tree, self._proc)
        yield _temperatures()
        yield from _throttling(self._cpu_tree)


class EnergyCollector(Collector):
    """Reads the host's energy counters at each scrape. Power does not depend on scrapes."""

    def __init__(self, read_energy: Callable[[], EnergyReading]) -> None:
        """Read energy with `read_energy`."""
        self._read_energy = read_energy
        self._availability = Availability(
            "ffrtmp_energy_available",
            "ffrtmp_energy_failure",
            "Whether the host's energy counters can be read",
        )

    def collect(self) -> Iterable[Metric]:
        """Yield energy and power."""
        reading = self._read_energy()
        yield from self._availability.metrics(
            is_available=bool(reading.zones), word=reading.failure, reason=reading.reason
        )
        joules = CounterMetricFamily(
            "ffrtmp_energy_joules",
            "Energy used, by package and by its DRAM",
            labels=["zone"],
            unit="joules",
        )
        watts = GaugeMetricFamily(
            "ffrtmp_power_watts",
            "Power over the energy reader's last interval, by package and by its DRAM",
            labels=["zone"],
            unit="watts",
        )
        for name, zone in reading.zones.items():
            joules.add_metric([name], zone.joules)
            if zone.watts is not None:
                watts.add_metric([name], zone.watts)
        yield joules
        yield watts
        gaps = CounterMetricFamily(
            "ffrtmp_energy_gaps", "Periods in which energy could not be counted"
        )
        if reading.zones:
            gaps.add_metric([], reading.gaps)
        yield gaps


def _seconds(proc: Path) -> Metric:
    seconds = CounterMetricFamily(
        "ffrtmp_node_cpu_seconds",
        "CPU time since the host booted; steal is the time that the hypervisor gave to others",
        labels=["cpu", "mode"],
        unit="seconds",
    )
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    for number, ticks in CpuTimes.now(proc=proc).ticks.items():
        for mode, value in zip(CPU_MODES, ticks, strict=False):
            seconds.add_metric([str(number), mode], value / ticks_per_s)
    return seconds


def _load() -> Metric:
    load = GaugeMetricFamily(
        "ffrtmp_node_load_average", "Mean number of runnable tasks", labels=["minutes"]
    )
    for minutes, value in zip(("1", "5", "15"), os.getloadavg(), strict=True):
        load.add_metric([minutes], value)
    return load


def _frequencies(tree: Path, proc: Path) -> Metric:
    hertz = GaugeMetricFamily(
        "ffrtmp_node_cpu_frequency_hertz",
        "Current frequency of each CPU",
        labels=["cpu"],
        unit="hertz",
    )
    for number, value in sorted((_scaled_hertz(tree) or _listed_hertz(proc)).items()):
        hertz.add_metric([str(number)], value)
    return hertz


def _scaled_hertz(tree: Path) -> dict[int, float]:
    """Return the frequencies of the CPUs that can be read, by the number of the CPU."""
    files = tree.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    found_khz = {int(file.parts[-3].removeprefix("cpu")): find_int(file) for file in files}
    return {number: khz * _HERTZ_PER_KHZ for number, khz in found_khz.items() if khz}


def _listed_hertz(proc: Path) -> dict[int, float]:
    """Return the frequencies in the kernel's list of CPUs, by the number of the CPU."""
    found: dict[int, float] = {}
    number = None
    for line in (find_text(proc / "cpuinfo") or "").splitlines():
        key, _, value = (word.strip() for word in line.partition(":"))
        if key == "processor":
            number = int(value) if value.isdecimal() else None
        elif key == "cpu MHz" and number is not None:
            with suppress(ValueError):
                found[number] = float(value) * _HERTZ_PER_MHZ
    return found


def _temperatures() -> Metric:
    celsius = GaugeMetricFamily(
        "ffrtmp_node_temperature_celsius",
        "Temperatures reported by the host's sensors",
        labels=["chip", "sensor"],
        unit="celsius",
    )
    try:
        chips = psutil.sensors_temperatures()
    except (OSError, ValueError, RuntimeError) as error:
        _log.debug("the sensors cannot be read: %s", error)
        return celsius
    for chip, sensors in chips.items():
        for number, sensor in enumerate(sensors):
            # A label may contain bytes that are not UTF-8.
            label = clean_text(f"{number}:{sensor.label}")
            celsius.add_metric([clean_text(chip), label], sensor.current)
    return celsius


def _throttling(tree: Path) -> Iterable[Metric]:
    """Return the throttling counts of packages and of cores, which have separate sensors."""
    packages = CounterMetricFamily(
        "ffrtmp_node_package_throttles",
        "Number of times since boot that a package was throttled because of its temperature",
        labels=["package"],
    )
    cores = CounterMetricFamily(
        "ffrtmp_node_core_throttles",
        "Number of times since boot that a core was throttled because of its temperature",
        labels=["package", "core"],
    )
    for place, count in throttle_counts(tree).items():
        package, _, core = place.removeprefix("package").partition("-core")
        if core:
            cores.add_metric([package, core], count)
        else:
            packages.add_metric([package], count)
    return (packages, cores)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    settings = read_settings("ffrtmp-exporter-cpu", arguments, CpuExporterSettings)
    loops = partial(read_loop_file, loop_file(settings.energy_socket))
    collectors = {
        "cpu": CpuCollector(),
        "energy": EnergyCollector(lambda: request_reading(settings.energy_socket)),
        "energy_reader_loops": LoopCollector("ffrtmp_energy_reader", loops),
        "slots": SlotUseCollector(),
    }
    try:
        serve_until_stopped("cpu", collectors, settings.exporter)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ffrtmp-exporter-cpu: {error}\n")
        return 1
    return 0
