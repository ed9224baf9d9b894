"""What a new release starts anew on whichever host it comes to."""

from pathlib import Path

from ruamel.yaml import YAML


def test_units_that_not_every_host_has_are_patterns(root: Path) -> None:
    defaults = YAML(typ="safe").load(root / "roles/release/defaults/main.yml")
    units = defaults["release_further_units"]
    assert "ffrtmp-series-importer*.service" in units
    # `systemctl try-restart` fails for a plain name that is not there, and the release with it.
    assert [unit for unit in units if "*" not in unit] == []
