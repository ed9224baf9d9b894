"""Calculations on results: pure functions that take and return data."""

__version__ = "0.2.0"
