"""Tests of the alert rules, and of the metrics that the rules and the dashboard query."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import promtool
import pytest
from ruamel.yaml import YAML

RULES = Path("roles/vmalert/files/rules.yml")
DASHBOARD = Path("roles/grafana/files/dashboards/farm.json")
UNIT_TESTS = Path("tests/deploy/alert_rules.yml")

VMALERT = Path(".cache/victoria-metrics/usr/bin/vmalert")

_METRIC = re.compile(r"\bffrtmp_[a-z_]+")
_SUFFIX = re.compile(r"_(?:bucket|count|sum)$")


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def rules(root: Path) -> list[dict[str, Any]]:
    return [rule for group in load(root / RULES)["groups"] for rule in group["rules"]]


def names(root: Path) -> set[str]:
    return {rule["alert"] for rule in rules(root)}


def documented(root: Path) -> set[str]:
    """Return the metrics in docs/metrics.md; another test compares the page with the code."""
    text = (root / "docs/metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def test_the_rules_pass_their_unit_tests(root: Path) -> None:
    assert promtool.failures(root / UNIT_TESTS) == ""


def test_promtool_finds_a_broken_rule(root: Path, tmp_path: Path) -> None:
    broken = (root / RULES).read_text().replace("< 0.1", "< 0.01")
    (tmp_path / "rules.yml").write_text(broken)
    tests = (root / UNIT_TESTS).read_text().replace(f"../../{RULES}", "rules.yml")
    (tmp_path / "tests.yml").write_text(tests)
    assert "DiskNearlyFull" in promtool.failures(tmp_path / "tests.yml")


def test_every_alert_is_tested_inactive_and_firing(root: Path) -> None:
    tests = load(root / UNIT_TESTS)["tests"]
    quiet = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", [])
        if not case.get("exp_alerts")
    }
    firing = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", [])
        if case.get("exp_alerts")
    }
    samples = [
        sample["labels"]
        for test in tests
        for query in test.get("promql_expr_test", [])
        for sample in query["exp_samples"]
    ]
    firing |= {name for labels in samples for name in re.findall(r'alertname="(\w+)"', labels)}
    assert firing == names(root)
    assert quiet == names(root) - {"Watchdog"}


def anchors(page: Path) -> set[str]:
    """Return the anchors of the sections of a page."""
    headings = re.findall(r"^##+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_refers_to_its_section_of_the_runbook(root: Path) -> None:
    for rule in rules(root):
        annotations = rule["annotations"]
        assert set(annotations) == {"summary", "description", "runbook_url"}, rule["alert"]
        page, _, anchor = annotations["runbook_url"].partition("#")
        assert anchor == rule["alert"].lower()
        assert anchor in anchors(root / page)
        assert rule["labels"]["severity"] in ("none", "warning", "critical")


def test_every_section_of_the_runbook_has_an_alert(root: Path) -> None:
    assert anchors(root / "docs/alerts.md") == {name.lower() for name in names(root)}


def test_vmalert_accepts_the_rules(root: Path) -> None:
    command = [root / VMALERT, "-dryRun", f"-rule={root / RULES}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", [RULES, DASHBOARD])
def test_only_existing_metrics_are_queried(root: Path, file: Path) -> None:
    if file == RULES:
        queries = [rule["expr"] for rule in rules(root)]
    else:
        panels = json.loads((root / file).read_text())["panels"]
        queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    queried = {_SUFFIX.sub("", name) for query in queries for name in _METRIC.findall(query)}
    assert len(queried) > 5
    assert queried <= documented(root)
