"""Activity of nodes in the last hours, from the results that they measured."""

import math
from collections.abc import Callable
from typing import NamedTuple

from ffrtmp_analysis.busy_time import S_PER_HOUR, busy_ratio, busy_seconds
from ffrtmp_analysis.cost import NodePower
from ffrtmp_analysis.efficiency import mean_power_w
from ffrtmp_analysis.encode_energy import EncodeEnergy, encode_energy
from ffrtmp_analysis.measurement_time import measurement_time_s
from ffrtmp_shared.models import Result
from ffrtmp_shared.unavailable import Unavailable

HOURS = 24
"""The number of complete hours that are considered."""

# A farm has far fewer nodes; the bound protects the exporter from names that change all the time.
_NODES_MAX = 2000


class _IdlePower(NamedTuple):
    measured_at_s: float
    power_w: float


class _NodeRecord:
    """Seconds in which a node was busy, and energy that it used then, by hours since 1970.

    The energy is in joules, with the time in seconds in which it was used.
    """

    def __init__(self) -> None:
        # Sets of seconds, so that encodes that ran at the same time in several slots count once.
        self.busy: dict[int, int] = {}
        self.energy: dict[int, tuple[float, float]] = {}
        self.idle: _IdlePower | None = None

    def forget_before(self, hour: int, idle_s: float) -> None:
        self.busy = {found: bits for found, bits in self.busy.items() if found >= hour}
        self.energy = {found: used for found, used in self.energy.items() if found >= hour}
        if self.idle is not None and self.idle.measured_at_s < idle_s:
            self.idle = None


class NodeActivity:
    """Fractions of hours in which nodes ran measured encodes, and their power.

    Everything depends only on results and complete hours, so that it is the same after a restart.
    """

    def __init__(self, keep_s: float, clock: Callable[[], float]) -> None:
        """Create an empty record.

        Args:
            keep_s: The time for which a measured idle power is used, in seconds.
            clock: Returns the Unix time in seconds.
        """
        self._keep_s = keep_s
        self._clock = clock
        self._nodes: dict[str, _NodeRecord] = {}

    def add(self, result: Result) -> None:
        """Add a result."""
        now_s = self._clock()
        node = self._nodes.get(result.node)
        if node is None:
            if len(self._nodes) >= _NODES_MAX:
                return
            node = self._nodes[result.node] = _NodeRecord()
        start_s, energy = measurement_time_s(result), encode_energy(result)
        _add_idle_power(node, energy, start_s)
        # The end is bounded by the present, so that a wrong duration fills at most the window.
        end_s = min(start_s + result.measurement.encode.wall_s, now_s)
        begin_s = max(start_s, _first_hour(now_s) * S_PER_HOUR)
        if begin_s < end_s:
            for hour, seconds in busy_seconds(round(begin_s), round(end_s)):
                node.busy[hour] = node.busy.get(hour, 0) | seconds
                _add_energy(node, result, energy, hour, seconds.bit_count())

    def forget_old(self, now_s: float) -> None:
        """Remove what is too old at the Unix time `now_s`."""
        for name, node in list(self._nodes.items()):
            node.forget_before(_first_hour(now_s), now_s - self._keep_s)
            if not (node.busy or node.energy or node.idle):
                del self._nodes[name]

    def busy_ratios(self, name: str, now_s: float) -> dict[float, float]:
        """Return the fractions of the last complete hours in which a node was busy.

        Args:
            name: The node.
            now_s: The Unix time in seconds.

        Returns:
            The fractions by the Unix times at which the hours began, in their order.
        """
        node = self._nodes.get(name, _NodeRecord())
        return {
            float(hour * S_PER_HOUR): busy_ratio(node.busy.get(hour, 0))
            for hour in _complete_hours(now_s)
        }

    def power(self, name: str, now_s: float) -> NodePower:
        """Return the mean power of a node while it was busy in the last complete hours, and idle.

        Args:
            name: The node.
            now_s: The Unix time in seconds.
        """
        node = self._nodes.get(name, _NodeRecord())
        used = [node.energy[hour] for hour in _complete_hours(now_s) if hour in node.energy]
        energy_j = math.fsum(energy_j for energy_j, _ in used)
        duration_s = math.fsum(duration_s for _, duration_s in used)
        return NodePower(
            busy_w=mean_power_w(energy_j, duration_s),
            idle_w=None if node.idle is None else node.idle.power_w,
        )


def _first_hour(now_s: float) -> int:
    return int(now_s // S_PER_HOUR) - HOURS


def _complete_hours(now_s: float) -> range:
    first = _first_hour(now_s)
    return range(first, first + HOURS)


def _add_energy(
    node: _NodeRecord, result: Result, energy: EncodeEnergy, hour: int, busy_s: int
) -> None:
    """Add the energy of the part of an encode that ran for `busy_s` seconds of an hour."""
    measured = result.measurement.energy
    if energy.total_j is None or isinstance(measured, Unavailable):
        return
    share = busy_s / result.measurement.encode.wall_s
    known_j, known_s = node.energy.get(hour, (0.0, 0.0))
    node.energy[hour] = (known_j + energy.total_j * share, known_s + measured.duration_s * share)


def _add_idle_power(node: _NodeRecord, energy: EncodeEnergy, measured_at_s: float) -> None:
    if energy.idle_w is None:
        return
    if node.idle is None or node.idle.measured_at_s <= measured_at_s:
        node.idle = _IdlePower(measured_at_s, energy.idle_w)
