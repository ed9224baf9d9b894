"""Tests of the probes of other programs, each of which runs as a process with TLS."""

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import HOST, Site
from ffrtmp_master.exporters.components import Component, ProbeKind
from ffrtmp_master.exporters.probe_connections import ProbeFailure
from ffrtmp_master.exporters.probes import ProbeOutcome, Prober, ProbeTiming
from ffrtmp_shared.credentials import ClientCertificate, client_context
from ffrtmp_shared.loop_registry import LoopRegistry
from postgresql import Cluster, free_port, give_to_server

pytestmark = pytest.mark.slow

_CACHE = Path(__file__).resolve().parents[3] / ".cache"
_NODE_EXPORTER = _CACHE / "node-exporter/usr/bin/prometheus-node-exporter"
_VICTORIA_METRICS = _CACHE / "victoria-metrics/usr/bin/victoria-metrics"
_VMALERT = _CACHE / "victoria-metrics/usr/bin/vmalert"
_ALERTMANAGER = _CACHE / "alertmanager/usr/bin/prometheus-alertmanager"
_NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
# Alertmanager's package is not installed, but the program reads its templates below /usr/share.
_WITH_TEMPLATES = (
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
    'mount --bind "$0" /usr/share && exec "$@"',
    _CACHE / "alertmanager/usr/share",
)
_START_S = 30.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextmanager
def running(command: Sequence[str | Path], folder: Path) -> Iterator[None]:
    log = folder / f"{Path(command[-2]).name}.log"
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield
        finally:
            process.kill()


def working_outcome(site: Site, component: Component) -> ProbeOutcome:
    """Probe a component until it works, and return the outcome."""
    found: list[ProbeOutcome] = []
    works = threading.Event()

    def add(_: Component, outcome: ProbeOutcome) -> None:
        found.append(outcome)
        if outcome.failure is None:
            works.set()

    context = client_context(site.ca_file, ClientCertificate(site.certificate_file, site.key_file))
    prober = Prober(
        lambda: [component], lambda: context, ProbeTiming(0.2, 5.0), LoopRegistry(), add
    )
    prober.start()
    try:
        assert works.wait(_START_S), found[-1:]
    finally:
        prober.stop()
    return found[-1]


def component(name: str, probe: ProbeKind, port: int) -> Component:
    return Component(component=name, probe=probe, host=HOST, port=port)


def web_config(site: Site, *, requires_certificate: bool) -> Path:
    """Return a file with the TLS settings of the programs of Prometheus."""
    tls = {"cert_file": str(site.certificate_file), "key_file": str(site.key_file)}
    if requires_certificate:
        tls |= {
            "client_ca_file": str(site.ca_file),
            "client_auth_type": "RequireAndVerifyClientCert",
        }
    file = site.folder / "web.yml"
    file.write_text(json.dumps({"tls_server_config": tls}))
    return file


def test_node_exporter(site: Site) -> None:
    port = free_port()
    command = [
        _NODE_EXPORTER,
        f"--web.config.file={web_config(site, requires_certificate=True)}",
        f"--web.listen-address={HOST}:{port}",
    ]
    with running(command, site.folder):
        outcome = working_outcome(site, component("node", ProbeKind.NODE_EXPORTER, port))
    assert outcome.reading.version[:1].isdecimal()
    assert outcome.certificate_end_s is not None
    root = next(disk for disk in outcome.reading.file_systems if disk.mountpoint == "/")
    assert abs(root.free_bytes / shutil.disk_usage("/").free - 1) < 0.2


def test_victoria_metrics_vmalert_and_alertmanager(site: Site) -> None:
    ports = {name: free_port() for name in ("victoria_metrics", "vmalert", "alertmanager")}
    rules = site.folder / "rules.yml"
    rules.write_text(
        json.dumps(
            {"groups": [{"name": "a", "rules": [{"alert": "Never", "expr": "vector(1) > 2"}]}]}
        )
    )
    routes = site.folder / "alertmanager.yml"
    routes.write_text(json.dumps({"route": {"receiver": "a"}, "receivers": [{"name": "a"}]}))
    scrapes = site.folder / "scrape.yml"
    scrapes.write_text(
        json.dumps(
            {
                "scrape_configs": [
                    {
                        "job_name": "own",
                        "scrape_interval": "1s",
                        "scheme": "https",
                        "tls_config": {"ca_file": str(site.ca_file)},
                        "static_configs": [{"targets": [f"{HOST}:{ports['victoria_metrics']}"]}],
                    }
                ]
            }
        )
    )
    tls = ["-tls", f"-tlsCertFile={site.certificate_file}", f"-tlsKeyFile={site.key_file}"]
    commands: list[list[str | Path]] = [
        [
            _VICTORIA_METRICS,
            *tls,
            "-search.latencyOffset=0s",
            f"-storageDataPath={site.folder}/metrics",
            f"-promscrape.config={scrapes}",
            f"-httpListenAddr={HOST}:{ports['victoria_metrics']}",
        ],
        [
            _VMALERT,
            *tls,
            f"-rule={rules}",
            "-evaluationInterval=1s",
            f"-datasource.url=https://{HOST}:{ports['victoria_metrics']}",
            f"-datasource.tlsCAFile={site.ca_file}",
            f"-notifier.url=https://{HOST}:{ports['alertmanager']}",
            f"-notifier.tlsCAFile={site.ca_file}",
            f"-httpListenAddr={HOST}:{ports['vmalert']}",
        ],
        [
            *_WITH_TEMPLATES,
            _ALERTMANAGER,
            f"--config.file={routes}",
            f"--storage.path={site.folder}/alerts",
            f"--web.config.file={web_config(site, requires_certificate=False)}",
            "--cluster.listen-address=",
            f"--web.listen-address={HOST}:{ports['alertmanager']}",
        ],
    ]
    with (
        running(commands[0], site.folder),
        running(commands[1], site.folder),
        running(commands[2], site.folder),
    ):
        outcomes = {
            name: working_outcome(site, component(name, ProbeKind(name), port))
            for name, port in ports.items()
        }
    # Debian 12 builds VictoriaMetrics without a version.
    assert outcomes["alertmanager"].reading.version[:1].isdecimal()
    assert all(outcome.certificate_end_s is not None for outcome in outcomes.values())


def test_the_rtmp_server(site: Site) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert nginx is not None
    port = free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {site.folder}/{kind};" for kind in kinds)
    config = site.folder / "nginx.conf"
    config.write_text(
        f"""
load_module {_NGINX_MODULE};
daemon off;
pid {site.folder}/nginx.pid;
error_log {site.folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  server_tokens off;
  {temporary}
  server {{
    listen {HOST}:{port} ssl;
    ssl_certificate {site.certificate_file};
    ssl_certificate_key {site.key_file};
    ssl_client_certificate {site.ca_file};
    ssl_verify_client on;
    location = /stat {{ rtmp_stat all; }}
  }}
}}
rtmp {{ server {{ listen {HOST}:{free_port()}; application live {{ live on; }} }} }}
"""
    )
    with running([nginx, "-g", "master_process off;", "-c", config], site.folder):
        outcome = working_outcome(site, component("nginx", ProbeKind.RTMP_SERVER, port))
    installed = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    assert outcome.reading.version
    assert outcome.reading.version in installed


@contextmanager
def postgresql_with_tls(site: Site) -> Iterator[tuple[int, Path]]:
    """Run PostgreSQL with the certificate of the site; yield its port and its log."""
    # The server's user cannot enter the folders of a test.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [Path(shutil.copy(file, folder)) for file in (site.certificate_file, site.key_file)]
        cluster = Cluster(folder, durable=False)
        files[1].chmod(0o600)
        for file in files:
            give_to_server(file)
        cluster.use_tls(*files)
        cluster.start()
        try:
            yield cluster.port, folder / "log"
        finally:
            cluster.stop()


def test_postgresql(site: Site) -> None:
    with postgresql_with_tls(site) as (port, log):
        target = component("postgresql", ProbeKind.POSTGRESQL, port)
        outcome = working_outcome(site, target)
        logged = log.read_text()
    assert outcome.certificate_end_s is not None
    # Probes must not fill the log of the server.
    assert "SSL" not in logged
    assert "incomplete startup packet" not in logged


def test_the_expiry_of_an_expired_certificate_of_postgresql_is_still_reported(site: Site) -> None:
    not_after = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    site.renew(not_after=not_after)
    with postgresql_with_tls(site) as (port, _):
        target = component("postgresql", ProbeKind.POSTGRESQL, port)
        outcome = first_outcome(site, target)
    assert outcome.failure is ProbeFailure.CERTIFICATE_REJECTED
    assert outcome.certificate_end_s == not_after.timestamp()


def test_a_postgresql_without_tls_fails(site: Site, cluster: Cluster) -> None:
    target = component("postgresql", ProbeKind.POSTGRESQL, cluster.port)
    assert first_outcome(site, target).failure is ProbeFailure.TLS_FAILED


def first_outcome(site: Site, target: Component) -> ProbeOutcome:
    """Return the outcome of the first probe of a component."""
    found: list[ProbeOutcome] = []
    probed = threading.Event()

    def add(_: Component, outcome: ProbeOutcome) -> None:
        found.append(outcome)
        probed.set()

    prober = Prober(
        lambda: [target],
        lambda: client_context(site.ca_file),
        ProbeTiming(60.0, 5.0),
        LoopRegistry(),
        add,
    )
    prober.start()
    try:
        assert probed.wait(_START_S)
    finally:
        prober.stop()
    return found[0]
