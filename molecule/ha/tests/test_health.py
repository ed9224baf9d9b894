"""The exporters health of a farm with several masters: all components work."""

import pytest
from polling import wait_until
from prometheus_client.parser import text_string_to_metric_families

from .conftest import Machine

testinfra_hosts = ["ansible://load_balancer"]

Components = dict[tuple[str, str], float]


def components(machine: Machine, port: int, metric: str) -> Components:
    """Return the values of a metric by component and instance."""
    answer = machine.request(f"https://{machine.address}:{port}/metrics", certificate=True)
    assert answer.status == 200, answer.body
    return {
        (sample.labels["component"], sample.labels["instance"]): sample.value
        for family in text_string_to_metric_families(answer.body)
        for sample in family.samples
        if sample.name == metric
    }


# That of a master is reached through the load balancer, and that of the monitoring host directly.
@pytest.mark.parametrize(
    ("port", "names"),
    [
        (9600, {"master", "health", "haproxy", "postgresql", "postgresql_exporter", "node", "cpu"}),
        (9601, {"victoria_metrics", "vmalert", "alertmanager"}),
    ],
)
def test_all_components_work(machine: Machine, port: int, names: set[str]) -> None:
    def failed() -> list[tuple[str, str]]:
        success = components(machine, port, "ffrtmp_probe_success")
        assert names <= {component for component, _ in success}
        return [component for component, value in success.items() if not value]

    # Each component is checked every 30 s, and some have been restarted before.
    wait_until(lambda: not failed(), lambda: str(failed()), interval_s=5)
    matches = components(machine, port, "ffrtmp_probe_version_matches")
    assert [component for component, value in matches.items() if not value] == []
    expiries = components(machine, port, "ffrtmp_probe_certificate_not_after_timestamp_seconds")
    assert names <= {component for component, _ in expiries}
