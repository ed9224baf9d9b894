"""Tests of the lock files, whose wheels must suit the Python version of every supported host."""

from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

PARTS = ["shared", "analysis", "master", "worker"]
LOCKS = [
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-uv.txt",
    *(f"files/{part}/requirements.txt" for part in PARTS),
]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def pins(lock: Path, python: str) -> set[str]:
    environment = {**default_environment(), "sys_platform": "linux", "os_name": "posix"}
    environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    found = set()
    for line in lock.read_text().splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.removesuffix("\\").strip())
            if requirement.marker is None or requirement.marker.evaluate(environment):
                found.add(f"{requirement.name}{requirement.specifier}")
    return found


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_needs_the_same_packages(root: Path, part: str, python: str) -> None:
    lock = root / "files" / part / "requirements.txt"
    assert pins(lock, python) == pins(lock, PYTHONS[0]) != set()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_no_index(root: Path, lock: str) -> None:
    lines = (root / lock).read_text().splitlines()
    assert [line for line in lines if "://" in line or line.startswith("-")] == []
    starts = [number for number, line in enumerate(lines) if line[:1].isalnum()]
    assert starts
    for number in starts:
        assert "==" in lines[number]
        assert lines[number + 1].startswith("    --hash=sha256:"), lines[number]


def test_deployed_packages_are_tested_packages(root: Path) -> None:
    tested = pins(root / "requirements-dev.txt", PYTHONS[0])
    for part in PARTS:
        assert pins(root / "files" / part / "requirements.txt", PYTHONS[0]) <= tested


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tools_for_deployment_are_tested_and_few(root: Path, python: str) -> None:
    """The lock is checked for every Python, because that of a control node may be newer."""
    needed = pins(root / "requirements.txt", python)
    assert needed <= pins(root / "requirements-dev.txt", python)
    names = {pin.partition("==")[0] for pin in needed}
    assert {"ansible", "build", "hatchling"} <= names
    assert len(names) < 25


def test_the_installer_is_locked(root: Path) -> None:
    lock = (root / "requirements-dev.txt").read_text()
    assert (root / "requirements-uv.txt").read_text() in lock
