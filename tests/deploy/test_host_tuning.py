"""Tests of the settings of host tuning."""

from pathlib import Path

from ffrtmp_worker.tuning.cli import main
from role_templates import load_yaml, render


def rendered(root: Path, template: str) -> str:
    """Return the text of a template of the role, rendered with the role's defaults."""
    role = root / "roles/host_tuning"
    text = (role / "templates" / template).read_text()
    return str(render(text, load_yaml(role / "defaults/main.yml"), is_file=True))


def test_the_program_accepts_the_settings_of_the_role(root: Path, tmp_path: Path) -> None:
    (tmp_path / "tuning.yml").write_text(rendered(root, "host-tuning.yml.j2"))
    assert main(["--config", str(tmp_path / "tuning.yml"), "check-config"]) == 0
