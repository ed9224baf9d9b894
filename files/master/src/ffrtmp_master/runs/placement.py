"""Placement of the scenarios of a suite on nodes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from ffrtmp_shared.models import Node, OmittedNode
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.states import NodeState
from ffrtmp_shared.suite import MAX_JOBS, OnNode, Suite

from ffrtmp_master.queue.requirement_catalog import RequirementSet, unmet_requirements
from ffrtmp_master.queue.submission import required_set
from ffrtmp_master.store.errors import UnprocessableError


@dataclass(frozen=True)
class PlacedScenario:
    """A scenario and the requirement set of its jobs."""

    scenario: Scenario
    wanted: RequirementSet


@dataclass(frozen=True)
class Placement:
    """The placement of a suite.

    Attributes:
        items: The placed scenarios, without repeats.
        nodes: The names of the active nodes that can run at least one of the scenarios.
        omitted: The nodes that get none of the jobs that are bound to nodes, although they can run
            the scenarios, because they are not active.
    """

    items: tuple[PlacedScenario, ...]
    nodes: tuple[str, ...]
    omitted: tuple[OmittedNode, ...]


def place_suite(suite: Suite, nodes: Sequence[Node]) -> Placement:
    """Place the scenarios of a suite on the active nodes.

    With the placement `each`, a scenario is placed once on every active node that meets its
    requirements. If there is no such node, the scenario is not bound to a node: it waits for any
    node that meets the requirements.

    Args:
        suite: The suite.
        nodes: All registered nodes.

    Returns:
        The placement.

    Raises:
        UnprocessableError: The suite has too many jobs, or the requirements of a scenario are
            unmet. By default, requirements count as unmet if no registered node meets them,
            whatever its state. With `when_unmet: refuse`, they count as unmet if no active node
            meets them. With `when_unmet: wait`, they never count as unmet.
    """
    active = [node for node in nodes if node.state is NodeState.ACTIVE]
    # The number is checked before the scenarios are generated, because too many scenarios would not
    # fit in memory.
    _check_number(suite, suite.scenario_count)
    items: list[PlacedScenario] = []
    participating: set[str] = set()
    omitted: dict[str, OmittedNode] = {}
    unmet: dict[str, str] = {}
    for scenario in suite.scenarios():
        wanted = _wanted(suite, scenario)
        suitable = [
            node.name
            for node in active
            if not unmet_requirements(wanted.requirements, node.registration)
        ]
        if not suitable and (reason := _refusal_reason(suite, wanted, active, nodes)):
            unmet.setdefault(wanted.key, reason)
        participating.update(suitable)
        if suitable and suite.placement == "each":
            # Without a suitable active node, the scenario is not bound to a node, and any of the
            # nodes may run it later.
            omitted |= _omitted(wanted, [node for node in nodes if node.name not in omitted])
        items.extend(_placed(suite, scenario, wanted, suitable))
        _check_number(suite, len(items))
    if unmet:
        detail = "no node meets the requirements of some scenarios"
        if suite.when_unmet is None:
            detail += "; with `when_unmet: wait` in the suite, they wait for such a node"
        raise UnprocessableError(detail, list(unmet.values()))
    return Placement(
        tuple(items),
        tuple(sorted(participating)),
        tuple(omitted[name] for name in sorted(omitted)),
    )


def _omitted(wanted: RequirementSet, nodes: Sequence[Node]) -> dict[str, OmittedNode]:
    """Return the nodes that meet the requirements but are not active, by name."""
    return {
        node.name: OmittedNode(node=node.name, state=node.state)
        for node in nodes
        if node.state is not NodeState.ACTIVE
        and not unmet_requirements(wanted.requirements, node.registration)
    }


def _check_number(suite: Suite, scenario_count: int) -> None:
    """Raise UnprocessableError if `scenario_count` scenarios result in too many jobs for a run."""
    jobs = scenario_count * suite.repeats
    if jobs > MAX_JOBS:
        raise UnprocessableError(f"the suite has {jobs} jobs; a run may have at most {MAX_JOBS}")


def _wanted(suite: Suite, scenario: Scenario) -> RequirementSet:
    requirements = suite.requirements
    if isinstance(suite.placement, OnNode):
        requirements = msgspec.structs.replace(requirements, node=suite.placement.node)
    return required_set(requirements, scenario, exclusive=suite.exclusive)


def _placed(
    suite: Suite, scenario: Scenario, wanted: RequirementSet, suitable: Sequence[str]
) -> Iterator[PlacedScenario]:
    if suite.placement != "each" or not suitable:
        yield PlacedScenario(scenario, wanted)
        return
    for name in suitable:
        bound = msgspec.structs.replace(wanted.requirements, node=name)
        yield PlacedScenario(
            scenario, RequirementSet(requirements=bound, exclusive=wanted.exclusive)
        )


def _refusal_reason(
    suite: Suite, wanted: RequirementSet, active: Sequence[Node], nodes: Sequence[Node]
) -> str | None:
    """Return why a scenario that no active node can run is refused, or None if it may wait."""
    if suite.when_unmet == "refuse":
        return _unmet_reason(wanted, active, nodes)
    if suite.when_unmet == "wait":
        return None
    # An offline or draining node may become active again, so it counts here.
    if any(not unmet_requirements(wanted.requirements, node.registration) for node in nodes):
        return None
    return _unmet_reason(wanted, nodes, nodes)


def _unmet_reason(wanted: RequirementSet, active: Sequence[Node], nodes: Sequence[Node]) -> str:
    """Return a message that states the requirements and what each of the nodes lacks."""
    required = ", ".join(
        f"{name} {value}" for name, value in msgspec.to_builtins(wanted.requirements).items()
    )
    if not active:
        states = ", ".join(f"{node.name} is {node.state}" for node in nodes)
        return f"{required}: no node is active; {states or 'none is registered'}"
    lacks = "; ".join(
        f"{node.name} lacks {', '.join(unmet_requirements(wanted.requirements, node.registration))}"
        for node in active
    )
    return f"{required}: {lacks}"
