"""Tests that compare the documentation of the modules with their argument specs."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring

MASTER_MODULES = (
    "ffrtmp_node",
    "ffrtmp_node_info",
    "ffrtmp_results",
    "ffrtmp_run",
    "ffrtmp_run_info",
    "ffrtmp_run_plan_info",
    "ffrtmp_runs_info",
)
"""The modules that send requests to the master."""

MODULES = (
    *MASTER_MODULES,
    "current_units",
    "ffrtmp_compare",
    "ffrtmp_report",
    "ffrtmp_slot_cpus_info",
    "join_archive",
    "joined_node",
    "listeners_info",
)
_COMPARED = ("type", "elements", "required", "default", "choices")


_PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def _documentation(name: str) -> dict[str, Any]:
    """Return the documentation of a module with the fragments that it extends."""
    fragment_loader.add_directory(str(_PLUGINS / "doc_fragments"))
    file = importlib.import_module(name).__file__
    document: dict[str, Any] = get_docstring(file, fragment_loader)[0]
    return document


def _documented(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: option[key] for key in _COMPARED if key in option}
        | ({"options": _documented(option["suboptions"])} if "suboptions" in option else {})
        for name, option in options.items()
    }


def _accepted(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: option[key] for key in _COMPARED if key in option}
        | ({"options": _accepted(option["options"])} if "options" in option else {})
        for name, option in spec.items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_documentation_is_the_argument_spec(name: str) -> None:
    module = importlib.import_module(name)
    document = _documentation(name)

    assert document["module"] == name
    assert _documented(document["options"]) == _accepted(module.ARGUMENT_SPEC)
    assert all(option["description"] for option in document["options"].values())


@pytest.mark.parametrize("name", MASTER_MODULES)
def test_each_module_names_the_role_of_its_token(name: str) -> None:
    (role, _) = _documentation(name)["options"]["token"]["description"]

    assert "with at least the role C(" in role


@pytest.mark.parametrize("name", MODULES)
def test_attributes_describe_check_and_diff_mode(name: str) -> None:
    document = _documentation(name)

    assert set(document["attributes"]) == {"check_mode", "diff_mode", "platform"}
    assert document["attributes"]["check_mode"]["support"] == "full"
    wanted = "none" if name.endswith("_info") else "full"
    assert document["attributes"]["diff_mode"]["support"] == wanted


@pytest.mark.parametrize("name", MASTER_MODULES)
def test_only_the_token_is_secret(name: str) -> None:
    spec = importlib.import_module(name).ARGUMENT_SPEC

    assert [option for option, details in spec.items() if details.get("no_log")] == ["token"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_use_known_options_only(name: str) -> None:
    module = importlib.import_module(name)
    tasks = [task for task in yaml.safe_load(module.EXAMPLES) if name in task]

    assert tasks
    for task in tasks:
        assert set(task[name]) <= set(module.ARGUMENT_SPEC)
        required = {key for key, details in module.ARGUMENT_SPEC.items() if details.get("required")}
        assert required <= set(task[name])


@pytest.mark.parametrize("name", MODULES)
def test_every_returned_value_is_described(name: str) -> None:
    returned = yaml.safe_load(importlib.import_module(name).RETURN)

    assert returned
    for value in returned.values():
        assert value["description"]
        assert value["returned"]
        assert value["type"] != "list" or "elements" in value
