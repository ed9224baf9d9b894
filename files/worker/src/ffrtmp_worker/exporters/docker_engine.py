"""Containers as a Docker Engine tells of them, or podman, which speaks the Engine's API too."""

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

T = TypeVar("T")

# The first version of the API whose statistics need no second sample (one-shot): Docker 20.10.
API_VERSION = "v1.41"

_TIMEOUT_S = 4.0
_NS_PER_S = 1e9

# States in which a container has processes, and so counts.
_COUNTING = frozenset({"running", "paused"})


class Container(NamedTuple):
    """A container. `values` holds what is known of it; each name ends in its unit."""

    name: str
    id: str
    image: str
    state: str
    values: dict[str, float]
    network: dict[str, "NetworkCounts"]
    """By the interface's name inside the container; empty where it shares the host's."""


class NetworkCounts(msgspec.Struct, frozen=True):
    """What went through one network interface since the container was started."""

    rx_bytes: int
    tx_bytes: int
    rx_dropped: int = 0
    tx_dropped: int = 0


class Containers(NamedTuple):
    """What an Engine knew at a moment (seconds since 1970), or the reason why nothing is known."""

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
    """Asks an Engine at its Unix socket; nothing is changed there."""

    def __init__(self, path: Path) -> None:
        """Ask at `path`, when asked to; it need not be there yet."""
        self._path = path

    def read(self) -> Containers:
        """Return all containers, also those that do not run, or the reason why not.

        One that is removed meanwhile is left out. Takes as long as the Engine does: podman's
        service some 100 ms for each container that runs.
        """
        # An Engine that was restarted has closed what was open before.
        with closing(_Connection(self._path)) as connection:
            try:
                version = _get(connection, "version", _Version)
                listed = _get(connection, "containers/json?all=1", list[_Listed])
                found = [_container(connection, one) for one in listed or ()]
            except TimeoutError:
                return _nothing("timeout")
            except OSError:
                return _nothing(_why_unreachable(self._path))
            except _RefusedError as error:
                return _nothing(f"http_{error.status}")
            except (HTTPException, msgspec.MsgspecError):
                return _nothing("unknown_answer")
        return Containers(
            version=version.version if version else "",
            containers=tuple(one for one in found if one is not None),
            reason="",
            read_at_s=time.time(),
        )


class _RefusedError(Exception):
    """The Engine answered with an error."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the Engine answered {status}")
        self.status = status


class _Connection(HTTPConnection):
    """HTTP over a Unix socket."""

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
    # Of one that does not run there are only zeros, which say nothing.
    stats = (
        _get(connection, f"{path}/stats?stream=false&one-shot=true", _Stats)
        if listed.state in _COUNTING
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
    """Return an answer, or None where the Engine knows no such container (any more)."""
    connection.request("GET", f"/{API_VERSION}/{path}")
    answer = connection.getresponse()
    content = answer.read()
    # A container that is going away is in conflict with whoever asks for it.
    if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        return None
    if answer.status != HTTPStatus.OK:
        raise _RefusedError(answer.status)
    return msgspec.json.decode(content, type=answer_type)


def _values(stats: _Stats) -> dict[str, float]:
    """Return what counts say, without what they do not have."""
    cpu, memory = stats.cpu_stats, stats.memory_stats
    known: dict[str, float | None] = {
        "cpu_user_s": _seconds(cpu.cpu_usage.usage_in_usermode),
        "cpu_system_s": _seconds(cpu.cpu_usage.usage_in_kernelmode),
        "cpu_throttled_s": _seconds(cpu.throttling_data.throttled_time),
        "memory_bytes": _without_cache(memory),
        "memory_limit_bytes": memory.limit,
        "block_read_bytes": _moved(stats.blkio_stats, "read"),
        "block_write_bytes": _moved(stats.blkio_stats, "write"),
    }
    return {name: float(value) for name, value in known.items() if value is not None}


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / _NS_PER_S


def _without_cache(memory: _Memory) -> int | None:
    """Return memory in use as `docker stats` shows it: without cached files not lately used."""
    if memory.usage is None:
        return None
    counts = memory.stats or {}
    # cgroup v1 has both names, where that without "total" leaves out what is nested.
    cached = counts.get("total_inactive_file", counts.get("inactive_file", 0))
    return max(memory.usage - cached, 0)


def _moved(block: _Block, operation: str) -> int | None:
    """Return bytes over all devices; None where the kernel has no such accounting."""
    counts: Iterable[_BlockCount] | None = block.io_service_bytes_recursive
    if counts is None:
        return None
    # cgroup v1 writes them with capitals.
    return sum(count.value for count in counts if count.op.lower() == operation)


def _why_unreachable(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return "no_socket"
    except PermissionError:
        return "permission_denied"
    return "unreachable" if os.access(path, os.W_OK) else "permission_denied"


def _nothing(reason: str) -> Containers:
    return Containers(version="", containers=(), reason=reason, read_at_s=time.time())
