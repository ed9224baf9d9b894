#!/usr/bin/python
"""Say which nodes the farm has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_node_info
short_description: Say which nodes the master knows, and what each of them is
description:
  - Returns all nodes, or the one that is named.
version_added: "0.1.0"
author:
  - The ffmpeg-rtmp authors
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what would change without changing it.
  diff_mode:
    support: none
    description: Says in diff mode what has changed or would change.
  platform:
    support: full
    platforms: posix
    description: Runs on POSIX hosts with Python 3.11 or newer and needs its standard library alone.
options:
  name:
    description:
      - Return this node only. A node that the master does not know gives an empty list.
    type: str
  master_url:
    description:
      - Address of the master, such as V(https://10.0.0.5:8080).
    type: str
    required: true
  token:
    description:
      - Token of an operator; its role must be at least C(viewer).
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
  - module: ffrtmp_node
"""

EXAMPLES = r"""
- name: Look at the farm
  ffrtmp_node_info:
    master_url: https://10.0.0.5:8080
    token: "{{ viewer_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
  register: farm
  until: farm.nodes | selectattr('state', 'equalto', 'active') | length == groups['worker'] | length
  retries: 12
  delay: 5
"""

RETURN = r"""
nodes:
  description: Nodes by name, as the master knows them.
  returned: success
  type: list
  elements: dict
  sample:
    - name: worker1
      state: active
      last_seen_at: "2026-11-22T12:00:00Z"
      registration: {encoders: [libx264], labels: {}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ffrtmp import nodes
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {"name": {"type": "str"}, **CONNECTION}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    name = module.params["name"]
    with connected(module) as master:
        found = nodes.all_nodes(master)
        if name is not None:
            found = [node for node in found if node["name"] == name]
        module.exit_json(changed=False, nodes=found)


if __name__ == "__main__":
    main()
