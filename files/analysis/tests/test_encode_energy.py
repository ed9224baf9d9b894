"""Tests of the energy of encodes, with the values of the factories: 64 J in 2 s, and 10 W idle."""

import factories
import msgspec
import pytest
import result_collectors
from ffrtmp_analysis.encode_energy import EncodeEnergy, encode_energy
from ffrtmp_shared.measurement import EnergyMeasurement
from ffrtmp_shared.unavailable import Unavailable

UNKNOWN = Unavailable(reason="not measured here")
GPU = EnergyMeasurement(
    zones_j={"gpu-0": 36.0}, gross_j=36.0, duration_s=2.0, idle_w=5.0, net_j=26.0
)


def energy(encoder: str = "libx264", **measured: EnergyMeasurement | Unavailable) -> EncodeEnergy:
    """Return the energy of an encode whose measurement has the given differences."""
    measurement = msgspec.structs.replace(factories.measurement(), **measured)
    scenario = factories.scenario(encoder)
    return encode_energy(result_collectors.result(scenario=scenario, measurement=measurement))


def test_the_energy_of_a_host_without_gpus() -> None:
    assert energy() == EncodeEnergy(cpu_j=64.0, gpu_j=None, total_j=64.0, power_w=32.0, idle_w=10.0)


@pytest.mark.parametrize("encoder", ["libx264", "h264_nvenc"])
def test_measured_gpus_are_added(encoder: str) -> None:
    assert energy(encoder, gpu_energy=GPU) == EncodeEnergy(
        cpu_j=64.0, gpu_j=36.0, total_j=100.0, power_w=50.0, idle_w=15.0
    )


def test_the_totals_of_a_gpu_encoder_are_unknown_without_its_gpu() -> None:
    found = energy("hevc_nvenc", gpu_energy=UNKNOWN)
    assert (found.cpu_j, found.total_j, found.power_w, found.idle_w) == (64.0, None, None, None)


def test_nothing_is_known_without_the_energy_of_the_processors() -> None:
    found = energy(energy=UNKNOWN, gpu_energy=GPU)
    assert (found.cpu_j, found.total_j, found.power_w, found.idle_w) == (None, None, None, None)


def test_the_idle_power_needs_all_measured_parts() -> None:
    unknown = msgspec.structs.replace(GPU, idle_w=UNKNOWN, net_j=UNKNOWN)
    found = energy(gpu_energy=unknown)
    assert (found.power_w, found.idle_w) == (50.0, None)
