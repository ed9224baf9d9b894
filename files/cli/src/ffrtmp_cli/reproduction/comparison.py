"""Comparison of a repeated encode with the stored result."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec
from ffrtmp_shared.measurement import Measurement, OutputMeasurement, QualityMeasurement
from ffrtmp_shared.models import Result
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_shared.verdict import VerdictState

from ffrtmp_cli.reproduction.speed_interval import MIN_REPEATS, speed_interval

VMAF_TOLERANCE = 0.05
"""Difference of VMAF that is permitted. Processors of different types compute scores that differ by
less than 0.01, and other builds of libvmaf by a few hundredths."""

_SHOWN_DIGITS = 12


class Agreement(StrEnum):
    """Agreement of a value of the repeated encode with that of the result."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNAVAILABLE = "unavailable"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Comparison of one aspect of a repetition with the result.

    Attributes:
        aspect: The aspect, such as `build`.
        agreement: `agrees`, `disagrees` or `unavailable`.
        expected: The value of the result.
        found: The value of the repetition.
        reason: The reason, which may be empty.
    """

    aspect: str
    agreement: Agreement
    expected: str
    found: str
    reason: str = ""


def compare(
    result: Result, repeats: Sequence[Result], measured: Measurement
) -> tuple[Comparison, ...]:
    """Compare a repeated encode with its result.

    Args:
        result: The stored result.
        repeats: All results of the same scenario, node and run.
        measured: The measurement of the repeated encode.
    """
    return tuple(_comparisons(result, repeats, measured))


def _comparisons(
    result: Result, repeats: Sequence[Result], measured: Measurement
) -> Iterator[Comparison]:
    expected = result.measurement
    yield _build(expected, measured)
    yield _source(expected, measured)
    yield _command(expected, measured)
    outputs = _outputs(expected)
    found = _outputs(measured)
    for name, (output, quality) in outputs.items():
        other, other_quality = found[name]
        suffix = f" of {name}" if name else ""
        yield _bytes(f"bytes{suffix}", output, other)
        yield _quality(f"quality{suffix}", quality, other_quality)
    yield _speed(result, repeats, measured)


def _outputs(
    measured: Measurement,
) -> dict[str, tuple[OutputMeasurement, QualityMeasurement | Unavailable]]:
    """Return the outputs with their quality, by the name of the rendition."""
    if measured.output is not None:
        return {"": (measured.output, measured.quality)}
    return {
        rendition.name: (rendition.output, rendition.quality) for rendition in measured.renditions
    }


def _build(expected: Measurement, measured: Measurement) -> Comparison:
    then, now = expected.provenance.ffmpeg, measured.provenance.ffmpeg
    is_same = then.sha256 == now.sha256
    return Comparison(
        aspect="build",
        agreement=Agreement.AGREES if is_same else Agreement.DISAGREES,
        expected=f"{then.version} ({then.sha256[:_SHOWN_DIGITS]})",
        found=f"{now.version} ({now.sha256[:_SHOWN_DIGITS]})",
        reason=""
        if is_same
        else "this FFmpeg is another build, whose bytes and speed may differ; "
        "name the build of the result with --ffmpeg",
    )


def _source(expected: Measurement, measured: Measurement) -> Comparison:
    then, now = expected.provenance.source_sha256, measured.provenance.source_sha256
    return Comparison(
        aspect="source",
        agreement=Agreement.AGREES if then == now else Agreement.DISAGREES,
        expected=then[:_SHOWN_DIGITS],
        found=now[:_SHOWN_DIGITS],
        reason=""
        if then == now
        else "the synthetic source depends on the FFmpeg that generates "
        "it; name that of the result with --quality-ffmpeg, or the clip with --source",
    )


def _command(expected: Measurement, measured: Measurement) -> Comparison:
    then, now = (
        [argv[1:] for argv in (found.provenance.argv, *found.provenance.more_argv)]
        for found in (expected, measured)
    )
    is_same = then == now
    return Comparison(
        aspect="command",
        agreement=Agreement.AGREES if is_same else Agreement.DISAGREES,
        expected=expected.provenance.agent_version,
        found=measured.provenance.agent_version,
        reason=""
        if is_same
        else "this release builds other arguments for the same settings; "
        "run the commands of the result by hand",
    )


def _bytes(aspect: str, then: OutputMeasurement, now: OutputMeasurement) -> Comparison:
    is_same = then.sha256 == now.sha256
    reason = ""
    if not is_same:
        is_same_video = then.decoded_sha256 == now.decoded_sha256 and isinstance(
            then.decoded_sha256, str
        )
        reason = (
            "the decoded pictures are equal; only the container or its tags differ"
            if is_same_video
            else "the decoded pictures differ as well"
        )
    return Comparison(
        aspect=aspect,
        agreement=Agreement.AGREES if is_same else Agreement.DISAGREES,
        expected=f"{then.file_bytes} bytes ({then.sha256[:_SHOWN_DIGITS]})",
        found=f"{now.file_bytes} bytes ({now.sha256[:_SHOWN_DIGITS]})",
        reason=reason,
    )


def _quality(
    aspect: str, then: QualityMeasurement | Unavailable, now: QualityMeasurement | Unavailable
) -> Comparison:
    shown = [
        "unavailable" if isinstance(value, Unavailable) else f"VMAF {value.vmaf_mean:.2f}"
        for value in (then, now)
    ]
    if isinstance(then, Unavailable) or isinstance(now, Unavailable):
        reasons = [value.reason for value in (then, now) if isinstance(value, Unavailable)]
        return Comparison(
            aspect=aspect,
            agreement=Agreement.UNAVAILABLE,
            expected=shown[0],
            found=shown[1],
            reason=reasons[0],
        )
    is_same = abs(then.vmaf_mean - now.vmaf_mean) <= VMAF_TOLERANCE
    return Comparison(
        aspect=aspect,
        agreement=Agreement.AGREES if is_same else Agreement.DISAGREES,
        expected=shown[0],
        found=shown[1],
        reason="" if is_same else f"VMAF differs by more than {VMAF_TOLERANCE:g}",
    )


def _speed(result: Result, repeats: Sequence[Result], measured: Measurement) -> Comparison:
    found = f"{measured.encode.speed:.3f}x"
    valid = [
        repeat.measurement.encode.speed
        for repeat in repeats
        if repeat.measurement.verdict is None
        or repeat.measurement.verdict.state is not VerdictState.INVALID
    ]
    interval = speed_interval([speed for speed in valid if speed > 0])
    expected = f"{result.measurement.encode.speed:.3f}x"
    reason = ""
    then, now = result.measurement.environment.cpu_model, measured.environment.cpu_model
    if then != now:
        reason = f"it was measured on another processor ({then}; this host has {now})"
    elif interval is None:
        reason = f"the run has fewer than {MIN_REPEATS} valid repeats, so it has no interval"
    if reason or interval is None:
        return Comparison(
            aspect="speed",
            agreement=Agreement.UNAVAILABLE,
            expected=expected,
            found=found,
            reason=reason,
        )
    is_inside = interval.low <= measured.encode.speed <= interval.high
    return Comparison(
        aspect="speed",
        agreement=Agreement.AGREES if is_inside else Agreement.DISAGREES,
        expected=f"{interval.low:.3f}x to {interval.high:.3f}x",
        found=found,
        reason=""
        if is_inside
        else "it is outside the 99 % interval of the run's repeats; check "
        "the host with ffrtmp doctor",
    )
