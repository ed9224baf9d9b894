"""Tests that the watch of the host ends with the attempt, also if the attempt fails."""

import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.scenario import (
    DecodeSettings,
    DensitySettings,
    LadderSettings,
    LiveSettings,
    Rendition,
    Scenario,
)
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import progress
from ffrtmp_worker.kinds.steps.attempt import Tools

from .conftest import attempt, scenario


def _is_sampled() -> bool:
    """Return whether a thread samples the host."""
    return any("host_samples" in thread.name for thread in threading.enumerate())


def _of_kind(clip: Path, kind: str) -> Scenario:
    plain = scenario(clip, threads=1)
    assert plain.encode is not None
    settings = {
        "transcode": {},
        "decode": {"encode": None, "decode": DecodeSettings(threads=1)},
        "density": {"density": DensitySettings(window_s=8.0, verify_s=8.0)},
        "ladder": {
            "encode": None,
            "ladder": LadderSettings(renditions=(Rendition(name="low", encode=plain.encode),)),
        },
        "live": {"live": LiveSettings(duration_s=8.0)},
    }
    return msgspec.structs.replace(plain, kind=kind, **settings[kind])


@pytest.mark.parametrize("kind", ["transcode", "decode", "density", "ladder"])
def test_the_watch_ends_if_the_output_of_ffmpeg_is_refused(
    clip: Path, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(progress, "MAX_REPORTS", 0)
    tried = attempt(_of_kind(clip, kind), clip, tmp_path, tools)
    # The error refers to the frames of the attempt, so the watch is not collected as garbage.
    with pytest.raises(AttemptFailedError, match="more than 0 progress reports") as caught:
        kinds.run_attempt(tried)
    assert not _is_sampled(), caught
    rows = len(tried.series)
    assert rows > 0
    tried.series.finish()
    assert len(tried.series) == rows


def test_the_watch_ends_if_a_stream_cannot_be_started(
    clip: Path, tools: Tools, tmp_path: Path
) -> None:
    missing = replace(tools, ffmpeg=tmp_path / "missing", rtmp_url="rtmp://127.0.0.1:1935/live")
    tried = attempt(_of_kind(clip, "live"), clip, tmp_path, missing)
    with pytest.raises(OSError, match="missing") as caught:
        kinds.run_attempt(tried)
    assert not _is_sampled(), caught
