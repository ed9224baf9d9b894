#!/usr/bin/python
"""Compare the results of two runs, or of two parts of one run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ffrtmp_compare
short_description: Compare the results of two runs, FFmpeg builds, nodes or encodes
description:
  - Compares results in directories of the control node, as M(ffrtmp_results) and
    C(run-benchmark.yml) write them. It runs on the control node, whatever the host of the task is,
    and needs no farm.
  - States for each scenario of each node whether side B is faster, slower, better, worse, or the
    same within a margin, with an interval. The false discovery rate is controlled for each
    quantity.
  - The command C(ffrtmp compare) has the same output.
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
  platform:
    support: full
    platforms: posix
    description: Runs on the control node, with the packages of C(requirements.txt).
options:
  a:
    description:
      - Directory with the results of a run, the file C(results.json) in it, or a bundle that
        C(ffrtmp export) has written.
    type: path
    required: true
  b:
    description:
      - Directory, file or bundle with the results of the other run.
      - Exactly one of O(b), O(ffmpegs), O(nodes) and O(encodes) is required.
    type: path
  ffmpegs:
    description:
      - Names of two FFmpeg builds of the run O(a), which are compared.
    type: list
    elements: str
  nodes:
    description:
      - Names of two nodes of the run O(a), which are compared.
    type: list
    elements: str
  encodes:
    description:
      - Names of two encodes of the run O(a), which are compared.
    type: list
    elements: str
  quantities:
    description:
      - Quantities to compare.
    type: list
    elements: str
    choices: [speed, cpu_time, energy, bit_rate, vmaf_neg, cost]
    default: [speed, cpu_time, energy, bit_rate, vmaf_neg, cost]
  margin_percent:
    description:
      - Relative difference that does not matter, in percent.
    type: float
    default: 1.0
  vmaf_margin_points:
    description:
      - Difference of VMAF NEG that does not matter, in points.
    type: float
    default: 0.5
  markdown:
    description:
      - File on the control node for the comparison as Markdown. Its directory must exist.
    type: path
  junit:
    description:
      - File on the control node for the comparison as JUnit XML. Its directory must exist.
    type: path
  fail_on_regression:
    description:
      - Whether the task fails if RV(conclusion) is V(regression) or V(undecided).
    type: bool
    default: false
seealso:
  - module: ffrtmp_results
"""

EXAMPLES = r"""
- name: Compare two runs, and fail if the second one is worse
  ffrtmp_compare:
    a: results/20260102T030405Z-demo-7a9c01de
    b: results/latest
    junit: comparison.xml
    fail_on_regression: true

- name: Compare two FFmpeg builds of one run
  ffrtmp_compare:
    a: results/latest
    ffmpegs: [farm, mine]
  register: builds

- name: Show the comparison
  ansible.builtin.debug:
    msg: "{{ builds.text }}"
"""

RETURN = r"""
conclusion:
  description:
    - V(regression) if side B is worse by more than the margin, V(undecided) if there is no
      regression but not everything could be compared or the node has changed, and otherwise
      V(no_regression).
  returned: always
  type: str
  sample: no_regression
text:
  description: The comparison as text, as C(ffrtmp compare) prints it.
  returned: always
  type: str
comparison:
  description:
    - The comparison as C(ffrtmp compare --json) prints it. C(docs/cli.md) describes its fields.
  returned: always
  type: dict
  sample: {schema: ffrtmp/comparison/1, a: results/old, b: results/new, conclusion: no_regression}
files:
  description: Files that were written, or would be in check mode, because their content changed.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ffrtmp.comparison_options import COMPARISON_SPEC

ARGUMENT_SPEC: dict[str, dict[str, Any]] = COMPARISON_SPEC


def main() -> None:
    """Fail, because the action plugin of this name compares the results on the control node."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.fail_json(
        msg="the action plugin ffrtmp_compare is missing: set action_plugins in ansible.cfg to "
        "plugins/action of this repository"
    )


if __name__ == "__main__":
    main()
