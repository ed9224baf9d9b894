"""The parts of a farm that have benchmarks, and their cases."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.cases import (
    cycles,
    density,
    dispatch,
    expansion,
    exporters,
    history,
    nodes,
    noop,
    overhead,
    parked,
)
from bench.context import BenchmarkContext
from bench.figures import Line


@dataclass(frozen=True)
class Part:
    """The cases of a part, in the order of its page.

    `page` is the name of the record and the page in docs. The template in this folder has the name
    of the part.
    """

    page: str
    cases: Mapping[str, Callable[[BenchmarkContext], Line]]


PARTS: Mapping[str, Part] = {
    "master": Part(
        "performance",
        {
            "cycles": cycles.measure,
            "noop": noop.measure,
            "history": history.measure,
            "dispatch": dispatch.measure,
            "parked": parked.measure,
            "nodes": nodes.measure,
            "expansion": expansion.measure,
        },
    ),
    "worker": Part(
        "overhead",
        {
            "overhead": overhead.measure,
            "exporters": exporters.measure,
            "density": density.measure,
        },
    ),
}
"""All parts by their names on the command line."""
