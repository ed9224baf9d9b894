"""Readings of the host's GPUs from NVIDIA's management library (NVML).

A driver may be loaded or unloaded, or lose a GPU, while the agent runs. A figure that a GPU does
not support has no value. The module pynvml is imported only on hosts with the driver's library, to
save memory on other hosts.
"""

import ctypes
import importlib
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from types import ModuleType
from typing import Any

import msgspec

from ffrtmp_worker.energy.client import EnergyReading, ZoneReading

_LIBRARY = "libnvidia-ml.so.1"
_RETRY_S = 30.0
_NO_LIBRARY = f"this host has no NVIDIA driver ({_LIBRARY})"
_NO_GPU = "the NVIDIA driver reports no GPU"

_HERTZ_PER_MHZ = 1e6
_PERCENT = 100.0

THROTTLE_REASONS = {
    "power_cap": "nvmlClocksThrottleReasonSwPowerCap",
    "hw_slowdown": "nvmlClocksThrottleReasonHwSlowdown",
    "sync_boost": "nvmlClocksThrottleReasonSyncBoost",
    "sw_thermal": "nvmlClocksThrottleReasonSwThermalSlowdown",
    "hw_thermal": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "power_brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}
"""Reasons why a GPU reduces its clocks, with NVML's constants. Idling is not included."""


class GpuFailure(StrEnum):
    """Causes for which there is no GPU, as fixed words for the labels of metrics."""

    NO_DRIVER = "no_driver"
    NO_GPU = "no_gpu"
    DRIVER_NOT_LOADED = "driver_not_loaded"
    DRIVER_MISMATCH = "driver_mismatch"
    """The library and the loaded kernel module have different versions."""
    NO_PERMISSION = "no_permission"
    GPU_LOST = "gpu_lost"
    DRIVER_ERROR = "driver_error"
    """Any other error that the driver reports; the log has its text."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A reading of one GPU.

    `values` contains the figures that the GPU supports, by their names in `_FIELDS`. `throttled`
    tells for each reason whether it currently reduces the clocks. It is empty if the GPU does not
    report reasons.
    """

    uuid: str
    index: int
    name: str
    values: Mapping[str, float]
    throttled: Mapping[str, bool]


class Gpus(msgspec.Struct, frozen=True, kw_only=True):
    """A reading of all GPUs.

    `reason` explains why there are none, and `failure` is the cause as a fixed word; otherwise they
    are "" and None.
    """

    driver: str
    gpus: tuple[Gpu, ...]
    reason: str
    failure: GpuFailure | None = None


_Field = Callable[[Any, Any], float]

_FIELDS: dict[str, _Field] = {
    "power_w": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3,
    # Counted since the driver was loaded; supported by Volta and later GPUs.
    "energy_j": lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3,
    "sm_ratio": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / _PERCENT,
    "memory_ratio": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).memory / _PERCENT,
    "encoder_ratio": lambda nvml, gpu: nvml.nvmlDeviceGetEncoderUtilization(gpu)[0] / _PERCENT,
    "decoder_ratio": lambda nvml, gpu: nvml.nvmlDeviceGetDecoderUtilization(gpu)[0] / _PERCENT,
    "encoder_sessions": lambda nvml, gpu: nvml.nvmlDeviceGetEncoderStats(gpu)[0],
    "encoder_fps": lambda nvml, gpu: nvml.nvmlDeviceGetEncoderStats(gpu)[1],
    # NVML reports microseconds.
    "encoder_latency_s": lambda nvml, gpu: nvml.nvmlDeviceGetEncoderStats(gpu)[2] / 1e6,
    "clock_graphics_hz": lambda nvml, gpu: _clock_hz(nvml, gpu, nvml.NVML_CLOCK_GRAPHICS),
    "clock_sm_hz": lambda nvml, gpu: _clock_hz(nvml, gpu, nvml.NVML_CLOCK_SM),
    "clock_memory_hz": lambda nvml, gpu: _clock_hz(nvml, gpu, nvml.NVML_CLOCK_MEM),
    "clock_video_hz": lambda nvml, gpu: _clock_hz(nvml, gpu, nvml.NVML_CLOCK_VIDEO),
    "memory_used_bytes": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    "memory_total_bytes": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total,
    "temperature_celsius": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(
        gpu, nvml.NVML_TEMPERATURE_GPU
    ),
    "ecc_corrected": lambda nvml, gpu: _ecc(nvml, gpu, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
    "ecc_uncorrected": lambda nvml, gpu: _ecc(nvml, gpu, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
}


class Nvml:
    """Client of NVML for the lifetime of this process. It is not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Use `clock`, in seconds, to wait half a minute after a failure before another try."""
        self._clock = clock
        self._nvml: ModuleType | None = None
        self._retry_at = -_RETRY_S
        self._reason = _NO_LIBRARY
        self._failure = GpuFailure.NO_DRIVER

    def read(self) -> Gpus:
        """Return all figures of the GPUs."""
        return self._query(_FIELDS)

    def read_energy(self) -> EnergyReading:
        """Return only the energy counters, with one zone for each GPU that has a counter."""
        found = self._query({"energy_j": _FIELDS["energy_j"]})
        zones = {
            f"{gpu.name} {gpu.uuid}": ZoneReading(joules=gpu.values["energy_j"], watts=None)
            for gpu in found.gpus
            if "energy_j" in gpu.values
        }
        reason = found.reason or ("" if zones else "no GPU of this host has an energy counter")
        return EnergyReading(monotonic_s=time.monotonic(), zones=zones, gaps=0, reason=reason)

    def has_gpus(self) -> bool:
        """Return whether the host has NVIDIA GPUs, even if they currently cannot be read."""
        found = self._query({})
        return bool(found.gpus) or found.reason not in (_NO_LIBRARY, _NO_GPU)

    def _query(self, fields: Mapping[str, _Field]) -> Gpus:
        nvml = self._open()
        if nvml is None:
            return self._unavailable()
        try:
            driver = nvml.nvmlSystemGetDriverVersion()
            gpus = tuple(_gpu(nvml, index, fields) for index in range(nvml.nvmlDeviceGetCount()))
        except nvml.NVMLError as error:
            self._close(nvml, str(error), _failure_of(nvml, error))
            return self._unavailable()
        known = tuple(gpu for gpu in gpus if gpu is not None)
        if len(known) < len(gpus):
            # A lost GPU may reappear under another index, so the library is initialized again.
            self._close(nvml, "a GPU was lost", GpuFailure.GPU_LOST)
        if not known:
            failure = GpuFailure.GPU_LOST if gpus else GpuFailure.NO_GPU
            return Gpus(driver=driver, gpus=(), reason=_NO_GPU, failure=failure)
        return Gpus(driver=driver, gpus=known, reason="")

    def _unavailable(self) -> Gpus:
        return Gpus(driver="", gpus=(), reason=self._reason, failure=self._failure)

    def _open(self) -> ModuleType | None:
        if self._nvml is not None or self._clock() < self._retry_at:
            return self._nvml
        self._retry_at = self._clock() + _RETRY_S
        try:
            ctypes.CDLL(_LIBRARY)
        except OSError:
            self._reason, self._failure = _NO_LIBRARY, GpuFailure.NO_DRIVER
            return None
        nvml = importlib.import_module("pynvml")
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            self._reason, self._failure = str(error), _failure_of(nvml, error)
            return None
        self._nvml = nvml
        return nvml

    def _close(self, nvml: ModuleType, reason: str, failure: GpuFailure) -> None:
        self._nvml, self._reason, self._failure = None, reason, failure
        self._retry_at = self._clock() + _RETRY_S
        try:
            nvml.nvmlShutdown()
        except nvml.NVMLError:
            # The driver is already unloaded; the next `_open` initializes the library again.
            return


def _failure_of(nvml: Any, error: Any) -> GpuFailure:
    """Return the word for an NVMLError."""
    words = {
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: GpuFailure.DRIVER_NOT_LOADED,
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: GpuFailure.DRIVER_MISMATCH,
        nvml.NVML_ERROR_NO_PERMISSION: GpuFailure.NO_PERMISSION,
        nvml.NVML_ERROR_GPU_IS_LOST: GpuFailure.GPU_LOST,
    }
    return words.get(error.value, GpuFailure.DRIVER_ERROR)


def _gpu(nvml: Any, index: int, fields: Mapping[str, _Field]) -> Gpu | None:
    """Return the current reading of a GPU, or None if NVML reports the GPU as lost.

    Raises NVMLError if the driver fails.
    """
    try:
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = nvml.nvmlDeviceGetUUID(gpu), nvml.nvmlDeviceGetName(gpu)
        values = {}
        for field, read in fields.items():
            value = _supported(nvml, partial(read, nvml, gpu))
            if value is not None:
                values[field] = value
        bits = _supported(nvml, partial(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, gpu))
    except nvml.NVMLError_GpuIsLost:
        return None
    throttled = {} if bits is None else {
        reason: bool(int(bits) & getattr(nvml, constant))
        for reason, constant in THROTTLE_REASONS.items()
    }  # fmt: skip
    return Gpu(uuid=uuid, index=index, name=name, values=values, throttled=throttled)


def _supported(nvml: Any, read: Callable[[], float]) -> float | None:
    """Return a value, or None if the GPU or driver does not support it or denies access."""
    try:
        return float(read())
    except (
        nvml.NVMLError_NotSupported,
        nvml.NVMLError_FunctionNotFound,
        nvml.NVMLError_NoPermission,
        nvml.NVMLError_InvalidArgument,
        nvml.NVMLError_NoData,
    ):
        return None


def _clock_hz(nvml: Any, gpu: Any, domain: int) -> float:
    return float(nvml.nvmlDeviceGetClockInfo(gpu, domain)) * _HERTZ_PER_MHZ


def _ecc(nvml: Any, gpu: Any, kind: int) -> float:
    return float(nvml.nvmlDeviceGetTotalEccErrors(gpu, kind, nvml.NVML_VOLATILE_ECC))
