"""Priorities as numbers: the column stores the number of lower priorities."""

from ffrtmp_shared.requirements import Priority

_BY_STEPS = {priority.steps: priority for priority in Priority}


def priority_of(steps: int) -> Priority:
    """Return the priority that has `steps` lower ones."""
    return _BY_STEPS[steps]
