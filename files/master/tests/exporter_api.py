"""Calls of exporters that a master in this process answers, and values of their metrics."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from ffrtmp_master.exporters.results import LatestResults
from ffrtmp_shared.client import MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Problem, Result, Run, RunPage
from ffrtmp_shared.node_models import Node, NodeList
from ffrtmp_shared.precision import RunPrecision
from ffrtmp_shared.result_pages import ReadablePage
from ffrtmp_shared.verdict import VerdictState
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

T = TypeVar("T")

LABELS = {
    "node": "worker1",
    "encoder": "libx264",
    "preset": "medium",
    "rate_point": "1000k",
    "scenario": "clip/libx264/1000k",
}
DAY_S = 86_400.0


class Api:
    """The calls of the exporters, answered by a master in this process."""

    def __init__(self, harness: Any) -> None:
        self._harness = harness
        self.page_size = 200
        self.is_reachable = True
        self.serves = True

    def is_ready(self) -> bool:
        if not self.is_reachable:
            raise MasterUnreachableError("gone")
        return self.serves

    def nodes(self) -> tuple[Node, ...]:
        return self._call("/v1/nodes", NodeList).items

    def run(self, run_id: UUID) -> Run:
        return self._call(f"/v1/runs/{run_id}", Run)

    def run_page(self, cursor: str = "", *, only_unfinished: bool = False) -> RunPage:
        return self._call(
            "/v1/runs", RunPage, cursor=cursor, unfinished=str(only_unfinished).lower()
        )

    def result_page(self, cursor: str = "") -> ReadablePage:
        return self._call("/v1/results", ReadablePage, cursor=cursor)

    def _call(self, path: str, answer_type: type[T], **params: str) -> T:
        if params:
            params["limit"] = str(self.page_size)
        answer = self._harness.call("viewer", "GET", path, params=params)
        if answer.is_error:
            raise MasterRefusedError(msgspec.json.decode(answer.content, type=Problem))
        return msgspec.json.decode(answer.content, type=answer_type)


def value(collector: Collector, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry.get_sample_value(name, labels)


def finish_job(harness: Any) -> Result:
    harness.run()
    harness.result(harness.claim("worker1"))
    items = harness.ok("viewer", "GET", "/v1/results")["items"]
    return msgspec.convert(items[-1], Result)


def day_2() -> float:
    return datetime(2026, 1, 2, tzinfo=UTC).timestamp()


def changed(result: Result, **more: Any) -> Result:
    """Return another result, with some differences."""
    return msgspec.structs.replace(result, id=new_id(), **more)


def measured_at(result: Result, moment: datetime) -> Result:
    environment = msgspec.structs.replace(result.measurement.environment, measured_at=moment)
    measurement = msgspec.structs.replace(result.measurement, environment=environment)
    return changed(result, measurement=measurement)


def with_verdict(result: Result, state: VerdictState) -> Result:
    verdict = result.measurement.verdict
    assert verdict is not None
    measurement = msgspec.structs.replace(
        result.measurement, verdict=msgspec.structs.replace(verdict, state=state)
    )
    return changed(result, measurement=measurement)


def refresh(latest: LatestResults, page_after: Callable[[str], ReadablePage]) -> None:
    """Refresh the collector with pages, for runs without intervals."""
    nothing = RunPrecision(interval=0.01, medians=(), drifts=())
    latest.refresh(page_after, lambda _: nothing)
