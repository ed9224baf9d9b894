"""Measurements besides the encode's cost: its output, its quality and the host."""
