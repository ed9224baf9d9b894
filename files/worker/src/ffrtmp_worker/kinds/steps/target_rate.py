"""Search for the setting of an attempt that requests a VMAF, by encodes before the measurement."""

import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.rate_search import RateProbe, RateSearch
from ffrtmp_shared.scenario import EncodeSettings
from ffrtmp_shared.stages import Stage
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.output_check import check_output
from ffrtmp_worker.kinds.steps.preparation import SourceClip
from ffrtmp_worker.kinds.steps.probe_cache import ProbeSeries, probe_key
from ffrtmp_worker.kinds.steps.timed_run import run_timed
from ffrtmp_worker.kinds.steps.vmaf_search import (
    MAX_PROBES,
    Found,
    Predicted,
    Probe,
    Refused,
    Target,
    Try,
    describe_miss,
    next_step,
)
from ffrtmp_worker.measure import quality
from ffrtmp_worker.measure.measurement_cache import CacheRecord
from ffrtmp_worker.measure.quality_graph import LOGS
from ffrtmp_worker.measure.series import Series

_SCORE_DECIMALS = 2
"""Decimals of the scores that determine the next step. The scores that processors of different
types compute for the same frames differ by less, so all nodes take the same steps."""

_ROUNDING = 0.5 * 10**-_SCORE_DECIMALS


def resolve_rate(
    attempt: Attempt, source: SourceClip, *, has_quality: bool
) -> tuple[Attempt, RateSearch | None]:
    """Search for the setting that reaches the VMAF that a scenario requests.

    The probes are complete encodes of the source with the settings of the scenario. Each is checked
    and compared with the source like the measured encode. The node's cache keeps them for repeats
    of the scenario.

    Args:
        attempt: The attempt.
        source: Its source.
        has_quality: Whether the measured encode is compared with the source. Only then may it have
            a setting that follows from the probes, but is not one of theirs.

    Returns:
        The attempt with the setting in place of the VMAF, and the search. An attempt that requests
        no VMAF is returned unchanged, without a search.

    Raises:
        AttemptFailedError: No setting reaches the VMAF, or a probe failed.
    """
    settings = attempt.scenario.encode
    if settings is None or settings.rate.vmaf is None:
        return attempt, None
    return _Search(attempt, source, settings, settings.rate.vmaf).run(has_quality=has_quality)


def check_target(
    attempt: Attempt,
    source: SourceClip,
    search: RateSearch | None,
    measured: QualityMeasurement | Unavailable,
) -> None:
    """Check that the measured encode has the VMAF that a scenario requests.

    If a probe with the same setting had this VMAF, the probes are removed from the cache, and the
    verdict on the result states the deviation. The encoders of some GPUs do not repeat their output
    exactly, and a new driver may change it.

    Args:
        attempt: The attempt as it was before `resolve_rate`.
        source: The source of the attempt.
        search: The search, if there was one.
        measured: The quality of the measured encode.

    Raises:
        AttemptFailedError: The setting follows from the probes, and does not reach the VMAF.
    """
    settings = attempt.scenario.encode
    if search is None or settings is None:
        return
    score = measured.vmaf_mean if isinstance(measured, QualityMeasurement) else None
    if score is not None and search.is_reached(score):
        return
    if not search.is_confirmed:
        found = "an unknown VMAF" if score is None else f"{score:.2f}"
        reason = f"{search.setting:g}, which the probes predict, has {found}"
        raise _refusal(settings, search.probes, reason)
    if score is not None:
        attempt.tools.probe_cache.forget(_key(attempt, source, settings))


def _key(attempt: Attempt, source: SourceClip, settings: EncodeSettings) -> str:
    tools = attempt.tools
    return probe_key(
        settings, source.sha256, tools.ffmpeg_build.sha256, tools.quality_ffmpeg_build.sha256
    )


class _Search:
    """The search of one attempt."""

    def __init__(
        self, attempt: Attempt, source: SourceClip, settings: EncodeSettings, vmaf: float
    ) -> None:
        self._attempt = attempt
        self._source = source
        self._settings = settings
        self._control, scale = ENCODERS[settings.encoder].quality
        # The exact score of a hit is then within the tolerance as well.
        tolerance = settings.rate.vmaf_tolerance - _ROUNDING
        self._target = Target(vmaf=vmaf, tolerance=tolerance, scale=scale)
        self._key = _key(attempt, source, settings)
        self._cache = attempt.tools.probe_cache
        self._series = self._cache.load(self._key)

    def run(self, *, has_quality: bool) -> tuple[Attempt, RateSearch]:
        is_cached = True
        # There are at most MAX_PROBES steps of this type.
        while isinstance(step := next_step(self._target, self._scores()), Try):
            is_cached = False
            self._probe(step.setting)
        match step:
            case Found(probe):
                return self._end(probe.setting, is_cached=is_cached)
            case Predicted(setting) if has_quality:
                return self._end(setting, is_cached=is_cached)
            case Predicted():
                raise self._refusal(describe_miss(self._target, self._scores()))
            case Refused(reason):
                raise self._refusal(reason)

    def _scores(self) -> list[Probe]:
        return [
            Probe(setting=probe.setting, vmaf=round(probe.vmaf_mean, _SCORE_DECIMALS))
            for probe in self._series.probes
        ]

    def _end(self, setting: float, *, is_cached: bool) -> tuple[Attempt, RateSearch]:
        encode = self._with_setting(setting)
        scenario = msgspec.structs.replace(self._attempt.scenario, encode=encode)
        return replace(self._attempt, scenario=scenario), RateSearch(
            vmaf_target=self._target.vmaf,
            vmaf_tolerance=self._settings.rate.vmaf_tolerance,
            control=self._control,
            setting=setting,
            probes=self._series.probes,
            duration_s=self._series.duration_s,
            is_cached=is_cached,
        )

    def _probe(self, setting: float) -> None:
        """Encode the source with a setting and add the score to the series."""
        start_s = time.monotonic()
        encode = self._with_setting(setting)
        # The values of a probe are not those of the measurement.
        record = CacheRecord(faults=self._attempt.cache_record.faults)
        probing = replace(self._attempt, series=Series(), report=self._report, cache_record=record)
        try:
            run_timed(
                probing,
                command.encode(
                    encode,
                    probing.tools.ffmpeg,
                    self._source.name,
                    command.OUTPUT_NAME,
                    stored=probing.stored_frames(probing.tools.ffmpeg),
                ),
                self._source,
            )
            output, measured = check_output(probing, encode, self._source, command.OUTPUT_NAME)
        finally:
            # Kinds without an output would otherwise keep the scores of a probe as theirs.
            for name in (command.OUTPUT_NAME, quality.LOG_NAME, LOGS.ssim, LOGS.xpsnr):
                (self._attempt.folder / name).unlink(missing_ok=True)
        if isinstance(measured, Unavailable):
            raise self._refusal(f"VMAF cannot be measured: {measured.reason}")
        probe = RateProbe(
            setting=setting,
            vmaf_mean=measured.vmaf_mean,
            video_bitrate_kbps=output.video_bitrate_kbps,
        )
        self._series = ProbeSeries(
            probes=(*self._series.probes, probe),
            duration_s=self._series.duration_s + time.monotonic() - start_s,
        )
        self._cache.store(self._key, self._series)

    def _report(self, progress: Progress) -> None:
        """Report the progress of a probe as that of the search."""
        is_checked = progress.stage in (Stage.OUTPUT_CHECK, Stage.QUALITY)
        part = 0.5 if is_checked else progress.ratio / 2
        ratio = (len(self._series.probes) + part) / MAX_PROBES
        self._attempt.report(Progress(stage=Stage.SEARCH, frames=progress.frames, ratio=ratio))

    def _with_setting(self, setting: float) -> EncodeSettings:
        rate = self._settings.rate.with_quality(self._control, setting)
        return msgspec.structs.replace(self._settings, rate=rate)

    def _refusal(self, reason: str) -> AttemptFailedError:
        return _refusal(self._settings, self._series.probes, reason)


def _refusal(
    settings: EncodeSettings, probes: Sequence[RateProbe], reason: str
) -> AttemptFailedError:
    control, _ = ENCODERS[settings.encoder].quality
    rate = settings.rate
    tried = ", ".join(f"{control} {probe.setting:g}: {probe.vmaf_mean:.2f}" for probe in probes)
    message = f"{settings.encoder} does not reach VMAF {rate.vmaf:g} +- {rate.vmaf_tolerance:g}"
    return AttemptFailedError(
        FailureClass.TARGET_NOT_REACHED,
        f"{message}: {reason}" + (f" (probes: {tried})" if tried else ""),
    )
