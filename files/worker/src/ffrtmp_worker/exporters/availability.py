"""Metrics that tell whether a source of values is available, and why not."""

import logging
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

_log = logging.getLogger(__name__)

_UNKNOWN = "unknown"


class Availability:
    """Exports the availability of a source, and logs why it is unavailable when that changes.

    The cause is a label of a separate metric, so that the series of the first metric continues
    when the source becomes available. It is one of a few fixed words, because the number of series
    would otherwise grow with each new error text.
    """

    def __init__(self, available: str, failure: str, meaning: str) -> None:
        """Describe the metrics.

        Args:
            available: The name of the metric that is 1 or 0.
            failure: The name of the metric with the cause, without its suffix `_info`.
            meaning: The help text of the first metric.
        """
        self._available = available
        self._failure = failure
        self._meaning = meaning
        self._reason = ""

    def metrics(self, *, is_available: bool, word: str | None, reason: str) -> Iterable[Metric]:
        """Return the metrics.

        Args:
            is_available: Whether the source is available.
            word: The cause if it is not, as one of the source's fixed words.
            reason: The cause as a text for the log.
        """
        if reason and reason != self._reason:
            _log.warning("%s is 0: %s", self._available, reason)
        self._reason = reason
        available = GaugeMetricFamily(self._available, self._meaning, float(is_available))
        failure = InfoMetricFamily(
            self._failure, f"The cause, as a fixed word, while {self._available} is 0"
        )
        if not is_available:
            failure.add_metric([], {"reason": word or _UNKNOWN})
        return available, failure
