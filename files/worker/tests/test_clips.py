"""Jobs of every kind on the library of unusual clips, compared with the table in clips.yml.

Transcodes of a third of the clips run in `make test-fast`, and the rest in `make test-deep`.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import clip_library
import msgspec
import pytest
from clip_library import Clip, Outcome
from ffrtmp_shared.measurement import Measurement, QualityMeasurement
from ffrtmp_shared.scenario import (
    DecodeSettings,
    DensitySettings,
    LadderSettings,
    LiveSettings,
    Rendition,
    Scenario,
)
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds.steps.attempt import Tools

from .conftest import attempt, scenario
from .rtmp_server import Server, running

_CLIPS = clip_library.load_clips()
_LEAST_VMAF = 60.0
_RENDITIONS = ((96, 64), (64, 48))


def _cases(*, is_fast: bool) -> list[object]:
    return [pytest.param(clip, id=clip.id) for clip in _CLIPS if clip.is_fast is is_fast]


_ALL = [pytest.param(clip, id=clip.id) for clip in _CLIPS]
_STREAMED = [pytest.param(clip, id=clip.id) for clip in _CLIPS if not clip.is_heavy]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("nginx")) as server:
        yield server


def test_a_third_of_the_clips_is_fast() -> None:
    assert len(_CLIPS) >= 40
    assert len([clip for clip in _CLIPS if clip.is_fast]) >= len(_CLIPS) / 3


@pytest.mark.parametrize("clip", _cases(is_fast=True))
def test_transcode(clip: Clip, ffmpeg: Path, tools: Tools, tmp_path: Path) -> None:
    _check_transcode(clip, tools, tmp_path)


@pytest.mark.deep
@pytest.mark.parametrize("clip", _cases(is_fast=False))
def test_transcode_of_other_clips(clip: Clip, ffmpeg: Path, tools: Tools, tmp_path: Path) -> None:
    _check_transcode(clip, tools, tmp_path)


@pytest.mark.deep
@pytest.mark.parametrize("clip", _ALL)
def test_ladder(clip: Clip, ffmpeg: Path, tools: Tools, tmp_path: Path) -> None:
    def change(spec: Scenario) -> Scenario:
        renditions = tuple(
            Rendition(name=f"{height}p", encode=_scaled(spec, width, height))
            for width, height in _RENDITIONS
        )
        ladder = LadderSettings(renditions=renditions)
        return msgspec.structs.replace(spec, kind="ladder", encode=None, ladder=ladder)

    expected = clip.outcome("ladder")
    measured = _run(clip, expected, change, tools, tmp_path)
    if measured is not None:
        _check_source(measured, expected)
        for rendition, size in zip(measured.renditions, _RENDITIONS, strict=True):
            assert rendition.output.frames == expected.frames
            assert (rendition.output.width, rendition.output.height) == size
            _check_quality(rendition.quality, expected, least_vmaf=0)


@pytest.mark.deep
@pytest.mark.parametrize("clip", _ALL)
def test_decode(clip: Clip, ffmpeg: Path, tools: Tools, tmp_path: Path) -> None:
    def change(spec: Scenario) -> Scenario:
        return msgspec.structs.replace(
            spec, kind="decode", encode=None, decode=DecodeSettings(threads=1)
        )

    expected = clip.outcome("decode")
    measured = _run(clip, expected, change, tools, tmp_path)
    if measured is not None:
        _check_source(measured, expected)
        _check_speed(measured, expected)


@pytest.mark.deep
@pytest.mark.parametrize("clip", _STREAMED)
def test_density(clip: Clip, ffmpeg: Path, tools: Tools, tmp_path: Path) -> None:
    def change(spec: Scenario) -> Scenario:
        density = DensitySettings(window_s=6.0, verify_s=6.0, max_streams=1)
        return msgspec.structs.replace(spec, kind="density", density=density)

    expected = clip.outcome("density")
    measured = _run(clip, expected, change, tools, tmp_path)
    if measured is not None:
        _check_source(measured, expected)
        assert measured.density is not None
        assert measured.density.streams == 1


@pytest.mark.deep
@pytest.mark.parametrize("clip", _STREAMED)
def test_live(clip: Clip, ffmpeg: Path, tools: Tools, server: Server, tmp_path: Path) -> None:
    def change(spec: Scenario) -> Scenario:
        return msgspec.structs.replace(spec, kind="live", live=LiveSettings(duration_s=10.0))

    expected = clip.outcome("live")
    live_tools = replace(tools, rtmp_url=server.url, rtmp_stat=server.stat)
    measured = _run(clip, expected, change, live_tools, tmp_path)
    if measured is not None:
        _check_source(measured, expected)
        found = measured.live
        assert found is not None
        assert isinstance(found.end_to_end_p50_s, float)
        assert 0 <= found.lag_p50_s <= found.end_to_end_p50_s + 0.1 < 5
        assert found.reconnects == 0


def _check_transcode(clip: Clip, tools: Tools, tmp_path: Path) -> None:
    expected = clip.outcome("transcode")
    measured = _run(clip, expected, lambda spec: spec, tools, tmp_path)
    if measured is None:
        return
    _check_source(measured, expected)
    _check_speed(measured, expected)
    output = measured.output
    assert output is not None
    assert output.frames == expected.frames
    assert (output.width, output.height) == expected.size
    assert output.frame_rate == expected.rate
    assert output.duration_s == pytest.approx(expected.duration_s, abs=0.001)
    _check_quality(measured.quality, expected)


def _run(
    clip: Clip, expected: Outcome, change: object, tools: Tools, tmp_path: Path
) -> Measurement | None:
    """Run a job with a clip, and return its measurement, or None if it was rejected as expected.

    `change` is a function that returns the scenario of the job from that of a transcode.
    """
    assert callable(change)
    file = clip_library.generate(clip)
    settings = {"preset": "ultrafast", "threads": 1, "gop_frames": 25}
    spec = msgspec.structs.replace(scenario(file, **settings), slowest_speed=0.005)
    tried = attempt(change(spec), file, tmp_path / "a", tools)
    if not expected.rejected:
        measured = kinds.run_attempt(tried)
        # The spool and the master decode what the measurement produced.
        decoded = msgspec.json.decode(msgspec.json.encode(measured), type=Measurement)
        assert decoded == measured
        return measured
    with pytest.raises(AttemptFailedError) as caught:
        kinds.run_attempt(tried)
    assert str(caught.value).startswith(expected.rejected)
    assert caught.value.failure_class == expected.failure_class
    return None


def _scaled(spec: Scenario, width: int, height: int) -> object:
    assert spec.encode is not None
    return msgspec.structs.replace(spec.encode, width=width, height=height)


def _check_source(measured: Measurement, expected: Outcome) -> None:
    source = measured.source
    assert (source.width, source.height) == expected.size
    assert source.pixel_format == expected.pixel_format
    assert source.frames == expected.frames
    assert source.frame_rate == expected.rate
    assert source.duration_s == pytest.approx(expected.duration_s, abs=0.002)
    assert "; ".join(source.header_faults) == expected.note


def _check_speed(measured: Measurement, expected: Outcome) -> None:
    speed = expected.frames / float(Fraction(expected.rate)) / measured.encode.wall_s
    assert measured.encode.frames == expected.frames
    assert measured.encode.speed == pytest.approx(speed)


def _check_quality(
    quality: QualityMeasurement | Unavailable, expected: Outcome, least_vmaf: float = _LEAST_VMAF
) -> None:
    if expected.quality:
        assert isinstance(quality, Unavailable)
        assert quality.reason == expected.quality
        return
    assert isinstance(quality, QualityMeasurement), quality
    assert quality.pairs == expected.frames
    assert quality.vmaf_model == expected.model
    assert quality.vmaf_mean >= least_vmaf
