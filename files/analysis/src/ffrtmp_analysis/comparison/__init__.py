"""Comparison of the results of two runs, FFmpeg builds, nodes or encoders."""
