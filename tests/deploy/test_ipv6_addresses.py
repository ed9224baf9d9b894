"""Tests that an IPv6 address has brackets in URLs and before ports."""

import re
from pathlib import Path
from typing import Any

import pytest
from role_template import render as render_template
from role_templates import load_yaml, render

ROOT = Path(__file__).resolve().parents[2]
_UNBRACKETED = re.compile(r"(_address|[.]address|[.]host) *(\}\}:|~ ':')")


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("fd00::10", "[fd00::10]"),
        ("::", "[::]"),
        ("192.0.2.10", "192.0.2.10"),
        ("worker1.example.org", "worker1.example.org"),
        ("", ""),
    ],
)
def test_only_ipv6_addresses_get_brackets(address: str, written: str) -> None:
    assert render("{{ address | url_host }}", {"address": address}) == written


def test_every_address_before_a_port_passes_the_filter() -> None:
    files = [
        path
        for folder in ("roles", "playbooks", "group_vars")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".yml", ".j2"}
    ]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        # This variable contains an address that has passed the filter.
        if _UNBRACKETED.search(line.replace("__farm_exporters_address", ""))
    ]
    assert found == []


SETTINGS: dict[str, Any] = {
    name: value
    for path in sorted((ROOT / "group_vars").glob("*.yml"))
    for name, value in load_yaml(path).items()
}
HOSTS = {"h6": {"farm_address": "fd00::10"}}
GROUPS = {name: ["h6"] for name in ("master", "postgresql", "rtmp_server", "worker")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("farm_master_url", "https://[fd00::10]:8080"),
        ("worker_rtmp_url", "rtmp://[fd00::10]:1935/live"),
        ("worker_rtmp_stat_url", "https://[fd00::10]:8936/stat"),
        ("vmalert_dashboard_base_url", "https://[fd00::10]:3000"),
    ],
)
def test_urls_of_a_farm_with_ipv6_only(name: str, value: str) -> None:
    variables = {
        **SETTINGS,
        "groups": GROUPS,
        "hostvars": HOSTS,
        "farm_address": "fd00::10",
        "playbook_dir": str(ROOT / "playbooks"),
    }
    assert render(f"{{{{ {name} }}}}", variables).strip() == value
    url = render("{{ master_database_url }}", variables)
    assert url.startswith("postgresql://ffmpeg_rtmp@[fd00::10]:5432/")


def test_haproxy_listens_on_and_connects_to_ipv6() -> None:
    server = {"name": "m1", "address": "fd00::11", "port": 8080}
    text = render_template(
        "load_balancer",
        "haproxy.cfg.j2",
        load_balancer_listen_address="::",
        load_balancer_services=[{"name": "api", "port": 8080, "servers": [server]}],
    )
    assert "bind [::]:8080" in text
    assert "server m1 [fd00::11]:8080 " in text
