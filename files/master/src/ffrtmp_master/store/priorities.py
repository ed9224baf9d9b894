"""Priorities as numbers: a job keeps how many priorities stand below its own."""

from ffrtmp_shared.requirements import Priority

_BY_STEPS = {priority.steps: priority for priority in Priority}


def priority_of(steps: int) -> Priority:
    """Return the priority above `steps` others."""
    return _BY_STEPS[steps]
