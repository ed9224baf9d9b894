"""Activity of nodes in the last hours, from the results that they measured."""

from collections.abc import Callable
from typing import NamedTuple

from ffrtmp_analysis.cost import NodePower
from ffrtmp_analysis.efficiency import mean_power_w
from ffrtmp_shared.measurement import EnergyMeasurement, Unavailable
from ffrtmp_shared.models import Result

from ffrtmp_master.exporters.encode_energy import encode_energy
from ffrtmp_master.exporters.recent_results import measurement_time_s

HOURS = 24
"""The number of complete hours that are considered."""

S_PER_HOUR = 3600

# A farm has far fewer nodes; the bound protects the exporter from names that change all the time.
_NODES_MAX = 2000


class _IdlePower(NamedTuple):
    measured_at_s: float
    power_w: float


class _NodeRecord:
    """Seconds in which a node was busy, and energy that it used, by hours since 1970."""

    def __init__(self) -> None:
        # Bit n of an hour is 1 if the node was busy in its second n, so that encodes that ran at
        # the same time in several slots count once.
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
        start_s = measurement_time_s(result)
        _add_idle_power(node, result, start_s)
        # The end is bounded by the present, so that a wrong duration fills at most the window.
        end_s = min(start_s + result.measurement.encode.wall_s, now_s)
        begin_s = max(start_s, _first_hour(now_s) * S_PER_HOUR)
        if begin_s < end_s:
            _add_busy(node, round(begin_s), round(end_s))
            _add_energy(node, result, int(begin_s // S_PER_HOUR))

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
        first = _first_hour(now_s)
        return {
            float(hour * S_PER_HOUR): node.busy.get(hour, 0).bit_count() / S_PER_HOUR
            for hour in range(first, first + HOURS)
        }

    def power(self, name: str) -> NodePower:
        """Return the mean power of a node while it was busy in the last hours, and while idle."""
        node = self._nodes.get(name, _NodeRecord())
        energy_j = sum(used for used, _ in node.energy.values())
        duration_s = sum(duration for _, duration in node.energy.values())
        return NodePower(
            busy_w=mean_power_w(energy_j, duration_s),
            idle_w=None if node.idle is None else node.idle.power_w,
        )


def _first_hour(now_s: float) -> int:
    return int(now_s // S_PER_HOUR) - HOURS


def _add_busy(node: _NodeRecord, begin_s: int, end_s: int) -> None:
    while begin_s < end_s:
        hour, offset_s = divmod(begin_s, S_PER_HOUR)
        count = min(end_s - begin_s, S_PER_HOUR - offset_s)
        node.busy[hour] = node.busy.get(hour, 0) | ((1 << count) - 1) << offset_s
        begin_s += count


def _add_energy(node: _NodeRecord, result: Result, hour: int) -> None:
    energy = result.measurement.energy
    energy_j = encode_energy(result).total_j
    if energy_j is None or isinstance(energy, Unavailable):
        return
    known_j, known_s = node.energy.get(hour, (0.0, 0.0))
    node.energy[hour] = (known_j + energy_j, known_s + energy.duration_s)


def _add_idle_power(node: _NodeRecord, result: Result, measured_at_s: float) -> None:
    """Record the idle power of the processors, and of the GPUs if their energy was measured."""
    measured = (result.measurement.energy, result.measurement.gpu_energy)
    known = [energy for energy in measured if isinstance(energy, EnergyMeasurement)]
    powers_w = [energy.idle_w for energy in known if not isinstance(energy.idle_w, Unavailable)]
    if isinstance(measured[0], Unavailable) or len(powers_w) < len(known):
        return
    if node.idle is None or node.idle.measured_at_s <= measured_at_s:
        node.idle = _IdlePower(measured_at_s, sum(powers_w))
