"""Access of the molecule scenarios' tests to the machines of a deployed farm."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[1]
PKI_FOLDER = "/etc/ffmpeg-rtmp/pki"

# This program runs on a machine of the farm, where Python is the only HTTPS client.
_REQUEST = """
import json, ssl, sys, urllib.error, urllib.request
urls, ca, folder, token = json.loads(sys.argv[1])
context = ssl.create_default_context(cafile=ca)
if folder:
    context.load_cert_chain(folder + "/host.pem", folder + "/host.key")
answers = []
for url in urls:
    request = urllib.request.Request(url)
    if token:
        request.add_header("Authorization", "Bearer " + token)
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            answers.append([answer.status, answer.read().decode()])
    except urllib.error.HTTPError as error:
        answers.append([error.code, error.read().decode()])
    except OSError as error:
        answers.append([0, str(error)])
print(json.dumps(answers))
"""


def run_playbook(
    inventory: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    umask: int = -1,
) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook on the machines, as an operator does on the control node.

    Args:
        inventory: The inventory of the scenario.
        arguments: The playbook and further arguments of ansible-playbook.
        environment: Further environment variables.
        umask: Permissions that created files do not have; -1 means that of this process.

    Returns:
        The ended process with its output and exit code, which may be a failure.
    """
    command = [str(Path(sys.executable).with_name("ansible-playbook"))]
    command += ["--inventory", str(inventory), *arguments]
    variables = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "false",
        "LC_ALL": "C.UTF-8",
    }
    # The play has its own process group, so that a test can end all of its processes.
    return subprocess.run(
        command,
        cwd=ROOT,
        env=variables | dict(environment or {}),
        check=False,
        capture_output=True,
        text=True,
        process_group=0,
        umask=umask,
    )


def interruption(
    task: str, report: Path, *, delay_s: float = 0.0, command: Sequence[str] = ()
) -> dict[str, str]:
    """Return the environment in which ansible-playbook is interrupted at a task.

    Args:
        task: Beginning of the task's name.
        report: File to which the name of the task is written.
        delay_s: Time after the start of the task at which all processes are killed, in seconds.
        command: Command that is run instead of killing the processes.
    """
    scenario = ROOT / "molecule/interrupted"
    return {
        "ANSIBLE_CALLBACK_PLUGINS": f"{ROOT / 'plugins/callback'}:{scenario / 'plugins/callback'}",
        "ANSIBLE_CALLBACKS_ENABLED": "interruption",
        "FFRTMP_TEST_TASK": task,
        "FFRTMP_TEST_REPORT": str(report),
        "FFRTMP_TEST_DELAY_S": str(delay_s),
        "FFRTMP_TEST_COMMAND": json.dumps(list(command)) if command else "",
    }


@dataclass(frozen=True)
class Answer:
    """The answer to a request: its HTTP status and body, or the status 0 and the error."""

    status: int
    body: str

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Machine:
    """A machine of the farm: its testinfra host and its inventory variables."""

    host: Host
    variables: dict[str, Any]

    @property
    def address(self) -> str:
        """The address at which other machines reach this machine."""
        address = self.variables["ansible_host"]
        assert isinstance(address, str)
        return address

    def is_in(self, group: str) -> bool:
        """Return whether the machine is in an inventory group."""
        return group in self.variables["group_names"]

    def request(
        self,
        url: str,
        *,
        token: str = "",
        certificate: bool | str = False,
        ca: str = "/etc/ffmpeg-rtmp/pki/ca.pem",
    ) -> Answer:
        """Send a GET request from the machine.

        Args:
            url: The requested URL.
            token: The bearer token. If it is empty, the request has none.
            certificate: Whether the machine presents its certificate, or the directory of another
                certificate that it presents.
            ca: The path on the machine of the file with the trusted CAs.

        Returns:
            The answer. If the request failed without an answer, its status is 0.
        """
        folder = PKI_FOLDER if certificate is True else certificate or ""
        (answer,) = self._answers([url], ca, folder, token)
        return answer

    def requests(self, urls: Sequence[str]) -> list[Answer]:
        """Send GET requests one after another; the machine presents its certificate.

        Args:
            urls: The requested URLs, together at most about 100,000 characters.

        Returns:
            The answers, in the order of the URLs.
        """
        return self._answers(urls, f"{PKI_FOLDER}/ca.pem", PKI_FOLDER, "")

    def _answers(self, urls: Sequence[str], ca: str, folder: str, token: str) -> list[Answer]:
        parameters = json.dumps([list(urls), ca, folder, token])
        output = self.host.check_output("python3 -c %s %s", _REQUEST, parameters)
        return [Answer(status, body) for status, body in json.loads(output)]
