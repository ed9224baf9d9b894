"""Tests of the thread that samples the host, and of the memory limit of a slot."""

import threading
from pathlib import Path

import pytest
from ffrtmp_worker.measure.cgroup import MemoryLimit
from ffrtmp_worker.measure.sampling import HostSampler
from polling import TIMEOUT_S


def test_a_deleted_sampler_ends_its_thread() -> None:
    before = set(threading.enumerate())
    sampler = HostSampler()
    (thread,) = set(threading.enumerate()) - before
    assert thread.is_alive()
    del sampler
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("oom 1\noom_kill 1\n", True),
        ("oom 0\noom_kill 1\n", False),
        ("oom 1\noom_kill 0\n", False),
    ],
)
def test_only_a_kill_at_the_slots_own_limit_counts(
    after: str, expected: bool, tmp_path: Path
) -> None:
    own, slot = tmp_path / "own", tmp_path / "slot"
    own.write_text("0::/slot\n")
    slot.mkdir()
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (slot / "memory.events").write_text("oom 0\noom_kill 0\n")
    limit = MemoryLimit(own, tmp_path)
    assert not limit.was_hit()
    (slot / "memory.events").write_text(after)
    assert limit.was_hit() is expected


@pytest.mark.parametrize(
    ("failcnt", "oom_kill", "expected"), [(9, 1, True), (9, 0, False), (4, 1, False)]
)
def test_the_limit_is_read_with_cgroup_v1(
    failcnt: int, oom_kill: int, expected: bool, tmp_path: Path
) -> None:
    own, slot = tmp_path / "own", tmp_path / "memory/slot"
    own.write_text("4:memory:/slot\n0::/slot\n")
    slot.mkdir(parents=True)
    (slot / "memory.limit_in_bytes").write_text("104857600\n")
    (slot / "memory.failcnt").write_text("4\n")
    (slot / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    limit = MemoryLimit(own, tmp_path)
    assert str(limit) == "of 104857600 bytes"
    assert not limit.was_hit()
    (slot / "memory.failcnt").write_text(f"{failcnt}\n")
    (slot / "memory.oom_control").write_text(f"under_oom 0\noom_kill {oom_kill}\n")
    assert limit.was_hit() is expected


def test_a_host_without_a_memory_control_group_has_no_limit(tmp_path: Path) -> None:
    limit = MemoryLimit(tmp_path / "none", tmp_path)
    assert not limit.was_hit()
    assert str(limit) == "of unknown size"
