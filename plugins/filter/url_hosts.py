"""Filter that writes IP addresses as they must be written in URLs and before ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable


def url_host(address: object) -> str:
    """Return a host name or an IPv4 address as it is, and an IPv6 address in brackets."""
    text = str(address)
    try:
        is_ipv6 = ipaddress.ip_address(text).version == _IPV6
    except ValueError:
        return text
    return f"[{text}]" if is_ipv6 else text


_IPV6 = 6


class FilterModule:
    """The filter by its name."""

    def filters(self) -> dict[str, Callable[[object], str]]:
        """Return the filter by its name."""
        return {"url_host": url_host}
