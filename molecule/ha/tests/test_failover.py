"""Failover: the results of a run whose master was killed, and the load balancer afterwards."""

import json
from typing import Any

import pytest

from .conftest import RESULTS, Machine

testinfra_hosts = ["ansible://load_balancer"]

JOBS = 8


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    """Return the results of the only run."""
    (folder,) = RESULTS.glob("[0-9]*")
    found = json.loads((folder / "results.json").read_text())["results"]
    assert isinstance(found, list)
    return found


def test_every_job_has_exactly_one_result(results: list[dict[str, Any]]) -> None:
    assert len({result["job_id"] for result in results}) == len(results) == JOBS
    assert len({(r["scenario"]["name"], r["repeat"]) for r in results}) == JOBS


def test_the_master_has_only_the_fetched_results(
    machine: Machine, operator: str, results: list[dict[str, Any]]
) -> None:
    stored = machine.request(f"https://{machine.address}:8080/v1/results?limit=100", token=operator)
    found = [result["job_id"] for result in stored.json()["items"]]
    assert sorted(found) == sorted(result["job_id"] for result in results)


def test_both_masters_are_up_again(machine: Machine) -> None:
    services = ("api", "results", "qoe", "cost", "health")
    masters = ("master1", "master2")
    assert machine.balanced() == {(s, m): True for s in services for m in masters}


def test_each_masters_certificate_has_the_load_balancers_name(machine: Machine) -> None:
    for _ in range(4):
        assert machine.request(f"https://{machine.address}:8080/readyz").status == 200


@pytest.mark.parametrize("port", [9502, 9503, 9504, 9600])
def test_the_exporters_are_reached_through_the_load_balancer(machine: Machine, port: int) -> None:
    url = f"https://{machine.address}:{port}/metrics"
    assert machine.request(url).status == 0
    answer = machine.request(url, certificate=True)
    assert answer.status == 200
    assert "ffrtmp_exporter_build_info" in answer.body


def test_the_metrics_of_haproxy_require_a_certificate(machine: Machine) -> None:
    url = f"https://{machine.address}:8405/metrics"
    assert machine.request(url).status == 0
    assert machine.request(url, certificate=True).status == 200


def test_every_target_is_scraped(machine: Machine) -> None:
    answer = machine.request("https://127.0.0.1:8428/api/v1/targets", certificate=True)
    targets = answer.json()["data"]["activeTargets"]
    assert {t["scrapeUrl"]: t["lastError"] for t in targets if t["health"] != "up"} == {}
    assert {"master", "results", "qoe", "cost", "health", "haproxy", "postgresql"} <= {
        target["labels"]["job"] for target in targets
    }


def test_haproxy_accepts_its_configuration(machine: Machine) -> None:
    checked = machine.host.run("haproxy -c -f /etc/haproxy/haproxy.cfg")
    assert checked.rc == 0, checked.stderr
    assert machine.host.service("haproxy").is_enabled
