"""Import paths and fixtures that the tests of the project's Ansible modules need."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest
import revocation_list
import trustme
from ansible.module_utils.testing import patch_module_args
from databases import template_file

from .farm import Agent, Farm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "library"))
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

# This module imports one of the directory that was added above.
from .joining_worker import TOKEN, ControlNode  # noqa: E402

__all__ = ["template_file"]

RunModule = Callable[..., dict[str, Any]]
Store = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> RunModule:
    """A function that runs the main() of a module.

    It returns the output of the module, to which it adds the exit code as `rc` and the standard
    error as `stderr`.
    """

    def run(module: ModuleType, **arguments: Any) -> dict[str, Any]:
        capsys.readouterr()
        with patch_module_args(arguments), pytest.raises(SystemExit) as exited:
            module.main()
        captured = capsys.readouterr()
        answer: dict[str, Any] = json.loads(captured.out)
        return {**answer, "rc": exited.value.code, "stderr": captured.err}

    return run


own_farm = pytest.mark.parametrize("farm", ["own"], indirect=True)
"""Mark of a test that needs its own master with an empty database."""


@pytest.fixture(scope="session")
def shared_farm(tmp_path_factory: pytest.TempPathFactory, template_file: Path) -> Iterator[Farm]:
    """The running master that most tests share."""
    yield from _serving(tmp_path_factory.mktemp("farm"), template_file)


@pytest.fixture
def farm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, template_file: Path
) -> Iterator[Farm]:
    """A running master without nodes."""
    if getattr(request, "param", "shared") == "own":
        yield from _serving(tmp_path_factory.mktemp("farm"), template_file)
        return
    farm: Farm = request.getfixturevalue("shared_farm")
    yield farm
    if not farm.is_running:
        farm.start()
    farm.clear()


@pytest.fixture
def agent(farm: Farm) -> Iterator[Agent]:
    """The agent of worker1, which is registered at the master."""
    agent = farm.agent()
    yield agent
    agent.client.close()


def _serving(folder: Path, template: Path) -> Iterator[Farm]:
    farm = Farm(folder)
    farm.install(template)
    farm.start()
    yield farm
    farm.stop()


@pytest.fixture
def control_node(tmp_path: Path) -> ControlNode:
    """A control node that has issued the certificate of the worker."""
    folder = tmp_path / "farm"
    folder.mkdir()
    node = ControlNode(folder, trustme.CA())
    node.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    revocation_list.write_list(node.authority, folder / "crl.pem")
    (folder / "token").write_text(f"{TOKEN}\n")
    node.issue()
    return node


@pytest.fixture
def store(control_node: ControlNode, run_module: RunModule, tmp_path: Path) -> Store:
    """A function that runs the module which stores the files of the archive."""

    def run(**changed: Any) -> dict[str, Any]:
        arguments = {"path": str(control_node.archive), "dest": str(tmp_path / "secrets")}
        return run_module(importlib.import_module("joined_node"), **(arguments | changed))

    return run
