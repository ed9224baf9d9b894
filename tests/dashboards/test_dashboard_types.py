"""Tests of the check of dashboards with the TypeScript compiler and Grafana's types."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dashboard_documents import FOLDER

pytestmark = pytest.mark.slow

CHECK = Path(__file__).resolve().parents[2] / "dashboards/types/check.mjs"


def check(*dashboards: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None or not (CHECK.parent / "node_modules").exists():
        pytest.fail("run make dashboard-types once, which needs npm", pytrace=False)
    return subprocess.run([node, CHECK, *dashboards], capture_output=True, text=True, check=False)


def test_the_dashboards_have_the_types_of_grafana() -> None:
    checked = check()
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout == "6 dashboards have the types of Grafana\n"


def _misspell_a_property(document: dict[str, Any]) -> str:
    panel = document["panels"][1]
    panel["gridPosition"] = panel.pop("gridPos")
    return "gridPosition"


def _misspell_an_option(document: dict[str, Any]) -> str:
    panel = next(item for item in document["panels"] if item["type"] == "timeseries")
    panel["options"]["legends"] = panel["options"].pop("legend")
    return "legends"


def _use_an_unknown_value(document: dict[str, Any]) -> str:
    panel = next(item for item in document["panels"] if item["type"] == "timeseries")
    panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "lines"
    return "lines"


def _change_a_type(document: dict[str, Any]) -> str:
    document["refresh"] = 60
    return "number"


def test_errors_are_found(tmp_path: Path) -> None:
    changes = (_misspell_a_property, _misspell_an_option, _use_an_unknown_value, _change_a_type)
    source = (FOLDER / "ffrtmp-overview.json").read_text(encoding="utf-8")
    files, expected = [], []
    for at, change in enumerate(changes):
        document = json.loads(source)
        expected.append((f"broken{at}.ts", change(document)))
        files.append(tmp_path / f"broken{at}.json")
        files[-1].write_text(json.dumps(document), encoding="utf-8")
    checked = check(*files)
    assert checked.returncode == 1
    for file, text in expected:
        errors = [line for line in checked.stderr.splitlines() if line.startswith(file)]
        assert any(f'"{text}"' in line or f"'{text}'" in line for line in errors), (file, errors)
