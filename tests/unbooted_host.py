"""Plays in check mode on this computer, which looks like newly installed hosts to them.

A play runs in namespaces with an empty network and without other processes. The root file system is
read-only, so a play that changes a host in check mode fails. systemd is not booted: a stand-in for
systemctl reports that no unit exists. The scenarios of molecule test the roles with systemd.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = Path(sys.executable).with_name("ansible-playbook")
_NAMESPACES = ("--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--mount-proc")
# Directories that are empty on a new host.
_OWN_DIRECTORIES = (
    "/etc/ffmpeg-rtmp",
    "/etc/haproxy",
    "/etc/postgresql",
    "/opt/ffmpeg-rtmp",
    "/var/lib/ffmpeg-rtmp",
    "/var/lib/postgresql",
)
_START = """
set -e
folder=$1 temporary=$2 hidden=$3
shift 3
mount --bind "$folder" "$folder"
mount --bind "$temporary" "$temporary"
for directory in $hidden; do
    if [ -d "$directory" ]; then mount -t tmpfs none "$directory"; fi
done
mount -t tmpfs none /run
mkdir -p /run/systemd/system
mount -o remount,bind,ro /
"$@"
"""
_SYSTEMCTL = '''#!/usr/bin/python3
"""Answer `systemctl show` as systemd does for units that do not exist."""
import sys

verb, *arguments = sys.argv[1:]
if verb != "show":
    sys.exit(f"no service manager for: systemctl {verb}")
properties = arguments.pop(0).removeprefix("--property=").split(",")
is_value = arguments[0] == "--value"
known = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}
known |= {"MainPID": "0", "NRestarts": "0"}
blocks = []
for unit in arguments[is_value:]:
    values = {"Id": unit, **known}
    pairs = [(name, values.get(name, "")) for name in properties]
    blocks.append("\\n".join(value if is_value else f"{name}={value}" for name, value in pairs))
print("\\n\\n".join(blocks))
'''


@dataclass(frozen=True)
class CheckedPlay:
    """The outcome of ansible-playbook in check mode.

    Attributes:
        status: The exit code.
        plays: Names of the plays, with the hosts on which a task ran.
        results: Host, task and result of each task that ran.
        output: The output, for messages of failed tests.
    """

    status: int
    plays: dict[str, set[str]]
    results: list[tuple[str, str, dict[str, Any]]]
    output: str

    @property
    def failures(self) -> list[str]:
        """Host, task and message of each failure, or the output if there is none but the status."""
        failed = [
            f"{host}: {task}: {json.dumps(result.get('results', result.get('msg')))}"
            for host, task, result in self.results
            if result.get("failed") or result.get("unreachable")
        ]
        return failed or ([] if self.status == 0 else [self.output])

    @property
    def changed_paths(self) -> set[str]:
        """Paths that the play would create or change, on the hosts and on the control node."""
        return {path for _, _, result in self.results for path in _changed_paths(result)}


def check_playbook(
    root: Path, folder: Path, playbook: str, children: dict[str, Any], **variables: Any
) -> CheckedPlay:
    """Run a playbook in check mode on hosts that are this computer.

    Args:
        root: The project's root.
        folder: An empty folder for the inventory, the secrets, and temporary files.
        playbook: Path of the playbook below the root.
        children: The groups of the inventory.
        **variables: Variables of all hosts.
    """
    _write_inventory(root, folder, children, variables)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(_SYSTEMCTL)
    (programs / "systemctl").chmod(0o755)
    # Ansible recognizes the service manager by the name of the first process.
    (programs / "systemd").symlink_to("/bin/sh")
    environment = {
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        # Other callbacks print further lines.
        "ANSIBLE_CALLBACKS_ENABLED": "ffrtmp_detach",
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "ansible/remote"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin",
    }
    done = subprocess.run(
        [
            *("unshare", *_NAMESPACES, programs / "systemd", "-c", _START, "sh"),
            *(folder, tempfile.gettempdir(), " ".join(_OWN_DIRECTORIES)),
            *(_PROGRAM, "--inventory", folder / "inventory", "--check"),
            *("--extra-vars", f"@{folder}/settings.json", playbook),
        ],
        cwd=root,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return _read(done)


def _write_inventory(
    root: Path, folder: Path, children: dict[str, Any], variables: dict[str, Any]
) -> None:
    inventory = folder / "inventory"
    for group in ("all", *children):
        if (root / f"group_vars/{group}.yml").exists():
            link = inventory / f"group_vars/{group}/00_common.yml"
            link.parent.mkdir(parents=True)
            link.symlink_to(root / f"group_vars/{group}.yml")
    resolver = folder / "resolv.conf"
    resolver.write_text("nameserver 192.0.2.53\n")
    this_computer = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "farm_secrets_dir": str(folder / "secrets"),
        "worker_resolver_file": str(resolver),
    }
    # Variables in the list of hosts would not override those of the group's files.
    (folder / "settings.json").write_text(json.dumps(this_computer | variables))
    (inventory / "hosts.yml").write_text(json.dumps({"all": {"children": children}}))


def _read(done: subprocess.CompletedProcess[str]) -> CheckedPlay:
    output = done.stdout + done.stderr
    try:
        document = json.loads(done.stdout)
    except ValueError:
        return CheckedPlay(done.returncode, {}, [], output)
    plays: dict[str, set[str]] = {}
    for play in document["plays"]:
        hosts = {host for task in play["tasks"] for host in task["hosts"]}
        plays.setdefault(play["play"]["name"], set()).update(hosts)
    return CheckedPlay(done.returncode, plays, list(_results(document)), output)


def _results(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for play in document["plays"]:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                yield host, task["task"]["name"], result


def _changed_paths(result: dict[str, Any]) -> Iterator[str]:
    for item in result.get("results", []):
        yield from _changed_paths(item)
    if result.get("changed"):
        yield from result.get("changed_files", [])
        for name in ("dest", "path"):
            if isinstance(result.get(name), str):
                yield result[name]
