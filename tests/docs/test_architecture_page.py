"""Tests that the architecture page has diagrams that match the code, and names existing files."""

import re
from pathlib import Path

import pytest
from ffrtmp_shared.states import JOB_TRANSITIONS

from .layer_diagram import layer_diagram

_PACKAGES = {
    "master": "files/master/src/ffrtmp_master",
    "worker": "files/worker/src/ffrtmp_worker",
    "analysis": "files/analysis/src/ffrtmp_analysis",
    "shared": "files/shared/src/ffrtmp_shared",
}


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs/architecture.md").read_text(encoding="utf-8")


def test_the_layers_are_those_of_the_import_contracts(page: str, root: Path) -> None:
    shown = re.search(r"<!-- layers -->\n```text\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    assert shown[1] == layer_diagram(root)


def test_the_state_diagram_has_all_transitions(page: str) -> None:
    diagram = page.partition("stateDiagram-v2\n")[2].partition("```")[0]
    shown = set(re.findall(r"^    (\w+) --> (\w+)", diagram, re.MULTILINE))
    legal = {
        (before, after) for before, following in JOB_TRANSITIONS.items() for after in following
    }
    assert shown == legal


def test_every_file_that_the_page_names_exists(page: str, root: Path) -> None:
    named = re.findall(r"`((?:\w+: )?[\w./<>-]+\.(?:py|yml|md))`", page)
    assert len(named) > 30
    missing = [name for name in named if not _exists(root, name)]
    assert missing == []


def test_every_package_is_described(page: str, root: Path) -> None:
    for part in ("master", "worker"):
        folder = root / _PACKAGES[part]
        for package in folder.iterdir():
            if package.is_dir() and (package / "__init__.py").exists():
                assert re.search(rf"^\| `.*\b{package.name}`", page, re.MULTILINE), package.name


def _exists(root: Path, name: str) -> bool:
    package, _, file = name.rpartition(": ")
    folders = [_PACKAGES[package]] if package else ["", "docs", *_PACKAGES.values()]
    folders += [f"files/{part}/src" for part in _PACKAGES]
    return any((root / folder / file).exists() for folder in folders)
