"""Cost of encodes and of nodes, in the currency of their prices.

A cost consists of two parts, which are never given separately from each other, so that their sum is
always complete: the price of the host for the time in which it was reserved, and the price of the
energy that it used, including that of the facility.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ffrtmp_analysis.price_book import CostGap, NodeRates

J_PER_KWH = 3_600_000.0
"""Joules of a kilowatt-hour: 1,000 W for 3,600 s (SI Brochure, 9th edition, table 8)."""

_S_PER_HOUR = 3600.0
_S_PER_MINUTE = 60.0
_MINUTES_PER_HOUR = 60.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """An amount of money in `currency`, by its parts."""

    currency: str
    host: float
    energy: float

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return self.host + self.energy

    def plus(self, other: "Cost") -> "Cost":
        """Return the sum with another cost in the same currency."""
        return Cost(
            currency=self.currency,
            host=self.host + other.host,
            energy=self.energy + other.energy,
        )

    def times(self, factor: float) -> "Cost":
        """Return the cost with each part multiplied by `factor`."""
        return Cost(currency=self.currency, host=self.host * factor, energy=self.energy * factor)


def facility_energy_kwh(energy_j: float, pue: float) -> float:
    """Return the energy that a facility uses for its computers, in kilowatt-hours.

    Formula: PUE = energy of the facility / energy of the computers (ISO/IEC 30134-2:2016, 5).

    Args:
        energy_j: The energy of the computers in joules.
        pue: The power usage effectiveness, at least 1.
    """
    return energy_j / J_PER_KWH * pue


def encode_cost(wall_s: float, energy_j: float | None, rates: NodeRates) -> Cost | CostGap:
    """Return the cost of an encode that reserved its node.

    Formula: time * price per hour + energy * PUE * price per kilowatt-hour.

    Args:
        wall_s: The duration of the encode in seconds.
        energy_j: The energy of the node during the encode in joules, including its idle power. It
            may be None if it is unknown.
        rates: The prices of the node at the time of the encode.

    Returns:
        The cost, or the reason why it is unknown.
    """
    if rates.host_per_used_hour is None:
        return CostGap.NO_HOST_PRICE
    energy = _energy_cost(energy_j, rates)
    if isinstance(energy, CostGap):
        return energy
    host = wall_s / _S_PER_HOUR * rates.host_per_used_hour
    return Cost(currency=rates.currency, host=host, energy=energy)


def _energy_cost(energy_j: float | None, rates: NodeRates) -> float | CostGap:
    if rates.energy_per_kwh is None or (rates.energy_per_kwh > 0 and rates.pue is None):
        return CostGap.NO_ENERGY_PRICE
    if rates.energy_per_kwh == 0:
        # The host's price includes the energy, or the energy is free: its amount is irrelevant.
        return 0.0
    if energy_j is None:
        return CostGap.NO_ENERGY
    return facility_energy_kwh(energy_j, rates.pue or 1.0) * rates.energy_per_kwh


def per_video_minute(cost: Cost, video_s: float) -> Cost | CostGap:
    """Return the cost of a minute of video.

    Args:
        cost: The cost of an encode.
        video_s: The duration of the video that was encoded in seconds. Streams that ran together
            are added up; the renditions of a ladder count once.
    """
    if video_s <= 0:
        return CostGap.NO_VIDEO
    return cost.times(_S_PER_MINUTE / video_s)


def per_video_hour(cost: Cost, video_s: float) -> Cost | CostGap:
    """Return the cost of an hour of video; of a ladder, this is that of a ladder-hour.

    Args:
        cost: The cost of an encode.
        video_s: As for `per_video_minute`.
    """
    minute = per_video_minute(cost, video_s)
    return minute if isinstance(minute, CostGap) else minute.times(_MINUTES_PER_HOUR)


def per_stream_hour(cost: Cost, wall_s: float, streams: int) -> Cost | CostGap:
    """Return the cost of one stream for an hour, while the node runs `streams` streams.

    Formula: cost / (duration in hours * streams).

    Args:
        cost: The cost of the node while the streams ran.
        wall_s: The duration in which they ran in seconds.
        streams: The number of streams.
    """
    if wall_s <= 0 or streams <= 0:
        return CostGap.NO_VIDEO
    return cost.times(_S_PER_HOUR / wall_s / streams)


# --- nodes ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NodePower:
    """Mean power of a node in watts, while it is busy and while it is idle; None if unknown."""

    busy_w: float | None
    idle_w: float | None


@dataclass(frozen=True, kw_only=True)
class NodeCost:
    """Mean cost of a node per hour, divided into the time in which it was busy and the other time.

    The two add up to the cost of the node.
    """

    busy: Cost
    idle: Cost


@dataclass(frozen=True, kw_only=True)
class NodeHour:
    """An hour of a node: the fraction in which it was busy, and its prices at that time."""

    busy_ratio: float
    rates: NodeRates


def node_cost(hours: Iterable[NodeHour], power: NodePower) -> NodeCost | CostGap:
    """Return the mean cost of a node per hour, over several hours.

    Formula, for each hour: busy part = busy ratio * (price per hour + busy power * PUE * price per
    kilowatt-hour); idle part = (1 - busy ratio) * (price per hour + idle power * PUE * price per
    kilowatt-hour). As in the OpenCost specification, idle time is a cost of its own.

    Args:
        hours: The hours, in their order. If the currency of the prices changes, only the hours in
            the last one count.
        power: The power of the node.

    Returns:
        The cost, or the reason why a part of it is unknown.
    """
    given = list(hours)
    if not given:
        return CostGap.NO_ENTRY
    currency = given[-1].rates.currency
    given = [hour for hour in given if hour.rates.currency == currency]
    busy = idle = Cost(currency=currency, host=0.0, energy=0.0)
    for hour in given:
        idle_ratio = 1.0 - hour.busy_ratio
        busy_part = _hour_cost(hour.busy_ratio, power.busy_w, hour.rates)
        idle_part = _hour_cost(idle_ratio, power.idle_w, hour.rates)
        if isinstance(busy_part, CostGap):
            return busy_part
        if isinstance(idle_part, CostGap):
            return idle_part
        busy, idle = busy.plus(busy_part), idle.plus(idle_part)
    return NodeCost(busy=busy.times(1 / len(given)), idle=idle.times(1 / len(given)))


def _hour_cost(ratio: float, power_w: float | None, rates: NodeRates) -> Cost | CostGap:
    """Return the cost of a fraction of an hour, in which the node has the power `power_w`."""
    if rates.host_per_owned_hour is None:
        return CostGap.NO_HOST_PRICE
    # If there is no such time, its power is irrelevant.
    joules_per_hour = 0.0 if ratio == 0 else None if power_w is None else power_w * _S_PER_HOUR
    energy = _energy_cost(None if joules_per_hour is None else joules_per_hour * ratio, rates)
    if isinstance(energy, CostGap):
        return energy
    return Cost(currency=rates.currency, host=ratio * rates.host_per_owned_hour, energy=energy)
