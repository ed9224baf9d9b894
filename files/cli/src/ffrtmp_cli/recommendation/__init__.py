"""Recommended settings of a worker for a host."""
