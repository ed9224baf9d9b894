"""Tests that packages are installed only when they are missing, and that errors name the source."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from role_templates import load_yaml, render

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/common"


def _variables(packages: list[str]) -> dict[str, Any]:
    own = load_yaml(ROLE / "defaults/main.yml") | load_yaml(ROLE / "vars/main.yml")
    return {**own, "common_packages": packages, "inventory_hostname": "w1"}


@pytest.mark.slow
def test_packages_that_are_installed_need_no_package_lists() -> None:
    packages = ["dpkg", "coreutils", "no-such-package"]
    query, *_ = [task for task in load_yaml(ROLE / "tasks/install.yml") if "register" in task]
    variables = _variables(packages)
    argv = render(query["ansible.builtin.command"]["argv"], variables)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    variables["__common_installed"] = {"stdout_lines": done.stdout.splitlines()}
    assert render("{{ __common_missing_packages }}", variables) == ["no-such-package"]


def test_a_package_that_was_removed_counts_as_missing() -> None:
    variables = _variables(["adduser", "dbus"])
    lines = ["config-files adduser", "installed dbus"]
    variables["__common_installed"] = {"stdout_lines": lines}
    assert render("{{ __common_missing_packages }}", variables) == ["adduser"]


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            ["E: The repository 'https://repo.example bookworm Release' is not signed."],
            "Errors of its package sources: E: The repository 'https://repo.example",
        ),
        ([], "apt-cache policy haproxy"),
    ],
)
def test_a_failed_installation_names_packages_and_sources(errors: list[str], message: str) -> None:
    variables = _variables(["haproxy"]) | {
        "__common_installed": {"stdout_lines": []},
        "__common_sources": {"stdout_lines": ["Hit:1 https://deb.example"], "stderr_lines": errors},
        "ansible_failed_result": {"msg": "Failed to update apt cache"},
    }
    problem = render("{{ __common_install_problem }}", variables)
    assert problem.startswith("w1 cannot install haproxy: Failed to update apt cache")
    assert message in problem
