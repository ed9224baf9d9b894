#!/usr/bin/python
"""Return the jobs that a run of a suite would have."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_run_plan_info
short_description: Return the jobs that a run of a suite would have
description:
  - Lets the master validate a suite and plan a run of it. Nothing is queued or uploaded, and the
    files of the suite are not needed.
version_added: "0.2.0"
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
  suite_text:
    description:
      - Text of the suite, in YAML.
    type: str
    required: true
  key:
    description:
      - Idempotency key that the run would have. If there is a run with this key, the plan describes
        that run.
    type: str
  seed:
    description:
      - Seed that the run would have, from 0 to 2147483647.
    type: int
  when_unmet:
    description:
      - How to handle scenarios that no active node can run. With V(wait), the plan lists them; with
        V(refuse), the task fails. By default, the suite determines this.
    type: str
    choices: [wait, refuse]
  token:
    description:
      - API token with at least the role C(submitter).
      - White space at its beginning and end is ignored.
seealso:
  - module: ffrtmp_run
"""

EXAMPLES = r"""
- name: Plan a run of the demo suite
  ffrtmp_run_plan_info:
    master_url: https://10.0.0.5:8080
    token: "{{ submitter_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
    suite_text: "{{ lookup('ansible.builtin.file', 'files/suites/demo.yml') }}"
  register: planned
"""

RETURN = r"""
plan:
  description:
    - The plan. RV(plan.jobs) is the number of jobs that are queued at once, RV(plan.total_jobs)
      also includes the last control encodes, and RV(plan.control_jobs) is the number of control
      encodes. RV(plan.control_reason) is the reason why there are any or none, and
      RV(plan.control_s) the seconds that they take on the node on which they take longest.
    - RV(plan.waiting) lists the scenarios that no active node can run, RV(plan.files) the files of
      the suite, and RV(plan.existing) describes the run with the key.
  returned: success
  type: dict
  sample:
    suite_name: demo
    jobs: 12
    total_jobs: 12
    control_jobs: 0
    control_reason: the run is not planned to take more than 10 minutes
    control_s:
    scenarios: [clip/x264/800k]
    nodes: [worker1]
    waiting: []
    expected: {duration_s: 840.0, reason: "", is_minimum: false}
"""

from typing import Any

from ansible.module_utils.ffrtmp import runs
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected, create_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "suite_text": {"type": "str", "required": True},
    # Ansible would treat the key as a secret because of its name, but it only identifies a run.
    "key": {"type": "str", "no_log": False},
    "seed": {"type": "int"},
    "when_unmet": {"type": "str", "choices": ["wait", "refuse"]},
    **CONNECTION,
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    request = runs.request_of(params["suite_text"], params)
    with connected(module) as master:
        module.exit_json(changed=False, plan=runs.plan(master, request, params["key"]))


if __name__ == "__main__":
    main()
