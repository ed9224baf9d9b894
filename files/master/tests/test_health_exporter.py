"""Tests of the exporter health as a process, with a real master, components and a list of them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import pytest
from certificates import HOST, Site
from ffrtmp_master.settings import Settings
from ffrtmp_shared import __version__
from ffrtmp_shared.credentials import ClientCertificate, client_context
from ffrtmp_shared.node_models import ClockOffset, NodeHeartbeat
from master_process import MasterProcess
from polling import wait_until
from postgresql import free_port
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.slow

_PROGRAM = Path(sys.executable).with_name("ffrtmp-exporter-health")

Samples = dict[tuple[str, tuple[str, ...]], float]


class Exporter:
    """A running exporter health."""

    def __init__(self, site: Site, port: int) -> None:
        self._url = f"https://{HOST}:{port}/metrics"
        self._context = client_context(
            site.ca_file, ClientCertificate(site.certificate_file, site.key_file)
        )

    def samples(self) -> Samples:
        """Return the values of all series by their name and the values of their labels."""
        text = httpx.get(self._url, verify=self._context).raise_for_status().text
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def wait(self, is_met: Callable[[Samples], bool]) -> Samples:
        """Return the values once they meet a condition."""
        found: Samples = {}

        def is_there() -> bool:
            nonlocal found
            try:
                found = self.samples()
            except httpx.HTTPError:
                return False
            return is_met(found)

        wait_until(is_there, lambda: str(found))
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def settings_file(site: Site, port: int, **more: Any) -> Path:
    document = {
        "exporter": {
            "listen_address": HOST,
            "listen_port": port,
            "certificate_file": str(site.certificate_file),
            "key_file": str(site.key_file),
            "client_ca_file": str(site.ca_file),
        },
        "ca_file": str(site.ca_file),
        "refresh_s": 0.1,
        "probe_interval_s": 1,
        **more,
    }
    file = site.folder / f"health-{port}.yml"
    file.write_text(json.dumps(document))
    return file


@contextmanager
def running(site: Site, **more: Any) -> Iterator[Exporter]:
    port = free_port()
    command = [_PROGRAM, "--config", settings_file(site, port, **more)]
    with subprocess.Popen(command) as process:
        try:
            yield Exporter(site, port)
        finally:
            process.terminate()
    assert process.returncode == 0


def listed(site: Site, *components: dict[str, Any]) -> Path:
    file = site.folder / "components.yml"
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"components": components}))
    part.replace(file)
    return file


def row(component: str, probe: str, port: int) -> dict[str, Any]:
    return {"component": component, "probe": probe, "host": HOST, "port": port}


@pytest.fixture
def master(
    tmp_path: Path, settings: Settings, migrated: Settings, site: Site
) -> Iterator[MasterProcess]:
    found = MasterProcess(tmp_path, settings)
    # The master and the exporter have certificates of the same CA, as in a farm.
    for source, target in (
        (site.ca_file, found.ca_file),
        (site.certificate_file, found.certificate_file),
        (site.key_file, found.key_file),
    ):
        target.write_bytes(source.read_bytes())
    with found.serving():
        yield found


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_worker_is_probed_without_a_change_of_a_file(site: Site, master: MasterProcess) -> None:
    """Register a worker, whose exporter is another exporter health; then remove it."""
    (site.folder / "token").write_text("token-viewer\n")
    api_port = int(master.url.rpartition(":")[2])
    file = listed(site, row("master", "ready", api_port))
    with (
        running(site) as other,
        running(
            site,
            master_url=master.url,
            token_file=str(site.folder / "token"),
            components_file=str(file),
        ) as health,
    ):
        other.wait(bool)
        port = int(other._url.split(":")[2].split("/")[0])
        target = ("cpu", f"{HOST}:{port}")
        health.wait(
            lambda found: found.get(("ffrtmp_probe_success", ("master", f"{HOST}:{api_port}"))) == 1
        )
        registration = msgspec.structs.replace(
            factories.registration("worker1"),
            address=HOST,
            exporters={"cpu": port},
            agent_version=__version__,
        )
        with master.client("worker1") as agent:
            agent.register(registration)
            agent.send_node_heartbeat(
                "worker1",
                NodeHeartbeat(
                    clock=ClockOffset(offset_s=1.5, uncertainty_s=0.25),
                    failed_unit_count=2,
                    failed_units=("a.service", "b.mount"),
                ),
            )
        found = health.wait(
            lambda found: (
                ("ffrtmp_probe_success", target) in found
                and ("ffrtmp_node_failed_units", ("worker1",)) in found
            )
        )
        assert found["ffrtmp_probe_success", target] == 1
        assert found["ffrtmp_probe_version_matches", target] == 1
        assert found["ffrtmp_probe_certificate_not_after_timestamp_seconds", target] > time.time()
        assert found["ffrtmp_probe_success", ("agent", "worker1")] == 1
        assert found["ffrtmp_probe_version_matches", ("agent", "worker1")] == 1
        assert found["ffrtmp_node_clock_offset_seconds", ("worker1",)] == 1.5
        assert found["ffrtmp_node_clock_offset_uncertainty_seconds", ("worker1",)] == 0.25
        assert found["ffrtmp_node_failed_units", ("worker1",)] == 2
        assert found["ffrtmp_node_failed_unit_info", ("worker1", "b.mount")] == 1

        # Two names are known. Only 30 of these can be added to them within a day.
        units = tuple(f"unit-{number}.service" for number in range(32))
        with master.client("worker1") as agent:
            heartbeat = NodeHeartbeat(failed_unit_count=32, failed_units=units)
            agent.send_node_heartbeat("worker1", heartbeat)
        others = ("ffrtmp_node_failed_unit_info", ("worker1", "other"))
        found = health.wait(lambda found: others in found)
        named = {labels[1] for name, labels in found if name == others[0]}
        assert named == {*units[:30], "other"}

        with master.http("admin") as admin:
            admin.delete("/v1/nodes/worker1").raise_for_status()
        # The metrics of nodes and those of probes are refreshed by different loops.
        health.wait(lambda found: not any("worker1" in labels for _, labels in found))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_workers_are_probed_while_the_master_is_down(site: Site, master: MasterProcess) -> None:
    (site.folder / "token").write_text("token-viewer\n")
    with (
        running(site) as other,
        running(
            site, master_url=master.url, token_file=str(site.folder / "token"), probe_timeout_s=2
        ) as health,
    ):
        other.wait(bool)
        port = int(other._url.split(":")[2].split("/")[0])
        target = ("cpu", f"{HOST}:{port}")
        registration = msgspec.structs.replace(
            factories.registration("worker1"), address=HOST, exporters={"cpu": port}
        )
        with master.client("worker1") as agent:
            agent.register(registration)
        health.wait(lambda found: found.get(("ffrtmp_probe_success", target)) == 1)
        master.end(signal.SIGKILL)
        found = health.wait(lambda found: found["ffrtmp_exporter_source_up", ()] == 0)
        assert found["ffrtmp_probe_success", target] == 1
        assert ("ffrtmp_probe_success", ("agent", "worker1")) not in found
        assert ("ffrtmp_node_up", ("worker1",)) not in found


def test_a_changed_list_is_loaded_and_a_damaged_one_is_not(site: Site) -> None:
    """Without a master, as on a host with services of the monitoring only."""
    ports = [free_port(), free_port()]
    file = listed(site, row("vmalert", "exporter", ports[0]))
    with running(site, components_file=str(file)) as health:
        first, second = (("vmalert", f"{HOST}:{port}") for port in ports)
        found = health.wait(lambda found: ("ffrtmp_probe_success", first) in found)
        assert found["ffrtmp_probe_success", first] == 0
        assert found["ffrtmp_probe_failure_info", (*first, "connection_refused")] == 1
        assert ("ffrtmp_master_ready", ()) not in found
        file.write_text("components: [{component: vmalert}]")
        listed(site, row("vmalert", "exporter", ports[1]))
        found = health.wait(lambda found: ("ffrtmp_probe_success", second) in found)
        assert ("ffrtmp_probe_success", first) not in found


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"master_url": "https://a"}, "master_url and token_file go together"),
        ({"disk_history_min_s": 1e5}, "disk_history_min_s must not exceed disk_window_s"),
        ({"probe_interval_s": 0}, "probe_interval_s"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_settings_that_are_not_valid_are_refused(
    site: Site, more: dict[str, Any], message: str
) -> None:
    file = settings_file(site, 0, **more)
    done = subprocess.run([_PROGRAM, "--config", file], capture_output=True, text=True, check=False)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    "components",
    [
        [{"component": "a b", "probe": "exporter", "host": "h", "port": 1}],
        [{"component": "a", "probe": "ping", "host": "h", "port": 1}],
        [{"component": "a", "probe": "exporter", "host": "h/x", "port": 1}],
        [{"component": "a", "probe": "exporter", "host": "h", "port": 70000}],
        [{"component": "a", "probe": "exporter", "host": "h", "port": 1, "version": "1 2"}],
        [{"component": "a", "probe": "exporter", "host": "h", "port": 1, "more": 1}],
    ],
)
def test_a_list_that_is_not_valid_is_refused_at_the_start(
    site: Site, components: list[dict[str, Any]]
) -> None:
    file = listed(site, *components)
    config = settings_file(site, 0, components_file=str(file))
    done = subprocess.run(
        [_PROGRAM, "--config", config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert str(file) in done.stderr
