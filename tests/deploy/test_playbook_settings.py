"""Tests of settings that playbooks derive from the inventory, as Ansible computes them."""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import role_template
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ffrtmp_shared import config
from ffrtmp_worker.exporters.ffmpeg import FfmpegExporterSettings
from role_templates import load_yaml, render
from ruamel.yaml import YAML
from settings_probe import run_play

LOAD = YAML(typ="safe").load
PROBED = {
    "groups": "{{ __farm_groups.worker }}",
    "problem": "{{ __farm_renamed_problem }}",
    "load_balancer": "{{ load_balancer_connections_per_address_max | default(0) }}",
    "master": "{{ master_connections_per_address_max | default(0) }}",
}


def _probe(root: Path, folder: Path) -> dict[str, Any]:
    """Return the probed settings of each host of an inventory with a load balancer."""
    settings = {
        "m1": {},
        "b1": {},
        "w1": {"worker_slots": 120, "worker_progress_group": "progress"},
        "w2": {"worker_exporter_group": "ffrtmp-exporter", "monitoring_retention": "1y"},
    }
    groups = {"master": ["m1"], "load_balancer": ["b1"], "worker": ["w1", "w2"]}
    children = {
        group: {"hosts": {host: settings[host] for host in hosts}}
        for group, hosts in groups.items()
    }
    copy = {
        "content": "{{ probed | to_json }}",
        "dest": f"{folder}/{{{{ inventory_hostname }}}}.json",
        "mode": "0644",
    }
    play = {
        "name": "Probe",
        "hosts": "all",
        "gather_facts": False,
        "vars_files": ["vars/host_layout.yml", "vars/renamed_variables.yml"],
        "tasks": [
            {"name": "Probe", "ansible.builtin.copy": copy, "vars": {"probed": PROBED}},
        ],
    }
    run_play(root, folder, children, play)
    return {host: json.loads((folder / f"{host}.json").read_text()) for host in settings}


@pytest.fixture(scope="module")
def probed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The probed settings of each host."""
    return _probe(root, tmp_path_factory.mktemp("probe"))


@pytest.mark.slow
def test_the_group_of_the_progress_socket_is_created(probed: dict[str, Any]) -> None:
    assert probed["w1"]["groups"] == ["progress"]
    assert probed["w2"]["groups"] == ["ffrtmp-progress"]
    accounts = role_template.render(
        "common", "sysusers.conf.j2", common_extra_groups=probed["w1"]["groups"]
    )
    assert "g progress -" in accounts.splitlines()


def test_the_exporter_of_ffmpeg_gets_the_number_of_slots(root: Path, tmp_path: Path) -> None:
    """Its settings change with the number, so that it is restarted without the removed slots."""
    (deployment, *_) = load_yaml(root / "playbooks/worker.yml")
    (exporter,) = (
        found
        for found in deployment["vars"]["__farm_worker_exporters"]
        if found["name"] == "ffmpeg"
    )
    known = {"worker_slots": "3", "worker_progress_socket": "/run/progress.sock"}
    settings = render("{{ settings | to_json }}", known | {"settings": exporter["settings"]})
    listener = {
        "listen_address": "127.0.0.1",
        "listen_port": 9512,
        "certificate_file": "/c",
        "key_file": "/k",
        "client_ca_file": "/a",
    }
    file = tmp_path / "exporter-ffmpeg.yml"
    file.write_text(json.dumps({"exporter": listener, **json.loads(settings)}))
    assert config.load(file, FfmpegExporterSettings).slots == 3


@pytest.mark.slow
def test_renamed_and_removed_variables_have_different_remedies(probed: dict[str, Any]) -> None:
    assert not probed["w1"]["problem"]
    problem = " ".join(probed["w2"]["problem"].split())
    assert "worker_exporter_group was removed. Delete it from the inventory." in problem
    assert "monitoring_retention was renamed to victoria_metrics_retention. Rename it" in problem
    assert "worker_progress_group" not in problem


@pytest.mark.slow
def test_all_agents_may_have_the_same_address(probed: dict[str, Any]) -> None:
    """121 agents use up to five connections each; 128 connections are left for others."""
    assert int(probed["b1"]["load_balancer"]) == 5 * 121 + 128
    assert int(probed["m1"]["master"]) == 5 * 121 + 128


@pytest.mark.parametrize("role", ["master", "rtmp_server"])
def test_names_are_not_mistaken_for_addresses(root: Path, role: str) -> None:
    wanted = re.compile(LOAD(root / f"roles/{role}/vars/main.yml")[f"__{role}_address"])
    for address in ("192.0.2.7", "192.0.2.0/24", "2001:db8::1", "2001:db8::/32", "::1"):
        assert wanted.match(address), address
    for name in ("cafe", "bad.cafe", "10.0.0", "cafe/24", "dead.beef.fade.cafe"):
        assert not wanted.match(name), name


def test_only_the_masked_units_themselves_are_stopped(root: Path) -> None:
    variables = {
        **LOAD(root / "roles/common/vars/main.yml"),
        "common_masked_units": ["victoria-metrics.service"],
    }
    templar = Templar(
        loader=DataLoader(),
        variables={
            name: trust_as_template(value) if isinstance(value, str) else value
            for name, value in variables.items()
        },
    )
    (pattern,) = templar.template(trust_as_template("{{ __common_masked_patterns }}"))
    assert fnmatchcase("victoria-metrics.service", pattern)
    for other in ("victoria-metrics-own.service", "victoria-metrics.services"):
        assert not fnmatchcase(other, pattern)
    # systemctl accepts the name of a missing unit only in a pattern.
    assert "[" in pattern


def test_the_energy_reader_is_configured_and_started_before_the_agents(root: Path) -> None:
    """After an upgrade, the agents are in a group that the previous socket does not have."""
    (play, _) = LOAD(root / "playbooks/worker.yml")
    (configure,) = [
        task["ansible.builtin.import_role"]
        for task in play["pre_tasks"]
        if "ansible.builtin.import_role" in task
    ]
    assert configure == {"name": "energy_reader", "tasks_from": "configure"}
    (worker,) = [entry for entry in play["roles"] if entry["role"] == "worker"]
    assert worker["vars"]["worker_required_units"] == ["{{ __energy_reader_unit }}"]
    group = worker["vars"]["worker_energy_group"]
    assert play["vars"]["__farm_worker_exporters"][0]["groups"] == [group]
    unit = LOAD(root / "roles/energy_reader/vars/main.yml")["__energy_reader_unit"]["name"]
    agent = (root / "roles/worker/templates/ffrtmp-agent@.service.j2").read_text()
    (after,) = re.findall("^After=(.*)$", agent, re.MULTILINE)
    assert unit in after.split()
    (switch,) = LOAD(root / "roles/worker/tasks/switch.yml")
    (service, _) = LOAD(root / "roles/worker/tasks/service.yml")
    units = "{{ worker_required_units | as_list + __worker_declared_units }}"
    assert switch["vars"]["release_units"] == service["current_units"]["units"] == units
