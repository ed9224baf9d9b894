#!/usr/bin/python
"""Activate, drain or remove a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_node
short_description: Activate, drain or remove a node of the farm
description:
  - A draining node finishes its current jobs and does not claim new ones.
  - A node is registered by its agent at startup; this module cannot create nodes.
version_added: "0.1.0"
author:
  - The ffmpeg-rtmp authors
extends_documentation_fragment:
  - ffrtmp_connection
  - action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    support: full
    platforms: posix
    description: Runs on POSIX hosts with Python 3.11 or later; needs only its standard library.
options:
  name:
    description:
      - Name of the node, as in C(ffrtmp_node_info).
    type: str
    required: true
  state:
    description:
      - V(active) lets the node claim jobs.
      - V(draining) lets the node finish its current jobs without claiming new ones.
      - V(absent) removes the node from the master. The master rejects this while the node has a
        job. If the agent still runs, it registers the node again at its next start.
    type: str
    choices: [active, draining, absent]
    default: active
  wait:
    description:
      - With O(state=draining), wait until the node has finished its current jobs.
    type: bool
    default: false
  wait_timeout_s:
    description:
      - Maximum time to wait, in seconds, from 0 to 31536000 (one year). A restart of the master
        does not end the wait.
    type: float
    default: 3600.0
  token:
    description:
      - API token with at least the role C(admin).
      - White space at its beginning and end is ignored.
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

- name: Activate the node again
  ffrtmp_node:
    master_url: https://10.0.0.5:8080
    token: "{{ admin_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
    name: worker1
    state: active
"""

RETURN = r"""
node:
  description: The node as registered at the master; null if it is absent.
  returned: success
  type: dict
  sample: {name: worker1, state: draining}
"""

from typing import Any

from ansible.module_utils.ffrtmp import nodes
from ansible.module_utils.ffrtmp.api import Json, Master
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected, create_module
from ansible.module_utils.ffrtmp.deadline import Deadline

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["active", "draining", "absent"], "default": "active"},
    "wait": {"type": "bool", "default": False},
    "wait_timeout_s": {"type": "float", "default": 3600.0},
    **CONNECTION,
}


def absent(master: Master, name: str, *, is_check: bool) -> Json:
    """Remove the node from the master. Return the result of the module.

    Args:
        master: Connection to the master.
        name: Name of the node.
        is_check: Whether the module runs in check mode.
    """
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
    """Set the node to active or draining. Return the result of the module.

    The master reports the state of an offline node as offline, so the module cannot determine which
    state an operator has set. It sets the state of such a node again and reports no change, so that
    repeated plays have the same result.

    Args:
        master: Connection to the master.
        name: Name of the node.
        state: C(active) or C(draining).
        is_check: Whether the module runs in check mode.
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
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    name, state, is_check = params["name"], params["state"], module.check_mode
    with connected(module) as master:
        if state == "absent":
            answer = absent(master, name, is_check=is_check)
        else:
            answer = steer(master, name, state, is_check=is_check)
            if answer["diff"]["before"]["state"] == "offline":
                module.warn(
                    f"node {name} is offline: the state {state} takes effect when it is back, and "
                    "whether that is a change cannot be determined"
                )
        if state == "draining" and params["wait"] and not is_check:
            nodes.wait_until_idle(master, name, Deadline(params["wait_timeout_s"]))
        module.exit_json(**answer)


if __name__ == "__main__":
    main()
