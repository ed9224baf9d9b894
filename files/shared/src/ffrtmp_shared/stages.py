"""Stages of an attempt, which its progress reports."""

from enum import StrEnum


class Stage(StrEnum):
    """The work that an attempt currently does. Not every kind of scenario has every stage."""

    FETCH = "fetch"
    """Transfer the source, or the FFmpeg build that the suite provides."""
    FFMPEG_CHECK = "ffmpeg_check"
    """Identify and test the FFmpeg build that the suite provides."""
    SOURCE_CHECK = "source_check"
    """Probe the source, and measure its complexity unless that is known."""
    IDLE_POWER = "idle_power"
    """Measure the power of the idle host."""
    SEARCH = "search"
    """Search for the setting that reaches the requested VMAF, by encodes that are not measured."""
    WARM_UP = "warm_up"
    """Run the encode without measuring it."""
    ENCODE = "encode"
    """Run the encode that is measured."""
    DECODE = "decode"
    """Run the decode that is measured."""
    OUTPUT_CHECK = "output_check"
    """Decode the output and compare it with the settings."""
    QUALITY = "quality"
    """Compare the output with the source."""
    REPORT = "report"
    """Write and upload the artifacts, and report the result."""


TIMED_STAGES = (Stage.ENCODE, Stage.DECODE)
"""The stages whose progress has frames and a speed."""
