"""Tests of the number of streams of a density in the exporter results."""

from uuid import UUID

import factories
import msgspec
import pytest
import result_collectors
from ffrtmp_shared.density_measurement import DensityMeasurement
from ffrtmp_shared.precision import RunPrecision
from ffrtmp_shared.unavailable import Unavailable
from prometheus_client import CollectorRegistry

_NAME = "ffrtmp_result_density_streams"
_UNKNOWN = Unavailable(reason="not measured here")


def _no_run(run_id: UUID) -> RunPrecision:
    pytest.fail(f"the result is not of the run {run_id}")


def test_only_a_density_has_a_number_of_streams() -> None:
    density = DensityMeasurement(
        streams=7, limit="cpu", steps=(), power_w=_UNKNOWN, watts_per_stream=_UNKNOWN
    )
    results = (
        result_collectors.result(
            measurement=msgspec.structs.replace(factories.measurement(), density=density)
        ),
        result_collectors.result(scenario=factories.scenario(name="clip/two")),
    )
    collector = result_collectors.latest_results(results[0].stored_at.timestamp)
    collector.refresh(result_collectors.page_of(*results), _no_run)
    registry = CollectorRegistry()
    registry.register(collector)
    (metric,) = (found for found in registry.collect() if found.name == _NAME)
    assert [(item.labels["scenario"], item.value) for item in metric.samples] == [("clip/one", 7.0)]
