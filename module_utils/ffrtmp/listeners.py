"""Processes that listen on TCP ports of this host, as the kernel lists them in /proc."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"
_SOCKET = re.compile(r"socket:\[(\d+)\]")
# Columns of /proc/net/tcp.
_LOCAL, _STATE, _INODE = 1, 3, 9


@dataclass(frozen=True)
class Listener:
    """A process that listens on a port.

    Attributes:
        port: The port.
        pid: The id of the process, or None if it cannot be determined.
        process: The name of the process, or an empty string.
    """

    port: int
    pid: int | None
    process: str


def listeners(ports: Collection[int], proc: Path = Path("/proc")) -> list[Listener]:
    """Return the processes that listen on any of the ports, sorted by port and process.

    Processes of other users are found only by root.

    Args:
        ports: The ports.
        proc: The file system of the kernel's processes.
    """
    inodes = dict(_listening_sockets(ports, proc))
    found = set()
    known = set()
    for pid in _process_ids(proc) if inodes else ():
        for inode in _open_sockets(proc / str(pid)):
            if inode in inodes:
                found.add(Listener(inodes[inode], pid, _name(proc / str(pid))))
                known.add(inode)
    found |= {Listener(port, None, "") for inode, port in inodes.items() if inode not in known}
    return sorted(found, key=lambda item: (item.port, item.pid or 0))


def _listening_sockets(ports: Collection[int], proc: Path) -> Iterator[tuple[str, int]]:
    """Yield the inode and the port of each socket that listens on one of the ports."""
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (proc / table).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            # A kernel may have no IPv6.
            continue
        for columns in (line.split() for line in lines):
            port = int(columns[_LOCAL].rpartition(":")[2], 16)
            if columns[_STATE] == _LISTEN and port in ports:
                yield columns[_INODE], port


def _process_ids(proc: Path) -> Iterator[int]:
    yield from (int(path.name) for path in proc.iterdir() if path.name.isdecimal())


def _open_sockets(process: Path) -> Iterator[str]:
    # The process may end, or belong to another user.
    with contextlib.suppress(OSError):
        for path in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                link = _SOCKET.fullmatch(str(path.readlink()))
                if link is not None:
                    yield link[1]


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
