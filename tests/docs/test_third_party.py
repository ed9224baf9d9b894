"""Tests that compare THIRD_PARTY.md with lock files, pyproject.toml and packages' metadata."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
_PARTS = ("master", "worker")
_ROW = re.compile(r"^\| `([a-z0-9-]+)`[^|]*\| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def _rows(heading: str) -> dict[str, tuple[str, str]]:
    """Return the second and third cell for each package in the table below a heading.

    The second cell is the license of the package.
    """
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL)
    return {name: (spdx, third) for name, spdx, third in _ROW.findall(section)}


def _locked(part: str) -> dict[str, Requirement]:
    """Return the pinned requirements of a distribution, by their canonical names."""
    lines = (_ROOT / "files" / part / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = (Requirement(line.removesuffix("\\").strip()) for line in lines if line[:1].isalnum())
    return {canonicalize_name(pin.name): pin for pin in pins}


def _direct() -> set[str]:
    """Return the packages that pyproject.toml requires on the control node or for development."""
    with (_ROOT / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    groups: Iterable[list[str]] = settings["dependency-groups"].values()
    named = [
        *settings["project"]["dependencies"],
        *(requirement for group in groups for requirement in group),
    ]
    return {canonicalize_name(Requirement(requirement).name) for requirement in named}


def _contradictions(rows: Mapping[str, tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
    """Return the SPDX expressions of those installed packages for which the page has another."""
    installed = {name: distribution(name).metadata for name in names}
    key = "License-Expression"
    declared = {name: fields[key] for name, fields in installed.items() if key in fields}
    assert declared
    return {name: spdx for name, spdx in declared.items() if rows[name][0] != spdx}


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.parametrize("part", [*_PARTS, "shared", "analysis"])
def test_every_locked_package_is_listed(part: str) -> None:
    locked = _locked(part)
    assert locked
    assert sorted(locked.keys() - _rows("Python packages on hosts").keys()) == []


def test_the_parts_are_those_whose_lock_has_the_package() -> None:
    locks = {part: _locked(part) for part in _PARTS}
    names = {name for lock in locks.values() for name in lock}
    expected = {name: ", ".join(part for part in _PARTS if name in locks[part]) for name in names}
    assert {name: part for name, (_, part) in _rows("Python packages on hosts").items()} == expected


def test_the_shared_lock_is_a_subset_of_both() -> None:
    assert _locked("shared").keys() <= _locked("master").keys() & _locked("worker").keys()


def test_the_lock_of_the_analysis_is_a_subset_of_that_of_the_master() -> None:
    assert _locked("analysis").keys() <= _locked("master").keys()


def test_every_further_package_of_the_command_is_listed() -> None:
    locks = {part: _locked(part) for part in (*_PARTS, "cli")}
    further = locks["cli"].keys() - locks["master"].keys() - locks["worker"].keys()
    rows = _rows("Python packages of `ffrtmp local`")
    assert rows.keys() == further
    installed = {name for name in further if _is_installed(name)}
    assert _contradictions(rows, installed) == {}


def test_every_direct_dependency_of_the_control_node_is_listed() -> None:
    assert _rows("On the control node and for development").keys() == _direct()


def test_the_licenses_of_hosts_are_those_that_packages_declare() -> None:
    pins = {name: pin for part in _PARTS for name, pin in _locked(part).items()}
    # Packages for other systems, such as Windows, are not installed.
    applicable = [name for name, pin in pins.items() if pin.marker is None or pin.marker.evaluate()]
    assert _contradictions(_rows("Python packages on hosts"), applicable) == {}


def test_the_licenses_of_tools_are_those_that_packages_declare() -> None:
    rows = _rows("On the control node and for development")
    assert _contradictions(rows, rows) == {}


def test_the_wheel_with_ffmpeg_is_the_pinned_one() -> None:
    defaults = (_ROOT / "roles/ffmpeg/defaults/main.yml").read_text(encoding="utf-8")
    (name,) = re.findall(r"^ffmpeg_wheel_name: (\S+)$", defaults, re.MULTILINE)
    (version,) = re.findall(r"^ffmpeg_wheel_version: (\S+)$", defaults, re.MULTILINE)
    assert f"`{name}` {version}" in _PAGE
