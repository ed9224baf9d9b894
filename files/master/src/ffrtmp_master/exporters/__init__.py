"""Exporters beside the master: what its API knows, as metrics."""
