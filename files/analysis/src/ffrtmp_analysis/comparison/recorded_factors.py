"""Factors that a result records and that change the speed or the energy of an encode."""

from enum import StrEnum


class Factor(StrEnum):
    """A recorded factor. The values are the names in sentences."""

    CLOCK = "clock"
    """Mean frequency of the CPUs, in MHz."""
    STEAL = "steal"
    """Fraction of the CPU time that the hypervisor gave to others."""
    THROTTLING = "throttling"
    """Fraction of the time in which the CPU quota of the slot was used up."""
    PRESSURE = "CPU pressure"
    """Fraction of the time in which at least one task waited for a CPU."""
    THREADS = "threads used"
    """CPU time of the encode divided by its duration: the mean number of threads that ran."""
    POWER = "mean power"
    """Energy divided by the duration, in watts."""
