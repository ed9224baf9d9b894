"""Tests of the lock files, whose wheels must suit the Python version of every supported host."""

from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

PARTS = ["shared", "analysis", "master", "worker"]
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


@pytest.mark.parametrize("part", PARTS)
def test_every_pin_has_a_hash_and_no_index(root: Path, part: str) -> None:
    text = (root / "files" / part / "requirements.txt").read_text()
    for entry in text.split("\n\n")[0].split(" \\\n    --hash=")[1:]:
        assert entry.startswith("sha256:")
    assert "http" not in text.replace("httpcore", "").replace("httptools", "").replace("httpx", "")


def test_deployed_packages_are_tested_packages(root: Path) -> None:
    tested = pins(root / "requirements-dev.txt", PYTHONS[0])
    for part in PARTS:
        assert pins(root / "files" / part / "requirements.txt", PYTHONS[0]) <= tested


def test_the_installer_is_locked(root: Path) -> None:
    lock = (root / "requirements-dev.txt").read_text()
    assert (root / "requirements-uv.txt").read_text() in lock
