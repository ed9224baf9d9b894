"""Fixtures: all settings, and a farm with a shell that runs the commands of a page on it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import factories
import msgspec
import pytest
import trustme
from databases import settings_for
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.credentials import new_token, token_sha256
from ffrtmp_shared.models import Role
from master_process import PROGRAM, MasterProcess
from postgresql import Database
from settings_catalog import Setting, farm_groups, role_groups

from .page import Page, Step

_ADDRESS = "127.0.0.1"
_LONGEST_S = 180

# The names and roles of the credentials that a new farm has.
_HOLDERS = {
    "operator": Role.ADMIN,
    "continuous-integration": Role.SUBMITTER,
    "exporter": Role.VIEWER,
    "agent-worker1": Role.AGENT,
}
_INVENTORY = "inventories/local"
_SECRETS = ".secrets/local"
_PRICES = {
    "entries": [
        {
            "valid_from": "2026-01-01",
            "currency": "EUR",
            "source": "contract",
            "regions": {"de": {"pue": 1.4, "energy_per_kwh": 0.28}},
            "nodes": {"worker1": {"region": "de", "per_hour": 0.45}},
        }
    ]
}


@dataclass(frozen=True)
class Outcome:
    """The output of each executed step of a page, and the exit code and errors of the last one."""

    printed: list[str]
    exit_code: int
    errors: str


class Site:
    """A farm with a master and one node, and the folder of the control node that deployed it."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.tokens = {name: new_token() for name in _HOLDERS}
        (folder / "files").symlink_to(root / "files")
        (folder / "data").mkdir()
        settings = settings_for(Database(f"sqlite:///{folder / 'farm.db'}"), folder / "data")
        # Unlike in other tests, the source is a real clip, which is larger than their limit.
        settings = msgspec.structs.replace(
            settings, max_source_bytes=2**30, price_book_file=folder / "prices.json"
        )
        (folder / "prices.json").write_text(json.dumps(_PRICES))
        self.master = MasterProcess(folder, settings)
        self._add_inventory(root)
        self._name_master()
        self._add_credentials()

    def token(self, role: Role) -> str:
        """Return the token of the credential that has a role."""
        return next(self.tokens[name] for name, has in _HOLDERS.items() if has is role)

    def register(self) -> None:
        """Register worker1, as its agent does when it starts."""
        token = self.token(Role.AGENT)
        with MasterClient(self.master.url, token, self.master.ca_file) as agent:
            agent.register(factories.registration("worker1", "libx264", "libx265", "libsvtav1"))

    def run(self, steps: list[Step]) -> Outcome:
        """Run the commands of a page in one shell until one fails."""
        out = self.folder / "out"
        out.mkdir()
        script = self.folder / "page.sh"
        script.write_text(
            "set -euo pipefail\n"
            + "".join(
                f"{{\n{step.commands.text}}} > {out}/{number} 2> {out}/errors\n"
                for number, step in enumerate(steps)
            )
        )
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            ["/bin/bash", script],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
        files = (out / str(number) for number in range(len(steps)))
        printed = [file.read_text() for file in files if file.exists()]
        return Outcome(printed, done.returncode, (out / "errors").read_text() + done.stderr)

    def _add_inventory(self, root: Path) -> None:
        """Add the inventory of the demo, whose master is this computer."""
        (self.folder / "ansible.cfg").symlink_to(root / "ansible.cfg")
        (self.folder / "plugins").symlink_to(root / "plugins")
        inventory = self.folder / _INVENTORY
        inventory.mkdir(parents=True)
        (inventory / "group_vars").symlink_to(root / _INVENTORY / "group_vars")
        port = int(self.master.url.rpartition(":")[2])
        master = {"ansible_host": _ADDRESS, "farm_api_port": port}
        groups = {"master": {"hosts": {"master1": master}}}
        (inventory / "hosts.yml").write_text(json.dumps({"all": {"children": groups}}))

    def _name_master(self) -> None:
        """Add the certificate of the master."""
        authority = trustme.CA()
        certificate = authority.issue_cert(_ADDRESS)
        authority.cert_pem.write_to_path(self.master.ca_file)
        certificate.private_key_pem.write_to_path(self.master.key_file)
        certificate.cert_chain_pems[0].write_to_path(self.master.certificate_file)
        authority.cert_pem.write_to_path(self._secret("pki/ca.pem"))

    def _add_credentials(self) -> None:
        """Prepare the database with the command line, as the Ansible role does."""
        for name, token in self.tokens.items():
            self._secret(f"tokens/{name}").write_text(token)
        credentials = [
            {
                "name": name,
                "role": role,
                "node": "worker1" if role is Role.AGENT else None,
                "sha256": token_sha256(self.tokens[name]),
            }
            for name, role in _HOLDERS.items()
        ]
        listed = self.folder / "credentials.yml"
        listed.write_text(json.dumps({"credentials": credentials}))
        command = [str(PROGRAM), "--config", str(self.master.config)]
        for arguments in (["migrate"], ["sync-credentials", str(listed)]):
            subprocess.run([*command, *arguments], check=True, capture_output=True)

    def _secret(self, name: str) -> Path:
        path = self.folder / _SECRETS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture(scope="session")
def settings(root: Path) -> dict[str, Setting]:
    """All settings of the farm and of the roles, by their names."""
    groups = farm_groups(root) + role_groups(root)
    found = [setting for group in groups for setting in group.settings]
    by_name = {setting.name: setting for setting in found}
    assert len(by_name) == len(found), "a setting belongs to one role, or to the farm"
    return by_name


@pytest.fixture(scope="session")
def page(root: Path) -> Page:
    return Page(root / "docs/api.md")


@pytest.fixture(scope="session")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running farm."""
    site = Site(tmp_path_factory.mktemp("site"), root)
    with site.master.serving():
        site.register()
        yield site


@pytest.fixture(scope="session")
def outcome(site: Site, page: Page) -> Outcome:
    """The outcome of running all commands of the page."""
    return site.run(page.steps())
