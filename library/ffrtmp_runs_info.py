#!/usr/bin/python
"""Return the runs of the farm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_runs_info
short_description: Return the runs of the farm
description:
  - Returns the runs with jobs that have not ended, newest first.
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
  include_final:
    description:
      - Also return the runs whose jobs have all ended.
    type: bool
    default: false
  token:
    description:
      - API token with at least the role C(viewer).
      - White space at its beginning and end is ignored.
seealso:
  - module: ffrtmp_run
  - module: ffrtmp_run_info
"""

EXAMPLES = r"""
- name: Wait until the farm has no active runs
  ffrtmp_runs_info:
    master_url: https://10.0.0.5:8080
    token: "{{ viewer_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
  register: farm
  until: farm.runs | length == 0
  retries: 120
  delay: 30
"""

RETURN = r"""
runs:
  description: Runs as the master reports them.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 019a0000-0000-7000-8000-000000000000
      suite_name: demo
      state: running
      counts: {queued: 20, leased: 0, running: 2, succeeded: 2, failed: 0, canceled: 0}
"""

from typing import Any

from ansible.module_utils.ffrtmp import runs
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected, create_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "include_final": {"type": "bool", "default": False},
    **CONNECTION,
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    with connected(module) as master:
        found = list(master.pages("/v1/runs"))
        if not module.params["include_final"]:
            found = [run for run in found if not runs.is_final(run)]
        module.exit_json(changed=False, runs=found)


if __name__ == "__main__":
    main()
