"""Tests of the bounds of ffprobe's output, with a real ffprobe and clips of many tiny packets."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ffrtmp_worker.ffmpeg.packet_list import InvalidListError, PacketList
from ffrtmp_worker.ffmpeg.probe import UnreadableFileError, probe_video

from .conftest import make

_PACKETS = 1_200_000


def _tiny_pictures(file: Path, frames: int) -> Path:
    """Write a clip of gray pictures with one sample, each in a packet of one byte."""
    with file.open("wb") as opened:
        opened.write(b"YUV4MPEG2 W1 H1 F25:1 Ip A1:1 Cmono\n")
        opened.write(b"FRAME\n\x80" * frames)
    return file


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _tiny_pictures(tmp_path_factory.mktemp("tiny") / "tiny.y4m", _PACKETS)


def test_the_figures_are_those_that_ffprobe_prints(
    ffmpeg: Path, ffprobe: Path, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-frames:v", "60"]
    make(ffmpeg, picture, ["-c:v", "libx264", "-g", "25", "-bf", "2"], clip)
    command = [str(ffprobe), "-v", "error", "-select_streams", "V:0", "-show_packets"]
    printed = subprocess.run(
        [*command, "-of", "json", str(clip)], capture_output=True, check=True
    ).stdout
    packets = json.loads(printed)["packets"]
    found = probe_video(ffprobe, clip)
    sizes = sorted((float(packet["pts_time"]), int(packet["size"])) for packet in packets)
    seconds = [
        sum(size for time_s, size in sizes if start_s <= time_s < start_s + 0.999)
        for start_s, _ in sizes
        if start_s + 1.0 <= sizes[-1][0] + 0.041
    ]
    assert (found.frames, found.video_bytes) == (60, sum(size for _, size in sizes))
    assert found.duration_s == pytest.approx(2.4)
    assert found.peak_second_bytes == max(seconds)
    assert found.key_frames == sum("K" in packet["flags"] for packet in packets)
    assert found.gop_max_frames == 25
    assert found.shortest_gap_s == pytest.approx(0.04)
    assert found.longest_gap_s == pytest.approx(0.04)
    assert found.drift_s == pytest.approx(0, abs=1e-6)
    assert (found.codec, found.width, found.height) == ("h264", 160, 90)
    assert (found.frame_rate_text, found.complaints) == ("25/1", "")


def test_one_packet_has_the_values_of_one_frame(ffprobe: Path, tmp_path: Path) -> None:
    found = probe_video(ffprobe, _tiny_pictures(tmp_path / "one.y4m", 1))
    assert (found.frames, found.video_bytes, found.gop_max_frames) == (1, 1, 1)
    assert (found.shortest_gap_s, found.longest_gap_s) == (0.04, 0.04)
    assert found.peak_second_bytes is None


def test_too_many_packets_are_refused_with_the_limit(ffprobe: Path, long_clip: Path) -> None:
    started_s = time.monotonic()
    with pytest.raises(UnreadableFileError, match=r"more than 5000 video packets.*max_packets"):
        probe_video(ffprobe, long_clip, max_packets=5000)
    # ffprobe is stopped as soon as the limit is exceeded.
    assert time.monotonic() - started_s < 5


def test_a_stop_ends_a_probe(ffprobe: Path, long_clip: Path) -> None:
    started_s = time.monotonic()
    with pytest.raises(UnreadableFileError, match="was stopped"):
        probe_video(ffprobe, long_clip, stop=lambda: time.monotonic() - started_s > 0.3)
    assert time.monotonic() - started_s < 5


def test_a_probe_has_a_deadline(ffprobe: Path, long_clip: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"tiny\.y4m was not read within 0\.3 s"):
        probe_video(ffprobe, long_clip, deadline_s=0.3)


@pytest.mark.slow
def test_the_memory_for_many_packets_is_bounded(ffprobe: Path, long_clip: Path) -> None:
    """Check a clip whose packets, read as JSON, take three quarters of a gigabyte."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from ffrtmp_worker.ffmpeg.probe import probe_video\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = probe_video(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(found.frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", program, str(ffprobe), str(long_clip)]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    frames, kib = (int(word) for word in printed.split())
    assert frames == _PACKETS
    assert kib < 150 * 1024


@pytest.mark.parametrize(
    "line",
    [
        "packet|pts_time=1e|size=3|flags=K_",
        "packet|pts_time=0.0|size=many|flags=K_",
        f"packet|pts_time=0.0|size={'9' * 30}|flags=K_",
        "packet|pts_time=inf|size=3|flags=K_",
        "packet|pts_time=nan|size=3|flags=K_",
        "packet|pts_time=0.0|duration_time=-1e300|size=3|flags=K_",
        "packet|pts_time=0.0|size=-3|flags=K_",
        "stream|codec_name=h264|width=wide",
        "stream|codec_name=h264|avg_frame_rate=a/b",
    ],
)
def test_invalid_values_are_reported(line: str) -> None:
    with pytest.raises(InvalidListError, match="ffprobe wrote the invalid line"):
        PacketList(10).add_line(line)


def test_unknown_values_and_other_sections_are_skipped() -> None:
    packets = PacketList(10)
    for line in (
        "packet|pts_time=N/A|duration_time=N/A|size=7|flags=KD|side_data|",
        "",
        "program|stream|codec_name=mp2|width=1",
        "stream|codec_name=h264|width=16|height=8|avg_frame_rate=0/0|pix_fmt=unknown",
        "stream|codec_name=other|width=9",
    ):
        packets.add_line(line)
    assert len(packets) == 1
    assert packets.flags[0] == PacketList.IS_KEY | PacketList.IS_DISCARDED
    assert packets.format is not None
    assert (packets.format.codec, packets.format.width) == ("h264", 16)
    assert packets.format.frame_rate is None
    assert packets.format.pixel_format is None
