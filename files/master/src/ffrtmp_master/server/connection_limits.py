"""Limits of the number of connections, in total and for each client address."""

import logging
import time
from collections.abc import Callable, Sequence

from ffrtmp_master.auth.rate_limiting import BucketCache, client_network
from ffrtmp_master.auth.trusted_proxies import TrustedProxies

_log = logging.getLogger(__name__)

# Refused connections are logged once a minute for each address, so that they cannot fill the log.
_LOGGED_NETWORKS_MAX = 1000
_LOG_INTERVAL_S = 60.0


class ConnectionLimits:
    """Counts the open connections and decides whether another one is accepted.

    Load balancers pass the connections of many clients through, so their addresses are exempt from
    the limit per address.
    """

    def __init__(
        self,
        total_max: int,
        per_address_max: int,
        trusted_proxies: Sequence[str],
        count_refusal: Callable[[str], None],
    ) -> None:
        """Create limits without open connections.

        Args:
            total_max: The maximum number of connections.
            per_address_max: The maximum number of connections from an IPv4 address or an IPv6
                network.
            trusted_proxies: The addresses or networks of load balancers.
            count_refusal: A function that counts a refused connection by its reason.
        """
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._proxies = TrustedProxies(trusted_proxies)
        self._count_refusal = count_refusal
        self._by_network: dict[str, int] = {}
        self._logged = BucketCache[str](_LOGGED_NETWORKS_MAX, 1, 1 / _LOG_INTERVAL_S)
        self.total = 0

    def admit(self, client: tuple[str, int]) -> Callable[[], None] | None:
        """Count a new connection, or refuse it.

        Args:
            client: The address and port of the client.

        Returns:
            A function that must be called when the connection has ended, or None if the connection
            must be refused.
        """
        if self.total >= self._total_max:
            self._refuse("connections", client[0], f"connections_max is {self._total_max}")
            return None
        network = client_network(client)
        count = self._by_network.get(network, 0)
        if count >= self._per_address_max and not self._proxies.contain(client[0]):
            limit = f"connections_per_address_max is {self._per_address_max}"
            self._refuse("connections_per_address", network, limit)
            return None
        self.total += 1
        self._by_network[network] = count + 1
        is_open = True

        def release() -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                self._release(network)

        return release

    def _release(self, network: str) -> None:
        self.total -= 1
        left = self._by_network[network] - 1
        if left:
            self._by_network[network] = left
        else:
            del self._by_network[network]

    def _refuse(self, reason: str, network: str, limit: str) -> None:
        self._count_refusal(reason)
        if not self._logged.consume(network, time.monotonic()):
            _log.warning("a connection from %s was refused: %s", network, limit)
