"""Exporters, which run as separate processes and convert data from the API to metrics."""
