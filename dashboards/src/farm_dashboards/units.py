"""Units that Grafana does not know by a name of its own."""

FRAMES_PER_SECOND = "suffix:fps"

TIMES = "suffix:x"
"""A multiple of real time."""
