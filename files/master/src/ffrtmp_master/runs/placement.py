"""Placement of the scenarios of a suite on nodes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from ffrtmp_shared.models import OmittedNode
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.run_plan import WaitingScenarios
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.states import NodeState
from ffrtmp_shared.suite import OnNode, Suite
from ffrtmp_shared.suite_limits import MAX_JOBS

from ffrtmp_master.queue.pending_reasons import NodeOccupancy, explain, joined
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
        waiting: The scenarios that no active node can run.
        omitted: The nodes that get none of the jobs that are bound to nodes, although they can run
            the scenarios, because they are not active.
    """

    items: tuple[PlacedScenario, ...]
    nodes: tuple[str, ...]
    waiting: tuple[WaitingScenarios, ...]
    omitted: tuple[OmittedNode, ...]


@dataclass(frozen=True)
class _Match:
    """The nodes that meet a requirement set; `reason` is empty if one of them is active."""

    active: tuple[str, ...]
    inactive: tuple[OmittedNode, ...]
    reason: str


def place_suite(suite: Suite, nodes: Sequence[Node], repeats_min: int = 1) -> Placement:
    """Place the scenarios of a suite on the active nodes.

    With the placement `each`, a scenario is placed once on every active node that meets its
    requirements. If there is no such node, the scenario is not bound to a node: it waits for any
    node that meets the requirements.

    Args:
        suite: The suite.
        nodes: All registered nodes.
        repeats_min: The minimum number of repeats that the farm requires.

    Returns:
        The placement.

    Raises:
        UnprocessableError: The suite has too few repeats or too many jobs, or the requirements of a
            scenario are unmet. By default, requirements count as unmet if no registered node meets
            them, whatever its state. With `when_unmet: refuse`, they count as unmet if no active
            node meets them. With `when_unmet: wait`, they never count as unmet.
    """
    if suite.repeats < repeats_min:
        raise UnprocessableError(
            f"the suite requests repeats: {suite.repeats}, but this farm requires at least "
            f"{repeats_min} (master_repeats_min); set repeats: {repeats_min} in the suite"
        )
    # The number is checked before the scenarios are generated, because too many scenarios would not
    # fit in memory.
    _check_number(suite, suite.scenario_count)
    occupancy = NodeOccupancy({node.name: node for node in nodes})
    items: list[PlacedScenario] = []
    # Most scenarios of a suite have the same requirements.
    matches: dict[str, _Match] = {}
    waiting: dict[str, list[str]] = {}
    for scenario in suite.scenarios():
        wanted = _wanted(suite, scenario)
        key = wanted.key
        if key not in matches:
            matches[key] = _match(wanted, occupancy)
        if not matches[key].active:
            waiting.setdefault(key, []).append(scenario.name)
        items.extend(_placed(suite, scenario, wanted, matches[key].active))
        _check_number(suite, len(items))
    _check_met(suite, matches, waiting)
    # Without a suitable active node, a scenario is not bound to a node, and any of the nodes may
    # run it later.
    omitted = {
        node.node: node
        for match in matches.values()
        if match.active and suite.placement == "each"
        for node in match.inactive
    }
    return Placement(
        items=tuple(items),
        nodes=tuple(sorted({name for match in matches.values() for name in match.active})),
        waiting=tuple(
            WaitingScenarios(scenarios=tuple(names), reason=matches[key].reason)
            for key, names in waiting.items()
        ),
        omitted=tuple(omitted[name] for name in sorted(omitted)),
    )


def _match(wanted: RequirementSet, occupancy: NodeOccupancy) -> _Match:
    suitable = [
        node
        for node in occupancy.nodes.values()
        if not unmet_requirements(wanted.requirements, node.registration)
    ]
    active = tuple(node.name for node in suitable if node.state is NodeState.ACTIVE)
    return _Match(
        active=active,
        inactive=tuple(
            OmittedNode(node=node.name, state=node.state)
            for node in suitable
            if node.state is not NodeState.ACTIVE
        ),
        reason="" if active else explain(wanted, occupancy).message,
    )


def _check_met(
    suite: Suite, matches: Mapping[str, _Match], waiting: Mapping[str, Sequence[str]]
) -> None:
    """Raise UnprocessableError if scenarios that no active node can run must not wait."""
    if suite.when_unmet == "wait":
        return
    refused = [
        f"{joined(names)}: {matches[key].reason}"
        for key, names in waiting.items()
        # An offline or draining node may become active again.
        if suite.when_unmet == "refuse" or not matches[key].inactive
    ]
    if refused:
        detail = "no node can run some scenarios"
        if suite.when_unmet is None:
            detail += "; with `when_unmet: wait` in the suite, they wait for a suitable node"
        raise UnprocessableError(detail, refused)


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
