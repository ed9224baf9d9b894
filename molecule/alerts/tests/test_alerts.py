"""Each fault of the farm is reported at a webhook by an alert of vmalert, and so is its end."""

import itertools
import json
import statistics
from dataclasses import dataclass, field
from typing import Any

import pytest
import testinfra
from deployed_farm import ROOT, Machine, run_playbook
from polling import wait_until

INVENTORY = ROOT / "molecule/alerts/inventory"
OPERATOR = ROOT / ".secrets/alerts/tokens/operator"
DISK = "/srv/ffrtmp-test-disk"

# The conditions must hold for up to five minutes, and a node counts as offline after one minute.
TIMEOUT_S = 900.0

Labels = dict[str, str]


def machine_named(name: str) -> Machine:
    hosts = str(INVENTORY / "hosts.yml")
    host = testinfra.get_host(f"ansible://{name}", ansible_inventory=hosts, sudo=True)
    return Machine(host, host.ansible.get_variables())


@dataclass
class Webhook:
    """The messages that reached the webhook.

    Attributes:
        machine: The machine of the webhook.
        entries: The messages with their paths and times, as they were last read.
    """

    machine: Machine
    entries: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> None:
        """Read the messages."""
        text = self.machine.host.file("/var/lib/ffrtmp-test-webhook/messages").content_string
        # A message that is being written has no line end.
        complete = text[: text.rfind("\n") + 1]
        self.entries = [json.loads(line) for line in complete.splitlines()]

    def sent_to(self, path: str) -> list[dict[str, Any]]:
        """Return the alerts in the messages to a path, in the order of the messages."""
        own = [entry["message"] for entry in self.entries if entry["path"] == path]
        return [alert for message in own for alert in message["alerts"]]

    def found(self, labels: Labels) -> list[dict[str, Any]]:
        """Return the delivered alerts that have these labels, in the order of the messages."""
        sent = self.sent_to("/alerts")
        return [alert for alert in sent if labels.items() <= alert["labels"].items()]

    def is_reported(self, labels: Labels) -> bool:
        """Return whether an alert with these labels was delivered as firing."""
        return any(alert["status"] == "firing" for alert in self.found(labels))

    def has_ended(self, labels: Labels) -> bool:
        """Return whether the last message about each alert with these labels is that it ended."""
        last = {alert["fingerprint"]: alert["status"] for alert in self.found(labels)}
        return bool(last) and set(last.values()) == {"resolved"}

    def wait(self, expected: list[Labels], *, ended: bool) -> None:
        """Wait until all expected alerts were delivered as firing, or as ended."""
        has_arrived = self.has_ended if ended else self.is_reported

        def missing() -> list[Labels]:
            return [labels for labels in expected if not has_arrived(labels)]

        def is_complete() -> bool:
            self.read()
            return not missing()

        wait_until(
            is_complete,
            lambda: f"the {'end' if ended else 'start'} of these alerts is reported: {missing()}",
            interval_s=5,
            timeout_s=TIMEOUT_S,
        )


class Farm:
    """The machines, and the faults that this test causes on them."""

    def __init__(self) -> None:
        """Access the machines."""
        self.master = machine_named("master1")
        self.worker = machine_named("worker1")
        self.remote = machine_named("worker2")
        self.webhook = Webhook(self.master)
        exporter = f"{self.remote.address}:9510"
        critical = {"severity": "critical"}
        self.faults: list[Labels] = [
            # The stopped agent.
            {"alertname": "NodeOffline", "node": "worker1"},
            # The worker without network.
            {"alertname": "NodeOffline", "node": "worker2"},
            {"alertname": "ComponentUnreachable", "component": "cpu", "instance": exporter},
            # The certificate, and the disk.
            {"alertname": "CertificateExpiresSoon", "node": "worker1", "job": "cpu", **critical},
            {"alertname": "NodeDiskNearlyFull", "mountpoint": DISK, **critical},
        ]
        # The queue starves as long as the run with the high priority has jobs.
        self.starvation: Labels = {"alertname": "QueueStarves", "priority": "batch"}

    def cause(self) -> None:
        """Cause all faults."""
        self._renew("pki_host_days=5 pki_renew_days=1")
        self.worker.host.check_output("systemctl stop ffrtmp-agent@1.service")
        self._routes("add")
        # 63 of 64 MiB.
        self.worker.host.check_output(f"fallocate --length 63MiB {DISK}/file")
        assert self.worker.host.file(f"{DISK}/file").size == 63 << 20

    def repair(self) -> None:
        """Repair all faults, except that the queue continues to starve."""
        self.worker.host.check_output(f"rm --force {DISK}/file")
        self._routes("delete")
        self.worker.host.check_output("systemctl start ffrtmp-agent@1.service")
        self._renew("pki_host_days=90 pki_renew_days=40")

    def end_starvation(self) -> None:
        """Cancel the run with the high priority."""
        token = OPERATOR.read_text(encoding="utf-8").strip()
        url = f"https://{self.master.address}:8080/v1/runs"
        answer = self.master.request(url, token=token)
        assert answer.status == 200, answer.body
        runs = {run["suite_name"]: run for run in answer.json()["items"]}
        # Otherwise the queue did not starve until now.
        assert runs["urgent"]["finished_at"] is None
        self.play("playbooks/run.yml", f"run_id={runs['urgent']['id']} run_state=canceled")

    def play(self, playbook: str, variables: str, *arguments: str) -> None:
        """Run a playbook with variables."""
        done = run_playbook(INVENTORY, playbook, "--extra-vars", variables, *arguments)
        assert done.returncode == 0, done.stdout

    def remote_targets(self) -> list[Labels]:
        """Return the labels of the targets on the remote worker."""
        targets = self.master.request("https://127.0.0.1:8428/api/v1/targets").json()
        found = [target["labels"] for target in targets["data"]["activeTargets"]]
        return [labels for labels in found if self.is_remote(labels)]

    def remote_alerts(self) -> list[Labels]:
        """Return the labels of the pending and firing alerts about the remote worker."""
        alerts = self.master.request("https://127.0.0.1:8880/api/v1/alerts").json()
        found = [alert["labels"] for alert in alerts["data"]["alerts"]]
        return [labels for labels in found if self.is_remote(labels)]

    def is_remote(self, labels: Labels) -> bool:
        """Return whether a target or an alert belongs to the remote worker.

        The alerts about the disk of the computer that runs the test do not belong to it.
        """
        if labels.get("alertname") == "DiskFillsSoon" and labels["mountpoint"] != DISK:
            return False
        instance = labels.get("instance", "")
        own = {"worker2", self.remote.address}
        return not own.isdisjoint({labels.get("node"), instance.rpartition(":")[0], instance})

    def _renew(self, days: str) -> None:
        self.play("playbooks/renew-certificates.yml", days, "--limit", "worker1")

    def _routes(self, action: str) -> None:
        """Discard the packets of a worker to the other machines. SSH still works."""
        for machine in (self.master, self.worker):
            self.remote.host.check_output(f"ip route {action} blackhole {machine.address}/32")


@pytest.fixture(scope="module")
def farm() -> Farm:
    """The farm, all of whose faults have been reported."""
    found = Farm()
    found.webhook.read()
    assert [labels for labels in found.faults if found.webhook.is_reported(labels)] == []
    found.cause()
    found.webhook.wait([*found.faults, found.starvation], ended=False)
    return found


def test_each_fault_is_reported_with_its_runbook(farm: Farm) -> None:
    for labels in [*farm.faults, farm.starvation]:
        alert = farm.webhook.found(labels)[0]
        assert alert["labels"]["farm"] == "alerts"
        assert alert["annotations"]["summary"]
        page = f"https://git.example/docs/runbooks/{labels['alertname']}.md"
        assert alert["annotations"]["runbook_url"] == page


def test_the_end_of_each_fault_is_reported(farm: Farm) -> None:
    farm.repair()
    farm.webhook.wait(farm.faults, ended=True)
    assert not farm.webhook.has_ended(farm.starvation)


def test_a_worker_that_was_drained_and_stopped_causes_no_alert(farm: Farm) -> None:
    """Jobs are still queued, so an alert would report a node that is offline for another reason."""
    farm.play("playbooks/node.yml", "node_name=worker2 node_state=draining")
    wait_until(
        lambda: not farm.remote_alerts(),
        lambda: f"the alerts of the faults end: {farm.remote_alerts()}",
        interval_s=5,
        timeout_s=TIMEOUT_S,
    )
    farm.webhook.read()
    earlier = len(farm.webhook.sent_to("/alerts"))
    farm.remote.host.check_output("systemctl stop 'ffrtmp-*'")
    # Until the node is offline, its targets are down and their alerts are pending.
    wait_until(
        lambda: not farm.remote_targets() and not farm.remote_alerts(),
        lambda: f"{farm.remote_targets()} and {farm.remote_alerts()} disappear",
        interval_s=5,
        timeout_s=TIMEOUT_S,
    )
    farm.webhook.read()
    later = farm.webhook.sent_to("/alerts")[earlier:]
    firing = [alert["labels"] for alert in later if alert["status"] == "firing"]
    assert [labels for labels in firing if farm.is_remote(labels)] == []


def test_the_end_of_a_starving_queue_is_reported(farm: Farm) -> None:
    farm.end_starvation()
    farm.webhook.wait([farm.starvation], ended=True)


def test_the_watchdog_reaches_only_its_own_receiver(farm: Farm) -> None:
    farm.webhook.read()
    names = {
        path: {alert["labels"]["alertname"] for alert in farm.webhook.sent_to(path)}
        for path in ("/alerts", "/watchdog")
    }
    assert names["/watchdog"] == {"Watchdog"}
    assert "Watchdog" not in names["/alerts"]


def test_the_watchdog_is_repeated_at_every_interval(farm: Farm) -> None:
    farm.webhook.read()
    times_s = [entry["time_s"] for entry in farm.webhook.entries if entry["path"] == "/watchdog"]
    pauses_s = [later_s - time_s for time_s, later_s in itertools.pairwise(times_s)]
    # The condition of one of the other alerts alone had to hold for ten intervals.
    assert len(pauses_s) >= 9
    assert statistics.median(pauses_s) == pytest.approx(30, abs=5)
