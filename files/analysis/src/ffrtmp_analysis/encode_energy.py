"""Energy of an encode, from the measurements of a result."""

from typing import NamedTuple

from ffrtmp_shared.measurement import EnergyMeasurement
from ffrtmp_shared.models import Result
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_analysis import efficiency


class EncodeEnergy(NamedTuple):
    """Energy in joules and mean power in watts during an encode. An unknown value is None.

    `gpu_j` is the energy of the NVIDIA GPUs. The totals include them if they were measured. The
    totals are unknown if they were not, but the encoder uses them. `idle_w` is the power before the
    encode, while the node was idle.
    """

    cpu_j: float | None
    gpu_j: float | None
    total_j: float | None
    power_w: float | None
    idle_w: float | None


def encode_energy(result: Result) -> EncodeEnergy:
    """Return the energy of the encode of a result."""
    cpu, gpu = result.measurement.energy, result.measurement.gpu_energy
    # The graphics units that other hardware encoders use are mostly parts of the CPU packages.
    needs_gpu = (result.scenario.encoder or "").endswith("_nvenc")
    has_gpu = isinstance(gpu, EnergyMeasurement)
    cpu_j, gpu_j = _gross_j(cpu), _gross_j(gpu)
    return EncodeEnergy(
        cpu_j=cpu_j,
        gpu_j=gpu_j,
        total_j=efficiency.host_sum(cpu_j, gpu_j, needs_gpu=needs_gpu),
        power_w=efficiency.host_sum(_power_w(cpu), _power_w(gpu), needs_gpu=needs_gpu),
        idle_w=efficiency.host_sum(_idle_w(cpu), _idle_w(gpu), needs_gpu=needs_gpu or has_gpu),
    )


def _gross_j(energy: EnergyMeasurement | Unavailable) -> float | None:
    return None if isinstance(energy, Unavailable) else energy.gross_j


def _power_w(energy: EnergyMeasurement | Unavailable) -> float | None:
    if isinstance(energy, Unavailable):
        return None
    return efficiency.mean_power_w(energy.gross_j, energy.duration_s)


def _idle_w(energy: EnergyMeasurement | Unavailable) -> float | None:
    if isinstance(energy, Unavailable) or isinstance(energy.idle_w, Unavailable):
        return None
    return energy.idle_w
