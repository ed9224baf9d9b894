"""Check a suite and its files on the control node before anything is copied to the master.

The master validates the text of the suite and plans a run of it (ffrtmp_run_plan_info). The files
of the suite are on the control node, where this plugin checks them. Nothing is changed, so the
plugin also runs in check mode.

The options are the connection options of ffrtmp_run_plan_info (master_url, token, ca_file,
client_cert, client_key, timeout_s) and:

suite: Path of the suite on the control node.
key: Idempotency key of the run, if any.
wait_for_nodes: Whether scenarios that no active node can run may wait for a node. If it is false,
    the task fails for such scenarios, unless the suite sets `when_unmet: wait`.
results_dir: Directory on the control node for the results, which must be writable, because they
    are stored when the run has ended.

The task returns:

suite_name: Name of the suite.
jobs: Number of jobs of the run.
existing: The run with the key, or null.
lines: The plan as lines of text; empty if there is a run with the key.
waiting: Lines with the scenarios that would wait for a node, and the reasons.
uploads: The files that the master lacks, each with its `path` and `sha256`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible's setting module_utils applies only to modules, but this plugin runs on the control node.
_MODULE_UTILS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _MODULE_UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_MODULE_UTILS)

from ansible.module_utils.ffrtmp import runs  # noqa: E402
from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, module_arguments  # noqa: E402
from ansible.module_utils.ffrtmp.errors import SettingsError  # noqa: E402
from ansible.module_utils.ffrtmp.plan_text import (  # noqa: E402
    plan_lines,
    waiting_lines,
    waiting_refusal,
)
from ansible.module_utils.ffrtmp.suite_files import SuiteText, file_problems  # noqa: E402

Json = dict[str, Any]

_OPTIONS: dict[str, Json] = {
    "suite": {"type": "path", "required": True},
    "key": {"type": "str", "no_log": False},
    "wait_for_nodes": {"type": "bool", "default": False},
    "results_dir": {"type": "path"},
    **CONNECTION,
}
_OWN_OPTIONS = ("suite", "wait_for_nodes", "results_dir")

_KEY_VARIABLE = "benchmark_key"
_WAIT_VARIABLE = "benchmark_wait_for_nodes"


class ActionModule(ActionBase):  # type: ignore[misc]
    """An action that calls ffrtmp_run_plan_info on the host and reads the files of the suite."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Return the plan and the files to copy. Fail with all problems that were found."""
        result: Json = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        problem = (
            directory_problem(Path(options["results_dir"])) if options["results_dir"] else None
        )
        if problem is not None:
            raise AnsibleActionFail(problem)
        try:
            arguments = module_arguments(options, _OWN_OPTIONS, {"key": _KEY_VARIABLE})
            suite = SuiteText(Path(options["suite"]), runs.read_suite(options["suite"]))
        except SettingsError as error:
            raise AnsibleActionFail(str(error)) from error
        # With `wait`, the plan lists the scenarios that no node can run instead of failing.
        arguments |= {"suite_text": suite.text, "when_unmet": "wait"}
        answer: Json = self._execute_module(
            module_name="ffrtmp_run_plan_info", module_args=arguments, task_vars=task_vars
        )
        # It contains the whole suite.
        answer.pop("invocation", None)
        if answer.get("failed") or "plan" not in answer:
            return {**result, **answer, "msg": _failure(suite, str(answer.get("msg", "")))}
        plan = answer["plan"]
        _check_plan(plan, options["key"], may_wait=options["wait_for_nodes"])
        is_new = plan["existing"] is None
        files = plan["files"] if is_new else []
        wrong = file_problems(suite, files)
        if wrong:
            raise AnsibleActionFail("\n".join(["the files of the suite cannot be used", *wrong]))
        return {
            **result,
            "changed": False,
            "suite_name": plan["suite_name"],
            "jobs": plan["total_jobs"],
            "existing": plan["existing"],
            "lines": plan_lines(plan) if is_new else [],
            "waiting": list(waiting_lines(plan)),
            "uploads": [
                {"path": str(suite.resolve(file["path"])), "sha256": file["sha256"]}
                for file in files
                if not file["is_stored"]
            ],
        }


def directory_problem(directory: Path) -> str | None:
    """Return why results cannot be stored in a directory, which need not exist, or None."""
    folder = directory
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return f"farm_results_dir is {directory}, but {folder} is not a directory"
    if not os.access(folder, os.W_OK | os.X_OK):
        return (
            f"farm_results_dir is {directory}, but this user cannot write to {folder}, so the "
            "results of the run could not be stored. Set farm_results_dir to another directory"
        )
    return None


def _failure(suite: SuiteText, message: str) -> str:
    """Return the message for a request that the master has refused."""
    # A master of an earlier release does not know the field.
    if "unknown field `when_unmet`" in message:
        return (
            "the master is of an earlier release, which cannot check suites for this playbook; "
            "update the farm with site.yml first"
        )
    return suite.located(message)


def _check_plan(plan: Json, key: str | None, *, may_wait: bool) -> None:
    """Raise AnsibleActionFail if the run must not be queued."""
    conflict = runs.key_conflict(plan, key, _KEY_VARIABLE)
    if conflict:
        raise AnsibleActionFail(conflict)
    if plan["waiting"] and not may_wait and plan["when_unmet"] != "wait":
        raise AnsibleActionFail(waiting_refusal(plan, f"-e {_WAIT_VARIABLE}=true"))
