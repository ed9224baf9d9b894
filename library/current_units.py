#!/usr/bin/python
"""Ensure that systemd units run with the files that are on disk."""

from __future__ import annotations

DOCUMENTATION = r"""
module: current_units
short_description: Ensure that systemd units run with the files that are on disk
description:
  - Starts and enables units, and restarts or reloads those that were started with other files. The
    state of the host decides, not a notification by a previous task, so an interrupted play is
    corrected by the next one.
  - The module records a digest of the files with which it started a unit. If the unit was started
    without this module, for example at boot, the times of the files are compared with the time of
    the start. The unit's own files (unit, drop-ins, program) are always considered.
  - A unit is up when it responds (O(units[].ready)), runs from the release on disk
    (O(units[].virtual_environment)), and has run for O(steady_s) without being restarted. If it is
    not up in time, the module fails with the last lines of its log.
version_added: "0.3.0"
author:
  - The ffmpeg-rtmp authors
extends_documentation_fragment:
  - action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    description: Reports in diff mode which units were or would be started, restarted or reloaded.
  platform:
    support: full
    platforms: posix
    description: Needs systemd 252 or later, and Python 3.11 or later with its standard library.
options:
  units:
    description:
      - The units.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the unit with its suffix.
        type: str
        required: true
      state:
        description:
          - V(started) means that the unit runs. With V(loaded), systemd only rereads the unit's
            files; this is for units that timers or other programs start.
        type: str
        choices: [started, loaded]
        default: started
      enabled:
        description:
          - Whether the unit must start at boot. With V(false), this is not changed.
        type: bool
        default: true
      inputs:
        description:
          - Files that the unit reads only when it starts.
        type: list
        elements: path
        default: []
      reload_inputs:
        description:
          - Files that the unit reads again when it is reloaded.
        type: list
        elements: path
        default: []
      values:
        description:
          - Further values that the unit depends on, by name.
        type: dict
        default: {}
      virtual_environment:
        description:
          - Whether the unit's program belongs to a virtual environment of Python. Its process must
            then run in this environment, and not in that of another release.
        type: bool
        default: false
      ready:
        description:
          - How to recognize that the unit responds. All given checks must succeed.
        type: dict
        default: {}
        suboptions:
          url:
            description:
              - URL on this host that returns the status 200. It is requested without a proxy.
            type: str
            default: ""
          ca_file:
            description:
              - CA that verifies the certificate of the URL.
            type: str
            default: ""
          client_cert:
            description:
              - Client certificate for the URL.
            type: str
            default: ""
          client_key:
            description:
              - Private key of the client certificate.
            type: str
            default: ""
          host:
            description:
              - Address at which the ports accept connections.
            type: str
            default: 127.0.0.1
          ports:
            description:
              - TCP ports that accept connections.
            type: list
            elements: int
            default: []
          socket:
            description:
              - Unix socket that accepts connections.
            type: str
            default: ""
          status_text:
            description:
              - Regular expression that the unit's status in systemd must match.
            type: str
            default: ""
          timeout_s:
            description:
              - Maximum time for the unit to be up, in seconds.
            type: int
            default: 60
  recorded:
    description:
      - Instead of O(units), consider all units that were passed to this module on earlier
        occasions. Those that run with other files are restarted or reloaded, without waiting until
        they are up.
    type: bool
    default: false
  below:
    description:
      - With O(recorded), consider only units that read a file in this directory
        (O(units[].inputs) or O(units[].reload_inputs)). Empty means all recorded units.
    type: path
    default: ""
  check_ready:
    description:
      - Whether the units must respond. Otherwise they must only run.
    type: bool
    default: true
  steady_s:
    description:
      - Time for which a unit must have run since it was started, in seconds. If systemd has
        restarted it after a failure, six times as long.
    type: float
    default: 5.0
  record_dir:
    description:
      - Directory of the records, which only root can read.
    type: path
    default: /var/lib/ffmpeg-rtmp/units
"""

EXAMPLES = r"""
- name: Ensure that the service runs with its present settings
  current_units:
    units:
      - name: example.service
        inputs: [/etc/example/service.yml, /etc/example/token]
        reload_inputs: [/etc/example/rules.yml]
        ready:
          url: https://127.0.0.1:8443/readyz
          ca_file: /etc/example/ca.pem

- name: Restart the services whose certificates have changed
  current_units:
    recorded: true
    below: /etc/example/pki
"""

RETURN = r"""
actions:
  description: The action for each unit that was, or would be, started, restarted or reloaded.
  returned: success
  type: dict
  sample: {example.service: restart}
enabled:
  description: Units that were, or would be, enabled.
  returned: success
  type: list
  elements: str
  sample: [example.service]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ffrtmp.argument_spec import create_module
from ansible.module_utils.ffrtmp.unit_health import explanation, wait_until_up
from ansible.module_utils.ffrtmp.units import (
    Digests,
    Record,
    Records,
    UnitState,
    action_for,
    digests_of,
    read_states,
    reads_below,
)

_READY: dict[str, Any] = {
    "url": {"type": "str", "default": ""},
    "ca_file": {"type": "str", "default": ""},
    "client_cert": {"type": "str", "default": ""},
    "client_key": {"type": "str", "default": ""},
    "host": {"type": "str", "default": "127.0.0.1"},
    "ports": {"type": "list", "elements": "int", "default": []},
    "socket": {"type": "str", "default": ""},
    "status_text": {"type": "str", "default": ""},
    "timeout_s": {"type": "int", "default": 60},
}
_UNIT: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["started", "loaded"], "default": "started"},
    "enabled": {"type": "bool", "default": True},
    "inputs": {"type": "list", "elements": "path", "default": []},
    "reload_inputs": {"type": "list", "elements": "path", "default": []},
    "values": {"type": "dict", "default": {}},
    "virtual_environment": {"type": "bool", "default": False},
    "ready": {"type": "dict", "default": {}, "options": _READY, "apply_defaults": True},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "units": {"type": "list", "elements": "dict", "default": [], "options": _UNIT},
    "recorded": {"type": "bool", "default": False},
    "below": {"type": "path", "default": ""},
    "check_ready": {"type": "bool", "default": True},
    "steady_s": {"type": "float", "default": 5.0},
    "record_dir": {"type": "path", "default": "/var/lib/ffmpeg-rtmp/units"},
}
_COMMAND_TIMEOUT_S = 600
"""An agent may take a minute to stop, and a database longer."""

_MESSAGE_MAX_CHARACTERS = 8000


class Units:
    """The units that one call of the module considers."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._records = Records(Path(module.params["record_dir"]))
        self._is_recorded = module.params["recorded"]
        chosen = self._all_recorded() if self._is_recorded else module.params["units"]
        self._declarations: dict[str, dict[str, Any]] = {unit["name"]: unit for unit in chosen}
        self._errors: dict[str, str] = {}

    def apply(self) -> dict[str, Any]:
        """Bring all units into their state, and return the result of the module.

        Raises:
            OSError: systemd cannot be queried, or a file cannot be read.
        """
        self._forget_removed()
        states = self._loaded()
        digests = {
            name: digests_of(unit, states[name]) for name, unit in self._declarations.items()
        }
        actions = self._actions(states, digests)
        disabled = self._disabled(states)
        if not self._module.check_mode:
            self._execute(actions, disabled, states)
            self._record(digests, actions)
            if self._is_recorded:
                self._warn()
            else:
                self._wait()
        return {
            "changed": bool(actions or disabled),
            "actions": actions,
            "enabled": disabled,
            "diff": [_diff(name, action) for name, action in actions.items()],
        }

    def _all_recorded(self) -> list[dict[str, Any]]:
        declared = [self._recorded(name) for name in self._records.names()]
        folder = self._module.params["below"]
        return [unit for unit in declared if not folder or reads_below(unit, folder)]

    def _recorded(self, name: str) -> dict[str, Any]:
        record = self._records.read(name)
        declared = record.declaration if record else {}
        return {"state": "started", "enabled": False, **declared, "name": name}

    def _forget_removed(self) -> None:
        """In a call for all recorded units, leave out those that do not exist or do not run."""
        if not self._is_recorded:
            return
        for name, state in read_states(self._run, self._declarations).items():
            if not state.is_active:
                del self._declarations[name]
                if state["LoadState"] == "not-found" and not self._module.check_mode:
                    self._records.remove(name)

    def _loaded(self) -> dict[str, UnitState]:
        """Return the states, after systemd has read the files of the units."""
        states = read_states(self._run, self._declarations)
        if self._module.check_mode or all(state.is_loaded for state in states.values()):
            return states
        self._systemctl("daemon-reload", [])
        return read_states(self._run, self._declarations)

    def _actions(self, states: dict[str, UnitState], digests: dict[str, Digests]) -> dict[str, str]:
        """Return the action of each unit that needs one."""
        actions = {}
        for name, unit in self._declarations.items():
            if unit["state"] == "loaded":
                continue
            action = action_for(unit, states[name], self._records.read(name), digests[name])
            if action:
                actions[name] = action
        return actions

    def _disabled(self, states: dict[str, UnitState]) -> list[str]:
        if self._is_recorded:
            return []
        return [
            name
            for name, unit in self._declarations.items()
            if unit["enabled"] and states[name]["UnitFileState"] != "enabled"
        ]

    def _execute(
        self, actions: dict[str, str], disabled: list[str], states: dict[str, UnitState]
    ) -> None:
        self._systemctl("enable", disabled)
        started = [name for name, action in actions.items() if action in {"start", "restart"}]
        # After too many crashes, systemd refuses to start a unit until this is done. It also resets
        # the number of automatic restarts, which a restart of a crashing unit leaves unchanged.
        self._systemctl(
            "reset-failed",
            [
                name
                for name in started
                if states[name]["ActiveState"] == "failed" or states[name].restarts
            ],
        )
        self._systemctl("reload", [name for name, action in actions.items() if action == "reload"])
        self._systemctl("restart", started)

    def _record(self, digests: dict[str, Digests], actions: dict[str, str]) -> None:
        """Record what the units run with. The digests were computed before they were started."""
        for name, state in read_states(self._run, self._declarations).items():
            declaration = self._declarations[name]
            if self._errors and name in actions:
                self._records.remove(name)
            elif state.is_active and declaration["state"] == "started":
                self._records.write(name, Record(state["InvocationID"], digests[name], declaration))

    def _wait(self) -> None:
        started = {
            name: unit for name, unit in self._declarations.items() if unit["state"] == "started"
        }
        failed = wait_until_up(
            self._run,
            started,
            self._module.params["steady_s"],
            check_ready=self._module.params["check_ready"],
        )
        if failed or self._errors:
            messages = [explanation(self._run, name, reason) for name, reason in failed.items()]
            # The reasons are more important than the log, which may be long.
            messages += [f"{command}: {error}" for command, error in self._errors.items()]
            self._module.fail_json(msg="\n".join(messages)[:_MESSAGE_MAX_CHARACTERS])

    def _warn(self) -> None:
        for command, error in self._errors.items():
            self._module.warn(f"{command}: {error}")

    def _systemctl(self, verb: str, names: list[str]) -> None:
        """Run a command of systemctl. An error is reported if the units are not up later."""
        if verb != "daemon-reload" and not names:
            return
        command = ["timeout", str(_COMMAND_TIMEOUT_S), "systemctl", verb, *names]
        code, _, err = self._run(command)
        if code != 0:
            self._errors[" ".join(command[2:])] = err.strip() or f"exit code {code}"

    def _run(self, command: list[str]) -> tuple[int, str, str]:
        code, out, err = self._module.run_command(command, environ_update={"LC_ALL": "C.UTF-8"})
        return code, out, err


def _diff(name: str, action: str) -> dict[str, str]:
    done = {"start": "started", "restart": "restarted", "reload": "reloaded"}[action]
    before = "not running" if action == "start" else "running with other files"
    return {
        "before_header": name,
        "after_header": name,
        "before": f"{before}\n",
        "after": f"{done} with the files on disk\n",
    }


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    try:
        module.exit_json(**Units(module).apply())
    except OSError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
