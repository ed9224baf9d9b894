"""Judgement of the frequency control and the throttling of processors."""

from collections.abc import Mapping
from pathlib import Path

from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.kernel_files import find_int, find_text
from ffrtmp_worker.measure.environment import cpu_governor, cpu_turbo

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.findings import Finding, Status

_STEERING_DRIVERS = ("intel_pstate", "amd-pstate-epp")
"""Drivers with which the processor itself raises its frequency under load, also with the governor
powersave."""

_SET_PERFORMANCE = (
    "sudo cpupower frequency-set -g performance; on a worker, set host_tuning_enabled"
)
_KHZ_PER_MHZ = 1000


def check_cpu(host: DiagnosedHost) -> list[Finding]:
    """Check governor, frequency limit and turbo."""
    tree = host.cpu_tree
    return [_governor(tree), _frequency_limit(tree), _turbo(tree)]


def check_throttling(before: Mapping[str, int], after: Mapping[str, int]) -> Finding:
    """Compare the counts of thermal throttling before and after a load of all CPUs."""
    if not after:
        return Finding(
            id="cpu-throttling",
            status=Status.UNAVAILABLE,
            found="the kernel does not count thermal throttling",
        )
    events = sum(after.values()) - sum(before.values())
    since_boot = sum(after.values())
    if events > 0:
        return Finding(
            id="cpu-throttling",
            status=Status.WARNING,
            found=f"{events} throttling events within seconds of full load",
            remedy="improve the cooling; results of throttled encodes are degraded",
        )
    if since_boot:
        return Finding(
            id="cpu-throttling",
            status=Status.WARNING,
            found=f"{since_boot} throttling events since boot, none during this check",
            remedy="observe temperature_max_celsius of results; improve the cooling if it is high",
        )
    return Finding(id="cpu-throttling", status=Status.OK, found="no thermal throttling since boot")


def _governor(tree: Path) -> Finding:
    governor = cpu_governor(tree)
    if isinstance(governor, Unavailable):
        return Finding(id="cpu-governor", status=Status.UNAVAILABLE, found=governor.reason)
    driver = _one_of(tree, "scaling_driver")
    names = governor.split(",")
    text = f"governor {' and '.join(names)}" + (f" (driver {driver})" if driver else "")
    if "powersave" in names and driver not in _STEERING_DRIVERS:
        return Finding(
            id="cpu-governor",
            status=Status.FAULT,
            found=f"{text} keeps CPUs at their lowest frequency",
            remedy=_SET_PERFORMANCE,
        )
    if names == ["performance"]:
        return Finding(id="cpu-governor", status=Status.OK, found=text)
    preference = _one_of(tree, "energy_performance_preference")
    if preference:
        text += f", preference {preference}"
    return Finding(
        id="cpu-governor",
        status=Status.WARNING,
        found=f"{text}: the frequency follows the load, so that short encodes are slower",
        remedy=_SET_PERFORMANCE,
    )


def _one_of(tree: Path, name: str) -> str:
    """Return the different values of a file of all CPUs, joined with commas."""
    found = {find_text(file) for file in tree.glob(f"cpu[0-9]*/cpufreq/{name}")}
    return ",".join(sorted(value for value in found if value))


def _frequency_limit(tree: Path) -> Finding:
    limited = []
    highest = 0
    for folder in sorted(tree.glob("cpu[0-9]*/cpufreq")):
        limit, possible = (
            find_int(folder / name) for name in ("scaling_max_freq", "cpuinfo_max_freq")
        )
        if limit is not None and possible is not None:
            highest = max(highest, possible)
            if limit < possible:
                limited.append(limit)
    if not highest:
        return Finding(
            id="cpu-frequency",
            status=Status.UNAVAILABLE,
            found="the kernel does not report the highest frequency",
        )
    if limited:
        return Finding(
            id="cpu-frequency",
            status=Status.WARNING,
            found=f"{len(limited)} CPUs are limited to {min(limited) // _KHZ_PER_MHZ} MHz, and the "
            f"processor can run at {highest // _KHZ_PER_MHZ} MHz",
            remedy=f"sudo cpupower frequency-set -u {highest}",
        )
    return Finding(
        id="cpu-frequency",
        status=Status.OK,
        found=f"up to {highest // _KHZ_PER_MHZ} MHz, without a lower limit",
    )


def _turbo(tree: Path) -> Finding:
    turbo = cpu_turbo(tree)
    if isinstance(turbo, Unavailable):
        return Finding(id="cpu-turbo", status=Status.UNAVAILABLE, found=turbo.reason)
    if turbo == "off":
        return Finding(
            id="cpu-turbo",
            status=Status.OK,
            found="turbo is off: speeds repeat better, and are lower than those of everyday use",
        )
    return Finding(
        id="cpu-turbo",
        status=Status.OK,
        found="turbo is on: speeds depend on temperature and on the number of busy cores",
        remedy="on a worker, host_tuning_enabled turns it off during runs",
    )
