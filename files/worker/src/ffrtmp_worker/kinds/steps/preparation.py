"""Preparation of an attempt: checks of the scenario, the node and the source."""

import shutil
from pathlib import PurePath

from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import SourceMeasurement
from ffrtmp_shared.stages import Stage
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.probe import UnreadableFileError, VideoProbe
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.cached_probe import probe_or_load
from ffrtmp_worker.measure import complexity
from ffrtmp_worker.measure import output as outputs
from ffrtmp_worker.measure.complexity import Complexity
from ffrtmp_worker.measure.quality import Clip

_SAFE_SUFFIX_LENGTH = 8


class SourceClip(Clip, frozen=True, kw_only=True):
    """The source in the attempt's folder, with the digest of its content and its measurement."""

    sha256: str
    measured: SourceMeasurement


def prepare_source(attempt: Attempt) -> SourceClip:
    """Check the scenario and the node, fetch the source and probe it.

    Raises AttemptFailedError if a step fails.
    """
    check_scenario(attempt)
    _check_encoder(attempt)
    check_space(attempt)
    attempt.enter(Stage.FETCH)
    name = f"source{_suffix(attempt.scenario.source.file_name)}"
    sha256 = attempt.fetch(attempt.scenario.source, attempt.folder / name)
    attempt.check_stop()
    attempt.enter(Stage.SOURCE_CHECK)
    found, is_probe_cached = _probe(attempt, name, sha256)
    _check_size(attempt, found)
    known, is_complexity_cached = _complexity(attempt, name, sha256, found)
    attempt.check_stop()
    if is_probe_cached and is_complexity_cached:
        attempt.cache_record.add_value("source")
    return SourceClip(
        name=name, probe=found, sha256=sha256, measured=complexity.source_measurement(found, known)
    )


def _complexity(
    attempt: Attempt, name: str, sha256: str, source: VideoProbe
) -> tuple[Complexity | Unavailable, bool]:
    """Return the complexity of the source, and whether it was cached."""
    tools = attempt.tools
    producer = tools.quality_producer()
    key = complexity.complexity_key(sha256, producer)
    cached = tools.measurements.load(key, Complexity, attempt.cache_record.add_fault)
    if cached is not None:
        return cached.value, True
    found = complexity.measure_complexity(
        tools.quality_ffmpeg, attempt.folder, name, source_duration_s(source), attempt.is_stopped
    )
    if isinstance(found, Complexity) and tools.quality_producer() == producer:
        tools.measurements.store(key, found)
    return found, False


def source_duration_s(source: VideoProbe) -> float:
    """Return the duration of the source's frames at its frame rate, in seconds."""
    return source.frames / float(source.frame_rate)


def deadline_s(attempt: Attempt, source: VideoProbe) -> float:
    """Return the maximum duration of a pass over the source, in seconds."""
    return source_duration_s(source) / attempt.scenario.slowest_speed


def check_scenario(attempt: Attempt) -> None:
    """Raise AttemptFailedError if the scenario is invalid."""
    scenario = attempt.scenario
    problems = scenario.problems()
    if scenario.slowest_speed <= 0:
        problems.append(f"slowest_speed must be above 0, not {scenario.slowest_speed:g}")
    if problems:
        raise AttemptFailedError(FailureClass.INVALID_SETTINGS, "; ".join(problems))


def _check_encoder(attempt: Attempt) -> None:
    scenario = attempt.scenario
    if scenario.encoder is not None and scenario.encoder not in attempt.tools.encoders:
        working = ", ".join(sorted(attempt.tools.encoders)) or "none"
        raise AttemptFailedError(
            FailureClass.ENCODER_UNAVAILABLE,
            f"{scenario.encoder} does not work on this node; those that do: {working}",
        )


def check_space(attempt: Attempt) -> None:
    """Raise AttemptFailedError if the file system of the work folder has too little free space."""
    free = shutil.disk_usage(attempt.folder).free
    if free < attempt.tools.min_free_bytes:
        raise AttemptFailedError(
            FailureClass.NODE,
            f"the work folder has {free} bytes free, fewer than min_free_bytes "
            f"({attempt.tools.min_free_bytes}); free disk space or lower the setting",
        )


def _probe(attempt: Attempt, name: str, sha256: str) -> tuple[VideoProbe, bool]:
    """Return the properties of the source, and whether they were cached."""
    if attempt.tools.probe_fault:
        raise AttemptFailedError(
            FailureClass.NODE, f"the ffprobe of this node is wrong: {attempt.tools.probe_fault}"
        )
    try:
        source, is_cached = probe_or_load(attempt, name, sha256)
    except UnreadableFileError as error:
        attempt.check_stop()
        raise AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE, str(error), error.log_tail
        ) from error
    problems = outputs.source_problems(source)
    if problems:
        raise AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE, "; ".join(problems), source.complaints
        )
    return source, is_cached


def _check_size(attempt: Attempt, source: VideoProbe) -> None:
    keeps_size = any(settings.width is None for settings in attempt.scenario.encoders)
    if keeps_size and (source.width % 2 or source.height % 2):
        # As with an explicit size, odd values are refused, because not every encoder accepts them.
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS,
            f"the source is {source.width}x{source.height}, but 4:2:0 frames need an even width "
            "and height; set width and height of the encode",
        )


def _suffix(file_name: str) -> str:
    """Return the suffix of an untrusted file name if it is short and alphanumeric, else ""."""
    suffix = PurePath(file_name).suffix
    harmless = suffix[1:].isascii() and suffix[1:].isalnum()
    return suffix if harmless and len(suffix) <= _SAFE_SUFFIX_LENGTH else ""
