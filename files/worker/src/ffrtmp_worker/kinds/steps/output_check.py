"""Check of an output against its scenario, and measurement of its quality."""

import msgspec
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.constrained_types import Sha256
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import OutputMeasurement, QualityMeasurement
from ffrtmp_shared.scenario import ALL_SCORES, EncodeSettings
from ffrtmp_shared.stages import Stage
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command, process
from ffrtmp_worker.ffmpeg.probe import UnreadableFileError, VideoProbe
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.cached_probe import probe_or_load
from ffrtmp_worker.kinds.steps.encode_failures import killed
from ffrtmp_worker.kinds.steps.preparation import SourceClip, deadline_s
from ffrtmp_worker.kinds.steps.source_check import find_source_failure
from ffrtmp_worker.measure import output as outputs
from ffrtmp_worker.measure import quality
from ffrtmp_worker.measure.cgroup import MemoryLimit
from ffrtmp_worker.measure.measurement_cache import measurement_key
from ffrtmp_worker.measure.quality import Clip
from ffrtmp_worker.measure.quality_cache import QualityCache

_DIGEST_MARK = "SHA256="

_DECODE_VERSION = 1
"""Version of the check whether an output can be decoded."""


class _DecodeCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The digest of all decoded frames of an output, all of which can be decoded."""

    decoded_sha256: Sha256


def check_output(
    attempt: Attempt,
    settings: EncodeSettings,
    source: SourceClip,
    output_name: str,
    part: str = "",
) -> tuple[OutputMeasurement, QualityMeasurement | Unavailable]:
    """Check the file `output_name` in the attempt's folder, then compare it with the source.

    Values that depend only on the content of the output are read from the node's cache, if it has
    them.

    Args:
        attempt: The attempt that wrote the output.
        settings: The settings that the output has to match.
        source: The source that was encoded.
        output_name: The name of the file in the attempt's folder.
        part: The prefix of the names of the output's values in the measurement.

    Returns:
        The figures of the output and its quality.

    Raises:
        AttemptFailedError: The output does not match `settings` or cannot be decoded, or the
            attempt is to stop.
    """
    attempt.enter(Stage.OUTPUT_CHECK)
    sha256 = _digest(attempt, output_name)
    found, is_probe_cached = _probe(attempt, settings, source, output_name, sha256)
    decoded_sha256, is_decode_cached = _check_decode(attempt, source.probe, output_name, sha256)
    if is_probe_cached and is_decode_cached:
        attempt.cache_record.add_value(f"{part}output")
    measured = outputs.measure_output(
        attempt.folder / output_name,
        found,
        requested_kbps=settings.rate.bitrate_kbps,
        sha256=sha256,
        decoded_sha256=decoded_sha256,
    )
    known = QualityCache(
        cache=attempt.tools.measurements,
        record=attempt.cache_record,
        name=f"{part}quality",
        source_sha256=source.sha256,
        output_sha256=sha256,
        producer=attempt.tools.quality_producer(),
        find_producer=attempt.tools.quality_producer,
    )
    compared = _compare(attempt, source, Clip(name=output_name, probe=found), known)
    attempt.check_stop()
    return measured, compared


def _digest(attempt: Attempt, name: str) -> str:
    """Return the SHA-256 of the output, which is missing if FFmpeg ended without writing it."""
    try:
        return outputs.file_sha256(attempt.folder / name)
    except FileNotFoundError as error:
        attempt.check_stop()
        raise AttemptFailedError(FailureClass.OUTPUT_MISMATCH, f"{name} cannot be read") from error


def _probe(
    attempt: Attempt, settings: EncodeSettings, source: Clip, name: str, sha256: str
) -> tuple[VideoProbe, bool]:
    """Return the properties of the output, and whether they were cached."""
    try:
        output, is_cached = probe_or_load(attempt, name, sha256)
    except UnreadableFileError as error:
        attempt.check_stop()
        raise AttemptFailedError(
            FailureClass.OUTPUT_MISMATCH, str(error), error.log_tail
        ) from error
    wrong = outputs.mismatches(settings, source.probe, output)
    if wrong:
        # Frames that are missing in the output may already be missing in the source.
        raise find_source_failure(attempt, source) or AttemptFailedError(
            FailureClass.OUTPUT_MISMATCH, "; ".join(wrong)
        )
    return output, is_cached


def _check_decode(attempt: Attempt, source: VideoProbe, name: str, sha256: str) -> tuple[str, bool]:
    """Return the SHA-256 of the decoded frames of the output, and whether it was cached."""
    tools = attempt.tools
    producer = tools.quality_producer()
    key = measurement_key("decode", _DECODE_VERSION, producer, sha256)
    cached = tools.measurements.load(key, _DecodeCheck, attempt.cache_record.add_fault)
    if cached is not None:
        return cached.value.decoded_sha256, True
    decoded_sha256 = _decode(attempt, source, name)
    if tools.quality_producer() == producer:
        tools.measurements.store(key, _DecodeCheck(decoded_sha256=decoded_sha256))
    return decoded_sha256, False


def _decode(attempt: Attempt, source: VideoProbe, name: str) -> str:
    """Decode the whole output and return the SHA-256 of its frames."""
    digest_lines: list[str] = []
    memory = MemoryLimit()
    allowed_s = deadline_s(attempt, source)
    outcome = process.run_process(
        command.digest(attempt.tools.quality_ffmpeg, name),
        cwd=attempt.folder,
        log=attempt.folder / "digest.log",
        deadline_s=allowed_s,
        stop=attempt.is_stopped,
        on_line=lambda line, _: (
            digest_lines.append(line) if line.startswith(_DIGEST_MARK) else None
        ),
    )
    attempt.check_stop()
    if outcome.stopped_by is not None:
        raise AttemptFailedError(
            FailureClass.DEADLINE_EXCEEDED,
            f"the output was not decoded within {allowed_s:.1f} s",
            outcome.log_tail,
        )
    if outcome.exit_code < 0:
        # If a signal ended the decoder, the file need not be damaged.
        raise killed(outcome.exit_code, outcome.log_tail, memory)
    if outcome.exit_code or len(digest_lines) != 1:
        raise AttemptFailedError(
            FailureClass.OUTPUT_MISMATCH,
            f"the output cannot be decoded (code {outcome.exit_code})",
            outcome.log_tail,
        )
    return digest_lines[0].removeprefix(_DIGEST_MARK).strip()


def _compare(
    attempt: Attempt, source: Clip, output: Clip, known: QualityCache
) -> QualityMeasurement | Unavailable:
    attempt.report(Progress(stage=Stage.QUALITY, frames=output.probe.frames))
    how = quality.QualityPass(
        ffmpeg=attempt.tools.quality_ffmpeg,
        folder=attempt.folder,
        threads=attempt.quality_threads,
        deadline_s=deadline_s(attempt, source.probe),
        calibration=attempt.tools.calibration,
        scores=attempt.scenario.quality or ALL_SCORES,
        known=known,
    )
    return quality.measure_quality(how, distorted=output, reference=source, stop=attempt.is_stopped)
