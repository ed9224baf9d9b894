"""Check of an output against its scenario, and measurement of its quality."""

from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import OutputMeasurement, QualityMeasurement
from ffrtmp_shared.scenario import EncodeSettings
from ffrtmp_shared.stages import Stage
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command, process
from ffrtmp_worker.ffmpeg.probe import UnreadableFileError, VideoProbe, probe_video
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.preparation import deadline_s
from ffrtmp_worker.kinds.steps.source_check import find_source_failure
from ffrtmp_worker.kinds.steps.timed_run import killed
from ffrtmp_worker.measure import output as outputs
from ffrtmp_worker.measure import quality
from ffrtmp_worker.measure.cgroup import MemoryLimit
from ffrtmp_worker.measure.quality import Clip

_DIGEST_MARK = "SHA256="


def check_output(
    attempt: Attempt, settings: EncodeSettings, source: Clip, output_name: str
) -> tuple[OutputMeasurement, QualityMeasurement | Unavailable]:
    """Check the file `output_name` in the attempt's folder, then compare it with the source.

    Args:
        attempt: The attempt that wrote the output.
        settings: The settings that the output has to match.
        source: The source that was encoded.
        output_name: The name of the file in the attempt's folder.

    Returns:
        The figures of the output and its quality.

    Raises:
        AttemptFailedError: The output does not match `settings` or cannot be decoded, or the
            attempt is to stop.
    """
    attempt.enter(Stage.OUTPUT_CHECK)
    found = _probe(attempt, settings, source, output_name)
    measured = outputs.measure_output(
        attempt.folder / output_name,
        found,
        requested_kbps=settings.rate.bitrate_kbps,
        decoded_sha256=_decode(attempt, source.probe, output_name),
    )
    compared = _compare(attempt, source, Clip(name=output_name, probe=found))
    attempt.check_stop()
    return measured, compared


def _probe(attempt: Attempt, settings: EncodeSettings, source: Clip, name: str) -> VideoProbe:
    try:
        output = probe_video(
            attempt.tools.ffprobe,
            attempt.folder / name,
            stop=attempt.is_stopped,
            max_packets=attempt.tools.max_packets,
        )
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
    return output


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


def _compare(attempt: Attempt, source: Clip, output: Clip) -> QualityMeasurement | Unavailable:
    attempt.report(Progress(stage=Stage.QUALITY, frames=output.probe.frames))
    how = quality.QualityPass(
        ffmpeg=attempt.tools.quality_ffmpeg,
        folder=attempt.folder,
        threads=attempt.tools.vmaf_threads,
        deadline_s=deadline_s(attempt, source.probe),
        calibration=attempt.tools.calibration,
    )
    return quality.measure_quality(how, distorted=output, reference=source, stop=attempt.is_stopped)
