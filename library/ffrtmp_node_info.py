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
extends_documentation_fragment:
  - ffrtmp_connection
  - action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
    description: Runs on POSIX hosts with Python 3.11 or later; needs only its standard library.
options:
  name:
    description:
      - Return only this node. If it is not registered, the list is empty.
    type: str
  token:
    description:
      - API token with at least the role C(viewer).
      - White space at its beginning and end is ignored.
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
  description:
    - The registered nodes, sorted by name. RV(nodes[].suspicion) is null unless the speed of the
      control encodes of the node has left its usual range.
  returned: success
  type: list
  elements: dict
  sample:
    - name: worker1
      state: active
      last_seen_at: "2026-11-22T12:00:00Z"
      registration: {encoders: [libx264], labels: {}}
      suspicion:
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
