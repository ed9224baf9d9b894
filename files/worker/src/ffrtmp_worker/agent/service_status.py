"""The status of the agent in systemd, which `systemctl status` and the deployment show."""

import logging
import os
import socket

_log = logging.getLogger(__name__)


def report_status(text: str) -> None:
    """Send a status to systemd, if systemd started this process.

    Args:
        text: One line that describes the state of the service.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # An address that begins with @ is in the abstract namespace, which has no files.
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notification:
            notification.sendto(f"STATUS={text}".encode(), address)
    except OSError:
        _log.warning("systemd did not accept the status", exc_info=True)
