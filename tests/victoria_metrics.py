"""VictoriaMetrics, vmagent and other programs of its package, with the flags that the roles set."""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Site
from polling import wait_until
from role_templates import ROOT, load_yaml, render

RELEASES = ("victoria-metrics", "victoria-metrics-trixie")
"""The folders in .cache with the package of this system's release and with that of Debian 13."""

# Parameters of tests in which the releases are not expected to differ, and which take many seconds.
FIRST_RELEASE_UNLESS_DEEP = (RELEASES[0], pytest.param(RELEASES[1], marks=pytest.mark.deep))

_STOP_S = 60
_STATE_DIR = "/var/lib/ffmpeg-rtmp"
_STRICT = ("-promscrape.config.strictParse",)


def programs(release: str) -> Path:
    """Return the folder with the programs of a release."""
    return ROOT / ".cache" / release / "usr/bin"


def supports_job_sizes(release: str) -> bool:
    """Return whether the jobs of a release may have a maximum size of responses."""
    job = b"{scrape_configs: [{job_name: a, max_scrape_size: 1, static_configs: []}]}"
    with tempfile.NamedTemporaryFile() as file:
        file.write(job)
        file.flush()
        checked = [programs(release) / "victoria-metrics", "-dryRun", *_STRICT]
        done = subprocess.run(
            [*checked, f"-promscrape.config={file.name}"], capture_output=True, check=False
        )
    return done.returncode == 0


def role_value(role: str, text: str, variables: Mapping[str, Any]) -> Any:
    """Return the value of an expression with the variables of a role.

    Args:
        role: The name of the role.
        text: The expression, or the text of a template file.
        variables: Variables that override the defaults of the role.
    """
    folder = ROOT / "roles" / role
    known = load_yaml(folder / "defaults/main.yml") | load_yaml(folder / "vars/main.yml")
    return render(text, {"ansible_check_mode": False, **known, **variables})


def settings(site: Site, release: str, port: int, **variables: Any) -> dict[str, Any]:
    """Return variables of the role victoria_metrics for programs on this computer.

    Args:
        site: The certificates. The folder also contains the settings.
        release: The release of VictoriaMetrics.
        port: The port of VictoriaMetrics.
        **variables: Further variables.
    """
    (site.folder / "monitoring.token").touch()
    files = {
        "certificate_file": site.certificate_file,
        "key_file": site.key_file,
        "ca_file": site.ca_file,
        "token_file": site.folder / "monitoring.token",
        "config_dir": site.folder,
        "backup_dir": site.folder / "backup",
    }
    return {
        "victoria_metrics_master_url": "https://127.0.0.1:9",
        "victoria_metrics_port": port,
        "victoria_metrics_job_size_limits": supports_job_sizes(release),
        # By default, the last five seconds are not visible.
        "victoria_metrics_extra_flags": {"search.latencyOffset": "0s"},
        "victoria_metrics_master_targets": [],
        "victoria_metrics_results_targets": [],
        "victoria_metrics_health_targets": [],
        **{f"victoria_metrics_{name}": str(path) for name, path in files.items()},
        **variables,
    }


def write_scrape_config(variables: Mapping[str, Any]) -> None:
    """Write the scrape configuration of the role to the folder of its settings."""
    template = ROOT / "roles/victoria_metrics/templates/scrape.yml.j2"
    folder = ROOT / "roles/victoria_metrics"
    known = load_yaml(folder / "defaults/main.yml") | load_yaml(folder / "vars/main.yml")
    text = render(template.read_text(), {**known, **variables}, is_file=True)
    Path(variables["victoria_metrics_config_dir"], "scrape.yml").write_text(text)


def command(role: str, name: str, release: str, variables: Mapping[str, Any]) -> list[str]:
    """Return a command of a role, with the programs of a release and a folder of its own for data.

    Args:
        role: The name of the role.
        name: The name of the variable with the command.
        release: The release of VictoriaMetrics.
        variables: Variables that override the defaults of the role. The data is in the folder of
            the settings of VictoriaMetrics.
    """
    found = role_value(role, f"{{{{ {name} }}}}", variables)
    assert isinstance(found, Sequence)
    folder = variables["victoria_metrics_config_dir"]
    texts = [str(item).strip().replace(_STATE_DIR, folder) for item in found]
    return [text.replace("/usr/bin", str(programs(release))) for text in texts]


class Service:
    """A running program that answers to HTTP requests."""

    def __init__(self, process: subprocess.Popen[bytes], http: httpx.Client, log: Path) -> None:
        """Use a process that was started, a client of its listener, and the file of its log."""
        self.process = process
        self.http = http
        self.log = log

    def query(self, expression: str, **arguments: str) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        parameters = {"query": expression, "nocache": "1", **arguments}
        answer = self.http.get("/api/v1/query", params=parameters)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        """Return the value of the only series of an instant query, or None if there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def targets(self) -> dict[str, dict[str, Any]]:
        """Return the active targets by their URLs."""
        answer = self.http.get("/api/v1/targets", params={"state": "active"}).json()
        return {target["scrapeUrl"]: target for target in answer["data"]["activeTargets"]}

    def resident_bytes(self) -> int:
        """Return the largest resident set that the process has had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def stop(self) -> None:
        """Stop the program as systemd does."""
        self.process.terminate()
        self.process.wait(_STOP_S)


@contextmanager
def run_service(
    arguments: Sequence[str],
    url: str,
    site: Site,
    name: str,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """Run a program within the context, from the moment at which it is healthy.

    Args:
        arguments: The program and its arguments.
        url: The URL of the program's listener.
        site: The certificates of the listener.
        name: The name of the file with the program's log.
        environment: The environment of the program.
    """
    path = site.folder / f"{name}.log"
    with (
        path.open("ab") as log,
        httpx.Client(base_url=url, verify=site.anonymous_context(), timeout=30) as http,
        subprocess.Popen(
            arguments, stdout=log, stderr=log, cwd=site.folder, env=environment or {}
        ) as process,
    ):

        def is_healthy() -> bool:
            assert process.poll() is None, path.read_text()
            return _is_healthy(http)

        try:
            wait_until(is_healthy, path.read_text)
            yield Service(process, http, path)
        finally:
            process.kill()


def _is_healthy(http: httpx.Client) -> bool:
    try:
        return http.get("/health").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def run_victoria_metrics(
    site: Site, release: str, variables: Mapping[str, Any], name: str = "victoria-metrics"
) -> Iterator[Service]:
    """Run VictoriaMetrics with the settings of the role within the context."""
    arguments = command("victoria_metrics", "__victoria_metrics_command", release, variables)
    url = f"https://127.0.0.1:{variables['victoria_metrics_port']}"
    with run_service(arguments, url, site, name) as service:
        yield service
