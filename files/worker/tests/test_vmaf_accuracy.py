"""Evaluation of the search for a VMAF: five clips of different content and three encoders.

`--log-cli-level=INFO` shows the probes of each case.
"""

import logging
from pathlib import Path

import pytest
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.vmaf_search import MAX_PROBES
from session_files import make_once

from .conftest import attempt, make, scenario

# 45 to 60 encodes and quality passes of three seconds take a few minutes.
pytestmark = pytest.mark.deep

_log = logging.getLogger(__name__)

_SIZE = "size=640x360:rate=25"
CLIPS = {
    "pattern": f"testsrc2={_SIZE}:duration=3",
    "zoom": f"mandelbrot={_SIZE},trim=duration=3",
    "grain": f"testsrc2={_SIZE}:duration=3,noise=alls=30:allf=t",
    "edges": "life=size=160x90:rate=25:mold=10:ratio=0.1:seed=7:death_color=#C83232"
    ":life_color=#00ff00,scale=640:360:flags=neighbor,trim=duration=3",
    "gradients": f"gradients={_SIZE}:duration=3:seed=3:speed=0.02",
}
ENCODERS = {"libx264": "medium", "libx265": "fast", "libsvtav1": "8"}
TARGET, TOLERANCE = 93, 0.5
REFUSED: frozenset[tuple[str, str]] = frozenset()
"""Name of the clip and encoder of each case that cannot reach the target; there is none."""


@pytest.fixture(params=CLIPS)
def clip(
    request: pytest.FixtureRequest, ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return one of the clips, without loss."""
    coding = ["-frames:v", "75", "-pix_fmt", "yuv420p", "-c:v", "ffv1"]
    before = ["-f", "lavfi", "-i", CLIPS[request.param]]
    return make_once(
        tmp_path_factory, f"{request.param}.mkv", lambda file: make(ffmpeg, before, coding, file)
    )


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_target_is_reached_or_refused(
    encoder: str,
    clip: Path,
    caching: Tools,
    tmp_path: Path,
) -> None:
    spec = scenario(clip, encoder=encoder, preset=ENCODERS[encoder], rate=RatePoint(vmaf=TARGET))
    try:
        measured = kinds.run_attempt(attempt(spec, clip, tmp_path / "a", caching))
    except AttemptFailedError as error:
        _log.info("refused: %s", error)
        assert (clip.stem, encoder) in REFUSED
        assert error.failure_class is FailureClass.TARGET_NOT_REACHED
        assert "does not reach VMAF 93" in str(error)
        return
    search, quality = measured.rate_search, measured.quality
    assert search is not None
    assert isinstance(quality, QualityMeasurement)
    probes = ", ".join(f"{probe.setting:g}: {probe.vmaf_mean:.2f}" for probe in search.probes)
    _log.info("VMAF %.2f with %g (probes: %s)", quality.vmaf_mean, search.setting, probes)
    assert abs(quality.vmaf_mean - TARGET) <= TOLERANCE
    assert len(search.probes) <= MAX_PROBES
