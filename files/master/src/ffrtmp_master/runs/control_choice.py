"""Choice of whether a run has control encodes, if its suite does not state it."""

from typing import NamedTuple

from ffrtmp_shared import control_encode
from ffrtmp_shared.suite import Suite

from ffrtmp_master.runs.expected_duration import PlannedDurations

MIN_PLANNED_S = 600.0
"""A run that is planned to take longer has control encodes by default, in seconds."""


class ControlChoice(NamedTuple):
    """The choice, and the reason as a clause that completes "because"."""

    has_controls: bool
    reason: str


def stated_choice(suite: Suite) -> ControlChoice | None:
    """Return the choice that follows from the suite alone; None if it depends on the duration."""
    if suite.control is not None:
        value = str(suite.control).lower()
        return ControlChoice(suite.control, f"the suite states control: {value}")
    if suite.placement == "any":
        return ControlChoice(False, "any free node may run a job (placement: any)")
    if not suite.exclusive:
        return ControlChoice(False, "the jobs may share a node (exclusive: false)")
    if any(source.name == control_encode.NAME for source in suite.sources):
        return ControlChoice(False, f"a source of the suite has the name {control_encode.NAME}")
    return None


def choose_controls(suite: Suite, durations: PlannedDurations) -> ControlChoice:
    """Return whether a run has control encodes.

    Args:
        suite: The suite of the run.
        durations: The planned durations of the run.
    """
    stated = stated_choice(suite)
    if stated is not None:
        return stated
    minutes = f"{MIN_PLANNED_S / 60:.0f} minutes"
    if durations.planned_s() > MIN_PLANNED_S:
        return ControlChoice(True, f"the run is planned to take more than {minutes}")
    return ControlChoice(False, f"the run is not planned to take more than {minutes}")
