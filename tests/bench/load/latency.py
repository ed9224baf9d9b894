"""Latencies of requests within a time window."""

import time
from collections import defaultdict
from dataclasses import dataclass

from bench.figures import quantile

_MS_PER_S = 1000


@dataclass(frozen=True)
class Latency:
    """Statistics of the durations of requests, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Latency":
        """Compute the statistics of durations in seconds."""
        if not seconds:
            return cls(0, 0.0, 0.0, 0.0)
        return cls(
            len(seconds),
            quantile(seconds, 0.5) * _MS_PER_S,
            quantile(seconds, 0.99) * _MS_PER_S,
            max(seconds) * _MS_PER_S,
        )


class Window:
    """A time window after a warm-up, which counts the requests that end within it."""

    def __init__(self, *, warm_up_s: float, seconds: float) -> None:
        """Create a window that opens in `warm_up_s` and lasts for `seconds`."""
        self.opens = time.perf_counter() + warm_up_s
        self.closes = self.opens + seconds
        self.seconds = seconds
        self._durations: dict[str, list[float]] = defaultdict(list)

    @property
    def is_over(self) -> bool:
        """Return whether the window has closed."""
        return time.perf_counter() >= self.closes

    def record(self, kind: str, start: float, end: float) -> None:
        """Record a request if it ended within the window."""
        if self.opens <= end < self.closes:
            self._durations[kind].append(end - start)

    def count(self, kind: str) -> int:
        """Return the number of requests of a kind that ended within the window."""
        return len(self._durations[kind])

    def latencies(self) -> dict[str, Latency]:
        """Return the latencies for each kind of request."""
        return {kind: Latency.of(durations) for kind, durations in self._durations.items()}
