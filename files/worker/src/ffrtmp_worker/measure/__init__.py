"""Measurements other than the cost of an encode: its output, its quality and its host."""
