"""Tests of the progress that is reported for a running encode."""

from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.scenario import LadderSettings, Rendition, Scenario
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.progress_reporter import ProgressReporter

from .conftest import attempt, scenario

_REPORTS = (
    ProgressReport(1.0, 50, written_bytes=48, written_s=2.0, duplicated=1, dropped=0),
    ProgressReport(2.0, 100, written_bytes=250_048, written_s=4.0, duplicated=2, dropped=0),
)


def _reported(spec: Scenario, clip: Path, tools: Tools, folder: Path) -> list[Progress]:
    reported: list[Progress] = []
    tried = attempt(spec, clip, folder, tools, reported=reported)
    reporter = ProgressReporter(tried, frame_rate=25.0)
    for report in _REPORTS:
        reporter.report(report, ratio=report.frames / 80, lag_s=0.5)
    return reported


def test_progress_covers_the_last_interval(clip: Path, tools: Tools, tmp_path: Path) -> None:
    first, second = _reported(scenario(clip), clip, tools, tmp_path / "a")
    assert (first.fps, first.bitrate_bps, first.ratio) == (50.0, None, 0.625)
    assert second == Progress(
        stage="encode",
        frames=100,
        fps=50.0,
        speed=2.0,
        ratio=1.0,
        bitrate_bps=1e6,
        duplicated_frames=2,
        dropped_frames=0,
        lag_s=0.5,
    )


@pytest.mark.parametrize("together", [True, False])
def test_the_size_of_a_single_rendition_is_not_reported(
    together: bool, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    single = scenario(clip)
    assert single.encode is not None
    ladder = LadderSettings(
        renditions=tuple(Rendition(name=name, encode=single.encode) for name in ("large", "small")),
        together=together,
    )
    spec = msgspec.structs.replace(single, kind="ladder", encode=None, ladder=ladder)
    last = _reported(spec, clip, tools, tmp_path / "a")[-1]
    assert last.bitrate_bps == (None if together else 1e6)
