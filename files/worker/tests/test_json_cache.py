"""Tests of the cache in JSON files, whose failures must not affect a job."""

from pathlib import Path

import pytest
from ffrtmp_worker.kinds.steps.probe_cache import ProbeCache, ProbeSeries
from ffrtmp_worker.measure.json_cache import JsonCache


@pytest.fixture
def cache(tmp_path: Path) -> JsonCache[list[int]]:
    return JsonCache(tmp_path, list[int])


def test_a_value_is_cached_until_it_is_forgotten(
    cache: JsonCache[list[int]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert cache.load("a") is None
    cache.store("a", [1])
    cache.store("a", [2])
    assert JsonCache(tmp_path, list[int]).load("a") == [2]
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    for _ in range(2):
        cache.forget("a")
        assert cache.load("a") is None
    assert not caplog.records


def test_without_a_folder_nothing_is_cached() -> None:
    cache = JsonCache(None, int)
    cache.store("a", 1)
    cache.forget("a")
    assert cache.load("a") is None


@pytest.mark.parametrize("content", [b"", b"[1", b'["text"]', b"\xff"])
def test_a_damaged_file_is_replaced(
    cache: JsonCache[list[int]], tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert cache.load("a") is None
    assert caplog.messages == ["a cached value cannot be read"]
    cache.store("a", [1])
    assert cache.load("a") == [1]


def test_a_directory_in_place_of_the_file_is_logged(
    cache: JsonCache[list[int]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.json").mkdir()
    assert cache.load("a") is None
    cache.store("a", [1])
    cache.forget("a")
    assert caplog.messages == [
        f"a cached value cannot be {action}" for action in ("read", "stored", "removed")
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"], "no part is left behind"


def test_a_missing_folder_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = JsonCache(tmp_path / "absent", int)
    cache.store("a", 1)
    assert caplog.messages == ["a cached value cannot be stored"]
    assert cache.load("a") is None


def test_probes_that_cannot_be_forgotten_do_not_lose_the_measurement(tmp_path: Path) -> None:
    (tmp_path / "probes-a.json").mkdir()
    cache = ProbeCache(tmp_path)
    cache.forget("a")
    assert cache.load("a") == ProbeSeries()
