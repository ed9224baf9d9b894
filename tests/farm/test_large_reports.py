"""Tests of long recordings and of reports whose attachments do not fit, with a real farm."""

import subprocess
from pathlib import Path

import pytest
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.states import RunState

from .conftest import Farm

_FRAMES = 90_000

pytestmark = pytest.mark.slow


def _tiny_clip(farm: Farm, frames: int) -> Path:
    """Create a clip of tiny pictures at 960 frames per second."""
    clip = farm.folder / "tiny.mp4"
    picture = f"testsrc=size=64x36:rate=960:duration={frames / 960}"
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(clip)]
    subprocess.run(
        [str(farm.ffmpeg), "-v", "error", "-f", "lavfi", "-i", picture, *coding], check=True
    )
    return clip


def test_a_run_with_many_frames_ends_with_a_result(farm: Farm) -> None:
    clip = _tiny_clip(farm, _FRAMES)
    farm.start_agents("worker1")
    run = farm.launch(clip)
    ended = farm.wait_for_end(run, timeout_s=300)
    with farm.client() as client:
        assert ended.state is RunState.SUCCEEDED, [job.failure for job in client.jobs(run.id)]
        (result,) = client.results(run.id)
        quality = result.measurement.quality
        assert isinstance(quality, QualityMeasurement), quality
        assert quality.pairs == _FRAMES
        assert result.measurement.omitted_artifacts == ()
        sizes = {artifact.name: artifact.size_bytes for artifact in result.artifacts}
        assert 0 < sizes["scores.parquet"] < 24 * _FRAMES
        content = client.download_artifact(result.job_id, result.attempt, "scores.parquet")
        assert len(content) == sizes["scores.parquet"]


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        # An agent knows this limit from its claim.
        ("max_artifact_bytes", "(master_max_artifact_bytes)"),
        # An agent learns of this limit when the master rejects the upload.
        ("max_attempt_bytes", "status 413"),
    ],
)
def test_a_run_whose_attachments_are_rejected_ends_with_a_result(
    farm: Farm, limit: str, reason: str
) -> None:
    clip = _tiny_clip(farm, 960)
    # The limit allows FFmpeg's log, but not the Parquet files.
    farm.restart_master(**{limit: 6000})
    farm.start_agents("worker1")
    run = farm.launch(clip)
    assert farm.wait_for_end(run).state is RunState.SUCCEEDED
    with farm.client() as client:
        (result,) = client.results(run.id)
        omitted = {o.name: o.reason for o in result.measurement.omitted_artifacts}
        assert "scores.parquet" in omitted
        assert reason in omitted["scores.parquet"]
        assert {artifact.name for artifact in result.artifacts}.isdisjoint(omitted)
        assert result.attempt == 1
        (job,) = tuple(client.jobs(run.id))
        assert job.failure is None
