#!/usr/bin/python
"""Return the CPUs and the memory nodes of each slot of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_slot_cpus_info
short_description: Return the CPUs and the memory nodes of each slot of this host
description:
  - Divides the physical cores of the host evenly among its slots, or verifies the listed CPUs.
  - Fails if the host does not have the requested CPUs or memory nodes.
version_added: "0.1.0"
author:
  - The ffmpeg-rtmp authors
extends_documentation_fragment:
  - action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
    description: Runs on Linux with Python 3.11 or later; needs only its standard library.
options:
  slots:
    description:
      - Number of slots of the host, from 1 to 65536.
    type: int
    required: true
  physical:
    description:
      - Assign to each slot the same number of physical cores, using one thread of each core, and
        the memory of the NUMA nodes of these cores. The cores of a slot belong to one NUMA node if
        possible. Remaining cores are not used.
      - All cores are considered equal. If they are not, list the CPUs of each slot in O(cpus).
    type: bool
    default: false
  cpus:
    description:
      - The CPUs of each slot, such as V(0-3,8). Only with O(physical=false). An empty list sets no
        limit.
    type: list
    elements: str
    default: []
  memory_nodes:
    description:
      - The NUMA nodes from which each slot may allocate memory. Only with O(physical=false). An
        empty list sets no limit.
    type: list
    elements: str
    default: []
  tree:
    description:
      - Directory in which the kernel describes CPUs and NUMA nodes.
    type: path
    default: /sys/devices/system
seealso:
  - module: ffrtmp_node_info
"""

EXAMPLES = r"""
- name: Divide the physical cores among two slots
  ffrtmp_slot_cpus_info:
    slots: 2
    physical: true
  register: pinning
"""

RETURN = r"""
slots:
  description:
    - CPUs and memory nodes of each slot, in systemd's notation. An empty string means no limit.
  returned: success
  type: list
  elements: dict
  sample:
    - {cpus: "0,1", memory_nodes: "0"}
    - {cpus: "8,9", memory_nodes: "1"}
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.ffrtmp import cpu_assignment
from ansible.module_utils.ffrtmp.argument_spec import create_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "slots": {"type": "int", "required": True},
    "physical": {"type": "bool", "default": False},
    "cpus": {"type": "list", "elements": "str", "default": []},
    "memory_nodes": {"type": "list", "elements": "str", "default": []},
    "tree": {"type": "path", "default": "/sys/devices/system"},
}


def divided(params: dict[str, Any]) -> list[cpu_assignment.Slot]:
    """Return the CPUs and memory nodes of each slot. Raises PinningError if the host lacks them."""
    host = cpu_assignment.read_host(Path(params["tree"]))
    if not params["physical"]:
        return cpu_assignment.listed(host, params["slots"], params["cpus"], params["memory_nodes"])
    if params["cpus"] or params["memory_nodes"]:
        raise cpu_assignment.PinningError(
            "with physical=true, the module assigns CPUs and memory nodes; they cannot be listed"
        )
    return cpu_assignment.physical(host, params["slots"])


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    try:
        slots = divided(module.params)
    except cpu_assignment.PinningError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, slots=[slot._asdict() for slot in slots])


if __name__ == "__main__":
    main()
