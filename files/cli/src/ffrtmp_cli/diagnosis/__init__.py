"""Checks of a host for measurements: energy counters, processors, clock, disk, memory, FFmpeg."""
