"""Exporters that turn data of the API into metrics, in separate processes."""
