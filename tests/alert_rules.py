"""The alert rules of the role vmalert, and their unit tests for vmalert-tool."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import role_template
import role_templates
from filelock import FileLock
from role_templates import ROOT, load_yaml
from ruamel.yaml import YAML

CASES = ROOT / "tests/deploy/alert_cases"
RUNBOOKS = ROOT / "docs/runbooks"

VMALERT_TOOL = ROOT / ".cache/victoria-metrics-trixie/usr/bin/vmalert-tool"

# vmalert-tool listens on a fixed port, so that only one process at a time can run it.
_LOCK = FileLock(Path(tempfile.gettempdir()) / f"ffrtmp-vmalert-tool-{os.getuid()}.lock")

_LABELS = re.compile(r"\{.*\}")


def load(text: str | Path) -> Any:
    """Return the content of a YAML document."""
    return YAML(typ="safe").load(text)


def render(**variables: Any) -> str:
    """Return the file of the rules, as the role installs it.

    Args:
        **variables: Variables of the role that differ from their defaults.
    """
    return role_template.render("vmalert", "rules.yml.j2", **variables)


def rules(**variables: Any) -> list[dict[str, Any]]:
    """Return all rules, in the order of the file."""
    groups = load(render(**variables))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def problems(**variables: Any) -> list[str]:
    """Return the problems that the role finds in its settings."""
    role = ROOT / "roles/vmalert"
    known = load_yaml(role / "defaults/main.yml") | load_yaml(role / "vars/main.yml")
    values = {**known, "role_path": str(role), **variables}
    found: list[str] = role_templates.render("{{ __vmalert_problems }}", values)
    return found


def panels() -> dict[str, dict[str, Any]]:
    """Return the dashboard and the panel of each alert."""
    found: dict[str, dict[str, Any]] = load(ROOT / "roles/vmalert/vars/main.yml")[
        "__vmalert_panels"
    ]
    return found


def key(rule: dict[str, Any], every: list[dict[str, Any]]) -> str:
    """Return the name of a rule, with its severity if another rule has the same name."""
    name: str = rule["alert"]
    is_unique = sum(other["alert"] == name for other in every) == 1
    return name if is_unique else f"{name}/{rule['labels']['severity']}"


def documented() -> set[str]:
    """Return the metrics in docs/metrics.md; another test compares the page with the code."""
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


@dataclass(frozen=True)
class Case:
    """A unit test of one rule.

    Attributes:
        rule: The key of the rule.
        severity: The severity of the rule.
        series: Each series with its values at intervals of `step`, in vmalert-tool's notation.
        step: The interval between two values and between two evaluations.
        at: The time of the evaluation that is checked.
        alerts: The alerts of this name that must fire then; empty if the rule must not fire.
    """

    rule: str
    severity: str
    series: dict[str, str]
    step: str
    at: str
    alerts: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The name of the alert."""
        return self.rule.partition("/")[0]

    def metrics(self) -> set[str]:
        """Return the names of the metrics of the series."""
        return {_LABELS.sub("", series) for series in self.series}


def cases() -> dict[str, dict[str, Case]]:
    """Return the two cases `fires` and `quiet` by the key of the rule."""
    every = rules()
    severities = {key(rule, every): rule["labels"]["severity"] for rule in every}
    found: dict[str, dict[str, Case]] = {}
    for file in sorted(CASES.glob("*.yml")):
        for name, pair in load(file).items():
            assert name not in found, f"{file.name}: {name} is a duplicate"
            found[name] = {
                outcome: _case(name, severities.get(name, ""), document)
                for outcome, document in pair.items()
            }
    return found


def _case(name: str, severity: str, document: dict[str, Any]) -> Case:
    # An indented line continues the line before it.
    lines = re.sub(r"\n +", " ", document["series"]).splitlines()
    pairs = (line.rpartition("} ") for line in lines)
    return Case(
        rule=name,
        severity=severity,
        series={f"{series}}}": values for series, _, values in pairs},
        step=document.get("step", "1m"),
        at=document["at"],
        alerts=tuple(document.get("alerts", ())),
    )


def failures(folder: Path, selected: Iterable[Case], **variables: Any) -> str:
    """Return the failures that vmalert-tool reports; empty if there are none.

    vmalert-tool evaluates all rules of a file for each test, so each group has files of its own.

    Args:
        folder: A folder for the files.
        selected: The cases.
        **variables: Variables of the role that differ from their defaults.
    """
    groups = load(render(**variables))["groups"]
    files = []
    for group in groups:
        names = {rule["alert"] for rule in group["rules"]}
        own = [case for case in selected if case.name in names]
        for step in sorted({case.step for case in own}):
            tests = [_unit_test(case, group["rules"]) for case in own if case.step == step]
            file = folder / f"tests-{group['name']}-{step}.yml"
            files.append(write_tests(file, [group], tests, step=step))
    return run_tests(*files)


def write_tests(
    file: Path, groups: list[dict[str, Any]], tests: list[dict[str, Any]], *, step: str
) -> Path:
    """Write unit tests, and a file with the groups of rules that they test; return the former."""
    rules_file = file.with_name(f"rules-of-{file.name}")
    # JSON is YAML in which all texts are quoted, so that values such as 0x60 stay texts.
    rules_file.write_text(json.dumps({"groups": groups}), encoding="utf-8")
    document = {"rule_files": [rules_file.name], "evaluation_interval": step, "tests": tests}
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def run_tests(*files: Path) -> str:
    """Run files of unit tests with vmalert-tool; return the failures, or an empty text."""
    options = [f"--files={file}" for file in files]
    # vmalert-tool adds the name of the group to each alert, as vmalert does. The tests omit it.
    command = [VMALERT_TOOL, "unittest", "--disableAlertgroupLabel", *options]
    # It keeps its data below the folder for temporary files, where runs would disturb each other.
    with _LOCK:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=files[0].parent,
            env={"TMPDIR": str(files[0].parent)},
        )
    output = done.stdout + done.stderr
    is_passed = done.returncode == 0 and output.count("SUCCESS") == len(files)
    return "" if is_passed else output or f"vmalert-tool ended with {done.returncode}"


def _unit_test(case: Case, rule_list: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a case as a unit test for vmalert-tool."""
    test: dict[str, Any] = {
        "name": f"{case.rule} {'fires' if case.alerts else 'does not fire'}",
        "interval": case.step,
        "input_series": [
            {"series": series, "values": values} for series, values in case.series.items()
        ],
    }
    if case.alerts:
        expected = [_expected(alert, case, rule_list) for alert in case.alerts]
        test["alert_rule_test"] = [
            {"eval_time": case.at, "alertname": case.name, "exp_alerts": expected}
        ]
    else:
        selector = f'alertname="{case.name}", severity="{case.severity}", alertstate="firing"'
        query = {
            "expr": f"count(ALERTS{{{selector}}}) or vector(0)",
            "eval_time": case.at,
            "exp_samples": [{"labels": "{}", "value": 0}],
        }
        test["metricsql_expr_test"] = [query]
    return test


def _expected(
    alert: dict[str, Any], case: Case, rule_list: list[dict[str, Any]]
) -> dict[str, dict[str, str]]:
    """Return the labels and annotations of an alert that must fire.

    Texts that contain no template are those of the rule.
    """
    labels = {"severity": case.severity, **alert.get("labels", {})}
    rule = next(rule for rule in rule_list if rule["alert"] == case.name)
    annotations = {**rule["annotations"], "summary": alert["summary"]}
    if "description" in alert:
        annotations["description"] = alert["description"]
    link = annotations["dashboard_url"]
    annotations["dashboard_url"] = link.replace("{{ $labels.node }}", labels.get("node", ""))
    return {"exp_labels": labels, "exp_annotations": annotations}
