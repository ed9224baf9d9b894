"""Complexity of a source: spatial and temporal information as in ITU-T P.910."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from ffrtmp_shared.measurement import SourceMeasurement
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.ffmpeg import command, process
from ffrtmp_worker.ffmpeg.container_crop import stored_frames
from ffrtmp_worker.ffmpeg.probe import VideoProbe
from ffrtmp_worker.measure.measurement_cache import Producer, measurement_key

_LONGEST_S = 10.0
"""Duration of the sequences in ITU-T P.910, in seconds. Only the start of a longer source is
analyzed, because the analysis of a whole film would take longer than its encodes."""

_VERSION = 2
"""Version of the computation of a complexity."""

_DEADLINE_S = 600.0
# FFmpeg creates the filter graph twice. The first graph receives no frames, but prints a summary.
_SUMMARY = re.compile(
    r"Total frames: [1-9]\d*\s+"
    r"Spatial Information:\s+Average: (\S+)\s+Max: (\S+)\s+Min: \S+\s+"
    r"Temporal Information:\s+Average: (\S+)\s+Max: (\S+)"
)


class Complexity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The complexity of a source's first `characterised_s` seconds; see SourceMeasurement."""

    characterised_s: float
    si_mean: float
    si_max: float
    ti_mean: float
    ti_max: float


def measure_complexity(
    ffmpeg: Path, folder: Path, name: str, duration_s: float, stop: Callable[[], bool]
) -> Complexity | Unavailable:
    """Measure the complexity of a source with FFmpeg's filter siti.

    All sources are converted to 8 bits, so that the values of different bit depths are comparable.

    Args:
        ffmpeg: The FFmpeg to use.
        folder: The folder of the source; the log is written there as well.
        name: The name of the source in the folder.
        duration_s: The duration of the source, in seconds.
        stop: A function that returns true when the analysis is to stop.

    Returns:
        The complexity, or the reason why it is unavailable.
    """
    analyzed_s = min(duration_s, _LONGEST_S)
    outcome = process.run_process(
        command.complexity_command(ffmpeg, name, analyzed_s, stored=stored_frames(ffmpeg)),
        cwd=folder,
        log=folder / "content.log",
        deadline_s=_DEADLINE_S,
        stop=stop,
    )
    found = _SUMMARY.search(outcome.log_tail)
    if outcome.stopped_by is not None or outcome.exit_code or found is None:
        return Unavailable(reason="FFmpeg's filter siti could not analyze the source")
    si_mean, si_max, ti_mean, ti_max = (float(value) for value in found.groups())
    return Complexity(
        characterised_s=analyzed_s, si_mean=si_mean, si_max=si_max, ti_mean=ti_mean, ti_max=ti_max
    )


def complexity_key(sha256: str, producer: Producer) -> str | None:
    """Return the key of a complexity in the node's cache, as `measurement_key` does.

    Args:
        sha256: The digest of the source's content.
        producer: The agent and the FFmpeg that analyze it.
    """
    return measurement_key("complexity", _VERSION, producer, sha256)


def source_measurement(probe: VideoProbe, content: Complexity | Unavailable) -> SourceMeasurement:
    """Combine the properties and the complexity of a source."""
    complexity = (
        dict.fromkeys(Complexity.__struct_fields__, content)
        if isinstance(content, Unavailable)
        else msgspec.structs.asdict(content)
    )
    return SourceMeasurement(
        codec=probe.codec,
        width=probe.width,
        height=probe.height,
        pixel_format=probe.pixel_format,
        frame_rate=probe.frame_rate_text,
        frames=probe.frames,
        duration_s=probe.duration_s,
        header_faults=probe.header_faults,
        **complexity,
    )
