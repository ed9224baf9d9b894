"""Test of the whole way of an alert: scrape, rules, Alertmanager, and a webhook."""

import itertools
import json
import re
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import alert_rules
import httpx
import monitoring_programs
import pytest
import role_template
from monitoring_programs import HttpServer
from polling import wait_until

pytestmark = pytest.mark.slow

_SAMPLE_LIMIT = 50
# The master's list of targets adds this label.
_LABELS = {"/cpu": {"node": "w1"}}

HEALTHY = {
    "/master": """\
ffrtmp_master_jobs_queued{priority="medium",reason="ready"} 0
ffrtmp_master_disk_free_bytes 50
ffrtmp_master_disk_size_bytes 100
""",
    "/health": """\
ffrtmp_master_ready 1
ffrtmp_node_up{node="w1"} 1
ffrtmp_probe_certificate_not_after_timestamp_seconds{component="grafana"} 9e9
""",
    "/cpu": 'ffrtmp_node_temperature_celsius{chip="cpu",sensor="1"} 50\n',
}
FAULTY = {
    "/master": """\
ffrtmp_master_jobs_queued{priority="medium",reason="ready"} 3
ffrtmp_master_disk_free_bytes 5
ffrtmp_master_disk_size_bytes 100
""",
    "/health": """\
ffrtmp_master_ready 1
ffrtmp_node_up{node="w1"} 0
ffrtmp_probe_certificate_not_after_timestamp_seconds{component="grafana"} 1
""",
    # Many more series than before.
    "/cpu": "".join(f'ffrtmp_a{{b="{number}"}} 1\n' for number in range(10 * _SAMPLE_LIMIT)),
}
ALERTS = {
    ("NodeOffline", "warning"),
    ("DiskNearlyFull", "critical"),
    ("CertificateExpiresSoon", "critical"),
    ("ScrapeLimited", "warning"),
}


class Pages:
    """The pages of the exporters, which can be replaced at once."""

    def __init__(self, pages: dict[str, str]) -> None:
        """Serve pages by their paths."""
        self._lock = threading.Lock()
        self._pages = pages

    def replace(self, pages: dict[str, str]) -> None:
        """Serve other pages."""
        with self._lock:
            self._pages = pages

    def __call__(self, path: str) -> bytes | None:
        """Return the page at a path."""
        with self._lock:
            page = self._pages.get(path)
        return None if page is None else page.encode()


def scrape_config(address: str) -> str:
    """Return a configuration that scrapes each page every second as a job of its own."""
    lines = ["global: {scrape_interval: 1s, scrape_timeout: 1s}", "scrape_configs:"]
    for path in HEALTHY:
        lines.append(
            f"  - {{job_name: {path[1:]}, metrics_path: {path}, sample_limit: {_SAMPLE_LIMIT}, "
            f"static_configs: [{{targets: ['{address}'], labels: {_LABELS.get(path, {})}}}]}}"
        )
    return "\n".join(lines)


def delivered(receiver: HttpServer, status: str) -> set[tuple[str, str]]:
    """Return the name and severity of the alerts that were delivered with a status."""
    alerts: list[dict[str, Any]] = receiver.alerts("/people")
    return {
        (alert["labels"]["alertname"], alert["labels"]["severity"])
        for alert in alerts
        if alert["status"] == status
    }


def active(alertmanager: httpx.Client) -> set[str]:
    """Return the names of the alerts that Alertmanager considers as active."""
    return {a["labels"]["alertname"] for a in alertmanager.get("/api/v2/alerts").json()}


@pytest.mark.parametrize("release", monitoring_programs.FIRST_RELEASE_UNLESS_DEEP)
def test_alerts_and_their_resolution_reach_a_webhook(tmp_path: Path, release: str) -> None:
    rules = alert_rules.render(
        vmalert_expected_jobs=[],
        vmalert_runbook_base_url="https://git.example/docs/runbooks",
        vmalert_dashboard_base_url="https://grafana.example",
    )
    # The conditions must hold for a second instead of minutes.
    rules, shortened = re.subn(r"\bfor: \d+[mh]$", "for: 1s", rules, flags=re.MULTILINE)
    assert shortened > 30
    pages = Pages(HEALTHY)
    with HttpServer(pages) as exporters, HttpServer(lambda _: b"") as receiver:
        settings = role_template.render(
            "alertmanager",
            "alertmanager.yml.j2",
            alertmanager_webhook_url=f"{receiver.url}/people",
            alertmanager_watchdog_url=f"{receiver.url}/watchdog",
            alertmanager_group_wait="1s",
            alertmanager_group_interval="1s",
            alertmanager_watchdog_interval="1s",
        )
        scrapes = scrape_config(exporters.url.removeprefix("http://"))
        with (
            monitoring_programs.run_victoria_metrics(release, tmp_path, scrapes) as metrics,
            monitoring_programs.run_alertmanager(release, tmp_path, settings) as alertmanager,
            monitoring_programs.run_vmalert(
                release, tmp_path, rules, datasource=metrics, notifier=alertmanager
            ),
        ):
            wait_until(lambda: receiver.messages("/watchdog"), "the watchdog arrives")
            assert delivered(receiver, "firing") == set()
            pages.replace(FAULTY)
            wait_until(lambda: delivered(receiver, "firing") >= ALERTS, "all alerts arrive")
            pages.replace(HEALTHY)
            wait_until(lambda: delivered(receiver, "resolved") >= ALERTS, "all resolutions arrive")
            # The watchdog ends when no target can be scraped.
            pages.replace({})
            wait_until(lambda: "Watchdog" not in active(alertmanager), "the watchdog ends")
        alerts = receiver.alerts("/people")
        assert "Watchdog" not in {alert["labels"]["alertname"] for alert in alerts}
        assert {a["labels"]["alertname"] for a in receiver.alerts("/watchdog")} == {"Watchdog"}
    (offline, *_) = (a for a in alerts if a["labels"]["alertname"] == "NodeOffline")
    annotations = offline["annotations"]
    assert annotations["summary"] == "Node w1 is offline while jobs are queued"
    assert annotations["runbook_url"] == "https://git.example/docs/runbooks/NodeOffline.md"
    assert annotations["dashboard_url"].startswith("https://grafana.example/d/ffrtmp-")
    assert annotations["dashboard_url"].endswith("&var-node=w1")


@pytest.mark.parametrize("release", monitoring_programs.FIRST_RELEASE_UNLESS_DEEP)
def test_the_watchdog_ends_when_the_database_stops(tmp_path: Path, release: str) -> None:
    rules = [rule for rule in alert_rules.rules() if rule["alert"] == "Watchdog"]
    config = "{route: {receiver: a}, receivers: [{name: a}]}"
    with (
        HttpServer(Pages(HEALTHY)) as exporters,
        monitoring_programs.run_alertmanager(release, tmp_path, config) as alertmanager,
        ExitStack() as database,
    ):
        scrapes = scrape_config(exporters.url.removeprefix("http://"))
        metrics = database.enter_context(
            monitoring_programs.run_victoria_metrics(release, tmp_path, scrapes)
        )
        with monitoring_programs.run_vmalert(
            release,
            tmp_path,
            json.dumps({"groups": [{"name": "a", "rules": rules}]}),
            datasource=metrics,
            notifier=alertmanager,
        ) as vmalert:
            wait_until(lambda: "Watchdog" in active(alertmanager), "the watchdog fires")
            database.close()
            wait_until(lambda: "Watchdog" not in active(alertmanager), "the watchdog ends")
            assert vmalert.get("/health").status_code == 200


@pytest.mark.parametrize("release", monitoring_programs.RELEASES)
def test_a_target_with_too_many_series_is_reported(tmp_path: Path, release: str) -> None:
    """Each release of VictoriaMetrics counts the dropped samples in metrics of its own."""
    (rule,) = (rule for rule in alert_rules.rules() if rule["alert"] == "ScrapeLimited")
    counter = itertools.count()

    def page(_: str) -> bytes:
        return f'ffrtmp_a{{b="{next(counter)}"}} 1\n'.encode()

    with HttpServer(page) as exporter:
        address = exporter.url.removeprefix("http://")
        scrapes = (
            "global: {scrape_interval: 200ms}\nscrape_configs:\n"
            f"  - {{job_name: gpu, series_limit: 5, static_configs: [{{targets: ['{address}']}}]}}"
        )
        with monitoring_programs.run_victoria_metrics(release, tmp_path, scrapes) as client:

            def reported() -> list[tuple[str, str]]:
                answer = client.get("/api/v1/query", params={"query": rule["expr"]}).json()
                found = [series["metric"] for series in answer["data"]["result"]]
                return [(labels["job"], labels["instance"]) for labels in found]

            wait_until(reported, "the target is reported")
            assert reported() == [("gpu", address)]
