"""Pairs of FFmpeg builds or nodes that a suite compares, whose jobs are neighbors in the queue."""

from collections.abc import Iterator, Sequence

import msgspec

_PAIR = 2


class SuitePair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two FFmpeg builds or two nodes to compare. Exactly one of the fields is not empty.

    Attributes:
        ffmpegs: The names of two FFmpeg builds of the suite.
        nodes: The names of two nodes.
    """

    ffmpegs: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    def problems(self, builds: Sequence[str], *, is_on_each_node: bool) -> Iterator[str]:
        """Yield error messages for a pair that cannot be compared.

        Args:
            builds: The names of the FFmpeg builds of the suite.
            is_on_each_node: Whether every suitable node measures each scenario.
        """
        if bool(self.ffmpegs) == bool(self.nodes):
            yield "a pair must set exactly one of ffmpegs, nodes"
            return
        names = self.ffmpegs or self.nodes
        if len(names) != _PAIR or len(set(names)) != _PAIR:
            yield f"a pair has two different names, not {', '.join(names)}"
        for name in self.ffmpegs:
            if name not in builds:
                listed = ", ".join(builds) or "none"
                yield f"the FFmpeg {name} is not listed in ffmpegs; listed are {listed}"
        if self.nodes and not is_on_each_node:
            yield "pairs of nodes need the placement each, with which both measure each scenario"


class PairedNames:
    """The assignment of jobs to groups of neighbors, according to the pairs of a suite.

    Args:
        pairs: The pairs. Each name occurs at most once.
    """

    def __init__(self, pairs: Sequence[SuitePair]) -> None:
        self._builds = {name: pair.ffmpegs for pair in pairs for name in pair.ffmpegs}
        self._nodes = {name: pair.nodes for pair in pairs for name in pair.nodes}

    def group(self, scenario: str, node: str | None) -> tuple[object, ...]:
        """Return a key that is the same for the jobs of a repeat that are to be neighbors.

        Args:
            scenario: The name of the scenario, which ends with that of its FFmpeg build, if any.
            node: The name of the node to which the job is bound, or None.
        """
        measured, _, build = scenario.rpartition("/")
        place = self._nodes.get(node, node) if node is not None else None
        if build in self._builds:
            return measured, self._builds[build], place
        return scenario, None, place
