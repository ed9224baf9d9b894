"""Tests of the action wait_until and of the quiet output, with real playbooks."""

import json
import re
import sys
from pathlib import Path

import pytest
from local_playbook import run_playbook

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

_LOCAL = ("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}")
_PLAY = """
- name: Wait for a file
  hosts: all
  gather_facts: false
  vars:
    wanted: 3
  tasks:
    - name: Do nothing
      ansible.builtin.command:
        argv: ["true"]
      changed_when: false

    - name: Change something
      ansible.builtin.command:
        argv: ["true"]
      changed_when: true
      loop: [1, 2]

    - name: Count the attempts
      wait_until:
        module: ansible.builtin.command
        options:
          argv: [sh, -c, "echo >> {folder}/attempts; wc -l < {folder}/attempts"]
        condition: result.stdout | int >= wanted and result.rc == 0
        timeout_s: 60
        pause_s: 0.01
        fail_msg: There must be three attempts.
      register: counted

    - name: Show the number
      ansible.builtin.debug:
        msg: "{{ counted.stdout }} attempts"

    - name: Wait for a missing file
      wait_until:
        module: ansible.builtin.stat
        options: {path: "{folder}/missing"}
        condition: result.stat.exists and result.stat.no_such_key
        timeout_s: "{{ 0 }}"
        fail_msg: The file must exist.
      when: is_failing | bool

    - name: Wait for a number
      wait_until:
        module: ansible.builtin.stat
        options: {path: "{folder}/missing"}
        condition: result.stat.exists | int
        timeout_s: 60
        fail_msg: The file must exist.
      when: is_number | default(false)
"""


def _play(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    playbook = tmp_path / "play.yml"
    playbook.write_text(_PLAY.replace("{folder}", str(tmp_path)))
    (tmp_path / "attempts").unlink(missing_ok=True)
    done = run_playbook(ROOT, tmp_path, *_LOCAL, *arguments, str(playbook))
    return done.returncode, done.stdout + done.stderr


def test_the_wait_ends_with_the_condition_and_prints_nothing(tmp_path: Path) -> None:
    status, printed = _play(tmp_path, "-e", "is_failing=false")
    assert status == 0, printed
    lines = [line for line in printed.splitlines() if line and not line.startswith("[WARNING]")]
    assert lines[:3] == [
        "PLAY [Wait for a file]",
        "changed: [localhost] Change something",
        "3 attempts",
    ]
    assert lines[3].startswith("PLAY RECAP")
    assert "changed=1" in lines[4]
    assert len(lines) == 5, lines


def test_a_wait_that_ends_too_late_states_what_was_not_achieved(tmp_path: Path) -> None:
    status, printed = _play(tmp_path, "-e", "is_failing=true")
    assert status == 2
    assert "TASK [Wait for a missing file]" in printed
    assert "The file must exist. This was not the case after 0 s." in printed
    assert "RETRYING" not in printed


def test_a_condition_that_is_not_a_boolean_is_refused(tmp_path: Path) -> None:
    status, printed = _play(tmp_path, "-e", "is_failing=false", "-e", "{is_number: true}")
    assert status == 2
    assert "the condition is not a boolean: result.stat.exists | int" in printed


def test_verbose_output_shows_all_tasks(tmp_path: Path) -> None:
    status, printed = _play(tmp_path, "-v", "-e", "is_failing=false")
    assert status == 0, printed
    assert "ok: [localhost]" in printed
    assert "TASK [Do nothing]" in printed


def test_a_play_may_print_only_messages(tmp_path: Path) -> None:
    playbook = tmp_path / "quiet.yml"
    debug = {"name": "Show", "ansible.builtin.debug": {"msg": ["one", "two"]}}
    command = {"name": "Change", "ansible.builtin.command": {"argv": ["true"]}}
    play = {"hosts": "all", "gather_facts": False, "vars": {"__only_messages": True}}
    playbook.write_text(json.dumps([{"name": "Quiet", "tasks": [debug, command], **play}]))
    done = run_playbook(ROOT, tmp_path, *_LOCAL, str(playbook))
    assert done.stdout.splitlines() == ["one", "two"]


@pytest.mark.parametrize("folder", ["roles", "playbooks"])
def test_no_deployment_prints_failed_attempts(folder: str) -> None:
    # Ansible prints each attempt of such a task in red: FAILED - RETRYING.
    found = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / folder).rglob("*.yml"))
        if re.search(r"^\s*(until|retries):", file.read_text(), re.MULTILINE)
    ]
    assert not found
