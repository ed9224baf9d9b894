"""Rate limiting with token buckets."""

import ipaddress
import math
from typing import Generic, TypeVar

K = TypeVar("K")

# Rate limits apply to whole IPv6 networks of this prefix length, because even a home connection
# usually gets such a network.
_IPV6_PREFIX = 64


class TokenBucket:
    """A token bucket. Each request consumes a token, and tokens are added at a constant rate."""

    __slots__ = ("_filled_at_s", "_left", "_per_s", "_size")

    def __init__(self, size: float, per_s: float, now_s: float) -> None:
        """Create a full bucket.

        Args:
            size: The number of tokens in a full bucket.
            per_s: The number of tokens that are added per second.
            now_s: The current monotonic time in seconds.
        """
        self._size = size
        self._per_s = per_s
        self._left = size
        self._filled_at_s = now_s

    def consume(self, now_s: float) -> float:
        """Consume a token if one is available.

        Returns 0 if a token was consumed, otherwise the time in seconds until one is available.
        """
        left = self._left + max(now_s - self._filled_at_s, 0.0) * self._per_s
        self._filled_at_s = now_s
        if left < 1:
            self._left = left
            return (1 - left) / self._per_s
        self._left = min(left, self._size) - 1
        return 0.0

    def give_back(self) -> None:
        """Return a token that was consumed."""
        self._left = min(self._left + 1, self._size)


class BucketCache(Generic[K]):
    """A collection of token buckets by key. If it is full, the oldest bucket is removed."""

    def __init__(self, max_buckets: int, size: float, per_s: float) -> None:
        """Create an empty collection.

        Args:
            max_buckets: The maximum number of buckets.
            size: The number of tokens in a full bucket.
            per_s: The number of tokens that are added per second.
        """
        self._max_buckets = max_buckets
        self._size = size
        self._per_s = per_s
        self._buckets: dict[K, TokenBucket] = {}

    def consume(self, key: K, now_s: float) -> float:
        """Consume a token from the bucket of `key`; see `TokenBucket.consume`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._max_buckets:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = TokenBucket(self._size, self._per_s, now_s)
        return bucket.consume(now_s)

    def give_back(self, key: K) -> None:
        """Return a token that was consumed from the bucket of `key`."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.give_back()

    def __len__(self) -> int:
        """Return the number of buckets."""
        return len(self._buckets)


def client_network(client: tuple[str, int] | None) -> str:
    """Return the IPv4 address or IPv6 network of a client, to which rate limits apply."""
    if client is None:
        return ""
    host = client[0]
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    # All IPv4 clients of a socket that accepts both families are in the same IPv6 network.
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _IPV6_PREFIX), strict=False))


def retry_after(wait_s: float) -> dict[str, str]:
    """Return a Retry-After header that tells the client to wait `wait_s` seconds."""
    return {"Retry-After": str(max(math.ceil(wait_s), 1))}
