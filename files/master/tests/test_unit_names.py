"""Tests of the bounds on the names of failed units in the metrics of a node."""

from datetime import UTC, datetime

import factories
from ffrtmp_master.exporters.node_metrics import node_metrics
from ffrtmp_master.exporters.unit_names import NAMES_MAX, OTHER_UNITS, UnitNames
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.node_models import Node, NodeHeartbeat
from ffrtmp_shared.states import NodeState

_DAY_S = 24 * 3600.0


def node(*units: str, name: str = "worker1") -> Node:
    now = datetime.now(UTC)
    return Node(
        id=new_id(),
        name=name,
        state=NodeState.ACTIVE,
        registration=factories.registration(name),
        registered_at=now,
        last_seen_at=now,
        heartbeat=NodeHeartbeat(failed_unit_count=len(units), failed_units=units),
        heartbeat_at=now,
    )


def numbered(first: int, count: int) -> list[str]:
    return [f"unit-{number}.service" for number in range(first, first + count)]


def test_names_that_change_all_the_time_are_bounded() -> None:
    now = 0.0
    names = UnitNames(lambda: now)
    seen: set[str] = set()
    for first in range(0, 100 * NAMES_MAX, NAMES_MAX):
        seen |= set(names.update([node(*numbered(first, NAMES_MAX))])["worker1"])
        now += 30.0
    assert seen == {*numbered(0, NAMES_MAX), OTHER_UNITS}


def test_names_that_were_not_shown_for_a_day_make_room_for_others() -> None:
    now = 0.0
    names = UnitNames(lambda: now)
    names.update([node(*numbered(0, NAMES_MAX))])
    now = 60.0
    lasting = numbered(0, 1)
    assert names.update([node(*lasting, "new.mount")])["worker1"] == (*lasting, OTHER_UNITS)
    now = _DAY_S - 1
    assert names.update([node("new.mount")])["worker1"] == (OTHER_UNITS,)
    # The other 31 names were shown a day ago, and the lasting one later.
    now = _DAY_S
    found = names.update([node(*numbered(100, NAMES_MAX))])["worker1"]
    assert found == (*numbered(100, NAMES_MAX - 1), OTHER_UNITS)
    now = _DAY_S + 60.0
    assert names.update([node("new.mount")])["worker1"] == ("new.mount",)


def test_each_node_has_names_of_its_own_until_it_is_removed() -> None:
    names = UnitNames(lambda: 0.0)
    first, second = node(*numbered(0, NAMES_MAX)), node("a.service", name="worker2")
    found = names.update([first, second])
    assert found == {"worker1": tuple(numbered(0, NAMES_MAX)), "worker2": ("a.service",)}
    names.update([second])
    assert names.update([node("new.mount")]) == {"worker1": ("new.mount",)}


def test_a_unit_named_like_the_label_of_the_others_causes_no_second_series() -> None:
    names = UnitNames(lambda: 0.0)
    reporting = node(OTHER_UNITS, *numbered(0, NAMES_MAX - 1), numbered(0, 1)[0])
    found = names.update([reporting])
    assert found["worker1"] == (*numbered(0, NAMES_MAX - 1), OTHER_UNITS)
    samples = [
        (sample.name, tuple(sample.labels.values()))
        for metric in node_metrics([reporting], found)
        for sample in metric.samples
    ]
    assert len(samples) == len(set(samples))
    assert ("ffrtmp_node_failed_unit_info", ("worker1", OTHER_UNITS)) in samples


def test_a_node_without_a_heartbeat_has_no_names() -> None:
    silent = Node(
        id=new_id(),
        name="worker1",
        state=NodeState.ACTIVE,
        registration=factories.registration("worker1"),
        registered_at=datetime.now(UTC),
        last_seen_at=datetime.now(UTC),
    )
    assert UnitNames().update([silent]) == {"worker1": ()}
