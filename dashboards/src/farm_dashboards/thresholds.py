"""Thresholds of panels, from which Grafana derives colors."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import Threshold, ThresholdsMode

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"

Steps = tuple[tuple[float | None, str], ...]
"""Values with the color of that value and of greater ones. The first value is None."""

NEUTRAL: Steps = ((None, BLUE),)
"""For values of which none is good or bad."""


def at_least(minimum: float) -> Steps:
    """Return steps that are red below a minimum."""
    return (None, RED), (minimum, GREEN)


def rising(warning: float, critical: float) -> Steps:
    """Return steps for a value that becomes worse when it rises.

    Args:
        warning: The value from which the color is yellow.
        critical: The value from which the color is red.
    """
    return (None, GREEN), (warning, YELLOW), (critical, RED)


def falling(warning: float, critical: float) -> Steps:
    """Return steps for a value that becomes worse when it falls.

    Args:
        warning: The value below which the color is yellow.
        critical: The value below which the color is red.
    """
    return (None, RED), (critical, YELLOW), (warning, GREEN)


def none_allowed() -> Steps:
    """Return steps that are red from 1."""
    return (None, GREEN), (1, RED)


def config(steps: Steps) -> dashboard.ThresholdsConfig:
    """Return the steps as Grafana's configuration."""
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )
