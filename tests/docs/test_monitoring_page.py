"""Tests that run the commands of docs/monitoring.md on real services.

All of them run on this computer, which is the only host of the inventory. The test replaces the
paths of certificates and the ports.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import monitoring_programs
import pytest
from bench.exporter_site import ExporterSite, issue_certificate
from polling import wait_until
from postgresql import free_port

from .page import Page

pytestmark = pytest.mark.slow

_PORTS = ("8428", "8880", "9510")
_RULES = 'groups: [{name: test, rules: [{alert: Test, expr: "vector(1) == 1"}]}]'


def commands(root: Path) -> list[str]:
    """Return the commands of the page."""
    fences = Page(root / "docs/monitoring.md").fences()
    text = "".join(fence.text for fence in fences if fence.language == "console")
    return [line.removeprefix("$ ") for line in text.splitlines()]


class Site:
    """The control node's folder, and the services that the commands of the page reach."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: free_port() for port in _PORTS}
        self.pki = folder / ".secrets/prod/pki"
        (self.pki / "hosts").mkdir(parents=True)
        issue_certificate(self.pki)
        for name in ("host.pem", "host.key"):
            shutil.copy(self.pki / name, self.pki / "hosts" / name.replace("host", "worker1"))
        shutil.copytree(root / "group_vars", folder / "inventories/prod/group_vars")
        (folder / "playbooks").symlink_to(root / "playbooks")
        local = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
        }
        groups = {"master": "master1", "monitoring": "master1", "worker": "worker1"}
        children = {group: {"hosts": {host: {}}} for group, host in groups.items()}
        hosts = {"all": {"vars": local, "children": children}}
        (folder / "inventories/prod/hosts.yml").write_text(json.dumps(hosts))
        self._root = root

    def run(self, command: str) -> str:
        """Run a command of the page, and return its output."""
        for documented, port in self.ports.items():
            command = command.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{port}")
        command = command.replace("/etc/ffmpeg-rtmp/pki", str(self.pki))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        settings = {"ANSIBLE_CONFIG": str(self._root / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=self.folder,
            env=os.environ | settings | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A control node, with services that have the certificates of the farm."""
    folder = tmp_path_factory.mktemp("site")
    site = Site(root, folder)
    services = ExporterSite(folder, site.pki)
    programs = monitoring_programs.victoria_metrics_programs("")
    tls = ["-tls", f"-tlsCertFile={site.pki}/host.pem", f"-tlsKeyFile={site.pki}/host.key"]
    database = f"https://127.0.0.1:{site.ports['8428']}"
    (folder / "scrape.yml").write_text(
        "scrape_configs: [{job_name: missing, scrape_interval: 1s, static_configs: "
        "[{targets: ['127.0.0.1:1']}]}]"
    )
    (folder / "rules.yml").write_text(_RULES)
    victoria_metrics = [
        programs / "victoria-metrics",
        f"-storageDataPath={folder / 'data'}",
        f"-promscrape.config={folder / 'scrape.yml'}",
        "-search.latencyOffset=0s",
        f"-httpListenAddr=127.0.0.1:{site.ports['8428']}",
        *tls,
    ]
    vmalert = [
        programs / "vmalert",
        f"-rule={folder / 'rules.yml'}",
        "-evaluationInterval=1s",
        f"-datasource.url={database}",
        f"-datasource.tlsCAFile={services.ca_file}",
        "-notifier.url=https://127.0.0.1:1",
        f"-httpListenAddr=127.0.0.1:{site.ports['8880']}",
        *tls,
    ]
    with (
        services.running(victoria_metrics, "victoria-metrics"),
        services.running(vmalert, "vmalert"),
        services.exporter("cpu", site.ports["9510"]),
    ):
        services.wait("victoria-metrics", site.ports["8428"])
        services.wait("vmalert", site.ports["8880"])
        yield site


def test_every_command_of_the_page_has_a_test(root: Path) -> None:
    programs = [re.split(r"\s", command)[0] for command in commands(root)]
    assert programs == ["ansible-playbook", "curl", "curl", "curl", "ansible", "ansible"]


def test_the_addresses_are_printed(site: Site, root: Path) -> None:
    printed = site.run(commands(root)[0])
    assert "https://127.0.0.1:8428/targets" in printed
    assert "https://127.0.0.1:8880/vmalert/alerts" in printed


def test_a_missing_target_is_found_through_the_forwarded_port(site: Site, root: Path) -> None:
    def missing() -> bool:
        answer = json.loads(site.run(commands(root)[1]))
        return any(row["metric"]["job"] == "missing" for row in answer["data"]["result"])

    wait_until(missing, "the failed scrape is stored", interval_s=0.5)


def test_the_alerts_of_vmalert_are_listed(site: Site, root: Path) -> None:
    def is_firing() -> bool:
        alerts = json.loads(site.run(commands(root)[2]))["data"]["alerts"]
        return [alert["name"] for alert in alerts] == ["Test"]

    wait_until(is_firing, "the alert fires", interval_s=0.5)


def test_the_query_cache_is_reset(site: Site, root: Path) -> None:
    text = (root / "docs/metrics.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\$ (curl .*/internal/resetRollupResultCache)$", text, re.MULTILINE)
    site.run(command.replace("curl ", "curl --fail ", 1))


def test_an_exporter_is_read_with_the_certificate_of_its_host(site: Site, root: Path) -> None:
    assert "\nffrtmp_node_cpu_seconds_total{" in site.run(commands(root)[3])


def test_the_pages_that_the_playbook_names_exist(site: Site) -> None:
    for port, path in (("8428", "targets"), ("8880", "vmalert/alerts")):
        url = f"https://127.0.0.1:{port}/{path}"
        page = site.run(f"curl --silent --fail --cacert .secrets/prod/pki/ca.pem {url}")
        assert page


def test_a_host_is_asked_without_curl(site: Site, root: Path) -> None:
    query, metrics = commands(root)[4:]
    assert "status: 200" in site.run(query)
    assert "ffrtmp_node_cpu_seconds_total" in site.run(metrics)
