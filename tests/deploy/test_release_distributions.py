"""Tests that a release contains the distributions that its components depend on, and no others."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ruamel.yaml import YAML

_PREFIX = "ffmpeg-rtmp-"


def _requirements(root: Path, distribution: str) -> list[Requirement]:
    text = (root / "files" / distribution / "pyproject.toml").read_text(encoding="utf-8")
    return [Requirement(line) for line in tomllib.loads(text)["project"]["dependencies"]]


def _own(root: Path, distribution: str) -> list[str]:
    names = [requirement.name for requirement in _requirements(root, distribution)]
    return [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)]


def _in_order(root: Path, distribution: str) -> list[str]:
    """Return the distribution and all own distributions that it needs, dependencies first."""
    found: list[str] = []
    for name in sorted(_own(root, distribution), key=lambda name: len(_own(root, name))):
        found += [needed for needed in _in_order(root, name) if needed not in found]
    return [*found, distribution]


def _release_vars(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(root / "roles/release/vars/main.yml")
    return loaded


@pytest.mark.parametrize("component", ["master", "worker"])
def test_a_component_has_the_distributions_that_it_needs(root: Path, component: str) -> None:
    assert _release_vars(root)["__release_distributions"][component] == _in_order(root, component)


def test_the_version_of_a_release_covers_every_distribution(root: Path) -> None:
    named = {
        name for names in _release_vars(root)["__release_distributions"].values() for name in names
    }
    tasks = (root / "roles/release/tasks/identify.yml").read_text(encoding="utf-8")
    existing = {path.parent.name for path in root.glob("files/*/pyproject.toml")}
    # Users install the command on their own computers.
    deployed = existing - {"cli"}
    assert named == deployed
    assert all(f'"{{{{ release_source_dir }}}}/files/{name}"' in tasks for name in deployed)


def test_all_distributions_have_the_same_version(root: Path) -> None:
    projects = {
        path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        for path in root.glob("files/*/pyproject.toml")
    }
    versions = {project["version"] for project in projects.values()}
    assert len(versions) == 1
    (version,) = versions
    own = {
        str(requirement.specifier)
        for name in projects
        for requirement in _requirements(root, name)
        if requirement.name.startswith(_PREFIX)
    }
    assert own == {f"=={version}"}
