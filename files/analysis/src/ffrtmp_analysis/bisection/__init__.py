"""Bisection of an ordered list of FFmpeg builds, for the one in which a scenario became worse."""
