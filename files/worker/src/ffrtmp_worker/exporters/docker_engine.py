"""Client of the Docker Engine's API, which podman also implements."""

import logging
import os
import socket
import time
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

# The API of Docker 20.10, the first with one-shot statistics, which need no second sample.
API_VERSION = "v1.41"

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


class _Listed(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="Id")
    names: list[str] = msgspec.field(name="Names")
    image: str = msgspec.field(name="Image")
    state: str = msgspec.field(name="State")


class _Inspected(msgspec.Struct, frozen=True):
    restarts: int = msgspec.field(name="RestartCount")


class _Version(msgspec.Struct, frozen=True):
    version: str = msgspec.field(name="Version")


class DockerEngine:
    """Reads the containers of an Engine through its Unix socket, without changing them."""

    def __init__(self, path: Path) -> None:
        """Use the socket at `path`, which need not exist yet."""
        self._path = path

    def read(self) -> Containers:
        """Return all containers, including stopped ones, or the reason why they are unknown.

        A container that is removed during the call is left out. The duration of the call depends
        on the Engine; podman's service needs about 100 ms for each running container.
        """
        # Open a new connection each time, because a restarted Engine has closed the old one.
        with closing(_Connection(self._path)) as connection:
            try:
                version = _get(connection, "version", _Version)
                listed = _get(connection, "containers/json?all=1", list[_Listed])
                found = [_container(connection, entry) for entry in listed or ()]
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


def _container(connection: _Connection, listed: _Listed) -> Container | None:
    path = f"containers/{listed.id}"
    inspected = _get(connection, f"{path}/json", _Inspected)
    # For a stopped container, the Engine would return zeros, which are not measurements.
    stats = (
        _get(connection, f"{path}/stats?stream=false&one-shot=true", ContainerStatistics)
        if listed.state in _STATES_WITH_STATS
        else ContainerStatistics()
    )
    if inspected is None or stats is None:
        return None
    return Container(
        name=listed.names[0].removeprefix("/") if listed.names else listed.id[:12],
        id=listed.id,
        image=listed.image,
        state=listed.state,
        values={"restarts": float(inspected.restarts), **usage_values(stats)},
        network=stats.networks or {},
    )


def _get(connection: _Connection, path: str, answer_type: type[T]) -> T | None:
    """Return the decoded answer, or None if the container does not exist or is being removed."""
    connection.request("GET", f"/{API_VERSION}/{path}")
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
