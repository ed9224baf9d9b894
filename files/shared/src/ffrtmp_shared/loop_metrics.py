"""Metrics of the loops of a process."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_shared.loop_registry import LoopReading


def loop_metrics(
    prefix: str,
    readings: Iterable[tuple[Sequence[str], LoopReading]],
    labels: Sequence[str] = (),
) -> Iterable[Metric]:
    """Yield the metrics of loops.

    Args:
        prefix: The beginning of the names, for example `ffrtmp_master`.
        readings: The states of the loops, each with the values of `labels`.
        labels: The names of labels in addition to `loop`.
    """
    names = [*labels, "loop"]
    last_success = GaugeMetricFamily(
        f"{prefix}_loop_last_success_timestamp_seconds",
        "Time of the last complete pass of the loop, or of its start before the first one; absent"
        " while the loop is not running",
        labels=names,
        unit="seconds",
    )
    stale_after = GaugeMetricFamily(
        f"{prefix}_loop_stale_after_seconds",
        "Time without a complete pass after which the loop counts as stalled",
        labels=names,
        unit="seconds",
    )
    failures = CounterMetricFamily(
        f"{prefix}_loop_failures",
        "Passes of the loop that failed, and items that failed in a pass",
        labels=names,
    )
    set_aside = GaugeMetricFamily(
        f"{prefix}_loop_items_set_aside",
        "Items that the loop leaves out for a while because they failed repeatedly",
        labels=names,
    )
    for values, reading in readings:
        of_loop = [*values, reading.name]
        last_success.add_metric(of_loop, reading.last_success_unix_s)
        stale_after.add_metric(of_loop, reading.stale_after_s)
        failures.add_metric(of_loop, reading.failures)
        set_aside.add_metric(of_loop, reading.items_set_aside)
    yield from (last_success, stale_after, failures, set_aside)


class LoopCollector(Collector):
    """Exports the metrics of the running loops of a process."""

    def __init__(self, prefix: str, read: Callable[[], Iterable[LoopReading]]) -> None:
        """Export the loops that `read` returns, with names that begin with `prefix`."""
        self._prefix = prefix
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        return loop_metrics(self._prefix, [((), reading) for reading in self._read()])
