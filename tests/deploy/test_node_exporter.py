"""Tests of the role node_exporter, whose unit and settings node_exporter itself runs with."""

import resource
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import HOST, Site
from polling import wait_until
from postgresql import free_port
from role_templates import ROOT, load_yaml, render
from ruamel.yaml import YAML

_PROGRAM = ROOT / ".cache/node-exporter/usr/bin/prometheus-node-exporter"
_ROLE = ROOT / "roles/node_exporter"
_SILENT = 1500


def rendered(template: str, **variables: Any) -> str:
    found = load_yaml(_ROLE / "defaults/main.yml") | load_yaml(_ROLE / "vars/main.yml")
    text = (_ROLE / "templates" / template).read_text()
    return str(render(text, {**found, **variables}, is_file=True))


def command(**variables: Any) -> list[str]:
    """Return the command of the unit, as systemd passes it."""
    text = rendered("ffrtmp-node-exporter.service.j2", **variables).replace("\\\n", "")
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    line = line.removeprefix("ExecStart=").replace("$$", "$").replace("%%", "%")
    # systemd does not interpret parentheses and bars, which a shell would.
    return [part for part in line.split(" ") if part]


def is_listening(url: str, site: Site) -> bool:
    try:
        httpx.get(url, verify=site.context())
    except httpx.TransportError:
        return False
    return True


@contextmanager
def running(site: Site, **variables: Any) -> Iterator[str]:
    """Run node_exporter with the settings of the role; yield the URL of its metrics."""
    port = free_port()
    settings = {
        "node_exporter_certificate_file": str(site.certificate_file),
        "node_exporter_key_file": str(site.key_file),
        "node_exporter_ca_file": str(site.ca_file),
        "node_exporter_config_dir": str(site.folder),
        "node_exporter_listen_address": HOST,
        "node_exporter_port": port,
        **variables,
    }
    (site.folder / "node-exporter.yml").write_text(rendered("node-exporter.yml.j2", **settings))
    program, *arguments = command(**settings)
    assert program == "/usr/bin/prometheus-node-exporter"
    unit = rendered("ffrtmp-node-exporter.service.j2", **settings)
    (files_max,) = (line for line in unit.splitlines() if line.startswith("LimitNOFILE="))
    limited = ["prlimit", f"--nofile={files_max.partition('=')[2]}", _PROGRAM, *arguments]
    with (
        (site.folder / "log").open("wb") as log,
        subprocess.Popen(limited, stderr=log) as process,
    ):
        try:
            url = f"https://{HOST}:{port}/metrics"
            wait_until(lambda: is_listening(url, site), (site.folder / "log").read_text)
            yield url
        finally:
            process.kill()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def collectors(page: str) -> set[str]:
    return {
        line.split('"')[1]
        for line in page.splitlines()
        if line.startswith("node_scrape_collector_success{")
    }


def test_only_the_named_collectors_run(site: Site) -> None:
    defaults = load_yaml(_ROLE / "defaults/main.yml")
    extra = ["loadavg", "cpu", "systemd"]
    with running(site, node_exporter_extra_collectors=extra) as url:
        page = httpx.get(url, verify=site.context()).text
    assert collectors(page) == {*defaults["node_exporter_collectors"], *extra}
    # File systems in memory cannot fill a disk.
    assert 'fstype="tmpfs"' not in page
    assert "node_filesystem_avail_bytes{" in page


def test_a_client_needs_a_certificate_of_the_farm(site: Site, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Site(tmp_path / "other")
    with running(site) as url:
        for client in (None, stranger.authority.issue_cert("client")):
            context = site.anonymous_context()
            if client is not None:
                client.configure_cert(context)
            with pytest.raises(httpx.TransportError):
                httpx.get(url, verify=context)
        old = site.context()
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=old)
        plain = url.replace("https:", "http:")
        assert httpx.get(plain).status_code == httpx.codes.BAD_REQUEST


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process open the files of the test."""
    former, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(former, 2 * _SILENT), maximum))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (former, maximum))


@pytest.mark.usefixtures("many_files")
def test_many_silent_connections_do_not_prevent_scrapes(site: Site) -> None:
    """node_exporter does not end them, so they must not use up its open files."""
    with running(site) as url, ExitStack() as stack:
        before = successes(httpx.get(url, verify=site.context()).text)
        for _ in range(_SILENT):
            stack.enter_context(socket.create_connection(address_of(url)))
        assert successes(httpx.get(url, verify=site.context()).text) == before
    assert len(before) > 3


def successes(page: str) -> set[str]:
    """Return the lines about the collectors that succeeded."""
    name = "node_scrape_collector_success{"
    return {line for line in page.splitlines() if line.startswith(name) and line.endswith(" 1")}


def address_of(url: str) -> tuple[str, int]:
    return HOST, int(url.split(":")[2].split("/", maxsplit=1)[0])


def test_a_renewed_certificate_is_used_without_a_restart(site: Site) -> None:
    """The handlers of certificates therefore need not know node_exporter."""
    with running(site) as url:
        former = serial_of(site, url)
        site.renew()
        assert serial_of(site, url) != former


def serial_of(site: Site, url: str) -> str:
    with (
        socket.create_connection(address_of(url)) as plain,
        site.context().wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        return str((connection.getpeercert() or {})["serialNumber"])


def test_the_addresses_of_clients_are_restricted_if_they_are_known() -> None:
    unit = rendered("ffrtmp-node-exporter.service.j2", node_exporter_client_addresses=["192.0.2.7"])
    assert "IPAddressDeny=any\nIPAddressAllow=localhost 192.0.2.7\n" in unit
    assert "IPAddress" not in rendered("ffrtmp-node-exporter.service.j2")


def test_the_settings_contain_no_other_key() -> None:
    settings = YAML(typ="safe").load(rendered("node-exporter.yml.j2"))
    assert list(settings) == ["tls_server_config"]
    assert settings["tls_server_config"]["client_auth_type"] == "RequireAndVerifyClientCert"
