"""Tests of jobs that request a VMAF, with a real FFmpeg."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import Measurement, QualityMeasurement
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.rate_search import RateProbe, RateSearch
from ffrtmp_shared.scenario import DensitySettings
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_shared.verdict import VerdictState
from ffrtmp_worker import kinds, verdict
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools
from ffrtmp_worker.kinds.steps.preparation import SourceClip, prepare_source
from ffrtmp_worker.kinds.steps.probe_cache import ProbeCache, ProbeSeries, probe_key
from ffrtmp_worker.kinds.steps.target_rate import check_target, resolve_rate

from .conftest import attempt, scenario

TARGET = RatePoint(vmaf=88, vmaf_tolerance=1)


def _key(tried: Attempt, source: SourceClip) -> str:
    tools, settings = tried.tools, tried.scenario.encode
    assert settings is not None
    return probe_key(
        settings, source.sha256, tools.ffmpeg_build.sha256, tools.quality_ffmpeg_build.sha256
    )


def _probes(*scores: tuple[float, float]) -> ProbeSeries:
    """Return probes with these settings and scores."""
    return ProbeSeries(
        probes=tuple(
            RateProbe(setting=setting, vmaf_mean=score, video_bitrate_kbps=100.0)
            for setting, score in scores
        ),
        duration_s=12.5,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "preset"), [("libx264", "veryfast"), ("libx265", "ultrafast"), ("libsvtav1", "12")]
)
def test_the_output_has_the_requested_vmaf(
    encoder: str, preset: str, clip: Path, caching: Tools, tmp_path: Path
) -> None:
    spec = scenario(clip, encoder=encoder, preset=preset, rate=TARGET)
    reported: list[Progress] = []
    first = kinds.run_attempt(attempt(spec, clip, tmp_path / "a", caching, reported=reported))
    search = first.rate_search
    assert isinstance(search, RateSearch)
    assert isinstance(first.quality, QualityMeasurement)
    assert abs(first.quality.vmaf_mean - 88) <= 1
    assert (search.vmaf_target, search.vmaf_tolerance, search.control) == (88, 1, "crf")
    assert 1 <= len(search.probes) <= 4
    assert not search.is_cached
    (used,) = [probe for probe in search.probes if probe.setting == search.setting]
    # A software encoder repeats the output of the probe exactly.
    assert used.vmaf_mean == first.quality.vmaf_mean
    assert first.output is not None
    assert used.video_bitrate_kbps == first.output.video_bitrate_kbps
    argv = first.provenance.argv
    assert argv[argv.index("-crf") + 1] == f"{search.setting:g}"
    stages = [progress.stage for progress in reported]
    measured_from = stages.index("encode")
    assert "search" in stages[:measured_from]
    assert "quality" not in stages[:measured_from]
    assert "search" not in stages[measured_from:]
    ratios = [progress.ratio for progress in reported if progress.stage == "search"]
    assert ratios == sorted(ratios)
    assert msgspec.json.decode(msgspec.json.encode(first), type=Measurement) == first

    again = kinds.run_attempt(attempt(spec, clip, tmp_path / "b", caching))
    assert again.rate_search == msgspec.structs.replace(search, is_cached=True)


@pytest.mark.slow
def test_a_density_uses_the_setting_that_was_found(
    clip: Path, caching: Tools, tmp_path: Path
) -> None:
    spec = msgspec.structs.replace(
        scenario(clip, rate=TARGET, preset="ultrafast"),
        kind="density",
        density=DensitySettings(window_s=8.0, verify_s=8.0, max_streams=1, max_lag_s=5.0),
    )
    measured = kinds.run_attempt(attempt(spec, clip, tmp_path / "a", caching))
    assert measured.rate_search is not None
    argv = measured.provenance.argv
    assert argv[argv.index("-crf") + 1] == f"{measured.rate_search.setting:g}"
    assert not list((tmp_path / "a").glob("vmaf*")), "scores of probes are not those of the streams"


def test_an_unreachable_target_fails_with_the_best_score(
    clip: Path, caching: Tools, tmp_path: Path
) -> None:
    tried = attempt(scenario(clip, rate=RatePoint(vmaf=98)), clip, tmp_path / "a", caching)
    source = prepare_source(tried)
    caching.probe_cache.store(_key(tried, source), _probes((25, 90.5), (5, 96.25)))
    with pytest.raises(AttemptFailedError) as caught:
        resolve_rate(tried, source, has_quality=True)
    assert caught.value.failure_class is FailureClass.TARGET_NOT_REACHED
    assert not caught.value.failure_class.is_retryable
    assert str(caught.value) == (
        "libx264 does not reach VMAF 98 +- 0.5: the best setting, 5, reaches only 96.25 "
        "(probes: crf 25: 90.50, crf 5: 96.25)"
    )


def test_a_clip_without_quality_fails_with_the_reason(
    clip: Path, caching: Tools, tmp_path: Path
) -> None:
    spec = scenario(clip, rate=TARGET, preset="ultrafast", frame_rate="12")
    tried = attempt(spec, clip, tmp_path / "a", caching)
    with pytest.raises(AttemptFailedError) as caught:
        kinds.run_attempt(tried)
    assert caught.value.failure_class is FailureClass.TARGET_NOT_REACHED
    assert "VMAF cannot be measured: the output has 12/1 frames a second" in str(caught.value)


def test_predicted_settings_are_only_used_if_they_are_measured(
    clip: Path, caching: Tools, tmp_path: Path
) -> None:
    tried = attempt(scenario(clip, rate=TARGET), clip, tmp_path / "a", caching)
    source = prepare_source(tried)
    scores = _probes((20, 95), (24, 91), (26, 89.5), (30, 84))
    caching.probe_cache.store(_key(tried, source), scores)
    with pytest.raises(AttemptFailedError, match="the closest of 4 probes, 26, reaches"):
        resolve_rate(tried, source, has_quality=False)
    resolved, search = resolve_rate(tried, source, has_quality=True)
    assert search is not None
    assert 26 < search.setting < 30
    assert not search.is_confirmed
    assert resolved.scenario.encode is not None
    assert resolved.scenario.encode.rate == RatePoint(crf=search.setting)
    check_target(tried, source, search, _quality(87.5))
    with pytest.raises(AttemptFailedError, match="which the probes predict, has 86"):
        check_target(tried, source, search, _quality(86.9))
    with pytest.raises(AttemptFailedError, match="has an unknown VMAF"):
        check_target(tried, source, search, Unavailable(reason="disk full"))
    assert caching.probe_cache.load(_key(tried, source)) == scores


def test_an_output_that_differs_from_its_probe_is_invalid_and_searched_again(
    clip: Path, caching: Tools, tmp_path: Path
) -> None:
    tried = attempt(scenario(clip, rate=TARGET), clip, tmp_path / "a", caching)
    source = prepare_source(tried)
    # The scores of another encoder, as if a driver had changed.
    caching.probe_cache.store(_key(tried, source), _probes((44, 88.0)))
    measured = kinds.run_attempt(replace(tried, folder=_folder(tmp_path / "b")))
    assert measured.rate_search is not None
    assert measured.rate_search.is_cached
    assert measured.verdict is not None
    assert measured.verdict.state is VerdictState.INVALID
    assert measured.verdict.reasons[0].code == "vmaf-missed"
    assert caching.probe_cache.load(_key(tried, source)) == ProbeSeries()
    reached = msgspec.structs.replace(measured, quality=_quality(88.9))
    codes = [reason.code for reason in verdict.compute_verdict(reached).reasons]
    assert "vmaf-missed" not in codes


@pytest.mark.slow
def test_a_stopped_search_continues_after_its_last_probe(
    clip: Path, caching: Tools, tmp_path: Path
) -> None:
    spec = scenario(clip, rate=RatePoint(vmaf=50), preset="ultrafast")
    reported: list[Progress] = []

    def stop_reason() -> str:
        is_second = any(p.stage == "search" and p.ratio > 0.25 for p in reported)
        return "the agent was stopped" if is_second else ""

    tried = attempt(spec, clip, tmp_path / "a", caching, stop_reason=stop_reason, reported=reported)
    with pytest.raises(AttemptFailedError) as caught:
        kinds.run_attempt(tried)
    assert caught.value.failure_class is FailureClass.STOPPED
    source = prepare_source(attempt(spec, clip, tmp_path / "b", caching))
    assert len(caching.probe_cache.load(_key(tried, source)).probes) == 1


def test_the_key_depends_on_all_that_determines_the_output(clip: Path) -> None:
    settings = scenario(clip, rate=TARGET).encode
    assert settings is not None
    other = msgspec.structs.replace(settings, threads=3)
    closer = msgspec.structs.replace(settings, rate=RatePoint(vmaf=88))
    keys = [
        probe_key(settings, "a" * 64, "b" * 64, "c" * 64),
        probe_key(settings, "d" * 64, "b" * 64, "c" * 64),
        probe_key(settings, "a" * 64, "d" * 64, "c" * 64),
        probe_key(settings, "a" * 64, "b" * 64, "d" * 64),
        probe_key(other, "a" * 64, "b" * 64, "c" * 64),
        probe_key(closer, "a" * 64, "b" * 64, "c" * 64),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == probe_key(settings, "a" * 64, "b" * 64, "c" * 64)


def test_damaged_and_missing_probes_are_made_again(tmp_path: Path) -> None:
    cache = ProbeCache(tmp_path)
    assert cache.load("a") == ProbeSeries()
    cache.store("a", _probes((20, 95)))
    assert cache.load("a") == _probes((20, 95))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert cache.load("a") == ProbeSeries()
    cache.forget("a")
    cache.forget("a")
    assert not list(tmp_path.iterdir())
    ProbeCache(tmp_path / "absent").store("a", _probes((20, 95)))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _quality(vmaf: float) -> QualityMeasurement:
    return QualityMeasurement(
        vmaf_model="vmaf_v0.6.1",
        vmaf_mean=vmaf,
        vmaf_harmonic_mean=vmaf,
        vmaf_min=vmaf,
        vmaf_p1=vmaf,
        vmaf_p5=vmaf,
        pairs=40,
    )
