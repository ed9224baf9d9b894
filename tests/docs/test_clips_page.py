"""docs/clips.md: its tables are those of the library of unusual clips, and its command works."""

import subprocess
import sys
from pathlib import Path

import clip_library
import pytest
from ffrtmp_worker.ffmpeg.arguments import demuxers


def test_the_tables_are_those_of_the_library(root: Path) -> None:
    page = (root / "docs/clips.md").read_text(encoding="utf-8")
    tables = clip_library.page_tables(clip_library.load_clips())
    assert tables.strip() in page, (
        "write the output of tests/clip_library.py --page to docs/clips.md"
    )


def test_the_page_names_the_containers(root: Path) -> None:
    page = (root / "docs/clips.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{name}`" for name in demuxers()) in " ".join(page.split())


def test_the_identifiers_are_unique() -> None:
    names = [clip.id for clip in clip_library.load_clips()]
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_the_command_generates_all_clips_once(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "tests/clip_library.py", "--folder", str(tmp_path)]

    def run() -> dict[str, int]:
        printed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        assert f"{len(clip_library.load_clips())} clips" in printed.stdout.splitlines()[-1]
        files = (path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path): path.stat().st_mtime_ns for path in files}

    first = run()
    assert len(first) == len(clip_library.load_clips())
    assert run() == first
