"""Age of the data that an exporter reads from a source, such as the master or a local service."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric


class SourceAge:
    """Records whether the last read of a source succeeded, and when one last did."""

    def __init__(self, source: str) -> None:
        """Create the record of `source`, which has not been read yet."""
        self._source = source
        self._is_up = False
        self._last_success_s: float | None = None

    def succeed(self, now_s: float) -> None:
        """Record that the source was read completely at the Unix time `now_s`, in seconds."""
        self._last_success_s = now_s
        self._is_up = True

    def fail(self) -> None:
        """Record that the source could not be read."""
        self._is_up = False

    def metrics(self) -> Iterable[Metric]:
        """Yield the metrics, and the time of the last success once a read has succeeded."""
        yield GaugeMetricFamily(
            "ffrtmp_exporter_source_up",
            f"Whether the last read of {self._source} succeeded",
            float(self._is_up),
        )
        last = GaugeMetricFamily(
            "ffrtmp_exporter_source_last_success_timestamp_seconds",
            f"Time of the last complete read of {self._source}",
            unit="seconds",
        )
        if self._last_success_s is not None:
            last.add_metric([], self._last_success_s)
        yield last
