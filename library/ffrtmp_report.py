#!/usr/bin/python
"""Write the report on a run to the directory of its results."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_report
short_description: Write the report on a run as one HTML file
description:
  - Writes C(report.html) to a directory with the results of a run, as M(ffrtmp_results) writes it.
  - The file contains findings, charts and tables, and needs neither a network nor scripts.
version_added: "0.2.0"
author:
  - The ffmpeg-rtmp authors
extends_documentation_fragment:
  - action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    description: Names the file that changes.
  platform:
    support: full
    platforms: posix
    description: Runs on POSIX hosts with Python 3.11 or later.
requirements:
  - The Python package vl-convert-python, which draws the charts.
  - The Python package pyarrow. Without it, the report states that the time series are missing.
options:
  path:
    description:
      - Path of the directory with the results.
    type: path
    required: true
seealso:
  - module: ffrtmp_results
"""

EXAMPLES = r"""
- name: Write the report
  ffrtmp_report:
    path: results/latest
  delegate_to: localhost
"""

RETURN = r"""
report:
  description: Path of the report.
  returned: success
  type: str
  sample: /home/operator/ffmpeg-rtmp/results/latest/report.html
plots:
  description: Number of charts in the report.
  returned: success
  type: int
  sample: 8
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.ffrtmp.argument_spec import create_module
from ansible.module_utils.ffrtmp.errors import ApiError
from ansible.module_utils.ffrtmp.report_files import write_report
from ansible.module_utils.ffrtmp.saved_results import read_saved_results

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {"path": {"type": "path", "required": True}}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    path = Path(module.params["path"]).absolute()
    try:
        written = write_report(path, read_saved_results(path), is_dry=module.check_mode)
    except ApiError as error:
        module.fail_json(msg=str(error))
    name = f"{written.path.name}\n" if written.is_changed else ""
    module.exit_json(
        changed=written.is_changed,
        diff={"before": "", "after": name},
        report=str(written.path),
        plots=written.plots,
    )


if __name__ == "__main__":
    main()
