#!/usr/bin/python
"""Say which CPUs and which memory each slot of a host gets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_slot_cpus_info
short_description: Say which CPUs and which memory nodes each slot of this host gets
description:
  - Divides the physical cores of the host evenly over its slots, or checks what is listed.
  - Fails when what is wanted cannot be had on this host.
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
    description: Runs on Linux with Python 3.11 or newer and needs its standard library alone.
options:
  slots:
    description:
      - How many slots the host has.
    type: int
    required: true
  physical:
    description:
      - Give each slot as many physical cores as every other, one thread of each, and the memory
        beside them. The cores of a slot are of one NUMA node where possible; cores left over stay
        unused.
      - Cores count as alike. Where they are not, list them in O(cpus).
    type: bool
    default: false
  cpus:
    description:
      - The CPUs of each slot, such as V(0-3,8), when O(physical=false). Empty limits nothing.
    type: list
    elements: str
    default: []
  memory_nodes:
    description:
      - The NUMA nodes that each slot may have memory of, when O(physical=false). Empty limits
        nothing.
    type: list
    elements: str
    default: []
  tree:
    description:
      - The kernel's tree of CPUs and nodes.
    type: path
    default: /sys/devices/system
seealso:
  - module: ffrtmp_node_info
"""

EXAMPLES = r"""
- name: Divide the physical cores over two slots
  ffrtmp_slot_cpus_info:
    slots: 2
    physical: true
  register: pinning
"""

RETURN = r"""
slots:
  description:
    - CPUs and memory nodes of each slot, in systemd's notation; an empty text is no limit.
  returned: success
  type: list
  elements: dict
  sample:
    - {cpus: "0,1", memory_nodes: "0"}
    - {cpus: "8,9", memory_nodes: "1"}
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ffrtmp import pinning

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "slots": {"type": "int", "required": True},
    "physical": {"type": "bool", "default": False},
    "cpus": {"type": "list", "elements": "str", "default": []},
    "memory_nodes": {"type": "list", "elements": "str", "default": []},
    "tree": {"type": "path", "default": "/sys/devices/system"},
}


def divided(params: dict[str, Any]) -> list[pinning.Slot]:
    """Return what each slot gets; raises PinningError."""
    host = pinning.read_host(Path(params["tree"]))
    if not params["physical"]:
        return pinning.listed(host, params["slots"], params["cpus"], params["memory_nodes"])
    if params["cpus"] or params["memory_nodes"]:
        raise pinning.PinningError(
            "with physical cores, CPUs and memory nodes follow from this host and cannot be listed"
        )
    return pinning.physical(host, params["slots"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        slots = divided(module.params)
    except pinning.PinningError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, slots=[slot._asdict() for slot in slots])


if __name__ == "__main__":
    main()
