"""Access to the master and to the monitoring: TLS, certificates and tokens."""

import pytest
from deployed_farm import Machine

testinfra_hosts = ["ansible://master"]


def test_the_master_is_ready(machine: Machine) -> None:
    assert machine.request(f"https://{machine.address}:8080/readyz").status == 200


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/nodes", "/v1/results", "/metrics"])
def test_the_api_refuses_a_request_without_a_token(machine: Machine, path: str) -> None:
    answer = machine.request(f"https://{machine.address}:8080{path}")
    assert answer.status == 401
    assert answer.json()["status"] == 401


def test_the_api_refuses_a_wrong_token(machine: Machine, operator: str) -> None:
    url = f"https://{machine.address}:8080/v1/nodes"
    assert machine.request(url, token=operator[::-1]).status == 401
    assert machine.request(url, token=operator).status == 200


def test_the_api_refuses_plain_http(machine: Machine) -> None:
    answer = machine.request(f"http://{machine.address}:8080/healthz")
    assert answer.status == 0


def test_the_masters_certificate_is_only_from_the_farms_ca(machine: Machine) -> None:
    url = f"https://{machine.address}:8080/healthz"
    assert machine.request(url).status == 200
    answer = machine.request(url, ca="/etc/ssl/certs/ca-certificates.crt")
    assert answer.status == 0
    assert "CERTIFICATE_VERIFY_FAILED" in answer.body


def test_monitoring_is_served_over_tls_only(machine: Machine) -> None:
    for port, path in ((8428, "/health"), (8880, "/health"), (9093, "/-/healthy")):
        assert machine.request(f"https://127.0.0.1:{port}{path}", certificate=True).status == 200
        assert machine.request(f"http://127.0.0.1:{port}{path}").status in {0, 400}
