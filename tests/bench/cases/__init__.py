"""The cases of the benchmarks, one per module."""
