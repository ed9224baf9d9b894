"""Monitoring: every target is up, and every query returns data."""

import re
from urllib.parse import urlencode

import alert_rules
import pytest
from deployed_farm import Machine

testinfra_hosts = ["ansible://monitoring"]

SELECTOR = re.compile(r"\b([a-z]\w*)\{[^}]*(job=~?\"[^\"]+\")[^}]*\}")
# Metrics that this farm does not have: it has no revocation list and no GPU, and virtual CPUs do
# not count thermal throttling. Each release of VictoriaMetrics counts the samples of additional
# series in another metric; tests/deploy/test_alert_delivery.py runs both releases.
ABSENT = (
    *("ffrtmp_revocation_list_", "ffrtmp_gpu_", "ffrtmp_node_package_throttles_"),
    *("scrape_series_limit_samples_dropped", "promscrape_series_limit_rows_dropped_total"),
)


def rule_selectors() -> list[str]:
    """Return the metrics of the rules with their jobs. Other labels may have other values here."""
    found = {pair for rule in alert_rules.rules() for pair in SELECTOR.findall(rule["expr"])}
    present = {(name, job) for name, job in found if not name.startswith(ABSENT)}
    return sorted(f"{name}{{{job}}}" for name, job in present)


def test_every_target_is_up(machine: Machine) -> None:
    answer = machine.request("https://127.0.0.1:8428/api/v1/targets", certificate=True)
    targets = answer.json()["data"]["activeTargets"]
    down = {t["scrapeUrl"]: t["lastError"] for t in targets if t["health"] != "up"}
    assert not down
    jobs = [target["labels"]["job"] for target in targets]
    assert jobs.count("cpu") == jobs.count("gpu") == jobs.count("ffmpeg") == 2
    assert jobs.count("docker_stats") == 1
    assert {"master", "results", "qoe", "cost", "health", "nginx", "node"} <= set(jobs)
    assert {"victoria_metrics", "vmalert", "alertmanager"} <= set(jobs)


def test_the_metrics_are_backed_up_with_the_rights_of_the_service(machine: Machine) -> None:
    backup = machine.host.run("systemctl start ffrtmp-victoria-metrics-backup")
    assert backup.rc == 0, machine.host.run(
        "journalctl --unit ffrtmp-victoria-metrics-backup --output cat --lines 20"
    ).stdout
    listed = machine.host.run("ls /var/backups/ffmpeg-rtmp-victoria-metrics/latest/")
    assert "backup_complete.ignore" in listed.stdout


def test_series_of_results_are_imported(machine: Machine) -> None:
    found = {}
    for metric in ("ffrtmp_sample_host_cpu_ratio", "ffrtmp_sample_frames_per_second"):
        samples = f"max by (node, kind) (count_over_time({metric}[3h]))"
        query = urlencode({"query": samples})
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
    names = {selector.partition("{")[0] for selector in rule_selectors()}
    assert len(names) >= 40
    for prefix in ("ffrtmp_", "node_", "vm_", "vmalert_", "alertmanager_", "scrape_", "process_"):
        assert any(name.startswith(prefix) for name in names), prefix


@pytest.mark.parametrize("query", rule_selectors())
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
    firing = {rule["name"] for rule in loaded if rule["state"] == "firing"}
    # The encodes of the tests are so short that most of their results are degraded.
    assert firing - {"VerdictsWorsen"} == {"Watchdog"}
