"""Tests of GPU metrics, with nvidia-ml-py and a small library that has NVML's symbols."""

import ctypes
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
import promtool
import pytest
from ffrtmp_shared.measurement import EnergyMeasurement
from ffrtmp_shared.scenario import DensitySettings
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.exporters.gpu import GpuCollector
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure.energy_meter import EnergyMeter
from ffrtmp_worker.measure.nvml import Nvml
from prometheus_client import CollectorRegistry, generate_latest
from repetition import repeated

from .conftest import attempt, scenario

_SOURCE = Path(__file__).parent / "nvml" / "nvml.c"
_ALL_VALUES = {
    "power": 70_500,
    "energy": 1_000_000,
    "sm": 40,
    "memory": 20,
    "encoder": 90,
    "decoder": 10,
    "sessions": 3,
    "fps": 180,
    "latency": 2500,
    "graphics": 1500,
    "smclock": 1500,
    "memclock": 5000,
    "video": 1300,
    "memtotal": 16_000,
    "memused": 4000,
    "temperature": 65,
    "corrected": 2,
    "uncorrected": 0,
    "throttle": 0x4 | 0x1,
}


class Driver:
    """The driver and the GPUs that the library reports."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gpus: list[dict[str, int]] = []

    def load(self, *gpus: dict[str, int]) -> None:
        self.gpus = [dict(gpu) for gpu in gpus]
        self.write()

    def write(self) -> None:
        lines = ["driver 1", f"count {len(self.gpus)}"]
        lines += [
            f"{index}.{name} {value}"
            for index, gpu in enumerate(self.gpus)
            for name, value in gpu.items()
        ]
        # The file is replaced atomically, because the library may read it at any time.
        new = self.path.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.path)

    def unload(self) -> None:
        self.path.unlink(missing_ok=True)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.fail("gcc is not installed: run make test", pytrace=False)
    target = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-O1"]
    subprocess.run(
        [*command, f"-Wl,-soname,{target.name}", "-o", str(target), str(_SOURCE)], check=True
    )
    return target


@pytest.fixture
def driver(library: Path, tmp_path: Path) -> Iterator[Driver]:
    # When NVML is loaded by its name from now on, this library is used, because it has the same
    # name and is already loaded.
    fake = ctypes.CDLL(str(library))
    made = Driver(tmp_path / "gpus")
    fake.fake_nvml_state(str(made.path).encode())
    yield made
    fake.fake_nvml_state(b"/nonexistent")


def _scrape(collector: GpuCollector) -> list[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode().splitlines()


def _values(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("#")]


def test_all_values_of_a_gpu_are_exported(driver: Driver) -> None:
    driver.load(_ALL_VALUES)
    lines = _scrape(GpuCollector(Nvml().read))
    label = '{gpu="GPU-0000-0"'
    for expected in (
        "ffrtmp_gpu_available 1.0",
        'ffrtmp_gpu_info{driver="999.01",gpu="GPU-0000-0",index="0",name="NVIDIA Test 0"} 1.0',
        f"ffrtmp_gpu_power_watts{label}}} 70.5",
        f"ffrtmp_gpu_energy_joules_total{label}}} 1000.0",
        f'ffrtmp_gpu_utilization_ratio{label},unit="encoder"}} 0.9',
        f'ffrtmp_gpu_utilization_ratio{label},unit="sm"}} 0.4',
        f"ffrtmp_gpu_encoder_sessions{label}}} 3.0",
        f"ffrtmp_gpu_encoder_frames_per_second{label}}} 180.0",
        f"ffrtmp_gpu_encoder_latency_seconds{label}}} 0.0025",
        'ffrtmp_gpu_clock_hertz{domain="video",gpu="GPU-0000-0"} 1.3e+09',
        f"ffrtmp_gpu_memory_used_bytes{label}}} 4000.0",
        f"ffrtmp_gpu_memory_total_bytes{label}}} 16000.0",
        f"ffrtmp_gpu_temperature_celsius{label}}} 65.0",
        f'ffrtmp_gpu_ecc_errors_total{label},type="corrected"}} 2.0',
        f'ffrtmp_gpu_throttled{label},reason="power_cap"}} 1.0',
        f'ffrtmp_gpu_throttled{label},reason="hw_thermal"}} 0.0',
    ):
        assert expected in lines
    assert promtool.complaints("\n".join([*lines, ""])) == ""


def test_unknown_values_have_no_sample(driver: Driver) -> None:
    driver.load({"temperature": 50}, _ALL_VALUES)
    lines = _values(_scrape(GpuCollector(Nvml().read)))
    of_first = [line for line in lines if "GPU-0000-0" in line]
    assert sorted(line.split("{")[0] for line in of_first) == [
        "ffrtmp_gpu_info",
        "ffrtmp_gpu_temperature_celsius",
    ]
    assert len([line for line in lines if "GPU-0000-1" in line]) == 25


def test_energy_only_increases_even_if_the_driver_restarts(driver: Driver) -> None:
    clock = Clock()
    nvml = Nvml(clock)
    collector = GpuCollector(nvml.read)
    seen = []
    for energy_mj in (5_000_000, 7_500_000, 250_000, 1_000_000):
        driver.load({"energy": energy_mj})
        seen += [
            float(line.split()[-1])
            for line in _values(_scrape(collector))
            if line.startswith("ffrtmp_gpu_energy_joules_total")
        ]
    assert seen == [5000.0, 7500.0, 7750.0, 8500.0]


def test_an_unloaded_driver_is_reported_and_a_loaded_one_is_found(driver: Driver) -> None:
    clock = Clock()
    collector = GpuCollector(Nvml(clock).read)
    lines = _values(_scrape(collector))
    assert lines[:2] == [
        "ffrtmp_gpu_available 0.0",
        'ffrtmp_gpu_failure_info{reason="driver_not_loaded"} 1.0',
    ]
    assert not any("GPU-" in line for line in lines)
    driver.load(_ALL_VALUES)
    assert not any("GPU-" in line for line in _scrape(collector)), (
        "the driver is not tried again this early"
    )
    clock.now = 31.0
    assert any("GPU-0000-0" in line for line in _scrape(collector))
    driver.unload()
    lines = _values(_scrape(collector))
    assert lines[:2] == [
        "ffrtmp_gpu_available 0.0",
        'ffrtmp_gpu_failure_info{reason="driver_error"} 1.0',
    ]
    assert not any("GPU-" in line for line in lines)
    driver.load(_ALL_VALUES)
    clock.now = 62.0
    assert any("GPU-0000-0" in line for line in _scrape(collector))


def test_a_gpu_that_is_lost_leaves_the_others(driver: Driver) -> None:
    driver.load(_ALL_VALUES, _ALL_VALUES | {"lost": 1})
    clock = Clock()
    nvml = Nvml(clock)
    assert [gpu.index for gpu in nvml.read().gpus] == [0]
    driver.load(_ALL_VALUES, _ALL_VALUES)
    clock.now = 31.0
    assert [gpu.index for gpu in nvml.read().gpus] == [0, 1]


def test_the_energy_of_an_encode_is_exact(driver: Driver) -> None:
    driver.load({"energy": 1_000_000}, {"energy": 500}, {"temperature": 40})
    meter = EnergyMeter(Nvml().read_energy)
    assert meter.begin_idle()
    time.sleep(0.2)
    driver.load({"energy": 1_002_000}, {"energy": 500}, {"temperature": 40})
    meter.end_idle()
    meter.start()
    time.sleep(0.1)
    driver.load({"energy": 1_032_250}, {"energy": 1250}, {"temperature": 40})
    energy = meter.finish()
    assert isinstance(energy, EnergyMeasurement)
    assert energy.zones_j == pytest.approx(
        {"NVIDIA Test 0 GPU-0000-0": 30.25, "NVIDIA Test 1 GPU-0000-1": 0.75}
    )
    assert energy.gross_j == pytest.approx(31.0)
    assert isinstance(energy.idle_w, float)
    assert 5 < energy.idle_w <= 10
    assert energy.net_j == pytest.approx(31.0 - energy.idle_w * energy.duration_s)


@pytest.mark.parametrize(
    ("begin", "end", "reason"),
    [
        ({"energy": 5000}, {"energy": 4000}, "counters were reset"),
        ({"energy": 5000}, {"energy": 5000}, "did not change in 0.1 s"),
        ({"temperature": 40}, {"temperature": 40}, "no GPU of this host has an energy counter"),
        ({"energy": 5000}, {"energy": 5000, "lost": 1}, "the NVIDIA driver reports no GPU"),
    ],
)
def test_unavailable_energy_has_a_reason(
    driver: Driver, begin: dict[str, int], end: dict[str, int], reason: str
) -> None:
    driver.load(begin)
    meter = EnergyMeter(Nvml().read_energy)
    meter.start()
    time.sleep(0.1)
    driver.load(end)
    energy = meter.finish()
    assert isinstance(energy, Unavailable)
    assert reason in energy.reason


@contextmanager
def consuming_energy(driver: Driver) -> Iterator[None]:
    """Let the GPU use 50 W within the context, a joule at a time."""
    used_mj = count(1000, 1000)
    driver.load({"energy": 0})
    with repeated(lambda: driver.load({"energy": next(used_mj)}), pause_s=0.02):
        yield


@pytest.mark.slow
def test_gpu_energy_is_in_the_result_of_an_encode(
    driver: Driver, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    gpu_tools = replace(tools, nvml=Nvml(), energy_idle_s=0.5)
    with consuming_energy(driver):
        measured = kinds.run_attempt(attempt(scenario(clip), clip, tmp_path / "attempt", gpu_tools))
    energy = measured.gpu_energy
    assert isinstance(energy, EnergyMeasurement)
    assert energy.gross_j > 0
    assert isinstance(energy.idle_w, float)
    assert energy.idle_w > 0
    assert isinstance(measured.energy, Unavailable)


@pytest.mark.slow
def test_a_density_has_gpu_power_but_no_total_without_the_processors(
    driver: Driver, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    search = DensitySettings(window_s=8.0, verify_s=8.0, max_streams=1, max_lag_s=5.0)
    spec = msgspec.structs.replace(scenario(clip), kind="density", density=search)
    with consuming_energy(driver):
        measured = kinds.run_attempt(attempt(spec, clip, tmp_path, replace(tools, nvml=Nvml())))
    density = measured.density
    assert density is not None
    assert isinstance(density.gpu_power_w, float)
    assert 0 < density.gpu_power_w <= 50
    # Without the power of the CPUs, the power of the GPUs must not be reported as the total.
    assert isinstance(density.power_w, Unavailable)
    assert density.watts_per_stream == density.power_w


def test_gpus_that_do_not_answer_are_still_present(driver: Driver) -> None:
    nvml = Nvml()
    driver.load({"energy": 0})
    assert nvml.has_gpus()
    driver.load({"energy": 0, "lost": 1})
    nvml.read()
    assert nvml.has_gpus()


def test_a_missing_library_is_reported_and_nothing_is_loaded() -> None:
    program = (
        "import sys; from ffrtmp_worker.measure.nvml import Nvml; "
        "print(Nvml().read().reason); print('pynvml' in sys.modules)"
    )
    lines = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert lines == ["this host has no NVIDIA driver (libnvidia-ml.so.1)", "False"]
