"""Tests of the files that `make dashboards` builds."""

from pathlib import Path

import pytest
from farm_dashboards import files
from farm_dashboards.catalog import alert_panels, all_dashboards
from ruamel.yaml import YAML


def test_the_committed_files_are_current(root: Path) -> None:
    assert files.outdated(root) == []


def test_a_changed_a_missing_and_a_former_file_are_found(tmp_path: Path) -> None:
    files.write(tmp_path)
    assert files.outdated(tmp_path) == []
    changed = tmp_path / files.FOLDER / "ffrtmp-run.json"
    changed.write_text(changed.read_text(encoding="utf-8") + " ", encoding="utf-8")
    (tmp_path / files.FOLDER / "ffrtmp-live.json").unlink()
    former = tmp_path / files.FOLDER / "farm.json"
    former.write_text("{}", encoding="utf-8")
    expected = [
        files.FOLDER / name for name in ("farm.json", "ffrtmp-live.json", "ffrtmp-run.json")
    ]
    assert files.outdated(tmp_path) == expected
    assert files.write(tmp_path) == expected
    assert not former.exists()
    assert files.outdated(tmp_path) == []


def test_every_alert_has_one_panel(root: Path) -> None:
    dashboards = all_dashboards()
    panels = YAML(typ="safe").load(root / files.ALERT_PANELS)
    found = alert_panels(dashboards)
    assert {alert: (item["uid"], item["panel"]) for alert, item in panels.items()} == found
    assert len(found) > 40
    with pytest.raises(ValueError, match="has two panels"):
        alert_panels([*dashboards, dashboards[0]])
