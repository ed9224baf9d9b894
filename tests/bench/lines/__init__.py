"""The lines of the benchmark's table, each in a module of its own."""

from collections.abc import Callable, Mapping

from bench.figures import Line
from bench.lines import cycles, dispatch, expansion, history, nodes, noop, parked
from bench.measuring import Measuring

LINES: Mapping[str, Callable[[Measuring], Line]] = {
    "cycles": cycles.measure,
    "noop": noop.measure,
    "history": history.measure,
    "dispatch": dispatch.measure,
    "parked": parked.measure,
    "nodes": nodes.measure,
    "expansion": expansion.measure,
}
"""What can be measured, in the order of the page."""
