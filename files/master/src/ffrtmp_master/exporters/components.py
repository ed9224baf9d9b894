"""The components of a farm that the exporter health probes.

They come from a file, which the deployment writes from its inventory, and from the registry of the
master, which knows the workers.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from ffrtmp_shared import config
from ffrtmp_shared.constrained_types import Address, Name, Port
from ffrtmp_shared.file_watch import FileWatch
from ffrtmp_shared.node_models import Node
from msgspec import Meta

_NODE_EXPORTER = "node"
_COMPONENTS_MAX = 20_000

HostName = Annotated[str, Meta(max_length=64)]
Version = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+:~-]{0,128}$(?!\n)")]


class ProbeKind(StrEnum):
    """Kinds of probes, each for the interface of one kind of program."""

    READY = "ready"
    EXPORTER = "exporter"
    NODE_EXPORTER = "node_exporter"
    VICTORIA_METRICS = "victoria_metrics"
    VMALERT = "vmalert"
    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"
    RTMP_SERVER = "rtmp_server"
    HAPROXY = "haproxy"
    POSTGRESQL = "postgresql"
    METRICS = "metrics"


class Component(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program that listens on a port.

    Attributes:
        component: The name of the component, which is the value of the label `component`.
        probe: The kind of its probe.
        host: The name or address at which it is reached, which its certificate must contain.
        port: The port that it listens on.
        name: The value of the label `instance`; empty if it is the host with the port, which is
            not unique for an address of the loopback interface.
        node: The name of its host in the inventory; for node_exporter, the value of the label
            `node`.
        version: The version that is deployed; empty if it is that of this exporter, or unknown.
    """

    component: Name
    probe: ProbeKind
    host: Address
    port: Port
    name: Annotated[str, Meta(max_length=320)] = ""
    node: HostName = ""
    version: Version = ""

    @property
    def instance(self) -> str:
        """The value of the label `instance`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.name or f"{host}:{self.port}"

    @property
    def key(self) -> "ComponentKey":
        """The labels of the component, which identify it."""
        return ComponentKey(self.component, self.instance)


class ComponentKey(NamedTuple):
    """The labels of a component."""

    component: str
    instance: str


class ComponentList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a file with components.

    Attributes:
        components: The components, without the exporters of workers.
        node_exporter_versions: The deployed versions of node_exporter on the workers of the
            inventory, by their names.
    """

    components: Annotated[tuple[Component, ...], Meta(max_length=_COMPONENTS_MAX)]
    node_exporter_versions: Annotated[
        dict[HostName, Version], Meta(max_length=_COMPONENTS_MAX)
    ] = {}


class ComponentFile:
    """The components of a file, which is loaded again when it changes. Not thread-safe.

    As long as the file does not exist, it contains no components: on a new host, the exporter is
    started before the deployment knows all components.
    """

    def __init__(self, path: Path) -> None:
        """Load the file. Raises ConfigError if it is not valid."""
        self._path = path
        self._watch = FileWatch([path], subject="the list of components")
        self._content = self._load()

    def components(self) -> tuple[Component, ...]:
        """Return the components; if a changed file is not valid, those of the file before."""
        return self._current().components

    def node_exporter_versions(self) -> Mapping[str, str]:
        """Return the deployed versions of node_exporter by the names of the workers."""
        return self._current().node_exporter_versions

    def _current(self) -> ComponentList:
        changed = self._watch.load_changed(self._load)
        if changed is not None:
            self._content = changed
        return self._content

    def _load(self) -> ComponentList:
        if not self._path.exists():
            return ComponentList(components=())
        return config.load(self._path, ComponentList)


def worker_components(
    nodes: Iterable[Node], node_exporter_versions: Mapping[str, str]
) -> Iterator[Component]:
    """Yield the exporters of all registered workers.

    Args:
        nodes: The workers.
        node_exporter_versions: The deployed versions of node_exporter by the names of the workers.
            That of a worker which is not listed is unknown.
    """
    for node in nodes:
        for name, port in node.registration.exporters.items():
            is_node_exporter = name == _NODE_EXPORTER
            yield Component(
                component=name,
                probe=ProbeKind.NODE_EXPORTER if is_node_exporter else ProbeKind.EXPORTER,
                host=node.registration.address,
                port=port,
                node=node.name,
                version=node_exporter_versions.get(node.name, "") if is_node_exporter else "",
            )
