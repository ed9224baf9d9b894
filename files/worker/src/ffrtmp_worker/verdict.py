"""Whether an engineer would sign the numbers of an attempt.

`degraded` is a result whose numbers are those of this encode on a host that was disturbed;
`invalid` is one whose numbers are not what they claim to be, or say nothing of this host.
"""

from collections.abc import Iterator

import msgspec
from ffrtmp_shared.measurement import (
    Environment,
    LiveMeasurement,
    Measurement,
    Unavailable,
    Verdict,
    VerdictReason,
    VerdictState,
)

STEAL_DEGRADED = 0.01
"""A hypervisor that takes more than this part of the CPU's time moves a speed by as much: more
than the 1 % to which repeats are usually driven."""

STEAL_INVALID = 0.2
"""With a fifth of the CPU gone, the figures are those of the neighbours."""

OTHER_LOAD_DEGRADED = 0.05
"""Work of others on more than this part of the host's CPU time shares caches and memory with the
encode, and its cores where there are not enough."""

MEMORY_PRESSURE_DEGRADED = 0.01
"""Waiting for memory is waiting for the disk; an undisturbed encode never does."""

IO_PRESSURE_DEGRADED = 0.05
"""The source is in the page cache and the output is small: more waiting than this is a disk
that the encode waits for, or somebody else's."""

SHORT_DEGRADED_S = 1.0
"""In less time than this, starting the process and reading the clock are more than 1 %."""


def with_verdict(measurement: Measurement) -> Measurement:
    """Return the measurement with the verdict on it."""
    return msgspec.structs.replace(measurement, verdict=compute_verdict(measurement))


def compute_verdict(measurement: Measurement) -> Verdict:
    """Judge a measurement by what was measured beside it; what is unavailable accuses nobody."""
    invalid = list(_invalid(measurement))
    degraded = list(_degraded(measurement))
    state = VerdictState.VALID
    if degraded:
        state = VerdictState.DEGRADED
    if invalid:
        state = VerdictState.INVALID
    return Verdict(state=state, reasons=tuple(invalid + degraded))


def _invalid(measurement: Measurement) -> Iterator[VerdictReason]:
    steal = measurement.environment.steal_ratio
    if steal > STEAL_INVALID:
        yield _reason("steal", f"{steal:.1%} of the CPU time was stolen")
    if measurement.live is not None:
        yield from _overloaded(measurement.live)
    output = measurement.output
    if output is not None:
        if output.frames != measurement.encode.frames:
            yield _reason(
                "frames-missing",
                f"{measurement.encode.frames} frames were encoded and {output.frames} are there",
            )
        if isinstance(measurement.quality, Unavailable):
            yield _reason("quality-unavailable", measurement.quality.reason)
    for rendition in measurement.renditions:
        if isinstance(rendition.quality, Unavailable):
            yield _reason("quality-unavailable", f"{rendition.name}: {rendition.quality.reason}")


def _overloaded(live: LiveMeasurement) -> Iterator[VerdictReason]:
    """Say that a stream did not hold real time: what it cost is then not what a stream costs."""
    if live.below_real_time_s > 0:
        yield _reason("overloaded", f"the stream fell back for {live.below_real_time_s:.1f} s")
    elif live.frames_lost and not live.reconnects:
        yield _reason("overloaded", f"{live.frames_lost} frames were dropped on their way")


def _degraded(measurement: Measurement) -> Iterator[VerdictReason]:
    seen = measurement.environment
    if STEAL_DEGRADED < seen.steal_ratio <= STEAL_INVALID:
        yield _reason("steal", f"{seen.steal_ratio:.1%} of the CPU time was stolen")
    others = _other_load_ratio(measurement, seen)
    if others is not None and others > OTHER_LOAD_DEGRADED:
        yield _reason("other-load", f"others used {others:.1%} of the host's CPU time")
    if isinstance(seen.throttle_events, int) and seen.throttle_events > 0:
        yield _reason("throttled", f"the processor slowed down {seen.throttle_events} times")
    if isinstance(seen.throttled_periods, int) and seen.throttled_periods > 0:
        yield _reason(
            "quota", f"the slot had used up its CPU quota in {seen.throttled_periods} periods"
        )
    for code, ratio, most in (
        ("memory-pressure", seen.memory_pressure_ratio, MEMORY_PRESSURE_DEGRADED),
        ("io-pressure", seen.io_pressure_ratio, IO_PRESSURE_DEGRADED),
    ):
        if isinstance(ratio, float) and ratio > most:
            yield _reason(code, f"tasks waited {ratio:.1%} of the time")
    if measurement.live is not None and measurement.live.reconnects:
        yield _reason("reconnected", f"{measurement.live.reconnects} times")
    if measurement.encode.wall_s < SHORT_DEGRADED_S:
        yield _reason("short", f"the encode took {measurement.encode.wall_s:.2f} s")


def _other_load_ratio(measurement: Measurement, seen: Environment) -> float | None:
    """Return the part of the host's CPU time that others used, if it is known."""
    if isinstance(seen.cpu_busy_s, Unavailable) or isinstance(seen.cpu_count, Unavailable):
        return None
    if measurement.density is not None:
        # Its cost is that of one window, and the host was watched through all of them.
        return None
    own_s = measurement.encode.cpu_s
    if measurement.live is not None:
        own_s += measurement.live.helpers_cpu_s
    others_s = seen.cpu_busy_s - own_s
    return max(others_s, 0.0) / (measurement.encode.wall_s * seen.cpu_count)


def _reason(code: str, detail: str) -> VerdictReason:
    return VerdictReason(code=code, detail=detail[:1024])
