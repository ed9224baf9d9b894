"""The status of the agent, which `systemctl status`, the deployment and health checks read."""

import logging
import os
import socket
from pathlib import Path

from ffrtmp_shared.atomic_file import write_atomically

_log = logging.getLogger(__name__)

_MODE = 0o644


def report_status(text: str) -> None:
    """Send a status to systemd, if systemd started this process, and write it to a file.

    The variable `FFRTMP_STATUS_FILE` names the file. The health check of a container reads it,
    because a container has no systemd.

    Args:
        text: One line that describes the state of the service.
    """
    if address := os.environ.get("NOTIFY_SOCKET", ""):
        _notify(address, text)
    if file := os.environ.get("FFRTMP_STATUS_FILE", ""):
        _write(Path(file), text)


def _notify(address: str, text: str) -> None:
    # An address that begins with @ is in the abstract namespace, which has no files.
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notification:
            notification.sendto(f"STATUS={text}".encode(), address)
    except OSError:
        _log.warning("systemd did not accept the status", exc_info=True)


def _write(file: Path, text: str) -> None:
    try:
        write_atomically(file, f"{text}\n".encode(), is_durable=False, mode=_MODE)
    except OSError:
        _log.warning("the status cannot be written to %s", file, exc_info=True)
