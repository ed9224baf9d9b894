"""How long requests took, within a window of time."""

import time
from collections import defaultdict
from dataclasses import dataclass

from bench.figures import quantile

_MS_PER_S = 1000


@dataclass(frozen=True)
class Latency:
    """Of so many requests, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Latency":
        """Sum up single durations."""
        if not seconds:
            return cls(0, 0.0, 0.0, 0.0)
        return cls(
            len(seconds),
            quantile(seconds, 0.5) * _MS_PER_S,
            quantile(seconds, 0.99) * _MS_PER_S,
            max(seconds) * _MS_PER_S,
        )


class Window:
    """A span of time, after a warm-up, in which what ends is counted."""

    def __init__(self, *, warm_up_s: float, seconds: float) -> None:
        """Open `warm_up_s` from now."""
        self.opens = time.perf_counter() + warm_up_s
        self.closes = self.opens + seconds
        self.seconds = seconds
        self._durations: dict[str, list[float]] = defaultdict(list)

    @property
    def is_over(self) -> bool:
        """Whether the window has closed."""
        return time.perf_counter() >= self.closes

    def note(self, deed: str, start: float, end: float) -> None:
        """Count a request that ended inside the window."""
        if self.opens <= end < self.closes:
            self._durations[deed].append(end - start)

    def count(self, deed: str) -> int:
        """Return how many requests of a kind ended inside the window."""
        return len(self._durations[deed])

    def latencies(self) -> dict[str, Latency]:
        """Return how long each kind of request took."""
        return {deed: Latency.of(durations) for deed, durations in self._durations.items()}
