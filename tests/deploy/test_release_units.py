"""Test of the systemd units that are restarted on all hosts after the installation of a release."""

from pathlib import Path

from ruamel.yaml import YAML


def test_optional_units_are_patterns(root: Path) -> None:
    defaults = YAML(typ="safe").load(root / "roles/release/defaults/main.yml")
    units = defaults["release_further_units"]
    assert "ffrtmp-series-importer*.service" in units
    # If a unit does not exist, `systemctl try-restart` fails for its name, but not for a pattern.
    assert [unit for unit in units if "*" not in unit] == []
