"""Tests of the busy and idle time of nodes, and of its costs in the cost exporter."""

import math
from datetime import UTC, datetime, timedelta

import factories
import msgspec
import pytest
import result_collectors
from ffrtmp_master.exporters.node_activity import NodeActivity
from ffrtmp_shared.measurement import (
    EnergyMeasurement,
)

from .priced_farm import (
    ENTRY,
    NOW,
    START,
    PricedFarm,
    collector,
    exported,
    measured,
    measured_at,
    result,
    samples,
    value,
)


def test_busy_and_idle_cost_of_a_node_add_up() -> None:
    found = exported(PricedFarm(ENTRY), result())
    # Two complete hours have prices. The node was busy for 2 s of them, with 32 W, and idle for
    # 7,198 s, with 10 W.
    assert samples(found, "ffrtmp_node_cost_per_hour") == {
        ("EUR", "host", "busy"): pytest.approx(0.9 * 2 / 7200),
        ("EUR", "host", "idle"): pytest.approx(0.9 * 7198 / 7200),
        ("EUR", "energy", "busy"): pytest.approx(64 / 2 / 3.6e6 * 1.5 * 0.3),
        ("EUR", "energy", "idle"): pytest.approx(71_980 / 2 / 3.6e6 * 1.5 * 0.3),
    }
    total = sum(
        amount
        for (_, component, _), amount in samples(found, "ffrtmp_node_cost_per_hour").items()
        if component == "host"
    )
    assert total == pytest.approx(0.9)


def test_a_node_without_results_is_idle() -> None:
    included = ENTRY | {"nodes": {"worker2": {"per_hour": 0.9, "includes_energy": True}}}
    farm = PricedFarm(included, nodes=("worker1", "worker2", "worker3"))
    found = exported(farm)
    costs = samples(found, "ffrtmp_node_cost_per_hour")
    assert (costs["EUR", "host", "busy"], costs["EUR", "host", "idle"]) == (0.0, 0.9)
    labels = {"node": "worker3", "reason": "no_node"}
    assert value(found, "ffrtmp_node_cost_available", **labels) == 1.0
    labels = {"node": "worker2", "reason": "available"}
    assert value(found, "ffrtmp_node_cost_available", **labels) == 1.0


def test_encodes_in_several_slots_count_once() -> None:
    activity = NodeActivity(86_400.0, NOW.timestamp)
    for _ in range(3):
        activity.add(result())
    half = msgspec.structs.replace(factories.measurement().encode, wall_s=1800.0)
    at = measured_at(START + timedelta(minutes=45)).environment
    activity.add(result(measurement=measured(encode=half, environment=at)))
    ratios = list(activity.busy_ratios("worker1", NOW.timestamp()).values())
    assert ratios[-3:] == [0.0, pytest.approx(902 / 3600), 0.25]
    assert len(ratios) == 24


def test_a_wrong_duration_is_bounded() -> None:
    activity = NodeActivity(86_400.0, NOW.timestamp)
    long = msgspec.structs.replace(factories.measurement().encode, wall_s=1e18)
    early = measured_at(datetime(1970, 1, 1, tzinfo=UTC)).environment
    activity.add(result(measurement=measured(encode=long, environment=early)))
    assert set(activity.busy_ratios("worker1", NOW.timestamp()).values()) == {1.0}
    activity.forget_old((NOW + timedelta(days=40)).timestamp())
    assert set(activity.busy_ratios("worker1", NOW.timestamp()).values()) == {0.0}
    assert activity.power("worker1", NOW.timestamp()).idle_w is None


def test_the_power_of_an_encode_belongs_to_all_its_hours() -> None:
    """An encode from 00:59:30 to 01:00:30 uses 64 J, as long as one of its hours counts."""
    minute = msgspec.structs.replace(factories.measurement().encode, wall_s=60.0)
    environment = measured_at(START + timedelta(minutes=59, seconds=30)).environment
    encode = result(measurement=measured(encode=minute, environment=environment))

    def busy(at: datetime, activity: NodeActivity) -> tuple[float, float | None]:
        at_s = at.timestamp()
        activity.forget_old(at_s)
        ratio = math.fsum(activity.busy_ratios("worker1", at_s).values())
        return ratio, activity.power("worker1", at_s).busy_w

    now = START + timedelta(hours=1, minutes=1)
    activity = NodeActivity(86_400.0, now.timestamp)
    activity.add(encode)
    # The second hour is not complete.
    assert busy(now, activity) == (30 / 3600, 32.0)
    assert busy(START + timedelta(hours=2), activity) == (60 / 3600, 32.0)
    now = START + timedelta(hours=25, minutes=1)
    restarted = NodeActivity(86_400.0, now.timestamp)
    restarted.add(encode)
    assert busy(now, activity) == busy(now, restarted) == (30 / 3600, 32.0)
    assert busy(now + timedelta(hours=1), activity) == (0.0, None)


def test_an_encode_of_this_hour_does_not_change_the_cost_of_a_node() -> None:
    farm, found = PricedFarm(ENTRY), collector()
    found.refresh(result_collectors.page_of(result()), farm)
    before = samples(found, "ffrtmp_node_cost_per_hour")
    hot = EnergyMeasurement(
        zones_j={"package-0": 999.0}, gross_j=999.0, duration_s=2.0, idle_w=10.0, net_j=979.0
    )
    now = measured_at(NOW - timedelta(minutes=1)).environment
    later = result(measurement=measured(energy=hot, environment=now))
    found.refresh(result_collectors.page_of(later), farm)
    assert samples(found, "ffrtmp_node_cost_per_hour") == before
