"""Judgement of the energy counters of a host."""

import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from ffrtmp_worker.energy.client import EnergyReading
from ffrtmp_worker.energy.zones import Zone, find_zones
from ffrtmp_worker.kernel_files import KernelFileError, find_int, find_text

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.energy_trial import EnergyTrial, list_folders, run_trial
from ffrtmp_cli.diagnosis.findings import Finding, Status

MIN_CPU_W, MAX_CPU_W = 0.1, 60.0
"""Plausible power of one more busy CPU (hardware thread), in watts.

The lowest are the threads of servers with many small cores (300 W for 288 cores, of which a part is
used when idle) and of processors for embedded devices (6 W for 4 cores). The highest is one core of
a desktop processor at its highest clock, with the share of the package that wakes up with it.
"""

LIMIT_TOLERANCE = 1.25
"""Ratio of power to the processor's own limit above which a counter is implausible.

Processors exceed their limit only for milliseconds; the tolerance also covers firmware that rounds
it. A counter that counts double exceeds it whenever the load reaches 63 % of the limit.
"""

MAX_PACKAGE_W = 1000.0
"""Power that no processor reaches; energy_reader_max_power_w has the same default."""

_SAME_RATIO = 0.002
"""Relative difference below which two counters count the same energy. Two readings are up to 1 ms
apart, which is 0.05 % of a phase; two processors differ by percents."""

_TWIN_RATIO = 1.1
_PLATFORM_WARNING_RATIO, _PLATFORM_FAULT_RATIO = 1.1, 1.5
_LOAD_RATIO = 0.5
"""Part of its CPUs that the load has to add to those that were busy before. Otherwise its power
cannot be distinguished from that of other programs."""

_LEAST_RISE = 1.02
_LEAST_PLATFORM_W = 1.0
_S_PER_MINUTE = 60.0
_UJ_PER_J = 1e6


def check_energy(host: DiagnosedHost) -> list[Finding]:
    """Check the energy counters of the processors, which takes about seven seconds.

    The host is kept busy during two thirds of this time. Raises OSError if the load cannot be
    started.
    """
    folders = list_folders(host.powercap)
    if not folders:
        return [_absent()]
    denied = [folder for folder in folders if _is_denied(folder / "energy_uj")]
    if denied:
        return [_denied(host.powercap, len(denied))]
    ranges = [_range_fault(folder.name) for folder in folders if _lacks_range(folder)]
    if ranges:
        return ranges
    try:
        counted = find_zones(host.powercap, host.pause)
        return [*judge_trial(run_trial(host, counted), counted)]
    except KernelFileError as error:
        return [
            Finding(
                id="energy-counters",
                status=Status.UNAVAILABLE,
                found=str(error),
                remedy="update the kernel; without this counter, results have no energy",
            )
        ]


def _denied(powercap: Path, count: int) -> Finding:
    """Return the finding that the user may not read `count` counters below `powercap`."""
    return Finding(
        id="energy-counters",
        status=Status.UNAVAILABLE,
        found=f"this user may not read {count} energy counters",
        remedy=f"sudo chmod a+r {powercap}/intel-rapl*/energy_uj   (until the next boot; every "
        "local user can then observe the load of others, CVE-2020-8694), or sudo ffrtmp doctor. "
        "On the workers of a farm, the energy reader reads the counters",
    )


def judge_trial(trial: EnergyTrial, counted: list[Zone]) -> Iterator[Finding]:
    """Yield the findings about the counters of a trial.

    Args:
        trial: The power of all zones.
        counted: The zones that results contain.
    """
    yield _counters(trial)
    yield _advance(trial)
    if not any(zone.is_dead for zone in trial.counted_packages):
        yield _power(trial)
        yield _double(trial)
        yield _wraparound(trial, counted)
    yield _memory(trial)


def check_gpu_energy(begin: EnergyReading, end: EnergyReading) -> Finding:
    """Compare two readings of the GPUs' counters, which have to advance even on idle GPUs."""
    if not begin.zones or not end.zones:
        return Finding(id="gpu-energy", status=Status.UNAVAILABLE, found=begin.reason or end.reason)
    elapsed_s = end.monotonic_s - begin.monotonic_s
    used_j = {
        name: end.zones[name].joules - zone.joules
        for name, zone in begin.zones.items()
        if name in end.zones
    }
    dead = [name for name, joules in used_j.items() if joules <= 0]
    if dead:
        return Finding(
            id="gpu-energy",
            status=Status.FAULT,
            found=f"the energy counter of {', '.join(dead)} does not advance",
            remedy="update the driver; until then, ignore the GPU energy of results",
        )
    powers = ", ".join(f"{name} {joules / elapsed_s:.0f} W" for name, joules in used_j.items())
    return Finding(id="gpu-energy", status=Status.OK, found=powers)


def _absent() -> Finding:
    return Finding(
        id="energy-counters",
        status=Status.UNAVAILABLE,
        found="the kernel offers no energy counters of processors (powercap)",
        remedy="sudo modprobe intel_rapl_msr   (for Intel, and AMD since Linux 5.8). Virtual "
        "machines and Arm processors have no such counters",
    )


def _is_denied(file: Path) -> bool:
    return file.exists() and not os.access(file, os.R_OK, effective_ids=True)


def _lacks_range(folder: Path) -> bool:
    """Return whether a zone that results contain does not report the range of its counter."""
    label = find_text(folder / "name") or ""
    is_counted = label == "dram" or label.startswith("package-")
    return is_counted and (find_int(folder / "max_energy_range_uj") or 0) <= 0


def _range_fault(name: str) -> Finding:
    return Finding(
        id="energy-wraparound",
        status=Status.FAULT,
        found=f"{name} does not report the value at which its counter restarts",
        remedy="update the kernel; the energy of an encode is wrong if the counter restarts",
    )


def _counters(trial: EnergyTrial) -> Finding:
    counted = [zone.label for zone in trial.zones if zone.is_counted]
    others = [f"{zone.label} ({zone.folder})" for zone in trial.zones if not zone.is_counted]
    text = f"results contain {', '.join(counted)}"
    if others:
        text += f"; not {', '.join(others)}, which are parts or repetitions of them"
    return Finding(id="energy-counters", status=Status.OK, found=text)


def _advance(trial: EnergyTrial) -> Finding:
    dead = [zone for zone in trial.zones if zone.is_counted and zone.is_dead]
    if dead:
        names = ", ".join(f"{zone.label} ({zone.folder})" for zone in dead)
        is_fault = any(zone.is_package for zone in dead)
        return Finding(
            id="energy-advance",
            status=Status.FAULT if is_fault else Status.WARNING,
            found=f"dead counter: {names} does not advance, even with all CPUs busy",
            remedy="the energy of this host's results is missing or too low. In a virtual machine, "
            "the hypervisor does not provide it; otherwise update firmware and kernel",
        )
    idle_w, _, busy_w = _package_watts(trial)
    if _has_load(trial) and busy_w < idle_w * _LEAST_RISE:
        return Finding(
            id="energy-advance",
            status=Status.FAULT,
            found=f"the counters do not depend on the load: {idle_w:.1f} W idle, {busy_w:.1f} W "
            "with all CPUs busy",
            remedy="do not use the energy of this host's results; update firmware and kernel",
        )
    return Finding(
        id="energy-advance",
        status=Status.OK,
        found=f"packages: {idle_w:.1f} W idle, {busy_w:.1f} W with all CPUs busy",
    )


def _power(trial: EnergyTrial) -> Finding:
    problems = [*_power_problems(trial)]
    if problems:
        return Finding(
            id="energy-power",
            status=Status.FAULT,
            found="; ".join(problems),
            remedy="compare with a power meter; until then, do not use the energy of this host's "
            "results. Update firmware and kernel, which define the unit of the counter",
        )
    if not _has_load(trial):
        return Finding(
            id="energy-power",
            status=Status.WARNING,
            found="other programs, or a CPU quota, leave less than half of the CPU time to the "
            "load, so that its power cannot be determined",
            remedy="end other programs, and repeat the command",
        )
    return Finding(
        id="energy-power",
        status=Status.OK,
        found=f"{_cpu_watts(trial):.1f} W for each further busy CPU (plausible: {MIN_CPU_W:g} to "
        f"{MAX_CPU_W:g} W)",
    )


def _power_problems(trial: EnergyTrial) -> Iterator[str]:
    for zone in trial.counted_packages:
        watts = max(zone.watts)
        if watts > MAX_PACKAGE_W:
            yield f"{zone.label} counts {watts:.0f} W, which no processor uses"
        elif zone.limit_w is not None and watts > zone.limit_w * LIMIT_TOLERANCE:
            yield (
                f"{zone.label} counts {watts:.0f} W, {watts / zone.limit_w:.1f} times the "
                f"processor's limit of {zone.limit_w:.0f} W: it counts too much, perhaps double"
            )
    if _has_load(trial):
        cpu_w = _cpu_watts(trial)
        if not MIN_CPU_W <= cpu_w <= MAX_CPU_W:
            yield (
                f"{cpu_w:.2f} W for each further busy CPU is implausible ({MIN_CPU_W:g} to "
                f"{MAX_CPU_W:g} W)"
            )


def _double(trial: EnergyTrial) -> Finding:
    faults = [*_repetitions(trial), *_twins(trial), *_parts(trial)]
    platform = _platform_ratio(trial)
    if platform is not None and platform > _PLATFORM_WARNING_RATIO:
        text = (
            f"under load, the packages count {platform:.1f} times the additional energy of psys, "
            "which is that of the whole platform and contains them"
        )
        if platform < _PLATFORM_FAULT_RATIO and not faults:
            return Finding(
                id="energy-double",
                status=Status.WARNING,
                found=text,
                remedy="psys is not calibrated on some boards; compare with a power meter",
            )
        faults.append(text)
    if faults:
        return Finding(
            id="energy-double",
            status=Status.FAULT,
            found="counts double: " + "; ".join(faults),
            remedy="compare with a power meter; until then, do not use the energy of this host's "
            "results. Update firmware and kernel",
        )
    compared = [zone.folder for zone in trial.zones if not zone.is_counted and not zone.is_dead]
    limits = [zone for zone in trial.counted_packages if zone.limit_w is not None]
    if not compared and not limits and len(trial.counted_packages) == 1:
        return Finding(
            id="energy-double",
            status=Status.UNAVAILABLE,
            found="the host has no other counter and no power limit to compare with",
        )
    basis = [*compared, *(["the power limit"] if limits else [])]
    return Finding(
        id="energy-double",
        status=Status.OK,
        found="no energy is counted twice"
        + (f" (compared with {', '.join(basis)})" if basis else ""),
    )


def _repetitions(trial: EnergyTrial) -> Iterator[str]:
    """Yield the pairs of counted packages that count the same energy in all phases.

    In the second phase only a part of the CPUs is busy, so that different packages differ.
    """
    for first, second in combinations(trial.counted_packages, 2):
        if all(
            abs(one_w - other_w) <= _SAME_RATIO * max(one_w, other_w)
            for one_w, other_w in zip(first.watts, second.watts, strict=True)
        ):
            yield f"{first.folder} and {second.folder} count the same energy, and both are added"


def _twins(trial: EnergyTrial) -> Iterator[str]:
    """Yield the packages whose second interface (MMIO) counts another amount of energy."""
    for zone in trial.counted_packages:
        for other in trial.zones:
            if other.label != zone.label or other.folder == zone.folder or other.is_dead:
                continue
            ratio = sum(zone.watts) / sum(other.watts)
            if not 1 / _TWIN_RATIO <= ratio <= _TWIN_RATIO:
                yield (
                    f"{zone.folder} counts {ratio:.1f} times the energy that {other.folder} counts "
                    "for the same processor"
                )


def _parts(trial: EnergyTrial) -> Iterator[str]:
    """Yield the packages that count less energy than their own cores and graphics."""
    for zone in trial.counted_packages:
        parts = [
            other
            for other in trial.zones
            if other.folder.startswith(f"{zone.folder}:") and other.label in ("core", "uncore")
        ]
        parts_w = sum(sum(part.watts) for part in parts)
        if parts_w > sum(zone.watts) * _TWIN_RATIO:
            names = " and ".join(part.label for part in parts)
            yield (
                f"{names} of {zone.folder} count {parts_w / sum(zone.watts):.1f} times the energy "
                "of the package that contains them"
            )


def _platform_ratio(trial: EnergyTrial) -> float | None:
    """Return by how much the packages' power rises with the load, relative to the platform's.

    The rise is compared, because the other parts of the platform use power as well, but hardly more
    of it under the load. On boards that do not connect the sensor of psys, it counts almost
    nothing, and the ratio is None.
    """
    platforms = [zone for zone in trial.zones if zone.label == "psys" and zone.is_top]
    idle_w, busy_w = (sum(zone.watts[phase] for zone in platforms) for phase in (0, -1))
    if not _has_load(trial) or busy_w < _LEAST_PLATFORM_W or busy_w <= idle_w:
        return None
    watts = _package_watts(trial)
    return (watts[-1] - watts[0]) / (busy_w - idle_w)


def _wraparound(trial: EnergyTrial, counted: list[Zone]) -> Finding:
    """Return after which time the first counter restarts at the measured power."""
    watts = {zone.folder: max(zone.watts) for zone in trial.zones}
    restart_s = min(
        zone.range_uj / _UJ_PER_J / watts[zone.folder.name]
        for zone in counted
        if watts.get(zone.folder.name)
    )
    return Finding(
        id="energy-wraparound",
        status=Status.OK,
        found=f"the counters restart after {restart_s / _S_PER_MINUTE:.0f} min at this power; the "
        "energy reader samples them often enough",
    )


def _memory(trial: EnergyTrial) -> Finding:
    memory = [zone for zone in trial.zones if zone.is_counted and not zone.is_package]
    if not memory:
        return Finding(
            id="energy-memory",
            status=Status.UNAVAILABLE,
            found="the host has no energy counter of its memory (dram); results contain only the "
            "packages",
        )
    if all(zone.is_dead for zone in memory):
        return Finding(
            id="energy-memory",
            status=Status.UNAVAILABLE,
            found="the energy counter of the memory (dram) does not advance",
        )
    total_w = sum(zone.watts[-1] for zone in memory)
    return Finding(id="energy-memory", status=Status.OK, found=f"memory: {total_w:.1f} W")


def _package_watts(trial: EnergyTrial) -> list[float]:
    """Return the sum of the packages' power in each phase, in watts."""
    packages = trial.counted_packages
    return [sum(zone.watts[phase] for zone in packages) for phase in range(len(trial.busy_cpus))]


def _has_load(trial: EnergyTrial) -> bool:
    return trial.busy_cpus[-1] - trial.busy_cpus[0] >= trial.loaded_cpus * _LOAD_RATIO


def _cpu_watts(trial: EnergyTrial) -> float:
    """Return the power of each further busy CPU, in watts."""
    watts = _package_watts(trial)
    return (watts[-1] - watts[0]) / (trial.busy_cpus[-1] - trial.busy_cpus[0])
