"""Tests of Alertmanager's routes, receivers, grouping and inhibition, with Alertmanager itself."""

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import monitoring_programs
import pytest
import role_template
from monitoring_programs import HttpServer
from polling import wait_until
from role_templates import ROOT, load_yaml, render
from ruamel.yaml import YAML

MASTER = {"farm": "a", "instance": "m1:9507", "job": "master"}
HEALTH = {"instance": "m1:9600", "job": "health"}
ROUTES = [
    {"receiver": "oncall", "matchers": ['severity="critical"'], "continue": True},
    {"receiver": "budget", "matchers": ['alertname=~".*BudgetExceeded"'], "repeat_interval": "1d"},
    {"receiver": "farm", "matchers": ['severity="critical"']},
]


@pytest.fixture(scope="module", params=monitoring_programs.RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files on the control node that contain the secrets, and on the host."""
    found = tmp_path_factory.mktemp("alertmanager")
    for name in ("token", "password", "routing-key"):
        (found / name).write_text(f"secret-{name}\n")
    return found


@pytest.fixture(scope="module")
def receiver() -> Iterator[HttpServer]:
    """A server to which all receivers post."""
    with HttpServer(lambda _: b"ok") as server:
        yield server


def receivers(folder: Path, url: str) -> list[dict[str, Any]]:
    """Return receivers of all kinds."""
    (folder / "slack-url").write_text(f"{url}/secret-slack-url\n")
    (folder / "webhook-url").write_text(f"{url}/secret-webhook-url\n")
    email = {"to": "a@example.org", "from": "b@example.org", "smarthost": "127.0.0.1:9"}
    sign_in = {"username": "b", "password_source": f"{folder}/password"}
    return [
        {
            "name": "oncall",
            "webhooks": [
                {"url": f"{url}/oncall", "token_source": f"{folder}/token"},
                {"url_source": f"{folder}/webhook-url"},
            ],
            "emails": [email, email | sign_in],
            "slack": [{"channel": "#farm", "url_source": f"{folder}/slack-url"}],
            "pagerduty": [{"routing_key_source": f"{folder}/routing-key"}],
        },
        {"name": "budget", "webhooks": [{"url": f"{url}/budget"}]},
    ]


@pytest.fixture(scope="module")
def variables(folder: Path, receiver: HttpServer) -> dict[str, Any]:
    return {
        "alertmanager_config_dir": str(folder),
        "alertmanager_webhook_url": f"{receiver.url}/people",
        "alertmanager_watchdog_url": f"{receiver.url}/watchdog",
        "alertmanager_receivers": receivers(folder, receiver.url),
        "alertmanager_routes": ROUTES,
        "alertmanager_group_wait": "1s",
        "alertmanager_group_interval": "1s",
    }


@pytest.fixture(scope="module")
def config(variables: dict[str, Any]) -> str:
    return role_template.render("alertmanager", "alertmanager.yml.j2", **variables)


@pytest.fixture(scope="module")
def config_file(folder: Path, config: str) -> Path:
    path = folder / "checked.yml"
    path.write_text(config)
    return path


def role_values(**variables: Any) -> dict[str, Any]:
    """Return the variables of the role, for `render`."""
    role = ROOT / "roles/alertmanager"
    known = load_yaml(role / "defaults/main.yml") | load_yaml(role / "vars/main.yml")
    return {**known, "role_path": str(role), **variables}


@pytest.fixture(scope="module")
def alertmanager(
    variables: dict[str, Any], config: str, release: str, folder: Path, receiver: HttpServer
) -> Iterator[httpx.Client]:
    """A client of a running Alertmanager with the secrets that the role installs."""
    for file in render("{{ __alertmanager_secret_files }}", role_values(**variables)):
        Path(file["dest"]).write_bytes(Path(file["copy"]).read_bytes())
    # PagerDuty's address is fixed; the test sends its events to the receiver.
    pagerduty = f'global: {{pagerduty_url: "{receiver.url}/pagerduty"}}\n'
    own = folder / f"run{release}"
    own.mkdir()
    with monitoring_programs.run_alertmanager(release, own, pagerduty + config) as client:
        yield client


def alert(name: str, severity: str = "warning", **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {
            "summary": f"Summary of {name}",
            "description": "Description",
            "runbook_url": f"https://git.example/{name}.md",
            "dashboard_url": "https://grafana.example/d/ffrtmp-queue?viewPanel=1",
        },
    }


def is_inhibited(client: httpx.Client, name: str, **labels: str) -> bool:
    filters = [f'{label}="{value}"' for label, value in {"alertname": name, **labels}.items()]
    (found,) = client.get("/api/v2/alerts", params={"filter": filters}).json()
    is_suppressed: bool = found["status"]["state"] == "suppressed"
    return is_suppressed


def route(release: str, config_file: Path, **labels: str) -> str:
    arguments = [f"{name}={value}" for name, value in labels.items()]
    program = monitoring_programs.alertmanager_programs(release) / "amtool"
    command = [program, "config", "routes", "test", f"--config.file={config_file}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_amtool_accepts_the_settings_with_and_without_receivers(
    config_file: Path, release: str, tmp_path: Path
) -> None:
    without = tmp_path / "without.yml"
    without.write_text(role_template.render("alertmanager", "alertmanager.yml.j2"))
    program = monitoring_programs.alertmanager_programs(release) / "amtool"
    for path in (config_file, without):
        subprocess.run([program, "check-config", path], check=True)


def test_the_watchdog_reaches_only_its_own_receiver(config_file: Path, release: str) -> None:
    for labels in ({"severity": "none"}, {"severity": "critical"}, {"farm": "a"}):
        assert route(release, config_file, alertname="Watchdog", **labels) == "watchdog"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"alertname": "NodeOffline", "severity": "warning", "node": "w1"}, "farm"),
        ({"alertname": "MasterNotReady", "severity": "critical"}, "oncall,farm"),
        ({"alertname": "EnergyBudgetExceeded", "severity": "warning"}, "budget"),
    ],
)
def test_alerts_follow_the_routes(
    config_file: Path, release: str, labels: dict[str, str], expected: str
) -> None:
    assert route(release, config_file, **labels) == expected


def test_the_default_receiver_is_a_variable(tmp_path: Path, variables: dict[str, Any]) -> None:
    path = tmp_path / "alertmanager.yml"
    changed = {**variables, "alertmanager_default_receiver": "oncall", "alertmanager_routes": []}
    path.write_text(role_template.render("alertmanager", "alertmanager.yml.j2", **changed))
    for labels, expected in (
        ({"alertname": "A"}, "oncall"),
        ({"alertname": "Watchdog"}, "watchdog"),
    ):
        assert route("", path, **labels) == expected


def test_every_inhibition_compares_labels(config: str) -> None:
    rules = YAML(typ="safe").load(config)["inhibit_rules"]
    assert len(rules) >= 5
    assert all("farm" in rule["equal"] for rule in rules)


@pytest.mark.slow
def test_only_the_cause_of_several_alerts_is_reported(alertmanager: httpx.Client) -> None:
    server = {"certificate": "server", "listener": "metrics", "instance": "w1:9510", "job": "cpu"}
    disk = {"job": "node", "instance": "w1:9100", "device": "/dev/sda1"}
    alerts = [
        alert("MasterNotReady", "critical", **MASTER),
        alert("MasterNotReady", "critical", farm="a", **HEALTH),
        alert("TargetDown", **MASTER),
        alert("NodeOffline", farm="a", node="w1", **HEALTH),
        alert("QueueStuck", farm="a"),
        alert("SourceStale", farm="a", instance="m1:9502", job="results"),
        alert("DiskNearlyFull", "critical", farm="a", instance="m2:9507"),
        # These belong to another farm, whose master is ready.
        alert("NodeOffline", farm="b", node="w1", **HEALTH),
        alert("TargetDown", farm="b", node="w1", instance="w1:9510", job="cpu"),
        alert("TargetDown", farm="b", node="w2", instance="w2:9510", job="cpu"),
        alert("ScrapeLimited", farm="b", node="w2", instance="w2:9511", job="gpu"),
        alert("TargetDown", farm="b", node="w2", instance="w2:9511", job="gpu"),
        # One of two masters of this farm is down.
        alert("MasterNotReady", "critical", **MASTER | {"farm": "f"}),
        alert("NodeOffline", farm="f", node="w1", **HEALTH),
        alert("CertificateExpiresSoon", "critical", farm="a", **server),
        alert("CertificateExpiresSoon", farm="a", **server),
        alert("CertificateExpiresSoon", farm="b", **server),
        alert("NodeDiskNearlyFull", "critical", farm="a", mountpoint="/", **disk),
        alert("NodeDiskNearlyFull", farm="a", mountpoint="/", **disk),
        alert("NodeDiskNearlyFull", farm="a", mountpoint="/var", **disk),
    ]
    alertmanager.post("/api/v2/alerts", json=alerts).raise_for_status()
    inhibited = [
        {"name": "NodeOffline", "farm": "a"},
        {"name": "QueueStuck", "farm": "a"},
        {"name": "SourceStale", "farm": "a"},
        {"name": "TargetDown", "farm": "a"},
        {"name": "TargetDown", "farm": "b", "node": "w1"},
        {"name": "TargetDown", "farm": "b", "job": "gpu"},
        {"name": "CertificateExpiresSoon", "farm": "a", "severity": "warning"},
        {"name": "NodeDiskNearlyFull", "severity": "warning", "mountpoint": "/"},
    ]
    for labels in inhibited:
        wait_until(lambda labels=labels: is_inhibited(alertmanager, **labels), str(labels))
    for labels in (
        {"name": "MasterNotReady", "farm": "a", "job": "master"},
        {"name": "MasterNotReady", "farm": "a", "job": "health"},
        {"name": "NodeOffline", "farm": "f"},
        {"name": "DiskNearlyFull"},
        {"name": "NodeOffline", "farm": "b"},
        {"name": "ScrapeLimited"},
        {"name": "TargetDown", "farm": "b", "instance": "w2:9510"},
        {"name": "CertificateExpiresSoon", "farm": "b"},
        {"name": "CertificateExpiresSoon", "farm": "a", "severity": "critical"},
        {"name": "NodeDiskNearlyFull", "severity": "critical"},
        {"name": "NodeDiskNearlyFull", "severity": "warning", "mountpoint": "/var"},
    ):
        assert not is_inhibited(alertmanager, **labels), labels


@pytest.mark.slow
def test_alerts_of_a_kind_are_sent_in_one_message(
    alertmanager: httpx.Client, receiver: HttpServer
) -> None:
    alerts = [alert("JobsStuck", farm="c", node=f"w{number}") for number in range(3)]
    alertmanager.post("/api/v2/alerts", json=[*alerts, alert("JobsStuck", farm="d")])

    def messages(farm: str) -> list[dict[str, Any]]:
        labels = {"farm": farm, "alertname": "JobsStuck"}
        return [m for m in receiver.messages("/people") if m["groupLabels"] == labels]

    wait_until(lambda: messages("c") and messages("d"), "the messages arrive")
    nodes = [sorted(a["labels"]["node"] for a in message["alerts"]) for message in messages("c")]
    assert nodes[-1] == ["w0", "w1", "w2"]
    assert len(messages("d")[0]["alerts"]) == 1


def posted(receiver: HttpServer, path: str, name: str) -> list[tuple[dict[str, str], str]]:
    """Return the headers and bodies of the messages about an alert that were posted to a path."""
    requests = list(receiver.requests)
    found = [(headers, body.decode()) for where, headers, body in requests if where == path]
    return [(headers, body) for headers, body in found if name in body]


@pytest.mark.slow
def test_secrets_are_read_from_files(
    alertmanager: httpx.Client, receiver: HttpServer, folder: Path, release: str
) -> None:
    name = f"FarmOnFire{release}"

    def bodies(path: str) -> list[tuple[dict[str, str], str]]:
        return posted(receiver, path, name)

    alertmanager.post("/api/v2/alerts", json=[alert(name, "critical", farm="e")])
    paths = ("/oncall", "/secret-webhook-url", "/secret-slack-url", "/pagerduty", "/people")
    wait_until(lambda: all(bodies(path) for path in paths), "all messages arrive")
    headers, _ = bodies("/oncall")[0]
    assert headers["Authorization"] == "Bearer secret-token"
    _, slack = bodies("/secret-slack-url")[0]
    for text in ("#farm", f"Summary of {name}", f"https://git.example/{name}.md"):
        assert text in slack
    _, event = bodies("/pagerduty")[0]
    assert json.loads(event)["routing_key"] == "secret-routing-key"
    assert json.loads(event)["payload"]["severity"] == "critical"
    # A new secret needs no restart.
    secrets = {"webhooks": "token", "pagerduty": "routing-key"}
    for kind, secret in secrets.items():
        (folder / f"alertmanager-oncall-{kind}-1.secret").write_text(f"new-{secret}\n")
    name = f"FarmFlooded{release}"
    alertmanager.post("/api/v2/alerts", json=[alert(name, "critical", farm="e")])
    wait_until(lambda: bodies("/oncall") and bodies("/pagerduty"), "the messages arrive")
    assert bodies("/oncall")[0][0]["Authorization"] == "Bearer new-token"
    assert json.loads(bodies("/pagerduty")[0][1])["routing_key"] == "new-routing-key"


@pytest.mark.slow
def test_the_length_of_a_message_for_slack_is_bounded(
    alertmanager: httpx.Client, receiver: HttpServer, release: str
) -> None:
    name = f"FarmCrowded{release}"
    alerts = [alert(name, "critical", farm="g", node=f"w{number}") for number in range(30)]
    alertmanager.post("/api/v2/alerts", json=alerts)
    wait_until(lambda: posted(receiver, "/secret-slack-url", name), "the message arrives")
    (_, body), *_ = posted(receiver, "/secret-slack-url", name)
    assert body.count(f"Summary of {name}") == 20
    assert "These are 20 of 30 alerts." in body


def test_no_secret_is_in_the_settings(config: str, folder: Path) -> None:
    # Alertmanager 0.25 cannot read the URL of a webhook from a file. Only Alertmanager can read its
    # settings.
    assert {line for line in config.splitlines() if "secret-" in line} == {
        line for line in config.splitlines() if "/secret-webhook-url" in line
    }


def test_secrets_are_installed_for_alertmanager_only(variables: dict[str, Any]) -> None:
    values = role_values(**variables)
    files = render("{{ __alertmanager_secret_files + __alertmanager_files }}", values)
    assert len(files) == 6
    for file in files:
        assert stat.S_IMODE(int(file["mode"], 8)) == 0o640
        assert file["group"] == "ffrtmp-alertmanager"
    assert all(file["secret"] for file in files[:5])
    # Neither the arguments of the service nor those of a task contain a secret.
    tasks = (ROOT / "roles/alertmanager/tasks/main.yml").read_text(encoding="utf-8")
    assert "secret" not in tasks


def test_valid_settings_are_accepted(variables: dict[str, Any]) -> None:
    assert render("{{ __alertmanager_problems }}", role_values(**variables)) == []


def examples() -> list[dict[str, Any]]:
    """Return the settings in the examples of the documentation."""
    text = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [YAML(typ="safe").load(block) for block in blocks]


@pytest.mark.parametrize("number", range(2))
def test_the_examples_of_the_documentation_are_valid(tmp_path: Path, number: int) -> None:
    found = examples()
    assert len(found) == 2
    for name in ("pagerduty-key", "slack-url", "mail-password", "chat-token"):
        (tmp_path / name).write_text("secret")
    text = json.dumps(found[number]).replace("{{ farm_secrets_dir }}", str(tmp_path))
    values = json.loads(text)
    assert render("{{ __alertmanager_problems }}", role_values(**values)) == []
    path = tmp_path / "alertmanager.yml"
    path.write_text(role_template.render("alertmanager", "alertmanager.yml.j2", **values))
    program = monitoring_programs.alertmanager_programs("") / "amtool"
    subprocess.run([program, "check-config", path], check=True)
    if number == 0:
        assert route("", path, severity="critical") == "oncall"
        assert route("", path, severity="warning") == "team"
        assert route("", path, alertname="Watchdog") == "watchdog"
