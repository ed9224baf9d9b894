"""The exporter health: all components of the farm work, and the hosts are in a good condition."""

import pytest
from deployed_farm import Machine
from prometheus_client.parser import text_string_to_metric_families

testinfra_hosts = ["ansible://master"]

WORKERS = {"worker1", "worker2"}
COMPONENTS = {
    *("master", "results", "qoe", "cost", "health", "cpu", "gpu", "ffmpeg", "docker_stats"),
    *("agent", "node", "victoria_metrics", "vmalert", "alertmanager", "nginx"),
}

Samples = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture
def samples(machine: Machine) -> Samples:
    """The values of each metric by the values of its labels."""
    answer = machine.request(f"https://{machine.address}:9600/metrics", certificate=True)
    assert answer.status == 200
    found: Samples = {}
    for family in text_string_to_metric_families(answer.body):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_all_components_work(samples: Samples) -> None:
    success = samples["ffrtmp_probe_success"]
    assert {labels for labels, value in success.items() if not value} == set()
    assert {component for component, _ in success} >= COMPONENTS
    assert {instance for component, instance in success if component == "agent"} == WORKERS
    hosts = [instance for component, instance in success if component == "node"]
    assert len(hosts) == 3


def test_all_components_run_the_deployed_version(samples: Samples) -> None:
    matches = samples["ffrtmp_probe_version_matches"]
    assert {labels for labels, value in matches.items() if not value} == set()
    assert {component for component, _ in matches} >= {
        *("master", "results", "cpu", "agent", "node", "alertmanager", "nginx")
    }


def test_clocks_and_units_of_the_workers_are_reported(samples: Samples) -> None:
    offsets = samples["ffrtmp_node_clock_offset_seconds"]
    assert {node for (node,) in offsets} == WORKERS
    # The machines share the clock of their host.
    for labels, offset_s in offsets.items():
        uncertainty_s = samples["ffrtmp_node_clock_offset_uncertainty_seconds"][labels]
        assert abs(offset_s) <= uncertainty_s + 0.1
    assert samples["ffrtmp_node_failed_units"] == {(worker,): 0 for worker in WORKERS}


def test_certificates_expire_in_the_future(samples: Samples) -> None:
    expiries = samples["ffrtmp_probe_certificate_not_after_timestamp_seconds"]
    assert len(expiries) == len(samples["ffrtmp_probe_success"]) - len(WORKERS)
    started_s = samples["process_start_time_seconds"][()]
    assert all(expiry_s > started_s + 30 * 86_400 for expiry_s in expiries.values())
