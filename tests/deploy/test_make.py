"""What the README tells a person to type, as far as it needs no machines."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    return subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A copy of what an operator works with."""
    for name in ("ansible.cfg", "site.yml", "run-benchmark.yml", "Makefile"):
        shutil.copy(root / name, tmp_path / name)
    for name in ("group_vars", "inventories/example", "playbooks", "plugins", "roles", "library"):
        shutil.copytree(root / name, tmp_path / name, symlinks=True)
    shutil.copytree(root / "module_utils", tmp_path / "module_utils")
    return tmp_path


def test_an_inventory_of_ones_own_is_complete(checkout: Path) -> None:
    made = run(["make", "inventory", "NAME=prod"], checkout)
    assert made.returncode == 0, made.stderr
    assert "inventories/prod/hosts.yml" in made.stdout
    own = checkout / "inventories/prod/group_vars/all/50_example.yml"
    assert "farm_name: prod\n" in own.read_text()
    for playbook in ("site.yml", "run-benchmark.yml"):
        command = ["ansible-playbook", "-i", "inventories/prod", "--syntax-check", playbook]
        assert run(command, checkout).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"), [([], "make inventory NAME=prod"), (["NAME=example"], "already exists")]
)
def test_an_inventory_is_not_made_over_another(
    checkout: Path, arguments: list[str], said: str
) -> None:
    made = run(["make", "inventory", *arguments], checkout)
    assert made.returncode != 0
    assert said in made.stderr


def test_setup_clears_nothing_that_it_did_not_create(checkout: Path, root: Path) -> None:
    for name in ("requirements-dev.txt", "requirements-uv.txt", "pyproject.toml"):
        shutil.copy(root / name, checkout / name)
    for part in ("shared", "master", "worker"):
        (checkout / "files" / part).mkdir(parents=True)
        shutil.copy(root / "files" / part / "pyproject.toml", checkout / "files" / part)
    (checkout / ".venv").mkdir()
    (checkout / ".venv/precious").touch()
    refused = run(["make", "setup"], checkout)
    assert refused.returncode != 0
    assert "was not created by make setup" in refused.stderr
    assert (checkout / ".venv/precious").exists()


def test_no_recipe_splits_a_path_with_a_space(root: Path, tmp_path: Path) -> None:
    """Setting up for real takes ten seconds; this Python stops where the environment is created."""
    checkout, neighbour = tmp_path / "with space", tmp_path / "with"
    neighbour.mkdir()
    (neighbour / "precious").touch()
    shutil.copytree(
        root,
        checkout,
        symlinks=True,
        ignore=shutil.ignore_patterns(".*", "docs", "src", "tests", "molecule", "roles", "media"),
    )
    log = tmp_path / "log"
    python = tmp_path / "py thon"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" >> "{log}"\ntest "$2" != venv\n')
    python.chmod(0o755)
    stopped = run(["make", "setup", f"PYTHON={python}"], checkout)
    assert stopped.returncode != 0
    assert log.read_text().endswith("4\n-m\nvenv\n--clear\n.venv\n"), stopped.stderr
    assert (neighbour / "precious").exists()


@pytest.mark.deep
def test_setup_works_in_a_path_with_a_space(root: Path, tmp_path: Path) -> None:
    """It downloads and installs everything."""
    checkout, neighbour = tmp_path / "with space", tmp_path / "with"
    neighbour.mkdir()
    (neighbour / "precious").touch()
    shutil.copytree(root, checkout, symlinks=True, ignore=shutil.ignore_patterns(".*"))
    for name in (".ansible-lint.yml", ".yamllint", ".gitignore"):
        shutil.copy(root / name, checkout / name)
    made = run(["make", "setup"], checkout)
    assert made.returncode == 0, made.stderr
    assert (neighbour / "precious").exists()
    program = checkout / ".venv/bin/ansible-playbook"
    assert run([str(program), "--syntax-check", "site.yml"], checkout).returncode == 0


def test_make_lists_what_can_be_made(checkout: Path) -> None:
    listed = run(["make"], checkout).stdout
    for target in ("make demo", "make demo-down", "make inventory", "make test", "make setup"):
        assert target in listed


def test_every_page_that_the_readme_names_is_there(root: Path) -> None:
    for page in (root / "README.md", *(root / "docs").glob("*.md")):
        for part in page.read_text().split("](")[1:]:
            target = part.split(")")[0]
            if "://" in target:
                continue
            name, _, heading = target.partition("#")
            named = page.parent / name if name else page
            assert named.exists(), f"{page.name}: {target}"
            assert not heading or heading in headings(named), f"{page.name}: {target}"


def headings(page: Path) -> set[str]:
    """Return the names by which a page's headings are linked."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("#")]
    words = [re.sub(r"[^\w\s-]", "", line.lstrip("#").lower()) for line in lines]
    return {"-".join(found.split()) for found in words}


@pytest.mark.parametrize("role", ["worker", "master", "victoria_metrics"])
def test_the_settings_of_a_role_can_be_read(root: Path, role: str) -> None:
    command = ["ansible-doc", "--type", "role", "--roles-path", "roles", role]
    shown = run(command, root)
    assert shown.returncode == 0, shown.stderr
    assert f"{role}_" in shown.stdout


@pytest.mark.parametrize("place", ["own/suite.yml", "suite.yml"])
def test_a_suite_is_found_by_a_relative_path(checkout: Path, root: Path, place: str) -> None:
    """The suite and its clip must be read before the master is asked, and there is none here."""
    suite = checkout / place
    suite.parent.mkdir(exist_ok=True)
    text = (root / "files/suites/demo.yml").read_text()
    suite.write_text(text.replace("../media/bigbuckbunny-720p.mp4", "clip.mp4"))
    (suite.parent / "clip.mp4").write_bytes(b"a clip")
    (checkout / ".secrets/example/tokens").mkdir(parents=True)
    (checkout / ".secrets/example/tokens/operator").write_text("token")
    settings = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    command = ["ansible-playbook", "-i", "inventories/example", "run-benchmark.yml"]
    command += ["--extra-vars", settings, "--extra-vars", f"benchmark_suite={place}"]
    done = run(command, checkout)
    assert "TASK [Queue the suite]" in done.stdout, done.stdout + done.stderr
    assert "ca_file" in done.stdout
    assert done.returncode != 0
