"""Tests of the certificates and the revocation list that the role pki issues."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from polling import wait_until
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "playbooks/renew-certificates.yml"
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
ENVIRONMENT = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
CLOCK_AHEAD_DAYS = 400


@dataclass
class ControlNode:
    """A control node that issues the certificates of a farm whose hosts are this computer."""

    folder: Path
    hosts: list[str] = field(default_factory=lambda: ["m1", "w1", "w2"])

    @property
    def pki(self) -> Path:
        """The directory of the CA."""
        return self.folder / "secrets/pki"

    def run(self, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run the steps of the playbook on the control node, with the variables of its role."""
        workers = {name: None for name in self.hosts if name != "m1"}
        groups = {"master": {"hosts": {"m1": None}}, "worker": {"hosts": workers}}
        local = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "farm_secrets_dir": str(self.folder / "secrets"),
            "farm_address": "{{ inventory_hostname }}",
            "farm_master_url": "https://m1:8080",
        }
        inventory = {"all": {"vars": local, "children": groups}}
        (self.folder / "hosts.yml").write_text(json.dumps(inventory))
        play, *_ = YAML(typ="safe").load(PLAYBOOK)
        (role,) = play.pop("roles")
        play["vars_files"] = [str(PLAYBOOK.parent / name) for name in play["vars_files"]]
        include = {"name": role["role"], "tasks_from": "control_node"}
        play["tasks"] = [
            {"name": "Issue", "ansible.builtin.include_role": include, "vars": role["vars"]}
        ]
        (self.folder / "play.yml").write_text(json.dumps([play]))
        extra = ("-e", json.dumps(variables)) if variables else ()
        return subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                "-i",
                "hosts.yml",
                "play.yml",
                *extra,
            ],
            cwd=self.folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )

    def issue(self, **variables: Any) -> str:
        """Run the playbook, which must succeed, and return its output."""
        done = self.run(**variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def certificate(self, host: str) -> x509.Certificate:
        """Return the certificate of a host."""
        return x509.load_pem_x509_certificate((self.pki / f"hosts/{host}.pem").read_bytes())

    def ca(self) -> x509.Certificate:
        """Return the certificate of the CA."""
        return x509.load_pem_x509_certificate((self.pki / "ca.pem").read_bytes())

    def revocation_list(self) -> x509.CertificateRevocationList:
        """Return the revocation list."""
        return x509.load_pem_x509_crl((self.pki / "crl.pem").read_bytes())

    def revoked(self) -> set[int]:
        """Return the serial numbers on the revocation list."""
        return {entry.serial_number for entry in self.revocation_list()}

    def keep(self, host: str, name: str) -> tuple[Path, Path]:
        """Copy certificate and key of a host, as an intruder on this host could."""
        kept = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        for path in kept:
            shutil.copy(self.pki / f"hosts/{host}{path.suffix}", path)
        return kept


@dataclass(frozen=True)
class History:
    """The certificates and revocations of a control node in the course of a farm's life."""

    node: ControlNode
    lifetime: dict[str, timedelta]
    revoked: dict[str, set[int]]
    serial: dict[str, int]
    second_run: str
    first_expiry: datetime


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A farm of the previous release, whose certificates are renewed and partly revoked."""
    node = ControlNode(tmp_path_factory.mktemp("control-node"))
    lifetime, revoked, serial = {}, {}, {}

    def record(step: str) -> None:
        revoked[step] = node.revoked()
        for path in (node.pki / "hosts").glob("*.pem"):
            certificate = node.certificate(path.stem)
            serial[f"{step} {path.stem}"] = certificate.serial_number
            lifetime[f"{step} {path.stem}"] = (
                certificate.not_valid_after_utc - certificate.not_valid_before_utc
            )

    node.issue(pki_host_days=825)
    # The previous release did not record the certificates that it issued.
    shutil.rmtree(node.pki / "issued")
    record("previous")
    node.keep("w2", "w2-previous")
    node.issue()
    record("upgraded")
    second_run = node.issue()
    node.keep("w2", "w2-upgraded")
    shutil.copy(node.pki / "crl.pem", node.folder / "crl-before.pem")
    node.hosts.remove("w2")
    (node.pki / "hosts/w1.key").unlink()
    node.issue()
    record("removed")
    node.hosts.append("w2")
    node.issue(pki_host_days=500, pki_renew_days=100)
    record("returned")
    return History(
        node, lifetime, revoked, serial, second_run, node.certificate("m1").not_valid_after_utc
    )


def test_certificates_are_valid_for_hosts_whose_clocks_are_behind(history: History) -> None:
    latest = datetime.now(UTC) - timedelta(minutes=59)
    assert history.node.ca().not_valid_before_utc < latest
    assert history.node.certificate("m1").not_valid_before_utc < latest
    assert history.node.revocation_list().last_update_utc < latest


def test_a_host_with_a_long_name_is_issued_a_certificate_that_can_be_revoked(
    tmp_path: Path,
) -> None:
    name = "worker-" + "x" * 63
    node = ControlNode(tmp_path, ["m1", "w1", name])
    node.issue()
    certificate = node.certificate(name)
    (common_name,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert len(common_name.value) == 64
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name in names.get_values_for_type(x509.DNSName)
    node.hosts.remove(name)
    node.issue(pki_revoked_hosts_max=1)
    assert node.revoked() == {certificate.serial_number}


def test_certificates_of_the_previous_release_are_renewed(history: History) -> None:
    assert history.lifetime["previous m1"] > timedelta(days=800)
    for host in ("m1", "w1", "w2"):
        assert timedelta(days=89) < history.lifetime[f"upgraded {host}"] < timedelta(days=92)


def test_a_renewal_revokes_nothing_and_a_second_run_changes_nothing(history: History) -> None:
    assert history.revoked["previous"] == history.revoked["upgraded"] == set()
    assert "changed=0" in history.second_run
    assert history.second_run.count("changed=0") == 3


def test_all_certificates_of_a_removed_host_are_revoked(history: History) -> None:
    expected = {history.serial[f"{step} w2"] for step in ("previous", "upgraded")}
    assert expected <= history.revoked["removed"]
    assert history.serial["removed m1"] not in history.revoked["removed"]


def test_certificates_of_a_replaced_key_are_revoked(history: History) -> None:
    expected = {history.serial[f"{step} w1"] for step in ("previous", "upgraded")}
    assert expected <= history.revoked["removed"]
    assert history.serial["removed w1"] not in history.revoked["removed"]


def test_a_host_that_returns_gets_a_valid_certificate(history: History) -> None:
    assert history.serial["returned w2"] not in history.revoked["returned"]
    assert history.revoked["removed"] <= history.revoked["returned"]


def test_the_revocation_list_is_valid_for_longer_than_every_certificate(history: History) -> None:
    found = history.node.revocation_list()
    ca = history.node.ca()
    assert found.issuer == ca.subject
    assert found.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
    assert found.next_update_utc is not None
    assert found.next_update_utc > ca.not_valid_after_utc
    assert found.next_update_utc > history.first_expiry


def _verify(node: ControlNode, certificate: Path, days_ahead: int = 0) -> str:
    """Let OpenSSL verify a certificate as servers do, at a time in the future."""
    at = datetime.now(UTC) + timedelta(days=days_ahead)
    done = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-crl_check", "-crl_check_all"),
            *("-CAfile", node.pki / "ca.pem", "-CRLfile", node.pki / "crl.pem"),
            *("-attime", str(int(at.timestamp())), certificate),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_openssl_rejects_the_certificates_of_a_removed_host(history: History) -> None:
    node = history.node
    for name in ("w2-previous", "w2-upgraded"):
        assert "certificate revoked" in _verify(node, node.folder / f"{name}.pem")
    for host in ("m1", "w1", "w2"):
        assert _verify(node, node.pki / f"hosts/{host}.pem").endswith(": OK\n")


def test_the_list_rejects_no_client_if_the_clock_is_ahead(history: History) -> None:
    """An expired list would reject every client. The last certificates are valid for 500 days."""
    node = history.node
    for host in ("m1", "w1", "w2"):
        assert _verify(node, node.pki / f"hosts/{host}.pem", CLOCK_AHEAD_DAYS).endswith(": OK\n")
    # This certificate is revoked and not expired at that time either.
    revoked = node.folder / "w2-previous.pem"
    assert "certificate revoked" in _verify(node, revoked, CLOCK_AHEAD_DAYS)


def test_a_list_that_is_old_is_issued_again(history: History, tmp_path: Path) -> None:
    node = ControlNode(tmp_path, ["m1"])
    shutil.copytree(history.node.pki, node.pki)
    before = node.revocation_list()

    node.hosts = ["m1", "w1", "w2"]
    node.issue(pki_crl_days=-1, pki_host_days=500)

    after = node.revocation_list()
    assert after.last_update_utc > before.last_update_utc
    assert {entry.serial_number for entry in after} == {entry.serial_number for entry in before}


def test_a_new_ca_signs_a_new_list(history: History, tmp_path: Path) -> None:
    node = ControlNode(tmp_path)
    shutil.copytree(history.node.pki, node.pki)
    for name in ("ca.pem", "ca.key"):
        (node.pki / name).unlink()

    node.issue()

    assert node.revocation_list().is_signature_valid(node.ca().public_key())  # type: ignore[arg-type]
    for host in node.hosts:
        assert _verify(node, node.pki / f"hosts/{host}.pem").endswith(": OK\n")


def test_an_incomplete_inventory_revokes_nothing(history: History, tmp_path: Path) -> None:
    node = ControlNode(tmp_path, ["m1", "w1"])
    shutil.copytree(history.node.pki, node.pki)
    before = node.revoked()

    done = node.run(pki_revoked_hosts_max=0)

    assert done.returncode != 0
    message = " ".join(done.stdout.split())
    assert "1 hosts with certificates are not in the inventory: w2" in message
    assert "-e pki_revoked_hosts_max=1" in message
    assert node.revoked() == before
    assert (node.pki / "hosts/w2.key").is_file()


def test_a_ca_that_must_not_sign_lists_is_reported(tmp_path: Path) -> None:
    node = ControlNode(tmp_path, ["m1", "w1"])
    node.pki.mkdir(parents=True)
    key, certificate = node.pki / "own.key", node.pki / "own.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/O=Example/CN=Own CA", "-days", "1000", "-keyout", key),
            *("-out", certificate, "-addext", "keyUsage=critical,keyCertSign"),
        ],
        check=True,
        capture_output=True,
    )

    done = node.run(pki_ca_certificate_file=str(certificate), pki_ca_key_file=str(key))

    assert done.returncode != 0
    assert "has no key usage cRLSign" in " ".join(done.stdout.split())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _render_rtmp_server(node: ControlNode, folder: Path, port: int) -> Path:
    """Render the settings of the RTMP server with the defaults of its role."""
    role = ROOT / "roles/rtmp_server"
    variables = {
        "rtmp_server_http_listen_address": "127.0.0.1",
        "rtmp_server_listen_address": "127.0.0.1",
        "rtmp_server_http_port": port,
        "rtmp_server_port": _free_port(),
        "rtmp_server_certificate_file": str(node.pki / "hosts/m1.pem"),
        "rtmp_server_key_file": str(node.pki / "hosts/m1.key"),
        "rtmp_server_ca_file": str(node.pki / "ca.pem"),
        "rtmp_server_crl_file": str(folder / "crl.pem"),
        "__rtmp_server_allowed": ["127.0.0.1"],
    }
    task = {
        "name": "Render",
        "ansible.builtin.template": {
            "src": str(role / "templates/rtmp-server.conf.j2"),
            "dest": str(folder / "rtmp-server.conf"),
            "mode": "0644",
        },
    }
    play = {
        "name": "Render",
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(role / "defaults/main.yml"), str(role / "vars/main.yml")],
        "tasks": [task],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    subprocess.run(
        [
            *(PROGRAM, "-i", "localhost,", "-c", "local", "play.yml"),
            *("-e", json.dumps(variables | {"ansible_python_interpreter": sys.executable})),
        ],
        cwd=folder,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    return folder / "rtmp-server.conf"


def _status(port: int, certificate: tuple[Path, Path]) -> int:
    """Request the statistics page, and return the status."""
    # Only the server's decision is of interest here; its certificate is verified elsewhere.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(*certificate)
    with closing(http.client.HTTPSConnection("127.0.0.1", port, context=context)) as connection:
        connection.request("GET", "/stat")
        return connection.getresponse().status


@pytest.mark.parametrize("days_ahead", [0, CLOCK_AHEAD_DAYS])
def test_the_rtmp_server_rejects_a_removed_host(
    history: History, tmp_path: Path, days_ahead: int
) -> None:
    """Nginx reads the list when it is reloaded, without ending connections."""
    node = history.node
    removed = (node.folder / "w2-previous.pem", node.folder / "w2-previous.key")
    present = (node.pki / "hosts/w1.pem", node.pki / "hosts/w1.key")
    without = node.folder / "crl-before.pem"
    shutil.copy(without, tmp_path / "crl.pem")
    port = _free_port()
    config = _render_rtmp_server(node, tmp_path, port)
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    clock = (
        {
            "LD_PRELOAD": str(library),
            "FAKETIME": f"+{days_ahead}d",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        if days_ahead
        else {}
    )
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert nginx is not None, "Nginx is not installed: run make test"
    with subprocess.Popen(
        [nginx, "-e", "stderr", "-p", f"{tmp_path}/", "-c", str(config)],
        cwd=tmp_path,
        env=os.environ | clock,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_until(lambda: _is_listening(port), "Nginx listens")
            assert _status(port, present) == 200
            assert _status(port, removed) == 200
            shutil.copy(node.pki / "crl.pem", tmp_path / "crl.pem")
            server.send_signal(signal.SIGHUP)
            wait_until(lambda: _status(port, removed) == 400, "the removed host is refused")
            assert _status(port, present) == 200
        finally:
            server.terminate()


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
