"""Which node measures which scenario."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from ffrtmp_shared.models import Node
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.states import NodeState
from ffrtmp_shared.suite import MAX_JOBS, OnNode, Suite

from ffrtmp_master.queue.requirement_catalog import RequirementSet, unmet_requirements
from ffrtmp_master.queue.submission import required_set
from ffrtmp_master.store.errors import UnprocessableError


@dataclass(frozen=True)
class PlacedScenario:
    """A scenario and what it asks of the node that is to measure it."""

    scenario: Scenario
    wanted: RequirementSet


@dataclass(frozen=True)
class Placement:
    """Everything that a suite asks for once, and the nodes that can take part now."""

    items: tuple[PlacedScenario, ...]
    nodes: tuple[str, ...]


def place_suite(suite: Suite, nodes: Sequence[Node]) -> Placement:
    """Spread a suite's scenarios over the nodes that are active.

    With placement `each`, every node that meets what a scenario asks gets it; a scenario that no
    active node can do waits for any that can.

    Raises:
        UnacceptableError: there would be too many jobs, or a scenario has no node. By default that
            is one whose requirements no registered node meets, whatever its state; with
            `when_unmet: refuse` one whose requirements no active node meets; with
            `when_unmet: wait` there is none.
    """
    active = [node for node in nodes if node.state is NodeState.ACTIVE]
    # Before they are made: there may be more than memory holds.
    _check_number(suite, suite.scenario_count)
    items: list[PlacedScenario] = []
    taking_part: set[str] = set()
    unmet: dict[str, str] = {}
    for scenario in suite.scenarios():
        wanted = _wanted(suite, scenario)
        fitting = [
            node.name
            for node in active
            if not unmet_requirements(wanted.requirements, node.registration)
        ]
        if not fitting and (reason := _refusal(suite, wanted, active, nodes)):
            unmet.setdefault(wanted.key, reason)
        taking_part.update(fitting)
        items.extend(_placed(suite, scenario, wanted, fitting))
        _check_number(suite, len(items))
    if unmet:
        detail = "no node can do all that the suite asks for"
        if suite.when_unmet is None:
            detail += "; with `when_unmet: wait` in the suite, it waits for a node that can"
        raise UnprocessableError(detail, list(unmet.values()))
    return Placement(tuple(items), tuple(sorted(taking_part)))


def _check_number(suite: Suite, measured: int) -> None:
    """Raise UnacceptableError when so many measurements, each repeated, are too many for a run."""
    jobs = measured * suite.repeats
    if jobs > MAX_JOBS:
        raise UnprocessableError(f"the suite makes {jobs} jobs; a run may have {MAX_JOBS}")


def _wanted(suite: Suite, scenario: Scenario) -> RequirementSet:
    requirements = suite.requirements
    if isinstance(suite.placement, OnNode):
        requirements = msgspec.structs.replace(requirements, node=suite.placement.node)
    return required_set(requirements, scenario, exclusive=suite.exclusive)


def _placed(
    suite: Suite, scenario: Scenario, wanted: RequirementSet, fitting: Sequence[str]
) -> Iterator[PlacedScenario]:
    if suite.placement != "each" or not fitting:
        yield PlacedScenario(scenario, wanted)
        return
    for name in fitting:
        bound = msgspec.structs.replace(wanted.requirements, node=name)
        yield PlacedScenario(
            scenario, RequirementSet(requirements=bound, exclusive=wanted.exclusive)
        )


def _refusal(
    suite: Suite, wanted: RequirementSet, active: Sequence[Node], nodes: Sequence[Node]
) -> str | None:
    """Return why a scenario that no active node can do is refused, or None when it may wait."""
    if suite.when_unmet == "refuse":
        return _why(wanted, active, nodes)
    if suite.when_unmet == "wait":
        return None
    # An offline or draining node may become active again: only what none of them has is hopeless.
    if any(not unmet_requirements(wanted.requirements, node.registration) for node in nodes):
        return None
    return _why(wanted, nodes, nodes)


def _why(wanted: RequirementSet, active: Sequence[Node], nodes: Sequence[Node]) -> str:
    """Say what each node lacks."""
    asked = ", ".join(
        f"{name} {value}" for name, value in msgspec.to_builtins(wanted.requirements).items()
    )
    if not active:
        known = ", ".join(f"{node.name} is {node.state}" for node in nodes)
        return f"{asked}: no node is active; {known or 'none is registered'}"
    lacks = "; ".join(
        f"{node.name} lacks {', '.join(unmet_requirements(wanted.requirements, node.registration))}"
        for node in active
    )
    return f"{asked}: {lacks}"
