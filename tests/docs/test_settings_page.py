"""Tests of docs/settings.md, and of the descriptions of settings that it consists of."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from settings_catalog import Setting, described, fixed_values, role_groups
from settings_page import PAGE, settings_page


def test_the_page_is_current(root: Path) -> None:
    text = (root / PAGE).read_text(encoding="utf-8")
    assert text == settings_page(root), "run: make settings-page"


def test_the_page_contains_every_variable_that_has_a_default(root: Path) -> None:
    text = (root / PAGE).read_text(encoding="utf-8")
    files = [*root.glob("roles/*/defaults/main.yml"), *root.glob("group_vars/*.yml")]
    names = [
        name
        for file in files
        for name in re.findall(r"^([a-z]\w*):", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(names) > 500
    assert [name for name in names if f"| `{name}` |" not in text] == []


def test_no_two_settings_share_a_description(settings: dict[str, Setting]) -> None:
    described_as = Counter(setting.description for setting in settings.values())
    assert [text for text, count in described_as.items() if count > 1] == []


def test_every_number_has_a_unit(settings: dict[str, Setting]) -> None:
    numbers = [setting for setting in settings.values() if setting.kind in {"int", "float"}]
    assert [setting.name for setting in numbers if not setting.unit] == []


@pytest.mark.parametrize(("unit", "word"), [("s", "second"), ("bytes", "byte"), ("days", "days")])
def test_a_description_names_the_unit(settings: dict[str, Setting], unit: str, word: str) -> None:
    concerned = [setting for setting in settings.values() if setting.unit == unit]
    assert concerned
    assert [found.name for found in concerned if word not in found.description] == []


def test_every_setting_has_an_example(settings: dict[str, Setting]) -> None:
    assert [setting.name for setting in settings.values() if not setting.example] == []


def test_the_comments_of_defaults_are_the_descriptions(root: Path) -> None:
    """The comment is what an operator reads in the file, and the description is on the page."""
    for group in role_groups(root):
        texts = {setting.name: setting.description for setting in group.settings}
        for name, comment in described(root / f"roles/{group.name}/defaults/main.yml"):
            assert comment == texts[name], name


def test_every_setting_of_the_farm_has_a_comment_of_its_own(root: Path) -> None:
    for file in (root / "group_vars").glob("*.yml"):
        assert dict(described(file)), file


def test_a_value_that_playbooks_pass_is_marked(root: Path) -> None:
    """An inventory cannot override the parameter of a role."""
    assert fixed_values(root)["master_listen_port"] == ("{{ farm_api_port }}",)
    text = (root / PAGE).read_text(encoding="utf-8")
    assert "| `master_listen_port` | int, port | `8080`. *Fixed:* `{{ farm_api_port }}` |" in text


def test_make_lists_the_roles_of_this_project_only(root: Path) -> None:
    """ansible-doc also lists the roles of all installed collections."""
    command = ["make", "--assume-old=.venv/.ready", "settings"]
    shown = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = re.findall(r"^([a-z_]+): ", shown, re.MULTILINE)
    roles = sorted(path.name for path in (root / "roles").iterdir())
    groups = {path.stem for path in (root / "group_vars").iterdir()}
    assert [name for name in names if name in roles] == roles
    assert set(names) <= {*roles, *groups}
    assert "  worker_io_weight (str) = " in shown
    assert "  common_ports (list of dict) = set by the playbooks\n" in shown
