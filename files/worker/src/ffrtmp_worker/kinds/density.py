"""How many streams in real time a node holds."""

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.measurement import (
    DensityMeasurement,
    DensityStep,
    EncodeMeasurement,
    EnergyMeasurement,
    Measurement,
    Unavailable,
)
from ffrtmp_shared.scenario import DensitySettings, EncodeSettings

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command, process_group
from ffrtmp_worker.ffmpeg.process_group import GroupOutcome
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.bisection import bisect_max
from ffrtmp_worker.kinds.steps.bottleneck import BottleneckDetector
from ffrtmp_worker.kinds.steps.preparation import SourceClip, prepare_source
from ffrtmp_worker.kinds.steps.progress_reporter import ProgressReporter
from ffrtmp_worker.measure.real_time import RealTimePace, measure_pace

_NO_LOW_FPS = Unavailable(reason="streams are judged one by one, by their lag")
_RESOLUTION_S = 0.1
"""A stream that stands further back than this at the end of a window fell behind.

Reports count whole frames and are written twice a second; less than this is not seen surely.
"""


def run_density(attempt: Attempt) -> Measurement:
    """Search for the number of streams; raises AttemptFailedError with the verdict."""
    source = prepare_source(attempt)
    encode, density = attempt.scenario.encode, attempt.scenario.density
    if encode is None or density is None:
        raise AttemptFailedError(FailureClass.INVALID_SETTINGS, "a density needs an encode")
    return _DensitySearch(attempt, source, encode, density).run()


class _DensitySearch:
    """One search: its steps so far and the window that verified its answer."""

    def __init__(
        self,
        attempt: Attempt,
        source: SourceClip,
        encode: EncodeSettings,
        settings: DensitySettings,
    ) -> None:
        self._attempt = attempt
        self._settings = settings
        self._argv = command.stream(encode, attempt.tools.ffmpeg, source.name)
        self._source = source
        self._frame_rate = float(source.probe.frame_rate)
        self._teller = ProgressReporter(attempt, self._frame_rate)
        self._shortage = BottleneckDetector(attempt.tools.nvml)
        self._steps: list[DensityStep] = []
        self._verified: GroupOutcome | None = None

    def run(self) -> Measurement:
        watch = self._attempt.watch()
        watch.settle(self._attempt.check_stop)
        watch.start(self._attempt.folder / self._source.name)
        streams = bisect_max(
            lambda count: self._holds(count, self._settings.window_s),
            self._verifies,
            self._settings.max_streams,
        )
        seen = watch.finish()
        failed = [step for step in self._steps if not step.held]
        if self._verified is None:
            why = failed[-1].limit if failed else "nothing was tried"
            raise AttemptFailedError(
                FailureClass.ENCODE_FAILED, f"not even one stream holds real time: {why}"
            )
        knee = self._steps[-1]
        watts_per_stream = self._watts_per_stream(knee)
        return Measurement(
            encode=_together(self._verified, self._frame_rate),
            output=None,
            quality=Unavailable(reason="streams of a density are not kept"),
            environment=seen.environment,
            energy=seen.energy,
            gpu_energy=seen.gpu_energy,
            source=self._source.measured,
            provenance=self._attempt.provenance(self._source.sha256, self._argv),
            density=DensityMeasurement(
                streams=streams,
                limit=min(failed, key=lambda step: step.streams).limit if failed else "",
                steps=tuple(self._steps),
                power_w=knee.power_w,
                gpu_power_w=knee.gpu_power_w,
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
        self._shortage = BottleneckDetector(self._attempt.tools.nvml)
        meter, gpu_meter = self._attempt.energy_meter(), self._attempt.gpu_energy_meter()
        meter.start()
        gpu_meter.start()
        self._teller = ProgressReporter(self._attempt, self._frame_rate)
        sailing = process_group.run_group(
            [self._argv] * count,
            cwd=self._attempt.folder,
            duration_s=window_s,
            stop=self._attempt.is_stopped,
            on_report=self._heard,
        )
        busy_ratio = self._shortage.finish()
        power_w, gpu_power_w = _power_w(meter.finish()), _power_w(gpu_meter.finish())
        self._attempt.check_stop()
        step = self._judge(sailing, busy_ratio, power_w, gpu_power_w)
        self._steps.append(step)
        if verify and step.held:
            self._verified = sailing
        return step.held

    def _heard(self, place: int, report: ProgressReport) -> None:
        if place == 0:
            self._shortage.observe()
            self._teller.report(report, ratio=0.0)

    def _judge(
        self,
        sailing: GroupOutcome,
        busy_ratio: float,
        power_w: float | Unavailable,
        gpu_power_w: float | Unavailable,
    ) -> DensityStep:
        members = sailing.members
        paces = [measure_pace(member.reports, self._frame_rate) for member in members]
        known = [found for found in paces if found is not None]
        is_whole = len(known) == len(paces)
        held = (
            is_whole
            and all(self._keeps_up(found) for found in known)
            and all(member.ending.exit_code is None for member in members)
        )
        unknown = Unavailable(reason="a stream reported too seldom for its pace to be known")
        return DensityStep(
            streams=len(members),
            window_s=sailing.wall_s,
            held=held,
            slowest_speed=min(found.speed for found in known) if is_whole else unknown,
            lag_max_s=max(found.lag_max_s for found in known) if is_whole else unknown,
            cpu_busy_ratio=busy_ratio,
            power_w=power_w,
            gpu_power_w=gpu_power_w,
            limit="" if held else self._shortage.limit(members),
        )

    def _keeps_up(self, found: RealTimePace) -> bool:
        return found.drift_s <= _RESOLUTION_S and found.lag_max_s <= self._settings.max_lag_s


def _power_w(energy: EnergyMeasurement | Unavailable) -> float | Unavailable:
    """Return the mean power over what was measured, in watts."""
    return energy if isinstance(energy, Unavailable) else energy.gross_j / energy.duration_s


def _together(sailing: GroupOutcome, frame_rate: float) -> EncodeMeasurement:
    members = sailing.members
    frames = sum(member.reports[-1].frames for member in members)
    return EncodeMeasurement(
        wall_s=sailing.wall_s,
        user_s=sum(member.ending.user_s for member in members),
        system_s=sum(member.ending.system_s for member in members),
        max_rss_kib=max(
            member.ending.max_rss_kib for member in members if member.ending.max_rss_kib is not None
        ),
        frames=frames,
        fps=frames / sailing.wall_s,
        speed=frames / frame_rate / sailing.wall_s,
        first_frame_s=max(member.reports[0].elapsed_s for member in members),
        voluntary_switches=sum(member.ending.voluntary_switches for member in members),
        involuntary_switches=sum(member.ending.involuntary_switches for member in members),
        minor_faults=sum(member.ending.minor_faults for member in members),
        major_faults=sum(member.ending.major_faults for member in members),
        fps_p1=_NO_LOW_FPS,
        fps_p5=_NO_LOW_FPS,
    )
