"""Tests of the parser for the output of FFmpeg's option -progress."""

import msgspec
import pytest
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import progress
from ffrtmp_worker.ffmpeg.progress import (
    ProgressBlock,
    ProgressParser,
    ProgressReport,
    ProgressReports,
)

_EMPTY = ProgressBlock(
    frames=None, out_time_us=None, total_bytes=None, duplicated=None, dropped=None, is_last=True
)


def _blocks(text: str) -> list[ProgressBlock]:
    parser = ProgressParser()
    return [block for line in text.splitlines() if (block := parser.feed(line)) is not None]


def test_full_and_empty_blocks_are_parsed() -> None:
    blocks = _blocks(
        "frame=0\nfps=0.00\nbitrate=N/A\ntotal_size=N/A\nout_time_us=N/A\n"
        "out_time=N/A\nspeed=N/A\nprogress=continue\n"
        "frame=120\nfps= 61.2\nbitrate= 512.3kbits/s\ntotal_size=4096\n"
        "out_time_us=4800000\nout_time_ms=4800000\ndup_frames=3\ndrop_frames=0\nspeed=2.4x\nprogress=continue\n"
        "progress=end\n"
    )
    assert blocks == [
        msgspec.structs.replace(_EMPTY, frames=0, is_last=False),
        ProgressBlock(
            frames=120,
            out_time_us=4_800_000,
            total_bytes=4096,
            duplicated=3,
            dropped=0,
            is_last=False,
        ),
        _EMPTY,
    ]


def test_other_lines_are_ignored() -> None:
    blocks = _blocks("garbage\n\nout_time_us=-9223372036854775807\nframe=7\nprogress=end")
    assert blocks == [msgspec.structs.replace(_EMPTY, frames=7)]


def test_reports_contain_frames_and_the_known_values() -> None:
    received: list[ProgressReport] = []
    reports = ProgressReports(received.append)
    lines = (
        "frame=0", "total_size=N/A", "progress=continue",
        "frame=5", "total_size=48", "out_time_us=200000", "dup_frames=1", "progress=continue",
        "frame=9", "progress=end",
    )  # fmt: skip
    for number, line in enumerate(lines):
        reports.add_line(line, float(number))
    assert received == reports.all
    assert received == [
        ProgressReport(7.0, 5, written_bytes=48, written_s=0.2, duplicated=1),
        ProgressReport(9.0, 9, is_last=True),
    ]


def test_the_number_of_reports_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MAX_REPORTS", 3)
    reports = ProgressReports(lambda _: None)
    lines = ["frame=1", "progress=continue"]
    for line in lines * 3:
        reports.add_line(line, 0.0)
    reports.add_line(lines[0], 0.0)
    with pytest.raises(AttemptFailedError, match="more than 3 progress reports"):
        reports.add_line(lines[1], 0.0)
    assert len(reports.all) == 3
