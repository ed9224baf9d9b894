"""Tests of the cache of measured values."""

import hashlib
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_worker.measure.measurement_cache import (
    CachedValue,
    CacheRecord,
    MeasurementCache,
    Producer,
    measurement_key,
)
from ffrtmp_worker.measure.quality_cache import QualityCache


class Value(msgspec.Struct, frozen=True):
    number: float
    rate: Fraction = Fraction(30000, 1001)


PRODUCER = Producer(agent_version="1.0.0", program="a" * 64)


def _key(number: int) -> str:
    key = measurement_key("value", 1, PRODUCER, number)
    assert key is not None
    return key


KEY = _key(100)
VALUE = Value(0.1)


def _load(cache: MeasurementCache, key: str = KEY) -> CachedValue[Value] | None:
    return cache.load(key, Value, pytest.fail)


def test_a_value_is_known_to_all_slots(tmp_path: Path) -> None:
    MeasurementCache(tmp_path).store(KEY, VALUE, b"scores")
    assert _load(MeasurementCache(tmp_path)) == (VALUE, b"scores")
    assert _load(MeasurementCache(tmp_path), _key(1)) is None
    assert [file.suffix for file in tmp_path.iterdir()] == [""]


def test_a_key_depends_on_every_input_and_on_the_version() -> None:
    keys = {
        measurement_key(*arguments)
        for arguments in (
            ("value", 1, PRODUCER, "a", "b"),
            ("value", 2, PRODUCER, "a", "b"),
            ("other", 1, PRODUCER, "a", "b"),
            ("value", 1, PRODUCER, "ab", ""),
            ("value", 1, PRODUCER, "b", "a"),
            ("value", 1, PRODUCER, "a"),
            ("value", 1, PRODUCER._replace(agent_version="1.0.1"), "a", "b"),
            ("value", 1, PRODUCER._replace(program="b" * 64), "a", "b"),
        )
    }
    assert len(keys) == 8
    assert None not in keys


def test_nothing_is_cached_of_a_program_that_is_not_identified(tmp_path: Path) -> None:
    key = measurement_key("value", 1, PRODUCER._replace(program=None), "a")
    assert key is None
    cache = MeasurementCache(tmp_path)
    cache.store(key, VALUE)
    assert cache.load(key, Value, pytest.fail) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("without", [MeasurementCache(None), "no bytes"])
def test_a_cache_can_be_switched_off(tmp_path: Path, without: MeasurementCache | str) -> None:
    cache = MeasurementCache(tmp_path, max_bytes=0) if isinstance(without, str) else without
    cache.store(KEY, VALUE)
    assert _load(cache) is None
    assert not list(tmp_path.iterdir())


def test_a_cache_that_is_switched_off_removes_its_entries(tmp_path: Path) -> None:
    cache, other = MeasurementCache(tmp_path), tmp_path / "other"
    cache.store(KEY, VALUE)
    other.write_bytes(b"")
    cache.remove_unused()
    assert _load(cache) is not None
    MeasurementCache(tmp_path, max_bytes=0).remove_unused()
    assert list(tmp_path.iterdir()) == [other]


def test_scores_that_cannot_be_restored_are_removed(tmp_path: Path) -> None:
    record = CacheRecord()
    quality = QualityCache(
        cache=MeasurementCache(tmp_path),
        record=record,
        name="quality",
        source_sha256="a" * 64,
        output_sha256="b" * 64,
        producer=PRODUCER,
        find_producer=lambda: PRODUCER,
    )
    log = tmp_path / "vmaf.csv"
    log.write_text("Frame,vmaf,\n0,90.0,\n")
    measured = QualityMeasurement(
        vmaf_model="vmaf_v0.6.1",
        vmaf_mean=90.0,
        vmaf_harmonic_mean=90.0,
        vmaf_min=90.0,
        vmaf_p1=90.0,
        vmaf_p5=90.0,
        pairs=1,
    )
    quality.store("graph", log, measured)
    (entry,) = tmp_path.glob("*quality-*")
    stored = msgspec.msgpack.decode(entry.read_bytes()[32:])
    content = msgspec.msgpack.encode(stored | {"attachment": b"no zlib"})
    entry.write_bytes(hashlib.sha256(content).digest() + content)
    assert quality.load("graph", log) is None
    assert len(record.faults) == 1
    assert not entry.exists()


@pytest.mark.parametrize("damage", ["shorter", "empty", "changed", "other key", "a directory"])
def test_a_damaged_entry_is_removed_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cache, record = MeasurementCache(tmp_path), CacheRecord()
    cache.store(KEY, VALUE, b"scores")
    (entry,) = tmp_path.iterdir()
    content = bytearray(entry.read_bytes())
    if damage == "shorter":
        entry.write_bytes(content[:-1])
    elif damage == "empty":
        entry.write_bytes(b"")
    elif damage == "changed":
        content[content.index(b"scores")] ^= 1
        entry.write_bytes(content)
    elif damage == "other key":
        cache.store(_key(1), VALUE)
        (tmp_path / f"measured-{_key(1)}").replace(entry)
    else:
        entry.unlink()
        entry.mkdir()
    assert cache.load(KEY, Value, record.add_fault) is None
    assert len(record.faults) == 1
    assert record.faults[0].startswith("value: the cache entry could not be used: ")
    assert "cannot be used and is removed" in caplog.text
    if damage != "a directory":
        assert not entry.exists()
        cache.store(KEY, VALUE)
        assert _load(cache) == (VALUE, b"")


def test_an_entry_of_another_build_of_the_agent_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Other(msgspec.Struct):
        text: str

    cache = MeasurementCache(tmp_path)
    cache.store(KEY, VALUE)
    assert cache.load(KEY, Other, pytest.fail) is None
    # A build whose entries have another structure wrote this one.
    (entry,) = tmp_path.iterdir()
    content = msgspec.msgpack.encode({"key": KEY, "figures": [1]})
    entry.write_bytes(hashlib.sha256(content).digest() + content)
    assert cache.load(KEY, Value, pytest.fail) is None
    assert caplog.text == ""
    cache.store(KEY, VALUE)
    assert _load(cache) == (VALUE, b"")


def _age(tmp_path: Path, key: str, age_s: float) -> None:
    file = tmp_path / f"measured-{key}"
    then = file.stat().st_mtime - age_s
    os.utime(file, (then, then))


def test_the_entries_that_were_not_used_for_longest_are_removed(tmp_path: Path) -> None:
    cache = MeasurementCache(tmp_path, max_entries=3)
    for number in range(3):
        cache.store(_key(number), VALUE)
        _age(tmp_path, _key(number), 100 - number)
    assert _load(cache, _key(0)) is not None
    cache.store(_key(3), VALUE)
    assert _load(cache, _key(1)) is None
    assert all(_load(cache, _key(number)) for number in (0, 2, 3))


def test_the_size_of_all_entries_is_bounded(tmp_path: Path) -> None:
    other = tmp_path / ("f" * 64)
    other.write_bytes(bytes(50_000))
    cache = MeasurementCache(tmp_path, max_bytes=10_000)
    for number in range(10):
        cache.store(_key(number), VALUE, bytes(3000))
        for earlier in range(number + 1):
            if (tmp_path / f"measured-{_key(earlier)}").exists():
                _age(tmp_path, _key(earlier), 10)
    kept = [number for number in range(10) if _load(cache, _key(number)) is not None]
    assert kept == [7, 8, 9]
    cache.store(KEY, VALUE, bytes(10_000))
    assert _load(cache) is None
    assert _load(MeasurementCache(tmp_path, max_bytes=2000), _key(9)) is None
    # Other files of the folder are neither counted nor removed.
    assert other.exists()


def test_a_folder_that_cannot_be_written_does_not_fail_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    MeasurementCache(tmp_path / "absent").store(KEY, VALUE)
    assert "cannot be cached" in caplog.text


_WRITER = """
import sys
from pathlib import Path
from ffrtmp_worker.measure.measurement_cache import MeasurementCache, Producer, measurement_key
producer = Producer("1.0.0", "a")
cache = MeasurementCache(Path(sys.argv[1]), max_entries=4)
faults = []
for round in range(60):
    for number in range(6):
        key = measurement_key("value", 1, producer, number)
        found = cache.load(key, list[int], faults.append)
        assert found is None or (found.value, found.attachment) == ([number], bytes(20_000)), found
        cache.store(key, [number], bytes(20_000))
assert not faults, faults
"""


def test_several_slots_write_and_remove_the_same_entries(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)]) for _ in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert len(list(tmp_path.glob("measured-*"))) <= 4
    assert not list(tmp_path.glob("*.part"))
