"""Kind `density`: find the number of streams that a node encodes in real time."""

import msgspec
from ffrtmp_shared.density_measurement import DensityMeasurement, DensityStep
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import EncodeMeasurement, EnergyMeasurement, Measurement
from ffrtmp_shared.scenario import DensitySettings, EncodeSettings
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command, process_group
from ffrtmp_worker.ffmpeg.process_group import GroupOutcome
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.bisection import bisect_max
from ffrtmp_worker.kinds.steps.bottleneck import BottleneckDetector
from ffrtmp_worker.kinds.steps.preparation import SourceClip, prepare_source
from ffrtmp_worker.kinds.steps.progress_reporter import ProgressReporter
from ffrtmp_worker.kinds.steps.repeatable_source import repeatable_name
from ffrtmp_worker.kinds.steps.source_check import find_source_failure
from ffrtmp_worker.kinds.steps.target_rate import resolve_rate
from ffrtmp_worker.measure.host_watch import HostMeasurement
from ffrtmp_worker.measure.real_time import RealTimePace, measure_pace

_NO_LOW_FPS = Unavailable(reason="the streams of a density are judged individually by their lag")
_RESOLUTION_S = 0.1
"""Growth of the lag within a window, in seconds, above which a stream has fallen behind.

Reports count whole frames and are written twice a second, so a smaller growth cannot be detected
reliably.
"""


def run_density(attempt: Attempt) -> Measurement:
    """Find the number of streams that hold real time. Raises AttemptFailedError on failure."""
    source = prepare_source(attempt)
    attempt, rate_search = resolve_rate(attempt, source, has_quality=False)
    encode, density = attempt.scenario.encode, attempt.scenario.density
    if encode is None or density is None:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS,
            "a scenario of kind density needs encode and density settings",
        )
    repeated = repeatable_name(
        attempt, source, attempt.tools.ffmpeg, max(density.window_s, density.verify_s)
    )
    source = msgspec.structs.replace(source, name=repeated)
    measured = _DensitySearch(attempt, source, encode, density).run()
    return msgspec.structs.replace(measured, rate_search=rate_search)


class _DensitySearch:
    """A search, with its steps so far and the outcome of the window that verified the result."""

    def __init__(
        self,
        attempt: Attempt,
        source: SourceClip,
        encode: EncodeSettings,
        settings: DensitySettings,
    ) -> None:
        self._attempt = attempt
        self._settings = settings
        ffmpeg = attempt.tools.ffmpeg
        self._argv = command.stream(
            encode,
            ffmpeg,
            source.name,
            stored=attempt.stored_frames(ffmpeg),
        )
        self._source = source
        self._frame_rate = float(source.probe.frame_rate)
        self._reporter = ProgressReporter(attempt, self._frame_rate)
        self._bottleneck = BottleneckDetector(attempt.tools.nvml)
        self._steps: list[DensityStep] = []
        self._watch = attempt.watch()
        self._verified: tuple[GroupOutcome, HostMeasurement] | None = None

    def run(self) -> Measurement:
        with self._watch:
            self._attempt.settle(self._watch)
            streams = bisect_max(
                lambda count: self._holds(count, self._settings.window_s),
                self._verifies,
                self._settings.max_streams,
            )
        failed = [step for step in self._steps if not step.held]
        if self._verified is None:
            cause = failed[-1].limit if failed else "no number of streams was tried"
            # A source that cannot be decoded would make every host seem too slow.
            raise find_source_failure(self._attempt, self._source) or AttemptFailedError(
                FailureClass.ENCODE_FAILED, f"not even one stream holds real time: {cause}"
            )
        outcome, host = self._verified
        last_step = self._steps[-1]
        watts_per_stream = self._watts_per_stream(last_step)
        return Measurement(
            encode=_total_cost(outcome, self._frame_rate),
            output=None,
            quality=Unavailable(reason="the streams of a density are not stored"),
            environment=host.environment,
            energy=host.energy,
            gpu_energy=host.gpu_energy,
            source=self._source.measured,
            provenance=self._attempt.provenance(self._source.sha256, self._argv),
            density=DensityMeasurement(
                streams=streams,
                limit=min(failed, key=lambda step: step.streams).limit if failed else "",
                steps=tuple(self._steps),
                power_w=last_step.power_w,
                gpu_power_w=last_step.gpu_power_w,
                watts_per_stream=watts_per_stream,
                cost=self._attempt.tools.prices.cost_per_stream(streams, watts_per_stream),
            ),
        )

    def _watts_per_stream(self, step: DensityStep) -> float | Unavailable:
        if isinstance(step.power_w, Unavailable):
            return step.power_w
        if not isinstance(step.gpu_power_w, Unavailable):
            return (step.power_w + step.gpu_power_w) / step.streams
        if self._attempt.tools.nvml.has_gpus():
            return step.gpu_power_w
        return step.power_w / step.streams

    def _verifies(self, count: int) -> bool:
        return self._holds(count, self._settings.verify_s, verify=True)

    def _holds(self, count: int, window_s: float, *, verify: bool = False) -> bool:
        self._attempt.check_stop()
        self._bottleneck = BottleneckDetector(self._attempt.tools.nvml)
        self._reporter = ProgressReporter(self._attempt, self._frame_rate)
        # Each window is watched separately, so that all figures of the result are those of the
        # verified one.
        self._attempt.start(self._watch, self._source.name)
        ended: list[tuple[float, HostMeasurement]] = []
        outcome = process_group.run_group(
            [self._argv] * count,
            cwd=self._attempt.folder,
            duration_s=window_s,
            stop=self._attempt.is_stopped,
            on_report=self._on_report,
            on_end=lambda: ended.append((self._bottleneck.finish(), self._watch.finish())),
        )
        self._attempt.check_stop()
        busy_ratio, host = ended[0]
        power_w, gpu_power_w = _power_w(host.energy), _power_w(host.gpu_energy)
        step = self._judge(outcome, busy_ratio, power_w, gpu_power_w)
        self._steps.append(step)
        if verify and step.held:
            self._verified = outcome, host
        return step.held

    def _on_report(self, place: int, report: ProgressReport) -> None:
        if place == 0:
            self._bottleneck.observe()
            self._reporter.report(report, ratio=0.0)

    def _judge(
        self,
        outcome: GroupOutcome,
        busy_ratio: float,
        power_w: float | Unavailable,
        gpu_power_w: float | Unavailable,
    ) -> DensityStep:
        members = outcome.members
        paces = [measure_pace(member.reports, self._frame_rate) for member in members]
        known_paces = [pace for pace in paces if pace is not None]
        is_complete = len(known_paces) == len(paces)
        held = (
            is_complete
            and all(self._keeps_up(pace) for pace in known_paces)
            and all(member.ending.exit_code is None for member in members)
        )
        unknown = Unavailable(reason="a stream wrote too few reports to determine its pace")
        return DensityStep(
            streams=len(members),
            window_s=outcome.wall_s,
            held=held,
            slowest_speed=min(pace.speed for pace in known_paces) if is_complete else unknown,
            lag_max_s=max(pace.lag_max_s for pace in known_paces) if is_complete else unknown,
            cpu_busy_ratio=busy_ratio,
            power_w=power_w,
            gpu_power_w=gpu_power_w,
            limit="" if held else self._bottleneck.limit(members),
        )

    def _keeps_up(self, pace: RealTimePace) -> bool:
        return pace.drift_s <= _RESOLUTION_S and pace.lag_max_s <= self._settings.max_lag_s


def _power_w(energy: EnergyMeasurement | Unavailable) -> float | Unavailable:
    """Return the mean power over the measured time, in watts, if the energy is available."""
    return energy if isinstance(energy, Unavailable) else energy.gross_j / energy.duration_s


def _total_cost(outcome: GroupOutcome, frame_rate: float) -> EncodeMeasurement:
    members = outcome.members
    frames = sum(member.reports[-1].frames for member in members)
    return EncodeMeasurement(
        wall_s=outcome.wall_s,
        user_s=sum(member.ending.user_s for member in members),
        system_s=sum(member.ending.system_s for member in members),
        max_rss_kib=max(
            member.ending.max_rss_kib for member in members if member.ending.max_rss_kib is not None
        ),
        frames=frames,
        fps=frames / outcome.wall_s,
        speed=frames / frame_rate / outcome.wall_s,
        first_frame_s=max(member.reports[0].elapsed_s for member in members),
        voluntary_switches=sum(member.ending.voluntary_switches for member in members),
        involuntary_switches=sum(member.ending.involuntary_switches for member in members),
        minor_faults=sum(member.ending.minor_faults for member in members),
        major_faults=sum(member.ending.major_faults for member in members),
        fps_p1=_NO_LOW_FPS,
        fps_p5=_NO_LOW_FPS,
    )
