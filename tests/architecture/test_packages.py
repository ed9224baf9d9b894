"""Structure of the distributions.

The tests check that there are no import cycles, that class names are unique, and that module names
are nouns.
"""

import ast
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from .sources import DISTRIBUTIONS, python_files

_PARTICIPLE = re.compile(r"[a-z]+(?:ing|ed)$")
# Module names that look like participles but are established nouns. CONTRIBUTING explains them.
_ESTABLISHED = {
    "event_feed",
    "interleaving",
    "log_feed",
    "polling",
    "rate_limiting",
    "sampling",
    "throttling",
    "write_coalescing",
}


def _sources(root: Path, distribution: str) -> list[Path]:
    folder = root / "files" / distribution / "src"
    return [file for file in python_files(root) if file.is_relative_to(folder)]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_there_is_no_import_cycle(distribution: str) -> None:
    graph = grimp.build_graph(f"ffrtmp_{distribution}", cache_dir=None)
    imports = {
        module: graph.find_modules_directly_imported_by(module) - {module}
        for module in graph.modules
    }
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_class_names_are_unique(root: Path, distribution: str) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file in _sources(root, distribution):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{file.relative_to(root)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_modules_are_named_by_nouns(root: Path) -> None:
    names = [file.relative_to(root) for part in DISTRIBUTIONS for file in _sources(root, part)]
    odd = [
        str(name)
        for name in names
        if "migrations/versions" not in str(name)
        and _PARTICIPLE.search(name.stem)
        and name.stem not in _ESTABLISHED
    ]
    assert odd == []
