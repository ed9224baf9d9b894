"""Tests that compare measurements of an output with independent measurements."""

import hashlib
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.output_check import check_output
from ffrtmp_worker.kinds.steps.preparation import prepare_source

from .conftest import attempt, scenario, stages_of


@pytest.mark.slow
def test_properties_of_the_output(
    clip: Path, tools: Tools, system_ffmpeg: Path, tmp_path: Path
) -> None:
    spec = scenario(clip, gop_frames=12, options={"bf": "2"})
    folder = tmp_path / "a"
    found = kinds.run_attempt(attempt(spec, clip, folder, tools)).output
    assert found.bitrate_deviation_ratio == pytest.approx(found.video_bitrate_kbps / 300 - 1)
    assert (found.profile, found.gop_max_frames, found.reorder_frames) == ("High", 12, 2)
    assert found.key_frames >= 4
    arguments = [str(tools.ffprobe), "-v", "error", "-select_streams", "v", "-of", "csv=p=0"]
    entries = ["-show_entries", "packet=pts_time,size", str(folder / "output.mp4")]
    rows = subprocess.run([*arguments, *entries], check=True, capture_output=True, text=True).stdout
    packets = [(float(row.split(",")[0]), int(row.split(",")[1])) for row in rows.split()]
    begins = [at for at, _ in packets if at <= 0.6 + 1e-3]
    most = max(
        sum(size for at, size in packets if begin <= at < begin + 1 - 1e-3) for begin in begins
    )
    assert found.peak_bitrate_kbps == pytest.approx(most * 8 / 1000)
    pictures = [str(system_ffmpeg), "-v", "error", "-i", str(folder / "output.mp4")]
    raw = subprocess.run(
        [*pictures, "-map", "0:v", "-f", "rawvideo", "-"], check=True, capture_output=True
    )
    assert found.decoded_sha256 == hashlib.sha256(raw.stdout).hexdigest()


@pytest.mark.slow
def test_an_output_that_cannot_be_decoded_is_rejected(
    clip: Path, tools: Tools, tmp_path: Path
) -> None:
    spec = scenario(clip)
    tried = attempt(spec, clip, tmp_path / "a", tools)
    source = prepare_source(tried)
    kinds.run_attempt(tried)
    output = tmp_path / "a" / "output.mp4"
    damaged = bytearray(output.read_bytes())
    start = damaged.index(b"mdat") + 4
    damaged[start + 2000 : start + 6000] = bytes(4000)
    output.write_bytes(damaged)
    with pytest.raises(AttemptFailedError) as raised:
        check_output(tried, spec.encode, source, "output.mp4")
    assert raised.value.failure.failure_class is FailureClass.OUTPUT_MISMATCH
    assert "cannot be decoded" in raised.value.failure.message


def _threads_of_libvmaf(folder: Path) -> int:
    (threads,) = re.findall(r"n_threads=(\d+)", (folder / "quality.log").read_text())
    return int(threads)


@pytest.mark.slow
def test_only_an_exclusive_job_uses_all_cpus_for_the_comparison(
    clip: Path, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffrtmp_worker.kinds.steps.attempt.usable_cpus", lambda: 5)
    tools = replace(tools, vmaf_threads=None)
    for is_exclusive, threads in ((True, 5), (False, 2)):
        folder = tmp_path / f"{is_exclusive}"
        tried = replace(attempt(scenario(clip), clip, folder, tools), is_exclusive=is_exclusive)
        reported: list[Progress] = []
        kinds.run_attempt(replace(tried, report=reported.append))
        assert _threads_of_libvmaf(folder) == threads
        # The comparison begins after the timed process has ended.
        stages = stages_of(reported)
        assert stages.index("quality") > stages.index("encode")
        assert stages[-1] == "quality"
