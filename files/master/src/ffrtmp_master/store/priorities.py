"""Conversion of stored priorities. A priority is stored as the number of lower priorities."""

from ffrtmp_shared.requirements import Priority

_BY_STEPS = {priority.steps: priority for priority in Priority}


def priority_of(steps: int) -> Priority:
    """Return the priority below which there are `steps` other priorities."""
    return _BY_STEPS[steps]
