"""Verdict on a measurement: valid, degraded or invalid, with the reasons.

A `degraded` result was measured correctly, but on a host that was disturbed. The figures of an
`invalid` result are not what they claim to be, or do not describe this host.
"""

from collections.abc import Iterator

import msgspec
from ffrtmp_shared.host_environment import Environment
from ffrtmp_shared.live_measurement import LiveMeasurement
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.unavailable import Cause, Unavailable
from ffrtmp_shared.verdict import Verdict, VerdictReason, VerdictState

from ffrtmp_worker.ffmpeg.live_pipeline import SILENT_END_S, SILENT_S

STEAL_DEGRADED = 0.01
"""If more than this ratio of the slot's CPU time is stolen, the speed changes by about as much,
which is more than the uncertainty of 1 % that repeats usually achieve."""

STEAL_INVALID = 0.2
"""If a fifth of the CPU time is stolen, the figures depend mostly on the load of other virtual
machines."""

OTHER_LOAD_DEGRADED = 0.05
"""If other processes use more than this ratio of the CPU time that the slot may use, they compete
with the encode for these CPUs, their caches and their memory."""

MEMORY_PRESSURE_DEGRADED = 0.01
"""Tasks that are stalled on memory wait for the disk; an undisturbed encode has no such stalls."""

IO_PRESSURE_DEGRADED = 0.05
"""The source is in the page cache and the output is small. A higher ratio means that the disk
limits the encode, or that another process keeps the disk busy."""

SHORT_DEGRADED_S = 1.0
"""In a shorter encode, process startup and clock resolution account for more than 1 %."""


def with_verdict(measurement: Measurement) -> Measurement:
    """Return a copy of the measurement that contains its verdict."""
    return msgspec.structs.replace(measurement, verdict=compute_verdict(measurement))


def compute_verdict(measurement: Measurement) -> Verdict:
    """Derive the verdict from the measurement's figures; an unavailable figure yields no reason."""
    invalid = list(_invalid(measurement))
    degraded = list(_degraded(measurement))
    state = VerdictState.VALID
    if degraded:
        state = VerdictState.DEGRADED
    if invalid:
        state = VerdictState.INVALID
    return Verdict(state=state, reasons=tuple(invalid + degraded))


def _invalid(measurement: Measurement) -> Iterator[VerdictReason]:
    steal = _steal_ratio(measurement.environment)
    if steal > STEAL_INVALID:
        yield _reason("steal", f"{steal:.1%} of the CPU time of the slot was stolen")
    if measurement.live is not None:
        yield from _silent(measurement.live)
        yield from _overloaded(measurement.live)
    output = measurement.output
    if output is not None and output.frames != measurement.encode.frames:
        yield _reason(
            "frames-missing",
            f"{measurement.encode.frames} frames were encoded, but the output has {output.frames}",
        )
    yield from _missed_target(measurement)
    # A quality that is unavailable for another cause, such as HDR, which VMAF has no model for,
    # says nothing about speed and energy.
    for name, quality in (
        ("", measurement.quality),
        *((f"{rendition.name}: ", rendition.quality) for rendition in measurement.renditions),
    ):
        if isinstance(quality, Unavailable) and quality.cause is Cause.PAIRING:
            yield _reason("quality-unavailable", f"{name}{quality.reason}")


def _missed_target(measurement: Measurement) -> Iterator[VerdictReason]:
    """Yield a reason if the output does not have the VMAF that the rate point requests."""
    search, quality = measurement.rate_search, measurement.quality
    if search is None or isinstance(quality, Unavailable):
        return
    if not search.is_reached(quality.vmaf_mean):
        yield _reason(
            "vmaf-missed",
            f"VMAF {quality.vmaf_mean:.2f} deviates from the target {search.vmaf_target:g} by "
            f"more than {search.vmaf_tolerance:g}, although a probe with the same setting did not",
        )


def _silent(live: LiveMeasurement) -> Iterator[VerdictReason]:
    """Yield a reason if the stream did not arrive at the player all the time."""
    for silence_s, limit_s, when in (
        (live.silence_end_s, SILENT_END_S, "before the end"),
        (live.silence_max_s, SILENT_S, "in a row"),
    ):
        if isinstance(silence_s, float) and silence_s > limit_s:
            yield _reason("silent", f"the player received nothing for {silence_s:.1f} s {when}")
            return


def _overloaded(live: LiveMeasurement) -> Iterator[VerdictReason]:
    """Yield a reason if the stream did not hold real time, so that its cost is not meaningful."""
    if live.below_real_time_s > 0:
        yield _reason("overloaded", f"the stream fell behind for {live.below_real_time_s:.1f} s")
    elif live.frames_lost and not live.reconnects:
        yield _reason("overloaded", f"{live.frames_lost} frames did not reach the player")


def _degraded(measurement: Measurement) -> Iterator[VerdictReason]:
    environment = measurement.environment
    steal = _steal_ratio(environment)
    if STEAL_DEGRADED < steal <= STEAL_INVALID:
        yield _reason("steal", f"{steal:.1%} of the CPU time of the slot was stolen")
    other_load = _other_load_ratio(measurement)
    if other_load is not None and other_load > OTHER_LOAD_DEGRADED:
        yield _reason(
            "other-load", f"other processes used {other_load:.1%} of the CPU time of the slot"
        )
    throttle_events = environment.throttle_events
    if isinstance(throttle_events, int) and throttle_events > 0:
        yield _reason("throttled", f"the processor was throttled {throttle_events} times")
    throttled_periods = environment.throttled_periods
    if isinstance(throttled_periods, int) and throttled_periods > 0:
        yield _reason("quota", f"the slot exhausted its CPU quota in {throttled_periods} periods")
    memory, io = _pressure_ratios(environment)
    for code, ratio, threshold in (
        ("memory-pressure", memory, MEMORY_PRESSURE_DEGRADED),
        ("io-pressure", io, IO_PRESSURE_DEGRADED),
    ):
        if isinstance(ratio, float) and ratio > threshold:
            yield _reason(code, f"tasks were stalled for {ratio:.1%} of the time")
    if measurement.live is not None and measurement.live.reconnects:
        yield _reason("reconnected", f"the encoder reconnected {measurement.live.reconnects} times")
    if measurement.encode.wall_s < SHORT_DEGRADED_S:
        yield _reason("short", f"the encode took {measurement.encode.wall_s:.2f} s")


def _steal_ratio(environment: Environment) -> float:
    """Return the ratio of the slot's CPU time that was stolen, or of the host's if unknown."""
    slot = environment.slot
    return environment.steal_ratio if isinstance(slot, Unavailable) else slot.steal_ratio


def _other_load_ratio(measurement: Measurement) -> float | None:
    """Return the ratio of the slot's CPU time that other processes used, or None if unknown."""
    slot = measurement.environment.slot
    if isinstance(slot, Unavailable) or slot.entitled_s <= 0:
        return None
    own_s = measurement.encode.cpu_s
    if measurement.live is not None:
        own_s += measurement.live.helpers_cpu_s
    return max(slot.busy_s - own_s, 0.0) / slot.entitled_s


def _pressure_ratios(
    environment: Environment,
) -> tuple[float | Unavailable, float | Unavailable]:
    """Return the pressure of memory and of disks on the slot's tasks, or on the host's if unknown.

    On a host with control groups of version 1, only the pressure of the host is known.
    """
    slot = environment.slot
    if isinstance(slot, Unavailable) or isinstance(slot.memory_pressure_ratio, Unavailable):
        return environment.memory_pressure_ratio, environment.io_pressure_ratio
    return slot.memory_pressure_ratio, slot.io_pressure_ratio


def _reason(code: str, detail: str) -> VerdictReason:
    return VerdictReason(code=code, detail=detail[:1024])
