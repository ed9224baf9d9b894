"""Load balancers, which pass the connections of many clients through."""

import ipaddress
from collections.abc import Sequence


class TrustedProxies:
    """The addresses of load balancers, to which limits for each client address do not apply."""

    def __init__(self, proxies: Sequence[str]) -> None:
        """Create the set of addresses.

        Args:
            proxies: The addresses or networks of load balancers.
        """
        self._networks = [ipaddress.ip_network(proxy, strict=False) for proxy in proxies]

    def contain(self, host: str) -> bool:
        """Return whether an address is that of a load balancer."""
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
