#!/usr/bin/python
"""Return the nodes of the farm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_node_info
short_description: Return the nodes of the farm and their properties
description:
  - Returns all nodes, or the node with the given name.
version_added: "0.1.0"
author:
  - The ffmpeg-rtmp authors
attributes:
  check_mode:
    support: full
    description: Can run in check mode and report what would change without changing it.
  diff_mode:
    support: none
    description: Reports in diff mode what has changed or would change.
  platform:
    support: full
    platforms: posix
    description: Runs on POSIX hosts with Python 3.11 or later; needs only its standard library.
options:
  name:
    description:
      - Return only this node. If it is not registered, the list is empty.
    type: str
  master_url:
    description:
      - URL of the master, such as V(https://10.0.0.5:8080). It must not contain a user or a
        password.
    type: str
    required: true
  token:
    description:
      - API token with at least the role C(viewer).
      - White space at its beginning and end is ignored.
    type: str
    required: true
  ca_file:
    description:
      - Path, on the host that runs the module, of the certificate of the farm's CA.
      - The master's certificate must be signed by this CA; no other CA is trusted.
    type: path
    required: true
  client_cert:
    description:
      - Path, on the host that runs the module, of a client certificate. Required when the master
        verifies the certificates of clients.
    type: path
  client_key:
    description:
      - Path of the private key of O(client_cert), if it is not in the same file.
    type: path
  timeout_s:
    description:
      - Timeout of each network operation of a request, in seconds, from 0.1 to 3600.
    type: float
    default: 30.0
seealso:
  - module: ffrtmp_node
"""

EXAMPLES = r"""
- name: Wait until all nodes are active
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
  description: The registered nodes, sorted by name.
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

from ansible.module_utils.ffrtmp import nodes
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected, create_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {"name": {"type": "str"}, **CONNECTION}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    name = module.params["name"]
    with connected(module) as master:
        found = nodes.all_nodes(master)
        if name is not None:
            found = [node for node in found if node["name"] == name]
        module.exit_json(changed=False, nodes=found)


if __name__ == "__main__":
    main()
