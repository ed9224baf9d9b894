"""Makes the project's modules importable as Ansible would find them, and runs them."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args

from .farm import Farm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "library"))
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Run a module's main() and return what it printed, with `rc` for how it exited."""

    def run(module: ModuleType, **arguments: Any) -> dict[str, Any]:
        capsys.readouterr()
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            module.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return {**answer, "rc": ended.value.code}

    return run


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    """A master that serves."""
    folder = tmp_path / "farm"
    folder.mkdir()
    farm = Farm(folder)
    farm.install()
    farm.start()
    yield farm
    farm.stop()
