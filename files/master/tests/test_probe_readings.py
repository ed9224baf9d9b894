"""Tests of the values that probes read from responses, with texts of the real programs."""

import pytest
from ffrtmp_master.exporters.components import ProbeKind
from ffrtmp_master.exporters.disk_forecast import FileSystem
from ffrtmp_master.exporters.probe_readings import (
    HTTP_PROBES,
    Reading,
    UnexpectedContentError,
    version_matches,
)

_RULES = (
    b'{"status":"success","data":{"groups":[%s]}}',
    b'{"name":"a","rules":[],"lastEvaluation":"%s"}',
)


def read(kind: ProbeKind, *bodies: bytes) -> Reading:
    return HTTP_PROBES[kind].read(bodies)


def test_metrics_of_haproxy() -> None:
    page = b"""# HELP haproxy_process_build_info Build info
# TYPE haproxy_process_build_info gauge
haproxy_process_build_info{version="2.6.12-1+deb12u4"} 1
haproxy_process_build_information 2
"""
    assert read(ProbeKind.HAPROXY, page).version == "2.6.12-1+deb12u4"


def test_health_of_grafana() -> None:
    body = b'{"commit":"x","database":"ok","version":"12.3.1"}'
    assert read(ProbeKind.GRAFANA, body).version == "12.3.1"


def test_the_group_of_vmalert_that_has_waited_longest_counts() -> None:
    times = (b"2026-01-01T00:00:10.5Z", b"2026-01-01T00:00:00Z", b"0001-01-01T00:00:00Z")
    groups = _RULES[0] % b",".join(_RULES[1] % time for time in times)
    metrics = b'vm_app_version{version="vmalert-x", short_version="v1.112.0"} 1\n'
    found = read(ProbeKind.VMALERT, metrics, groups)
    assert found == Reading("v1.112.0", data_unix_s=1767225600.0)
    assert read(ProbeKind.VMALERT, b"", _RULES[0] % b"").data_unix_s is None


def test_disks_of_node_exporter() -> None:
    """A device that is mounted twice is one disk; read-only and memory file systems are none."""
    samples = (
        ("/dev/a", "ext4", "/srv/data", 5),
        ("/dev/a", "ext4", "/", 5),
        ("/dev/b", "ext4", "/boot", 7),
        ("tmpfs", "tmpfs", "/run", 1),
        ("/dev/c", "squashfs", "/snap", 0),
        ("/dev/d", "ext4", "/cdrom", 3),
    )
    page = "".join(
        f'node_filesystem_avail_bytes{{device="{device}",fstype="{kind}",mountpoint="{path}"}}'
        f" {free}\n"
        for device, kind, path, free in samples
    )
    page += 'node_filesystem_readonly{device="/dev/d",fstype="ext4",mountpoint="/cdrom"} 1\n'
    page += 'node_filesystem_readonly{device="/dev/b",fstype="ext4",mountpoint="/boot"} 0\n'
    found = read(ProbeKind.NODE_EXPORTER, page.encode()).file_systems
    assert found == (FileSystem("/", 5), FileSystem("/boot", 7))


def disk(path: str, free: str, device: str = "d") -> str:
    labels = f'device="{device}",fstype="ext4",mountpoint="{path}"'
    return f"node_filesystem_avail_bytes{{{labels}}} {free}\n"


def test_a_writable_path_counts_before_a_shorter_one_that_is_read_only() -> None:
    page = disk("/", "5") + disk("/var", "5")
    page += 'node_filesystem_readonly{device="d",fstype="ext4",mountpoint="/"} 1\n'
    found = read(ProbeKind.NODE_EXPORTER, page.encode()).file_systems
    assert found == (FileSystem("/var", 5),)


@pytest.mark.parametrize("free", ["NaN", "+Inf", "-Inf", "-1", "1e308"])
def test_a_value_that_is_not_a_number_of_bytes_is_ignored(free: str) -> None:
    """Such values cannot be extrapolated, and would otherwise end the pass of the prober."""
    page = disk("/broken", free, "a") + disk("/good", "7", "b")
    found = read(ProbeKind.NODE_EXPORTER, page.encode()).file_systems
    assert found == (FileSystem("/good", 7),)


def test_the_texts_of_a_host_are_bounded() -> None:
    page = disk("/" + "x" * 2000, "1", "a") + disk("/good", "7", "b")
    found = read(ProbeKind.NODE_EXPORTER, page.encode()).file_systems
    assert found == (FileSystem("/good", 7),)
    running = Reading("1" * 1_000_000 + ".5")
    assert version_matches(running, version="1.5", own_version="", own_revision="") is None


def test_the_number_of_disks_is_bounded() -> None:
    page = "".join(
        f'node_filesystem_avail_bytes{{device="d{n}",fstype="ext4",mountpoint="/{n}"}} 1\n'
        for n in range(1000)
    )
    assert len(read(ProbeKind.NODE_EXPORTER, page.encode()).file_systems) == 64


@pytest.mark.parametrize(
    ("kind", "bodies"),
    [
        (ProbeKind.GRAFANA, (b"",)),
        (ProbeKind.GRAFANA, (b"[" * 100_000,)),
        (ProbeKind.ALERTMANAGER, (b"OK", b"{}")),
        (ProbeKind.VMALERT, (b"", b'{"data":{"groups":[{"lastEvaluation":"now"}]}}')),
        (ProbeKind.VICTORIA_METRICS, (b"OK", b"", b'{"data":{"result":[{"value":[1]}]}}')),
        (ProbeKind.VICTORIA_METRICS, (b"OK", b"", b'{"data":{"result":[{"value":[1,"x"]}]}}')),
        (ProbeKind.RTMP_SERVER, (b"<html>",)),
        (ProbeKind.EXPORTER, (b"ffrtmp_x{a= 1\n",)),
        (ProbeKind.EXPORTER, (b"ffrtmp_x one\n",)),
        (ProbeKind.NODE_EXPORTER, (b'node_x{a="1",a} 1\n',)),
    ],
)
def test_other_content_is_unexpected(kind: ProbeKind, bodies: tuple[bytes, ...]) -> None:
    with pytest.raises(UnexpectedContentError):
        read(kind, *bodies)


@pytest.mark.parametrize(
    ("running", "deployed", "expected"),
    [
        ("1.5.0", "1.5.0-1+b6", True),
        ("2.6.12-1+deb12u4", "2.6.12-1+deb12u4", True),
        ("v1.112.0", "1.112.0+ds1-2", True),
        ("1.22.1", "1:1.22.1-9+deb12u3", True),
        ("1.5.0", "1.9.0-1", False),
        ("1.5", "1.5.0-1", False),
        # Debian 12 builds VictoriaMetrics without a version.
        ("", "1.79.5+ds1-2+b5", None),
        ("devel", "1.5.0", None),
    ],
)
def test_versions_of_packages(running: str, deployed: str, expected: bool | None) -> None:
    found = version_matches(
        Reading(running), version=deployed, own_version="0.2.0", own_revision="unknown"
    )
    assert found is expected


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        (("0.2.0", "0123456789ab"), True),
        (("0.2.0", "ffffffffffff"), False),
        (("0.1.0", "0123456789ab"), False),
        (("0.2.0", "unknown"), True),
        (("0.1.0", "unknown"), False),
        (("", ""), None),
    ],
)
def test_releases_of_the_farm(running: tuple[str, str], expected: bool | None) -> None:
    found = version_matches(
        Reading(*running), version="", own_version="0.2.0", own_revision="0123456789ab"
    )
    assert found is expected
