"""Tests that the defaults of each role agree with the argument specs of the role."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROLES = sorted(path.name for path in (Path(__file__).parents[2] / "roles").iterdir())


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_the_argument_spec(root: Path, role: str) -> None:
    defaults = load(root / "roles" / role / "defaults/main.yml")
    options = load(root / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    optional = {name: option for name, option in options.items() if not option.get("required")}
    assert {name: option.get("default") for name, option in optional.items()} == defaults


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_has_a_description_and_the_prefix_of_the_role(root: Path, role: str) -> None:
    specs = load(root / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    for entry in specs.values():
        for name, option in entry["options"].items():
            assert name.startswith(f"{role}_")
            assert option["description"]


@pytest.mark.parametrize("role", ROLES)
def test_every_default_has_a_comment(root: Path, role: str) -> None:
    text = (root / "roles" / role / "defaults/main.yml").read_text()
    for block in text.removeprefix("---\n").strip().split("\n\n"):
        assert block.startswith("#"), f"no comment above: {block.splitlines()[0]}"
