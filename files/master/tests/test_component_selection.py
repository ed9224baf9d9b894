"""Tests of the selection of components to probe, from a list and from the registry."""

from datetime import UTC, datetime
from pathlib import Path

import factories
import msgspec
import pytest
from ffrtmp_master.exporters.components import Component, ComponentFile, ProbeKind
from ffrtmp_master.exporters.disk_forecast import DiskForecasts
from ffrtmp_master.exporters.probe_metrics import ComponentSelection, DiskRecorder, ProbeCollector
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.states import NodeState

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_RESULTS = Component(component="results", probe=ProbeKind.EXPORTER, host="m1", port=9502)


def node(name: str, state: NodeState = NodeState.ACTIVE, *, is_draining: bool = False) -> Node:
    registration = msgspec.structs.replace(
        factories.registration(name), address=f"{name}.lan", exporters={"cpu": 9510, "node": 9100}
    )
    return Node(
        id=new_id(),
        name=name,
        state=state,
        registration=registration,
        registered_at=_NOW,
        last_seen_at=_NOW,
        is_draining=is_draining,
    )


def selected(*nodes: Node, components_max: int = 100) -> set[tuple[str, str]]:
    selection = ComponentSelection(lambda: (_RESULTS,), lambda: nodes, components_max)
    return {component.key for component in selection.update()}


def test_the_exporters_of_workers_are_probed_in_addition_to_the_list() -> None:
    assert selected(node("w1")) == {
        ("results", "m1:9502"),
        ("cpu", "w1.lan:9510"),
        ("node", "w1.lan:9100"),
    }


@pytest.mark.parametrize(
    ("state", "is_draining", "is_probed"),
    [
        (NodeState.OFFLINE, False, True),
        (NodeState.DRAINING, True, True),
        (NodeState.OFFLINE, True, False),
    ],
)
def test_only_a_worker_that_was_drained_and_stopped_is_left_out(
    state: NodeState, *, is_draining: bool, is_probed: bool
) -> None:
    worker = node("w1", state, is_draining=is_draining)
    assert (("cpu", "w1.lan:9510") in selected(worker)) is is_probed
    # The state of its agents is not exported either, so no alert has a reason to fire.
    collector = collector_of(worker)
    (success,) = [m for m in collector.collect() if m.name == "ffrtmp_probe_success"]
    agents = [s.labels["instance"] for s in success.samples if s.labels["component"] == "agent"]
    assert agents == (["w1"] if is_probed else [])


def collector_of(*nodes: Node, components_max: int = 100) -> ProbeCollector:
    selection = ComponentSelection(lambda: (_RESULTS,), lambda: nodes, components_max)
    selection.update()
    disks = DiskRecorder(DiskForecasts(window_s=1, history_min_s=1))
    return ProbeCollector(lambda: (), lambda: nodes, selection, disks)


def test_workers_are_omitted_before_components_of_the_list() -> None:
    nodes = [node(f"w{number}") for number in range(3)]
    assert ("results", "m1:9502") in selected(*nodes, components_max=2)
    assert len(selected(*nodes, components_max=2)) == 2
    metrics = {m.name: m for m in collector_of(*nodes, components_max=2).collect()}
    (omitted,) = metrics["ffrtmp_probe_components_omitted"].samples
    assert omitted.value == 5


def test_the_version_of_node_exporter_on_a_worker_is_in_the_list(tmp_path: Path) -> None:
    file = tmp_path / "components.yml"
    file.write_text("{components: [], node_exporter_versions: {w1: 1.5.0-1+b6}}")
    listed = ComponentFile(file)
    nodes = [node("w1"), node("w2")]
    selection = ComponentSelection(
        listed.components, lambda: nodes, 100, listed.node_exporter_versions
    )
    versions = {component.instance: component.version for component in selection.update()}
    # The other exporters have the release of the farm, and w2 is a worker of another inventory.
    assert versions == {
        "w1.lan:9100": "1.5.0-1+b6",
        "w1.lan:9510": "",
        "w2.lan:9100": "",
        "w2.lan:9510": "",
    }
