"""The cache of sources, on a real disk."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.scenario import Source
from ffrtmp_worker.failing import AttemptFailedError
from ffrtmp_worker.sources import SourceCache


def _source(content: bytes) -> Source:
    digest = hashlib.sha256(content).hexdigest()
    return Source(name="clip", sha256=digest, file_name="clip.mp4")


def _gives(content: bytes, asked: list[str]) -> Callable[[str], Iterator[bytes]]:
    def download(sha256: str) -> Iterator[bytes]:
        asked.append(sha256)
        yield content[:3]
        yield content[3:]

    return download


def _no_stop() -> None:
    """Go on."""


def test_a_source_is_downloaded_once(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    asked: list[str] = []
    for number in range(3):
        target = tmp_path / f"source-{number}"
        cache.fetch(
            _source(b"moving pictures"), target, _gives(b"moving pictures", asked), _no_stop
        )
        assert target.read_bytes() == b"moving pictures"
    assert len(asked) == 1


def test_wrong_content_is_the_jobs_fault_and_leaves_nothing(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    with pytest.raises(AttemptFailedError) as caught:
        cache.fetch(_source(b"right"), tmp_path / "source", _gives(b"wrong", []), _no_stop)
    assert caught.value.failure_class is FailureClass.SOURCE_CHECKSUM
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "source").exists()


def test_a_damaged_file_is_fetched_anew(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1000)
    source, asked = _source(b"moving pictures"), list[str]()
    cache.fetch(source, tmp_path / "first", _gives(b"moving pictures", asked), _no_stop)
    cached = tmp_path / "cache" / source.sha256
    cached.chmod(0o644)
    cached.write_bytes(b"moving pixtures")
    cache.fetch(source, tmp_path / "second", _gives(b"moving pictures", asked), _no_stop)
    assert (tmp_path / "second").read_bytes() == b"moving pictures"
    assert len(asked) == 2


def test_the_longest_unused_go_first_and_users_keep_theirs(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 250)
    contents = [bytes([number]) * 100 for number in range(3)]
    for age, content in zip((300, 100, 0), contents, strict=True):
        source = _source(content)
        cache.fetch(source, tmp_path / source.sha256, _gives(content, []), _no_stop)
        if age:
            cached = tmp_path / "cache" / source.sha256
            used = cached.stat().st_atime - age
            os.utime(cached, (used, used))
    kept = {file.name for file in (tmp_path / "cache").iterdir()}
    assert kept == {_source(content).sha256 for content in contents[1:]}
    assert (tmp_path / _source(contents[0]).sha256).read_bytes() == contents[0]


def test_a_source_above_the_limit_still_serves(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "cache", 1)
    cache.fetch(_source(b"large"), tmp_path / "source", _gives(b"large", []), _no_stop)
    assert (tmp_path / "source").read_bytes() == b"large"


def test_a_stop_ends_a_download(tmp_path: Path) -> None:
    def stop() -> None:
        raise AttemptFailedError(FailureClass.STOPPED, "enough")

    cache = SourceCache(tmp_path / "cache", 1000)
    with pytest.raises(AttemptFailedError, match="enough"):
        cache.fetch(_source(b"right"), tmp_path / "source", _gives(b"right", []), stop)
    assert list((tmp_path / "cache").iterdir()) == []
