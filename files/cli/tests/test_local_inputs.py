"""Tests of the clips that `ffrtmp local` accepts, and of the excerpts that it cuts from them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.local.clip import check_file, file_digest, open_clip
from ffrtmp_cli.local.clip_suite import make_clip_suite
from ffrtmp_cli.local.excerpt import cut_excerpt, stored_format
from ffrtmp_cli.local.frame_size import fast_size, fitting_size
from ffrtmp_shared.suite import parse_suite
from ffrtmp_worker.ffmpeg.probe import probe_video
from ffrtmp_worker.measure.output import source_problems

from .local_clips import FFMPEG, PROGRAMS, make_clip


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is a directory: name the file of a clip in it"):
        check_file(tmp_path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(CommandError, match=r"is a pipe or a device.*store its content in a file"):
        check_file(tmp_path / "pipe.mp4")


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="does not exist: check the path"):
        check_file(tmp_path / "absent.mp4")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(CommandError, match="is empty"):
        check_file(tmp_path / "empty.mp4")


def test_an_unreadable_file_is_refused() -> None:
    """The check runs as an ordinary user, because root can read every file."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "from ffrtmp_cli.local.clip import check_file\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "check_file(Path(sys.argv[1]))"
    )
    # Other users may not enter the folder of a test.
    with tempfile.TemporaryDirectory(prefix="ffrtmp-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "secret.mp4"
        file.write_bytes(b"content")
        file.chmod(0o000)
        done = subprocess.run(
            [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False
        )
    assert "cannot be read: Permission denied. Change its permissions" in done.stderr


def test_a_clip_without_video_is_refused(tmp_path: Path) -> None:
    sound = tmp_path / "sound.m4a"
    command = [str(FFMPEG), "-v", "error", "-f", "lavfi", "-i", "sine=duration=2", str(sound)]
    subprocess.run(command, check=True)
    with pytest.raises(CommandError, match="has no video"):
        open_clip(sound, PROGRAMS, tmp_path)


def test_a_file_that_is_not_a_clip_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a clip")
    with pytest.raises(CommandError, match="cannot be used as a clip"):
        open_clip(text, PROGRAMS, tmp_path)


def test_a_clip_of_three_frames_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "short.mp4", frames=3)
    with pytest.raises(CommandError, match="has 3 frames, less than a second of video"):
        open_clip(clip, PROGRAMS, tmp_path)


def test_an_excerpt_is_a_copy_of_the_middle(tmp_path: Path) -> None:
    file = make_clip(tmp_path / "clip.mp4", "-g", "25", "-bf", "3", "-preset", "fast", frames=150)
    clip = open_clip(file, PROGRAMS, tmp_path)
    excerpt = cut_excerpt(clip, PROGRAMS, 50, (320, 180), tmp_path / "excerpt")
    assert excerpt.remarks == ()
    assert 45 <= excerpt.frames <= 50
    found = probe_video(PROGRAMS.ffprobe.path, excerpt.file)
    assert found.frames == excerpt.frames
    assert source_problems(found) == []
    # Each packet is one of the clip.
    assert _packet_digests(excerpt.file) <= _packet_digests(file)


@pytest.mark.parametrize(
    # AVI has no time stamps of frames that are displayed in another order.
    ("name", "is_copied"),
    [("clip.ts", True), ("clip.mkv", True), ("clip.avi", False)],
)
def test_other_containers_can_be_measured(tmp_path: Path, name: str, is_copied: bool) -> None:
    file = make_clip(tmp_path / name, "-g", "25", frames=150)
    clip = open_clip(file, PROGRAMS, tmp_path)
    excerpt = cut_excerpt(clip, PROGRAMS, 50, (320, 180), tmp_path / "excerpt")
    assert (excerpt.remarks == ()) is is_copied
    assert excerpt.frames == 50
    assert source_problems(probe_video(PROGRAMS.ffprobe.path, excerpt.file)) == []


def test_a_short_clip_is_repeated(tmp_path: Path) -> None:
    clip = open_clip(make_clip(tmp_path / "clip.mp4", frames=30), PROGRAMS, tmp_path)
    excerpt = cut_excerpt(clip, PROGRAMS, 100, (320, 180), tmp_path / "excerpt")
    # Not whole copies, of which there would be 120 frames.
    assert excerpt.frames == 100
    assert excerpt.remarks == ()
    assert source_problems(probe_video(PROGRAMS.ffprobe.path, excerpt.file)) == []


@pytest.mark.parametrize(
    ("options", "remark"),
    [
        (("-vf", "setpts='if(lt(N,20),N,2*N)/25/TB'", "-fps_mode", "vfr"), "frame rate varies"),
        (("-vf", "format=yuv444p,crop=319:179", "-pix_fmt", "yuv444p"), "319x179"),
        (("-vf", "setfield=tff", "-flags", "+ildct+ilme"), "interlaced"),
    ],
)
def test_a_clip_that_cannot_be_measured_as_it_is_is_converted(
    tmp_path: Path, options: tuple[str, ...], remark: str
) -> None:
    clip = open_clip(make_clip(tmp_path / "clip.mp4", *options), PROGRAMS, tmp_path)
    size = clip.probe.width // 2 * 2, clip.probe.height // 2 * 2
    excerpt = cut_excerpt(clip, PROGRAMS, 40, size, tmp_path / "excerpt")
    assert remark in " ".join(excerpt.remarks)
    found = probe_video(PROGRAMS.ffprobe.path, excerpt.file)
    assert (found.width, found.height) == size
    assert source_problems(found) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("yuv420p", "yuv420p"),
        ("yuv410p", "yuv420p"),
        ("yuv420p10le", "yuv420p10le"),
        ("yuv422p12le", "yuv420p10le"),
        ("gray14le", "yuv420p10le"),
        ("p010le", "yuv420p10le"),
    ],
)
def test_the_depth_of_a_pixel_format_is_kept_up_to_ten_bits(before: str, after: str) -> None:
    assert stored_format(PROGRAMS, before) == after


def test_the_conversion_of_the_pixel_format_is_stated(tmp_path: Path) -> None:
    options = ("-vf", "setfield=tff", "-c:v", "ffv1", "-pix_fmt", "yuv422p12le")
    clip = open_clip(make_clip(tmp_path / "clip.mkv", *options), PROGRAMS, tmp_path)
    excerpt = cut_excerpt(clip, PROGRAMS, 40, (320, 180), tmp_path / "excerpt")
    assert "its pixel format yuv422p12le was converted to yuv420p10le" in excerpt.remarks
    assert probe_video(PROGRAMS.ffprobe.path, excerpt.file).pixel_format == "yuv420p10le"


def test_frames_of_8k_are_made_smaller_on_a_small_laptop() -> None:
    assert fitting_size(7680, 4320, available_bytes=64 * 2**30) == (7680, 4320)
    assert fitting_size(7680, 4320, available_bytes=3 * 2**30) == (1920, 1080)
    assert fast_size((7680, 4320), 25.0) == (3840, 2160)
    assert fast_size((1920, 1080), 60.0) == (1920, 1080)


def test_too_little_memory_is_reported() -> None:
    with pytest.raises(CommandError, match=r"10 MiB of memory are free.*close other programs"):
        fitting_size(7680, 4320, available_bytes=10 * 2**20)


def _packet_digests(file: Path) -> set[str]:
    command = [str(FFMPEG), "-v", "error", "-i", str(file), "-map", "0:v", "-c", "copy"]
    command += ["-f", "framemd5", "-"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        line.rsplit(",", 1)[1].strip() for line in shown.splitlines() if not line.startswith("#")
    }


@pytest.mark.slow
def test_the_suite_for_a_clip_is_valid(tmp_path: Path) -> None:
    file = make_clip(tmp_path / "my clip (1).mp4", size="160x90", frames=30)
    messages: list[str] = []
    made = make_clip_suite(file, PROGRAMS, tmp_path, messages.append)
    suite = parse_suite(made.text)
    assert suite.name == "first-look"
    assert suite.sources[0].name == "my_clip_1"
    assert suite.sources[0].sha256 == file_digest(made.file)
    assert [encode.encoder for encode in suite.encodes] == ["libx264", "libsvtav1"]
    assert suite.repeats == 6
    assert {len(encode.rate_points) for encode in suite.encodes} == {4}
    assert made.expected_s > 0
    assert "a loop of the clip" in " ".join(made.remarks)
    assert messages == ["Examining my clip (1).mp4", "Measuring the speed of the encoders"]
