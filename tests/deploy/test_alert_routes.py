"""Tests of Alertmanager's routes and inhibition, with Alertmanager itself."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import role_template
from polling import wait_until
from postgresql import free_port

_FOLDER = Path(__file__).resolve().parents[2] / ".cache/alertmanager/usr"
_PROGRAMS = _FOLDER / "bin"
# The package is not installed, but the program reads its templates below /usr/share.
_MOUNT = 'mount --bind "$0" /usr/share && exec "$@"'

MASTER = {"farm": "a", "instance": "m1:8080", "job": "master"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = role_template.render(
        "alertmanager",
        "alertmanager.yml.j2",
        alertmanager_webhook_url="http://127.0.0.1:9/people",
        alertmanager_watchdog_url="http://127.0.0.1:9/watchdog",
    )
    path = tmp_path_factory.mktemp("alertmanager") / "alertmanager.yml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def alertmanager(config: Path) -> Iterator[httpx.Client]:
    """A client of a running Alertmanager."""
    port = free_port()
    command = [
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, _FOLDER / "share"),
        _PROGRAMS / "prometheus-alertmanager",
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.path={config.parent}/data",
        "--cluster.listen-address=",
    ]
    with (
        subprocess.Popen(command, stderr=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        try:
            wait_until(lambda: _is_ready(client), "Alertmanager serves")
            yield client
        finally:
            process.kill()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.ConnectError:
        return False


def alert(name: str, severity: str = "warning", **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, "severity": severity, **labels}}


def inhibited(client: httpx.Client, name: str, farm: str) -> bool:
    answer = client.get("/api/v2/alerts", params={"filter": [f'alertname="{name}"']}).json()
    (found,) = (entry for entry in answer if entry["labels"].get("farm") == farm)
    return found["status"]["state"] == "suppressed"


def route(config: Path, **labels: str) -> str:
    arguments = [f"{name}={value}" for name, value in labels.items()]
    command = [_PROGRAMS / "amtool", "config", "routes", "test", f"--config.file={config}"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_amtool_accepts_the_settings_with_and_without_receivers(
    config: Path, tmp_path: Path
) -> None:
    without = tmp_path / "without.yml"
    without.write_text(role_template.render("alertmanager", "alertmanager.yml.j2"))
    for path in (config, without):
        subprocess.run([_PROGRAMS / "amtool", "check-config", path], check=True)


def test_the_alert_that_always_fires_does_not_reach_people(config: Path) -> None:
    assert route(config, alertname="Watchdog", severity="none") == "watchdog"
    for severity in ("warning", "critical"):
        assert route(config, alertname="NodeOffline", severity=severity, node="w1") == "farm"


def test_only_the_cause_of_several_alerts_is_reported(alertmanager: httpx.Client) -> None:
    server = {"certificate": "server", "instance": "w1:9510"}
    alerts = [
        alert("MasterNotReady", "critical", **MASTER),
        alert("TargetDown", **MASTER),
        alert("NodeOffline", farm="a", node="w1", instance="m1:9600", job="health"),
        alert("QueueStuck", farm="a"),
        alert("SourceStale", farm="a", instance="m1:9502", job="results"),
        alert("DiskNearlyFull", "critical", farm="a", instance="m2:8080"),
        # These belong to another farm, whose master is ready.
        alert("NodeOffline", farm="b", node="w1", instance="m1:9600", job="health"),
        alert("TargetDown", farm="b", instance="w1:9510", job="cpu"),
        alert("CertificateExpiresSoon", "critical", farm="a", **server),
        alert("CertificateExpiresSoon", farm="a", **server),
        alert("CertificateExpiresSoon", farm="b", **server),
    ]
    alertmanager.post("/api/v2/alerts", json=alerts).raise_for_status()
    wait_until(lambda: inhibited(alertmanager, "NodeOffline", "a"), "NodeOffline is inhibited")
    for name in ("NodeOffline", "QueueStuck", "SourceStale", "TargetDown"):
        assert inhibited(alertmanager, name, "a"), name
    for name, farm in (
        ("MasterNotReady", "a"),
        ("DiskNearlyFull", "a"),
        ("NodeOffline", "b"),
        ("TargetDown", "b"),
        ("CertificateExpiresSoon", "b"),
    ):
        assert not inhibited(alertmanager, name, farm), (name, farm)
    found = alertmanager.get(
        "/api/v2/alerts",
        params={"filter": ['alertname="CertificateExpiresSoon"', 'farm="a"']},
    ).json()
    states = {entry["labels"]["severity"]: entry["status"]["state"] for entry in found}
    assert states == {"critical": "active", "warning": "suppressed"}
