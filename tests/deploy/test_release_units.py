"""The units that a new release restarts on all hosts."""

from pathlib import Path

from ruamel.yaml import YAML


def test_optional_units_are_patterns(root: Path) -> None:
    defaults = YAML(typ="safe").load(root / "roles/release/defaults/main.yml")
    units = defaults["release_further_units"]
    assert "ffrtmp-series-importer*.service" in units
    # `systemctl try-restart` fails for a plain name of a missing unit, but not for a pattern.
    assert [unit for unit in units if "*" not in unit] == []
