"""What a slot gets of its own: as the role writes it for this host, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

CPUS = sorted(os.sched_getaffinity(0))


def play(root: Path, folder: Path, settings: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Have the role look at this host and write what each slot gets into `folder`."""
    template = root / "roles/worker/templates/slot.conf.j2"
    tasks: list[dict[str, Any]] = [
        {
            "name": "Look",
            "ansible.builtin.include_role": {
                "name": "worker",
                "tasks_from": "preflight",
                "public": True,
            },
        },
        {
            "name": "Write",
            "ansible.builtin.template": {
                "src": str(template),
                "dest": f"{folder}/{{{{ item | replace('/', '_') }}}}",
                "mode": "0600",
            },
            "loop": "{{ __worker_pinning_files }}",
            "loop_control": {"index_var": "__worker_slot"},
        },
    ]
    plays = [{"name": "Pin", "hosts": "localhost", "connection": "local", "tasks": tasks}]
    with (folder / "play.yml").open("w") as file:
        YAML().dump(plays, file)
    python = {"ansible_python_interpreter": sys.executable}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--inventory", "localhost,"]
    command += ["--extra-vars", json.dumps(settings | python), str(folder / "play.yml")]
    environment = os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, cwd=root, env=environment, check=False, capture_output=True, text=True
    )


def written(folder: Path) -> list[list[str]]:
    """Return the settings of each slot."""
    return [
        [line for line in file.read_text().splitlines() if "=" in line]
        for file in sorted(folder.glob("*.conf"))
    ]


def test_slots_without_anything_of_their_own_get_no_file(root: Path, tmp_path: Path) -> None:
    done = play(root, tmp_path, {"worker_slots": 2})
    assert done.returncode == 0, done.stdout
    assert written(tmp_path) == []


def test_a_slot_gets_the_physical_cores_of_this_host(root: Path, tmp_path: Path) -> None:
    done = play(root, tmp_path, {"worker_slot_cpus": "physical"})
    assert done.returncode == 0, done.stdout
    ((affinity, allowed, *memory),) = written(tmp_path)
    assert affinity.replace("CPUAffinity", "AllowedCPUs") == allowed
    assert {int(cpu) for cpu in allowed.partition("=")[2].split(",")} <= set(range(4096))
    assert [line.partition("=")[0] for line in memory] in ([], ["AllowedMemoryNodes"])


def test_slots_get_what_is_listed_for_them(root: Path, tmp_path: Path) -> None:
    cpus = [str(cpu) for cpu in CPUS[:2]]
    done = play(root, tmp_path, {"worker_slots": len(cpus), "worker_slot_cpus": cpus})
    assert done.returncode == 0, done.stdout
    wanted = [[f"CPUAffinity={cpu}", f"AllowedCPUs={cpu}"] for cpu in cpus]
    assert written(tmp_path) == wanted


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"worker_slot_cpus": "0-3"}, "worker_slot_cpus is 0-3"),
        ({"worker_slot_cpus": "physical", "worker_allowed_cpus": "0"}, "Set one of the two"),
        ({"worker_slot_cpus": "physical", "worker_allowed_memory_nodes": "0"}, "Set one of"),
        ({"worker_slot_cpus": "physical", "worker_slots": 9999}, "9999 slots cannot have"),
        ({"worker_slot_cpus": ["0"], "worker_slots": 2}, "1 entries for 2 slots"),
        ({"worker_slot_memory_nodes": ["4095"]}, "slot 1 has '4095'"),
    ],
)
def test_what_cannot_be_is_refused(
    root: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    done = play(root, tmp_path, settings)
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split())
    assert written(tmp_path) == []
