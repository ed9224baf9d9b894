"""A host of a deployed farm that is removed from the inventory, for tests of its certificate."""

import base64
import json
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from deployed_farm import Answer, Machine
from polling import wait_until

NAME = "removed-worker"
FOLDER = f"/run/{NAME}"
"""The directory on a machine with the certificate of the removed host."""

_WRITE = """
import base64, json, os, sys
folder, files = json.loads(sys.argv[1])
os.makedirs(folder, mode=0o700, exist_ok=True)
for name, content in files.items():
    with open(os.path.join(folder, name), "wb") as file:
        file.write(base64.b64decode(content))
"""


def issue(pki: Path) -> dict[str, bytes]:
    """Issue a certificate as the previous release did, and return the files of the host.

    Args:
        pki: The directory of the CA on the control node.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate((pki / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=825))
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = {
        "pem": certificate.public_bytes(pem),
        "key": key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for suffix, content in files.items():
        (pki / f"hosts/{NAME}.{suffix}").write_bytes(content)
    return {f"host.{suffix}": content for suffix, content in files.items()}


def copy_to(machine: Machine, files: dict[str, bytes]) -> None:
    """Copy the files of the removed host to a machine, which then presents its certificate."""
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    machine.host.check_output("python3 -c %s %s", _WRITE, json.dumps([FOLDER, encoded]))


def _refusal(machine: Machine, url: str) -> Answer | None:
    """Return the answer to a request with the removed host's certificate unless it is accepted."""
    answer = machine.request(url, certificate=FOLDER)
    return None if answer.status == 200 else answer


def check_revocation(
    machine: Machine,
    pki: Path,
    urls: Sequence[str],
    run_playbook: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Check that servers reject the certificate of a host after it has been removed.

    Args:
        machine: The machine that sends the requests.
        pki: The directory of the CA on the control node.
        urls: URLs that require a client certificate.
        run_playbook: A function that runs a playbook with the inventory of the scenario.
    """
    copy_to(machine, issue(pki))
    for url in urls:
        assert machine.request(url, certificate=FOLDER).status == 200, url

    done = run_playbook("playbooks/renew-certificates.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert not (pki / f"hosts/{NAME}.pem").exists()
    for url in urls:
        answer = wait_until(
            partial(_refusal, machine, url), f"{url} refuses the certificate", interval_s=1
        )
        # Nginx answers a client without a valid certificate with the status 400.
        assert answer.status in {0, 400}, answer.body
        assert machine.request(url, certificate=True).status == 200, url
    again = run_playbook("playbooks/renew-certificates.yml")
    assert again.returncode == 0, again.stdout + again.stderr
    assert all("changed=0" in line for line in again.stdout.splitlines() if " unreachable=" in line)
