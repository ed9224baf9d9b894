"""A copy of the project that runs run-benchmark.yml against a master on this computer."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from polling import wait_until

from .farm import CLIP, SUITE, Farm

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


class Checkout:
    """A copy of the project with an inventory that contains one local master."""

    def __init__(self, folder: Path, farm: Farm) -> None:
        """Copy the project into `folder`, and add a suite and the operator's token for `farm`."""
        self.folder = folder
        self.suite = folder / "suite.yml"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        for name in ("ansible.cfg", "run-benchmark.yml"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("playbooks", "plugins", "library", "module_utils"):
            shutil.copytree(ROOT / name, folder / name)
        inventory = folder / "inventories/test"
        (inventory / "group_vars").mkdir(parents=True)
        shutil.copy(ROOT / "group_vars/all.yml", inventory / "group_vars/all.yml")
        self._hosts = inventory / "hosts.yml"
        self._write_hosts(master={"master1": {}})
        tokens = folder / ".secrets/default/tokens"
        tokens.mkdir(parents=True)
        (tokens / "operator").write_text(farm.operator)
        (tokens.parent / "pki").mkdir()
        shutil.copy(farm.ca_file, tokens.parent / "pki/ca.pem")
        # Each test has a different clip, because the tests share a master.
        clip = CLIP + str(folder).encode()
        digest = hashlib.sha256(clip).hexdigest()
        self.suite.write_text(SUITE.format(sha256=digest))
        (folder / "clip.mp4").write_bytes(clip)
        settings = {"farm_master_url": farm.url, "farm_ca_file": str(farm.ca_file)}
        (inventory / "group_vars/master.yml").write_text(json.dumps(settings))
        self._command = [
            "ansible-playbook",
            *("-i", "inventories/test", "run-benchmark.yml"),
            *("-e", "benchmark_suite=suite.yml"),
        ]
        self._environment = os.environ | {
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home"),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TMPDIR": str(self.temporary),
        }

    def add_workers(self, **workers: dict[str, object]) -> None:
        """Add workers with their variables to the inventory. They are this computer, too."""
        self._write_hosts(master={"master1": {}}, worker=workers)

    def _write_hosts(self, **groups: dict[str, dict[str, object]]) -> None:
        settings = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        children = {name: {"hosts": hosts} for name, hosts in groups.items()}
        self._hosts.write_text(json.dumps({"all": {"vars": settings, "children": children}}))

    @property
    def keys(self) -> list[Path]:
        """The files with the idempotency keys of unfinished runs."""
        return list((self.folder / ".state/default/runs").glob("*"))

    def start(self, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start run-benchmark.yml, and write its output to `log`."""
        return self.start_command([*self._command, *arguments], log)

    def start_command(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command in the copy of the project, and write its output to `log`."""
        with log.open("wb") as file:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run run-benchmark.yml and return its exit status and output."""
        return self.run_command([*self._command, *arguments])

    def run_command(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in the copy of the project. Return its exit status and output."""
        log = self.folder / "run.log"
        status = self.start_command(command, log).wait(timeout=300)
        return status, log.read_text()


def wait_for_text(log: Path, text: str) -> None:
    """Wait until the log contains `text`."""
    wait_until(lambda: text in log.read_text(), log.read_text)
