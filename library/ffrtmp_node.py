#!/usr/bin/python
"""Let a node work, drain it or forget it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_node
short_description: Let a node of the farm work, drain it or remove it
description:
  - A draining node finishes the job that it has and claims no other.
  - A node becomes known to the master when its agent starts; this module cannot make one.
version_added: "0.1.0"
author:
  - The ffmpeg-rtmp authors
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what would change without changing it.
  diff_mode:
    support: full
    description: Says in diff mode what has changed or would change.
  platform:
    support: full
    platforms: posix
    description: Runs on POSIX hosts with Python 3.11 or newer and needs its standard library alone.
options:
  name:
    description:
      - Name of the node, as in C(ffrtmp_node_info).
    type: str
    required: true
  state:
    description:
      - V(active) lets the node claim jobs.
      - V(draining) lets it finish what it has and claim no more.
      - V(absent) makes the master forget it. The master refuses while the node works on a job. An
        agent that still runs makes its node known again when it next starts.
    type: str
    choices: [active, draining, absent]
    default: active
  wait:
    description:
      - With O(state=draining), wait until the node works on no job.
    type: bool
    default: false
  wait_timeout_s:
    description:
      - How many seconds to wait at most. A master that restarts meanwhile is waited for.
    type: float
    default: 3600.0
  master_url:
    description:
      - Address of the master, such as V(https://10.0.0.5:8080).
    type: str
    required: true
  token:
    description:
      - Token of an operator; its role must be at least C(admin).
    type: str
    required: true
  ca_file:
    description:
      - Path, on the host that runs the module, of the certificate of the farm's CA.
      - The master's certificate must come from it; no other CA is trusted.
    type: path
    required: true
  client_cert:
    description:
      - Path, on the host that runs the module, of a certificate for a master that wants one.
    type: path
  client_key:
    description:
      - Path of the key of O(client_cert), when it is not in the same file.
    type: path
  timeout_s:
    description:
      - How many seconds each step of one request may keep silent.
    type: float
    default: 30.0
seealso:
  - module: ffrtmp_node_info
"""

EXAMPLES = r"""
- name: Drain a node before it is upgraded
  ffrtmp_node:
    master_url: https://10.0.0.5:8080
    token: "{{ admin_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
    name: worker1
    state: draining
    wait: true
    wait_timeout_s: 1800

- name: Let it work again
  ffrtmp_node:
    master_url: https://10.0.0.5:8080
    token: "{{ admin_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
    name: worker1
    state: active
"""

RETURN = r"""
node:
  description: The node as the master knows it; null when it is absent.
  returned: success
  type: dict
  sample: {name: worker1, state: draining}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ffrtmp import nodes
from ansible.module_utils.ffrtmp.api import Deadline, Json, Master
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["active", "draining", "absent"], "default": "active"},
    "wait": {"type": "bool", "default": False},
    "wait_timeout_s": {"type": "float", "default": 3600.0},
    **CONNECTION,
}


def absent(master: Master, name: str, *, is_check: bool) -> Json:
    """Make the master forget the node; return what the module returns."""
    node = nodes.find(nodes.all_nodes(master), name)
    if node is not None and not is_check:
        nodes.remove(master, name)
    return {
        "changed": node is not None,
        "node": node if is_check else None,
        "diff": {
            "before": {"state": node["state"] if node else "absent"},
            "after": {"state": "absent"},
        },
    }


def steer(master: Master, name: str, state: str, *, is_check: bool) -> Json:
    """Make the node active or draining; return what the module returns.

    The master shows an offline node as offline, whatever an operator wants of it. Such a node is
    told again, and called unchanged, so that a second play says what the first one said.
    """
    node = nodes.require(nodes.all_nodes(master), name)
    before = node["state"]
    is_changing = before not in (state, "offline")
    if before != state and not is_check:
        node = nodes.set_state(master, name, state)
    return {
        "changed": is_changing,
        "node": node,
        "diff": {
            "before": {"state": before},
            "after": {"state": state if is_changing else before},
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    name, state, is_check = params["name"], params["state"], module.check_mode
    with connected(module) as master:
        if state == "absent":
            answer = absent(master, name, is_check=is_check)
        else:
            answer = steer(master, name, state, is_check=is_check)
            if answer["diff"]["before"]["state"] == "offline":
                module.warn(
                    f"node {name} is offline: {state} holds once it is back, and it is not visible "
                    "whether that is a change"
                )
        if state == "draining" and params["wait"] and not is_check:
            nodes.wait_until_idle(master, name, Deadline(params["wait_timeout_s"]))
        module.exit_json(**answer)


if __name__ == "__main__":
    main()
