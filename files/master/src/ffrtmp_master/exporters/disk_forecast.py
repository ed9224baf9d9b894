"""Times until disks are full, calculated from their free space in the recent past."""

from collections import deque
from collections.abc import Iterator
from statistics import linear_regression
from typing import NamedTuple

FORECAST_MAX_S = 30 * 86_400.0
"""The longest time until a disk is full that is reported; that of a disk that does not fill."""

# Samples of a file system that are kept. More would hardly change the slope of the line.
_SAMPLES_MAX = 120


class FileSystem(NamedTuple):
    """A mounted file system and the space that programs without privileges can use."""

    mountpoint: str
    free_bytes: float


class DiskKey(NamedTuple):
    """The labels of a disk."""

    node: str
    mountpoint: str


class _Series:
    """The free space of one file system."""

    def __init__(self) -> None:
        self.samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES_MAX)
        self.forecast_s: float | None = None

    def add(self, at_s: float, free_bytes: float, window_s: float, history_min_s: float) -> None:
        """Add a sample, and calculate the forecast again."""
        recorded = [sample for sample in self.samples if at_s - window_s <= sample[0] <= at_s]
        if not recorded or at_s - recorded[-1][0] >= window_s / _SAMPLES_MAX:
            self.samples = deque((*recorded, (at_s, free_bytes)), maxlen=_SAMPLES_MAX)
        samples = [*recorded, (at_s, free_bytes)]
        self.forecast_s = (
            time_until_full_s(samples) if at_s - samples[0][0] >= history_min_s else None
        )


class DiskForecasts:
    """The free space of all disks. Not thread-safe.

    They are kept in memory, so that the forecasts need no other service. After a restart of the
    exporter, a forecast is available again after the shortest period.
    """

    def __init__(self, *, window_s: float, history_min_s: float) -> None:
        """Create an empty history.

        Args:
            window_s: The period from which a forecast is calculated, in seconds.
            history_min_s: The shortest period from which one is calculated, in seconds.
        """
        self._window_s = window_s
        self._history_min_s = history_min_s
        self._series: dict[str, dict[str, _Series]] = {}

    def record(self, node: str, at_s: float, systems: tuple[FileSystem, ...]) -> None:
        """Add the free space of a host; file systems that are no longer mounted are forgotten.

        Args:
            node: The name of the host.
            at_s: The time of the measurement on a clock that is not set, in seconds.
            systems: The file systems of the host.
        """
        known = self._series.get(node, {})
        self._series[node] = {
            system.mountpoint: known.get(system.mountpoint) or _Series() for system in systems
        }
        for system in systems:
            series = self._series[node][system.mountpoint]
            series.add(at_s, system.free_bytes, self._window_s, self._history_min_s)

    def keep_only(self, nodes: frozenset[str]) -> None:
        """Forget the disks of all other hosts."""
        self._series = {node: found for node, found in self._series.items() if node in nodes}

    def forecasts(self) -> Iterator[tuple[DiskKey, float]]:
        """Yield the time until each disk is full, in seconds; at most FORECAST_MAX_S."""
        for node, found in self._series.items():
            for mountpoint, series in found.items():
                if series.forecast_s is not None:
                    yield DiskKey(node, mountpoint), series.forecast_s


def time_until_full_s(samples: list[tuple[float, float]]) -> float:
    """Return the time until the free space reaches zero, in seconds; at most FORECAST_MAX_S.

    The free space is extrapolated from its last value with the slope of the least-squares line
    through all samples, as Prometheus' function predict_linear does from the end of the line.

    Args:
        samples: Times in seconds and the free bytes at these times, in the order of the times.
    """
    _, last_bytes = samples[-1]
    if last_bytes <= 0:
        return 0.0
    if samples[0][0] == samples[-1][0]:
        return FORECAST_MAX_S
    begin_s = samples[0][0]
    slope, _ = linear_regression(
        [at_s - begin_s for at_s, _ in samples], [free_bytes for _, free_bytes in samples]
    )
    return min(-last_bytes / slope, FORECAST_MAX_S) if slope < 0 else FORECAST_MAX_S
