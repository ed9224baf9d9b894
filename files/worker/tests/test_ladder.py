"""Tests of jobs of the kinds ladder and decode, with a real FFmpeg."""

from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import (
    KINDS,
    DecodeSettings,
    EncodeSettings,
    LadderSettings,
    Rendition,
    Scenario,
)
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds.steps.attempt import ENCODE_LOG_NAME, Tools

from .conftest import attempt, scenario


def test_every_kind_of_a_suite_can_be_run() -> None:
    assert set(kinds.KINDS) == set(KINDS)


def _ladder(clip: Path, *, together: bool, **settings: object) -> Scenario:
    def encode(kbps: int, width: int | None, height: int | None) -> EncodeSettings:
        return EncodeSettings(
            encoder="libx264",
            preset="veryfast",
            rate=RatePoint(bitrate_kbps=kbps),
            gop_frames=20,
            width=width,
            height=height,
            **settings,  # type: ignore[arg-type]
        )

    renditions = (
        Rendition(name="180p", encode=encode(300, None, None)),
        Rendition(name="90p", encode=encode(100, 160, 90)),
    )
    return msgspec.structs.replace(
        scenario(clip),
        kind="ladder",
        encode=None,
        ladder=LadderSettings(renditions=renditions, together=together),
    )


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False])
def test_each_rendition_is_checked_and_compared(
    clip: Path, tools: Tools, tmp_path: Path, *, together: bool
) -> None:
    folder = tmp_path / "attempt"
    measured = kinds.run_attempt(attempt(_ladder(clip, together=together), clip, folder, tools))
    high, low = measured.renditions
    assert [(r.name, r.output.width, r.output.height) for r in (high, low)] == [
        ("180p", 320, 180),
        ("90p", 160, 90),
    ]
    assert all(isinstance(r.quality, QualityMeasurement) for r in (high, low))
    assert isinstance(high.quality, QualityMeasurement)
    assert isinstance(low.quality, QualityMeasurement)
    assert high.quality.vmaf_mean > low.quality.vmaf_mean > 0
    assert high.output.video_bitrate_kbps > low.output.video_bitrate_kbps
    assert measured.output is None
    assert measured.encode.frames == 40
    assert (folder / "vmaf-180p.csv").exists()
    assert (folder / "vmaf-90p.csv").exists()
    log = (folder / ENCODE_LOG_NAME).read_text()
    if together:
        assert (high.encode, low.encode) == (None, None)
        assert measured.provenance.more_argv == ()
        assert log.count("-filter_complex ") == 1
    else:
        assert high.encode is not None
        assert low.encode is not None
        assert measured.encode.wall_s == pytest.approx(high.encode.wall_s + low.encode.wall_s)
        assert measured.encode.cpu_s == pytest.approx(high.encode.cpu_s + low.encode.cpu_s)
        assert len(measured.provenance.more_argv) == 1
        assert (log.count("rendition-0.mp4"), log.count("rendition-1.mp4")) >= (1, 1)
    assert measured.encode.speed == pytest.approx(1.6 / measured.encode.wall_s)


def test_an_invalid_rendition_is_rejected(clip: Path, tools: Tools, tmp_path: Path) -> None:
    spec = _ladder(clip, together=True, options={"stats": "/tmp/x"})
    with pytest.raises(AttemptFailedError, match="does not accept option 'stats'") as caught:
        kinds.run_attempt(attempt(spec, clip, tmp_path / "attempt", tools))
    assert caught.value.failure_class is FailureClass.INVALID_SETTINGS


def _decode(clip: Path) -> Scenario:
    return msgspec.structs.replace(
        scenario(clip), kind="decode", encode=None, decode=DecodeSettings(threads=1)
    )


def test_a_decode_is_timed_and_writes_nothing(clip: Path, tools: Tools, tmp_path: Path) -> None:
    folder = tmp_path / "attempt"
    measured = kinds.run_attempt(attempt(_decode(clip), clip, folder, tools))
    assert (measured.encode.frames, measured.output) == (40, None)
    assert measured.encode.speed == pytest.approx(1.6 / measured.encode.wall_s)
    assert measured.encode.cpu_s > 0
    assert not list(folder.glob("*output*"))
    argv = measured.provenance.argv
    assert argv[argv.index("-threads") + 1] == "1"


def test_a_damaged_source_fails_the_decode(clip: Path, tools: Tools, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + 4000
    content[start : start + 6000] = bytes(6000)
    damaged.write_bytes(content)
    with pytest.raises(AttemptFailedError) as caught:
        kinds.run_attempt(attempt(_decode(damaged), damaged, tmp_path / "attempt", tools))
    assert caught.value.failure_class is FailureClass.SOURCE_UNREADABLE
