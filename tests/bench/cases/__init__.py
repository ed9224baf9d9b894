"""The lines of the benchmarks' tables, each in a module of its own."""
