"""What the tests of the farm on PostgreSQL share."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[3]
INVENTORY = ROOT / "molecule/ha/inventory"
SECRETS = ROOT / ".secrets/ha"
RESULTS = ROOT / ".state/ha-results"

# Runs on the machine, where nothing but Python can ask over TLS.
_ASK = """
import json, ssl, sys, urllib.error, urllib.request
url, show_certificate, token = json.loads(sys.argv[1])
folder = "/etc/ffmpeg-rtmp/pki/"
context = ssl.create_default_context(cafile=folder + "ca.pem")
if show_certificate:
    context.load_cert_chain(folder + "host.pem", folder + "host.key")
request = urllib.request.Request(url)
if token:
    request.add_header("Authorization", "Bearer " + token)
try:
    with urllib.request.urlopen(request, context=context, timeout=20) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""

_STATUS = re.compile(r'haproxy_server_status{proxy="(\w+)",server="(\w+)",state="UP"} (\d)')


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook on the machines, as an operator does on the control node."""
    command = [str(Path(sys.executable).with_name("ansible-playbook"))]
    command += ["--inventory", str(INVENTORY), *arguments]
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "false",
        "LC_ALL": "C.UTF-8",
    }
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )


def host_named(name: str) -> Host:
    """Reach another machine than the one that a test looks at."""
    hosts = str(INVENTORY / "hosts.yml")
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=hosts, sudo=True)


@dataclass(frozen=True)
class Answer:
    """What came back: the HTTP status, 0 where there was none, and the body or the reason."""

    status: int
    body: str

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Machine:
    """A machine of the farm, as the inventory and testinfra know it."""

    host: Host
    variables: dict[str, Any]

    @property
    def address(self) -> str:
        """Where the other machines reach it."""
        found = self.variables["ansible_host"]
        assert isinstance(found, str)
        return found

    def ask(self, url: str, *, token: str = "", certificate: bool = False) -> Answer:
        """Ask for a URL from this machine, with its own certificate if wanted."""
        question = json.dumps([url, certificate, token])
        status, body = json.loads(self.host.check_output("python3 -c %s %s", _ASK, question))
        return Answer(status, body)

    def balanced(self) -> dict[tuple[str, str], bool]:
        """Say of each service and each master whether HAProxy here holds it to be up."""
        answer = self.ask("https://127.0.0.1:8405/metrics", certificate=True)
        assert answer.status == 200, answer.body
        found = _STATUS.findall(answer.body)
        return {(service, master): status == "1" for service, master, status in found}


@pytest.fixture
def machine(host: Host) -> Machine:
    """Each machine in turn."""
    return Machine(host, host.ansible.get_variables())


@pytest.fixture
def operator() -> str:
    """The operator's token."""
    return (SECRETS / "tokens/operator").read_text().strip()


@pytest.fixture
def password() -> str:
    """The password of the farm's database."""
    return (SECRETS / "tokens/postgresql").read_text().strip()
