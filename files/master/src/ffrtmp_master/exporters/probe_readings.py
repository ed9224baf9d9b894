"""Versions and times of data in the responses of the components."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ffrtmp_master.exporters.components import ProbeKind
from ffrtmp_master.exporters.disk_forecast import FileSystem

T = TypeVar("T")

_FILE_SYSTEMS_MAX = 64
_MOUNTPOINT_CHARS_MAX = 1024
_FREE_BYTES_MAX = 1e24
_VERSION_CHARS_MAX = 128
# File systems in memory, and those that cannot grow.
_NO_DISKS = frozenset({"tmpfs", "ramfs", "squashfs", "erofs", "iso9660", "nsfs", "autofs"})
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_NGINX_VERSION = re.compile(rb"<nginx_version>([0-9.]{1,32})</nginx_version>")


class UnexpectedContentError(ValueError):
    """A response does not have the content that the component is known to return."""


class Reading(NamedTuple):
    """The content of a component's responses, as far as it is exported.

    Attributes:
        version: The version of the running program; empty if it does not report one.
        revision: The revision of a release of the farm; empty for other programs.
        data_unix_s: The time of the newest data, as a Unix time in seconds; None if the component
            has no data that become outdated.
        file_systems: The file systems of the host.
    """

    version: str = ""
    revision: str = ""
    data_unix_s: float | None = None
    file_systems: tuple[FileSystem, ...] = ()


class HttpProbe(NamedTuple):
    """The requests of a probe, and the function that reads the bodies of their responses."""

    targets: tuple[str, ...]
    read: Callable[[Sequence[bytes]], Reading]


def version_matches(
    reading: Reading, *, version: str, own_version: str, own_revision: str
) -> bool | None:
    """Return whether the running version is the deployed one; None if either is unknown.

    Only the first number with dots is compared with a packaged version, because programs do not
    report the revision of their package.

    Args:
        reading: The content of the responses of the component.
        version: The deployed version; empty for the programs of the farm.
        own_version: The version of the farm's release.
        own_revision: The revision of the farm's release, or `unknown`.
    """
    if version:
        wanted = _NUMBER.search(version)
        running = _NUMBER.search(reading.version[:_VERSION_CHARS_MAX])
        return None if wanted is None or running is None else wanted[0] == running[0]
    if not reading.version or not reading.revision:
        return None
    is_same_revision = "unknown" in (reading.revision, own_revision) or (
        reading.revision == own_revision
    )
    return reading.version == own_version and is_same_revision


def _read_nothing(_: Sequence[bytes]) -> Reading:
    return Reading()


def _read_exporter(bodies: Sequence[bytes]) -> Reading:
    version = revision = ""
    data_unix_s = None
    for sample in _samples(bodies[0], "ffrtmp_"):
        if sample.name.endswith("_build_info"):
            version = sample.labels.get("version", "")
            revision = sample.labels.get("revision", "")
        elif sample.name == "ffrtmp_exporter_source_last_success_timestamp_seconds":
            data_unix_s = sample.value
    return Reading(version, revision, data_unix_s)


def _read_node_exporter(bodies: Sequence[bytes]) -> Reading:
    version = ""
    read_only: set[str] = set()
    free: list[tuple[str, FileSystem]] = []
    for sample in _samples(bodies[0], "node_"):
        mountpoint, device = sample.labels.get("mountpoint", ""), sample.labels.get("device", "")
        if sample.name == "node_exporter_build_info":
            version = sample.labels.get("version", "")
        elif sample.name == "node_filesystem_readonly" and sample.value:
            read_only.add(mountpoint)
        elif _is_free_space(sample) and len(mountpoint) <= _MOUNTPOINT_CHARS_MAX:
            free.append((device, FileSystem(mountpoint, sample.value)))
    writable = [found for found in free if found[1].mountpoint not in read_only]
    # A device that is mounted several times is reported once, at its shortest path.
    systems: dict[str, FileSystem] = {}
    for device, system in sorted(writable, key=lambda found: len(found[1].mountpoint)):
        systems.setdefault(device, system)
    return Reading(version, file_systems=tuple(sorted(systems.values())[:_FILE_SYSTEMS_MAX]))


def _is_free_space(sample: Sample) -> bool:
    # A value that is not a number of bytes could not be extrapolated.
    return (
        sample.name == "node_filesystem_avail_bytes"
        and sample.labels.get("fstype") not in _NO_DISKS
        and 0 <= sample.value <= _FREE_BYTES_MAX
    )


def _read_victoria_metrics(bodies: Sequence[bytes]) -> Reading:
    _, metrics, latest = bodies
    answer = _decode(latest, _QueryAnswer)
    try:
        times = [float(vector.value[1]) for vector in answer.data.result]
    except ValueError as error:
        raise UnexpectedContentError(f"the time of the data is not valid: {error}") from error
    return Reading(_app_version(metrics), data_unix_s=max(times, default=None))


def _read_vmalert(bodies: Sequence[bytes]) -> Reading:
    """Return the time at which the group that has waited longest was evaluated."""
    metrics, rules = bodies
    groups = _decode(rules, _RulesAnswer).data.groups
    # Before its first evaluation, the time of a group is that of the year 1.
    times = [group.lastEvaluation.timestamp() for group in groups if group.lastEvaluation.year > 1]
    return Reading(_app_version(metrics), data_unix_s=min(times, default=None))


def _read_alertmanager(bodies: Sequence[bytes]) -> Reading:
    return Reading(_decode(bodies[1], _AlertmanagerStatus).versionInfo.version)


def _read_grafana(bodies: Sequence[bytes]) -> Reading:
    return Reading(_decode(bodies[0], _GrafanaHealth).version)


def _read_rtmp_server(bodies: Sequence[bytes]) -> Reading:
    found = _NGINX_VERSION.search(bodies[0])
    if found is None:
        raise UnexpectedContentError("the statistics contain no nginx_version")
    return Reading(found[1].decode("ascii"))


def _read_haproxy(bodies: Sequence[bytes]) -> Reading:
    samples = _samples(bodies[0], "haproxy_process_build_info")
    return Reading(next((sample.labels.get("version", "") for sample in samples), ""))


HTTP_PROBES: Mapping[ProbeKind, HttpProbe] = {
    ProbeKind.READY: HttpProbe(("/readyz",), _read_nothing),
    # The collector `events` of a master, and the others of an exporter.
    ProbeKind.EXPORTER: HttpProbe(
        ("/metrics?collect[]=build&collect[]=source&collect[]=events",), _read_exporter
    ),
    ProbeKind.NODE_EXPORTER: HttpProbe(("/metrics?collect[]=filesystem",), _read_node_exporter),
    ProbeKind.VICTORIA_METRICS: HttpProbe(
        ("/health", "/metrics", "/api/v1/query?query=max(timestamp(up))"), _read_victoria_metrics
    ),
    ProbeKind.VMALERT: HttpProbe(("/metrics", "/api/v1/rules"), _read_vmalert),
    ProbeKind.ALERTMANAGER: HttpProbe(("/-/ready", "/api/v2/status"), _read_alertmanager),
    ProbeKind.GRAFANA: HttpProbe(("/api/health",), _read_grafana),
    ProbeKind.RTMP_SERVER: HttpProbe(("/stat",), _read_rtmp_server),
    # Any other program with metrics, of which only the response is checked.
    ProbeKind.METRICS: HttpProbe(("/metrics",), _read_nothing),
    ProbeKind.HAPROXY: HttpProbe(("/metrics?scope=global",), _read_haproxy),
}
"""The probe of each kind that uses HTTP."""


class _QueryVector(msgspec.Struct):
    value: tuple[float, str]


class _QueryData(msgspec.Struct):
    result: tuple[_QueryVector, ...]


class _QueryAnswer(msgspec.Struct):
    data: _QueryData


class _RuleGroup(msgspec.Struct):
    lastEvaluation: datetime  # noqa: N815 - the name in the response


class _RulesData(msgspec.Struct):
    groups: tuple[_RuleGroup, ...]


class _RulesAnswer(msgspec.Struct):
    data: _RulesData


class _VersionInfo(msgspec.Struct):
    version: str


class _AlertmanagerStatus(msgspec.Struct):
    versionInfo: _VersionInfo  # noqa: N815 - the name in the response


class _GrafanaHealth(msgspec.Struct):
    version: str = ""


def _decode(body: bytes, answer_type: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=answer_type)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnexpectedContentError(str(error)) from error


def _samples(page: bytes, prefix: str) -> Iterator[Sample]:
    """Yield the samples of a page in Prometheus' text format whose name begins with `prefix`."""
    lines = page.decode("utf-8", "replace").splitlines()
    # Parsing is slow, so that only the lines that matter are parsed.
    wanted = "".join(f"{line}\n" for line in lines if line.startswith(prefix))
    try:
        for family in text_string_to_metric_families(wanted):
            yield from family.samples
    except (ValueError, IndexError, KeyError) as error:
        raise UnexpectedContentError(f"the metrics are not valid: {error}") from error


def _app_version(metrics: bytes) -> str:
    """Return the version of a program of VictoriaMetrics. Debian 12 builds them without one."""
    for sample in _samples(metrics, "vm_app_version"):
        return sample.labels.get("short_version") or sample.labels.get("version", "")
    return ""
