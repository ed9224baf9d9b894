"""Pages of metrics with the names and the labels of all exporters of a farm.

The names and labels are those that the collectors of the exporters describe; the tables of
docs/metrics.md are generated from the same source. The collectors of the exporters results, qoe and
cost have read results. Samples that a collector cannot provide without a farm have labels from this
module. All values are from this module.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import factories
import msgspec
import pytest
import result_collectors
from ffrtmp_shared import control_encode
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.measurement import RenditionMeasurement
from ffrtmp_shared.models import Result
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.prices import PriceBook, parse_book
from ffrtmp_shared.scenario import LadderSettings, Rendition
from ffrtmp_shared.states import JobState, NodeState
from ffrtmp_shared.unavailable import Unavailable
from prometheus_client.metrics_core import Metric

from ..docs.metric_tables import Described, metrics

NODE = "worker1"

# The time of the results of the factories.
_START = datetime(2026, 1, 1, tzinfo=UTC)
_PRICES: dict[str, Any] = {
    "valid_from": "2026-01-01",
    "currency": "EUR",
    "source": "contract",
    "regions": {
        "de": {
            "pue": 1.5,
            "energy_per_kwh": 0.3,
            "carbon_g_per_kwh": 400,
            "carbon_method": "location_average",
            "carbon_source": "an example",
            "carbon_year": 2024,
        }
    },
    "nodes": {
        NODE: {
            "region": "de",
            "per_hour": 0.9,
            "embodied_kg": 876,
            "embodied_life_years": 10,
            "embodied_source": "an example",
        }
    },
}

_EVERY = ("every exporter", "master and every exporter")
_TABLES = {
    "master": (
        "master, counted as it happens",
        "master, read at a scrape",
        "loops of the master",
        "master and every exporter",
    ),
    "results": ("results", *_EVERY),
    "qoe": ("qoe", *_EVERY),
    "cost": ("cost", *_EVERY),
    "health": ("health", *_EVERY),
    "cpu": ("cpu", "loop of the energy reader", *_EVERY),
    "gpu": ("gpu", *_EVERY),
    "ffmpeg": ("ffmpeg", *_EVERY),
    "docker_stats": ("docker_stats", *_EVERY),
}
JOBS = tuple(_TABLES)
"""The jobs of the exporters."""

WORKER_JOBS = ("cpu", "gpu", "ffmpeg", "docker_stats")
"""The jobs whose targets have the label node."""

_LABELS: dict[str, tuple[str, ...]] = {
    "node": (NODE,),
    "instance": ("127.0.0.1:8080",),
    "encoder": ("libx264", "libsvtav1"),
    "preset": ("medium",),
    "rate_point": ("1500k",),
    "scenario": ("clip/x264", "control/x264"),
    "slot": ("0",),
    "kind": ("live",),
    "verdict": ("valid", "degraded"),
    "quantile": ("0.5", "0.95", "0.99", "1"),
    "component": ("host", "energy"),
    "currency": ("EUR",),
    "use": ("busy", "idle"),
    "mode": ("user", "idle", "steal"),
    "minutes": ("1", "5"),
    "state": tuple(sorted({*JobState, *NodeState, "pending"})),
    "failure_class": tuple(FailureClass),
    "reason": ("ready", "no_node", "hw_slowdown"),
    "priority": ("normal",),
    "status": ("200", "500"),
    "le": ("0.1", "1", "10", "+Inf"),
}
_OTHER = ("specimen",)
_GROWTH = 3


class FarmMetrics:
    """The metrics of a farm. Counters grow from page to page."""

    def __init__(self) -> None:
        collected = _collected()
        self._described = {
            table: list(_with_samples(described, collected))
            for table, described in metrics().items()
        }
        self._pages = dict.fromkeys(JOBS, 0)

    def page(self, job: str) -> bytes:
        """Return the next page of the exporter of a job."""
        self._pages[job] += 1
        lines = (
            line
            for table in _TABLES[job]
            for metric, labels in self._described[table]
            for line in self._lines(metric, labels, self._pages[job])
        )
        return ("\n".join(dict.fromkeys(lines)) + "\n").encode()

    def _lines(self, metric: Metric, labels: tuple[str, ...], number: int) -> Iterator[str]:
        if metric.type == "histogram":
            yield from _histogram(metric.name, labels, number)
            return
        suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
        name = metric.name + suffix
        known = [sample.labels for sample in metric.samples if sample.name == name]
        for at, found in enumerate(known or _products(labels)):
            yield f"{name}{_braces(found)} {_value(name, metric.type, number, at)}"


class _PricedNode:
    """The prices and the node of a farm, which the exporter cost reads."""

    def prices(self) -> PriceBook:
        return parse_book({"entries": [_PRICES]})

    def nodes(self) -> tuple[Node, ...]:
        node = Node(
            id=new_id(),
            name=NODE,
            state=NodeState.ACTIVE,
            registration=factories.registration(NODE),
            registered_at=_START,
            last_seen_at=_START,
        )
        return (node,)


def _ladder() -> Result:
    """Return the result of a ladder, which has neither a preset nor a rate point."""
    scenario, whole = factories.scenario(name="clip/ladder"), factories.measurement()
    assert scenario.encode is not None
    assert whole.output is not None
    renditions = (Rendition(name="720p", encode=scenario.encode),)
    measured = RenditionMeasurement(
        name="720p", encode=None, output=whole.output, quality=whole.quality
    )
    return result_collectors.result(
        scenario=msgspec.structs.replace(
            scenario, kind="ladder", encode=None, ladder=LadderSettings(renditions=renditions)
        ),
        measurement=msgspec.structs.replace(
            whole,
            output=None,
            quality=Unavailable(reason="the renditions have their own"),
            renditions=(measured,),
        ),
    )


def _collected() -> dict[str, Metric]:
    """Return the metrics of the exporters that have read results, by their names."""
    clock = (_START + timedelta(hours=2)).timestamp
    results = (
        result_collectors.result(),
        result_collectors.result(scenario=control_encode.SCENARIO),
        _ladder(),
    )
    pages = result_collectors.page_of(*results)
    latest = result_collectors.latest_results(clock)
    latest.refresh(pages, lambda run_id: pytest.fail(f"the results are not of the run {run_id}"))
    experience = result_collectors.experience(clock)
    experience.refresh(pages, _PricedNode().prices)
    costs = result_collectors.farm_costs(clock)
    costs.refresh(pages, _PricedNode())
    return {
        metric.name: metric
        for collector in (latest, experience, costs)
        for metric in collector.collect()
    }


def _with_samples(
    described: Iterable[Described], collected: dict[str, Metric]
) -> Iterator[Described]:
    for metric, labels in described:
        found = collected.get(metric.name)
        yield (found, labels) if found is not None and found.samples else (metric, labels)


def _value(name: str, kind: str, number: int, at: int) -> float:
    if name.endswith("_timestamp_seconds"):
        # Certificates expire in the future, and everything else has happened.
        return time.time() + (40 * 86_400 if "not_after" in name else -100)
    if kind == "counter":
        return (number + at + 1) * _GROWTH
    return 1.0 if at == 0 else 0.5


def _histogram(name: str, labels: tuple[str, ...], number: int) -> Iterator[str]:
    others = tuple(label for label in labels if label != "le")
    for found in _products(others):
        for at, limit in enumerate(_LABELS["le"]):
            yield f"{name}_bucket{_braces({**found, 'le': limit})} {(at + 1) * number}"
        count = len(_LABELS["le"]) * number
        yield f"{name}_count{_braces(found)} {count}"
        yield f"{name}_sum{_braces(found)} {count}"


def _products(labels: Iterable[str]) -> list[dict[str, str]]:
    names = tuple(labels)
    choices = (_LABELS.get(name, _OTHER) for name in names)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*choices)]


def _braces(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""
