"""Checks whether a service of this host responds."""

from __future__ import annotations

import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

_TIMEOUT_S = 5.0
_BODY_MAX_BYTES = 1 << 16


def reason_not_ready(ready: Mapping[str, Any], status_text: str) -> str:
    """Return why a service does not respond yet, or an empty text if it responds.

    Args:
        ready: The option C(ready) of the unit in the module current_units.
        status_text: The status that the service has sent to systemd.
    """
    if ready.get("status_text") and not re.search(ready["status_text"], status_text):
        return f"its status is '{status_text or 'none'}', not '{ready['status_text']}'"
    try:
        if ready.get("socket"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_TIMEOUT_S)
                client.connect(ready["socket"])
        for port in ready.get("ports") or ():
            socket.create_connection((ready["host"], port), _TIMEOUT_S).close()
        if ready.get("url"):
            _get(ready)
    except (OSError, ValueError) as error:
        place = ready.get("socket") or ready.get("url") or f"{ready['host']}:{ready['ports']}"
        return f"{place} does not respond: {error}"
    return ""


def _get(ready: Mapping[str, Any]) -> None:
    """Request the URL of a service. It is on this host, so no proxy is used.

    Raises:
        OSError: There is no response, or its status is not 200.
        ValueError: The URL or a certificate is invalid.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ready["url"].startswith("https:"):
        context = ssl.create_default_context(cafile=ready.get("ca_file") or None)
        if ready.get("client_cert"):
            context.load_cert_chain(ready["client_cert"], ready.get("client_key") or None)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    with opener.open(ready["url"], timeout=_TIMEOUT_S) as response:
        response.read(_BODY_MAX_BYTES)
