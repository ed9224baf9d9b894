#!/usr/bin/python
"""Queue, await and cancel runs of benchmark suites."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_run
short_description: Queue, await or cancel a run of a benchmark suite
description:
  - Uploads the clips of a suite to the master, and queues a run of the suite.
  - With O(key), repeated plays of the same task queue only one run.
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
  state:
    description:
      - V(present) queues a run of O(suite).
      - V(canceled) cancels every job of the run that has not ended.
    type: str
    choices: [present, canceled]
    default: present
  suite:
    description:
      - Path of the suite's YAML file on the host that runs the module.
      - Required with O(state=present).
    type: path
  sources:
    description:
      - Files that the suite lists, that is, its clips and the FFmpeg builds that it compares. Files
        that the master does not have are uploaded.
      - A file is rejected if the suite does not contain its SHA-256.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Path of the file on the host that runs the module.
        type: path
        required: true
  key:
    description:
      - Idempotency key of 1 to 255 printable ASCII characters. If a run with this key exists, it is
        returned instead of a new run.
      - With O(state=canceled), the key of the run to cancel.
    type: str
  when_unmet:
    description:
      - How to handle scenarios that no active node can run. V(wait) lets them wait for a suitable
        node, V(refuse) refuses the run. By default, the suite determines this.
    type: str
    choices: [wait, refuse]
  seed:
    description:
      - Seed of the random order of the jobs, from 0 to 2147483647. By default, the master chooses
        one.
    type: int
  run_id:
    description:
      - Id of the run to cancel. Only with O(state=canceled).
    type: str
  wait:
    description:
      - Wait until every job of the run has ended.
      - With O(state=present), the task fails if the run does not succeed.
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
      - API token with at least the role C(submitter).
      - White space at its beginning and end is ignored.
seealso:
  - module: ffrtmp_run_plan_info
  - module: ffrtmp_run_info
  - module: ffrtmp_results
"""

EXAMPLES = r"""
- name: Queue the demo suite once
  ffrtmp_run:
    master_url: https://10.0.0.5:8080
    token: "{{ submitter_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
    suite: /var/tmp/benchmark/demo.yml
    sources:
      - path: /var/tmp/benchmark/bigbuckbunny-720p.mp4
    key: demo-2026-11-22

- name: Cancel the run
  ffrtmp_run:
    master_url: https://10.0.0.5:8080
    token: "{{ submitter_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
    key: demo-2026-11-22
    state: canceled
    wait: true
"""

RETURN = r"""
run:
  description:
    - The run as the master reports it. Null in check mode if the run would be created, and
      with O(state=canceled) if no run has the key.
  returned: always
  type: dict
  sample:
    id: 019a0000-0000-7000-8000-000000000000
    suite_name: demo
    state: queued
    counts: {queued: 24, leased: 0, running: 0, succeeded: 0, failed: 0, canceled: 0}
jobs:
  description: Number of jobs that the run has or would have.
  returned: always
  type: int
  sample: 24
created:
  description: Whether this task queued the run; V(false) if it returned an existing run.
  returned: when O(state=present) and there is a run
  type: bool
  sample: true
plan:
  description: Jobs that would be queued. Only in check mode, if there is no run with this key.
  returned: check mode
  type: dict
  sample: {suite_name: demo, jobs: 24, scenarios: [clip/x264/800k], nodes: [worker1, worker2]}
notes:
  description:
    - What people need to know about the run or the plan, as texts. These are the nodes that get no
      jobs because they are draining or offline, and the reasons why jobs wait that no active node
      can run.
  returned: always
  type: list
  elements: str
  sample: [worker2 is draining and gets no jobs of this run]
uploaded:
  description: Digests of the files that were, or would be, uploaded.
  returned: when O(state=present)
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.ffrtmp import runs
from ansible.module_utils.ffrtmp.api import Json, Master
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected, create_module
from ansible.module_utils.ffrtmp.deadline import Deadline
from ansible.module_utils.ffrtmp.errors import SettingsError
from ansible.module_utils.ffrtmp.progress import run_notes

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "canceled"], "default": "present"},
    "suite": {"type": "path"},
    "sources": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}},
    },
    # Ansible would treat the key as a secret because of its name, but it only identifies a run.
    "key": {"type": "str", "no_log": False},
    "when_unmet": {"type": "str", "choices": ["wait", "refuse"]},
    "seed": {"type": "int"},
    "run_id": {"type": "str"},
    "wait": {"type": "bool", "default": False},
    "wait_timeout_s": {"type": "float", "default": 3600.0},
    **CONNECTION,
}


def present(master: Master, params: dict[str, Any], *, is_check: bool) -> Json:
    """Queue the run unless a run with its key exists. Return the result of the module.

    Args:
        master: Connection to the master.
        params: Arguments of the module.
        is_check: Whether the module runs in check mode.
    """
    if params["run_id"]:
        raise SettingsError(
            "run_id requires state=canceled; the master assigns the id of a new run"
        )
    suite = runs.read_suite(params["suite"])
    sources = runs.source_digests(suite, [source["path"] for source in params["sources"]])
    request = runs.request_of(suite, params)
    key = params["key"]
    existing = runs.find_by_key(master, key) if key else None
    # The master validates the suite before anything is uploaded.
    plan = runs.plan(master, request, key)
    conflict = runs.key_conflict(plan, key, "key")
    if conflict:
        raise SettingsError(conflict)
    missing = runs.missing_sources(master, sources)
    if is_check:
        return _preview(plan, existing, missing)
    for digest in missing:
        master.upload(f"/v1/sources/{digest}", sources[digest])
    # Sent even if the run exists, because it may have been removed in the meantime.
    run = runs.create(master, request, key)
    is_new = existing is None or existing["id"] != run["id"]
    if params["wait"]:
        run = runs.wait_until_final(master, run["id"], Deadline(params["wait_timeout_s"]))
        runs.check_succeeded(run)
    return {
        "changed": is_new or bool(missing),
        "run": run,
        "created": is_new,
        "jobs": runs.job_count(run),
        "notes": run_notes(run),
        "uploaded": missing,
        "diff": _diff(run["suite_name"], runs.job_count(run), is_new=is_new),
    }


def _preview(plan: Json, existing: Json | None, missing: list[str]) -> Json:
    if existing is not None:
        count = runs.job_count(existing)
        return {
            "changed": bool(missing),
            "run": existing,
            "created": False,
            "jobs": count,
            "notes": run_notes(existing),
            "uploaded": missing,
            "diff": _diff(existing["suite_name"], count, is_new=False),
        }
    return {
        "changed": True,
        "run": None,
        "jobs": plan["jobs"],
        "plan": plan,
        "notes": run_notes(plan),
        "uploaded": missing,
        "diff": _diff(plan["suite_name"], plan["jobs"], is_new=True),
    }


def _diff(suite: str, jobs: int, *, is_new: bool) -> Json:
    after = {"suite": suite, "jobs": jobs}
    return {"before": {} if is_new else after, "after": after}


def canceled(master: Master, params: dict[str, Any], *, is_check: bool) -> Json:
    """Cancel the run unless it has ended. Return the result of the module.

    Args:
        master: Connection to the master.
        params: Arguments of the module.
        is_check: Whether the module runs in check mode.
    """
    if params["run_id"]:
        run = master.get(f"/v1/runs/{params['run_id']}")
    else:
        run = runs.find_by_key(master, params["key"])
    if run is None:
        return {"changed": False, "run": None, "jobs": 0, "notes": []}
    before = run["state"]
    is_changing = not runs.is_final(run)
    if is_changing and not is_check:
        run = master.send("POST", f"/v1/runs/{run['id']}/cancel")
        if params["wait"]:
            run = runs.wait_until_final(master, run["id"], Deadline(params["wait_timeout_s"]))
    return {
        "changed": is_changing,
        "run": run,
        "jobs": runs.job_count(run),
        "notes": run_notes(run),
        "diff": {
            "before": {"state": before},
            "after": {"state": "canceled" if is_changing else before},
        },
    }


def main() -> None:
    """Run the module."""
    module = create_module(
        ARGUMENT_SPEC,
        required_if=[
            ("state", "present", ("suite",)),
            ("state", "canceled", ("run_id", "key"), True),
        ],
        mutually_exclusive=[("run_id", "key"), ("run_id", "suite")],
    )
    operation = present if module.params["state"] == "present" else canceled
    with connected(module) as master:
        module.exit_json(**operation(master, module.params, is_check=module.check_mode))


if __name__ == "__main__":
    main()
