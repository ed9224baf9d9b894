"""Carbon of encodes by the Software Carbon Intensity specification (SCI).

The formulas are those of ISO/IEC 21031:2024, which is version 1.1 of the specification of the Green
Software Foundation: SCI = (O + M) per R. O is the operational carbon, M the embodied carbon, and R
the functional unit, which is a minute of video here. The software boundary is the whole node.
Masses are in grams of carbon dioxide equivalent.
"""

from dataclasses import dataclass

from ffrtmp_analysis.cost import facility_energy_kwh
from ffrtmp_analysis.price_book import CostGap, EmbodiedCarbon, NodeRates

_S_PER_MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class Carbon:
    """Operational and embodied carbon in grams of carbon dioxide equivalent."""

    operational_g: float
    embodied_g: float

    @property
    def total_g(self) -> float:
        """The sum of both."""
        return self.operational_g + self.embodied_g


def operational_g(energy_j: float, pue: float, carbon_g_per_kwh: float) -> float:
    """Return the operational carbon in grams: O = E * I.

    E is all energy of what is reserved, in kilowatt-hours, including that of the facility.

    Args:
        energy_j: The energy of the node in joules, including its idle power.
        pue: The power usage effectiveness of the facility, at least 1.
        carbon_g_per_kwh: The carbon intensity I at the location, in grams per kilowatt-hour.
    """
    return facility_energy_kwh(energy_j, pue) * carbon_g_per_kwh


def embodied_g(embodied: EmbodiedCarbon, reserved_s: float, reserved_ratio: float = 1.0) -> float:
    """Return the embodied carbon in grams: M = TE * TS * RS, TS = TiR / EL, RS = RR / ToR.

    Args:
        embodied: The total embodied carbon TE of the node, and its expected life EL.
        reserved_s: The time TiR for which the node is reserved, in seconds.
        reserved_ratio: The fraction RS of the node that is reserved. An encode reserves all of it.
    """
    return embodied.total_g * reserved_s / embodied.life_s * reserved_ratio


def encode_carbon(wall_s: float, energy_j: float | None, rates: NodeRates) -> Carbon | CostGap:
    """Return the carbon of an encode that reserved its node.

    Args:
        wall_s: The duration of the encode in seconds.
        energy_j: The energy of the node during the encode in joules, or None if it is unknown.
        rates: The carbon intensity and the embodied carbon of the node.

    Returns:
        The carbon, or the reason why it is unknown.
    """
    if rates.carbon_g_per_kwh is None or rates.pue is None:
        return CostGap.NO_CARBON_INTENSITY
    if rates.embodied is None:
        return CostGap.NO_EMBODIED_CARBON
    if energy_j is None:
        return CostGap.NO_ENERGY
    return Carbon(
        operational_g=operational_g(energy_j, rates.pue, rates.carbon_g_per_kwh),
        embodied_g=embodied_g(rates.embodied, wall_s),
    )


def per_video_minute(carbon: Carbon, video_s: float) -> Carbon | CostGap:
    """Return the software carbon intensity per minute of video: SCI = (O + M) per R.

    Args:
        carbon: The carbon of an encode.
        video_s: The duration of the video that was encoded in seconds. Streams that ran together
            are added up; the renditions of a ladder count once.
    """
    if video_s <= 0:
        return CostGap.NO_VIDEO
    minutes = video_s / _S_PER_MINUTE
    return Carbon(
        operational_g=carbon.operational_g / minutes, embodied_g=carbon.embodied_g / minutes
    )
