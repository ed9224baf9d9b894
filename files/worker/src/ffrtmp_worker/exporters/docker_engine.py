"""Client of the Docker Engine's API, which podman also implements."""

import logging
import os
import socket
import time
from collections.abc import Iterable
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

_log = logging.getLogger(__name__)

T = TypeVar("T")

# The API of Docker 20.10, the first with one-shot statistics, which need no second sample.
API_VERSION = "v1.41"

_TIMEOUT_S = 4.0
_NS_PER_S = 1e9
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
    network: dict[str, "NetworkCounts"]
    """Traffic by the interface's name in the container.

    It is empty if the container shares the host's network.
    """


class NetworkCounts(msgspec.Struct, frozen=True):
    """Traffic of one network interface since the container was started."""

    rx_bytes: int
    tx_bytes: int
    rx_dropped: int = 0
    tx_dropped: int = 0


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


class _CpuUsage(msgspec.Struct, frozen=True):
    total_usage: int = 0
    usage_in_usermode: int | None = None
    usage_in_kernelmode: int | None = None


class _Throttling(msgspec.Struct, frozen=True):
    throttled_periods: int | None = None
    throttled_time: int | None = None


class _Cpu(msgspec.Struct, frozen=True):
    cpu_usage: _CpuUsage = _CpuUsage()
    throttling_data: _Throttling = _Throttling()


class _Memory(msgspec.Struct, frozen=True):
    usage: int | None = None
    limit: int | None = None
    stats: dict[str, int] | None = None


class _BlockCount(msgspec.Struct, frozen=True):
    op: str
    value: int


class _Block(msgspec.Struct, frozen=True):
    io_service_bytes_recursive: list[_BlockCount] | None = None


class _Stats(msgspec.Struct, frozen=True):
    cpu_stats: _Cpu = _Cpu()
    memory_stats: _Memory = _Memory()
    blkio_stats: _Block = _Block()
    networks: dict[str, NetworkCounts] | None = None


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
        _get(connection, f"{path}/stats?stream=false&one-shot=true", _Stats)
        if listed.state in _STATES_WITH_STATS
        else _Stats()
    )
    if inspected is None or stats is None:
        return None
    return Container(
        name=listed.names[0].removeprefix("/") if listed.names else listed.id[:12],
        id=listed.id,
        image=listed.image,
        state=listed.state,
        values={"restarts": float(inspected.restarts), **_values(stats)},
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


def _values(stats: _Stats) -> dict[str, float]:
    """Return the known values of the statistics by name."""
    cpu, memory = stats.cpu_stats, stats.memory_stats
    known: dict[str, float | None] = {
        "cpu_user_s": _seconds(cpu.cpu_usage.usage_in_usermode),
        "cpu_system_s": _seconds(cpu.cpu_usage.usage_in_kernelmode),
        "cpu_throttled_s": _seconds(cpu.throttling_data.throttled_time),
        "memory_bytes": _without_cache(memory),
        "memory_limit_bytes": memory.limit,
        "block_read_bytes": _transferred_bytes(stats.blkio_stats, "read"),
        "block_write_bytes": _transferred_bytes(stats.blkio_stats, "write"),
    }
    return {name: float(value) for name, value in known.items() if value is not None}


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / _NS_PER_S


def _without_cache(memory: _Memory) -> int | None:
    """Return the memory in use as `docker stats` shows it, without inactive cached files."""
    if memory.usage is None:
        return None
    counts = memory.stats or {}
    # cgroup v1 has both names; the one without "total" excludes nested groups.
    cached = counts.get("total_inactive_file", counts.get("inactive_file", 0))
    return max(memory.usage - cached, 0)


def _transferred_bytes(block: _Block, operation: str) -> int | None:
    """Return the bytes transferred by all devices, or None if the kernel does not count them."""
    counts: Iterable[_BlockCount] | None = block.io_service_bytes_recursive
    if counts is None:
        return None
    # cgroup v1 capitalizes the names.
    return sum(count.value for count in counts if count.op.lower() == operation)


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
