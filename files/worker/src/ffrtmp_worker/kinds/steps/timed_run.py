"""Running the FFmpeg process that is timed: its cost and its progress."""

import signal
from collections.abc import Sequence

import msgspec
from ffrtmp_shared.measurement import EncodeMeasurement
from ffrtmp_shared.stages import Stage
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.ffmpeg import process
from ffrtmp_worker.ffmpeg.progress import ProgressReport, ProgressReports
from ffrtmp_worker.kinds.steps.attempt import ENCODE_LOG_NAME, Attempt
from ffrtmp_worker.kinds.steps.encode_failures import encode_failure
from ffrtmp_worker.kinds.steps.preparation import deadline_s, source_duration_s
from ffrtmp_worker.kinds.steps.progress_reporter import ProgressReporter
from ffrtmp_worker.measure.cgroup import MemoryLimit
from ffrtmp_worker.measure.quality import Clip
from ffrtmp_worker.measure.rates import low_fps, rates_fps


def run_timed(attempt: Attempt, argv: Sequence[str], source: Clip) -> EncodeMeasurement:
    """Run `argv` over the whole source in the attempt's folder and measure the process.

    Progress is reported while the process runs.

    Args:
        attempt: The attempt that the process belongs to.
        argv: The command.
        source: The source that the command reads.

    Returns:
        The cost of the process and the speed of the encode.

    Raises:
        AttemptFailedError: The process failed, was killed or exceeded its deadline, or the
            attempt is to stop.
    """
    reporter = ProgressReporter(attempt, float(source.probe.frame_rate))

    def report_progress(report: ProgressReport) -> None:
        reporter.report(report, ratio=report.frames / source.probe.frames)

    reports = ProgressReports(report_progress)
    memory = MemoryLimit()
    outcome = process.run_process(
        argv,
        cwd=attempt.folder,
        log=attempt.folder / ENCODE_LOG_NAME,
        deadline_s=deadline_s(attempt, source.probe),
        stop=attempt.is_stopped,
        on_line=reports.add_line,
    )
    if outcome.stopped_by is not None or outcome.exit_code:
        raise encode_failure(attempt, outcome, source, memory)
    frames = reports.all[-1].frames if reports.all else 0
    rates = rates_fps(reports.all)
    return EncodeMeasurement(
        wall_s=outcome.wall_s,
        user_s=outcome.user_s,
        system_s=outcome.system_s,
        max_rss_kib=outcome.max_rss_kib,
        frames=frames,
        fps=frames / outcome.wall_s,
        speed=source_duration_s(source.probe) / outcome.wall_s,
        first_frame_s=(
            reports.all[0].elapsed_s
            if reports.all
            else Unavailable(reason="FFmpeg did not report any frame")
        ),
        voluntary_switches=outcome.voluntary_switches,
        involuntary_switches=outcome.involuntary_switches,
        minor_faults=outcome.minor_faults,
        major_faults=outcome.major_faults,
        fps_p1=low_fps(rates, 1),
        fps_p5=low_fps(rates, 5),
    )


def warm_up(attempt: Attempt, argv: Sequence[str]) -> None:
    """Run `argv` for the scenario's warm-up time and discard the outcome.

    The warm-up loads programs, libraries and the source into memory and raises the processor's
    clock before anything is timed. The timed run overwrites the output.
    """
    if attempt.scenario.warm_up_s <= 0:
        return
    attempt.enter(Stage.WARM_UP)
    process.run_process(
        argv,
        cwd=attempt.folder,
        log=attempt.folder / "warm-up.log",
        deadline_s=attempt.scenario.warm_up_s,
        stop=attempt.is_stopped,
        # After other signals, FFmpeg would encode the frames that the encoder has already received.
        signals=(signal.SIGKILL,),
    )
    # A failure is ignored, because the timed run will also fail and report the cause.
    attempt.check_stop()


def sum_measurements(passes: Sequence[EncodeMeasurement], source: Clip) -> EncodeMeasurement:
    """Return the total cost of all passes of an encode.

    Times and counts are sums, and memory is the peak of all passes. The number of frames and the
    low rates are from the last pass; the time of the first frame is from the first pass.
    """
    if len(passes) == 1:
        return passes[0]
    wall_s = sum(cost.wall_s for cost in passes)
    return msgspec.structs.replace(
        passes[-1],
        wall_s=wall_s,
        user_s=sum(cost.user_s for cost in passes),
        system_s=sum(cost.system_s for cost in passes),
        max_rss_kib=max(cost.max_rss_kib for cost in passes),
        fps=passes[-1].frames / wall_s,
        speed=source_duration_s(source.probe) / wall_s,
        first_frame_s=passes[0].first_frame_s,
        voluntary_switches=_sum_counts([cost.voluntary_switches for cost in passes]),
        involuntary_switches=_sum_counts([cost.involuntary_switches for cost in passes]),
        minor_faults=_sum_counts([cost.minor_faults for cost in passes]),
        major_faults=_sum_counts([cost.major_faults for cost in passes]),
    )


def _sum_counts(counts: Sequence[int | Unavailable]) -> int | Unavailable:
    """Return the sum of the counts, or the first one that is unavailable."""
    unavailable = next((count for count in counts if isinstance(count, Unavailable)), None)
    return unavailable or sum(count for count in counts if isinstance(count, int))
