"""Tests that no module prints a secret, whatever it is given."""

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from .conftest import ROOT, RunModule
from .farm import Farm
from .test_documentation import MASTER_MODULES
from .test_options import arguments_of

MARK = "m4rk3d"
SECRETS: dict[str, dict[str, str]] = {
    "token with a line feed": {"token": f"{MARK}-one\n{MARK}-two"},
    "token with a carriage return": {"token": f"{MARK}-one\r\n{MARK}-two\r\n"},
    "token with a space": {"token": f"{MARK} {MARK}"},
    "token that is not ASCII": {"token": f"{MARK}ü"},
    "token of a file": {"token": f"{MARK}\n"},
    "password in the URL": {"master_url": f"https://user:{MARK}@127.0.0.1:1"},
    "password with a line feed": {"master_url": f"https://user:{MARK}\n{MARK}@127.0.0.1:1"},
    "password with an @": {"master_url": f"https://user:{MARK}@{MARK}@127.0.0.1:1"},
    "password in a bad URL": {"master_url": f"https://user:{MARK}@[127.0.0.1:1"},
    "option in the URL": {"master_url": f"https://127.0.0.1:1/?token={MARK}"},
}


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """The certificate of a CA."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


def _arguments(module: str, secret: dict[str, str], ca_file: Path) -> dict[str, Any]:
    return arguments_of(module, "ca_file", str(ca_file)) | secret


def _templates(name: str) -> dict[str, str]:
    """Return arguments that take the secrets from a variable, as plays do."""
    return {option: f"{{{{ secrets['{name}']['{option}'] }}}}" for option in SECRETS[name]}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("module", MASTER_MODULES)
def test_a_module_prints_no_secret(
    run_module: RunModule,
    module: str,
    secret: dict[str, str],
    ca_file: Path,
) -> None:
    answer = run_module(importlib.import_module(module), **_arguments(module, secret, ca_file))

    assert answer["rc"] == 1
    assert MARK not in json.dumps(answer)


def test_the_token_of_a_file_is_accepted(run_module: RunModule, farm: Farm) -> None:
    module = importlib.import_module("ffrtmp_node_info")

    answer = run_module(module, **{**farm.connection, "token": f"{farm.operator}\n"})

    assert answer["rc"] == 0, answer["msg"]
    assert farm.operator not in json.dumps(answer)


@pytest.mark.slow
def test_a_play_prints_and_stores_no_secret(tmp_path: Path, ca_file: Path) -> None:
    """Ansible prints the most with -vvvv and tracebacks; the log file has the same content."""
    tasks = [
        {
            "name": f"{module}, {name}",
            "block": [
                {"name": "Fail", module: _arguments(module, _templates(name), ca_file)},
                {"name": "Report the success", "ansible.builtin.meta": "end_play"},
            ],
            "rescue": [{"name": "Continue", "ansible.builtin.debug": {"msg": "refused"}}],
        }
        for module, names in (
            ("ffrtmp_node_info", SECRETS),
            ("ffrtmp_run_wait", ("token with a line feed", "password in the URL")),
            ("ffrtmp_suite_check", ("token with a line feed", "password in the URL")),
        )
        for name in names
    ]
    play = {"name": "P", "hosts": "localhost", "connection": "local", "gather_facts": False}
    (tmp_path / "play.yml").write_text(json.dumps([play | {"tasks": tasks}]))
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_DISPLAY_TRACEBACK": "always",
        "ANSIBLE_LOG_PATH": str(tmp_path / "ansible.log"),
        "LC_ALL": "C.UTF-8",
    }
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    settings = {"ansible_python_interpreter": sys.executable, "secrets": SECRETS}
    (tmp_path / "settings.json").write_text(json.dumps(settings))

    done = subprocess.run(
        [program, "-i", "localhost,", "-e", "@settings.json", "-vvvv", "play.yml"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert f"rescued={len(tasks)}" in done.stdout
    assert MARK not in done.stdout
    assert MARK not in done.stderr
    assert MARK not in (tmp_path / "ansible.log").read_text()


def test_a_timeout_that_is_not_a_number_does_not_wait(run_module: RunModule, farm: Farm) -> None:
    module = importlib.import_module("ffrtmp_run_info")
    run_id = "019a0000-0000-7000-8000-000000000000"

    for value in (math.nan, math.inf, -1.0):
        answer = run_module(module, **farm.connection, run_id=run_id, wait_change_s=value)
        assert "wait_change_s must be a number of seconds" in answer["msg"]
