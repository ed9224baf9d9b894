"""Test of the playbook stack.yml: the files that it writes for the containers of compose.yaml."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from ffrtmp_master.exporters.components import ComponentFile
from ffrtmp_master.exporters.health_settings import HealthExporterSettings
from ffrtmp_master.exporters.settings import ApiExporterSettings
from ffrtmp_master.settings import Settings
from ffrtmp_shared import config
from ffrtmp_worker.agent.settings import AgentSettings
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

_COPIED = ("group_vars", "inventories/stack", "playbooks", "plugins", "roles", "library")
# The release of the image.
_PROGRAMS = Path(__file__).resolve().parents[2] / ".cache/victoria-metrics-trixie/usr/bin"


@pytest.fixture(scope="module")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the playbook has run, without the images."""
    copy = tmp_path_factory.mktemp("project")
    for name in _COPIED:
        shutil.copytree(root / name, copy / name, symlinks=True)
    shutil.copytree(root / "module_utils", copy / "module_utils")
    for name in ("ansible.cfg", "compose.yaml"):
        shutil.copy(root / name, copy)
    ended = _play(copy)
    assert ended.returncode == 0, ended.stdout
    return copy


def _play(copy: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    environment = os.environ | {"ANSIBLE_CONFIG": str(copy / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [program, "-i", "inventories/stack", "playbooks/stack.yml", "--skip-tags", "stack_images"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _services(copy: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load((copy / "compose.yaml").read_text())["services"]
    return found


def _settings_dir(copy: Path, host: str) -> Path:
    return copy / ".state/stack" / host / "etc/ffmpeg-rtmp"


def test_a_second_run_changes_nothing(checkout: Path) -> None:
    again = _play(checkout)
    assert again.returncode == 0, again.stdout
    recap = again.stdout.partition("PLAY RECAP")[2]
    assert recap.count("changed=0") == 4, recap


def test_only_the_owner_can_reach_the_files(checkout: Path) -> None:
    for directory in (".state/stack", ".secrets/stack/pki", ".secrets/stack/tokens"):
        assert stat.S_IMODE((checkout / directory).stat().st_mode) == 0o700, directory
    # The users of the containers do not exist on this computer.
    for file in (checkout / ".state/stack").rglob("etc/**/*"):
        expected = 0o755 if file.is_dir() else 0o444
        assert stat.S_IMODE(file.stat().st_mode) == expected, file


def test_a_certificate_names_every_service_that_uses_it(checkout: Path) -> None:
    for name, service in _services(checkout).items():
        sources = [v["source"] for v in service["volumes"] if isinstance(v, dict)]
        hosts = {source.split("/")[3] for source in sources if source.startswith("./.state/")}
        for host in hosts:
            pem = (_settings_dir(checkout, host) / "pki/host.pem").read_bytes()
            certificate = x509.load_pem_x509_certificate(pem)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            known = names.value.get_values_for_type(x509.DNSName)
            profiles = set(service.get("profiles", []))
            assert name in known or profiles, f"{name} is not in the certificate of {host}"


def test_the_programs_accept_their_settings(checkout: Path) -> None:
    master = _settings_dir(checkout, "master1")
    assert config.load(master / "master.yml", Settings).data_dir == Path(
        "/var/lib/ffmpeg-rtmp/master"
    )
    for exporter in ("qoe", "cost"):
        found = config.load(master / f"exporter-{exporter}.yml", ApiExporterSettings)
        assert found.master_url == "https://master:8080"
    health = config.load(master / "exporter-health.yml", HealthExporterSettings)
    assert health.components_file == Path("/etc/ffmpeg-rtmp/components.yml")
    agent = config.load(_settings_dir(checkout, "worker1") / "agent.yml", AgentSettings)
    assert agent.labels == {"shared_host": "true"}
    assert agent.energy_socket is None


def test_grafana_reads_a_secret_key_of_the_stack(checkout: Path) -> None:
    folder = checkout / ".state/stack/monitoring1/etc/grafana"
    key = (checkout / ".secrets/stack/tokens/grafana-secret-key").read_text().strip()
    assert (folder / "ffmpeg-rtmp-secret-key").read_text() == f"{key}\n"
    settings = (folder / "grafana.ini").read_text()
    assert "\nsecret_key = $__file{/etc/grafana/ffmpeg-rtmp-secret-key}\n" in settings
    assert key not in settings


def test_every_service_that_listens_is_checked(checkout: Path) -> None:
    components = ComponentFile(_settings_dir(checkout, "master1") / "components.yml").components()
    services = {n for n, found in _services(checkout).items() if "profiles" not in found}
    # These have no listener. Whether the agent is online is in the registry of the master.
    assert {component.host for component in components} == services - {"agent", "series-importer"}
    assert {found.port for found in components if found.host == "master"} == {8080, 9507}


@pytest.mark.parametrize("program", ["victoria-metrics", "vmalert"])
def test_the_monitoring_accepts_its_settings(checkout: Path, program: str, tmp_path: Path) -> None:
    """Check the files at the paths of this computer, because the program opens the certificates."""
    folder = _settings_dir(checkout, "monitoring1")
    name, flag = {
        "victoria-metrics": ("scrape.yml", "-promscrape.config"),
        "vmalert": ("rules.yml", "-rule"),
    }[program]
    text = (folder / "monitoring" / name).read_text()
    (tmp_path / name).write_text(text.replace("/etc/ffmpeg-rtmp", str(folder)))
    ended = subprocess.run(
        [str(_PROGRAMS / program), "-dryRun", f"{flag}={tmp_path / name}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("exporter", ["cpu", "gpu", "ffmpeg"])
def test_an_exporter_of_the_worker_is_limited_as_on_a_farm(checkout: Path, exporter: str) -> None:
    file = _settings_dir(checkout, "monitoring1") / "monitoring/scrape.yml"
    jobs = {
        job["job_name"]: job for job in YAML(typ="safe").load(file.read_text())["scrape_configs"]
    }
    deployed, stack = jobs[exporter], jobs[f"stack-{exporter}"]
    for key in ("metric_relabel_configs", "sample_limit", "series_limit", "max_scrape_size"):
        assert stack[key] == deployed[key], key


def test_each_command_and_limit_belongs_to_a_service(checkout: Path) -> None:
    file = checkout / ".state/stack/compose.yaml"
    merged = YAML(typ="safe").load(file.read_text())["services"]
    services = _services(checkout)
    assert set(merged) == set(services)
    cpus = {name: service["cpuset"] for name, service in merged.items()}
    agent = cpus.pop("agent")
    assert len(set(cpus.values())) == 1
    assert agent not in cpus.values() or os.cpu_count() == 1
    without = {n for n, service in services.items() if "command" not in service | merged[n]}
    # The image of Grafana has a command of its own.
    assert without == {"grafana"}
    # Otherwise, a profile that is enabled later would not be scraped.
    assert "-promscrape.configCheckInterval=30s" in merged["victoria-metrics"]["command"]
    for token in (checkout / ".secrets/stack/tokens").iterdir():
        assert token.read_text().strip() not in file.read_text(), token.name
