"""Reading -progress."""

import msgspec
from ffrtmp_worker.ffmpeg.progress import (
    ProgressBlock,
    ProgressParser,
    ProgressReport,
    ProgressReports,
)

_NOTHING = ProgressBlock(
    frames=None, out_time_us=None, total_bytes=None, duplicated=None, dropped=None, is_last=True
)


def _blocks(text: str) -> list[ProgressBlock]:
    parser = ProgressParser()
    return [block for line in text.splitlines() if (block := parser.feed(line)) is not None]


def test_blocks_with_everything_and_with_nothing() -> None:
    blocks = _blocks(
        "frame=0\nfps=0.00\nbitrate=N/A\ntotal_size=N/A\nout_time_us=N/A\n"
        "out_time=N/A\nspeed=N/A\nprogress=continue\n"
        "frame=120\nfps= 61.2\nbitrate= 512.3kbits/s\ntotal_size=4096\n"
        "out_time_us=4800000\nout_time_ms=4800000\ndup_frames=3\ndrop_frames=0\nspeed=2.4x\nprogress=continue\n"
        "progress=end\n"
    )
    assert blocks == [
        msgspec.structs.replace(_NOTHING, frames=0, is_last=False),
        ProgressBlock(
            frames=120,
            out_time_us=4_800_000,
            total_bytes=4096,
            duplicated=3,
            dropped=0,
            is_last=False,
        ),
        _NOTHING,
    ]


def test_what_is_not_progress_is_passed_over() -> None:
    blocks = _blocks("garbage\n\nout_time_us=-9223372036854775807\nframe=7\nprogress=end")
    assert blocks == [msgspec.structs.replace(_NOTHING, frames=7)]


def test_reports_are_of_frames_and_say_what_is_known() -> None:
    heard: list[ProgressReport] = []
    reports = ProgressReports(heard.append)
    lines = (
        "frame=0", "total_size=N/A", "progress=continue",
        "frame=5", "total_size=48", "out_time_us=200000", "dup_frames=1", "progress=continue",
        "frame=9", "progress=end",
    )  # fmt: skip
    for number, line in enumerate(lines):
        reports.add_line(line, float(number))
    assert heard == reports.all
    assert heard == [
        ProgressReport(7.0, 5, written_bytes=48, written_s=0.2, duplicated=1),
        ProgressReport(9.0, 9, is_last=True),
    ]
