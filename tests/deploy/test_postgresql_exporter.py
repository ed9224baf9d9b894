"""Tests of the exporter of PostgreSQL with the settings of its role, and of a real PostgreSQL."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import postgresql
import pytest
import role_template
from certificates import Site
from polling import wait_until
from postgresql import Cluster, free_port
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from role_templates import ROOT
from victoria_metrics import role_value

pytestmark = pytest.mark.slow

_ROLE = "ffrtmp-postgresql-exporter"
_PASSWORD = secrets.token_urlsafe(24)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """PostgreSQL with the role that Ansible creates; it has a password here, not a user."""
    with postgresql.running() as started:
        name = sql.Identifier(_ROLE)
        create = sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 5 PASSWORD {}")
        started.execute(create.format(name, sql.Literal(_PASSWORD)))
        started.execute(sql.SQL("GRANT pg_monitor TO {}").format(name))
        started.create("ffmpeg_rtmp")
        yield started


def page_of(http: httpx.Client, process: subprocess.Popen[bytes]) -> str:
    def page() -> str | None:
        assert process.poll() is None
        try:
            return http.get("/metrics").raise_for_status().text
        except httpx.ConnectError:
            return None

    return wait_until(page, "the exporter listens")


@pytest.mark.parametrize("package", ["postgres-exporter", "postgres-exporter-trixie"])
def test_the_exporter_serves_the_state_of_the_database_to_clients_with_a_certificate(
    cluster: Cluster, tmp_path: Path, package: str
) -> None:
    site = Site(tmp_path)
    port = free_port()
    files = {
        "certificate_file": site.certificate_file,
        "key_file": site.key_file,
        "ca_file": site.ca_file,
        "config_dir": tmp_path,
        "socket_dir": cluster.client_environment()["PGHOST"],
    }
    known = {
        "postgresql_exporter_listen_address": "127.0.0.1",
        "postgresql_exporter_port": port,
        "postgresql_exporter_database_port": cluster.port,
        **{f"postgresql_exporter_{name}": str(path) for name, path in files.items()},
    }
    web = role_template.render("postgresql_exporter", "web.yml.j2", **known)
    (tmp_path / "web.yml").write_text(web)
    source = role_value("postgresql_exporter", "{{ __postgresql_exporter_source }}", known)
    command = role_value("postgresql_exporter", "{{ __postgresql_exporter_command }}", known)
    folder = str(ROOT / ".cache" / package / "usr/bin")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [part.replace("/usr/bin", folder) for part in command],
            env={"DATA_SOURCE_NAME": source, "PGPASSWORD": _PASSWORD},
            stdout=log,
            stderr=log,
        )
    url = f"https://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, verify=site.context()) as http:
            page = page_of(http, process)
        with (
            httpx.Client(base_url=url, verify=site.anonymous_context()) as http,
            pytest.raises(httpx.HTTPError),
        ):
            http.get("/metrics")
    finally:
        process.kill()
        process.wait(10)
    samples = [s for f in text_string_to_metric_families(page) for s in f.samples]
    values = {sample.name: sample.value for sample in samples}
    assert values["pg_up"] == 1, (tmp_path / "log").read_text()
    (size,) = (
        sample.value
        for sample in samples
        if sample.name == "pg_database_size_bytes" and sample.labels["datname"] == "ffmpeg_rtmp"
    )
    assert size > 1_000_000
    assert values["pg_settings_max_connections"] == 100
    assert _PASSWORD not in page
    # All of its metrics are kept when they are scraped.
    allowed = role_value(
        "victoria_metrics", "{{ __victoria_metrics_names.postgresql | join('|') }}", {}
    )
    assert [name for name in values if not re.fullmatch(allowed, name)] == []
