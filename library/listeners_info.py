#!/usr/bin/python
"""Return the processes that listen on TCP ports."""

from __future__ import annotations

DOCUMENTATION = r"""
module: listeners_info
short_description: Return the processes that listen on TCP ports of this host
description:
  - Reads the tables of the kernel, so that the host needs no program such as C(ss).
  - Processes of other users are found only by root.
version_added: "0.2.0"
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
  ports:
    description:
      - The ports, from 1 to 65535.
    type: list
    elements: int
    required: true
"""

EXAMPLES = r"""
- name: Find out which process listens on the port of the API
  listeners_info:
    ports: [8080]
  become: true
  register: found
"""

RETURN = r"""
listeners:
  description:
    - The listening processes. RV(listeners[].pid) is null if the process cannot be determined.
  returned: success
  type: list
  elements: dict
  sample:
    - {port: 8080, pid: 812, process: nginx}
"""

from dataclasses import asdict

from ansible.module_utils.ffrtmp.argument_spec import create_module
from ansible.module_utils.ffrtmp.listeners import listeners

ARGUMENT_SPEC = {"ports": {"type": "list", "elements": "int", "required": True}}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    found = listeners(set(module.params["ports"]))
    module.exit_json(changed=False, listeners=[asdict(listener) for listener in found])


if __name__ == "__main__":
    main()
