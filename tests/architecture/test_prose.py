"""Search for wording that CONTRIBUTING excludes because plainer wording exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .sources import python_files, text_files


class Finding(NamedTuple):
    """A line with excluded wording, and a description of the problem."""

    file: Path
    line: int
    problem: str


_ANYWHERE = {
    "anew": re.compile(r"\banew\b", re.IGNORECASE),
    # The pattern excludes the audit log's column, which keeps its name from release 0.1.0.
    "deed": re.compile(r"(?<![\".])\bdeeds?\b(?![\"=])", re.IGNORECASE),
    "is no X": re.compile(
        r"(?<!there )(?<!There )(?<!here )\b(?:is|are|was|were) no (?!longer\b|more\b|such\b)[a-z]"
    ),
    "who without an antecedent": re.compile(
        r"\b(?:for|to|of|by|from|with|wakes?|sends?|lets in|let in|whatever or|than) who\b"
        r"|(?:^|[.;(] )Who (?!can\b|may\b|does\b|is\b|are\b)"
    ),
    "said, told, heard, looked for reported, logged, observed, polled": re.compile(
        r"\b(?:is|was|are|were|be|been) (?:said|told|heard)\b|\bis looked\b(?! up)|\bnobody\b"
        r"|\bin vain\b|\bwhat could not be had\b",
        re.IGNORECASE,
    ),
}
_CLAUSE = re.compile(r"(?:What|Who|Which|How|Where|When|Whether|Why|Whatever|Whoever)\b")
_PRIVATE_NAMES = {"said", "told", "heard", "deed"}
# Names of files with texts of third parties, generated files, and this file, which quotes wording.
_EXCLUDED = re.compile(r"LICENSE|requirements.*\.txt|\.license$|test_prose\.py$|\.svg$|\.json$")


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def _loop_variables(tree: ast.Module) -> Iterator[ast.Name]:
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            for name in ast.walk(node.target):
                if isinstance(name, ast.Name):
                    yield name


def find_in_text(file: Path) -> Iterator[Finding]:
    """Yield the lines of a text file that contain excluded wording."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        for problem, pattern in _ANYWHERE.items():
            if pattern.search(line):
                yield Finding(file, number, f"{problem}: {line.strip()[:90]}")


def find_in_python(file: Path) -> Iterator[Finding]:
    """Yield docstrings that begin with a clause, and excluded names of variables."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for line, text in _docstrings(tree):
        if _CLAUSE.match(text):
            yield Finding(file, line, f"docstring opens with a clause: {text[:60]}")
    for name in _loop_variables(tree):
        if name.id == "one":
            yield Finding(file, name.lineno, "loop variable `one`")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in _PRIVATE_NAMES:
            yield Finding(file, node.lineno, f"name `{node.id}`")
        if isinstance(node, ast.arg) and node.arg in _PRIVATE_NAMES:
            yield Finding(file, node.lineno, f"parameter `{node.arg}`")


def find_all(root: Path) -> list[Finding]:
    """Return all findings below the root of the repository."""
    found: list[Finding] = []
    for file in text_files(root):
        if not _EXCLUDED.search(file.name):
            found += find_in_text(file)
    for file in python_files(root):
        if not _EXCLUDED.search(file.name):
            found += find_in_python(file)
    return found


def test_no_text_has_excluded_wording(root: Path) -> None:
    found = find_all(root)
    assert not found, "\n".join(f"{f.file.relative_to(root)}:{f.line}: {f.problem}" for f in found)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "Copy it to who has a certificate."),
        ("b.yml", "# Start the master anew"),
        ("c.py", '"""What the agents report."""\n'),
        ("d.py", "for one in []:\n    pass\n"),
        ("e.py", "# A cover is no video.\n"),
    ],
)
def test_excluded_wording_is_found(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    found = [*find_in_text(file)]
    if file.suffix == ".py":
        found += find_in_python(file)
    assert len(found) == 1
