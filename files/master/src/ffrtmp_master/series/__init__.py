"""Import of the sample series of results into VictoriaMetrics."""
