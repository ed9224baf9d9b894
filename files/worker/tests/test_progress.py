"""Reading -progress."""

from ffrtmp_worker.ffmpeg.progress import ProgressBlock, ProgressParser


def _blocks(text: str) -> list[ProgressBlock]:
    parser = ProgressParser()
    return [block for line in text.splitlines() if (block := parser.feed(line)) is not None]


def test_blocks_with_everything_and_with_nothing() -> None:
    blocks = _blocks(
        "frame=0\nfps=0.00\nbitrate=N/A\ntotal_size=N/A\nout_time_us=N/A\n"
        "out_time=N/A\nspeed=N/A\nprogress=continue\n"
        "frame=120\nfps= 61.2\nbitrate= 512.3kbits/s\ntotal_size=4096\n"
        "out_time_us=4800000\nout_time_ms=4800000\nspeed=2.4x\nprogress=continue\n"
        "progress=end\n"
    )
    assert blocks == [
        ProgressBlock(frames=0, out_time_us=None, total_bytes=None, is_last=False),
        ProgressBlock(frames=120, out_time_us=4_800_000, total_bytes=4096, is_last=False),
        ProgressBlock(frames=None, out_time_us=None, total_bytes=None, is_last=True),
    ]


def test_what_is_not_progress_is_passed_over() -> None:
    blocks = _blocks("garbage\n\nout_time_us=-9223372036854775807\nframe=7\nprogress=end")
    assert blocks == [ProgressBlock(frames=7, out_time_us=None, total_bytes=None, is_last=True)]
