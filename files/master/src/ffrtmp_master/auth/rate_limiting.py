"""How often somebody may do something: buckets that fill again with time."""

import ipaddress
import math
from typing import Generic, TypeVar

K = TypeVar("K")

# Of IPv6 a site, even a home, has a whole network of this prefix.
_IPV6_PREFIX = 64


class TokenBucket:
    """Tokens that are taken one by one and fill up again evenly."""

    __slots__ = ("_filled_at_s", "_left", "_per_s", "_size")

    def __init__(self, size: float, per_s: float, now_s: float) -> None:
        """Start full, with `size` tokens; `per_s` come back every second."""
        self._size = size
        self._per_s = per_s
        self._left = size
        self._filled_at_s = now_s

    def consume(self, now_s: float) -> float:
        """Take a token; return 0, or in how many seconds there will be one to take."""
        left = self._left + max(now_s - self._filled_at_s, 0.0) * self._per_s
        self._filled_at_s = now_s
        if left < 1:
            self._left = left
            return (1 - left) / self._per_s
        self._left = min(left, self._size) - 1
        return 0.0


class BucketCache(Generic[K]):
    """Buckets by key, so many of them at most: the one that was made first goes first."""

    def __init__(self, most: int, size: float, per_s: float) -> None:
        """Keep at most `most` buckets of `size` tokens, of which `per_s` come back a second."""
        self._most = most
        self._size = size
        self._per_s = per_s
        self._buckets: dict[K, TokenBucket] = {}

    def consume(self, key: K, now_s: float) -> float:
        """Take a token from the bucket of `key`, as `Bucket.take` does."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._most:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = TokenBucket(self._size, self._per_s, now_s)
        return bucket.consume(now_s)

    def __len__(self) -> int:
        """Count the buckets."""
        return len(self._buckets)


def client_network(client: tuple[str, int] | None) -> str:
    """Return what counts as one place that calls come from: an address, of IPv6 a network."""
    if client is None:
        return ""
    host = client[0]
    if ":" not in host:
        return host
    try:
        return str(ipaddress.IPv6Network((host.partition("%")[0], _IPV6_PREFIX), strict=False))
    except ValueError:
        return host


def retry_after(wait_s: float) -> dict[str, str]:
    """Return the header that says when to ask again."""
    return {"Retry-After": str(max(math.ceil(wait_s), 1))}
