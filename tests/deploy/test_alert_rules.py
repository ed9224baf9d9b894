"""Tests of the alert rules with vmalert-tool, and of everything that each rule must have."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import alert_rules
import monitoring_programs
import promtool
import pytest
import victoria_metrics
from role_templates import ROOT
from ruamel.yaml import YAML

BUDGETS = {"vmalert_energy_budget_kwh_per_day": 10.0, "vmalert_cost_budget_per_day": 20.0}
"""Variables without which two rules cannot fire."""

DASHBOARDS = ROOT / "roles/grafana/files/dashboards"
UIDS = {f"ffrtmp-{name}" for name in ("overview", "run", "nodes", "live", "energy", "queue")}

_OWN_METRIC = re.compile(r"\bffrtmp_[a-z_]+")
_SUFFIX = re.compile(r"_(?:bucket|count|sum)$")
_SELECTOR = re.compile(r"\b(\w+)\{([^}]*)\}")
_METRIC = re.compile(
    r"\b(?:up|(?:ffrtmp|node|vm|vmalert|alertmanager|promscrape|scrape|process)_\w+)\b"
)


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    return alert_rules.rules(**BUDGETS)


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, alert_rules.Case]]:
    return alert_rules.cases()


@pytest.mark.slow
def test_the_rules_pass_their_unit_tests(
    tmp_path: Path, cases: dict[str, dict[str, alert_rules.Case]]
) -> None:
    every = [case for pair in cases.values() for case in pair.values()]
    assert alert_rules.failures(tmp_path, every, **BUDGETS) == ""


def test_every_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(
    rules: list[dict[str, Any]], cases: dict[str, dict[str, alert_rules.Case]]
) -> None:
    assert set(cases) == {alert_rules.key(rule, rules) for rule in rules}
    for name, pair in cases.items():
        assert set(pair) == {"fires", "quiet"}, name
        severity = pair["fires"].severity
        severities = [
            alert.get("labels", {}).get("severity", severity) for alert in pair["fires"].alerts
        ]
        assert severity in severities, name
        assert not pair["quiet"].alerts, name
        # A rule also stays quiet if the series have other names than those that it queries.
        assert pair["fires"].metrics() == pair["quiet"].metrics(), name


def test_the_tests_find_a_broken_rule_and_thresholds_come_from_variables(
    tmp_path: Path, cases: dict[str, dict[str, alert_rules.Case]]
) -> None:
    case = cases["DiskNearlyFull"]["fires"]
    assert alert_rules.failures(tmp_path, [case]) == ""
    assert "DiskNearlyFull" in alert_rules.failures(
        tmp_path, [case], vmalert_master_disk_free_ratio_min=0.01
    )


def test_requests_that_all_fail_since_the_start_are_reported(
    tmp_path: Path, cases: dict[str, dict[str, alert_rules.Case]]
) -> None:
    labels = 'job="master", instance="m1:9507", route="/v1/claims", status="503"'
    case = dataclasses.replace(
        cases["MasterFails"]["fires"],
        series={f"ffrtmp_master_http_requests_total{{{labels}}}": "0+10x30"},
        alerts=({"summary": "100% of the requests to the master fail"},),
    )
    assert alert_rules.failures(tmp_path, [case]) == ""


def test_the_energy_of_gpus_counts_without_that_of_cpus(
    tmp_path: Path, cases: dict[str, dict[str, alert_rules.Case]]
) -> None:
    labels = 'job="gpu", instance="w1:9511", node="w1", gpu="GPU-1"'
    case = dataclasses.replace(
        cases["EnergyBudgetExceeded"]["fires"],
        series={f"ffrtmp_gpu_energy_joules_total{{{labels}}}": "0+900000x60"},
        alerts=({"summary": "The workers have used 12 kWh within 24 hours"},),
    )
    assert alert_rules.failures(tmp_path, [case], **BUDGETS) == ""


def test_every_expression_names_its_job(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        selectors = _SELECTOR.findall(rule["expr"])
        names = _METRIC.findall(re.sub(r"\{[^}]*\}|\bby \([^)]*\)|\"[^\"]*\"", "", rule["expr"]))
        assert len(selectors) == len(names) > 0, rule["alert"]
        assert all(re.search(r"\bjob=~?\"", labels) for _, labels in selectors), rule["alert"]


def test_the_targets_of_a_rule_may_send_its_metrics(rules: list[dict[str, Any]]) -> None:
    """VictoriaMetrics drops all metrics that the kind of a target does not have."""
    allowed: dict[str, list[str]] = victoria_metrics.role_value(
        "victoria_metrics", "{{ __victoria_metrics_names }}", {}
    )
    compared = 0
    for rule in rules:
        for metric, labels in _SELECTOR.findall(rule["expr"]):
            job = re.search(r'\bjob=~?"([^"]+)"', labels)
            # VictoriaMetrics adds some metrics itself, and the importer writes to it directly.
            if job and job[1] != "series_importer" and not metric.startswith(("up", "scrape_")):
                own = [names for kind, names in allowed.items() if re.fullmatch(job[1], kind)]
                found = any(re.fullmatch("|".join(names), metric) for names in own)
                assert found, f"{rule['alert']}: {metric} of {job[1]}"
                compared += 1
    assert compared > 60


def test_every_rule_has_the_annotations_and_a_documented_severity(
    rules: list[dict[str, Any]],
) -> None:
    page = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    keys = ["summary", "description", "runbook_url", "dashboard_url"]
    for rule in rules:
        assert list(rule["annotations"]) == keys, rule["alert"]
        assert all(rule["annotations"].values()), rule["alert"]
        assert rule["labels"]["severity"] in documented, rule["alert"]
        assert rule["alert"] in page, rule["alert"]


def test_only_watchdog_has_the_severity_none(rules: list[dict[str, Any]]) -> None:
    none = [rule["alert"] for rule in rules if rule["labels"]["severity"] == "none"]
    assert none == ["Watchdog"]


def test_a_rule_without_expected_jobs_is_omitted() -> None:
    names = [rule["alert"] for rule in alert_rules.rules(vmalert_expected_jobs=[])]
    assert "TargetDown" in names
    assert "TargetMissing" not in names


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"vmalert_jobs_faild_max": 1}, "has no vmalert_jobs_faild_max"),
        ({"vmalert_runbook_base_url": "https://a'/"}, "without quotes and spaces"),
        ({"vmalert_verdicts_ratio_max": 20}, "vmalert_verdicts_ratio_max must be a share"),
        ({"vmalert_queue_starvation_minutes": 0}, "vmalert_queue_starvation_minutes must be at"),
        ({"vmalert_evaluation_interval_s": 0}, "vmalert_evaluation_interval_s must be at least 1"),
        (
            {"vmalert_certificate_critical_days": 40},
            "vmalert_certificate_critical_days must not exceed vmalert_certificate_warning_days",
        ),
    ],
)
def test_invalid_settings_are_refused_with_the_cause(
    settings: dict[str, Any], problem: str
) -> None:
    (found,) = alert_rules.problems(**settings)
    assert problem in found


def test_the_defaults_are_valid() -> None:
    assert alert_rules.problems() == []


@pytest.mark.parametrize("release", monitoring_programs.RELEASES)
def test_vmalert_accepts_the_rules(tmp_path: Path, release: str) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(alert_rules.render(**BUDGETS))
    program = monitoring_programs.victoria_metrics_programs(release) / "vmalert"
    command = [program, "-dryRun", f"-rule={file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file.write_text(alert_rules.render(vmalert_jobs_failed_max="many)"))
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_the_rules_are_also_valid_for_prometheus(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(alert_rules.render())
    assert promtool.invalid_rules(file) == ""


def test_only_existing_metrics_are_queried(rules: list[dict[str, Any]]) -> None:
    queried = {
        _SUFFIX.sub("", name) for rule in rules for name in _OWN_METRIC.findall(rule["expr"])
    }
    assert len(queried) > 30
    assert queried <= alert_rules.documented()


@pytest.mark.slow
@pytest.mark.parametrize("release", monitoring_programs.RELEASES)
def test_the_metrics_of_the_monitoring_exist(
    tmp_path: Path, rules: list[dict[str, Any]], release: str
) -> None:
    config = "{route: {receiver: a, group_wait: 0s}, receivers: [{name: a}]}"
    rule = "groups: [{name: a, rules: [{alert: A, expr: vector(1)}]}]"
    with (
        monitoring_programs.run_victoria_metrics(release, tmp_path) as metrics,
        monitoring_programs.run_alertmanager(release, tmp_path, config) as alertmanager,
        monitoring_programs.run_vmalert(
            release, tmp_path, rule, datasource=metrics, notifier=alertmanager
        ) as vmalert,
    ):
        pages = [client.get("/metrics").text for client in (metrics, vmalert, alertmanager)]
        found = set(re.findall(r"^(\w+)", "\n".join(pages), re.MULTILINE))
    queried = {
        name
        for rule in rules
        for name in _METRIC.findall(rule["expr"])
        if name.startswith(("vm_", "vmalert_", "alertmanager_"))
    }
    assert len(queried) >= 5
    assert queried - found == set()


def test_the_metrics_of_node_exporter_exist(rules: list[dict[str, Any]], tmp_path: Path) -> None:
    with monitoring_programs.run_node_exporter(tmp_path) as exporter:
        found = set(re.findall(r"^(\w+)", exporter.get("/metrics").text, re.MULTILINE))
    queried = {
        name for rule in rules for name in _METRIC.findall(rule["expr"]) if name.startswith("node_")
    }
    assert len(queried) >= 3
    # Tests run without systemd; molecule/default queries this metric.
    assert queried - found == {"node_systemd_units"}


def test_every_alert_has_a_panel(rules: list[dict[str, Any]]) -> None:
    panels = alert_rules.panels()
    assert set(panels) == {rule["alert"] for rule in rules}
    assert {panel["uid"] for panel in panels.values()} <= UIDS
    for rule in rules:
        panel = panels[rule["alert"]]
        link = f"https://127.0.0.1:3000/d/{panel['uid']}?viewPanel={panel['panel']}"
        found = rule["annotations"]["dashboard_url"]
        assert found.removesuffix("&var-node={{ $labels.node }}") == link


def test_the_panels_of_the_alerts_exist() -> None:
    dashboards = {}
    for file in DASHBOARDS.glob("*.json"):
        document = json.loads(file.read_text(encoding="utf-8"))
        nested = [panel.get("panels", []) for panel in document["panels"]]
        panels = [*document["panels"], *(panel for inner in nested for panel in inner)]
        dashboards[document["uid"]] = {panel["id"] for panel in panels}
    for alert, panel in alert_rules.panels().items():
        assert panel["panel"] in dashboards[panel["uid"]], alert


def test_links_follow_the_variables() -> None:
    rule = alert_rules.rules(
        vmalert_runbook_base_url="https://git.example/docs/runbooks",
        vmalert_dashboard_base_url="https://grafana.example/",
    )[0]
    assert rule["annotations"]["runbook_url"] == "https://git.example/docs/runbooks/Watchdog.md"
    assert rule["annotations"]["dashboard_url"].startswith("https://grafana.example/d/ffrtmp-")


def test_the_file_of_the_rules_is_valid_yaml_without_leftovers() -> None:
    text = alert_rules.render()
    assert "<<" not in text
    assert "{%" not in text
    assert YAML(typ="safe").load(text)["groups"]
    assert max(map(len, text.splitlines())) <= 120
