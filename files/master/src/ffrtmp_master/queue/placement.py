"""Which node measures which scenario."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from ffrtmp_shared.models import Node
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.states import NodeState
from ffrtmp_shared.suite import MAX_JOBS, OnNode, Suite

from ffrtmp_master.queue.matching import RequirementSet, lacking
from ffrtmp_master.queue.submission import required_set
from ffrtmp_master.store.refusals import UnacceptableError


@dataclass(frozen=True)
class Placed:
    """A scenario and what it asks of the node that is to measure it."""

    scenario: Scenario
    wanted: RequirementSet


@dataclass(frozen=True)
class Placement:
    """Everything that a suite asks for once, and the nodes that can take part now."""

    items: tuple[Placed, ...]
    nodes: tuple[str, ...]


def place(suite: Suite, nodes: Sequence[Node]) -> Placement:
    """Spread a suite's scenarios over the nodes that are active.

    With placement `each`, every node that meets what a scenario asks gets it; a scenario that no
    node can do waits for any that can. Raises UnacceptableError when there would be too many
    jobs, or when something would wait and the suite says that it must not.
    """
    active = [node for node in nodes if node.state is NodeState.ACTIVE]
    # Before they are made: there may be more than memory holds.
    _check_number(suite, suite.scenario_count)
    items: list[Placed] = []
    taking_part: set[str] = set()
    unmet: dict[str, str] = {}
    for scenario in suite.scenarios():
        wanted = _wanted(suite, scenario)
        fitting = [
            node.name for node in active if not lacking(wanted.requirements, node.registration)
        ]
        if not fitting:
            unmet.setdefault(wanted.key, _why(wanted, active, nodes))
        taking_part.update(fitting)
        items.extend(_placed(suite, scenario, wanted, fitting))
        _check_number(suite, len(items))
    if unmet and suite.when_unmet == "refuse":
        raise UnacceptableError("no node can do all that the suite asks for", list(unmet.values()))
    return Placement(tuple(items), tuple(sorted(taking_part)))


def _check_number(suite: Suite, measured: int) -> None:
    """Raise UnacceptableError when so many measurements, each repeated, are too many for a run."""
    jobs = measured * suite.repeats
    if jobs > MAX_JOBS:
        raise UnacceptableError(f"the suite makes {jobs} jobs; a run may have {MAX_JOBS}")


def _wanted(suite: Suite, scenario: Scenario) -> RequirementSet:
    requirements = suite.requirements
    if isinstance(suite.placement, OnNode):
        requirements = msgspec.structs.replace(requirements, node=suite.placement.node)
    return required_set(requirements, scenario, exclusive=suite.exclusive)


def _placed(
    suite: Suite, scenario: Scenario, wanted: RequirementSet, fitting: Sequence[str]
) -> Iterator[Placed]:
    if suite.placement != "each" or not fitting:
        yield Placed(scenario, wanted)
        return
    for name in fitting:
        bound = msgspec.structs.replace(wanted.requirements, node=name)
        yield Placed(scenario, RequirementSet(requirements=bound, exclusive=wanted.exclusive))


def _why(wanted: RequirementSet, active: Sequence[Node], nodes: Sequence[Node]) -> str:
    """Say what each node lacks."""
    asked = ", ".join(
        f"{name} {value}" for name, value in msgspec.to_builtins(wanted.requirements).items()
    )
    if not active:
        known = ", ".join(f"{node.name} is {node.state}" for node in nodes)
        return f"{asked}: no node is active; {known or 'none is registered'}"
    lacks = "; ".join(
        f"{node.name} lacks {', '.join(lacking(wanted.requirements, node.registration))}"
        for node in active
    )
    return f"{asked}: {lacks}"
