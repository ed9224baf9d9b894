"""Test of the playbooks that let a worker of another inventory join and leave a farm.

The farm has a real master, with whose API the playbooks register the token of the worker.
"""

import getpass
import io
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from factories import registration
from ffrtmp_shared.client import MasterClient, MasterUnreachableError
from forked_master import Master
from polling import TIMEOUT_S, wait_until
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

# The playbooks of the whole history take a minute in each process that runs one of these tests.
# The scenario join runs them on machines.
_DEEP = pytest.mark.deep

PROGRAMS = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
NODE = "w3"
ADDRESS = "127.0.0.1"
_COPIED = ("group_vars", "playbooks", "plugins", "roles", "library", "module_utils")
_ISSUE = {
    "name": "Issue the certificate of the master",
    "hosts": "master",
    "gather_facts": False,
    "vars_files": ["vars/certificates.yml"],
    "tasks": [
        {
            "name": "Issue the certificate",
            "ansible.builtin.import_role": {"name": "pki", "tasks_from": "control_node"},
            "vars": {
                "pki_dir": "{{ farm_secrets_dir }}/pki",
                "pki_host_names": "{{ __farm_certificate_names }}",
                "pki_host_addresses": "{{ __farm_certificate_addresses }}",
            },
        },
        {
            "name": "Create the tokens",
            "ansible.builtin.import_role": {"name": "credentials"},
            "vars": {
                "credentials_dir": "{{ farm_secrets_dir }}/tokens",
                "credentials_names": ["operator", "exporter", "monitoring"],
            },
        },
    ],
}


@dataclass
class JoinedFarm:
    """A farm that consists of a master on this computer, with its control node."""

    folder: Path
    port: int
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> Path:
        """The directory of the farm's secrets."""
        return self.folder / ".secrets/test"

    @property
    def archive(self) -> Path:
        """The archive of the worker."""
        return self.secrets / f"joined/{NODE}.tar"

    def prepare(self) -> None:
        """Copy the project, and write its inventory and the settings of the master."""
        for name in _COPIED:
            shutil.copytree(ROOT / name, self.folder / name)
        shutil.copy(ROOT / "ansible.cfg", self.folder)
        (self.folder / "playbooks/issue.yml").write_text(json.dumps([_ISSUE]))
        inventory = self.folder / "inventories/test"
        shutil.copytree(ROOT / "group_vars", inventory / "group_vars")
        settings_of_all = inventory / "group_vars/all"
        settings_of_all.mkdir()
        (inventory / "group_vars/all.yml").rename(settings_of_all / "00_common.yml")
        config = self.folder / "etc"
        config.mkdir()
        variables = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            # The files belong to the user of this process.
            "config_files_root": "/",
            "farm_name": "test",
            # A worker that joins is another host, which cannot use a loopback address.
            "farm_address": "192.0.2.11",
            "farm_master_url": f"https://{ADDRESS}:{self.port}",
            "farm_api_port": self.port,
            "farm_ca_file": "{{ farm_secrets_dir }}/pki/ca.pem",
            "farm_workers_join": True,
            "master_config_dir": str(config),
            "master_user": getpass.getuser(),
            "pki_host_dir": str(config / "pki"),
            "release_install_dir": str(self.folder / "opt"),
        }
        groups = {"master": {"hosts": {"m1": {}}}}
        # Variables in the list of hosts would not override those of the group's files.
        (settings_of_all / "50_test.yml").write_text(json.dumps(variables))
        document = {"all": {"children": groups}}
        (inventory / "hosts.yml").write_text(json.dumps(document))
        programs = self.folder / "opt/current/bin"
        programs.mkdir(parents=True)
        (programs / "ffrtmp-master").symlink_to(PROGRAMS / "ffrtmp-master")
        settings = {
            "listen_address": ADDRESS,
            "listen_port": self.port,
            "certificate_file": str(self.secrets / "pki/hosts/m1.pem"),
            "key_file": str(self.secrets / "pki/hosts/m1.key"),
            "database_url": f"sqlite:///{self.folder}/farm.db",
            "data_dir": str(self.folder / "data"),
            "log_level": "warning",
        }
        (self.folder / "data").mkdir()
        (config / "master.yml").write_text(json.dumps(settings))

    def run(self, playbook: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run a playbook with variables of the command line."""
        command = [PROGRAMS / "ansible-playbook", "-i", "inventories/test", f"playbooks/{playbook}"]
        return subprocess.run(
            [*command, "-e", json.dumps(variables)],
            cwd=self.folder,
            env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, step: str, playbook: str, **variables: Any) -> str:
        """Run a playbook, which must succeed, and store its output as that of `step`."""
        done = self.run(playbook, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        self.outputs[step] = done.stdout
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """Return the files in the archive."""
        with tarfile.open(fileobj=io.BytesIO(self.archive.read_bytes())) as tar:
            return {member.name: file.read() for member in tar if (file := tar.extractfile(member))}

    def recorded(self) -> list[str]:
        """Return the names of the records of workers that joined, and of their archives."""
        return sorted(path.name for path in (self.secrets / "joined").glob("*"))

    def certificate(self) -> x509.Certificate:
        """Return the certificate in the archive."""
        return x509.load_pem_x509_certificate(self.files()["host.pem"])

    def revoked(self) -> set[int]:
        """Return the serial numbers on the revocation list of the farm."""
        found = x509.load_pem_x509_crl((self.secrets / "pki/crl.pem").read_bytes())
        return {entry.serial_number for entry in found}

    def token(self, name: str) -> str:
        """Return a token of the farm."""
        return (self.secrets / "tokens" / name).read_text().strip()

    def client(self, token: str) -> MasterClient:
        """Return a client of the master."""
        url = f"https://{ADDRESS}:{self.port}"
        return MasterClient(url, token, self.secrets / "pki/ca.pem")

    def request(self, path: str, token: str) -> httpx.Response:
        """Return the answer to a request of the API."""
        context = ssl.create_default_context(cafile=self.secrets / "pki/ca.pem")
        url = f"https://{ADDRESS}:{self.port}{path}"
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(url, headers=headers, verify=context, timeout=TIMEOUT_S)


def _is_ready(client: MasterClient) -> bool:
    try:
        return client.is_ready()
    except MasterUnreachableError:
        return False


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JoinedFarm]:
    """A farm with a running master and without workers."""
    with socket.create_server((ADDRESS, 0)) as free:
        port = free.getsockname()[1]
    found = JoinedFarm(tmp_path_factory.mktemp("farm"), port)
    found.prepare()
    found.succeed("issue", "issue.yml")
    log, config = found.folder / "master.log", ["--config", found.folder / "etc/master.yml"]
    assert Master([*config, "migrate"], log).wait(TIMEOUT_S) == 0, log.read_text()
    master = Master([*config, "serve"], log)
    with found.client(found.token("operator")) as client:
        wait_until(lambda: _is_ready(client), log.read_text)
    yield found
    master.terminate()
    master.wait(TIMEOUT_S)


@dataclass(frozen=True)
class Joined:
    """A worker that has joined the farm and registered."""

    farm: JoinedFarm
    files: dict[str, bytes]
    archive_mode: int
    serial: int
    registered: set[str]
    targets: list[dict[str, Any]]
    status: int

    @property
    def token(self) -> str:
        """The token of the worker."""
        return self.files["agent.token"].decode().strip()


@pytest.fixture(scope="module")
def joined(farm: JoinedFarm) -> Joined:
    farm.succeed("join", "join.yml", node=NODE, node_address=ADDRESS, node_slots=2)
    files = farm.files()
    token = files["agent.token"].decode().strip()
    with farm.client(token) as agent:
        agent.register(registration(NODE))
    with farm.client(farm.token("operator")) as operator:
        registered = {node.name for node in operator.nodes()}
    return Joined(
        farm=farm,
        files=files,
        archive_mode=farm.archive.stat().st_mode & 0o777,
        serial=farm.certificate().serial_number,
        registered=registered,
        targets=farm.request("/v1/sd/cpu", farm.token("monitoring")).json(),
        status=farm.request("/v1/nodes", token).status_code,
    )


@dataclass(frozen=True)
class History:
    """A worker that has joined, whose certificate was renewed, and that has left the farm."""

    farm: JoinedFarm
    serials: set[int]
    revoked: dict[str, set[int]]
    status: int
    nodes: int
    secrets: list[str]


@pytest.fixture(scope="module")
def history(joined: Joined) -> History:
    farm, revoked = joined.farm, {}
    farm.succeed("again", "join.yml", node=NODE)
    farm.succeed("renew", "renew-certificates.yml", pki_renew_days=400)
    serials = {joined.serial, farm.certificate().serial_number}
    revoked["renew"] = farm.revoked()

    farm.succeed("leave", "leave.yml", node=NODE)
    revoked["leave"] = farm.revoked()
    wait_until(
        lambda: farm.request("/v1/nodes", joined.token).status_code == 401,
        "the token of the worker is revoked",
    )
    with farm.client(farm.token("operator")) as operator:
        nodes = len(operator.nodes())
    status = farm.request("/v1/nodes", joined.token).status_code
    secrets = sorted(path.name for path in farm.secrets.rglob("*") if NODE in path.name)
    return History(farm, serials, revoked, status, nodes, secrets)


def test_the_archive_has_all_that_the_worker_needs(joined: Joined) -> None:
    assert joined.archive_mode == 0o600
    assert set(joined.files) == {
        "join.json",
        "agent.token",
        "ca.pem",
        "crl.pem",
        "host.key",
        "host.pem",
    }
    manifest = json.loads(joined.files["join.json"])
    host = x509.load_pem_x509_certificate(joined.files["host.pem"])
    assert manifest["node"] == NODE
    assert manifest["expires_at"] == host.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert manifest["settings"] == {
        "address": ADDRESS,
        "master_url": f"https://{ADDRESS}:{joined.farm.port}",
        "mutual_tls": False,
        "rtmp_url": "",
        "rtmp_stat_url": "",
    }


def test_the_certificate_is_valid_only_for_the_worker(joined: Joined) -> None:
    host = x509.load_pem_x509_certificate(joined.files["host.pem"])
    names = host.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NODE]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    constraints = host.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not constraints.key_cert_sign


def test_the_output_names_the_archive_and_no_secret(joined: Joined) -> None:
    output = " ".join(joined.farm.outputs["join"].split())
    assert f"joined/{NODE}.tar lets {NODE} join until" in output
    assert f"make deploy-worker JOIN={NODE}.tar" in output
    assert joined.token not in output


def test_the_master_accepts_the_token_and_discovers_the_worker(joined: Joined) -> None:
    # The token is valid, but an agent may not list the nodes.
    assert joined.status == 403
    assert joined.registered == {NODE}
    assert [target["labels"]["node"] for target in joined.targets] == [NODE]


@_DEEP
def test_a_second_join_changes_nothing(history: History) -> None:
    recap = history.farm.outputs["again"].partition("PLAY RECAP")[2]
    assert "changed=0" in recap
    assert recap.count("changed=") == recap.count("changed=0"), recap


@_DEEP
def test_a_renewal_writes_a_new_archive_and_does_not_revoke_the_old_certificate(
    history: History,
) -> None:
    assert len(history.serials) == 2
    assert history.revoked["renew"] == set()
    output = " ".join(history.farm.outputs["renew"].split())
    assert f"joined/{NODE}.tar lets {NODE} join until" in output


@_DEEP
def test_a_worker_that_left_has_no_access(history: History) -> None:
    assert history.status == 401
    assert history.nodes == 0
    assert history.revoked["leave"] == history.serials
    # Only the record of its certificates remains, because they are revoked until they expire.
    assert [name for name in history.secrets if not name.endswith(".pem")] == []


def test_what_joining_allowed_is_denied_when_the_worker_leaves() -> None:
    """The farm of these tests has no RTMP server, so the imported playbooks are compared."""
    joined, left = _imported("join.yml"), _imported("leave.yml")
    assert {"api-credentials.yml", "rtmp-server.yml"} < joined
    # The archives are written again, and the certificates revoked, by renew-certificates.yml.
    assert joined - {"join-archives.yml"} < left
    assert "renew-certificates.yml" in left


def _imported(playbook: str) -> set[str]:
    plays = YAML(typ="safe").load(ROOT / "playbooks" / playbook)
    action = "ansible.builtin.import_playbook"
    return {play[action] for play in plays if action in play}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "The name of the node is missing. Name the worker with -e node=w3"),
        ({"node": "../w3"}, "1 to 64 letters, digits, dots, underscores or hyphens"),
        ({"node": "m1"}, "m1 is a host of this inventory, so site.yml deploys it"),
        ({"node": "w4", "node_slots": 0}, "node_slots is 0. It must be the number of slots"),
        ({"node": "w4", "node_address": "a b"}, "node_address is a b."),
        ({"node": "w4", "farm_workers_join": False}, "set farm_workers_join to true"),
        ({"node": "w4", "farm_name": "other"}, "contains no token of an operator"),
    ],
)
def test_invalid_settings_are_refused(
    farm: JoinedFarm, variables: dict[str, Any], message: str
) -> None:
    before = farm.recorded()
    refused = farm.run("join.yml", **variables)

    assert refused.returncode != 0
    assert message in " ".join(refused.stdout.split())
    assert farm.recorded() == before


@_DEEP
def test_without_joined_workers_none_can_leave(history: History) -> None:
    refused = history.farm.run("leave.yml", node="w33")
    assert refused.returncode != 0
    assert "w33 has not joined this farm" in " ".join(refused.stdout.split())
    assert "No worker of another inventory has joined." in " ".join(refused.stdout.split())


def test_a_worker_that_did_not_join_cannot_leave(joined: Joined) -> None:
    farm = joined.farm
    record = farm.secrets / "joined/w6.json"
    record.write_text(json.dumps({"node": "w6", "address": ADDRESS, "slots": 1}))
    try:
        # The second name has a dot, which is not a wildcard for the certificates of w3.
        for node in ("w66", "w."):
            refused = farm.run("leave.yml", node=node)
            assert refused.returncode != 0
            output = " ".join(refused.stdout.split())
            assert f"{node} has not joined this farm" in output
            assert re.search(r"Joined workers: (w3, |w3 and )?w6[.]", output)
            assert "changed=0" in output
    finally:
        record.unlink()


@_DEEP
def test_a_removal_can_be_repeated(history: History) -> None:
    """An interrupted removal may have revoked the certificates, but not installed the list."""
    revoked = history.farm.revoked()
    history.farm.succeed("repeated", "leave.yml", node=NODE)
    assert history.farm.revoked() == revoked


@_DEEP
def test_a_worker_that_was_added_to_the_inventory_is_no_longer_recorded(history: History) -> None:
    """Otherwise, its certificates would not be revoked when it is removed from the inventory."""
    farm = history.farm
    farm.succeed("added-join", "join.yml", node="w5", node_address=ADDRESS)
    pem = (farm.secrets / "pki/hosts/w5.pem").read_bytes()
    serial = x509.load_pem_x509_certificate(pem).serial_number
    added = farm.folder / "inventories/test/added.yml"
    added.write_text(json.dumps({"all": {"children": {"worker": {"hosts": {"w5": {}}}}}}))
    farm.succeed("added", "join-archives.yml")
    assert list((farm.secrets / "joined").iterdir()) == []
    assert (farm.secrets / "pki/hosts/w5.pem").read_bytes() == pem
    added.unlink()
    farm.succeed("removed", "renew-certificates.yml")
    assert serial in farm.revoked()
