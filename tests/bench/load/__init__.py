"""Loads on a master, each of which runs in a separate process."""
