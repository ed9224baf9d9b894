"""A farm with prices, and the cost exporter that reads its results."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import factories
import msgspec
import result_collectors
from ffrtmp_master.exporters.cost import FarmCosts
from ffrtmp_shared.client import MasterUnreachableError
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Result
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.prices import PriceBook, parse_book
from ffrtmp_shared.states import NodeState
from ffrtmp_shared.unavailable import Unavailable
from prometheus_client import CollectorRegistry

UNKNOWN = Unavailable(reason="not measured here")
LABELS = {
    "node": "worker1",
    "encoder": "libx264",
    "preset": "medium",
    "rate_point": "1000k",
    "scenario": "clip/one",
}
# The measurements of the factory are from this time. They are of 4 s of video, whose encode took 2
# s and 64 J, on a node with an idle power of 10 W.
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(hours=2, minutes=30)
REGION = {
    "pue": 1.5,
    "energy_per_kwh": 0.3,
    "carbon_g_per_kwh": 400,
    "carbon_method": "location_average",
    "carbon_source": "an example",
    "carbon_year": 2024,
}
NODE = {
    "region": "de",
    "per_hour": 0.9,
    "embodied_kg": 876,
    "embodied_life_years": 10,
    "embodied_source": "an example",
}
ENTRY: dict[str, Any] = {
    "valid_from": "2026-01-01",
    "currency": "EUR",
    "source": "contract",
    "regions": {"de": REGION},
    "nodes": {"worker1": NODE},
}


class PricedFarm:
    """The prices and the nodes of a farm, of which the exporter reads."""

    def __init__(self, *entries: dict[str, Any], nodes: tuple[str, ...] = ("worker1",)) -> None:
        self.book = parse_book({"entries": list(entries)})
        self.names = nodes
        self.is_reachable = True

    def prices(self) -> PriceBook:
        if not self.is_reachable:
            raise MasterUnreachableError("gone")
        return self.book

    def nodes(self) -> tuple[Node, ...]:
        return tuple(
            Node(
                id=new_id(),
                name=name,
                state=NodeState.ACTIVE,
                registration=factories.registration(name),
                registered_at=START,
                last_seen_at=START,
            )
            for name in self.names
        )


def collector(clock: Callable[[], float] = NOW.timestamp) -> FarmCosts:
    return result_collectors.farm_costs(clock)


def exported(farm: PricedFarm, *results: Result) -> FarmCosts:
    found = collector()
    found.refresh(result_collectors.page_of(*results), farm)
    return found


def value(found: FarmCosts, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(found)
    return registry.get_sample_value(name, labels)


def samples(found: FarmCosts, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by the values of its labels that are not those of scenarios."""
    return {
        tuple(text for label, text in sample.labels.items() if label not in LABELS): sample.value
        for metric in found.collect()
        for sample in metric.samples
        if sample.name == name
    }


def measured(**more: Any) -> Measurement:
    return msgspec.structs.replace(factories.measurement(), **more)


def measured_at(at: datetime) -> Measurement:
    environment = msgspec.structs.replace(factories.measurement().environment, measured_at=at)
    return measured(environment=environment)


def result(**more: Any) -> Result:
    return result_collectors.result(**{"stored_at": NOW} | more)
