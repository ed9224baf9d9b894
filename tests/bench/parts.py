"""The parts of a farm that have a benchmark, and the lines of each."""

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
from bench.figures import Line
from bench.measurement import Measuring


@dataclass(frozen=True)
class Part:
    """What can be measured of a part, in the order of its page.

    `page` names the record and the page in docs; the template beside this module is named for
    the part.
    """

    page: str
    cases: Mapping[str, Callable[[Measuring], Line]]


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
"""Every part by the name that the command takes."""
