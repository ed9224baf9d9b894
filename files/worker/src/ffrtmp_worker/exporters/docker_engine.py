"""Client of the Docker Engine's API, which podman also implements."""

import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from ffrtmp_worker.exporters.container_usage import (
    ContainerStatistics,
    NetworkCounts,
    usage_values,
)

_log = logging.getLogger(__name__)

T = TypeVar("T")

API_VERSION = (1, 41)
"""The API of Docker 20.10, the first with one-shot statistics, which need no second sample.

An Engine that does not have this version, such as Docker 29, is asked with the nearest one."""

_TIMEOUT_S = 4.0
# The list of a thousand containers has about 2 MiB.
_ANSWER_BYTES_MAX = 16 * 1024 * 1024

# States in which a container has processes, and therefore statistics.
_STATES_WITH_STATS = frozenset({"running", "paused"})


class Container(NamedTuple):
    """A container. `values` contains its known values by name; the names include the units."""

    name: str
    id: str
    image: str
    state: str
    values: dict[str, float]
    network: dict[str, NetworkCounts]
    """Traffic by the interface's name in the container.

    It is empty if the container shares the host's network.
    """


class Containers(NamedTuple):
    """Containers of an Engine at the Unix time `read_at_s`, or the reason why they are unknown."""

    version: str
    containers: tuple[Container, ...]
    reason: str
    read_at_s: float


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    id: str = msgspec.field(name="Id")
    names: list[str] | None = msgspec.field(name="Names", default=None)
    image: str = msgspec.field(name="Image")
    state: str = msgspec.field(name="State")


class _Inspected(msgspec.Struct, frozen=True):
    restarts: int | None = msgspec.field(name="RestartCount", default=None)


class _Version(msgspec.Struct, frozen=True):
    version: str = msgspec.field(name="Version")
    newest_api: str = msgspec.field(name="ApiVersion", default="")
    oldest_api: str = msgspec.field(name="MinAPIVersion", default="")


class DockerEngine:
    """Reads the containers of an Engine through its Unix socket, without changing them."""

    def __init__(self, path: Path) -> None:
        """Use the socket at `path`, which need not exist yet."""
        self._path = path

    def read(self) -> Containers:
        """Return all containers, including stopped ones, or the reason why they are unknown.

        A container that is removed during the call, or whose entry is invalid, is left out. One
        about which the Engine cannot answer has no values. The duration of the call depends on the
        Engine; podman's service needs about 100 ms for each running container.
        """
        # Open a new connection each time, because a restarted Engine has closed the old one.
        with closing(_Connection(self._path)) as connection:
            try:
                version = _get(connection, "/version", _Version)
                prefix = _api_prefix(version)
                listed = _get(connection, f"{prefix}/containers/json?all=1", list[msgspec.Raw])
                found = [
                    _container(connection, prefix, entry) for entry in _valid_entries(listed or ())
                ]
            except TimeoutError:
                return _unavailable("timeout")
            except OSError:
                return _unavailable(_unreachable_reason(self._path))
            except _RefusedError as error:
                _log.debug("%s", error)
                return _unavailable("http_error")
            except (HTTPException, msgspec.MsgspecError):
                return _unavailable("unknown_answer")
        return Containers(
            version=version.version if version else "",
            containers=tuple(container for container in found if container is not None),
            reason="",
            read_at_s=time.time(),
        )


class _RefusedError(Exception):
    """The Engine returned an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the Engine returned the status {status}")
        self.status = status


class _Connection(HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _api_prefix(version: _Version | None) -> str:
    """Return the begin of the paths in the version of the API that the Engine has."""
    chosen = API_VERSION
    if version is not None:
        chosen = min(chosen, _numbers(version.newest_api) or chosen)
        chosen = max(chosen, _numbers(version.oldest_api) or chosen)
    return f"/v{chosen[0]}.{chosen[1]}"


def _numbers(text: str) -> tuple[int, int] | None:
    """Return the numbers of a version such as 1.44, or None if it is not one."""
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _valid_entries(entries: Iterable[msgspec.Raw]) -> Iterator[_Listed]:
    for entry in entries:
        try:
            yield msgspec.json.decode(entry, type=_Listed)
        except msgspec.MsgspecError as error:
            _log.debug("a container of the Engine is left out: %s", error)


def _container(connection: _Connection, prefix: str, listed: _Listed) -> Container | None:
    path = f"{prefix}/containers/{listed.id}"
    inspected: _Inspected | None = _Inspected()
    # For a stopped container, the Engine would return zeros, which are not measurements.
    stats: ContainerStatistics | None = ContainerStatistics()
    try:
        inspected = _get(connection, f"{path}/json", _Inspected)
        if listed.state in _STATES_WITH_STATS:
            stats = _get(
                connection, f"{path}/stats?stream=false&one-shot=true", ContainerStatistics
            )
    except (_RefusedError, msgspec.MsgspecError) as error:
        _log.debug("container %s has no values: %s", listed.id[:12], error)
    if inspected is None or stats is None:
        return None
    restarts = {} if inspected.restarts is None else {"restarts": float(inspected.restarts)}
    return Container(
        name=_name(listed),
        id=listed.id,
        image=listed.image,
        state=listed.state,
        values={**restarts, **usage_values(stats)},
        network=stats.networks or {},
    )


def _name(listed: _Listed) -> str:
    """Return the container's own name: one with a second slash is the alias of a link to it."""
    names = [name.removeprefix("/") for name in listed.names or ()]
    return next((name for name in names if name and "/" not in name), listed.id[:12])


def _get(connection: _Connection, path: str, answer_type: type[T]) -> T | None:
    """Return the decoded answer, or None if the container does not exist or is being removed."""
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read(_ANSWER_BYTES_MAX + 1)
    if len(content) > _ANSWER_BYTES_MAX:
        raise HTTPException(f"the answer has more than {_ANSWER_BYTES_MAX} bytes")
    # The Engine returns 409 for a container that is being removed.
    if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        return None
    if answer.status != HTTPStatus.OK:
        raise _RefusedError(answer.status)
    return msgspec.json.decode(content, type=answer_type)


def _unreachable_reason(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return "no_socket"
    except PermissionError:
        return "permission_denied"
    return "unreachable" if os.access(path, os.W_OK) else "permission_denied"


def _unavailable(reason: str) -> Containers:
    return Containers(version="", containers=(), reason=reason, read_at_s=time.time())
