#!/usr/bin/python
"""Fetch what a run measured."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_results
short_description: Fetch the results and the artifacts of a run into a folder
description:
  - Writes C(results.json) (the run and its results, whole), C(results.csv) (one row a result; what
    is unavailable is an empty cell), the artifacts below C(logs/), C(failures.json) when jobs have
    failed, and C(SHA256SUMS) over all of them.
  - Packs the folder's files as O(dest) with C(.tar.gz) added, so that one file brings all of them
    elsewhere. Names in the archive are relative to O(dest).
  - Every artifact is checked against the SHA-256 that the master announced.
version_added: "0.1.0"
author:
  - The ffmpeg-rtmp authors
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what would change without changing it.
  diff_mode:
    support: full
    description: Says in diff mode what has changed or would change.
  platform:
    support: full
    platforms: posix
    description: Runs on POSIX hosts with Python 3.11 or newer and needs its standard library alone.
options:
  run_id:
    description:
      - The run whose results are wanted. It need not have ended.
    type: str
    required: true
  dest:
    description:
      - Folder, on the host that runs the module, to write to. It is made when it is not there; the
        folder that holds it must be.
      - A folder with the results of another run is refused.
    type: path
    required: true
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
  - module: ffrtmp_run
  - module: ffrtmp_run_info
"""

EXAMPLES = r"""
- name: Fetch the results onto the master's host
  ffrtmp_results:
    master_url: https://10.0.0.5:8080
    token: "{{ viewer_token }}"
    ca_file: /etc/ffmpeg-rtmp/tls/ca.pem
    run_id: "{{ started.run.id }}"
    dest: /var/tmp/benchmark/results
  register: results

- name: Bring them to the control node
  ansible.builtin.fetch:
    src: "{{ results.archive }}"
    dest: results/
    flat: true
"""

RETURN = r"""
archive:
  description: Path of the packed folder on the host that ran the module.
  returned: success
  type: str
sha256:
  description: SHA-256 of the archive; null in check mode when it would change.
  returned: success
  type: str
files:
  description: Paths of all files, relative to O(dest).
  returned: success
  type: list
  elements: str
run:
  description: The run as the master knows it.
  returned: success
  type: dict
count:
  description: How many results there are.
  returned: success
  type: int
complete:
  description: Whether every job of the run has succeeded and its result is here.
  returned: success
  type: bool
rows:
  description:
    - Medians over repeats by node, source, encode, rate point and FFmpeg.
    - Below the row of a ladder stands one for each of its renditions, with its name in
      RV(rows[].rendition), which is null elsewhere. Its RV(rows[].speed) and RV(rows[].cpu_s) are
      null where one process made all renditions, and its RV(rows[].energy_gross_j) always is.
    - RV(rows[].video_bitrate_kbps) of a live is that of the stream at its player.
    - RV(rows[].ffmpeg) is the name that the suite gives the FFmpeg, null where it names none.
    - RV(rows[].n) repeats are in the medians, RV(rows[].n_degraded) of them from a host that was
      disturbed. RV(rows[].n_invalid) more are in none, because their verdict is invalid.
    - RV(rows[].degraded_reasons) and RV(rows[].invalid_reasons) are the codes of why.
    - A figure that no repeat has is null, such as RV(rows[].energy_gross_j) of a node without
      energy counters.
    - RV(rows[].vmaf_mean) is null when no repeat has a measured quality; RV(rows[].vmaf_n) tells
      how many have. RV(rows[].streams) is of a density, RV(rows[].lag_p95_s) and
      RV(rows[].end_to_end_p95_s) of a live; the others have null there.
    - RV(rows[].cost_per_stream_hour) is what a stream of a density costs, in RV(rows[].currency),
      on a host that has a price; null elsewhere.
    - RV(rows[].speed) lies with 95 % confidence between RV(rows[].speed_low) and
      RV(rows[].speed_high), which are null with fewer than six repeats.
    - RV(rows[].state) is V(precise), V(unstable), V(few_repeats) or, while more repeats are to
      come, V(open); null for a density and a live.
  returned: success
  type: list
  elements: dict
  sample:
    - node: worker1
      source: clip
      encode: x264
      rendition: null
      encoder: libx264
      preset: medium
      rate_point: 800k
      ffmpeg: null
      ffmpeg_version: 7.1.1
      ffmpeg_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      n: 2
      n_degraded: 0
      n_invalid: 0
      degraded_reasons: []
      invalid_reasons: []
      speed: 3.4
      video_bitrate_kbps: 812.5
      cpu_s: 5.1
      energy_gross_j: 61.4
      vmaf_mean: 88.2
      vmaf_n: 2
      streams: null
      cost_per_stream_hour: null
      currency: null
      lag_p95_s: null
      end_to_end_p95_s: null
      speed_low: null
      speed_high: null
      state: few_repeats
table:
  description:
    - RV(rows) and RV(drifts) as text of at most 112 columns, so that it fits into 120 where
      M(ansible.builtin.debug) indents it.
    - What is the same in all rows is stated above the table, what differs has a column. A figure
      that no row has gets no column.
  returned: success
  type: str
  sample: |-
    Medians over the repeats of each row. source: clip
    node     encode  speed    bit rate  VMAF   repeats
                     x real   kbit/s    mean
                     time
    worker1  x264     3.40         812  88.20        2
drifts:
  description: For each node with control encodes, how its speed changed from the first to the last.
  returned: success
  type: list
  elements: dict
  sample: [{node: worker1, n: 2, first_speed: 4.0, last_speed: 3.9, ratio: 0.975}]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ffrtmp import results, runs, table
from ansible.module_utils.ffrtmp.api import Json, Master
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected
from ansible.module_utils.ffrtmp.folder import Folder, check_belongs_to

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "run_id": {"type": "str", "required": True},
    "dest": {"type": "path", "required": True},
    **CONNECTION,
}


def fetch(master: Master, run_id: str, dest: Path, *, is_check: bool) -> Json:
    """Bring the folder up to date; return what the module returns."""
    run = master.get(f"/v1/runs/{run_id}")
    check_belongs_to(dest, run["id"])
    found = results.in_order(master.pages("/v1/results", {"run": run_id}))
    precision = master.get(f"/v1/runs/{run_id}/precision")
    failures = runs.failures(runs.jobs_of(master, run_id))
    folder = Folder(dest, is_dry=is_check)
    for result in found:
        for artifact in result["artifacts"]:
            _fetch_artifact(master, folder, result, artifact)
    folder.put(
        "results.json", results.as_json({"run": run, "results": found, "precision": precision})
    )
    folder.put("results.csv", results.as_csv(found))
    if failures:
        folder.put("failures.json", results.as_json(failures))
    folder.put("SHA256SUMS", results.as_sha256sums(dict(folder.digests)))
    archive = dest.with_name(f"{dest.name}.tar.gz")
    sha256 = folder.pack(archive)
    total = runs.job_count(run)
    rows = results.table(found, precision["medians"])
    return {
        "changed": bool(folder.changes),
        "diff": {
            "before": "",
            "after": "".join(f"{name}\n" for name in sorted(folder.changes)),
        },
        "archive": str(archive),
        "sha256": sha256,
        "files": sorted(folder.digests),
        "run": run,
        "count": len(found),
        "complete": total > 0 and run["counts"]["succeeded"] == total == len(found),
        "rows": rows,
        "table": table.render(rows, precision["drifts"], results.unavailable_reasons(found)),
        "drifts": precision["drifts"],
    }


def _fetch_artifact(master: Master, folder: Folder, result: Json, artifact: Json) -> None:
    source = (
        f"/v1/jobs/{result['job_id']}/attempts/{result['attempt']}/artifacts/{artifact['name']}"
    )
    folder.put_by(
        results.artifact_path(result, artifact["name"]),
        artifact["sha256"],
        lambda file: master.download(source, file, artifact["sha256"], artifact["size_bytes"]),
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with connected(module) as master:
        module.exit_json(
            **fetch(master, params["run_id"], Path(params["dest"]), is_check=module.check_mode)
        )


if __name__ == "__main__":
    main()
