"""Tests of the CPUs that a slot can keep busy."""

import os
from pathlib import Path

import pytest
from ffrtmp_worker.measure.cgroup import usable_cpus


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [
        (8, "max 100000", 8),
        (8, "300000 100000", 3),
        (8, "250000 100000", 3),
        (2, "300000 100000", 2),
        (2, "1000 100000", 1),
        (256, None, 256),
    ],
)
def test_usable_cpus_are_those_of_the_affinity_within_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, affinity: int, quota: str | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(affinity)))
    (tmp_path / "cgroup").write_text("0::/farm.slice/agent@1.service\n")
    group = tmp_path / "groups/farm.slice/agent@1.service"
    group.mkdir(parents=True)
    (tmp_path / "groups/cgroup.controllers").write_text("cpu memory\n")
    if quota is not None:
        (group.parent / "cpu.max").write_text(quota)
    assert usable_cpus(tmp_path / "cgroup", tmp_path / "groups") == expected
