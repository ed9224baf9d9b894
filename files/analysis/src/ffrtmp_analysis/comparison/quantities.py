"""Quantities that are compared, and their properties."""

from enum import StrEnum
from typing import NamedTuple


class Quantity(StrEnum):
    """A quantity of a result that is compared."""

    SPEED = "speed"
    """Speed of the encode, in multiples of real time."""
    CPU_TIME = "cpu_time"
    """CPU time of the encode, in seconds."""
    ENERGY = "energy"
    """Energy of the encode, in joules."""
    BIT_RATE = "bit_rate"
    """Bit rate of the output, in kbit/s."""
    VMAF_NEG = "vmaf_neg"
    """Quality of the output, in points of VMAF NEG."""
    COST = "cost"
    """Cost of an hour of video or of stream, in the currency of the price book."""


class QuantityRule(NamedTuple):
    """Properties of a quantity.

    Attributes:
        name: The name in sentences.
        is_high_better: Whether higher values are better.
        is_relative: Whether values are compared as ratios, and not as differences.
        is_of_host: Whether a disturbance of the host changes the values. Bytes and quality do not
            depend on it.
        is_repeatable: Whether an encoder may produce the same value in each repeat.
        better: The verdict on a better value of the second side.
        worse: The verdict on a worse value.
    """

    name: str
    is_high_better: bool
    is_relative: bool = True
    is_of_host: bool = True
    is_repeatable: bool = False
    better: str = "better"
    worse: str = "worse"


RULES = {
    Quantity.SPEED: QuantityRule("speed", is_high_better=True, better="faster", worse="slower"),
    Quantity.CPU_TIME: QuantityRule("CPU time", is_high_better=False),
    Quantity.ENERGY: QuantityRule("energy", is_high_better=False),
    Quantity.BIT_RATE: QuantityRule(
        "bit rate", is_high_better=False, is_of_host=False, is_repeatable=True
    ),
    Quantity.VMAF_NEG: QuantityRule(
        "VMAF NEG",
        is_high_better=True,
        is_relative=False,
        is_of_host=False,
        is_repeatable=True,
    ),
    Quantity.COST: QuantityRule("cost", is_high_better=False),
}

DISTURBANCES = frozenset({"other-load", "steal"})
"""Codes of verdicts that state that something else used the CPUs. If more than half of the results
of a side have one of them, its median is a measurement of the disturbance."""
