"""Tests of the CPUs and memory of slots: the drop-ins that the role writes, and its refusals."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CPUS = sorted(os.sched_getaffinity(0))
LISTED = [str(cpu) for cpu in CPUS[:2]]
ACCEPTED: dict[str, dict[str, Any]] = {
    "nothing": {"worker_slots": 2},
    "physical": {"worker_slot_cpus": "physical"},
    "listed": {"worker_slots": len(LISTED), "worker_slot_cpus": LISTED},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"worker_slot_cpus": "0-3"}, "worker_slot_cpus is 0-3"),
    "cpus-twice": (
        {"worker_slot_cpus": "physical", "worker_allowed_cpus": "0"},
        "Set one of the two",
    ),
    "memory-twice": (
        {"worker_slot_cpus": "physical", "worker_allowed_memory_nodes": "0"},
        "Set one of the two",
    ),
    "many-slots": (
        {"worker_slot_cpus": "physical", "worker_slots": 9999},
        "9999 slots cannot have",
    ),
    "few-entries": ({"worker_slot_cpus": ["0"], "worker_slots": 2}, "1 entries for 2 slots"),
    "no-such-node": ({"worker_slot_memory_nodes": ["4095"]}, "slot 1 has '4095'"),
}


@dataclass(frozen=True)
class Outcome:
    """The output of a play, and a folder with a subfolder for the drop-ins of each host."""

    printed: str
    folder: Path

    def message(self, host: str) -> str:
        """Return the error message of a failed host as one line."""
        parts = re.split(r"^fatal: \[([\w-]+)\]: FAILED!", self.printed, flags=re.MULTILINE)
        found = dict(zip(parts[1::2], parts[2::2], strict=True))
        return " ".join(found.get(host, "").split()).replace("''", "'")

    def slots(self, host: str) -> list[list[str]]:
        """Return the settings of each slot of a host."""
        return [
            [line for line in file.read_text().splitlines() if "=" in line]
            for file in sorted((self.folder / host).glob("*.conf"))
        ]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The outcome of one play, in which each set of settings belongs to a separate host.

    All of these hosts are this computer.
    """
    folder = tmp_path_factory.mktemp("slots")
    settings = ACCEPTED | {name: variables for name, (variables, _) in REFUSED.items()}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {name: variables | local for name, variables in settings.items()}
    for name in hosts:
        (folder / name).mkdir()
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    role = {"name": "worker", "tasks_from": "preflight", "public": True}
    tasks: list[dict[str, Any]] = [
        {"name": "Check", "ansible.builtin.include_role": role},
        {
            "name": "Write",
            "ansible.builtin.template": {
                "src": str(ROOT / "roles/worker/templates/slot.conf.j2"),
                "dest": f"{folder}/{{{{ inventory_hostname }}}}/{{{{ item | replace('/', '_') }}}}",
                "mode": "0600",
            },
            "loop": "{{ __worker_pinning_files }}",
            "loop_control": {"index_var": "__worker_slot"},
        },
    ]
    play = {"name": "Pin", "hosts": "all", "gather_subset": ["!all", "hardware"], "tasks": tasks}
    with (folder / "play.yml").open("w") as file:
        YAML().dump([play], file)
    command = [str(Path(sys.executable).with_name("ansible-playbook"))]
    command += ["--inventory", str(folder / "hosts.yml"), str(folder / "play.yml")]
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "false",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    return Outcome(done.stdout, folder)


def test_slots_without_settings_get_no_file(outcome: Outcome) -> None:
    assert outcome.message("nothing") == ""
    assert outcome.slots("nothing") == []


def test_a_slot_gets_the_physical_cores_of_this_host(outcome: Outcome) -> None:
    assert outcome.message("physical") == ""
    ((affinity, allowed, *memory),) = outcome.slots("physical")
    assert affinity.replace("CPUAffinity", "AllowedCPUs") == allowed
    assert {int(cpu) for cpu in allowed.partition("=")[2].split(",")} <= set(range(4096))
    assert [line.partition("=")[0] for line in memory] in ([], ["AllowedMemoryNodes"])


def test_slots_get_their_listed_cpus(outcome: Outcome) -> None:
    assert outcome.message("listed") == ""
    wanted = [[f"CPUAffinity={cpu}", f"AllowedCPUs={cpu}"] for cpu in LISTED]
    assert outcome.slots("listed") == wanted


@pytest.mark.parametrize("host", REFUSED)
def test_invalid_settings_are_refused(outcome: Outcome, host: str) -> None:
    assert REFUSED[host][1] in outcome.message(host), outcome.printed
    assert outcome.slots(host) == []
