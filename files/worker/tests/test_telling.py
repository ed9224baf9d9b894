"""What is told of a running encode."""

from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.models import Progress
from ffrtmp_shared.scenario import LadderSettings, Rendition, Scenario
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.progress_reporter import ProgressReporter

from .conftest import attempt, scenario

_REPORTS = (
    ProgressReport(1.0, 50, written_bytes=48, written_s=2.0, duplicated=1, dropped=0),
    ProgressReport(2.0, 100, written_bytes=250_048, written_s=4.0, duplicated=2, dropped=0),
)


def _told(what: Scenario, clip: Path, tools: Tools, folder: Path) -> list[Progress]:
    heard: list[Progress] = []
    teller = ProgressReporter(attempt(what, clip, folder, tools, heard=heard), frame_rate=25.0)
    for report in _REPORTS:
        teller.report(report, ratio=report.frames / 80, lag_s=0.5)
    return heard


def test_progress_is_of_the_last_interval(clip: Path, tools: Tools, tmp_path: Path) -> None:
    first, second = _told(scenario(clip), clip, tools, tmp_path / "a")
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
def test_the_size_of_one_of_several_outputs_is_not_told(
    together: bool, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    one = scenario(clip)
    assert one.encode is not None
    ladder = LadderSettings(
        renditions=tuple(Rendition(name=name, encode=one.encode) for name in ("large", "small")),
        together=together,
    )
    what = msgspec.structs.replace(one, kind="ladder", encode=None, ladder=ladder)
    told = _told(what, clip, tools, tmp_path / "a")[-1]
    assert told.bitrate_bps == (None if together else 1e6)
