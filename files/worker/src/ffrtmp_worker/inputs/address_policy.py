"""Addresses to which a suite may cause a worker to connect.

A suite names URLs, so anyone who may submit jobs decides where workers send requests. Services of
the worker itself, such as its exporters, and the metadata service of a cloud (169.254.169.254) must
not be reachable in this way.
"""

from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


NEVER = _networks(
    # This host: unspecified and loopback addresses.
    "0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128",
    # Link-local addresses, multicast, reserved addresses and broadcast.
    "169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "ff00::/8", "240.0.0.0/4",
    # Addresses of obsolete tunnels, which contain an IPv4 address, and the discard prefix.
    "::/96", "2001::/32", "2002::/16", "100::/64",
)  # fmt: skip
"""Networks that are never allowed, because their addresses are those of a host or a link."""

PRIVATE = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24",
    "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "fc00::/7", "fec0::/10", "2001:db8::/32",
)  # fmt: skip
"""Networks that are not part of the public Internet; they are allowed only by a setting."""

# Addresses of these networks stand for the IPv4 address in their last 32 bits.
_EMBEDDING = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_IPV4_BITS = 32


class RefusedAddressError(Exception):
    """A suite names an address to which this worker does not connect."""


class AddressPolicy(msgspec.Struct, frozen=True):
    """The networks to which connections are allowed in addition to public addresses.

    `never` takes precedence over `allowed`.
    """

    allowed: tuple[Network, ...] = ()
    never: tuple[Network, ...] = NEVER

    def check(self, addresses: Iterable[str]) -> list[str]:
        """Return the addresses if connections to all of them are allowed.

        A name that has both public and refused addresses is refused, because it could be chosen
        so that only some of the requests reach a refused address.

        Args:
            addresses: The addresses of a name, as text.

        Raises:
            RefusedAddressError: An address is refused, or there is none.
        """
        found = list(addresses)
        if not found:
            raise RefusedAddressError("the name has no address")
        for text in found:
            self._check(text)
        return found

    def _check(self, text: str) -> None:
        try:
            address = _effective(text)
        except ValueError as error:
            raise RefusedAddressError(f"{text} is not an IP address") from error
        if _is_in(address, self.never):
            raise RefusedAddressError(
                f"{text} is an address of a host or a link (loopback, link-local, multicast or "
                "similar), from which sources are never fetched"
            )
        if _is_in(address, PRIVATE) and not _is_in(address, self.allowed):
            raise RefusedAddressError(
                f"{text} is a private address; add its network to worker_source_networks to allow "
                "sources from it"
            )


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Parse networks in CIDR notation.

    Raises ValueError if a text is not a network, or if the network can never be allowed.
    """
    found = []
    for text in texts:
        network = ip_network(text)
        if any(
            network.version == never.version and network.subnet_of(never)  # type: ignore[arg-type]
            for never in NEVER
        ):
            raise ValueError(
                f"{text} contains only addresses of a host or a link, which are never allowed"
            )
        found.append(network)
    return tuple(found)


def _effective(text: str) -> Address:
    """Return the address to which the kernel connects. Raises ValueError for other texts."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) % 2**_IPV4_BITS)
    return address


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
