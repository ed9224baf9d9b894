"""The command `ffrtmp-exporter-gpu`: metrics of the host's NVIDIA GPUs."""

import sys
from collections.abc import Callable, Iterable, Sequence

import msgspec
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from prometheus_client.core import (
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ffrtmp_worker.exporters.availability import Availability
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
        "Fraction of NVML's last sampling period in which a unit of the GPU was busy",
        "ratio",
        "unit",
        {
            "sm": "sm_ratio",
            "memory": "memory_ratio",
            "encoder": "encoder_ratio",
            "decoder": "decoder_ratio",
        },
    ),
    Family("ffrtmp_gpu_encoder_sessions", "Open NVENC sessions", "", "",
            {"": "encoder_sessions"}),
    Family("ffrtmp_gpu_encoder_frames_per_second", "Mean frame rate of the NVENC sessions",
            "frames_per_second", "",
            {"": "encoder_fps"}),
    Family("ffrtmp_gpu_encoder_latency_seconds", "Mean latency of the NVENC sessions", "seconds",
            "", {"": "encoder_latency_s"}),
    Family(
        "ffrtmp_gpu_clock_hertz",
        "Current clock frequencies of the GPU",
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
    Family("ffrtmp_gpu_memory_total_bytes", "Total memory", "bytes", "",
            {"": "memory_total_bytes"}),
    Family("ffrtmp_gpu_temperature_celsius", "Temperature of the GPU", "celsius", "",
            {"": "temperature_celsius"}),
)  # fmt: skip

_COUNTERS = (
    Family("ffrtmp_gpu_energy_joules", "Energy used, from the GPU's own counter", "joules", "",
            {"": "energy_j"}),
    Family("ffrtmp_gpu_ecc_errors", "Memory errors", "", "type",
            {"corrected": "ecc_corrected", "uncorrected": "ecc_uncorrected"}),
)  # fmt: skip


class _Total:
    """Monotonic total of a counter that restarts from 0 when the driver is loaded again."""

    def __init__(self) -> None:
        self._before = 0.0
        self._last = 0.0

    def update(self, count: float) -> float:
        if count < self._last:
            self._before += self._last
        self._last = count
        return self._before + count


class GpuCollector(Collector):
    """Reads the GPUs at each scrape. A value that a GPU does not provide has no sample."""

    def __init__(self, read: Callable[[], Gpus]) -> None:
        """Expose the GPUs that `read` returns."""
        self._read = read
        self._totals: dict[tuple[str, str], _Total] = {}
        self._availability = Availability(
            "ffrtmp_gpu_available", "ffrtmp_gpu_failure", "Whether the host has a usable GPU"
        )

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics."""
        found = self._read()
        yield from self._availability.metrics(
            is_available=bool(found.gpus), word=found.failure, reason=found.reason
        )
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
            "Whether the clocks are throttled, by reason",
            labels=["gpu", "reason"],
        )
        for gpu in found.gpus:
            for reason, is_active in gpu.throttled.items():
                throttled.add_metric([gpu.uuid, reason], float(is_active))
        yield throttled

    def _totals_of(self, gpu: Gpu) -> dict[str, float]:
        return {
            field: self._totals.setdefault((gpu.uuid, field), _Total()).update(gpu.values[field])
            for family in _COUNTERS
            for field in family.values.values()
            if field in gpu.values
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    settings = read_settings("ffrtmp-exporter-gpu", arguments, GpuExporterSettings)
    try:
        serve_until_stopped("gpu", {"gpu": GpuCollector(Nvml().read)}, settings.exporter)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ffrtmp-exporter-gpu: {error}\n")
        return 1
    return 0
