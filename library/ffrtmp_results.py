#!/usr/bin/python
"""Fetch the results of a run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_results
short_description: Fetch the results and the artifacts of a run into a directory
description:
  - Writes C(table.txt) (the table of medians), C(results.csv) (one row for each result with all of
    its values, and empty cells for unavailable values), C(results.json) (the run and its complete
    results), C(suite.yml) (the suite), the artifacts in C(logs/),
    C(failures.json) if jobs have failed, C(missing.json) if artifacts could not be fetched, and
    C(SHA256SUMS) of all of them.
  - An artifact that the master no longer has, because its retention has removed it, is reported in
    RV(missing) and in a warning. If another artifact cannot be fetched, for example because it is
    damaged, the rest is fetched before the task fails.
  - Packs the files into an archive whose path is O(dest) followed by C(.tar.gz), so that they can
    be copied as one file. Names in the archive are relative to O(dest), and its files have the time
    of the end of the run.
  - Verifies every artifact with the SHA-256 that the master reports.
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
  run_id:
    description:
      - Id of the run. The run need not have ended.
    type: str
    required: true
  dest:
    description:
      - Directory, on the host that runs the module, for the results. It is created if it does not
        exist; its parent directory must exist.
      - A directory with the results of another run is rejected.
    type: path
    required: true
  farm_name:
    description:
      - Name of the farm, which is stored with the results.
    type: str
    default: ""
  token:
    description:
      - API token with at least the role C(viewer).
      - White space at its beginning and end is ignored.
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

- name: Fetch them to the control node
  ansible.builtin.fetch:
    src: "{{ results.archive }}"
    dest: results/
    flat: true
"""

RETURN = r"""
name:
  description:
    - Name for the directory of the results on the control node. It consists of the time at which
      the run was created (in UTC), the name of the suite, and the end of the run's id.
  returned: success
  type: str
  sample: 20260102T030405Z-demo-7a9c01de
archive:
  description: Path of the archive on the host that ran the module.
  returned: success
  type: str
sha256:
  description: SHA-256 of the archive; null in check mode if it would change.
  returned: success
  type: str
files:
  description: Paths of all files, relative to O(dest).
  returned: success
  type: list
  elements: str
run:
  description: The run as the master reports it.
  returned: success
  type: dict
missing:
  description:
    - Artifacts that the master no longer has, and artifacts that could not be fetched for another
      reason. C(missing.json) has the same content.
    - A file that an earlier task has fetched is kept and not listed.
  returned: success
  type: list
  elements: dict
  sample:
    - path: logs/worker1/clip_x264_800k-r1-a1/ffmpeg.log
      job_id: 019a0000-0000-7000-8000-000000000001
      attempt: 1
      name: ffmpeg.log
      is_removed: true
      reason: "there is no artifact ffmpeg.log"
count:
  description: Number of results.
  returned: success
  type: int
complete:
  description:
    - Whether every job of the run has succeeded and all results were fetched. Results include all
      measurements, but not the artifacts in RV(missing).
  returned: success
  type: bool
rows:
  description:
    - Medians over repeats, with one row for each combination of node, source, encode, rate point
      and FFmpeg, in the order of their names.
    - The row of a ladder is followed by one row for each of its renditions. These rows have the
      name of the rendition in RV(rows[].rendition), which is null in other rows. Their
      RV(rows[].speed) and RV(rows[].cpu_s) are null if one process encoded all renditions, and
      their RV(rows[].energy_gross_j) is always null.
    - For jobs of the kind live, RV(rows[].video_bitrate_kbps) is the bit rate of the stream at its
      player.
    - RV(rows[].ffmpeg) is the name of the FFmpeg build in the suite. It is null if the suite does
      not list FFmpeg builds.
    - RV(rows[].n) is the number of repeats in the medians, of which RV(rows[].n_degraded) are from
      a disturbed host. Another RV(rows[].n_invalid) repeats are excluded, because their verdict is
      invalid.
    - RV(rows[].degraded_reasons) and RV(rows[].invalid_reasons) contain the codes of the reasons
      for these verdicts.
    - A figure that is unavailable in all repeats is null, such as RV(rows[].energy_gross_j) of a
      node without energy counters.
    - RV(rows[].vmaf_n) is the number of repeats with a measured quality. If there are none,
      RV(rows[].vmaf_mean) is null.
    - RV(rows[].streams) is set only for jobs of the kind density. RV(rows[].lag_p95_s) and
      RV(rows[].end_to_end_p95_s) are set only for jobs of the kind live.
    - RV(rows[].cost_per_video_hour) is the cost of encoding an hour of video, and
      RV(rows[].cost_per_stream_hour) that of one stream for one hour, in RV(rows[].currency). The
      former is set for jobs of the kinds transcode, ladder and decode, and the latter for those of
      the kinds density and live, if the price book has a price for the node. If
      RV(rows[].is_estimate) is true, other jobs could run on the node, and energy and cost include
      theirs.
    - RV(rows[].ranges) contains the lowest and the highest value of some figures. They are null if
      there are fewer than six repeats.
    - RV(rows[].rate_control) is the setting that selects the rate control, such as V(crf).
    - RV(rows[].speed_low) and RV(rows[].speed_high) are the bounds of the 95 % confidence interval
      of RV(rows[].speed). They are null if there are fewer than six repeats.
    - RV(rows[].state) is V(precise), V(unstable) or V(few_repeats), or V(open) while more repeats
      will follow. It is null for jobs of the kinds density and live.
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
      is_estimate: false
      speed: 3.4
      video_bitrate_kbps: 812.5
      cpu_s: 5.1
      energy_gross_j: 61.4
      vmaf_mean: 88.2
      vmaf_neg_mean: 85.9
      vmaf_n: 2
      streams: null
      cost_per_video_hour: 0.0214
      cost_per_stream_hour: null
      currency: EUR
      lag_p95_s: null
      end_to_end_p95_s: null
      speed_low: null
      speed_high: null
      state: few_repeats
      ranges:
        video_bitrate_kbps: null
        energy_gross_j: null
        vmaf_mean: null
        vmaf_neg_mean: null
        cost_per_video_hour: null
        cost_per_stream_hour: null
table:
  description:
    - RV(rows) and RV(drifts) as text of at most 112 columns, so that it fits into 120 columns when
      M(ansible.builtin.debug) indents it.
    - Properties with the same value in all rows are listed above the table, and each of the other
      properties has a column. Figures that are unavailable in all rows have no column.
    - Rows that can be compared stand together, the best first. A legend explains the marks of the
      rows. Below it are statements that the 95 % intervals support, the difference in bit rate of
      each pair of encodes with at least four rate points, the settings that reached a requested
      VMAF, and a warning for each rate point at which the actual bit rates of its encodes differ by
      more than 10 %.
  returned: success
  type: str
  sample: |-
    Suite demo, farm prod, run 019a0000-0000-7000-8000-0000000000de, 2026-01-02 03:04 UTC
    Medians of 2 repeats, source: clip, rate point: 800k, threads: 2, FFmpeg: 7.1.1, node: worker1
    encoder  preset   speed  bit rate   VMAF  CPU time
                     x real    kbit/s    NEG         s
                       time
    libx265  medium    1.20       805  88.20      9.10
    libx264  medium    3.40       812  85.90      5.10
drifts:
  description:
    - Change of speed from the first to the last control encode of each node. If
      RV(drifts[].is_unusual), the node has left its usual range, from RV(drifts[].low) to
      RV(drifts[].high), and its results are degraded.
  returned: success
  type: list
  elements: dict
  sample: [{node: worker1, n: 2, first_speed: 4.0, last_speed: 3.9, ratio: 0.975,
            is_unusual: false, low: null, high: null}]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.ffrtmp import results
from ansible.module_utils.ffrtmp.api import Json, Master
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, connected, create_module
from ansible.module_utils.ffrtmp.errors import ApiError, SettingsError
from ansible.module_utils.ffrtmp.folder import Folder, check_belongs_to
from ansible.module_utils.ffrtmp.result_files import missing_text, read_results, write_results

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "run_id": {"type": "str", "required": True},
    "dest": {"type": "path", "required": True},
    "farm_name": {"type": "str", "default": ""},
    **CONNECTION,
}


def fetch(master: Master, run_id: str, dest: Path, farm_name: str, *, is_check: bool) -> Json:
    """Write the results of a run to the directory. Return the result of the module.

    Args:
        master: Connection to the master.
        run_id: Id of the run.
        dest: Directory for the results.
        farm_name: Name of the farm.
        is_check: Whether the module runs in check mode.
    """
    run = master.get(f"/v1/runs/{run_id}")
    check_belongs_to(dest, run["id"])
    read = read_results(master, run["id"])
    modified_s = results.end_s(read.run, read.results)
    folder = Folder(dest, is_dry=is_check, modified_s=modified_s)
    missing = write_results(master, read, folder, farm_name)
    archive = dest.with_name(f"{dest.name}.tar.gz")
    sha256 = folder.pack(archive)
    return {
        "changed": bool(folder.changes),
        "diff": {
            "before": "",
            "after": "".join(f"{name}\n" for name in sorted(folder.changes)),
        },
        "name": results.directory_name(read.run),
        "archive": str(archive),
        "sha256": sha256,
        "files": sorted(folder.digests),
        "run": read.run,
        "missing": missing,
        "count": len(read.results),
        "complete": read.is_complete,
        "rows": read.rows,
        "table": read.table(farm_name),
        "drifts": read.precision["drifts"],
    }


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    with connected(module) as master:
        dest = Path(params["dest"]).absolute()
        if dest.name in ("", ".."):
            raise SettingsError(f"dest {dest} must be a directory that the module can create")
        answer = fetch(
            master, params["run_id"], dest, params["farm_name"], is_check=module.check_mode
        )
        removed = [entry for entry in answer["missing"] if entry["is_removed"]]
        failed = [entry for entry in answer["missing"] if not entry["is_removed"]]
        if removed:
            module.warn(
                f"the master no longer has {len(removed)} artifacts of run {params['run_id']}: "
                f"{missing_text(removed)}. The rest was fetched; missing.json lists all of them"
            )
        if failed:
            raise ApiError(
                f"{len(failed)} artifacts of run {params['run_id']} could not be fetched: "
                f"{missing_text(failed)}. The rest is in {dest}; missing.json lists all of them",
                **{name: value for name, value in answer.items() if name != "table"},
            )
        module.exit_json(**answer)


if __name__ == "__main__":
    main()
