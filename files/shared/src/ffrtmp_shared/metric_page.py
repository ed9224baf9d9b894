"""Pages of metrics: each collector is called and encoded separately, so that it fails alone."""

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ffrtmp_shared.label_values import clean_label_values

_log = logging.getLogger(__name__)

# A scrape that is in progress normally ends much earlier; the scraper waits for 10 s.
_BUSY_WAIT_S = 5.0
_END = b"# EOF\n"

_OPENMETRICS = "application/openmetrics-text"
_TEXT = "text/plain"

_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")

_Encoder = Callable[[Collector], bytes]


class CollectedMetrics(Collector):
    """Metrics that have already been collected, in the form that encoders expect."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        """Return `metrics` at each collection."""
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._metrics


class MetricPage:
    """The metrics of several collectors.

    If a collector raises an exception, returns metrics that cannot be encoded, or still works for
    an earlier scrape, its metrics are missing; those of the others are complete. A collector is
    never called by two threads at the same time.
    """

    def __init__(self, collectors: Mapping[str, Collector]) -> None:
        """Serve the metrics of `collectors`, by the names that their own metrics use as label."""
        self._guarded = [_Guarded(name, collector) for name, collector in collectors.items()]

    def render(self, accept: str, names: Collection[str] = ()) -> tuple[bytes, str]:
        """Return the page and its content type.

        Args:
            accept: The value of the request's header Accept, which selects the format.
            names: The names of the collectors to call. Without names, all are called.
        """
        is_text = not _prefers_openmetrics(accept)
        # The header itself is not passed on, because the function fails for some versions.
        encode, content_type = choose_encoder(_TEXT if is_text else _OPENMETRICS)
        success = GaugeMetricFamily(
            "ffrtmp_scrape_collector_success",
            "Whether the collector provided its metrics for this scrape",
            labels=["collector"],
        )
        duration = GaugeMetricFamily(
            "ffrtmp_scrape_collector_duration_seconds",
            "Duration of calling the collector for this scrape",
            labels=["collector"],
            unit="seconds",
        )
        parts = []
        for guarded in self._guarded:
            if names and guarded.name not in names:
                continue
            started = time.perf_counter()
            part = guarded.encode(encode, with_created=not is_text)
            duration.add_metric([guarded.name], time.perf_counter() - started)
            success.add_metric([guarded.name], float(part is not None))
            parts.append(part or b"")
        own = encode(CollectedMetrics((success, duration)))
        # Each part of a page in OpenMetrics ends with the mark for the end of the page.
        end = _END if own.endswith(_END) else b""
        return b"".join(part.removesuffix(_END) for part in (*parts, own)) + end, content_type


class _Guarded:
    """A collector whose failures are logged and counted instead of raised."""

    def __init__(self, name: str, collector: Collector) -> None:
        self.name = name
        self._collector = collector
        self._lock = threading.Lock()
        self._failed = False

    def encode(self, encode: _Encoder, *, with_created: bool) -> bytes | None:
        """Return the encoded metrics, or None if the collector failed."""
        with self._exclusive() as is_free:
            if not is_free:
                _log.warning("the collector %s still works for an earlier scrape", self.name)
                return None
            try:
                metrics = list(clean_label_values(self._collector.collect()))
                if not with_created:
                    metrics = [_without_created(metric) for metric in metrics]
                encoded = encode(CollectedMetrics(metrics))
            except Exception:
                # Any defect of one collector must leave the metrics of the others available. It is
                # logged when it begins, not at each scrape.
                if not self._failed:
                    _log.exception("the collector %s failed", self.name)
                self._failed = True
                return None
            self._failed = False
            return encoded

    @contextmanager
    def _exclusive(self) -> Iterator[bool]:
        is_free = self._lock.acquire(timeout=_BUSY_WAIT_S)
        try:
            yield is_free
        finally:
            if is_free:
                self._lock.release()


def _prefers_openmetrics(accept: str) -> bool:
    quality = {_OPENMETRICS: 0.0, _TEXT: 0.0}
    for item in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        if media_type in quality:
            given = [part[2:] for part in parameters if part.startswith("q=")]
            quality[media_type] = max(quality[media_type], _quality(given[0] if given else "1"))
    return quality[_OPENMETRICS] > quality[_TEXT]


def _quality(text: str) -> float:
    return float(text) if _QUALITY.fullmatch(text) else 0.0


def _without_created(metric: Metric) -> Metric:
    """Remove the creation times of series, which only OpenMetrics supports."""
    created = f"{metric.name}_created"
    if not any(sample.name == created for sample in metric.samples):
        return metric
    found = copy(metric)
    found.samples = [sample for sample in metric.samples if sample.name != created]
    return found
