"""Tests of the cost exporter: costs and carbon of results, and reasons why they are missing."""

from datetime import timedelta
from typing import Any

import factories
import msgspec
import promtool
import pytest
import result_collectors
from ffrtmp_shared.client import MasterUnreachableError
from ffrtmp_shared.density_measurement import DensityMeasurement
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.measurement import EnergyMeasurement, Measurement, RenditionMeasurement
from ffrtmp_shared.metric_page import MetricPage

from .priced_farm import (
    ENTRY,
    LABELS,
    NODE,
    REGION,
    START,
    UNKNOWN,
    PricedFarm,
    collector,
    exported,
    measured,
    measured_at,
    result,
    samples,
    value,
)


def test_costs_and_carbon_have_their_components() -> None:
    found = exported(PricedFarm(ENTRY), result())
    # For each of the 15 times 4 s: 2 / 3,600 h * 0.9 EUR, and 64 J / 3.6 MJ * 1.5 * 0.3 EUR.
    assert samples(found, "ffrtmp_cost_per_video_minute") == {
        ("EUR", "host"): pytest.approx(0.0075),
        ("EUR", "energy"): pytest.approx(0.00012),
    }
    # 64 J / 3.6 MJ * 1.5 * 400 g, and 10 g an hour * 2 / 3,600 h.
    assert samples(found, "ffrtmp_carbon_grams_per_video_minute") == {
        ("operational",): pytest.approx(0.16),
        ("embodied",): pytest.approx(1 / 12),
    }
    labels = LABELS | {"currency": "EUR", "component": "host"}
    assert value(found, "ffrtmp_cost_per_video_minute", **labels) == pytest.approx(0.0075)
    assert samples(found, "ffrtmp_cost_per_stream_hour") == {}
    assert samples(found, "ffrtmp_cost_per_ladder_hour") == {}


def test_the_costs_of_jobs_that_are_not_exclusive_are_marked_as_estimates() -> None:
    def used(node_use: str) -> Measurement:
        environment = msgspec.structs.replace(
            factories.measurement().environment, node_use=node_use
        )
        return measured(environment=environment)

    run_id = new_id()
    alone = result(run_id=run_id, measurement=used("exclusive"))
    shared = result(
        run_id=run_id,
        scenario=factories.scenario(name="clip/two"),
        measurement=used("shared"),
    )
    found = exported(PricedFarm(ENTRY), alone, shared)
    assert value(found, "ffrtmp_cost_estimated", **LABELS) is None
    assert value(found, "ffrtmp_cost_estimated", **LABELS | {"scenario": "clip/two"}) == 1
    # Both have costs.
    for scenario in ("clip/one", "clip/two"):
        labels = LABELS | {"scenario": scenario, "currency": "EUR", "component": "energy"}
        assert value(found, "ffrtmp_cost_per_video_minute", **labels) == pytest.approx(0.00012)


def test_a_result_has_the_prices_of_its_time() -> None:
    """The price changes in the middle of a run, between the first and the second scenario."""
    changed = ENTRY | {
        "valid_from": "2026-01-01T01:00:00Z",
        "nodes": {"worker1": NODE | {"per_hour": 1.8}},
    }
    run_id = new_id()
    later = result(
        run_id=run_id,
        scenario=factories.scenario(name="clip/two"),
        measurement=measured_at(START + timedelta(hours=1)),
    )
    found = exported(PricedFarm(ENTRY, changed), result(run_id=run_id), later)
    for scenario, expected in (("clip/one", 0.0075), ("clip/two", 0.015)):
        labels = LABELS | {"scenario": scenario, "currency": "EUR", "component": "host"}
        assert value(found, "ffrtmp_cost_per_video_minute", **labels) == pytest.approx(expected)


def test_the_energy_of_gpus_is_included() -> None:
    gpu = EnergyMeasurement(
        zones_j={"gpu": 36.0}, gross_j=36.0, duration_s=2.0, idle_w=5.0, net_j=26.0
    )
    found = exported(PricedFarm(ENTRY), result(measurement=measured(gpu_energy=gpu)))
    costs = samples(found, "ffrtmp_cost_per_video_minute")
    assert costs["EUR", "energy"] == pytest.approx(0.00012 * 100 / 64)


def test_a_density_has_the_cost_of_a_stream_hour() -> None:
    density = DensityMeasurement(
        streams=4, limit="cpu", steps=(), power_w=32.0, watts_per_stream=8.0
    )
    scenario = msgspec.structs.replace(factories.scenario(), kind="density")
    found = exported(
        PricedFarm(ENTRY), result(scenario=scenario, measurement=measured(density=density))
    )
    # 0.9 EUR / 4, and 32 W * 1.5 * 0.3 EUR / 4.
    assert samples(found, "ffrtmp_cost_per_stream_hour") == {
        ("EUR", "host"): pytest.approx(0.225),
        ("EUR", "energy"): pytest.approx(0.0036),
    }


def test_a_ladder_has_the_cost_of_a_ladder_hour() -> None:
    whole = factories.measurement()
    assert whole.output is not None
    rendition = RenditionMeasurement(name="low", encode=None, output=whole.output, quality=UNKNOWN)
    found = exported(
        PricedFarm(ENTRY), result(measurement=measured(renditions=(rendition,), output=None))
    )
    assert samples(found, "ffrtmp_cost_per_ladder_hour") == {
        ("EUR", "host"): pytest.approx(0.45),
        ("EUR", "energy"): pytest.approx(0.0072),
    }


def _without(member: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: found for name, found in member.items() if name not in names}


@pytest.mark.parametrize(
    ("entries", "more", "cost_reason", "carbon_reason"),
    [
        ([ENTRY], {}, "available", "available"),
        ([], {}, "no_price_book", "no_price_book"),
        ([ENTRY | {"valid_from": "2026-01-02"}], {}, "no_entry", "no_entry"),
        ([ENTRY | {"nodes": {}}], {}, "no_node", "no_node"),
        (
            [ENTRY | {"nodes": {"worker1": _without(NODE, "per_hour")}}],
            {},
            "no_host_price",
            "available",
        ),
        (
            [ENTRY | {"regions": {"de": _without(REGION, "energy_per_kwh")}}],
            {},
            "no_energy_price",
            "available",
        ),
        ([ENTRY], {"energy": UNKNOWN}, "no_energy", "no_energy"),
        (
            [ENTRY | {"regions": {"de": {"pue": 1.5, "energy_per_kwh": 0.3}}}],
            {},
            "available",
            "no_carbon_intensity",
        ),
        (
            [ENTRY | {"nodes": {"worker1": {"region": "de", "per_hour": 0.9}}}],
            {},
            "available",
            "no_embodied_carbon",
        ),
        (
            [ENTRY],
            {"encode": msgspec.structs.replace(factories.measurement().encode, speed=0.0)},
            "no_video",
            "no_video",
        ),
    ],
)
def test_without_a_part_there_are_no_series_but_a_reason(
    entries: list[dict[str, Any]], more: dict[str, Any], cost_reason: str, carbon_reason: str
) -> None:
    found = exported(PricedFarm(*entries), result(measurement=measured(**more)))
    for subject, series, reason in (
        ("cost", "ffrtmp_cost_per_video_minute", cost_reason),
        ("carbon", "ffrtmp_carbon_grams_per_video_minute", carbon_reason),
    ):
        assert bool(samples(found, series)) == (reason == "available")
        reasons = samples(found, f"ffrtmp_{subject}_available")
        assert reasons[(reason,)] == 1
        assert sum(reasons.values()) == 1
        assert len(reasons) == 8


def test_the_reasons_exist_for_a_node_without_results() -> None:
    found = exported(PricedFarm(ENTRY))
    assert set(samples(found, "ffrtmp_cost_available").values()) == {0.0}


def test_the_present_entry_is_exported() -> None:
    changed = ENTRY | {"valid_from": "2026-01-01T02:00:00Z", "currency": "CHF", "source": "new"}
    found = exported(PricedFarm(ENTRY, changed))
    assert value(found, "ffrtmp_price_book_info", source="new", currency="CHF") == 1
    start_s = START.timestamp() + 7200
    assert value(found, "ffrtmp_price_book_valid_from_timestamp_seconds") == start_s
    undated = exported(PricedFarm(_without(ENTRY, "valid_from")))
    assert samples(undated, "ffrtmp_price_book_info") == {("contract", "EUR"): 1}
    assert samples(undated, "ffrtmp_price_book_valid_from_timestamp_seconds") == {}


def test_a_changed_book_changes_all_costs() -> None:
    farm, found = PricedFarm(ENTRY), collector()
    pages = result_collectors.page_of(result())
    assert not found.is_complete()
    found.refresh(pages, farm)
    assert found.is_complete()
    farm.book = PricedFarm(ENTRY | {"nodes": {"worker1": NODE | {"per_hour": 9}}}).book
    found.refresh(pages, farm)
    costs = samples(found, "ffrtmp_cost_per_video_minute")
    assert costs["EUR", "host"] == pytest.approx(0.075)


def test_the_series_stay_while_the_master_is_unreachable() -> None:
    farm, found = PricedFarm(ENTRY), collector()
    pages = result_collectors.page_of(result())
    found.refresh(pages, farm)
    before = [metric.samples for metric in found.collect()]
    farm.is_reachable = False
    with pytest.raises(MasterUnreachableError):
        found.refresh(pages, farm)
    assert [metric.samples for metric in found.collect()] == before


def test_another_exporter_has_the_same_series() -> None:
    """As after a restart, it reads all results at once, and in other pages."""
    farm = PricedFarm(ENTRY)
    results = [result(scenario=factories.scenario(name=f"clip/{number}")) for number in range(5)]
    first, restarted = collector(), collector()
    for count in range(1, 6):
        first.refresh(result_collectors.page_of(*results[:count]), farm)
    restarted.refresh(result_collectors.page_of(*results), farm)
    for before, after in zip(first.collect(), restarted.collect(), strict=True):
        assert sorted(before.samples, key=str) == sorted(after.samples, key=str)


def test_promtool_accepts_the_metrics() -> None:
    page = MetricPage({"cost": exported(PricedFarm(ENTRY), result())}).render("")[0].decode()
    assert "ffrtmp_cost_per_video_minute{" in page
    assert promtool.complaints(page) == ""
