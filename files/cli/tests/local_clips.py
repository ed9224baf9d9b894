"""Clips and programs for the tests of `ffrtmp local`."""

import subprocess
from pathlib import Path

from ffrtmp_cli.local.ffmpeg_programs import Program, Programs

ROOT = Path(__file__).parents[3]
FFMPEG = ROOT / ".cache/ffmpeg/ffmpeg"
PROGRAMS = Programs(
    Program(FFMPEG, "option"),
    Program(Path("/usr/bin/ffprobe"), "PATH"),
    Program(FFMPEG, "option"),
    has_quality=True,
    remarks=(),
)


def make_clip(file: Path, *options: str, size: str = "320x180", frames: int = 50) -> Path:
    """Store a generated clip, which FFmpeg writes with further options."""
    picture = f"testsrc2=size={size}:rate=25"
    command = [str(FFMPEG), "-v", "error", "-y", "-f", "lavfi", "-i", picture]
    command += ["-frames:v", str(frames), "-c:v", "libx264", "-preset", "ultrafast"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", *options, str(file)], check=True)
    return file
