"""Tests of the files that `make dashboards` builds."""

import shutil
from pathlib import Path

import alert_rules
import pytest
from farm_dashboards import files
from farm_dashboards.catalog import alert_panels, all_dashboards


def test_the_committed_files_are_current(root: Path) -> None:
    assert files.outdated(root) == []


def test_a_changed_a_missing_and_a_former_file_are_found(root: Path, tmp_path: Path) -> None:
    variables = tmp_path / files.ALERT_PANELS
    variables.parent.mkdir(parents=True)
    shutil.copy(root / files.ALERT_PANELS, variables)
    files.write(tmp_path)
    assert files.outdated(tmp_path) == []
    changed = tmp_path / files.FOLDER / "ffrtmp-run.json"
    changed.write_text(changed.read_text(encoding="utf-8") + " ", encoding="utf-8")
    (tmp_path / files.FOLDER / "ffrtmp-live.json").unlink()
    former = tmp_path / files.FOLDER / "farm.json"
    former.write_text("{}", encoding="utf-8")
    text = variables.read_text(encoding="utf-8")
    variables.write_text(text.replace("  Watchdog: ", "  Former: "), encoding="utf-8")
    names = ("farm.json", "ffrtmp-live.json", "ffrtmp-run.json")
    expected = [*(files.FOLDER / name for name in names), files.ALERT_PANELS]
    assert files.outdated(tmp_path) == expected
    assert files.write(tmp_path) == expected
    assert not former.exists()
    assert variables.read_text(encoding="utf-8") == text
    assert files.outdated(tmp_path) == []


def test_the_variables_must_contain_the_panels() -> None:
    with pytest.raises(ValueError, match="must contain __vmalert_panels once"):
        files.with_panels("---\n", {"Watchdog": ("ffrtmp-queue", 1)})


def test_every_alert_has_one_panel_and_a_runbook(root: Path) -> None:
    dashboards = all_dashboards()
    found = alert_panels(dashboards)
    assert set(found) == {rule["alert"] for rule in alert_rules.rules()}
    for alert in found:
        assert (root / "docs/runbooks" / f"{alert}.md").is_file()
    with pytest.raises(ValueError, match="has two panels"):
        alert_panels([*dashboards, dashboards[0]])
