"""Tests of the atomic replacement of files."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ffrtmp_shared.atomic_file import write_atomically


@contextmanager
def _file_size_limit(size_bytes: int) -> Iterator[None]:
    """Make writes beyond a file size fail, as on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("is_durable", [True, False])
def test_content_and_mode_are_replaced(tmp_path: Path, is_durable: bool) -> None:
    file = tmp_path / "state.json"
    write_atomically(file, b"first, and longer", is_durable=is_durable)
    assert file.stat().st_mode & 0o777 == 0o600
    write_atomically(file, b"second", is_durable=is_durable, mode=0o644)
    assert file.read_bytes() == b"second"
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_failed_write_leaves_the_former_content(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    write_atomically(file, b"former", is_durable=True)
    with _file_size_limit(1024), pytest.raises(OSError, match="File too large"):
        write_atomically(file, b"x" * 4096, is_durable=True)
    assert file.read_bytes() == b"former"


def test_files_that_differ_only_in_their_suffix_do_not_collide(tmp_path: Path) -> None:
    write_atomically(tmp_path / "state.json", b"json", is_durable=False)
    (tmp_path / "state.json.new").write_bytes(b"left by a crash, and longer")
    write_atomically(tmp_path / "state.yml", b"yaml", is_durable=False)
    write_atomically(tmp_path / "state.json", b"json again", is_durable=False)
    assert (tmp_path / "state.json").read_bytes() == b"json again"
    assert (tmp_path / "state.yml").read_bytes() == b"yaml"
