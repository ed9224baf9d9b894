"""Monitoring: every target is up, and every query returns data."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from deployed_farm import ROOT, Machine
from ruamel.yaml import YAML

testinfra_hosts = ["ansible://monitoring"]

RULES = ROOT / "roles/vmalert/files/rules.yml"
DASHBOARD = ROOT / "roles/grafana/files/dashboards/farm.json"
SELECTOR = re.compile(r"\b(?:up|ffrtmp_[a-z_]+)(?:\{[^}]*\})?")


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        target["expr"].replace("$node", ".*").replace("$__rate_interval", "1m")
        for panel in panels
        for target in panel.get("targets", [])
    ]


def rule_selectors() -> list[str]:
    rules = [rule for group in load(RULES)["groups"] for rule in group["rules"]]
    found = {selector for rule in rules for selector in SELECTOR.findall(rule["expr"])}
    # These metrics exist only if the farm has a revocation list.
    return sorted(name for name in found if not name.startswith("ffrtmp_revocation_list_"))


def test_every_target_is_up(machine: Machine) -> None:
    answer = machine.request("https://127.0.0.1:8428/api/v1/targets", certificate=True)
    targets = answer.json()["data"]["activeTargets"]
    down = {t["scrapeUrl"]: t["lastError"] for t in targets if t["health"] != "up"}
    assert not down
    jobs = [target["labels"]["job"] for target in targets]
    assert jobs.count("cpu") == jobs.count("gpu") == jobs.count("ffmpeg") == 2
    assert jobs.count("docker_stats") == 1
    assert {"master", "results", "health", "nginx"} <= set(jobs)
    assert {"victoria_metrics", "vmalert", "alertmanager"} <= set(jobs)


def test_the_metrics_are_backed_up_with_the_rights_of_the_service(machine: Machine) -> None:
    backup = machine.host.run("systemctl start ffrtmp-victoria-metrics-backup")
    assert backup.rc == 0, machine.host.run(
        "journalctl --unit ffrtmp-victoria-metrics-backup --output cat --lines 20"
    ).stdout
    listed = machine.host.run("ls /var/backups/ffmpeg-rtmp-victoria-metrics")
    assert "backup_complete.ignore" in listed.stdout


def test_series_of_results_are_imported(machine: Machine) -> None:
    found = {}
    for metric in ("ffrtmp_sample_host_cpu_ratio", "ffrtmp_sample_frames_per_second"):
        query = urlencode({"query": f"count_over_time({metric}[3h])"})
        url = f"https://127.0.0.1:8428/api/v1/query?{query}"
        answer = machine.request(url, certificate=True).json()["data"]["result"]
        found[metric] = {
            (series["metric"]["node"], series["metric"]["kind"]): int(series["value"][1])
            for series in answer
        }
    for node in ("worker1", "worker2"):
        assert found["ffrtmp_sample_host_cpu_ratio"][node, "transcode"] >= 2
        assert found["ffrtmp_sample_frames_per_second"][node, "transcode"] >= 1


def test_there_are_queries() -> None:
    assert len(dashboard_queries()) >= 8
    assert len(rule_selectors()) >= 5


@pytest.mark.parametrize("query", [*dashboard_queries(), *rule_selectors()])
def test_every_query_is_answered_with_data(machine: Machine, query: str) -> None:
    url = "https://127.0.0.1:8428/api/v1/query?" + urlencode({"query": query})
    answer = machine.request(url, certificate=True)
    assert answer.status == 200, answer.body
    assert answer.json()["data"]["result"], f"no data for {query}"


def test_the_rules_are_evaluated_and_do_not_fire(machine: Machine) -> None:
    rules = machine.request("https://127.0.0.1:8880/api/v1/rules", certificate=True).json()
    loaded = [rule for group in rules["data"]["groups"] for rule in group["rules"]]
    assert len(loaded) >= 5
    assert [rule["name"] for rule in loaded if rule.get("lastError")] == []
    firing = [rule["name"] for rule in loaded if rule["state"] == "firing"]
    assert firing == ["Watchdog"]
