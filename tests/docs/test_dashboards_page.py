"""Tests of docs/dashboards.md: its tables, targets of make, and links."""

import re
import shutil
import subprocess
from pathlib import Path

from dashboard_documents import documents, panels
from role_templates import ROOT, load_yaml

PAGE = (ROOT / "docs/dashboards.md").read_text(encoding="utf-8")


def rows(columns: int) -> list[list[str]]:
    """Return the cells of the rows of the tables with a number of columns, without the heads."""
    lines = re.findall(r"^\| (.+) \|$", PAGE, re.MULTILINE)
    cells = [line.split(" | ") for line in lines]
    return [row for row in cells if len(row) == columns and row[0] not in ("dashboard", "variable")]


def test_the_page_lists_every_dashboard_with_its_purpose() -> None:
    known = {(item["title"], f"`/d/{item['uid']}`", item["description"]) for item in documents()}
    assert {tuple(row) for row in rows(3)} == known


def test_the_variables_exist() -> None:
    defaults = load_yaml(ROOT / "roles/grafana/defaults/main.yml")
    names = {name for row in rows(2) for name in re.findall(r"`(\w+)`", row[0])}
    assert len(names) >= 5
    assert names <= defaults.keys()
    assert set(re.findall(r"`(grafana_\w+)`", PAGE)) <= defaults.keys()


def test_the_panels_that_the_page_names_exist() -> None:
    titles = {panel["title"] for document in documents() for panel in panels(document)}
    assert {"Revocation lists", "Results with and without a cost"} <= titles
    assert "Results with and without a cost" in PAGE


def test_the_targets_of_make_exist() -> None:
    targets = set(re.findall(r"\bmake ([a-z-]+)", PAGE))
    assert {"dashboards", "dashboard-types", "dashboard-preview"} <= targets
    for target in targets:
        done = subprocess.run(
            [shutil.which("make") or "make", "--dry-run", "--old-file", ".venv/.ready-dev", target],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_the_paths_exist() -> None:
    named = re.findall(r"`((?:dashboards|roles|docs|molecule)/[\w/.-]+)`", PAGE)
    linked = [f"docs/{link}" for link in re.findall(r"\]\(([\w.-]+)\)", PAGE)]
    assert len(named) >= 4
    assert [path for path in [*named, *linked] if not Path(ROOT / path).exists()] == []
