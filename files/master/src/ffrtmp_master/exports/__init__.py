"""Exports of results as tables."""
