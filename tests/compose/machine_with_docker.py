"""The machine on which `make test-compose` runs the stack, and the commands of Docker on it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
BASE_IMAGE = "localhost/ffrtmp-debian:13"
GRAFANA_STAND_IN = "localhost/ffrtmp-grafana:stand-in"
_MACHINE = ROOT / "tests/compose/machine.yml"
_ENVIRONMENT = os.environ | {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "LC_ALL": "C.UTF-8",
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}

# The images that cannot be pulled without a registry. The base is the same Debian release. Grafana
# is replaced by a stand-in (tests/compose/stand-ins). The profile cadvisor does not run.
IMAGES = {"DEBIAN_IMAGE": BASE_IMAGE, "GRAFANA_IMAGE": GRAFANA_STAND_IN}


class Machine:
    """A machine that runs Docker. The project has the same path on it as on this computer."""

    def __init__(self, prefix: str) -> None:
        """Use the machine of the set of test machines named `prefix`."""
        self.container = f"{prefix}-docker1"
        self._exec = ["podman", "exec", "--workdir", str(ROOT)]
        for name, image in IMAGES.items():
            self._exec += ["--env", f"{name}={image}"]
        self._exec.append(self.container)
        self.compose = [*self._exec, "docker", "compose"]

    def run(self, *command: str) -> str:
        """Run a command on the machine and return its output.

        Raises:
            AssertionError: The command has failed.
        """
        return run([*self._exec, *command])

    def docker(self, *arguments: str) -> str:
        """Run a command of Docker on the machine and return its output."""
        return self.run("docker", *arguments)

    def make(self, *arguments: str, **variables: str) -> str:
        """Run a target of the Makefile on this computer, with Docker Compose of the machine.

        `variables` are added to the environment of make and of Docker Compose.
        """
        program, *more = self.compose
        shared = [f"--env={name}={value}" for name, value in variables.items()]
        compose = " ".join([program, more[0], *shared, *more[1:]])
        return run(["make", *arguments, f"COMPOSE={compose}"], **variables)

    def connection(self) -> dict[str, Any]:
        """Return the variables with which Ansible reaches the machine as root."""
        written = YAML(typ="safe").load((ROOT / ".state/compose-machine.yml").read_text())
        variables: dict[str, Any] = written["all"]["hosts"]["docker1"]
        return variables | {"ansible_connection": "ssh", "ansible_become": True}

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return the properties of the stack's containers by the name of their service."""
        ids = self.run("docker", "compose", "ps", "--all", "--quiet").split()
        found = json.loads(self.docker("inspect", *ids))
        return {item["Config"]["Labels"]["com.docker.compose.service"]: item for item in found}

    def health(self) -> dict[str, str]:
        """Return the state of health of each service of the stack."""
        return {
            name: found["State"]["Health"]["Status"] for name, found in self.containers().items()
        }

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of a query of the stack's VictoriaMetrics."""
        answer = self.run(
            *("docker", "compose", "exec", "-T", "victoria-metrics", "curl"),
            *("--config", "/etc/farm.curlrc", "--get", "--data-urlencode", f"query={expression}"),
            "https://victoria-metrics:8428/api/v1/query",
        )
        result: list[dict[str, Any]] = json.loads(answer)["data"]["result"]
        return result


@contextmanager
def running_machine(prefix: str) -> Iterator[Machine]:
    """Boot the machine with the images that cannot be pulled, and remove it at the end."""
    play = ["ansible-playbook", str(_MACHINE), "-e", f"test_machines_prefix={prefix}"]
    run(play)
    machine = Machine(prefix)
    try:
        machine.run(
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"),
            *("--skip=cleanup/apt/lists", "trixie", "/var/tmp/base.tar"),
        )
        machine.docker("import", "/var/tmp/base.tar", BASE_IMAGE)
        machine.docker("compose", "--file", "tests/compose/stand-ins/compose.yaml", "build")
        yield machine
    finally:
        run([*play, "-e", "test_machines_state=absent"])


def run(command: list[str], **variables: str) -> str:
    """Run a command in the project's directory and return its output.

    Args:
        command: The command.
        variables: Variables that are added to its environment.

    Raises:
        AssertionError: The command has failed.
    """
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=_ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
