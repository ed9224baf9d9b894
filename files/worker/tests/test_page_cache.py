"""Tests of the ratio of a file that is in the page cache, after reads and evictions."""

import os
from pathlib import Path

import pytest
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.measure.page_cache import cached_ratio

_PAGE = os.sysconf("SC_PAGE_SIZE")


def _evict(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def test_the_cached_ratio_is_the_part_that_was_read(tmp_path: Path) -> None:
    file = tmp_path / "clip"
    file.write_bytes(os.urandom(_PAGE * 1000))
    assert cached_ratio(file) == 1.0
    _evict(file)
    ratio = cached_ratio(file)
    assert isinstance(ratio, float)
    if ratio > 0.5:
        pytest.skip("this file system keeps its files in memory")
    assert ratio == 0.0
    # The first measurement must not have loaded any pages.
    assert cached_ratio(file) == 0.0
    descriptor = os.open(file, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(descriptor, _PAGE * 250, 0)
    os.close(descriptor)
    ratio = cached_ratio(file)
    assert isinstance(ratio, float)
    assert 0.25 <= ratio < 0.6


@pytest.mark.parametrize("name", ["empty", "gone"])
def test_an_unreadable_file_is_unavailable(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert isinstance(cached_ratio(tmp_path / name), Unavailable)
