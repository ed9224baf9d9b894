"""Resource use of each slot of this host, read from the control group of its service."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_worker.kernel_files import find_int, find_text

CGROUPS = Path("/sys/fs/cgroup")

# systemd places the instances of a template unit in their own slice below the one for services.
_PLACES = ("*.slice/ffrtmp-agent@*.service", "*.slice/*.slice/ffrtmp-agent@*.service")
_UNIT = re.compile(r"ffrtmp-agent@([1-9][0-9]{0,3})\.service")
_US_PER_S = 1e6


class SlotUseCollector(Collector):
    """Reads the slots' control groups at each scrape. Each contains an agent and its FFmpeg.

    Only the unified hierarchy (cgroup v2) is supported; a host with cgroup v1 has no values. If
    the service of a slot is not running, the slot has no control group and therefore no values.
    """

    def __init__(self, cgroups: Path = CGROUPS) -> None:
        """Search for the slots below `cgroups`."""
        self._cgroups = cgroups

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        seconds = CounterMetricFamily(
            "ffrtmp_slot_cpu_seconds",
            "CPU time of a slot (agent and FFmpeg) since its service was started",
            labels=["slot", "mode"],
            unit="seconds",
        )
        throttled_periods = CounterMetricFamily(
            "ffrtmp_slot_cpu_throttled_periods",
            "Scheduler periods in which a slot had used up its CPU quota",
            labels=["slot"],
        )
        throttled_seconds = CounterMetricFamily(
            "ffrtmp_slot_cpu_throttled_seconds",
            "Time for which a slot was throttled because its CPU quota was used up",
            labels=["slot"],
            unit="seconds",
        )
        memory = GaugeMetricFamily(
            "ffrtmp_slot_memory_bytes",
            "Current memory of a slot, with the files that the kernel caches for it",
            labels=["slot"],
            unit="bytes",
        )
        peak = GaugeMetricFamily(
            "ffrtmp_slot_memory_peak_bytes",
            "Peak memory of a slot since its service was started",
            labels=["slot"],
            unit="bytes",
        )
        for slot, folder in _slots(self._cgroups).items():
            cpu = _counts(folder / "cpu.stat")
            for mode in ("user", "system"):
                _add(seconds, [slot, mode], cpu.get(f"{mode}_usec"), _US_PER_S)
            _add(throttled_periods, [slot], cpu.get("nr_throttled"))
            _add(throttled_seconds, [slot], cpu.get("throttled_usec"), _US_PER_S)
            _add(memory, [slot], find_int(folder / "memory.current"))
            _add(peak, [slot], find_int(folder / "memory.peak"))
        return (seconds, throttled_periods, throttled_seconds, memory, peak)


def _slots(cgroups: Path) -> Mapping[str, Path]:
    """Return the control group of each slot whose service is running, by the slot's number."""
    found = {}
    for place in _PLACES:
        for folder in cgroups.glob(place):
            named = _UNIT.fullmatch(folder.name)
            if named is not None:
                found[named[1]] = folder
    return dict(sorted(found.items()))


def _add(
    metric: CounterMetricFamily | GaugeMetricFamily,
    labels: list[str],
    count: int | None,
    per_unit: float = 1.0,
) -> None:
    if count is not None:
        metric.add_metric(labels, count / per_unit)


def _counts(file: Path) -> dict[str, int]:
    """Return the numbers in a file by their names; the result is empty if it is unreadable."""
    pairs = (line.partition(" ") for line in (find_text(file) or "").splitlines())
    return {name: int(number) for name, _, number in pairs if number.isdecimal()}
