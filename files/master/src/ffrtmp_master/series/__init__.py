"""Bringing the series of results into VictoriaMetrics."""
