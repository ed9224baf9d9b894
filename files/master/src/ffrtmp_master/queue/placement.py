"""Which node measures which scenario."""

from collections.abc import Sequence
from dataclasses import dataclass

from ffrtmp_shared.models import Node
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.states import NodeState
from ffrtmp_shared.suite import MAX_JOBS, Suite

from ffrtmp_master.store.refusals import ConflictError, UnacceptableError


@dataclass(frozen=True)
class Placed:
    """A scenario and the node that must measure it; None for any that has the encoder."""

    scenario: Scenario
    node: str | None


@dataclass(frozen=True)
class Placement:
    """Everything that a suite asks for once, and the nodes that take part."""

    items: tuple[Placed, ...]
    nodes: tuple[str, ...]


def place(suite: Suite, nodes: Sequence[Node]) -> Placement:
    """Spread a suite's scenarios over the nodes that are active.

    With placement `each`, a node gets the scenarios whose encoder it has. Raises ConflictError
    when no node is active, UnacceptableError when a scenario's encoder is nowhere to be had or
    when there would be too many jobs.
    """
    active = [node for node in nodes if node.state is NodeState.ACTIVE]
    if not active:
        raise ConflictError(f"no node can take jobs; {_states(nodes)}")
    scenarios = suite.scenarios()
    holders: dict[str, list[str]] = {}
    for encoder in dict.fromkeys(scenario.encode.encoder for scenario in scenarios):
        holders[encoder] = [node.name for node in active if encoder in node.registration.encoders]
    lacking = [encoder for encoder, names in holders.items() if not names]
    if lacking:
        had = "; ".join(
            f"{node.name}: {', '.join(node.registration.encoders) or 'none'}" for node in active
        )
        raise UnacceptableError(
            "the farm lacks encoders that the suite asks for",
            [f"no node has encoder {encoder}; nodes have: {had}" for encoder in lacking],
        )
    items = tuple(
        Placed(scenario, node)
        for scenario in scenarios
        for node in (holders[scenario.encode.encoder] if suite.placement == "each" else [None])
    )
    _refuse_too_many(len(items) * suite.repeats)
    taking_part = {name for names in holders.values() for name in names}
    return Placement(items, tuple(sorted(taking_part)))


def _refuse_too_many(jobs: int) -> None:
    if jobs > MAX_JOBS:
        raise UnacceptableError(f"the suite makes {jobs} jobs; a run may have {MAX_JOBS}")


def _states(nodes: Sequence[Node]) -> str:
    if not nodes:
        return "no node is registered"
    return "nodes are: " + ", ".join(f"{node.name} {node.state}" for node in nodes)
