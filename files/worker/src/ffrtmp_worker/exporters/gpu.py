"""The command `ffrtmp-exporter-gpu`: what the host's NVIDIA GPUs do and use."""

import sys
from collections.abc import Callable, Iterable, Sequence

import msgspec
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ffrtmp_worker.exporters.families import Family
from ffrtmp_worker.measure.nvml import Gpu, Gpus, Nvml
from ffrtmp_worker.service_settings import read_settings


class GpuExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exporter's settings file."""

    exporter: ExporterSettings
    log_level: str = "info"


_GAUGES = (
    Family("ffrtmp_gpu_power_watts", "Power of the board", "watts", "", {"": "power_w"}),
    Family(
        "ffrtmp_gpu_utilization_ratio",
        "Part of NVML's last sampling period in which a unit of the GPU worked",
        "ratio",
        "unit",
        {
            "sm": "sm_ratio",
            "memory": "memory_ratio",
            "encoder": "encoder_ratio",
            "decoder": "decoder_ratio",
        },
    ),
    Family("ffrtmp_gpu_encoder_sessions", "Open sessions of NVENC", "", "",
            {"": "encoder_sessions"}),
    Family("ffrtmp_gpu_encoder_frames_per_second", "Mean rate of NVENC's sessions", "", "",
            {"": "encoder_fps"}),
    Family("ffrtmp_gpu_encoder_latency_seconds", "Mean latency of NVENC's sessions", "seconds",
            "", {"": "encoder_latency_s"}),
    Family(
        "ffrtmp_gpu_clock_hertz",
        "Clocks of the GPU now",
        "hertz",
        "domain",
        {
            "graphics": "clock_graphics_hz",
            "sm": "clock_sm_hz",
            "memory": "clock_memory_hz",
            "video": "clock_video_hz",
        },
    ),
    Family("ffrtmp_gpu_memory_used_bytes", "Memory in use", "bytes", "",
            {"": "memory_used_bytes"}),
    Family("ffrtmp_gpu_memory_total_bytes", "Memory that there is", "bytes", "",
            {"": "memory_total_bytes"}),
    Family("ffrtmp_gpu_temperature_celsius", "Temperature of the GPU", "celsius", "",
            {"": "temperature_celsius"}),
)  # fmt: skip

_COUNTERS = (
    Family("ffrtmp_gpu_energy_joules", "Energy used, by the GPU's own counter", "joules", "",
            {"": "energy_j"}),
    Family("ffrtmp_gpu_ecc_errors", "Memory errors", "", "type",
            {"corrected": "ecc_corrected", "uncorrected": "ecc_uncorrected"}),
)  # fmt: skip


class _Total:
    """A counter that begins anew with its driver, as one that only grows."""

    def __init__(self) -> None:
        self._before = 0.0
        self._last = 0.0

    def at(self, counted: float) -> float:
        if counted < self._last:
            self._before += self._last
        self._last = counted
        return self._before + counted


class GpuCollector(Collector):
    """Reads the GPUs at each scrape. What a GPU does not know has no value, never 0."""

    def __init__(self, read: Callable[[], Gpus]) -> None:
        """Take the GPUs from `read`."""
        self._read = read
        self._totals: dict[tuple[str, str], _Total] = {}

    def collect(self) -> Iterable[Metric]:
        """Give all metrics."""
        found = self._read()
        available = GaugeMetricFamily(
            "ffrtmp_gpu_available", "Whether there is a GPU, and if not, why", labels=["reason"]
        )
        available.add_metric([found.reason], 1.0 if found.gpus else 0.0)
        yield available
        info = InfoMetricFamily("ffrtmp_gpu", "Each GPU and its driver", labels=["gpu"])
        for gpu in found.gpus:
            info.add_metric(
                [gpu.uuid], {"index": str(gpu.index), "name": gpu.name, "driver": found.driver}
            )
        yield info
        rows = [(gpu.uuid, gpu.values) for gpu in found.gpus]
        yield from (family.gauge("gpu", rows) for family in _GAUGES)
        totals = [(gpu.uuid, self._totals_of(gpu)) for gpu in found.gpus]
        yield from (family.counter("gpu", totals) for family in _COUNTERS)
        throttled = GaugeMetricFamily(
            "ffrtmp_gpu_throttled",
            "Whether the clocks are held down, by reason",
            labels=["gpu", "reason"],
        )
        for gpu in found.gpus:
            for reason, holds in gpu.throttled.items():
                throttled.add_metric([gpu.uuid, reason], float(holds))
        yield throttled

    def _totals_of(self, gpu: Gpu) -> dict[str, float]:
        return {
            field: self._totals.setdefault((gpu.uuid, field), _Total()).at(gpu.values[field])
            for family in _COUNTERS
            for field in family.values.values()
            if field in gpu.values
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    settings = read_settings("ffrtmp-exporter-gpu", arguments, GpuExporterSettings)
    registry = CollectorRegistry()
    registry.register(GpuCollector(Nvml().read))
    try:
        serve_until_stopped("gpu", registry, settings.exporter)
    except OSError as error:
        sys.stderr.write(f"ffrtmp-exporter-gpu: {error}\n")
        return 1
    return 0
