"""Tests of the groups and the address filter of the units on a host that is master and worker."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from local_playbook import run_playbook
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LOAD = YAML(typ="safe").load
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"worker_master_url": "https://10.0.0.5:8080"},
    "live": {
        "worker_master_url": "https://[fd00::5]:8080",
        "worker_rtmp_url": "rtmp://localhost:1935/live",
        "worker_rtmp_stat_url": "https://10.0.0.7:8936/stat",
        "worker_source_networks": ["10.20.0.0/16", "fd00:20::/32"],
        "worker_key_file": "/etc/ffmpeg-rtmp/pki/host.key",
    },
    "open": {"worker_address_filter": "false"},
    "no_resolver": {
        "worker_master_url": "https://10.0.0.5:8080",
        "worker_resolver_file": "/nonexistent/resolv.conf",
    },
    "unknown": {"worker_master_url": "https://master.invalid:8080"},
}
REFUSED = {
    "address": ["10.20.0.1"],
    "name": ["intranet"],
    "prefix": ["10.0.0.0/33"],
}
DENIED = [
    "127.0.0.0/8",
    "::1/128",
    "169.254.0.0/16",
    "fe80::/10",
    "224.0.0.0/4",
    "ff00::/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
]


@dataclass(frozen=True)
class Units:
    """The files that a play rendered for each host."""

    folder: Path
    printed: str

    def lines(self, host: str, unit: str, key: str) -> list[str]:
        """Return the words of all settings of a unit with this name."""
        text = (self.folder / host / unit).read_text()
        return [
            word
            for line in text.splitlines()
            if line.startswith(f"{key}=")
            for word in line.partition("=")[2].split()
        ]

    def groups(self, host: str, *units: str) -> set[str]:
        """Return the groups of the process of a unit, which may have drop-in files."""
        primary = [group for unit in units for group in self.lines(host, unit, "Group")]
        supplementary = [
            group for unit in units for group in self.lines(host, unit, "SupplementaryGroups")
        ]
        return {primary[-1], *supplementary}


def _render(source: str, dest: str, folder: Path, **variables: Any) -> dict[str, Any]:
    role, _, template = source.partition("/")
    return {
        "name": "Render",
        "ansible.builtin.template": {
            "src": str(ROOT / "roles" / role / "templates" / template),
            "dest": f"{folder}/{{{{ inventory_hostname }}}}/{dest}",
            "mode": "0644",
        },
        "vars": variables,
    }


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Units:
    """The units of the agents and of the services that they use, with the playbook's settings."""
    folder = tmp_path_factory.mktemp("units")
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {name: {**variables, **local} for name, variables in SETTINGS.items()}
    hosts |= {name: {"worker_source_networks": value} | local for name, value in REFUSED.items()}
    for name in hosts:
        (folder / name).mkdir()
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    playbook = LOAD(ROOT / "playbooks/worker.yml")[0]
    exporters = {entry["name"]: entry for entry in playbook["vars"]["__farm_worker_exporters"]}
    role = {"name": "worker", "tasks_from": "preflight", "public": True}
    addresses = {"name": "worker", "tasks_from": "addresses", "public": True}
    templates = [
        _render("worker/ffrtmp-agent@.service.j2", "agent", folder),
        _render("energy_reader/ffrtmp-energy-reader.service.j2", "energy-reader", folder),
        _render("exporters/ffrtmp-exporter@.service.j2", "exporter", folder),
        *(
            _render("exporters/exceptions.conf.j2", f"exporter-{name}", folder, item=entry)
            for name, entry in exporters.items()
        ),
    ]
    defaults = [
        str(ROOT / f"roles/{name}/defaults/main.yml") for name in ("energy_reader", "exporters")
    ]
    play = {
        "name": "Render",
        "hosts": "all",
        "gather_subset": ["!all", "!min", "hardware"],
        "vars_files": defaults,
        "vars": {
            "farm_exporter_ports": {"cpu": 1, "gpu": 2, "ffmpeg": 3},
        },
        "tasks": [
            {"name": "Check", "ansible.builtin.include_role": role},
            {
                "name": "Resolve",
                "ansible.builtin.include_role": addresses,
                "when": "worker_address_filter | bool",
            },
            *templates,
        ],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    done = run_playbook(ROOT, folder, "-i", "hosts.yml", "play.yml")
    assert (folder / "plain/agent").exists(), done.stdout
    return Units(folder, " ".join(done.stdout.split()))


def test_ffmpeg_has_no_group_that_can_read_a_secret_of_the_exporters(units: Units) -> None:
    """The token, the settings and the database's password belong to the groups of services."""
    agent = units.groups("plain", "agent")
    assert agent == {"ffrtmp-worker", "ffrtmp-progress", "ffrtmp-energy"}
    assert units.groups("live", "agent") == agent | {"ffrtmp-tls"}
    secrets = {"ffrtmp-exporter", "ffrtmp-master"}
    assert not agent & secrets


def test_the_agent_reaches_the_sockets_that_it_needs(units: Units) -> None:
    agent = units.groups("plain", "agent")
    # A socket and its directory have the primary group of the process that creates them.
    for parts in (("energy-reader",), ("exporter", "exporter-ffmpeg")):
        primary = [group for part in parts for group in units.lines("plain", part, "Group")][-1]
        assert primary in agent
        assert primary != "ffrtmp-exporter"


def test_the_exporters_read_their_settings_and_the_energy_socket(units: Units) -> None:
    for name in ("cpu", "gpu", "ffmpeg"):
        groups = units.groups("plain", "exporter", f"exporter-{name}")
        assert {"ffrtmp-exporter", "ffrtmp-tls"} <= groups, name
    assert "ffrtmp-energy" in units.groups("plain", "exporter", "exporter-cpu")
    assert "ffrtmp-energy" not in units.groups("plain", "exporter", "exporter-gpu")


def test_the_members_of_the_energy_group_cannot_change_its_state(units: Units) -> None:
    assert units.lines("plain", "energy-reader", "StateDirectoryMode") == ["0700"]


def test_the_agent_may_connect_only_to_the_addresses_that_it_needs(
    units: Units, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = [
        words[1].partition("%")[0]
        for words in map(str.split, Path("/etc/resolv.conf").read_text().splitlines())
        if words[:1] == ["nameserver"]
    ]
    for host in ("plain", "live"):
        assert units.lines(host, "agent", "IPAddressDeny") == DENIED
    plain = units.lines("plain", "agent", "IPAddressAllow")
    assert sorted(plain) == sorted({"10.0.0.5", *servers})
    live = set(units.lines("live", "agent", "IPAddressAllow"))
    assert {"fd00::5", "10.0.0.7", "10.20.0.0/16", "fd00:20::/32", *servers} <= live
    # The name of the RTMP server.
    assert live & {"127.0.0.1", "::1"}
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        with capsys.disabled():
            sys.stdout.write("\nThe text of IPAddressDeny is as wanted; cgroup v1 ignores it.\n")


def test_a_host_may_have_no_list_of_name_servers(units: Units) -> None:
    assert units.lines("no_resolver", "agent", "IPAddressAllow") == ["10.0.0.5"]


def test_the_filter_can_be_disabled(units: Units) -> None:
    assert units.lines("open", "agent", "IPAddressDeny") == []
    assert units.lines("open", "agent", "IPAddressAllow") == []


@pytest.mark.parametrize("host", REFUSED)
def test_a_network_that_is_not_valid_is_refused(units: Units, host: str) -> None:
    assert f"worker_source_networks contains {REFUSED[host][0]}." in units.printed
    assert not (units.folder / host / "agent").exists()


def test_an_unknown_name_is_reported(units: Units) -> None:
    assert "unknown cannot resolve all of master.invalid" in units.printed
    assert not (units.folder / "unknown/agent").exists()
