"""Judgement of the load that other programs cause, over a few seconds."""

from collections.abc import Mapping

import msgspec
from ffrtmp_worker.measure.cpu_times import CpuTimes
from ffrtmp_worker.measure.psi import stalled_us
from ffrtmp_worker.verdict import (
    IO_PRESSURE_DEGRADED,
    MEMORY_PRESSURE_DEGRADED,
    OTHER_LOAD_DEGRADED,
    STEAL_DEGRADED,
)

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.findings import Finding, Status

WINDOW_S = 2.0
"""Time over which the load is measured, in seconds."""

_US_PER_S = 1e6
_PRESSURE_LIMITS = {"memory": MEMORY_PRESSURE_DEGRADED, "io": IO_PRESSURE_DEGRADED}


class LoadReading(msgspec.Struct, frozen=True, kw_only=True):
    """CPU times and stall times since boot at the time `at_s`, in seconds."""

    at_s: float
    times: CpuTimes
    stalled_us: Mapping[str, int | None]


def read_load(host: DiagnosedHost) -> LoadReading:
    """Read the counters of load. Raises OSError if the CPU times cannot be read."""
    return LoadReading(
        at_s=host.clock(),
        times=CpuTimes.now(proc=host.files.proc),
        stalled_us={
            resource: stalled_us(resource, host.files.proc / "pressure")
            for resource in _PRESSURE_LIMITS
        },
    )


def check_load(host: DiagnosedHost) -> list[Finding]:
    """Measure the load of other programs, which takes two seconds.

    The limits are those above which a result is degraded.
    """
    before = read_load(host)
    host.pause(WINDOW_S)
    after = read_load(host)
    return [_cpu(before, after), _steal(before, after), *_pressures(before, after)]


def _cpu(before: LoadReading, after: LoadReading) -> Finding:
    used = after.times.since(before.times)
    ratio = used.busy_s / used.total_s if used.total_s else 0.0
    text = f"other programs use {ratio:.1%} of the CPU time"
    if ratio <= OTHER_LOAD_DEGRADED:
        return Finding(id="load-cpu", status=Status.OK, found=text)
    return Finding(
        id="load-cpu",
        status=Status.WARNING,
        found=f"{text}; above {OTHER_LOAD_DEGRADED:.0%}, results are degraded",
        remedy="end other programs; `top` lists them",
    )


def _steal(before: LoadReading, after: LoadReading) -> Finding:
    used = after.times.since(before.times)
    ratio = used.steal_s / used.total_s if used.total_s else 0.0
    text = f"the hypervisor takes {ratio:.1%} of the CPU time"
    if ratio <= STEAL_DEGRADED:
        return Finding(id="load-steal", status=Status.OK, found=text)
    return Finding(
        id="load-steal",
        status=Status.WARNING,
        found=f"{text}; above {STEAL_DEGRADED:.0%}, results are degraded",
        remedy="use a virtual machine with dedicated CPUs",
    )


def _pressures(before: LoadReading, after: LoadReading) -> list[Finding]:
    found = []
    for resource, limit in _PRESSURE_LIMITS.items():
        then_us, now_us = before.stalled_us[resource], after.stalled_us[resource]
        if then_us is None or now_us is None:
            found.append(
                Finding(
                    id=f"load-{resource}",
                    status=Status.UNAVAILABLE,
                    found=f"the kernel does not report pressure stalls of {resource}",
                    remedy="boot with psi=1",
                )
            )
            continue
        ratio = max(now_us - then_us, 0) / _US_PER_S / (after.at_s - before.at_s)
        is_ok = ratio <= limit
        found.append(
            Finding(
                id=f"load-{resource}",
                status=Status.OK if is_ok else Status.WARNING,
                found=f"tasks wait for {resource} {ratio:.1%} of the time",
                remedy=""
                if is_ok
                else f"above {limit:.0%}, results are degraded: end the programs that use it",
            )
        )
    return found
