"""Metrics of a worker host for Prometheus."""
