"""Shared package of master and workers: wire types, suites, states and the HTTP client."""

__version__ = "0.2.0"
