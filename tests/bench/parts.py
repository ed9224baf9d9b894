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
    scrapes,
    stages,
)
from bench.context import BenchmarkContext
from bench.figures import Line


@dataclass(frozen=True)
class Part:
    """The benchmark cases of a part of the farm, in the order of the part's page.

    The record and the page are files in docs with the name `page`. The template of the page is in
    this folder and has the name of the part.
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
            "stages": stages.measure,
            "exporters": exporters.measure,
            "scrapes": scrapes.measure,
            "density": density.measure,
        },
    ),
}
"""The parts, by their names on the command line."""
