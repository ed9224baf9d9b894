#!/usr/bin/python
"""Return the state of a run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_run_info
short_description: Return the state of a run, its active jobs and its failures
description:
  - Returns a run, its active jobs and its failures.
  - Can wait for a change, so that a playbook can show progress without frequent polling.
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
  run_id:
    description:
      - Id of the run.
    type: str
    required: true
  include_jobs:
    description:
      - Also return all jobs of the run.
    type: bool
    default: false
  wait_change_s:
    description:
      - Maximum time in seconds to wait until the counts differ from O(known_counts), a job enters
        another stage, jobs that no node can run wait for another reason, or the run ends. With
        V(0) the module does not wait.
      - A restart of the master does not end the wait.
    type: float
    default: 0.0
  known_counts:
    description:
      - The last known number of jobs in each state. By default, the counts at the beginning of the
        task.
    type: dict
  token:
    description:
      - API token with at least the role C(viewer).
      - White space at its beginning and end is ignored.
seealso:
  - module: ffrtmp_run
  - module: ffrtmp_results
"""

EXAMPLES = r"""
- name: Wait for a change of the run
  ffrtmp_run_info:
    master_url: https://10.0.0.5:8080
    token: "{{ viewer_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
    run_id: "{{ started.run.id }}"
    wait_change_s: 60
    known_counts: "{{ started.run.counts }}"
  register: seen
"""

RETURN = r"""
run:
  description:
    - The run as the master reports it.
    - RV(run.pending) states why jobs are queued, and RV(run.omitted_nodes) which nodes get no
      jobs of the run because they were draining or offline when it was created.
  returned: success
  type: dict
  sample:
    id: 019a0000-0000-7000-8000-000000000000
    state: running
    counts: {queued: 20, leased: 0, running: 2, succeeded: 2, failed: 0, canceled: 0}
    pending:
      - {reason: no_node, message: "no suitable node is active: worker2 is draining", jobs: 20}
    omitted_nodes:
      - {node: worker3, state: offline}
is_final:
  description: Whether every job of the run has ended.
  returned: success
  type: bool
active:
  description: Active jobs. RV(active[].ratio) is the progress of the stage, from 0 to 1.
  returned: success
  type: list
  elements: dict
  sample:
    - job_id: 019a0000-0000-7000-8000-000000000001
      node: worker1
      scenario: clip/x264/800k
      repeat: 1
      stage: encode
      ratio: 0.4
      speed: 2.1
failures:
  description:
    - Jobs that have failed permanently, and jobs that wait for another attempt after a failure,
      with the end of FFmpeg's log. RV(failures[].state) distinguishes the two.
  returned: success
  type: list
  elements: dict
  sample:
    - job_id: 019a0000-0000-7000-8000-000000000002
      state: failed
      node: worker1
      scenario: clip/x265/800k
      repeat: 2
      attempt: 1
      failure_class: encode_failed
      message: ffmpeg ended with status 1
      log_tail: Conversion failed!
precision:
  description:
    - Progress towards the precision that the suite requests. Null if it requests none, or if the
      run gets no further repeats.
    - The open median with the widest interval is RV(precision.least_precise). Intervals are half
      widths as fractions of the median.
  returned: success
  type: dict
  sample:
    requested: 0.05
    medians: 12
    precise: 4
    least_precise: {node: worker1, scenario: clip/x264/800k, repeats: 6, interval: 0.034}
summary:
  description:
    - The state of the run as lines of text. These name the active jobs, the reasons why jobs wait,
      and the nodes that get no jobs of the run.
  returned: success
  type: list
  elements: str
  sample:
    - "Run 019a0000-0000-7000-8000-000000000000 of suite demo: running (20 queued, 2 running)"
    - "worker1: clip/x264/800k encode 40 %"
    - "20 jobs wait: no suitable node is active: worker2 is draining"
jobs:
  description: All jobs of the run.
  returned: when O(include_jobs=true)
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.ffrtmp import runs
from ansible.module_utils.ffrtmp.api import Json
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected, create_module
from ansible.module_utils.ffrtmp.deadline import Deadline
from ansible.module_utils.ffrtmp.progress import summary_lines

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "run_id": {"type": "str", "required": True},
    "include_jobs": {"type": "bool", "default": False},
    "wait_change_s": {"type": "float", "default": 0.0},
    "known_counts": {"type": "dict"},
    **CONNECTION,
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    # One deadline for all requests, so that the task does not take twice as long in an outage.
    deadline = Deadline(params["wait_change_s"])
    with connected(module) as master:
        run, jobs = runs.observe(master, params["run_id"], deadline, params["known_counts"])
        answer: Json = {
            "changed": False,
            "run": run,
            "is_final": runs.is_final(run),
            "active": runs.active_jobs(jobs),
            "failures": runs.failures(jobs),
            "precision": runs.precision_of(master, run, deadline),
        }
        answer["summary"] = summary_lines(answer)
        if params["include_jobs"]:
            answer["jobs"] = jobs
        module.exit_json(**answer)


if __name__ == "__main__":
    main()
