"""Loads on a master, each for a separate process."""
