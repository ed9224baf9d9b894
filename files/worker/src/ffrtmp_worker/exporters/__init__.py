"""Prometheus exporters of a worker host."""
