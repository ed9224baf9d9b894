"""Tests of the output file of a command."""

import os
import stat
import threading
from pathlib import Path

import pytest
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.output_file import open_output
from polling import TIMEOUT_S


def _write(path: Path, content: bytes = b"new") -> None:
    with open_output(str(path)) as file:
        file.write(content)


def test_a_symbolic_link_remains(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to("target")
    _write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_the_permissions_remain(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o600)
    _write(file)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o600)


def test_a_named_pipe_is_written(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    _write(pipe)
    reader.join(TIMEOUT_S)
    assert read == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_to_a_pipe_without_a_name_is_written() -> None:
    """Such a link is /dev/stdout in a pipeline."""
    reading, writing = os.pipe()
    _write(Path(f"/proc/self/fd/{writing}"))
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"new"


def test_a_failed_export_keeps_the_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with pytest.raises(InterruptedError), open_output(str(file)):
        raise InterruptedError
    assert file.read_bytes() == b"old"


def test_a_loop_of_links_is_reported(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("link")
    with pytest.raises(CommandError, match="cannot be written"):
        _write(link)
